//! `cargo xtask bench`: builds the release binary and the load generator, and runs the one against the other.

use crate::run::{cargo, must};
use crate::setup;
use anyhow::{Context, Result};
use clap::Args;
use std::process::Command;

#[derive(Args)]
pub(crate) struct Options {
    /// Seconds of each measured stretch; a run has about forty
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::debian()?;
    must(cargo().args(["build", "--release", "-p", "bleu", "-p", "bench"]))?;
    let status = Command::new("target/release/bench")
        .args(["target/release/bleu", &options.seconds.to_string()])
        .status()
        .context("target/release/bench")?;
    if !status.success() {
        return Ok(false);
    }
    let status = cargo().args(["run", "--release", "--quiet", "-p", "auditor", "--example", "verify_rate", "1000000"]).status()?;
    Ok(status.success())
}
