//! The command from outside: a real process, a folder of its own, free ports.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn bleu(arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    // as from a shell that gives few file handles
    command
        .args(["-c", r#"ulimit -S -n 256; exec "$0" "$@""#, env!("CARGO_BIN_EXE_bleu")])
        .args(arguments)
        .env_remove("BLEU_DATA")
        .env_remove("BLEU_LISTEN")
        .env_remove("AZURE_CONFIG_DIR")
        .env("LC_ALL", "C")
        .env("XDG_CONFIG_HOME", "/proc/nowhere")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    bleu(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// A region in its own process.
struct Region {
    child: Child,
    ready: serde_json::Value,
    said: String,
}

impl Region {
    fn start(data: &str, more: &[&str]) -> Region {
        let mut child = bleu(&["up", "--data", data, "--listen", "127.0.0.1:0"]).args(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        // the last line tells how to stop it
        while !said.contains("Ctrl-C") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "the region did not start: {said}");
        }
        let ready = std::fs::read_to_string(Path::new(data).join("ready.json")).unwrap();
        Region { child, ready: serde_json::from_str(&ready).unwrap(), said }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn stop(mut self) -> ExitStatus {
        self.signal("-TERM");
        self.child.wait().unwrap()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it never came: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_region_lives_and_its_record_is_verified() {
    let temporary = tempfile::tempdir().unwrap();
    let data = &path(temporary.path(), "region");
    let (bundle, trust) = (&path(temporary.path(), "bundle"), &path(temporary.path(), "trust"));
    let ready_file = path(temporary.path(), "ready.json");
    let region = Region::start(data, &["--ready-file", &ready_file]);
    assert!(region.said.contains("admin@bleu.localhost") && region.said.contains("bleu env"), "{}", region.said);
    // nobody watches: the password is where its owner alone finds it, and not in what may become a log
    let file = Path::new(data).join("administrator.json");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let password = kept["password"].as_str().unwrap();
    assert!(password.len() >= 12 && !region.said.contains(password) && region.said.contains("administrator.json"), "{}", region.said);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap()) & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&ready_file).unwrap(), std::fs::read_to_string(Path::new(data).join("ready.json")).unwrap());
    assert_eq!(region.ready["pid"], region.child.id());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", region.child.id())).unwrap();
    let files: Vec<&str> = limits.lines().find(|l| l.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert!(files[3].parse::<u64>().unwrap() >= 1_024, "a listener needs more than a shell gives: {files:?}");

    let status = run(&["status", "--data", data, "--json"]);
    assert_eq!(code(&status), 0, "{}{}", out(&status), err(&status));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["running"], &status["record"]["cosigned"], &status["tenants"]), (&true.into(), &true.into(), &1.into()));

    let export = run(&["record", "export", "--data", data, "--out", bundle]);
    assert_eq!(code(&export), 0, "{}", err(&export));
    assert_eq!(code(&run(&["record", "trust", "--data", data, "--out", trust])), 0);
    let verified = run(&["verify", bundle, "--trust", trust]);
    assert_eq!(code(&verified), 0, "{}{}", out(&verified), err(&verified));
    let report = run(&["verify", bundle, "--trust", trust, "--json"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&report.stdout).is_ok());
    let french = bleu(&["verify", bundle, "--trust", trust]).env("LC_ALL", "fr_FR.UTF-8").output().unwrap();
    assert!(code(&french) == 0 && out(&french) != out(&verified), "{}", out(&french));

    // nobody vouches for the keys inside
    assert_eq!(code(&run(&["verify", bundle])), 1);
    // kept by the user, they are found
    let config = path(temporary.path(), "config");
    std::fs::create_dir_all(Path::new(&config).join("bleu/trust")).unwrap();
    std::fs::copy(trust, Path::new(&config).join("bleu/trust/mine.trust")).unwrap();
    assert_eq!(bleu(&["verify", bundle]).env("XDG_CONFIG_HOME", &config).output().unwrap().status.code(), Some(0));
    let mut flipped = std::fs::read(bundle).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let bad = &path(temporary.path(), "flipped");
    std::fs::write(bad, &flipped).unwrap();
    assert_ne!(code(&run(&["verify", bad, "--trust", trust])), 0);
    std::fs::write(bad, "not a bundle").unwrap();
    assert_eq!(code(&run(&["verify", bad, "--trust", trust])), 2);
    assert_eq!(code(&run(&["verify", &path(temporary.path(), "missing")])), 2);

    let head = out(&run(&["record", "head", "--data", data]));
    assert!(head.starts_with("bleu.localhost/francecentral\n"), "{head}");
    let proof: serde_json::Value = serde_json::from_slice(&run(&["record", "prove", "0-1", "--data", data]).stdout).unwrap();
    assert_eq!(proof["index"], 0);
    assert_ne!(code(&run(&["record", "prove", "0-999999", "--data", data])), 0);
    let followed = out(&run(&["record", "follow", "--once", "--from", "0", "--json", "--data", data]));
    let first: serde_json::Value = serde_json::from_str(followed.lines().next().unwrap()).unwrap();
    assert_eq!(first["event"]["verb"], "Region created");

    let names = out(&run(&["names", "acct1", "--data", data]));
    assert!(names.contains("127.0.0.1 acct1.blob.core.bleu.localhost"), "{names}");
    assert_ne!(code(&run(&["names", "Not-an-account", "--data", data])), 0);

    assert!(region.stop().success());
    assert!(!Path::new(&ready_file).exists(), "nothing is ready any more");

    // stopped, it still tells, and goes on where it was
    let status = run(&["status", "--data", data, "--json"]);
    assert_eq!(code(&status), 0, "{}{}", out(&status), err(&status));
    // following it ends: each look at a stopped region is an entry, and it would follow itself for ever
    let mut following = bleu(&["record", "follow", "--data", data]).stdout(Stdio::null()).spawn().unwrap();
    until("a follower of a stopped region ends", || following.try_wait().unwrap().is_some());
    assert_eq!(code(&run(&["record", "export", "--data", data, "--out", bundle])), 0);
    assert_eq!(code(&run(&["verify", bundle, "--trust", trust])), 0);
    let region = Region::start(data, &[]);
    assert!(!region.said.contains("admin@"), "a password is shown once");
    assert_eq!(code(&run(&["record", "export", "--data", data, "--out", bundle])), 0);
    let verified = run(&["verify", bundle, "--trust", trust]);
    assert_eq!(code(&verified), 0, "{}", out(&verified));
    assert!(region.stop().success());
}

/// Whoever watches a region asks it for ever.
#[test]
fn a_region_that_is_asked_for_its_status_does_not_grow() {
    let temporary = tempfile::tempdir().unwrap();
    let data = &path(temporary.path(), "region");
    let region = Region::start(data, &[]);
    let resident_kib = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", region.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let ask = |times: usize| {
        for _ in 0..times {
            let mut socket = std::os::unix::net::UnixStream::connect(Path::new(data).join("control.sock")).unwrap();
            let verb = br#"{"verb":"status"}"#;
            socket.write_all(&(verb.len() as u32).to_be_bytes()).unwrap();
            socket.write_all(verb).unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).unwrap();
            assert!(answer.windows(17).any(|w| w == b"Microsoft.Storage"));
        }
    };
    ask(200);
    let before = resident_kib();
    ask(2_000);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 4_096, "2,000 questions cost {grown} KiB");
}

