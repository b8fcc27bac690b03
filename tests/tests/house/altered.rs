//! The bundle of a real day, altered: by anyone who has the file, and by someone who has the region's own key. Each is
//! refused, and told where.

use crate::stories::day;
use crate::world::World;
use auditor::{Fault, Report, Verdict, verify};
use base::{Chance, SeededChance};
use crypto::NoteKey;
use record::bundle::{Contents, Frame, Manifest, PartName, parse_map, parse_openings, seal};
use record::tiles::split_entries;
use record::{NoteSigner, Opening, SignedCheckpoint, SignedNote, TrustKeys};

/// Bits flipped in a run.
const FLIPS: usize = 300;

/// The bundle of Contoso after a working day, and the keys it was handed out of band.
async fn exported(seed: u64) -> (Vec<u8>, TrustKeys) {
    let world = World::new(seed).await;
    let anna = world.owner(&world.contoso).await;
    day(&anna).await;
    let bundle = world.kit.trust.export(Some(world.contoso.tenant)).await.unwrap();
    let keys = world.kit.trust.trust_keys(Some(world.contoso.tenant)).unwrap();
    let report = verify(&bundle, Some(&keys));
    assert_eq!(report.verdict, Verdict::True, "{report:#?}");
    (bundle, keys)
}

fn random(chance: &SeededChance, below: usize) -> usize {
    let mut bytes = [0; 8];
    chance.fill(&mut bytes);
    (u64::from_le_bytes(bytes) % below as u64) as usize
}

/// The name of the part in which a byte lies; `None`: the frame around them, or the manifest.
fn part_at(bundle: &[u8], at: usize) -> Option<String> {
    let frame = Frame::parse(bundle).unwrap();
    let manifest = Manifest::parse(SignedNote::parse(frame.manifest).unwrap().text()).unwrap();
    let offset = |part: &[u8]| part.as_ptr() as usize - bundle.as_ptr() as usize;
    let found = frame.parts.iter().position(|part| (offset(part)..offset(part) + part.len()).contains(&at))?;
    Some(manifest.parts[found].name.to_string())
}

