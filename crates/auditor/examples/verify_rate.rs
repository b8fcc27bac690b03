//! How long a bundle takes to verify: `cargo run --release -p auditor --example verify_rate -- 1000000`.
//!
//! The record is synthetic: every entry but the first few is a blob write of the tenant, so every one is opened: the
//! most work that an entry can make.

#[path = "../tests/scene/mod.rs"]
#[allow(dead_code)]
mod scene;

use std::io::Write;
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let entries = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000_usize);
    let mut out = std::io::stdout().lock();
    let bundle = scene::Scene::new(entries.saturating_sub(8)).seal();
    let mut times_ms = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let report = auditor::verify(&bundle, Some(&scene::trust()));
        times_ms.push(start.elapsed().as_millis());
        assert_eq!(report.verdict, auditor::Verdict::True, "{}", report.text("en"));
    }
    times_ms.sort();
    writeln!(
        out,
        "{entries} entries, {} MB, {} threads: verified in {times_ms:?} ms",
        bundle.len() / 1_000_000,
        std::thread::available_parallelism()?
    )
}
