//! From the start of the program to the ready file, and what it holds when nobody asks anything.

use crate::Options;
use crate::load::{median, resident_mib};
use crate::region::Region;
use crate::table::{Row, Table, Target};
use anyhow::Result;
use std::time::Duration;

const STARTS: usize = 5;
const IDLE: Duration = Duration::from_secs(5);

pub fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let folder = tempfile::tempdir()?;
        for times_s in [&mut first, &mut later] {
            let region = Region::start(&options.bleu, folder.path())?;
            times_s.push(region.ready_after.as_secs_f64());
            region.stop()?;
        }
    }
    table.row(Row::of("`bleu up` to ready, first run", "s", median(first)).target(Target::AtMost(1.0)));
    table.row(Row::of("`bleu up` to ready, later run", "s", median(later)).target(Target::AtMost(0.3)));
    let folder = tempfile::tempdir()?;
    let region = Region::start(&options.bleu, folder.path())?;
    std::thread::sleep(IDLE);
    table.row(Row::of("resident memory, idle for 5 s", "MiB", resident_mib(region.id())?).target(Target::AtMost(80.0)));
    region.stop()
}
