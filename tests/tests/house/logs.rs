//! Hears what the region warns of, on this test's own thread: a test that expects no trouble says so.

use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// What was warned of since [`Quiet::listen`].
pub struct Quiet {
    heard: Heard,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Quiet {
    /// For a test on one thread: what other threads say is not heard.
    pub fn listen() -> Quiet {
        let heard = Heard::default();
        let writer = heard.clone();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(Level::WARN).with_ansi(false).with_writer(move || writer.clone()).finish();
        Quiet { heard, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Panics with every warning and error.
    pub fn heard_nothing(self) {
        let heard = std::mem::take(&mut *self.heard.0.lock().unwrap());
        assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
        // and it would have been heard
        tracing::warn!("announced");
        assert!(String::from_utf8_lossy(&self.heard.0.lock().unwrap()).contains("announced"));
    }
}