#[test]
fn a_second_tenant_is_one_command_away() {
    let temporary = tempfile::tempdir().unwrap();
    let data = &path(temporary.path(), "region");
    let region = Region::start(data, &["--no-witness"]);
    let added = run(&["tenant", "add", "Contoso SA", "--data", data, "--json"]);
    assert_eq!(code(&added), 0, "{}", err(&added));
    let added: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!(added["domain"], "contoso-sa.bleu.localhost");
    let again = run(&["tenant", "add", "Contoso SA", "--data", data]);
    assert!(code(&again) == 1 && err(&again).contains("contoso-sa.bleu.localhost"), "{}", err(&again));
    for bad in [&["tenant", "add", "北京", "--data", data][..], &["tenant", "add", "X", "--domain", "../../etc", "--data", data]] {
        assert_eq!(code(&run(bad)), 1, "{bad:?}");
    }

    let env = |more: &[&str]| out(&bleu(&["env", "--data", data, "--shell", "json"]).args(more).output().unwrap());
    let first: serde_json::Value = serde_json::from_str(&env(&[])).unwrap();
    let second: serde_json::Value = serde_json::from_str(&env(&["--tenant", "contoso-sa.bleu.localhost"])).unwrap();
    assert_eq!(second["AZURE_CLIENT_ID"], added["client_id"]);
    assert_ne!(first["AZURE_CLIENT_SECRET"], second["AZURE_CLIENT_SECRET"]);
    assert_eq!(code(&run(&["env", "--data", data, "--tenant", "../client"])), 1);

    let bundle = &path(temporary.path(), "bundle");
    let tenant = added["tenant"].as_str().unwrap();
    assert_eq!(code(&run(&["record", "export", "--tenant", tenant, "--data", data, "--out", bundle])), 0);
    let trust = &path(temporary.path(), "trust");
    assert_eq!(code(&run(&["record", "trust", "--tenant", "contoso-sa.bleu.localhost", "--data", data, "--out", trust])), 0);
    assert_eq!(code(&run(&["verify", bundle, "--trust", trust])), 0);
    for nobody in ["00000000-0000-4000-8000-000000000000", "nobody.bleu.localhost", "../client"] {
        assert_eq!(code(&run(&["record", "export", "--tenant", nobody, "--data", data, "--out", bundle])), 1, "{nobody}");
    }
    // without a witness, it says so
    assert_eq!(code(&run(&["status", "--data", data])), 1);
    assert!(region.stop().success());
}

