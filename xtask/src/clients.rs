//! `cargo xtask clients`: unmodified clients, a region, and no way out.
//!
//! The outer half makes a network namespace in which only the loopback device exists, and starts this program again inside
//! it, in a process namespace of its own: when that half ends, for whatever reason, the kernel ends everything it started.
//! The inner half runs the name server, the region and the stories (`tests/clients/`), then stops the region, exports its
//! record and verifies it as a stranger would, and compares the names asked for with the written list.
//!
//! A story is one script with a home of its own. It finds the region by what `bleu env` prints and by nothing else, plus
//! these variables: `BLEU` (the program), `BLEU_DATA` (the region's folder), `BLEU_READY` (the ready file), `BLEU_ADMIN` and
//! `BLEU_ADMIN_PASSWORD` (what `bleu up` showed its user once), `STORY` (the folder of the scripts) and `SCRATCH` (an empty folder).

use crate::names::{self, Asked};
use crate::run::{Score, Tally, cargo, must, program, read, root};
use crate::setup::{self, AZ, SDK};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DOMAIN: &str = "bleu.localhost";
const LISTEN: &str = "127.0.0.1:8443";
const START_SECONDS_MAX: u64 = 60;
const STOP_SECONDS_MAX: u64 = 30;
const STORY_SECONDS_MAX: u64 = 1200;
const NAMESPACE_PREFIX: &str = "bleu-clients-";
/// What a failed story shows of its output, from the end.
const SHOWN_LINES_MAX: usize = 120;

/// The stories, in the order in which they run.
const STORIES: &[&str] = &[
    "az-story.sh",
    "az-deployments.sh",
    "az-rules.sh",
    "az-directory.sh",
    "az-two-tenants.sh",
    "az-login-forms.sh",
    "az-second-factor.sh",
    "sdk_default_credential.py",
    "sdk_blob.py",
    "rclone.sh",
];

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Try the newest published clients instead of the locked ones
    #[arg(long)]
    newest: bool,
    /// Keep the region's folder and the outputs, and say where
    #[arg(long)]
    keep: bool,
    /// Test this program instead of building one
    #[arg(long)]
    bleu: Option<PathBuf>,
    /// Run only stories whose name contains one of these words
    only: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Inside {
    #[arg(long)]
    bleu: PathBuf,
    #[arg(long)]
    az: PathBuf,
    #[arg(long)]
    sdk: PathBuf,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    score: PathBuf,
    only: Vec<String>,
}

/// `cargo xtask clients`. True when every story passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::debian()?;
    let tally = all(options)?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0 && tally.passed > 0)
}

/// Both Python environments, made where missing.
pub(crate) fn environments(newest: bool) -> Result<(PathBuf, PathBuf)> {
    Ok((setup::python(AZ, newest)?, setup::python(SDK, newest)?))
}

