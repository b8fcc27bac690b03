//! Files of a region that somebody edits, loses or swaps: whatever would make it another region is refused before anything
//! is written, and put back it starts as if nothing had been.

use crate::process::{Region, bleu};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn refused(folder: &Path, words: &[&str]) {
    let said = Region::try_start(folder, &[]).err().expect("it starts");
    let last = said.lines().last().unwrap_or_default();
    assert!(words.iter().all(|word| last.contains(word)), "{words:?}: {said}");
}

#[test]
fn a_region_stays_itself_whatever_its_files_say() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    Region::start(folder).kill();
    let settings = folder.join("data/region.toml");
    let good = std::fs::read_to_string(&settings).unwrap();
    for (from, to, words) in [
        ("engine = \"fjall\"", "engine = \"redb\"", ["engine", "redb", "fjall"]),
        ("bleu.localhost", "other.localhost", ["domain", "other.localhost", "bleu.localhost"]),
        ("francecentral", "francesouth", ["location", "francesouth", "francecentral"]),
        ("\"FR\"", "\"DE\"", ["site", "DE, DE10", "FR, FR10"]),
        ("name = \"site-1\"", "name = \"site-2\"", ["site", "site-2", "site-1"]),
    ] {
        assert!(good.contains(from), "{from}");
        let edited = good.replace(from, to);
        let edited = if to.contains("DE") { edited.replace("FR10", "DE10") } else { edited };
        std::fs::write(&settings, edited).unwrap();
        refused(folder, &words);
    }
    std::fs::write(&settings, &good).unwrap();

    // a store that is not there: none is begun under its key
    std::fs::rename(folder.join("data/store"), folder.join("aside")).unwrap();
    refused(folder, &["no region is in it"]);
    std::fs::rename(folder.join("aside"), folder.join("data/store")).unwrap();

    let key = folder.join("data/keys/root.key");
    let right = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    refused(folder, &["root key", "keys/root.key", "another region's"]);
    std::fs::write(&key, right).unwrap();

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let region = Region::start(folder);
    assert!(region.said().contains("mode 644"), "{}", region.said());
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // the witness still knows the log, and the record holds
    for command in [&["record", "export", "--data", "data", "--out", "b"][..], &["record", "trust", "--data", "data", "--out", "t"]] {
        let (done, said) = bleu(folder, command);
        assert!(done, "{said}");
    }
    let (is_true, said) = bleu(folder, &["verify", "b", "--trust", "t"]);
    assert!(is_true && said.contains("witnessed by"), "{said}");
}
