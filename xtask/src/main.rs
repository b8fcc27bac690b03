//! All automation of the repository, so that a person, a pre-commit hook and the build server type the same words.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask setup` | installs what the tests need: Debian packages, two Python environments, cargo-deny |
//! | `cargo xtask house` | holds the rules that no compiler knows: floors of the crates, files that must exist |
//! | `cargo xtask test` | the everyday run; `--all` is what the build server runs, `--long` the soak |
//! | `cargo xtask bench` | a table of figures and ratios: region, disk and nginx in one run |
//! | `cargo xtask clients` | unmodified `az`, Azure SDKs and rclone against a region, in a network namespace without a way out |
//!
//! `run` starts programs and keeps the score, `setup` fills the cache, `house` is pure rules over cargo's own description
//! of the workspace, `clients` makes the namespace and `names` is the name server inside it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program speaks on standard output")]

mod bench;
mod clients;
mod house;
mod names;
mod run;
mod setup;
mod suite;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// All automation of bleu.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need (Debian packages, Python environments, cargo-deny); quick when nothing is missing
    Setup,
    /// Check the rules of the house: floors, allowed dependencies, files that must exist
    House,
    /// Run the tests: everyday without a flag
    Test(suite::Options),
    /// Run unmodified Azure clients against a region in a closed network namespace
    Clients(clients::Options),
    /// Measure a region beside the disk and nginx, in one run; prints a table
    Bench(bench::Options),
    /// (used by `clients`) the part that runs inside the namespace
    #[command(hide = true)]
    ClientsInside(clients::Inside),
}

fn main() -> ExitCode {
    match start(Arguments::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True: everything asked for passed.
fn start(task: Task) -> Result<bool> {
    match task {
        Task::Setup => setup::everything().map(|()| true),
        Task::House => house::check_and_print(),
        Task::Test(options) => suite::run(&options),
        Task::Clients(options) => clients::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::ClientsInside(inside) => clients::run_inside(&inside),
    }
}
