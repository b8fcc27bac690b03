//! Tenants, users, applications and their tokens: what Azure calls Entra ID.
//!
//! ```text
//!   az login ──GET  /adfs/.well-known/openid-configuration──▶ Login   what is where
//!            ──POST /adfs/oauth2/token/ ──────────────────▶ Login   a proof in, tokens out; the record knows first
//!   az group create ──Bearer──▶ gateway ──verify_bearer──▶ Caller   signature, time, audience, issuer, tenant, principal
//!   az ad user list ──Bearer──▶ Graph                                the directory itself, under permits like all data
//! ```
//!
//! How a person or a program gets a token:
//!
//! | flow | proof | who uses it |
//! |---|---|---|
//! | client credentials | secret, or assertion signed with a registered certificate | programs, `az login --service-principal` |
//! | password | name and password | scripts, `az login -u -p` |
//! | authorization code, PKCE | password, typed into our page | `az login` |
//! | device code | password, typed into our page on another device | `az login --use-device-code` |
//! | refresh token | a sealed ticket, revoked by `tokens_valid_from` | all of the three above, every hour |
//! | managed identity | a secret in a header | programs started by the region (`GET /msi/token`) |
//!
//! A person with an authenticator is asked for its code after the password, in the browser and for a device; the password
//! grant and sessions of before are told `interaction_required`. What was proved is in the token (`amr`).
//!
//! Rules that always hold. No secret is stored here or shown twice: `trust` keeps Argon2id strings and the keys of
//! authenticators, and compares. Nothing is stored for a sign-in: codes, requests and refresh tokens are sealed tickets, and
//! only pending device codes and used codes live in memory. Every token and every refusal of a known principal is recorded before it is answered; strangers
//! are tallied. A name that does not exist costs the time, and gets the answer, of a wrong password. A token is issued for
//! one audience, a door of this region, and each door takes no other.
//!
//! Start at [`Login`] (the token service), [`Graph`] (the directory), [`verify_bearer`] (every door), [`seed`] (a tenant's
//! first day).

mod bearer;
mod conditional;
mod dialect;
mod directory;
mod graph;
mod login;
mod seed;
mod urls;

pub use bearer::verify_bearer;
pub use directory::{AZ_CLIENT, GLOBAL_ADMINISTRATOR, check_password};
pub use graph::Graph;
pub use login::Login;
pub use seed::{Seed, Seeded, seed};

/// Every reader of outside bytes in this crate, for the fuzzer. Forms, scopes and filters are in `wire`, tokens in `crypto`.
pub mod fuzz {
    pub use crate::graph::fuzz_batch as fuzz_graph_batch;
    pub use crate::graph::fuzz_body as fuzz_graph_body;
    pub use crate::graph::fuzz_query as fuzz_graph_query;
    pub use crate::graph::fuzz_rule as fuzz_graph_rule;
}
