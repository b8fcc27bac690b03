//! Sixteen connections that do the same thing again and again, and what that costs.

use crate::http::{Caller, Connection};
use anyhow::Result;
use base::Fut;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const CONNECTIONS: usize = 16;
/// Unit of the times in `/proc/PID/stat`; user space sees 100 a second on every Linux of ours.
const TICKS_PER_S: f64 = 100.0;

/// Which connection, and its how manieth call.
#[derive(Clone, Copy)]
pub struct Turn {
    pub task: usize,
    pub count: usize,
}

/// One call. An error ends the measurement: there is no figure with errors in it.
pub type Step = Arc<dyn for<'a> Fn(&'a mut Connection, Turn) -> Fut<'a, Result<()>> + Send + Sync>;

pub fn step(call: impl for<'a> Fn(&'a mut Connection, Turn) -> Fut<'a, Result<()>> + Send + Sync + 'static) -> Step {
    Arc::new(call)
}

/// What one stretch, or the median of several, came to.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    pub per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time of the server for each call.
    pub server_us: f64,
    /// How much of a core the client took.
    pub client_cores: f64,
}

/// Calls `step` over all connections for `seconds`. `server`: the process whose time (and whose children's) is counted.
pub async fn stretch(caller: &Caller, server: u32, seconds: f64, step: Step) -> Result<Sample> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(caller.connect().await?);
    }
    let (server_before, client_before) = (processor_s(server), processor_s(std::process::id()));
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for (task, mut connection) in connections.into_iter().enumerate() {
        let step = step.clone();
        tasks.spawn(async move {
            let mut took_us = Vec::new();
            loop {
                let at = Instant::now();
                if at >= end {
                    return Ok::<_, anyhow::Error>(took_us);
                }
                step(&mut connection, Turn { task, count: took_us.len() }).await?;
                took_us.push(at.elapsed().as_micros() as u32);
            }
        });
    }
    let mut all_us = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all_us.extend(done??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (server_s, client_s) = (processor_s(server) - server_before, processor_s(std::process::id()) - client_before);
    all_us.sort_unstable();
    let at = |part: f64| all_us.get((all_us.len() as f64 * part) as usize).map_or(0.0, |us| f64::from(*us) / 1000.0);
    let calls = all_us.len().max(1) as f64;
    Ok(Sample {
        per_s: all_us.len() as f64 / seconds,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        server_us: server_s * 1e6 / calls,
        client_cores: client_s / seconds,
    })
}

/// Does `count` calls, numbered 0.. through [`Turn::count`], as fast as it goes.
pub async fn fill(caller: &Caller, count: usize, step: Step) -> Result<f64> {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..CONNECTIONS * 2 {
        let (mut connection, step) = (caller.connect().await?, step.clone());
        tasks.spawn(async move {
            for number in (task..count).step_by(CONNECTIONS * 2) {
                step(&mut connection, Turn { task, count: number }).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Field by field.
pub fn middle(samples: &[Sample]) -> Sample {
    let of = |field: fn(&Sample) -> f64| median(samples.iter().map(field).collect());
    Sample {
        per_s: of(|s| s.per_s),
        p50_ms: of(|s| s.p50_ms),
        p99_ms: of(|s| s.p99_ms),
        server_us: of(|s| s.server_us),
        client_cores: of(|s| s.client_cores),
    }
}

/// Seconds of processor time of a process and its living children, since their start.
fn processor_s(process: u32) -> f64 {
    let children = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = children.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all = numbers.filter_map(|number| Stat::of(number).map(|stat| (number, stat)));
    all.filter(|(number, stat)| *number == process || stat.parent == process).map(|(_, stat)| stat.seconds).sum()
}

struct Stat {
    parent: u32,
    seconds: f64,
}

impl Stat {
    fn of(process: u32) -> Option<Stat> {
        Stat::parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// proc(5): the name may hold blanks and brackets, so what follows its last bracket is counted: state, parent, ….
    fn parse(text: &str) -> Option<Stat> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Stat { parent: fields.get(1)?.parse().ok()?, seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_S })
    }
}

/// Resident memory of a process, MiB.
pub fn resident_mib(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = Stat::parse("77 (a) b) S 12 77 77 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 9 0 1 1 1").unwrap();
        assert_eq!((stat.parent, stat.seconds), (12, 3.0));
        assert!(Stat::parse("77 (a").is_none() && Stat::parse("1 (a) S 2").is_none());
    }

    #[test]
    fn this_process_has_taken_time_and_memory() {
        let mut spun = 0_u64;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(60) {
            spun = std::hint::black_box(spun + 1);
        }
        assert!(processor_s(std::process::id()) > 0.0 && resident_mib(std::process::id()).unwrap() > 1.0);
    }

    #[test]
    fn the_middle_is_taken_field_by_field() {
        let all = [(1.0, 9.0), (5.0, 2.0), (3.0, 4.0)].map(|(per_s, p50_ms)| Sample { per_s, p50_ms, ..Sample::default() });
        assert_eq!((middle(&all).per_s, middle(&all).p50_ms), (3.0, 4.0));
        assert!(median(Vec::new()).is_nan());
    }
}
