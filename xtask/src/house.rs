//! The rules of the house that no compiler knows. Pure functions over a small picture of the workspace (`Crate`, filled from
//! `cargo metadata`) and of the files in it, so that each rule is tested on a world made to break it.
//!
//! Floors: each crate states its floor in `[package.metadata.bleu]` and depends on lower floors only. Dev-dependencies are
//! not looked at: a test may know more than the code it tests. `testkit` may be named only there.

use crate::run::{cargo, program, read, root};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// `store` holds everybody's bytes and `host` starts programs: whoever can name them can go around the permit.
const BEHIND_TRUST: &[&str] = &["store", "host"];
const MAY_NAME_THEM: &[&str] = &["trust", "bleu", "testkit", "tests"];
const MAY_NAME_TESTKIT: &[&str] = &["tests"];

/// Crates that carry cryptography, and the only crates of ours that may name them.
const CRYPTOGRAPHY: &[(&[&str], &[&str])] = &[
    (&["aws-lc-rs", "argon2", "md-5", "rcgen", "x509-parser", "subtle"], &["crypto"]),
    // Leaf and node hashes of the log are what these two compute; `record` sits beside `crypto` and cannot ask it.
    (&["signed_note", "tlog_tiles", "sha2"], &["record"]),
    // TLS ends in the gateway; tests and the command line speak it as clients, and the store to a database.
    (&["rustls", "tokio-rustls", "rustls-pki-types", "rustls-pemfile"], &["gateway", "store", "bleu", "testkit", "tests", "bench"]),
    // Chance is a trait of `base`; only its real source and key generation may ask the system.
    (&["getrandom"], &["base", "crypto"]),
    // Not used: one library of primitives is enough.
    (
        &[
            "ring",
            "openssl",
            "native-tls",
            "rand",
            "sha1",
            "sha-1",
            "sha3",
            "blake2",
            "blake3",
            "hmac",
            "hkdf",
            "pbkdf2",
            "aes",
            "aes-gcm",
            "chacha20poly1305",
            "rsa",
            "p256",
            "p384",
            "ecdsa",
            "ed25519-dalek",
            "curve25519-dalek",
            "jsonwebtoken",
            "boring",
        ],
        &[],
    ),
];

/// What the table of a service begins with: the one place that says which calls exist.
const TABLE: &str = "Operations::of(";

/// Words that belong to one person's machine and not to the project. Put together here, so that this file passes too.
const PRIVATE_WORDS: &[&str] = &[concat!("/wo", "rk/"), concat!("../sha", "red"), concat!("/tmp/", "brief")];

/// A crate of the workspace as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Crate {
    name: String,
    /// Relative to the root: `services/storage`.
    folder: String,
    floor: Option<u64>,
    /// Names in `[dependencies]` and `[build-dependencies]`, for every target.
    needs: Vec<String>,
}

impl Crate {
    fn is_service(&self) -> bool {
        self.folder.starts_with("services/")
    }
}

/// Prints what is wrong; true when nothing is.
pub(crate) fn check_and_print() -> Result<bool> {
    let wrong = check()?;
    for line in &wrong {
        println!("house: {line}");
    }
    if wrong.is_empty() {
        println!("house: every rule holds");
    }
    Ok(wrong.is_empty())
}

