//! Bundles that are true, bundles with a flipped bit, and bundles that a dishonest region made and signed itself.

mod scene;

use auditor::{Fault, Report, Verdict, verify};
use base::{Chance, EntryId, SeededChance, Shard, Timestamp};
use proptest::prelude::*;
use record::bundle::{Contents, Frame, Held, Manifest, PartName, seal};
use record::{Digest, Event, Fact, Outcome, Owner, Phase, SignedNote, TrustKeys, Who, catalogue};
use scene::*;

fn check(bundle: &[u8]) -> Report {
    verify(bundle, Some(&trust()))
}

/// The report must be "not true", for this reason, naming the place.
#[track_caller]
fn refused(bundle: &[u8], fault: Fault, place: &str) {
    let report = check(bundle);
    assert_eq!(report.verdict, Verdict::NotTrue, "{}", report.text("en"));
    let found = report.findings.iter().any(|finding| finding.fault == fault && finding.text("en").starts_with(place));
    assert!(found, "no {fault:?} at '{place}' in\n{}", report.text("en"));
}

#[track_caller]
fn forged(bend: impl FnOnce(&mut Scene), fault: Fault, place: &str) {
    let mut scene = Scene::new(4);
    bend(&mut scene);
    refused(&scene.seal(), fault, place);
}

/// Lays the contents out, lets a part be changed, and signs the result as the region would.
fn resealed(contents: &Contents, name: PartName, bend: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut parts = contents.parts().unwrap();
    let part = parts.iter_mut().find(|(n, _)| *n == name).unwrap();
    bend(&mut part.1);
    seal(&contents.header, &parts, &region_signer()).unwrap()
}

#[test]
fn a_true_record_is_true() {
    let bundle = Scene::new(4).seal();
    let report = check(&bundle);
    assert_eq!(report.verdict, Verdict::True, "{}", report.text("en"));
    let summary = &report.summary;
    assert_eq!((summary.size, summary.of_owner, summary.of_region, summary.of_others), (12, 9, 2, 1));
    assert_eq!(summary.outboxes, [(0, 8), (1, 4)].into());
    assert_eq!((summary.unfinished_count, summary.unfinished.as_slice()), (1, ["1-1".to_owned()].as_slice()));
    assert_eq!(summary.codes.len(), 1);
    assert_eq!(summary.witnesses.len(), 2);
    let paris = summary.places.iter().find(|place| place.site == site("paris-1")).unwrap();
    assert_eq!((paris.bytes, paris.allowed), (12_288, true));
    assert!(!summary.places.iter().find(|place| place.site == site("berlin-1")).unwrap().allowed);
    let reads: Vec<_> = summary.acts.iter().filter(|act| act.verb == "Get Blob").collect();
    assert_eq!(
        reads.iter().map(|act| (act.who.as_str(), act.counts.done, act.counts.refused)).collect::<Vec<_>>(),
        [("anonymous", 0, 1), ("user anna@contoso.example", 3, 0)]
    );
    let french = report.text("fr_FR.UTF-8");
    assert!(french.starts_with("VRAI") && french.contains("user anna@contoso.example: commencé 2, fait 5"), "{french}");
    assert!(report.text("en").starts_with("TRUE") && !report.text("en").contains("later entries may exist"));
    let mut contents = Scene::new(4).contents();
    contents.header.created = Timestamp(START.0 + 7_200_000);
    assert!(check(&contents.seal(&region_signer()).unwrap()).text("en").contains("later entries may exist"));
    assert!(report.json().contains("\"verdict\": \"true\""));
}