#[test]
fn env_is_exactly_what_programs_rely_on() {
    let temporary = tempfile::tempdir().unwrap();
    // a name that a shell would take apart, and longer than the address of a socket
    let data = &path(temporary.path(), &format!("it's a folder $HOME {}", "x".repeat(90)));
    let region = Region::start(data, &["--no-witness"]);
    assert_ne!(code(&run(&["status", "--data", data, "--json"])), 101);
    let script = format!("eval \"$({} env --data \"$DATA\")\" && env", env!("CARGO_BIN_EXE_bleu"));
    let output = Command::new("sh").args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").env("DATA", data).output().unwrap();
    let text = out(&output);
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split_once('='))
        .map(|(n, _)| n)
        .filter(|n| !["PATH", "DATA", "PWD", "_", "SHLVL", "OLDPWD"].contains(n))
        .collect();
    names.sort_unstable();
    let expected = [
        "AZURE_AUTHORITY_HOST",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_CONFIG_DIR",
        "AZURE_CORE_COLLECT_TELEMETRY",
        "AZURE_CORE_INSTANCE_DISCOVERY",
        "AZURE_SUBSCRIPTION_ID",
        "AZURE_TENANT_ID",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
    ];
    assert_eq!(names, expected);
    let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(&format!("{name}="))).unwrap().to_owned();
    assert_eq!(value("AZURE_TENANT_ID"), "adfs");
    assert_eq!(value("AZURE_AUTHORITY_HOST"), format!("https://localhost:{}", region.ready["port"]));
    for file in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        assert!(std::fs::read_to_string(value(file)).unwrap().starts_with("-----BEGIN CERTIFICATE-----"), "{file}");
    }
    let no_az = bleu(&["login", "--data", data]).env("PATH", "/proc/nowhere").output().unwrap();
    assert!(code(&no_az) == 1 && err(&no_az).contains("azure-cli"), "{}", err(&no_az));
    assert!(region.stop().success());
}