#[tokio::test]
async fn any_flipped_bit_is_refused_and_told_where() {
    let (bundle, keys) = exported(40).await;
    let seed = std::env::var("BLEU_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(40);
    let chance = SeededChance::new(seed);
    for _ in 0..FLIPS {
        let (at, bit) = (random(&chance, bundle.len()), random(&chance, 8));
        let mut altered = bundle.clone();
        altered[at] ^= 1 << bit;
        let report = verify(&altered, Some(&keys));
        let said = report.text("en");
        assert!(matches!(report.verdict, Verdict::NotTrue | Verdict::Unreadable), "seed {seed}: bit {bit} of byte {at}: {said}");
        let named = report.findings.iter().any(|f| f.index.is_some() || f.part.as_deref() == part_at(&bundle, at).as_deref());
        let framed = part_at(&bundle, at).is_none() && report.findings.iter().any(|f| f.part.is_some());
        assert!(named || framed, "seed {seed}: bit {bit} of byte {at}, in {:?}: {said}", part_at(&bundle, at));
    }
    // an altered entry is told by its own number
    let entries = (0..bundle.len()).filter(|at| part_at(&bundle, *at).as_deref() == Some("entries/0"));
    let within = entries.collect::<Vec<_>>();
    let mut altered = bundle.clone();
    altered[within[within.len() / 2]] ^= 1;
    assert!(verify(&altered, Some(&keys)).findings.iter().any(|f| f.index.is_some()));
    // cut short anywhere, or with more at its end
    for length in [0, 1, 20, bundle.len() / 3, bundle.len() - 1] {
        assert_ne!(verify(&bundle[..length], Some(&keys)).verdict, Verdict::True);
    }
    assert_ne!(verify(&[&bundle[..], &[0]].concat(), Some(&keys)).verdict, Verdict::True);
}

/// What a bundle is made of, read back, and a region's key that the customer (for this test) trusts: whoever holds it can
/// sign any manifest.
fn opened(bundle: &[u8], keys: &TrustKeys) -> (Contents, TrustKeys, NoteSigner) {
    let key = NoteKey::generate(&SeededChance::new(1)).unwrap();
    let public = record::VerifierKey::new(keys.region.name(), record::KeyKind::Note, key.public()).unwrap();
    let signer = NoteSigner::new(public.clone(), move |bytes| Ok(key.sign(bytes)));
    let frame = Frame::parse(bundle).unwrap();
    let manifest = Manifest::parse(SignedNote::parse(frame.manifest).unwrap().text()).unwrap();
    let part = |name: &PartName| frame.parts[manifest.parts.iter().position(|p| p.name == *name).unwrap()];
    let places = manifest.parts.iter().filter(|p| matches!(p.name, PartName::Place(_))).map(|p| {
        let place = record::parse_place(SignedNote::parse(part(&p.name)).unwrap().text()).unwrap();
        record::sign_place(&place.0, &place.1, &signer).unwrap()
    });
    let openings = parse_openings(part(&PartName::Openings(0))).unwrap();
    let trusted = TrustKeys { region: public, ..keys.clone() };
    let contents = Contents {
        header: manifest.header.clone(),
        checkpoint: SignedCheckpoint::parse(part(&PartName::Checkpoint)).unwrap(),
        keys: trusted.clone(),
        tag_key: Some(part(&PartName::TagKey).try_into().unwrap()),
        places: places.collect(),
        map: parse_map(part(&PartName::Map)).unwrap(),
        entries: split_entries(part(&PartName::Entries(0))).map(|e| e.unwrap().to_vec()).collect(),
        openings: openings.iter().map(|row| (row.index, Opening { salt: row.salt, event: row.event.to_vec() })).collect(),
    };
    (contents, trusted, signer)
}

fn faults(report: &Report) -> Vec<Fault> {
    report.findings.iter().map(|f| f.fault).collect()
}

#[tokio::test]
async fn who_holds_the_regions_key_can_not_leave_out_move_or_change_an_entry() {
    let (bundle, keys) = exported(41).await;
    let (contents, trusted, signer) = opened(&bundle, &keys);
    let honest = verify(&contents.seal(&signer).unwrap(), Some(&trusted));
    assert_eq!(honest.verdict, Verdict::True, "what is only signed again is true: {honest:#?}");
    let told = |change: &dyn Fn(&mut Contents), what: &str| {
        let mut changed = contents.clone();
        change(&mut changed);
        let parts = changed.parts().unwrap();
        let report = verify(&seal(&changed.header, &parts, &signer).unwrap(), Some(&trusted));
        assert_eq!(report.verdict, Verdict::NotTrue, "{what}");
        faults(&report)
    };
    let mine: Vec<u64> = contents.openings.iter().map(|(index, _)| *index).collect();
    let middle = mine[mine.len() / 2];
    let drop_entry = |c: &mut Contents| {
        c.entries.remove(middle as usize);
        c.openings.retain(|(index, _)| *index != middle);
        c.openings.iter_mut().for_each(|(index, _)| *index -= u64::from(*index > middle));
    };
    let found = told(&drop_entry, "an entry is left out");
    assert!(found.contains(&Fault::EntryCount) || found.contains(&Fault::NumberGap), "{found:?}");
    let found = told(
        &|c| {
            drop_entry(c);
            c.header.size -= 1;
        },
        "an entry is left out, and the size says so",
    );
    assert!(found.contains(&Fault::NumberGap) && found.contains(&Fault::RootDiffers), "{found:?}");
    let found = told(&|c| c.entries.swap(3, 4), "two entries change places");
    assert!(found.contains(&Fault::NumberGap), "{found:?}");
    let found = told(&|c| c.openings.retain(|(index, _)| *index != middle), "an opening is kept back");
    assert!(found.contains(&Fault::OpeningMissing), "{found:?}");
    let found = told(
        &|c| {
            let (_, opening) = c.openings.iter_mut().find(|(index, _)| *index == middle).unwrap();
            let mut event = record::Event::decode(&opening.event).unwrap();
            event.detail = "something else".into();
            opening.event = event.encode().unwrap();
        },
        "what an entry says is changed",
    );
    assert!(found.contains(&Fault::CommitmentDiffers), "{found:?}");
    let found = told(&|c| drop(c.entries.pop()), "the newest entry is left out");
    assert!(found.contains(&Fault::EntryCount), "{found:?}");
    let found = told(&|c| c.tag_key = Some([9; 32]), "another tag key hides what is the tenant's");
    assert!(found.contains(&Fault::TagKeyDiffers), "{found:?}");
    let found = told(&|c| c.map[0].site = base::SiteName::new("elsewhere-1").unwrap(), "bytes are said to be at no known place");
    assert!(found.contains(&Fault::PlaceUnknown), "{found:?}");
}
