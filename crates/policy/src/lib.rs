//! Azure's two languages of rules, without the cloud around them: Azure Policy (what a resource may be) and the conditions
//! of role assignments (when a grant holds). Pure, bounded, fuzzed; what the region knows comes in through [`Aliases`],
//! [`Surroundings`] and [`abac::Request`].
//!
//! | part | what it holds |
//! |---|---|
//! | [`Definition`], [`Set`] | policy definitions and initiatives, read strictly |
//! | [`Condition`] | the `if` of a rule; `compare`: its operators |
//! | [`Subject`], [`Aliases`] | what is judged, and how a `field` reaches into it |
//! | [`judge()`], [`judge_delete`], [`Applied::compliance`] | what policies make of a resource |
//! | [`abac`] | conditions of role assignments |
//! | `expression` | the `[...]` strings |
//!
//! A rule that can't be evaluated refuses: nothing passes because a policy was not understood.

pub mod abac;
mod compare;
mod condition;
mod definition;
mod expression;
pub mod fuzz;
mod judge;
mod subject;

pub use condition::{Condition, Surroundings};
pub use definition::{
    BYTES_MAX, Definition, Effect, Existence, Member, Mode, Modification, Modify, Parameter, Parameters, Set, arguments, merged, parameters,
};
pub use expression::{Expression, Fault, Names, Operand};
pub use judge::{Applied, Compliance, Decision, Denial, InSet, Once, judge, judge_delete, member_parameters, refusal};
pub use subject::{Aliases, Changed, Field, Path, Step, Subject, path};