#[test]
fn what_stands_in_the_way_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let data = &path(temporary.path(), "region");
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = run(arguments);
        assert_eq!(code(&output), 1, "{arguments:?}: {}", out(&output));
        for word in words {
            assert!(err(&output).contains(word), "{arguments:?} does not say {word}: {}", err(&output));
        }
    };
    refused(&["env", "--data", data], &["bleu up"]);
    refused(&["status", "--data", data], &["bleu up"]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    refused(&["up", "--data", data, "--listen", &at], &[&at, "--listen"]);

    let region = Region::start(data, &["--no-witness"]);
    refused(&["up", "--data", data, "--listen", "127.0.0.1:0"], &[&region.child.id().to_string(), "--data"]);
    assert!(region.stop().success());
    refused(&["up", "--data", data, "--listen", "127.0.0.1:0", "--ready-file", "/proc/nowhere/ready"], &["/proc/nowhere/ready"]);
    let reopened = Region::start(data, &["--no-witness"]);
    let followed = out(&run(&["record", "follow", "--once", "--from", "0", "--data", data]));
    assert!(!followed.contains("Batch lost"), "a start that failed was closed in good order: {followed}");
    assert!(reopened.stop().success());
    refused(&["up", "--data", data, "--domain", "other.localhost"], &["bleu.localhost", "--data"]);

    let foreign = temporary.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.txt"), "x").unwrap();
    refused(&["up", "--data", foreign.to_str().unwrap()], &["--data"]);
    refused(&["up", "--data", foreign.join("thesis.txt").join("x").to_str().unwrap()], &["--data"]);

    let client = Path::new(data).join("client.json");
    let kept = std::fs::read(&client).unwrap();
    std::fs::remove_file(&client).unwrap();
    let region = Region::start(data, &["--no-witness"]);
    refused(&["env", "--data", data], &["client.json"]);
    assert!(region.stop().success());
    std::fs::write(&client, kept).unwrap();

    std::fs::remove_file(Path::new(data).join("keys/root.key")).unwrap();
    refused(&["up", "--data", data, "--listen", "127.0.0.1:0"], &["root.key"]);
    for usage in [&["up", "--listen", "here"][..], &["nonsense"], &["record", "export"]] {
        assert_eq!(code(&run(usage)), 2, "{usage:?}");
    }
    for help in [&["--help"][..], &["up", "--help"], &["record", "--help"], &["completions", "bash"], &["--version"]] {
        assert_eq!(code(&run(help)), 0, "{help:?}");
    }
}

/// Stands in for the `az` command: writes down what it is asked, and knows a cloud once it was registered.
const AZ: &str = r#"#!/bin/sh
echo "$@" >> "$AZURE_CONFIG_DIR/asked"
for word in "$@"; do case "$word" in @*) cat "${word#@}" >> "$AZURE_CONFIG_DIR/secret"; stat -c %a "${word#@}" >> "$AZURE_CONFIG_DIR/mode";; esac; done
case "$1 $2" in
  "cloud show") test -e "$AZURE_CONFIG_DIR/cloud";;
  "cloud register") touch "$AZURE_CONFIG_DIR/cloud";;
esac
"#;

