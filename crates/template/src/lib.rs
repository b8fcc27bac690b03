//! Azure Resource Manager templates: from JSON text to a plan, and from a plan to bodies. Pure: no clock, no chance, no
//! network. What only the region knows is asked through [`Host`], one [`Question`] at a time.
//!
//! ```text
//! text ──lenient──▶ Document ──plan()──▶ Plan { resources, dependencies, outputs }
//!                                          │ body(i)    ▶ Ready(value) or Waits(questions)
//!                                          └ outputs()  ▶ Ready(values) or Waits(questions)
//! ```
//!
//! | part | what it holds |
//! |---|---|
//! | [`lenient`] | JSON as Azure accepts it: comments, bare keys, raw newlines; with the place of each value |
//! | `expression` | the grammar of `[…]` |
//! | `evaluate` | expressions and values, within bounds |
//! | `functions/` | every function of the language, in one table ([`functions`]) |
//! | `parameters` | types, `allowedValues`, bounds, user-defined types |
//! | [`plan()`] | resources, copy loops, conditions, scopes, dependencies |
//! | [`what_if`] | what a deployment would change, property by property |
//!
//! Two times: *planning* evaluates everything but the runtime functions (`reference`, `list…`), which may stand in the
//! bodies of resources and in outputs only; *running* evaluates those, when what they ask about is there. A plan can be
//! stored (serde) and taken up by another process.
//!
//! Where it differs from Azure: property-level defaults of resource types are not known here, so that `what_if` says
//! nothing about properties that the template leaves out; template links to other servers are refused.

mod evaluate;
mod expression;
mod functions;
pub mod fuzz;
mod graph;
mod host;
pub mod lenient;
mod meter;
mod parameters;
mod plan;
mod unique;
pub mod what_if;
mod words;

pub use functions::names as functions;
pub use host::{Host, Question};
pub use parameters::Kind as ParameterKind;
pub use plan::{Evaluated, Output, Plan, Planned, Request, Shown, plan};
pub use unique::template_hash;