/// Builds the binary, makes the namespace, runs the inner half in it and gives back its score.
pub(crate) fn all(options: &Options) -> Result<Tally> {
    if !STORIES.iter().any(|story| is_chosen(story, &options.only)) {
        bail!("no story has such a name; there are: {}", STORIES.join(", "));
    }
    if !setup::is_root()? {
        bail!("a network namespace needs root: run it as root, or in a container where you are root");
    }
    let (az, sdk) = environments(options.newest)?;
    let bleu = match &options.bleu {
        Some(program) => program.canonicalize().with_context(|| format!("there is no {}", program.display()))?,
        None => build()?,
    };

    let folder = std::env::temp_dir().join(format!("{NAMESPACE_PREFIX}{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let score = folder.join("score");
    // Our own file may have been replaced by a build that ran before us; what runs now is always here.
    let ourselves = folder.join("xtask");
    fs::copy("/proc/self/exe", &ourselves).context("cannot copy this program")?;
    let namespace = Namespace::make()?;
    let mut inside = namespace.command(&ourselves);
    inside.arg("clients-inside").arg("--bleu").arg(&bleu).arg("--az").arg(&az).arg("--sdk").arg(&sdk);
    inside.arg("--folder").arg(&folder).arg("--score").arg(&score).args(&options.only);
    let status = inside.status().context("cannot enter the namespace")?;
    drop(namespace);
    fs::remove_file(&ourselves)?;

    let tally = tally_of(&fs::read_to_string(&score).with_context(|| format!("the run inside the namespace ended early: {status}"))?)?;
    if options.keep || tally.failed > 0 {
        println!("   kept for you to look at: {}", folder.display());
    } else {
        fs::remove_dir_all(&folder)?;
    }
    Ok(tally)
}

fn tally_of(text: &str) -> Result<Tally> {
    let (passed, failed) = text.trim().split_once(' ').context("the score is two numbers")?;
    Ok(Tally { passed: passed.parse()?, failed: failed.parse()? })
}

/// The binary as tests use it: unoptimised but for its dependencies.
fn build() -> Result<PathBuf> {
    must(cargo().args(["build", "--quiet", "--package", "bleu"]))?;
    let metadata: Value = serde_json::from_str(&read(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?)?;
    Ok(Path::new(metadata["target_directory"].as_str().context("cargo names no target folder")?).join("debug/bleu"))
}

/// A network namespace with nothing but loopback, and a resolver file that names our name server. Gone when dropped.
struct Namespace {
    name: String,
}

impl Namespace {
    fn make() -> Result<Namespace> {
        sweep()?;
        let namespace = Namespace { name: format!("{NAMESPACE_PREFIX}{}", std::process::id()) };
        let folder = namespace.resolver_folder();
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n")?;
        // a client that opens a little server of its own asks for the machine's name: that is not a name outside
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").context("the machine has no name")?;
        fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {}\n", machine.trim()))?;
        fs::write(folder.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
        must(program("ip").args(["netns", "add", &namespace.name]))?;
        must(program("ip").args(["-n", &namespace.name, "link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// `ip netns exec` puts the files of `/etc/netns/NAME` over those of `/etc`.
    fn resolver_folder(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// A command that runs inside, and cannot outlive us: the first word is for our death, `--kill-child` for its own.
    fn command(&self, what: &Path) -> Command {
        let mut command = program("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.name]);
        command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(what);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = program("ip").args(["netns", "delete", &self.name]).status();
        let _ = fs::remove_dir_all(self.resolver_folder());
    }
}

/// Removes namespaces of runs that were killed: those whose process is gone.
fn sweep() -> Result<()> {
    for line in read(program("ip").args(["netns", "list"]))?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some(owner) = name.strip_prefix(NAMESPACE_PREFIX) else { continue };
        if !Path::new("/proc").join(owner).exists() {
            drop(Namespace { name: name.to_owned() });
        }
    }
    Ok(())
}

/// No words choose every story.
fn is_chosen(story: &str, words: &[String]) -> bool {
    words.is_empty() || words.iter().any(|word| story.contains(word.as_str()))
}

/// The half that runs inside the namespace.
pub(crate) fn run_inside(inside: &Inside) -> Result<bool> {
    let asked = names::serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)), DOMAIN)?;
    let mut score = Score::default();
    let mut region = None;
    score.step("the region starts", || {
        region = Some(Region::start(inside)?);
        Ok(Tally::one(true))
    });
    if let Some(region) = region {
        for story in STORIES.iter().filter(|story| is_chosen(story, &inside.only)) {
            score.step(story, || tell(inside, &region, story));
        }
        let data = region.data.clone();
        score.step("the region stops when asked", || region.stop().map(|()| Tally::one(true)));
        score.step("its record is true", || record(inside, &data));
        score.step("names asked for", || compare_names(&asked, inside.only.is_empty()));
    }
    let passed = score.close();
    let total = score.total();
    fs::write(&inside.score, format!("{} {}\n", total.passed, total.failed))?;
    Ok(passed)
}

/// A running region. Killed when dropped; `stop` is the polite way.
struct Region {
    process: Child,
    data: PathBuf,
    ready: PathBuf,
    log: PathBuf,
}

impl Region {
    fn start(inside: &Inside) -> Result<Region> {
        let (data, ready, log) = (inside.folder.join("region"), inside.folder.join("ready.json"), inside.folder.join("region.log"));
        let output = fs::File::create(&log)?;
        let mut up = program(&inside.bleu);
        up.arg("up").arg("--data").arg(&data).args(["--listen", LISTEN, "--ready-file"]).arg(&ready);
        up.stdout(output.try_clone()?).stderr(output).env("LC_ALL", "C.UTF-8").current_dir(&inside.folder);
        let process = up.spawn().with_context(|| format!("cannot start {}", inside.bleu.display()))?;
        let mut region = Region { process, data, ready, log };
        region.wait_until_ready()?;
        Ok(region)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        while !self.ready.exists() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the region ended before it was ready: {status}\n{}", self.last_words());
            }
            if began.elapsed() > Duration::from_secs(START_SECONDS_MAX) {
                bail!("the region is not ready after {START_SECONDS_MAX} s\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let ready: Value = serde_json::from_str(&fs::read_to_string(&self.ready)?).context("the ready file is not whole")?;
        for field in ["management", "login", "graph", "blob", "tenant", "subscription", "pid"] {
            if ready.get(field).is_none() {
                bail!("the ready file names no {field}");
            }
        }
        println!("   ready after {} ms", began.elapsed().as_millis());
        Ok(())
    }

    /// SIGTERM, then exit code 0 within the bound.
    fn stop(mut self) -> Result<()> {
        must(program("kill").args(["-TERM", &self.process.id().to_string()]))?;
        let began = Instant::now();
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the region ended with {status}\n{}", self.last_words()),
                None if began.elapsed() > Duration::from_secs(STOP_SECONDS_MAX) => {
                    bail!("the region runs {STOP_SECONDS_MAX} s after SIGTERM\n{}", self.last_words())
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The administrator's name and password: `bleu up` leaves them in a file where nobody watches it.
    fn administrator(&self) -> Result<(String, String)> {
        let path = self.data.join("administrator.json");
        administrator_in(&fs::read(&path).with_context(|| format!("{} is not there\n{}", path.display(), self.last_words()))?)
    }

    fn last_words(&self) -> String {
        last_lines(&fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn administrator_in(document: &[u8]) -> Result<(String, String)> {
    let document: Value = serde_json::from_slice(document)?;
    let word = |name: &str| document[name].as_str().map(str::to_owned).with_context(|| format!("no '{name}'"));
    Ok((word("name")?, word("password")?))
}

/// Runs one story; its output is shown when it fails.
fn tell(inside: &Inside, region: &Region, story: &str) -> Result<Tally> {
    let (home, stories) = (inside.folder.join(format!("home-{story}")), root().join("tests/clients"));
    let scratch = home.join("scratch");
    fs::create_dir_all(&scratch)?;
    let log = inside.folder.join(format!("{story}.log"));
    let output = fs::File::create(&log)?;

    // The story sees what a person's shell would: the lines of `bleu env`, evaluated; only the profile is its own.
    let enter = r#"set -eu; lines=$("$BLEU" env --data "$BLEU_DATA"); eval "$lines"; export AZURE_CONFIG_DIR="$HOME/azure"; exec "$@""#;
    let mut command = program("timeout");
    command.args(["--kill-after=10", &STORY_SECONDS_MAX.to_string(), "bash", "-c", enter, "story"]);
    let script = stories.join(story);
    if story.ends_with(".py") {
        command.arg(inside.sdk.join("bin/python")).arg(&script);
    } else {
        command.arg("bash").arg(&script);
    }
    let path =
        format!("{}:{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", inside.az.join("bin").display(), folder_of(&inside.bleu).display());
    command.env_clear().env("PATH", path).env("HOME", &home).env("LC_ALL", "C.UTF-8");
    command.env("BLEU", &inside.bleu).env("BLEU_DATA", &region.data).env("BLEU_READY", &region.ready);
    let (name, password) = region.administrator()?;
    command.env("BLEU_ADMIN", name).env("BLEU_ADMIN_PASSWORD", password);
    command.env("STORY", &stories).env("SCRATCH", &scratch).current_dir(&scratch);
    let status = command.stdout(output.try_clone()?).stderr(output).status().context("cannot start the story")?;
    // Big files have served; a kept folder should stay small.
    fs::remove_dir_all(&scratch)?;

    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        return Ok(Tally::one(true));
    }
    println!("{}\n   {story}: {status}", last_lines(&text));
    Ok(Tally::one(false))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].iter().map(|line| format!("   | {line}\n")).collect()
}

/// Export, keys out of band, verify; then one flipped byte must be refused.
fn record(inside: &Inside, data: &Path) -> Result<Tally> {
    let (bundle, trust) = (inside.folder.join("record.bundle"), inside.folder.join("record.trust"));
    let bleu = || program(&inside.bleu);
    must(bleu().args(["record", "export", "--data"]).arg(data).arg("--out").arg(&bundle))?;
    must(bleu().args(["record", "trust", "--data"]).arg(data).arg("--out").arg(&trust))?;
    let mut tally = Tally::one(bleu().arg("verify").arg(&bundle).arg("--trust").arg(&trust).status()?.success());

    let mut bytes = fs::read(&bundle)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the bundle is empty")? ^= 1;
    let bent = inside.folder.join("record.bent");
    fs::write(&bent, bytes)?;
    let verdict = bleu().arg("verify").arg(&bent).arg("--trust").arg(&trust).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    tally.add(Tally::one(matches!(verdict.code(), Some(1 | 2))));
    Ok(tally)
}

/// `complete`: all stories ran, so a name on the list that nobody asked for is out of date.
fn compare_names(asked: &Asked, complete: bool) -> Result<Tally> {
    let list = names::allowed(&fs::read_to_string(root().join("tests/clients/outside-names.txt"))?)?;
    let verdict = names::judge(&asked.names(), &list, DOMAIN);
    for name in &verdict.unexplained {
        println!("   {name} was asked for and is not on the list tests/clients/outside-names.txt");
    }
    for name in verdict.unneeded.iter().filter(|_| complete) {
        println!("   {name} was not asked for: take it off the list");
    }
    Ok(Tally::one(verdict.unexplained.is_empty() && (!complete || verdict.unneeded.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_is_there_and_every_script_is_a_story() {
        let mut found: Vec<String> = fs::read_dir(root().join("tests/clients"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| (name.ends_with(".sh") || name.ends_with(".py")) && !name.starts_with("common"))
            .collect();
        let mut told: Vec<String> = STORIES.iter().map(|name| (*name).to_owned()).collect();
        found.sort();
        told.sort();
        assert_eq!(found, told);
    }

    #[test]
    fn scripts_are_well_formed() {
        for story in STORIES.iter().filter(|story| story.ends_with(".sh")).chain([&"common.sh"]) {
            must(program("bash").arg("-n").arg(root().join("tests/clients").join(story))).unwrap();
        }
    }

    #[test]
    fn the_administrator_is_read_from_its_file() {
        let file = br#"{ "name": "admin@bleu.localhost", "password": "aB3-_x" }"#;
        assert_eq!(administrator_in(file).unwrap(), ("admin@bleu.localhost".to_owned(), "aB3-_x".to_owned()));
        assert!(administrator_in(br#"{ "name": "admin@bleu.localhost" }"#).is_err());
        assert!(administrator_in(b"").is_err());
    }

    #[test]
    fn stories_are_chosen_by_parts_of_their_names() {
        assert!(STORIES.iter().all(|story| is_chosen(story, &[])));
        let words = ["rclone".to_owned(), "sdk".to_owned()];
        let chosen: Vec<_> = STORIES.iter().filter(|story| is_chosen(story, &words)).collect();
        assert_eq!(chosen, [&"sdk_default_credential.py", &"sdk_blob.py", &"rclone.sh"]);
        assert!(all(&Options { only: vec!["no such story".to_owned()], ..Options::default() }).is_err());
    }

    #[test]
    fn the_score_crosses_the_namespace_as_two_numbers() {
        assert_eq!(tally_of("7 2\n").unwrap(), Tally { passed: 7, failed: 2 });
        assert!(tally_of("").is_err() && tally_of("7").is_err() && tally_of("a b").is_err());
    }
}
