//! Every parser of outside bytes against bytes nobody meant: random ones, and good ones with a piece changed.

use proptest::prelude::*;
use record::fuzz;

const ALL: [fn(&[u8]); 7] = [
    fuzz::fuzz_entry,
    fuzz::fuzz_event,
    fuzz::fuzz_checkpoint,
    fuzz::fuzz_tiles,
    fuzz::fuzz_add_checkpoint,
    fuzz::fuzz_trust_file,
    fuzz::fuzz_bundle,
];

/// Good inputs, one per file, that mutations start from.
fn seeds() -> Vec<Vec<u8>> {
    let event = include_str!("event-v1.hex").trim();
    let digits = |at: usize| u8::from_str_radix(&event[at..at + 2], 16).unwrap();
    let origin = "bleu.localhost/francecentral";
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let signature = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
    vec![
        (0..event.len()).step_by(2).map(digits).collect(),
        format!("{origin}\n7\n{root}\n\n{signature}\n").into_bytes(),
        format!("old 3\n{root}\n\n{origin}\n7\n{root}\n\n{signature}\n").into_bytes(),
        format!("bleu trust v1\nlog {key}\nregion {key}\nthreshold 0\n").into_bytes(),
        "bleu place v1\nregion francecentral\nsite paris-1\ncountry FR\nnuts FR10\naddress Paris\n".into(),
        format!("bleu bundle v1\nregion francecentral\norigin o\nowner region\nresidency any\nsize 0\ncreated 2026-11-24T08:00:00Z\npart checkpoint 1 {root}\npart keys 1 {root}\npart map 1 {root}\n").into_bytes(),
        b"tile/entries/x001/234.p/5".to_vec(),
        key.into(),
    ]
}

#[test]
fn the_seeds_are_good() {
    let text = |i: usize| String::from_utf8(seeds()[i].clone()).unwrap();
    record::Event::decode(&seeds()[0]).unwrap();
    record::SignedCheckpoint::parse(&seeds()[1]).unwrap();
    record::witness::AddCheckpoint::parse(&seeds()[2]).unwrap();
    record::TrustKeys::parse(&text(3)).unwrap();
    record::parse_place(&text(4)).unwrap();
    record::bundle::Manifest::parse(&text(5)).unwrap();
    record::tiles::TilePath::parse(&text(6)).unwrap();
    text(7).parse::<record::VerifierKey>().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn random_bytes(which: u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        ALL[usize::from(which) % ALL.len()](&bytes);
    }

    #[test]
    fn good_inputs_with_a_piece_changed(which: u8, seed: prop::sample::Index, from: prop::sample::Index, cut in 0usize..4, put in prop::collection::vec(any::<u8>(), 0..4)) {
        let seeds = seeds();
        let mut bytes = seed.get(&seeds).clone();
        let from = from.index(bytes.len());
        let to = (from + cut).min(bytes.len());
        bytes.splice(from..to, put);
        ALL[usize::from(which) % ALL.len()](&bytes);
    }
}