/// Everything that is wrong, one sentence each.
pub(crate) fn check() -> Result<Vec<String>> {
    let crates = crates_of(&read(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?)?;
    let mut wrong = floors(&crates);
    wrong.extend(cryptography(&crates));
    wrong.extend(tidy(&files_of(&root())?));
    Ok(wrong)
}

fn crates_of(metadata: &str) -> Result<Vec<Crate>> {
    let metadata: Value = serde_json::from_str(metadata).context("cargo metadata is not JSON")?;
    let top = metadata["workspace_root"].as_str().context("no workspace_root")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages.iter().map(|package| crate_of(package, top)).collect()
}

fn crate_of(package: &Value, top: &str) -> Result<Crate> {
    let manifest = Path::new(package["manifest_path"].as_str().context("no manifest_path")?);
    let folder = manifest.parent().and_then(|folder| folder.strip_prefix(top).ok()).context("a crate outside the workspace")?;
    let dependencies = package["dependencies"].as_array().context("no dependencies")?;
    let for_real = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
    Ok(Crate {
        name: package["name"].as_str().context("no name")?.to_owned(),
        folder: folder.to_string_lossy().into_owned(),
        floor: package["metadata"]["bleu"]["floor"].as_u64(),
        // `name` is the crate's own name even where it was renamed.
        needs: for_real.filter_map(|dependency| dependency["name"].as_str()).map(str::to_owned).collect(),
    })
}

fn floors(crates: &[Crate]) -> Vec<String> {
    let mut wrong = Vec::new();
    let known: BTreeMap<&str, &Crate> = crates.iter().map(|each| (each.name.as_str(), each)).collect();
    for each in crates {
        let Some(floor) = each.floor else {
            wrong.push(format!("{} states no floor in [package.metadata.bleu]", each.name));
            continue;
        };
        if each.folder.rsplit('/').next() != Some(&each.name) {
            wrong.push(format!("{} lives in {}: a folder has the name of its crate", each.name, each.folder));
        }
        for other in each.needs.iter().filter_map(|name| known.get(name.as_str())) {
            wrong.extend(edge(each, floor, other));
        }
    }
    wrong
}

/// What is wrong with `each` depending on `other`.
fn edge(each: &Crate, floor: u64, other: &Crate) -> Option<String> {
    let (name, needed) = (each.name.as_str(), other.name.as_str());
    if each.is_service() && other.is_service() {
        return Some(format!("service {name} depends on service {needed}: ask for the resource by its id through `service`"));
    }
    if BEHIND_TRUST.contains(&needed) && !MAY_NAME_THEM.contains(&name) {
        return Some(format!("{name} names {needed}, which only {} may", MAY_NAME_THEM.join(", ")));
    }
    if needed == "testkit" && !MAY_NAME_TESTKIT.contains(&name) {
        return Some(format!("{name} depends on testkit: it may be named in dev-dependencies only"));
    }
    match other.floor {
        Some(lower) if lower < floor => None,
        Some(same) => Some(format!("{name} (floor {floor}) depends on {needed} (floor {same}): only lower floors")),
        None => None, // said once, where `other` is looked at
    }
}

fn cryptography(crates: &[Crate]) -> Vec<String> {
    let mut wrong = Vec::new();
    for each in crates {
        for (carriers, owners) in CRYPTOGRAPHY {
            let named = each.needs.iter().filter(|need| carriers.contains(&need.as_str()));
            if !owners.contains(&each.name.as_str()) {
                let who = if owners.is_empty() { "nobody".to_owned() } else { owners.join(", ") };
                wrong.extend(named.map(|need| format!("{} names {need}, which carries cryptography: allowed to {who}", each.name)));
            }
        }
    }
    wrong
}

/// The files git knows or would add: path relative to the root, and the text where it is text.
fn files_of(top: &Path) -> Result<BTreeMap<String, String>> {
    let list = read(program("git").current_dir(top).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut files = BTreeMap::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        // Deleted but not yet committed: not there.
        let Ok(bytes) = fs::read(top.join(path)) else { continue };
        files.insert(path.to_owned(), String::from_utf8(bytes).unwrap_or_default());
    }
    Ok(files)
}

fn tidy(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = private_words(files);
    wrong.extend(readme(files.get("README.md").map(String::as_str)));
    wrong.extend(services(files));
    wrong.extend(decisions(files));
    if !files.contains_key("docs/coverage.md") {
        wrong.push("docs/coverage.md is missing: what is covered and what is not is said in one place".to_owned());
    }
    if files.get(".ci/run").is_none_or(|text| text.lines().last() != Some("cargo xtask test --all")) {
        wrong.push(".ci/run must end in the line `cargo xtask test --all`: the build server does what a person does".to_owned());
    }
    wrong
}

fn private_words(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = PRIVATE_WORDS.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("{path}:{}: `{word}` is a place on one machine, not in the project", number + 1));
            }
        }
    }
    wrong
}

/// The first two commands of the README run the region and all tests.
fn readme(text: Option<&str>) -> Vec<String> {
    let Some(text) = text else { return vec!["README.md is missing".to_owned()] };
    let commands = commands_of(text);
    let runs_region = commands.first().is_some_and(|command| command.split_whitespace().any(|word| word == "up"));
    let runs_tests = commands.get(1).is_some_and(|command| command == "cargo xtask test --all");
    let mut wrong = Vec::new();
    if !runs_region {
        wrong.push("README.md: its first command must be `… up`, which runs the region".to_owned());
    }
    if !runs_tests {
        wrong.push("README.md: its second command must be `cargo xtask test --all`".to_owned());
    }
    wrong
}

/// Lines inside ``` fences that are neither empty nor comments, with a leading `$ ` and a trailing comment taken off.
fn commands_of(markdown: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in markdown.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = !inside;
            continue;
        }
        let command = line.split(" #").next().unwrap_or(line).trim().trim_start_matches("$ ");
        if inside && !command.is_empty() && !command.starts_with('#') {
            commands.push(command.to_owned());
        }
    }
    commands
}

