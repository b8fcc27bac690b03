//! Chance behind a trait, so that a seed reproduces a run.

use std::sync::Mutex;

/// A source of random bytes. Production uses [`OsChance`]; tests seed [`SeededChance`].
pub trait Chance: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator, fit for keys.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsChance;

impl Chance for OsChance {
    #[allow(clippy::disallowed_methods, reason = "this is where chance comes in")]
    fn fill(&self, bytes: &mut [u8]) {
        // a kernel that refuses random bytes leaves nothing safe to do
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014) over a seed: reproducible, for tests only, never for keys.
#[derive(Debug)]
pub struct SeededChance(Mutex<u64>);

impl SeededChance {
    pub fn new(seed: u64) -> SeededChance {
        SeededChance(Mutex::new(seed))
    }
}

impl Chance for SeededChance {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}