#[test]
fn opened_entries_can_be_listed() {
    let scene = Scene::new(4);
    let listed = auditor::list(&scene.seal()).unwrap();
    // all but the other tenant's, whose event is nowhere in the bundle
    assert_eq!(listed.iter().map(|l| l.index).collect::<Vec<_>>(), [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!((listed[4].entry.as_str(), listed[4].opens.as_deref(), listed[4].event.verb.as_str()), ("0-6", Some("0-5"), "Put Blob"));
    assert!(!String::from_utf8_lossy(&scene.seal()).contains("secret"));
    assert_eq!(auditor::list(b"x").unwrap_err().code, "InvalidBundle");
}

#[test]
fn without_keys_it_is_self_consistent_only() {
    let bundle = Scene::new(1).seal();
    assert_eq!(verify(&bundle, None).verdict, Verdict::SelfConsistentOnly);
    // the region's claim of its own keys carries no weight against the customer's
    let mut contents = Scene::new(1).contents();
    contents.keys.threshold = 0;
    contents.keys.witnesses.clear();
    assert_eq!(check(&contents.seal(&region_signer()).unwrap()).verdict, Verdict::True);
}

#[test]
fn an_empty_log_and_a_region_bundle_are_fine() {
    let mut empty = Scene::new(0);
    empty.rows.clear();
    assert_eq!(check(&empty.seal()).verdict, Verdict::True);
    let mut contents = Scene::new(1).contents();
    (contents.header.owner, contents.tag_key) = (record::Owner::Region, None);
    let region_only = [0, 1].map(|i| contents.openings[i].clone());
    contents.openings = region_only.to_vec();
    let bundle = contents.seal(&region_signer()).unwrap();
    assert_eq!(verify(&bundle, Some(&TrustKeys { owner: None, ..trust() })).verdict, Verdict::True);
    refused(&bundle, Fault::TenantDiffers, "manifest");
}

#[test]
fn what_is_not_a_bundle_is_unreadable() {
    let bundle = Scene::new(1).seal();
    for bytes in [&b""[..], b"{}", &bundle[..bundle.len() - 1], &bundle[1..], &[&bundle[..], b"\n"].concat()] {
        let report = check(bytes);
        assert_eq!(report.verdict, Verdict::Unreadable);
        assert!(report.text("en").starts_with("UNREADABLE") && report.text("fr").starts_with("ILLISIBLE"));
    }
    let cut = check(&bundle[..bundle.len() - 1]);
    assert_eq!(cut.findings[0].part.as_deref(), Some("openings/0"));
}

/// Which bytes of the file belong to which part.
fn ranges(bundle: &[u8]) -> Vec<(String, std::ops::Range<usize>)> {
    let frame = Frame::parse(bundle).unwrap();
    let manifest = Manifest::parse(SignedNote::parse(frame.manifest).unwrap().text()).unwrap();
    let offset = |slice: &[u8]| slice.as_ptr() as usize - bundle.as_ptr() as usize;
    let mut ranges = vec![("manifest".to_owned(), offset(frame.manifest)..offset(frame.manifest) + frame.manifest.len())];
    for (info, part) in manifest.parts.iter().zip(&frame.parts) {
        ranges.push((info.name.to_string(), offset(part)..offset(part) + part.len()));
    }
    ranges
}

/// A flip is refused; inside a part it names the part, inside an entry it names the entry too.
fn flip(bundle: &mut [u8], ranges: &[(String, std::ops::Range<usize>)], at: usize, mask: u8) {
    bundle[at] ^= mask;
    let report = check(bundle);
    bundle[at] ^= mask;
    let words = report.text("en");
    match ranges.iter().find(|(_, range)| range.contains(&at)) {
        Some((name, _)) => {
            assert_eq!(report.verdict, Verdict::NotTrue, "byte {at} of {name}: {words}");
            assert!(report.findings.iter().any(|f| f.part.as_deref() == Some(name)), "byte {at} should name {name}: {words}");
            if name.starts_with("entries") || name.starts_with("leaves") {
                assert!(report.findings.iter().any(|f| f.index.is_some()), "byte {at} should name an entry: {words}");
            }
        }
        None => assert_eq!(report.verdict, Verdict::Unreadable, "byte {at} of the frame: {words}"),
    }
}

#[test]
fn every_byte_of_a_small_bundle_is_bound() {
    let bundle = Scene::new(1).seal();
    let ranges = ranges(&bundle);
    let half = bundle.len() / 2;
    std::thread::scope(|scope| {
        for part in [0..half, half..bundle.len()] {
            let (mut bundle, ranges) = (bundle.clone(), &ranges);
            scope.spawn(move || {
                for at in part {
                    flip(&mut bundle, ranges, at, 1 << (at % 8));
                    if at % 5 == 0 {
                        flip(&mut bundle, ranges, at, 0xff);
                    }
                }
            });
        }
    });
}

#[test]
fn random_flips_in_a_larger_bundle_are_refused() {
    let mut bundle = Scene::new(500).seal();
    let ranges = ranges(&bundle);
    let chance = SeededChance::new(20_261_124);
    let mut random = [0; 8];
    for _ in 0..150 {
        chance.fill(&mut random);
        let at = u64::from_le_bytes(random) as usize % bundle.len();
        flip(&mut bundle, &ranges, at, 1 << (random[7] % 8));
    }
}

#[test]
fn a_flipped_entry_is_named_by_its_own_hash() {
    let contents = Scene::new(4).contents();
    let third: usize = contents.entries[..2].iter().map(|entry| entry.len() + 2).sum();
    let bundle = resealed(&contents, PartName::Entries(0), |part| part[third + 2 + 60] ^= 1);
    refused(&bundle, Fault::LeafDiffers, "entry 2 (0-3)");
    refused(&bundle, Fault::RootDiffers, "checkpoint");
    assert!(!check(&bundle).findings.iter().any(|f| f.fault == Fault::LeafDiffers && f.index != Some(2)));
}

#[test]
fn entries_dropped_moved_or_renumbered() {
    forged(|s| drop(s.rows.remove(5)), Fault::NumberGap, "entry 7 (0-7)");
    forged(|s| drop(s.rows.remove(0)), Fault::NumberGap, "entry 0 (0-2)");
    forged(|s| s.rows.swap(8, 10), Fault::NumberGap, "entry 8 (0-8)");
    forged(|s| s.rows.insert(3, s.rows[2].clone()), Fault::NumberGap, "entry 3 (0-3)");
    forged(|s| s.rows[3].entry.id.number = 9, Fault::NumberGap, "entry 3 (0-9)");
    forged(|s| s.rows[3].entry.id.number = u64::MAX, Fault::NumberGap, "entry 4 (0-5)");
    forged(|s| s.rows[3].entry.id.shard = Shard(9), Fault::NumberGap, "entry 3 (9-4)");
}

#[test]
fn acts_closed_twice_or_never_opened() {
    let close_again = |s: &mut Scene| {
        let (opens, event) = (s.rows[5].entry.draft.opens, Event::decode(&s.rows[5].opening.as_ref().unwrap().event).unwrap());
        s.push(Act { weight: record::Weight::Before, phase: Phase::Close, opens, ..Act::with(event) });
    };
    forged(close_again, Fault::ClosedTwice, "entry 12 (0-9)");
    let elsewhere = |s: &mut Scene| s.rows[5].entry.draft.opens = Some(EntryId { shard: Shard(0), number: 1 });
    forged(elsewhere, Fault::NeverOpened, "entry 5 (0-6)");
    let before_it = |s: &mut Scene| s.rows[5].entry.draft.opens = Some(EntryId { shard: Shard(1), number: 1 });
    forged(before_it, Fault::NeverOpened, "entry 5 (0-6)");
    // the outcome of the tenant's act hidden in an entry that is not the tenant's
    let hidden = |s: &mut Scene| {
        let act = Act {
            weight: record::Weight::Before,
            phase: Phase::Close,
            opens: s.rows[5].entry.draft.opens,
            ..Act::with(put_blob("", "paris-1"))
        };
        let event = Event { owner: Owner::Tenant(other_tenant()), ..act.event.clone() };
        s.rows[5] = row(&Act { event, ..act }, s.rows[5].entry.id, START, 5);
        s.rows[5].opening = None;
    };
    forged(hidden, Fault::ClosedByAnother, "entry 5 (0-6)");
    let begun_and_whole = |s: &mut Scene| {
        s.push(Act::with(Event { outcome: Outcome::begun(), ..put_blob("x", "paris-1") }));
    };
    forged(begun_and_whole, Fault::PhaseDiffers, "entry 12");
}

#[test]
fn openings_left_out_or_exchanged() {
    forged(|s| s.rows[8].opening = None, Fault::OpeningMissing, "entry 8 (0-7)");
    forged(|s| s.rows[0].opening = None, Fault::OpeningMissing, "entry 0 (0-1)");
    forged(|s| s.rows[8].opening = s.rows[9].opening.clone(), Fault::CommitmentDiffers, "entry 8 (0-7)");
    forged(|s| s.rows[8].opening.as_mut().unwrap().salt[0] ^= 1, Fault::CommitmentDiffers, "entry 8 (0-7)");
    // an act hidden behind a tag that is not its owner's
    forged(|s| s.rows[8].entry.draft.tag.0[0] ^= 1, Fault::OwnerDiffers, "entry 8 (0-7)");
    let foreign = |s: &mut Scene| {
        s.push(Act::with(Event { owner: Owner::Tenant(other_tenant()), ..put_blob("theirs", "paris-1") }));
    };
    forged(foreign, Fault::OwnerDiffers, "entry 12 (0-9)");

    let mut contents = Scene::new(4).contents();
    let stray = contents.openings[0].1.clone();
    contents.openings.push((400, stray));
    refused(&contents.seal(&region_signer()).unwrap(), Fault::OpeningStray, "openings/0");
}

#[test]
fn another_tag_key_hides_nothing() {
    // a dishonest region hands over a tag key that fits no entry, and no openings of the tenant
    let mut contents = Scene::new(4).contents();
    contents.tag_key = Some([9; 32]);
    contents.openings.retain(|(index, _)| *index < 2);
    let bundle = contents.seal(&region_signer()).unwrap();
    refused(&bundle, Fault::TagKeyDiffers, "tag-key");
    // this is what the pin of the trust file is for: without it nothing seems wrong but an empty record
    let report = verify(&bundle, Some(&TrustKeys { owner: None, ..trust() }));
    assert_eq!((report.verdict, report.summary.of_owner), (Verdict::True, 0));
}

#[test]
fn bytes_outside_their_places() {
    let abroad = |s: &mut Scene| {
        s.push(Act::with(put_blob("x", "berlin-1")));
    };
    forged(abroad, Fault::PlaceForbidden, "entry 12 (0-9)");
    let nowhere = |s: &mut Scene| {
        s.push(Act::with(put_blob("x", "atlantis-1")));
    };
    forged(nowhere, Fault::PlaceUnknown, "entry 12 (0-9)");
    forged(|s| s.places.retain(|place| place.site != site("lyon-1")), Fault::PlaceUnknown, "entry 9");
    let held = |at: &str| Held { resource: put_blob("x", at).resource, site: site(at), chunks: 1, bytes: 1 };
    forged(|s| s.map.push(held("berlin-1")), Fault::PlaceForbidden, "map");
    forged(|s| s.map.push(held("atlantis-1")), Fault::PlaceUnknown, "map");
    // the region widens the residency in the manifest, or says in the record what the manifest does not
    forged(|s| s.residency = vec!["DE".into(), "FR".into()], Fault::ResidencyDiffers, "manifest");
    forged(|s| s.residency.clear(), Fault::ResidencyDiffers, "manifest");
    let widened = |s: &mut Scene| {
        let facts = vec![Fact::new("residency", "DE,FR")];
        s.push(Act::with(Event { verb: catalogue::RESIDENCY_SET.name.into(), facts, places: vec![], ..put_blob("", "paris-1") }));
    };
    forged(widened, Fault::ResidencyDiffers, "manifest");
}

#[test]
fn places_signed_by_someone_else_or_for_elsewhere() {
    let mut contents = Scene::new(1).contents();
    contents.places[0] =
        record::sign_place(&location(), &place("paris-1", "FR"), &signer(region_signer().key().name(), record::KeyKind::Note, 77)).unwrap();
    refused(&contents.seal(&region_signer()).unwrap(), Fault::NotSigned, "place/paris-1");
    let other = base::Location::new("germanywest").unwrap();
    contents.places[0] = record::sign_place(&other, &place("paris-1", "FR"), &region_signer()).unwrap();
    refused(&contents.seal(&region_signer()).unwrap(), Fault::PlaceOfAnother, "place/paris-1");
}

#[test]
fn code_that_nobody_announced() {
    forged(|s| s.rows[9].entry.draft.code = Digest::of(b"a patched binary"), Fault::CodeUnannounced, "entry 9 (1-3)");
    let liar = |s: &mut Scene| {
        let event = region_event(&catalogue::PROCESS_STARTED, &[("code.sha256", &Digest::of(b"x").to_string()), ("version", "9")]);
        s.push(Act::system(event));
    };
    forged(liar, Fault::CodeDiffers, "entry 12 (0-9)");
}

#[test]
fn time_that_runs_back() {
    forged(|s| s.rows[8].entry.draft.at = Timestamp(START.0 + 7_200_000), Fault::TimeBack, "entry 10 (0-8)");
}

/// Less than an hour back is no fault, and is said; so is what is dated after the export.
#[test]
fn a_clock_that_was_set_back_is_said() {
    let told = |at: i64| {
        let mut scene = Scene::new(4);
        scene.rows[8].entry.draft.at = Timestamp(START.0 + at);
        let report = check(&scene.seal());
        assert_eq!(report.verdict, Verdict::True, "{}", report.text("en"));
        (report.summary.set_back_count > 0, report.text("en").contains("dated after the export"))
    };
    assert_eq!(told(30_000), (false, false));
    assert_eq!(told(600_000), (true, true));
}

#[test]
fn checkpoints_of_other_logs_times_and_keys() {
    forged(|s| s.cosigners = vec![1], Fault::TooFewWitnesses, "checkpoint");
    forged(|s| s.cosigners = vec![1, 7], Fault::TooFewWitnesses, "checkpoint");
    let full = Scene::new(4);
    let mut shorter = full.clone();
    shorter.rows.pop();
    // an old checkpoint over the full log, and a truncated log under the full checkpoint
    let mut old = full.contents();
    old.checkpoint = shorter.contents().checkpoint;
    refused(&old.seal(&region_signer()).unwrap(), Fault::CheckpointDiffers, "checkpoint");
    let mut truncated = shorter.contents();
    truncated.checkpoint = full.contents().checkpoint;
    refused(&truncated.seal(&region_signer()).unwrap(), Fault::CheckpointDiffers, "checkpoint");
    truncated.header.size += 1;
    refused(&truncated.seal(&region_signer()).unwrap(), Fault::EntryCount, "entry 11");
    // the region rewrites an entry: it can sign a checkpoint of its own, but no witness cosigned that
    let mut rewritten = full.clone();
    let last = rewritten.rows.len() - 1;
    rewritten.rows[last] = row(&Act { shard: 1, ..Act::with(put_blob("other", "paris-1")) }, full.rows[last].entry.id, START, 99);
    let mut contents = rewritten.contents();
    contents.checkpoint.note = full.contents().checkpoint.note;
    refused(&contents.seal(&region_signer()).unwrap(), Fault::RootDiffers, "checkpoint");
    rewritten.cosigners.clear();
    refused(&rewritten.seal(), Fault::TooFewWitnesses, "checkpoint");
    // keys that are not those of the trust file
    let bundle = full.seal();
    let mut keys = trust();
    keys.log = signer(ORIGIN, record::KeyKind::Note, 50).key().clone();
    assert_eq!(verify(&bundle, Some(&keys)).findings[0].fault, Fault::NotSigned);
    let mut keys = trust();
    keys.region = signer("bleu.localhost/francecentral/region", record::KeyKind::Note, 50).key().clone();
    assert_eq!(verify(&bundle, Some(&keys)).findings[0].part.as_deref(), Some("manifest"));
}

#[test]
fn parts_that_cannot_be_read() {
    let contents = Scene::new(4).contents();
    for name in
        [PartName::Checkpoint, PartName::Keys, PartName::TagKey, PartName::Place(site("paris-1")), PartName::Map, PartName::Openings(0)]
    {
        let bundle = resealed(&contents, name.clone(), |part| part.truncate(part.len() - 1));
        refused(&bundle, Fault::Malformed, &name.to_string());
    }
    refused(&resealed(&contents, PartName::Entries(0), |part| part.truncate(part.len() - 1)), Fault::EntryCount, "entry 11");
    refused(&resealed(&contents, PartName::Leaves(0), |part| part.truncate(part.len() - 1)), Fault::LeafDiffers, "entry 11");
    refused(&resealed(&contents, PartName::Entries(0), |part| part.extend([0, 0])), Fault::EntryCount, "entry 12");
    let swap = |part: &mut Vec<u8>| part[5] ^= 0x40;
    refused(&resealed(&contents, PartName::Entries(0), swap), Fault::Malformed, "entry 0");
}

#[test]
fn a_flood_of_names_and_findings_is_bounded() {
    let mut scene = Scene::new(0);
    for i in 0..5_000 {
        let who = Who { name: Some(format!("user {i}")), ..Who::default() };
        scene.push(Act::with(Event { who, ..put_blob("x", "atlantis-1") }));
    }
    let report = check(&scene.seal());
    assert_eq!((report.findings.len(), report.findings_count), (200, 5_000));
    assert!(report.summary.acts.len() <= 4_096 && report.summary.acts_left_out > 900);
    assert!(report.text("en").contains("4800 more"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_part_changed_and_signed_again_is_refused(pick: prop::sample::Index, from: prop::sample::Index, cut in 0usize..3, put in prop::collection::vec(any::<u8>(), 0..3)) {
        let contents = Scene::new(2).contents();
        let mut parts = contents.parts().unwrap();
        let at = pick.index(parts.len());
        let (name, part) = &mut parts[at];
        let (name, before) = (name.clone(), part.clone());
        let from = from.index(part.len());
        part.splice(from..(from + cut).min(before.len()), put);
        let changed = *part != before;
        let bundle = seal(&contents.header, &parts, &region_signer()).unwrap();
        let report = check(&bundle);
        auditor::fuzz::fuzz_bundle(&bundle);
        // the region may claim any keys, and any map of bytes within the allowed places: it signs for them
        let free = matches!(name, PartName::Keys | PartName::Map);
        prop_assert!(free || (report.verdict == Verdict::True) != changed, "{}: {}", name, report.text("en"));
    }

    #[test]
    fn any_bytes_give_a_report(bytes in prop::collection::vec(any::<u8>(), 0..400), framed: bool) {
        let head = [&[0x83, 0x6e][..], b"bleu bundle v1"].concat();
        auditor::fuzz::fuzz_bundle(&if framed { [head, bytes].concat() } else { bytes });
    }
}