#[test]
fn login_is_three_ordinary_commands_and_keeps_the_keys() {
    use std::os::unix::fs::PermissionsExt;
    let temporary = tempfile::tempdir().unwrap();
    let data = &path(temporary.path(), "region");
    let az = temporary.path().join("az");
    std::fs::write(&az, AZ).unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = temporary.path().join("config");
    let search = format!("{}:/usr/bin:/bin", temporary.path().display());
    let login = |data: &str, more: &[&str]| {
        bleu(&["login", "--data", data]).args(more).env("PATH", &search).env("XDG_CONFIG_HOME", &config).output().unwrap()
    };

    let region = Region::start(data, &[]);
    let env: serde_json::Value = serde_json::from_slice(&run(&["env", "--data", data, "--shell", "json"]).stdout).unwrap();
    let (secret, id) = (env["AZURE_CLIENT_SECRET"].as_str().unwrap(), env["AZURE_CLIENT_ID"].as_str().unwrap());
    let first = login(data, &[]);
    assert_eq!(code(&first), 0, "{}{}", out(&first), err(&first));
    let url = format!("https://localhost:{}", region.ready["port"]);
    assert!(out(&first).contains(&format!("+ az cloud register --name Bleu --endpoint-resource-manager {url}\n+ az cloud set --name Bleu\n+ az login --service-principal --username {id} --password \"$AZURE_CLIENT_SECRET\" --tenant ")), "{}", out(&first));
    assert!(!out(&first).contains(secret) && !err(&first).contains(secret));
    let profile = Path::new(data).join("az");
    let asked = std::fs::read_to_string(profile.join("asked")).unwrap();
    assert!(asked.contains("cloud register") && !asked.contains(secret), "{asked}");
    assert_eq!(std::fs::read_to_string(profile.join("secret")).unwrap(), secret);
    assert_eq!(std::fs::read_to_string(profile.join("mode")).unwrap(), "600\n");
    assert!(
        !std::fs::read_dir(&profile).unwrap().flatten().any(|e| e.file_name().to_string_lossy().starts_with(".secret")),
        "the file is gone"
    );

    let second = login(data, &[]);
    assert_eq!(code(&second), 0, "{}", err(&second));
    assert!(out(&second).contains("+ az cloud update --name Bleu"), "{}", out(&second));

    // the keys it kept are those that verify
    let bundle = &path(temporary.path(), "bundle");
    assert_eq!(code(&run(&["record", "export", "--data", data, "--out", bundle])), 0);
    assert_eq!(bleu(&["verify", bundle]).env("XDG_CONFIG_HOME", &config).output().unwrap().status.code(), Some(0));
    // and another region that calls itself so is noticed
    let tenant = region.ready["tenant"].as_str().unwrap();
    let kept = config.join(format!("bleu/trust/{tenant}.trust"));
    let other = &path(temporary.path(), "other");
    let elsewhere = Region::start(other, &["--no-witness"]);
    let others = run(&["record", "trust", "--data", other]).stdout;
    std::fs::write(&kept, others).unwrap();
    let refused = login(data, &[]);
    assert!(code(&refused) == 1 && err(&refused).contains("--replace-trust"), "{}", err(&refused));
    assert_eq!(code(&login(data, &["--replace-trust"])), 0);
    assert!(elsewhere.stop().success() && region.stop().success());
}

#[test]
fn a_region_may_have_another_engine_more_sites_and_a_name_server() {
    let temporary = tempfile::tempdir().unwrap();
    let data = &path(temporary.path(), "region");
    let options = [
        "--no-witness",
        "--engine",
        "redb",
        "--site",
        "paris-1",
        "lyon-1",
        "--dns",
        "127.0.0.1:0",
        "--domain",
        "Cloud.Example",
        "--location",
        "France South",
    ];
    let region = Region::start(data, &options);
    assert_eq!((&region.ready["domain"], &region.ready["location"]), (&"cloud.example".into(), &"francesouth".into()));
    let status: serde_json::Value = serde_json::from_slice(&run(&["status", "--data", data, "--json"]).stdout).unwrap();
    assert_eq!((&status["engine"], status["sites"].as_array().unwrap().len()), (&"redb".into(), 2));
    let dns = region.ready["dns"].as_str().unwrap();
    let names = out(&run(&["names", "--data", data]));
    assert!(names.contains(dns) && names.contains("~cloud.example"), "{names}");
    assert!(region.stop().success());
    let region = Region::start(data, &options);
    assert!(region.stop().success());
}

/// The processes that a process started.
fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|p| p.parse::<u32>().ok()));
    }
    found
}

