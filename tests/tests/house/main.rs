//! The whole house, from outside. One binary; each test owns its world.

mod altered;
mod client;
#[path = "../../../crates/store/tests/suite/cluster.rs"]
mod cluster;
mod crash;
mod deployments;
mod edited;
mod faults;
mod floods;
mod full;
mod fuzz;
mod golden;
mod large;
mod load;
mod logs;
mod postgres;
mod process;
mod restart;
mod stories;
mod strangers;
mod tenants;
mod world;

/// Set by `cargo xtask test --long` alone: long tests run and short ones go on for longer. Its number is the first of the
/// seeds that nobody has tried before.
fn soak() -> Option<u64> {
    std::env::var("BLEU_LONG").ok().map(|first| first.parse().unwrap_or_else(|_| panic!("BLEU_LONG is a number, not '{first}'")))
}
