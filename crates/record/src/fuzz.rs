//! Entry points for fuzzing: each takes any bytes and must neither panic nor accept a second spelling of a value.

/// [`crate::Draft::decode`] and [`crate::Entry::decode`].
pub fn fuzz_entry(bytes: &[u8]) {
    if let Ok(entry) = crate::Entry::decode(bytes) {
        assert_eq!(entry.encode().ok().as_deref(), Some(bytes));
    }
    if let Ok(draft) = crate::Draft::decode(bytes) {
        assert_eq!(draft.encode().ok().as_deref(), Some(bytes));
    }
}

/// [`crate::Event::decode`].
pub fn fuzz_event(bytes: &[u8]) {
    if let Ok(event) = crate::Event::decode(bytes) {
        assert_eq!(event.encode().ok().as_deref(), Some(bytes));
    }
}

/// [`crate::SignedCheckpoint::parse`] and [`crate::SignedNote::parse`].
pub fn fuzz_checkpoint(bytes: &[u8]) {
    if let Ok(note) = crate::SignedNote::parse(bytes) {
        assert_eq!(note.to_bytes(), bytes);
    }
    if let Ok(checkpoint) = crate::SignedCheckpoint::parse(bytes) {
        assert_eq!(checkpoint.to_bytes(), bytes);
        assert_eq!(checkpoint.checkpoint.text(), checkpoint.note.text());
    }
}

/// [`crate::tiles::TilePath::parse`] and [`crate::tiles::split_entries`].
pub fn fuzz_tiles(bytes: &[u8]) {
    let entries: Vec<_> = crate::tiles::split_entries(bytes).collect();
    assert!(entries.len() <= bytes.len());
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(path) = crate::tiles::TilePath::parse(text)
    {
        assert_eq!(path.to_string(), text);
    }
}

/// [`crate::witness::AddCheckpoint::parse`].
pub fn fuzz_add_checkpoint(bytes: &[u8]) {
    if let Ok(request) = crate::witness::AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_bytes(), bytes);
    }
}

/// [`crate::TrustKeys::parse`], [`crate::VerifierKey`] and [`crate::parse_place`].
pub fn fuzz_trust_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(keys) = crate::TrustKeys::parse(text) {
        assert_eq!(keys.text().ok().as_deref(), Some(text));
    }
    if let Ok(key) = text.parse::<crate::VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok((region, place)) = crate::parse_place(text) {
        assert_eq!(crate::place_text(&region, &place).ok().as_deref(), Some(text));
    }
}

/// [`crate::bundle`]: frame, manifest, map and openings.
pub fn fuzz_bundle(bytes: &[u8]) {
    use crate::bundle::{Frame, Manifest, parse_map, parse_openings};
    if let Ok(frame) = Frame::parse(bytes) {
        assert!(frame.parts.iter().map(|part| part.len()).sum::<usize>() < bytes.len());
        let note = crate::SignedNote::parse(frame.manifest);
        let _ = note.and_then(|note| Manifest::parse(note.text()));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(manifest) = Manifest::parse(text)
    {
        assert_eq!(manifest.text().ok().as_deref(), Some(text));
    }
    let _ = parse_map(bytes);
    let _ = parse_openings(bytes);
}