#[test]
fn a_dead_witness_is_replaced_and_a_dead_region_takes_its_witness_along() {
    let temporary = tempfile::tempdir().unwrap();
    let data = &path(temporary.path(), "region");
    let mut region = Region::start(data, &[]);
    let witness = children(region.child.id());
    assert_eq!(witness.len(), 1);
    assert!(Command::new("kill").args(["-KILL", &witness[0].to_string()]).status().unwrap().success());
    until("another witness", || children(region.child.id()).first().is_some_and(|pid| *pid != witness[0]));
    let (bundle, trust) = (&path(temporary.path(), "bundle"), &path(temporary.path(), "trust"));
    assert_eq!(code(&run(&["record", "trust", "--data", data, "--out", trust])), 0);
    until("its cosignature", || {
        run(&["record", "export", "--data", data, "--out", bundle]);
        code(&run(&["verify", bundle, "--trust", trust])) == 0
    });
    // the region dies at once; the next one starts at once, with the same witness
    region.signal("-KILL");
    region.child.wait().unwrap();
    let region = Region::start(data, &[]);
    until("the sweep, and the cosignature", || code(&run(&["status", "--data", data])) == 0);
    assert_eq!(code(&run(&["record", "export", "--data", data, "--out", bundle])), 0);
    let verified = run(&["verify", bundle, "--trust", trust]);
    assert_eq!(code(&verified), 0, "{}", out(&verified));
    assert!(out(&verified).contains("Batch lost"), "{}", out(&verified));
    assert!(region.stop().success());
}

/// A witness in its own process, without a region.
struct Witness {
    child: Child,
    address: String,
    key: record::VerifierKey,
}

