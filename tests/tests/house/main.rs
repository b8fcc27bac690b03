//! The whole house, from outside. One binary; each test owns its world.

mod crash;
mod faults;
mod fuzz;
mod golden;
mod strangers;
mod world;
