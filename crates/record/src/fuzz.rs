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