/// Every service folder looks alike: a README and a table in `lib.rs`. The bars of `services/clippy.toml` hold for all: clippy
/// takes the nearest file, so one inside a service would lift them.
fn services(files: &BTreeMap<String, String>) -> Vec<String> {
    let folders = files.keys().filter_map(|path| path.strip_prefix("services/")?.strip_suffix("/Cargo.toml"));
    let mut wrong = Vec::new();
    if !files.contains_key("services/clippy.toml") {
        wrong.push("services/clippy.toml is missing: it bars files, sockets and processes in services".to_owned());
    }
    for service in folders {
        if !files.contains_key(&format!("services/{service}/README.md")) {
            wrong.push(format!("services/{service} has no README.md"));
        }
        if files.contains_key(&format!("services/{service}/clippy.toml")) {
            wrong.push(format!("services/{service}/clippy.toml would lift the bars of services/clippy.toml"));
        }
        if files.get(&format!("services/{service}/src/lib.rs")).is_none_or(|text| !text.contains(TABLE)) {
            wrong.push(format!("services/{service}/src/lib.rs has no table: it must call `{TABLE}`"));
        }
    }
    wrong
}

/// `docs/decisions/0001-title.md`: a number of its own and a title.
fn decisions(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, text) in files {
        let Some(name) = path.strip_prefix("docs/decisions/") else { continue };
        let number = name.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = number.filter(|_| name.get(4..5) == Some("-") && name.ends_with(".md")) else {
            wrong.push(format!("{path}: a decision is named 0001-title.md"));
            continue;
        };
        if let Some(first) = seen.insert(number, name) {
            wrong.push(format!("{path}: number {number} is taken by {first}"));
        }
        if !text.starts_with("# ") {
            wrong.push(format!("{path}: a decision begins with its title"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(name: &str, folder: &str, floor: u64, needs: &[&str]) -> Crate {
        let folder = format!("{folder}{}{name}", if folder.is_empty() { "" } else { "/" });
        Crate { name: name.to_owned(), folder, floor: Some(floor), needs: needs.iter().map(|need| (*need).to_owned()).collect() }
    }

    /// A workspace in which every rule holds.
    fn house() -> Vec<Crate> {
        vec![
            each("base", "crates", 0, &["serde", "getrandom"]),
            each("crypto", "crates", 1, &["base", "aws-lc-rs"]),
            each("record", "crates", 1, &["base", "tlog_tiles"]),
            each("store", "crates", 1, &["base"]),
            each("host", "crates", 1, &["base"]),
            each("trust", "crates", 2, &["base", "crypto", "store", "host"]),
            each("service", "crates", 3, &["trust"]),
            each("storage", "services", 4, &["service"]),
            each("keyvault", "services", 4, &["service"]),
            each("gateway", "crates", 5, &["service", "rustls"]),
            each("bleu", "", 6, &["gateway", "storage", "store"]),
            each("testkit", "crates", 6, &["trust", "store"]),
            each("tests", "", 7, &["testkit", "bleu"]),
        ]
    }

    /// The house with one more dependency.
    fn with(name: &str, need: &str) -> Vec<Crate> {
        let mut crates = house();
        crates.iter_mut().find(|each| each.name == name).unwrap().needs.push(need.to_owned());
        crates
    }

    fn only(wrong: Vec<String>, part: &str) {
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].contains(part), "{wrong:?}");
    }

    #[test]
    fn a_house_in_order_passes() {
        assert_eq!(floors(&house()), Vec::<String>::new());
        assert_eq!(cryptography(&house()), Vec::<String>::new());
    }

    #[test]
    fn this_workspace_holds_its_floors() {
        let crates = crates_of(&read(cargo().args(["metadata", "--format-version", "1", "--no-deps"])).unwrap()).unwrap();
        assert!(crates.len() > 10, "cargo described only {} crates", crates.len());
        assert_eq!(floors(&crates), Vec::<String>::new());
        assert_eq!(cryptography(&crates), Vec::<String>::new());
    }

    #[test]
    fn a_floor_must_be_stated() {
        let mut crates = house();
        crates[1].floor = None;
        only(floors(&crates), "crypto states no floor");
    }

    #[test]
    fn a_crate_depends_on_lower_floors_only() {
        only(floors(&with("crypto", "trust")), "crypto (floor 1) depends on trust (floor 2)");
        only(floors(&with("record", "crypto")), "only lower floors");
    }

    #[test]
    fn services_do_not_know_each_other() {
        only(floors(&with("storage", "keyvault")), "service storage depends on service keyvault");
    }

    #[test]
    fn store_and_host_stay_behind_trust() {
        only(floors(&with("storage", "store")), "storage names store");
        only(floors(&with("gateway", "host")), "gateway names host");
    }

    #[test]
    fn testkit_is_for_tests() {
        let mut crates = with("bleu", "testkit");
        crates.iter_mut().find(|each| each.name == "testkit").unwrap().floor = Some(5);
        only(floors(&crates), "bleu depends on testkit");
    }

    #[test]
    fn a_folder_has_the_name_of_its_crate() {
        let mut crates = house();
        crates[0].folder = "crates/foundation".to_owned();
        only(floors(&crates), "base lives in crates/foundation");
    }

    #[test]
    fn cryptography_is_named_only_where_allowed() {
        only(cryptography(&with("storage", "md-5")), "storage names md-5");
        only(cryptography(&with("trust", "rustls")), "allowed to gateway");
        only(cryptography(&with("crypto", "ring")), "allowed to nobody");
        only(cryptography(&with("service", "signed_note")), "allowed to record");
    }

    #[test]
    fn dev_dependencies_are_not_looked_at_and_renamed_ones_are() {
        let metadata = r#"{"workspace_root":"/r","packages":[{"name":"arm","manifest_path":"/r/crates/arm/Cargo.toml",
            "metadata":{"bleu":{"floor":4}},"dependencies":[{"name":"testkit","kind":"dev"},
            {"name":"store","rename":"shop","kind":null},{"name":"cc","kind":"build"}]}]}"#;
        let needs = ["store", "cc"].map(str::to_owned).to_vec();
        let arm = Crate { name: "arm".into(), folder: "crates/arm".into(), floor: Some(4), needs };
        assert_eq!(crates_of(metadata).unwrap(), [arm]);
    }

    /// Files in which every rule holds.
    fn files() -> BTreeMap<String, String> {
        let readme = "# bleu\n```sh\ncargo run --release -- up   # a region\ncargo xtask test --all\n```\n";
        let pairs = [
            ("README.md", readme),
            (".ci/run", "#!/usr/bin/env bash\nset -eu\ncargo xtask test --all\n"),
            ("docs/coverage.md", "# Coverage\n"),
            ("docs/decisions/0001-floors.md", "# Floors\n"),
            ("services/storage/Cargo.toml", ""),
            ("services/storage/README.md", "# Storage\n"),
            ("services/clippy.toml", ""),
            ("services/storage/src/lib.rs", "Operations::of(self).on(door, target)"),
        ];
        pairs.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
    }

    fn changed(path: &str, text: Option<&str>) -> BTreeMap<String, String> {
        let mut files = files();
        match text {
            Some(text) => drop(files.insert(path.to_owned(), text.to_owned())),
            None => drop(files.remove(path)),
        }
        files
    }

    #[test]
    fn files_in_order_pass() {
        assert_eq!(tidy(&files()), Vec::<String>::new());
    }

    #[test]
    fn each_missing_file_is_named() {
        only(tidy(&changed("docs/coverage.md", None)), "docs/coverage.md");
        only(tidy(&changed("README.md", None)), "README.md is missing");
        only(tidy(&changed(".ci/run", None)), ".ci/run");
        only(tidy(&changed("services/storage/README.md", None)), "services/storage has no README.md");
        only(tidy(&changed("services/clippy.toml", None)), "services/clippy.toml is missing");
        only(tidy(&changed("services/storage/clippy.toml", Some(""))), "would lift the bars");
        only(tidy(&changed("services/storage/src/lib.rs", Some("//! nothing"))), "has no table");
    }

    #[test]
    fn the_readme_begins_with_two_commands() {
        only(tidy(&changed("README.md", Some("```\nmake\ncargo xtask test --all\n```"))), "first command");
        only(tidy(&changed("README.md", Some("```\ncargo run -- up\ncargo test\n```"))), "second command");
    }

    #[test]
    fn a_place_on_one_machine_is_found() {
        let text = format!("fine\nsee {}main\n", PRIVATE_WORDS[0]);
        only(tidy(&changed("docs/coverage.md", Some(&text))), "docs/coverage.md:2");
    }

    #[test]
    fn decisions_are_numbered_once_and_have_a_title() {
        only(tidy(&changed("docs/decisions/0001-again.md", Some("# Again\n"))), "number 0001 is taken");
        only(tidy(&changed("docs/decisions/second.md", Some("# Second\n"))), "named 0001-title.md");
        only(tidy(&changed("docs/decisions/0002-blank.md", Some("text"))), "begins with its title");
    }

    #[test]
    fn the_build_server_does_what_a_person_does() {
        only(tidy(&changed(".ci/run", Some("set -eu\ncargo test\n"))), ".ci/run must end");
    }
}
