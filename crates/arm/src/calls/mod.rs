//! The calls, one family a file.

pub(crate) mod groups;
pub(crate) mod metadata;
pub(crate) mod operations;
pub(crate) mod providers;
pub(crate) mod resources;
pub(crate) mod role_assignments;
pub(crate) mod role_definitions;
pub(crate) mod subscriptions;
pub(crate) mod tags;
pub(crate) mod unbuilt;
