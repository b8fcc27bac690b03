//! The whole house, from outside. One binary; each test owns its world.

mod altered;
mod client;
#[path = "../../../crates/store/tests/suite/cluster.rs"]
mod cluster;
mod crash;
mod faults;
mod floods;
mod fuzz;
mod golden;
mod logs;
mod postgres;
mod process;
mod restart;
mod stories;
mod strangers;
mod tenants;
mod world;
