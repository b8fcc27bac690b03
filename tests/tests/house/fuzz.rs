//! Every reader of outside bytes, on the committed corpus, on what a real region writes, and on mutations of both; and
//! whole requests through the gateway. `BLEU_FUZZ_SECONDS` lengthens it, `BLEU_FUZZ_SEED` changes it.

use crate::client::Client;
use crate::stories::day;
use crate::world::World;
use base::{Chance, SeededChance};
use record::bundle::{Frame, Manifest, PartName, parse_openings};
use record::tiles::split_entries;
use record::{SignedNote, witness::AddCheckpoint};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use testkit::{Kit, Setup};

struct Target {
    corpus: &'static str,
    path: &'static str,
    read: fn(&[u8]),
}

macro_rules! targets {
    ($($corpus:literal $($path:ident)::+;)*) => {
        &[$(Target { corpus: $corpus, path: stringify!($($path)::+), read: $($path)::+ }),*]
    };
}

const TARGETS: &[Target] = targets! {
    "jwt" crypto::fuzz::fuzz_jwt;
    "certificate" crypto::fuzz::fuzz_certificate;
    "jwk" crypto::fuzz::fuzz_jwk;
    "password_string" crypto::fuzz::fuzz_password_string;
    "entry" record::fuzz::fuzz_entry;
    "event" record::fuzz::fuzz_event;
    "checkpoint" record::fuzz::fuzz_checkpoint;
    "tiles" record::fuzz::fuzz_tiles;
    "add_checkpoint" record::fuzz::fuzz_add_checkpoint;
    "trust_file" record::fuzz::fuzz_trust_file;
    "record_bundle" record::fuzz::fuzz_bundle;
    "bundle" auditor::fuzz::fuzz_bundle;
    "row" store::fuzz::fuzz_row;
    "group" store::fuzz::fuzz_group;
    "chunk_header" store::fuzz::fuzz_chunk_header;
    "form" wire::fuzz::fuzz_form;
    "odata" wire::fuzz::fuzz_filter;
    "range" wire::fuzz::fuzz_range;
    "conditions" wire::fuzz::fuzz_conditions;
    "arm_filter" arm::fuzz::fuzz_filter;
    "arm_body" arm::fuzz::fuzz_group_body;
    "skip_token" arm::fuzz::fuzz_skip_token;
    "policy" policy::fuzz::fuzz_policy;
    "policy_expression" policy::fuzz::fuzz_expression;
    "role_condition" policy::fuzz::fuzz_condition;
    "template" template::fuzz::fuzz_template;
    "template_expression" template::fuzz::fuzz_expression;
    "graph_body" identity::fuzz::fuzz_graph_body;
    "graph_batch" identity::fuzz::fuzz_graph_batch;
    "graph_query" identity::fuzz::fuzz_graph_query;
    "graph_rule" identity::fuzz::fuzz_graph_rule;
    "shared_key" storage::fuzz::fuzz_shared_key;
    "sas" storage::fuzz::fuzz_sas;
    "block_list" storage::fuzz::fuzz_block_list;
    "storage_headers" storage::fuzz::fuzz_headers;
    "service_properties" storage::fuzz::fuzz_service_properties;
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = root().join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|f| f.unwrap().path()).collect();
    assert!(!paths.is_empty(), "{name} has a corpus");
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn seconds() -> f64 {
    std::env::var("BLEU_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0.4)
}

fn seed() -> u64 {
    std::env::var("BLEU_FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7)
}

fn random(chance: &SeededChance, below: usize) -> usize {
    let mut bytes = [0; 8];
    chance.fill(&mut bytes);
    (u64::from_le_bytes(bytes) % below.max(1) as u64) as usize
}

const SEPARATORS: &[u8] = b"%&=/?:\"'<>{}[],.;\n\0+ -9";

fn mutate(bytes: &mut Vec<u8>, chance: &SeededChance) {
    for _ in 0..=random(chance, 4) {
        let at = random(chance, bytes.len() + 1);
        match random(chance, 6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random(chance, 8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, random(chance, 256) as u8),
            3 => bytes.truncate(at),
            // what separates things, where it was not
            4 => bytes.insert(at, SEPARATORS[random(chance, SEPARATORS.len())]),
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend(part.into_iter().take(64));
            }
        }
    }
}

/// What a region writes, by corpus: noise alone never gets past a first check.
async fn real() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let world = World::new(60).await;
    let anna = world.owner(&world.contoso).await;
    day(&anna).await;
    let bundle = world.kit.trust.export(Some(world.contoso.tenant)).await.unwrap();
    let frame = Frame::parse(&bundle).unwrap();
    let note = SignedNote::parse(frame.manifest).unwrap();
    let manifest = Manifest::parse(note.text()).unwrap();
    let part = |name: PartName| frame.parts[manifest.parts.iter().position(|p| p.name == name).unwrap()];
    let (entries, openings) = (part(PartName::Entries(0)), part(PartName::Openings(0)));
    let checkpoint = world.kit.trust.checkpoint().await.unwrap();
    let asked = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: record::SignedCheckpoint::parse(&checkpoint).unwrap() };
    // a small one, so that many mutations fit in a second
    let empty = Kit::start(Setup::new(61)).await.trust.export(None).await.unwrap();
    BTreeMap::from([
        ("entry", split_entries(entries).map(|e| e.unwrap().to_vec()).collect()),
        ("event", parse_openings(openings).unwrap().iter().map(|row| row.event.to_vec()).collect()),
        ("checkpoint", vec![checkpoint, frame.manifest.to_vec()]),
        ("add_checkpoint", vec![asked.to_bytes()]),
        ("tiles", vec![entries.to_vec()]),
        ("trust_file", vec![part(PartName::Keys).to_vec()]),
        ("record_bundle", vec![empty.clone(), note.text().into(), part(PartName::Map).to_vec(), openings.to_vec()]),
        ("bundle", vec![empty]),
        ("jwt", vec![world.token(&world.contoso, "https://management.bleu.localhost").await.into_bytes()]),
    ])
}

