//! Every reader of outside bytes, on the committed corpus and on mutations of it. `BLEU_FUZZ_SECONDS` lengthens it.

use base::{Chance, SeededChance};
use std::path::PathBuf;

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("jwt", crypto::fuzz::fuzz_jwt),
    ("certificate", crypto::fuzz::fuzz_certificate),
    ("entry", record::fuzz::fuzz_entry),
    ("event", record::fuzz::fuzz_event),
    ("checkpoint", record::fuzz::fuzz_checkpoint),
    ("add_checkpoint", record::fuzz::fuzz_add_checkpoint),
    ("trust_file", record::fuzz::fuzz_trust_file),
    ("bundle", auditor::fuzz::fuzz_bundle),
    ("form", wire::fuzz::fuzz_form),
    ("odata", wire::fuzz::fuzz_filter),
    ("range", wire::fuzz::fuzz_range),
    ("conditions", wire::fuzz::fuzz_conditions),
    ("arm_filter", arm::fuzz::fuzz_filter),
    ("arm_body", arm::fuzz::fuzz_group_body),
    ("graph_body", identity::fuzz::fuzz_graph_body),
    ("shared_key", storage::fuzz::fuzz_shared_key),
    ("sas", storage::fuzz::fuzz_sas),
    ("block_list", storage::fuzz::fuzz_block_list),
    ("storage_headers", storage::fuzz::fuzz_headers),
    ("service_properties", storage::fuzz::fuzz_service_properties),
];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut all: Vec<Vec<u8>> = files.map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect();
    assert!(!all.is_empty(), "{name} has a corpus");
    all.push(Vec::new());
    all
}

fn random(chance: &SeededChance, below: usize) -> usize {
    let mut bytes = [0; 8];
    chance.fill(&mut bytes);
    (u64::from_le_bytes(bytes) % below.max(1) as u64) as usize
}

fn mutate(bytes: &mut Vec<u8>, chance: &SeededChance) {
    for _ in 0..=random(chance, 4) {
        let at = random(chance, bytes.len() + 1);
        match random(chance, 5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random(chance, 8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, random(chance, 256) as u8),
            3 => bytes.truncate(at),
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend(part.into_iter().take(64));
            }
        }
    }
}

#[test]
fn readers_of_outside_bytes_do_not_fall() {
    let seconds: f64 = std::env::var("BLEU_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0.5);
    let seed = std::env::var("BLEU_FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        corpus.iter().for_each(|bytes| target(bytes));
        let (chance, begun) = (SeededChance::new(seed), std::time::Instant::now());
        let mut rounds = 0;
        while begun.elapsed().as_secs_f64() < seconds {
            let mut bytes = corpus[random(&chance, corpus.len())].clone();
            mutate(&mut bytes, &chance);
            let kept = bytes.clone();
            let fell = std::panic::catch_unwind(|| target(&bytes)).is_err();
            assert!(!fell, "{name} falls on {kept:?}");
            rounds += 1;
        }
        assert!(rounds > 0);
    }
}
