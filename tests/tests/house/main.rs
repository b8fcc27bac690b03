//! The whole house, from outside. One binary; each test owns its world.

mod altered;
mod client;
mod crash;
mod faults;
mod fuzz;
mod golden;
mod logs;
mod restart;
mod stories;
mod strangers;
mod tenants;
mod world;
