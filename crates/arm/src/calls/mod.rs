//! The calls, one family a file.

pub(crate) mod deny_assignments;
pub(crate) mod groups;
pub(crate) mod locks;
pub(crate) mod management_groups;
pub(crate) mod metadata;
pub(crate) mod operations;
pub(crate) mod policy_objects;
pub(crate) mod policy_states;
pub(crate) mod providers;
pub(crate) mod resources;
pub(crate) mod role_assignments;
pub(crate) mod role_definitions;
pub(crate) mod rules;
pub(crate) mod subscriptions;
pub(crate) mod tags;
pub(crate) mod unbuilt;
