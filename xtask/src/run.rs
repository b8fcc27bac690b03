//! Starting programs and keeping the score.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The folder of the root Cargo.toml.
pub(crate) fn root() -> PathBuf {
    // Known when compiled: xtask is a folder of the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The cargo that started us, so that toolchain overrides hold for the children too.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// Runs to the end with our own output; an exit code other than 0 is an error that shows the command line.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// What the program wrote on standard output.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} did not write UTF-8"))
}

pub(crate) fn is_installed(program_name: &str) -> bool {
    find(program_name).is_some()
}

fn find(program_name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps `ip` and `nginx` where an ordinary user does not look.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    folders.map(|folder| folder.join(program_name)).find(|file| file.is_file())
}

/// How many checks passed and failed, and how long each step took.
#[derive(Debug, Default)]
pub(crate) struct Score {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    took: Duration,
    passed: u64,
    failed: u64,
}

/// The outcome of one step, in checks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    pub(crate) fn one(passed: bool) -> Tally {
        Tally { passed: u64::from(passed), failed: u64::from(!passed) }
    }
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Score {
    /// Runs a step. A step that cannot run at all counts as one failure, and the next steps still run: the person at the
    /// other end wants to know everything that is wrong, not the first thing.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Tally>) {
        println!("── {name}");
        let began = Instant::now();
        let tally = work().unwrap_or_else(|error| {
            println!("   {name} could not run to its end: {error:#}");
            Tally { passed: 0, failed: 1 }
        });
        let took = began.elapsed();
        println!("── {name}: {} passed, {} failed, {:.1} s", tally.passed, tally.failed, took.as_secs_f64());
        self.steps.push(Step { name: name.to_owned(), took, passed: tally.passed, failed: tally.failed });
    }

    /// Prints the table of steps and the closing line `N passed, M failed`. True when nothing failed.
    pub(crate) fn close(&self) -> bool {
        let total = self.total();
        let whole: Duration = self.steps.iter().map(|step| step.took).sum();
        println!();
        for step in &self.steps {
            println!("{:>8.1} s  {:>5} passed {:>4} failed  {}", step.took.as_secs_f64(), step.passed, step.failed, step.name);
        }
        println!("{:>8.1} s  in all", whole.as_secs_f64());
        println!("{} passed, {} failed", total.passed, total.failed);
        total.failed == 0 && total.passed > 0
    }

    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally::default();
        for step in &self.steps {
            total.add(Tally { passed: step.passed, failed: step.failed });
        }
        total
    }
}

/// Runs `cargo test …`, showing its output as it comes and counting the tests in it. Doc tests, compile-fail tests and
/// unit tests all end in the same summary line.
pub(crate) fn count_tests(command: &mut Command) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    let output = child.stdout.take().context("standard output was piped")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if let Some(more) = summary(&line) {
            tally.add(more);
        }
    }
    let status = child.wait()?;
    // A crate that does not compile, or a test process that dies, fails without naming a test.
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// Reads `test result: ok. 12 passed; 0 failed; …`.
fn summary(line: &str) -> Option<Tally> {
    let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut tally = Tally::default();
    for part in counts.split(';') {
        let (number, word) = part.trim().split_once(' ')?;
        match word {
            "passed" => tally.passed = number.parse().ok()?,
            "failed" => tally.failed = number.parse().ok()?,
            _ => break,
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_are_counted_and_others_are_not() {
        let ok = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(summary(ok), Some(Tally { passed: 12, failed: 0 }));
        let bad = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s";
        assert_eq!(summary(bad), Some(Tally { passed: 3, failed: 2 }));
        assert_eq!(summary("test trust::permit ... ok"), None);
        assert_eq!(summary("running 12 tests"), None);
    }

    #[test]
    fn a_step_that_cannot_run_is_a_failure_and_the_next_one_runs() {
        let mut score = Score::default();
        score.step("broken", || bail!("no such thing"));
        score.step("whole", || Ok(Tally { passed: 4, failed: 0 }));
        assert_eq!(score.total(), Tally { passed: 4, failed: 1 });
        assert!(!score.close());
    }

    #[test]
    fn nothing_run_is_not_a_pass() {
        assert!(!Score::default().close());
    }

    #[test]
    fn a_test_process_that_dies_without_a_summary_fails() {
        let tally = count_tests(program("sh").args(["-c", "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'; exit 101"])).unwrap();
        assert_eq!(tally, Tally { passed: 1, failed: 1 });
    }
}