impl Witness {
    fn start(data: &Path, log: Option<&str>) -> Witness {
        let mut command = bleu(&["witness", "--listen", "127.0.0.1:0", "--json", "--data", data.to_str().unwrap()]);
        if let Some(log) = log {
            command.args(["--log", log]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let started: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = started["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Witness { child, address, key: started["key"].as_str().unwrap().parse().unwrap() }
    }

    /// Status and body of one request.
    fn send(&self, method: &str, target: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // it may answer, and close, before it has read all
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        (status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A log to be witnessed.
struct Log {
    signer: record::NoteSigner,
    appender: record::tiles::Appender,
    files: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Log {
    fn new() -> Log {
        let key = crypto::NoteKey::from_seed(crypto::Secret::new([3; 32])).unwrap();
        let public = record::VerifierKey::new("log.example/x", record::KeyKind::Note, key.public()).unwrap();
        Log {
            signer: record::NoteSigner::new(public, move |m| Ok(key.sign(m))),
            appender: record::tiles::Appender::new(),
            files: Default::default(),
        }
    }

    /// Grows, and asks for a cosignature from `old` on.
    fn request(&mut self, old: u64, grow: usize, word: &str) -> (Vec<u8>, record::SignedCheckpoint) {
        let entries: Vec<String> = (0..grow).map(|i| format!("{word} {i}")).collect();
        let appended = self.appender.append(&entries).unwrap();
        self.files.extend(appended.files);
        let checkpoint = record::Checkpoint { origin: "log.example/x".into(), size: appended.size, root: appended.root };
        let checkpoint = record::SignedCheckpoint::sign(checkpoint, &self.signer).unwrap();
        let proof = record::tiles::prove_consistency(old, appended.size, &|path| Ok(self.files.get(path).cloned())).unwrap();
        (record::witness::AddCheckpoint { old, proof, checkpoint: checkpoint.clone() }.to_bytes(), checkpoint)
    }
}

#[test]
fn a_witness_cosigns_growth_only_and_remembers() {
    let temporary = tempfile::tempdir().unwrap();
    let folder: PathBuf = temporary.path().join("witness");
    let mut log = Log::new();
    let vkey = log.signer.key().to_string();

    let unaware = Witness::start(&folder, None);
    let (body, mut checkpoint) = log.request(0, 5, "entry");
    assert_eq!(unaware.send("POST", "/add-checkpoint", &body).0, 404, "it does not watch that log");
    // a log that its file names later is taken up
    std::fs::write(folder.join("logs"), format!("# mine\n{vkey}\n")).unwrap();
    let (status, lines) = unaware.send("POST", "/add-checkpoint", &body);
    assert_eq!(status, 200, "{lines}");
    assert_eq!(checkpoint.note.take_cosignatures(lines.as_bytes(), std::slice::from_ref(&unaware.key)).unwrap(), 1);
    assert!(
        !run(&["witness", "--data", folder.to_str().unwrap(), "--listen", "127.0.0.1:0"]).status.success(),
        "one process holds a witness"
    );
    let key = unaware.key.clone();
    drop(unaware);

    // killed, it still knows what it saw
    let witness = Witness::start(&folder, Some(&vkey));
    assert_eq!(witness.key, key);
    assert_eq!(witness.send("POST", "/add-checkpoint", &body), (409, "5\n".into()));
    let (body, _) = log.request(5, 300, "entry");
    assert_eq!(witness.send("POST", "/add-checkpoint", &body).0, 200);
    let mut fork = Log::new();
    fork.request(0, 5, "entry");
    fork.request(0, 300, "entry");
    let (body, _) = fork.request(305, 1, "fork");
    assert_eq!(witness.send("POST", "/add-checkpoint", &body).0, 200, "the same log so far");
    let mut fork = Log::new();
    fork.request(0, 306, "fork");
    let (body, _) = fork.request(306, 1, "fork");
    assert_eq!(witness.send("POST", "/add-checkpoint", &body).0, 422, "another history");

    assert_eq!(witness.send("POST", "/add-checkpoint", b"old x\n").0, 400);
    assert_eq!(witness.send("GET", "/add-checkpoint", b"").0, 405);
    assert_eq!(witness.send("POST", "/", b"").0, 404);
    assert_eq!(witness.send("POST", "/add-checkpoint", &vec![b'x'; 65 << 10]).0, 413);
    assert!(Command::new("kill").args(["-TERM", &witness.child.id().to_string()]).status().unwrap().success());
}

/// What is left on a terminal after everything that was written to it, line by line.
fn on_screen(written: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut at, mut rest) = (0, written);
    while let Some(next) = rest.chars().next() {
        match rest.strip_prefix("\x1b[") {
            Some(code) => {
                let end = code.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                match &code[..=end] {
                    "2K" => lines[at].clear(),
                    "1A" => at -= 1,
                    other => panic!("an unknown code: {other}"),
                }
                rest = &code[end + 1..];
                continue;
            }
            None if next == '\n' => {
                at += 1;
                lines.resize(lines.len().max(at + 1), String::new());
            }
            None if next == '\r' => {}
            None => lines[at].push(next),
        }
        rest = &rest[next.len_utf8()..];
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[test]
fn a_terminal_sees_progress_and_keeps_none_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = path(folder.path(), "data");
    drop(Region::start(&data, &[]));
    let program = env!("CARGO_BIN_EXE_bleu");
    let on_terminal = |arguments: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{program} {arguments}"), "/dev/null"]).current_dir(folder.path());
        let output = script.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").stdin(Stdio::null()).output().unwrap();
        out(&output)
    };
    for (arguments, progress, last) in [
        ("record export --data data --out bundle", "exporting the record", "Written: bundle"),
        ("record trust --data data --out trust", "", "Written: trust"),
        ("verify bundle --trust trust", "verifying", "TRUE"),
        ("verify trust --trust trust", "verifying", "UNREADABLE"),
        (
            "up --data fresh --listen 127.0.0.1:0 --engine postgres://bleu@%2Fno%2Fwhere/bleu",
            "starting the region",
            "bleu: The region's database",
        ),
    ] {
        let written = on_terminal(arguments);
        assert!(written.contains(progress), "{arguments}: {written}");
        let screen = on_screen(&written);
        assert!(screen[0].starts_with(last), "{arguments}: {screen:?}");
        assert!(progress.is_empty() || !screen.iter().any(|line| line.contains(progress)), "{arguments}: {screen:?}");
    }
}
