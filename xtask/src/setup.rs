//! What the tests need and the Rust toolchain does not bring, installed once.
//!
//! Debian packages come from `apt-get` (as root); Python environments and cargo-deny go into a cache folder, `$BLEU_CACHE`
//! or `~/.cache/bleu`, under names that carry a digest of what they were made from: a changed lock file makes a new
//! environment, an unchanged one costs a look at a file. The `az` command and the SDKs live in two environments, because
//! the command pins older SDKs than the newest.

use crate::run::{cargo, is_installed, must, program, read, root};
use anyhow::{Context, Result, bail};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// (a file or program that the package brings, the Debian 12 package)
const DEBIAN: &[(&str, &str)] = &[
    ("/usr/lib/postgresql/15/bin/postgres", "postgresql-15"),
    ("rclone", "rclone"),
    ("nginx", "nginx-light"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("jq", "jq"),
    ("python3", "python3"),
    ("git", "git"),
    ("kill", "procps"),
    ("strace", "strace"),
];
/// Pinned: what a checker refuses may change from one version to the next.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// An environment of Python packages: its name under `tests/clients/`, and a module that shows that it works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment {
    pub name: &'static str,
    probe: &'static str,
}
pub(crate) const AZ: Environment = Environment { name: "az", probe: "azure.cli.core" };
pub(crate) const SDK: Environment = Environment { name: "sdk", probe: "azure.identity" };

pub(crate) fn everything() -> Result<()> {
    debian()?;
    python(AZ, false)?;
    python(SDK, false)?;
    cargo_deny()?;
    Ok(())
}

pub(crate) fn cache() -> Result<PathBuf> {
    let folder = match std::env::var_os("BLEU_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("neither BLEU_CACHE nor HOME is set")?).join(".cache/bleu"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the cache {}", folder.display()))?;
    Ok(folder)
}

/// Installs missing Debian packages; needs root only when one is missing.
pub(crate) fn debian() -> Result<()> {
    let missing: Vec<&str> = DEBIAN.iter().filter(|(sign, _)| !is_there(sign)).map(|(_, package)| *package).collect();
    let mut missing = missing;
    if !program("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root()? {
        bail!("missing Debian packages; install them with: sudo apt-get install -y {}", missing.join(" "));
    }
    println!("   installing {}", missing.join(" "));
    let apt = |arguments: &[&str]| must(program("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments));
    apt(&["-qq", "update"])?;
    let mut install = vec!["-qq", "-y", "--no-install-recommends", "install"];
    install.extend(&missing);
    apt(&install)
}

fn is_there(sign: &str) -> bool {
    if sign.starts_with('/') { Path::new(sign).exists() } else { is_installed(sign) }
}

pub(crate) fn is_root() -> Result<bool> {
    Ok(read(program("id").arg("-u"))?.trim() == "0")
}

/// The folder of a ready environment. `newest` ignores the lock and takes today's versions, in an environment made anew.
pub(crate) fn python(environment: Environment, newest: bool) -> Result<PathBuf> {
    let folder = root().join("tests/clients");
    let source = folder.join(format!("{}.{}", environment.name, if newest { "in" } else { "lock" }));
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let version = read(program("python3").arg("--version"))?;
    let key = if newest { "newest".to_owned() } else { format!("{:016x}", digest(&[&text, &version])) };
    let home = cache()?.join(format!("python-{}-{key}", environment.name));
    let done = home.join("complete");
    if done.exists() && !newest {
        return Ok(home);
    }
    if home.exists() {
        // Half made by a run that was cut off, or yesterday's newest.
        fs::remove_dir_all(&home)?;
    }
    println!("   making a Python environment from {} (some minutes, once)", source.display());
    must(program("python3").arg("-m").arg("venv").arg(&home))?;
    let mut pip = program(home.join("bin/pip"));
    pip.args(["--quiet", "--disable-pip-version-check", "--no-input", "install", "-r"]).arg(&source);
    if !newest {
        // The lock is complete: a package it does not name may not come in.
        pip.arg("--no-deps");
    }
    must(&mut pip)?;
    must(program(home.join("bin/python")).arg("-c").arg(format!("import {}", environment.probe)))?;
    if newest {
        print!("{}", read(program(home.join("bin/pip")).args(["--disable-pip-version-check", "freeze"]))?);
    }
    fs::write(&done, "")?;
    Ok(home)
}

/// Names a cache folder, so it need not withstand an attacker: whoever can write the lock file can write the cache.
fn digest(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// The program that checks licences, bans and sources, built into the cache at a pinned version.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let home = cache()?.join(format!("cargo-deny-{CARGO_DENY_VERSION}"));
    let tool = home.join("bin/cargo-deny");
    if tool.exists() {
        return Ok(tool);
    }
    println!("   building cargo-deny {CARGO_DENY_VERSION} (some minutes, once)");
    let mut install = cargo();
    install.args(["install", "--quiet", "--locked", "--version", CARGO_DENY_VERSION, "--root"]).arg(&home).arg("cargo-deny");
    // A tool of seconds: building fast matters more than running fast.
    install.args(["--profile", "dev"]);
    must(&mut install)?;
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_lock_file_makes_a_new_environment() {
        assert_eq!(digest(&["a==1", "3.11"]), digest(&["a==1", "3.11"]));
        assert_ne!(digest(&["a==1", "3.11"]), digest(&["a==2", "3.11"]));
        assert_ne!(digest(&["a==1", "3.11"]), digest(&["a==1", "3.12"]));
    }

    #[test]
    fn every_lock_line_is_one_exact_version() {
        for environment in [AZ, SDK] {
            let folder = root().join("tests/clients");
            let lock = fs::read_to_string(folder.join(format!("{}.lock", environment.name))).unwrap();
            let packages: Vec<&str> = lock.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(packages.len() > 10, "{} locks only {} packages", environment.name, packages.len());
            assert!(packages.iter().all(|line| line.split("==").count() == 2 && !line.contains([' ', ';', '@'])));
            let wanted = fs::read_to_string(folder.join(format!("{}.in", environment.name))).unwrap();
            for name in wanted.lines() {
                assert!(packages.iter().any(|line| line.split("==").next() == Some(name)), "{name} is not in the lock");
            }
        }
    }

    #[test]
    fn a_missing_program_is_noticed() {
        assert!(is_there("sh") && is_there("/bin/sh"));
        assert!(!is_there("no-such-program-here") && !is_there("/no/such/file"));
    }
}