#[tokio::test]
async fn readers_of_outside_bytes_do_not_fall() {
    let real = real().await;
    for target in TARGETS {
        let mut corpus = corpus(target.corpus);
        corpus.extend(real.get(target.corpus).into_iter().flatten().cloned());
        corpus.push(Vec::new());
        corpus.iter().for_each(|bytes| (target.read)(bytes));
        let (chance, begun) = (SeededChance::new(seed()), std::time::Instant::now());
        let mut rounds = 0;
        while begun.elapsed().as_secs_f64() < seconds() {
            let mut bytes = corpus[random(&chance, corpus.len())].clone();
            mutate(&mut bytes, &chance);
            let fell = std::panic::catch_unwind(|| (target.read)(&bytes)).is_err();
            assert!(!fell, "{} falls on {}", target.path, bytes.escape_ascii());
            rounds += 1;
        }
        assert!(rounds > 0);
    }
}

/// Every `pub fn fuzz_…` of the crates below is called: those of `bleu` itself are called there.
#[test]
fn no_reader_is_forgotten() {
    fn count(folder: &Path, found: &mut usize) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                count(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                *found += text.lines().filter(|line| line.trim_start().starts_with("pub fn fuzz_")).count();
            }
        }
    }
    for floor in ["crates", "services"] {
        for entry in std::fs::read_dir(root().join(floor)).unwrap() {
            let folder = entry.unwrap().path();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            if !folder.join("src").is_dir() {
                continue;
            }
            let (mut found, prefix) = (0, format!("{name}::"));
            count(&folder.join("src"), &mut found);
            let called = TARGETS.iter().filter(|t| t.path.replace(' ', "").starts_with(&prefix)).count();
            assert_eq!(found, called, "readers of {name}, and those that are called here");
        }
    }
}

/// A request as the corpus writes it: `METHOD url`, headers, an empty line, the body. `None`: HTTP itself refuses it.
fn request(text: &[u8]) -> Option<http::Request<http_body_util::Full<bytes::Bytes>>> {
    let at = text.windows(2).position(|w| w == b"\n\n").unwrap_or(text.len());
    let (head, body) = (&text[..at], text.get(at + 2..).unwrap_or_default());
    let mut lines = head.split(|b| *b == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|b| *b == b' ')?;
    let method = http::Method::from_bytes(&first[..space]).ok()?;
    let mut request = http::Request::builder().method(method).uri(&first[space + 1..]);
    for line in lines {
        let colon = line.iter().position(|b| *b == b':')?;
        let name = http::HeaderName::from_bytes(&line[..colon]).ok()?;
        request = request.header(name, http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    let body = bytes::Bytes::copy_from_slice(body);
    request.header("content-length", body.len()).body(http_body_util::Full::new(body)).ok()
}

/// Who asks is allowed to: so that a mutation gets as deep as it can.
fn filled(text: &[u8], client: &Client<'_>) -> Vec<u8> {
    let names = [
        ("SUBSCRIPTION", client.subscription.to_string()),
        ("TENANT", client.customer.tenant.to_string()),
        ("CLIENT", client.customer.client.to_string()),
        ("OBJECT", client.customer.client_object.to_string()),
        ("MANAGEMENT", client.management.clone()),
        ("STORAGE", client.storage.clone()),
        ("GRAPH", client.graph.clone()),
    ];
    let mut text = text.to_vec();
    for (name, value) in names {
        while let Some(at) = text.windows(name.len()).position(|w| w == name.as_bytes()) {
            text.splice(at..at + name.len(), value.bytes());
        }
    }
    text
}

#[tokio::test]
async fn no_request_makes_an_internal_error() {
    use http_body_util::BodyExt;
    let world = World::new(62).await;
    let client = world.client(&world.fabrikam, world.fabrikam.subscription).await;
    client.put_group("sample").await;
    client.put_account("sample", "acct").await;
    let scope = format!("/subscriptions/{}", client.subscription);
    assert_eq!(client.assign(&scope, "Storage Blob Data Owner", client.customer.client_object).await.status, 201);
    assert_eq!(client.blob_by_token("", "PUT", "acct", "/sample?restype=container", "").await.status, 201);
    assert_eq!(client.blob_by_token("", "PUT", "acct", "/sample/sample", "here it is").await.status, 201);
    let corpus = corpus("request");
    let (chance, begun) = (SeededChance::new(seed()), std::time::Instant::now());
    let (mut rounds, mut done) = (0, 0);
    while rounds < corpus.len() || begun.elapsed().as_secs_f64() < seconds() * 8.0 {
        // once as they are
        let mut text = corpus[if rounds < corpus.len() { rounds } else { random(&chance, corpus.len()) }].clone();
        if rounds >= corpus.len() {
            mutate(&mut text, &chance);
        }
        rounds += 1;
        let Some(request) = request(&filled(&text, &client)) else { continue };
        let response = world.kit.gateway.answer(request, None).await;
        let status = response.status().as_u16();
        assert!(response.into_body().collect().await.is_ok(), "the answer breaks off: {}", text.escape_ascii());
        assert!(status != 500, "seed {}: {}", seed(), text.escape_ascii());
        done += u32::from(status < 300);
    }
    assert!(done > 10, "{done} of {rounds} requests were granted: the rest went no deeper than the door");
    world.kit.audit(Some(world.fabrikam.tenant)).await;
}
