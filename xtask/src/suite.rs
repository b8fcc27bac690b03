//! `cargo xtask test`: what runs every day, what the build server runs, and the soak.

use crate::run::{Score, Tally, cargo, count_tests, must};
use crate::{bench, clients, house, setup};
use anyhow::{Context, Result};
use clap::Args;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Args)]
pub(crate) struct Options {
    /// Also formatting, lints, licences and real clients: what the build server runs (45 minutes at most on two cores)
    #[arg(long)]
    all: bool,
    /// The soak: fresh seeds of faults, fuzzing for minutes, kills in a loop, a blob of 10 GiB, a million blobs; then
    /// everything else (some hours; 45 GB of disk)
    #[arg(long)]
    long: bool,
}

/// How many cases each property test runs in the soak that does not say so itself.
const LONG_CASES: &str = "20000";
/// How long each reader of outside bytes is fuzzed in the soak; whole requests are for eight times as long.
const LONG_FUZZ_SECONDS: &str = "60";

/// True when everything passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut score = Score::default();
    let everything = options.all || options.long;
    score.step("Debian packages", || setup::debian().map(|()| Tally::one(true)));
    // Fetching Python packages waits for the network most of the time: meanwhile the compiler has the processors.
    let python = everything.then(|| std::thread::spawn(|| clients::environments(false)));

    score.step("rules of the house", || Ok(Tally::one(house::check_and_print()?)));
    if everything {
        score.step("formatting", || passes(&["fmt", "--all", "--check"]));
    }
    score.step("tests of the workspace", || tests(options.long));
    if everything {
        score.step("lints", lints);
        score.step("licences, bans and sources", licences);
        if let Some(python) = python {
            score.step("Python environments", || {
                python.join().map_err(|_| anyhow::anyhow!("the set-up panicked"))??;
                Ok(Tally::one(true))
            });
        }
        score.step("real clients", || clients::all(&clients::Options::default()));
    }
    if options.long {
        score.step("growth to a million blobs", || bench::growth().map(Tally::one));
    }
    Ok(score.close())
}

fn passes(arguments: &[&str]) -> Result<Tally> {
    let status = cargo().args(arguments).status().context("cannot start cargo")?;
    Ok(Tally::one(status.success()))
}

/// Warnings are errors. The forbidden calls of `clippy.toml` (clock, chance, files, processes) are for what ships; tests and
/// examples measure time and start programs as they need.
fn lints() -> Result<Tally> {
    let mut tally = passes(&["clippy", "--workspace", "--quiet", "--", "-D", "warnings"])?;
    let bars_lifted = ["-A", "clippy::disallowed_methods", "-A", "clippy::disallowed_types", "-A", "clippy::print_stdout"];
    tally.add(passes(&[&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &bars_lifted[..]].concat())?);
    Ok(tally)
}

/// Unit, property, compile-fail and end-to-end tests, the PostgreSQL suite and the drills: all are tests of the workspace.
fn tests(long: bool) -> Result<Tally> {
    // end-to-end tests start the binary, which is not theirs to build
    must(cargo().args(["build", "--quiet", "--package", "bleu"]))?;
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    if long {
        soak(&mut command)?;
    }
    count_tests(&mut command)
}

/// `BLEU_LONG` is what tests look at: its number is the first of the seeds that nobody has tried before. Whoever wants to
/// see a failure again sets the same number.
fn soak(command: &mut Command) -> Result<()> {
    must(cargo().args(["build", "--quiet", "--release", "--package", "bleu"]))?;
    let first = match std::env::var("BLEU_LONG") {
        Ok(first) => first,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().to_string(),
    };
    println!("   again with the same seeds: BLEU_LONG={first} cargo xtask test --long");
    command.env("BLEU_LONG", &first).env("BLEU_FUZZ_SEED", &first).env("BLEU_FUZZ_SECONDS", LONG_FUZZ_SECONDS);
    command.env("PROPTEST_CASES", LONG_CASES).env("BLEU_PROGRAM", bench::target().join("release/bleu"));
    Ok(())
}

/// Advisories are not asked for: they need a database from the network, and a build must not fail for what was published
/// this morning.
fn licences() -> Result<Tally> {
    let tool = setup::cargo_deny()?;
    let mut command = crate::run::program(tool);
    command.current_dir(crate::run::root()).args(["--workspace", "check", "licenses", "bans", "sources"]);
    must(&mut command)?;
    Ok(Tally::one(true))
}
