//! Bounds on what one plan, one body or the outputs may cost all together: a short template can ask for very much.

use crate::words::Trouble;
use serde_json::Value;
use std::cell::Cell;

const STEPS_MAX: u64 = 2_000_000;
const BYTES_MAX: u64 = 256 << 20;
/// Of a value, and of evaluations inside evaluations.
pub(crate) const DEPTH_MAX: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Meter {
    steps: Cell<u64>,
    bytes: Cell<u64>,
}

impl Meter {
    /// Counts things that are about to be done.
    pub(crate) fn steps(&self, count: usize) -> Result<(), Trouble> {
        count_to(&self.steps, count, STEPS_MAX)
    }
    /// Counts bytes that are about to be made.
    pub(crate) fn bytes(&self, count: usize) -> Result<(), Trouble> {
        count_to(&self.bytes, count, BYTES_MAX)
    }
    pub(crate) fn value(&self, value: &Value) -> Result<(), Trouble> {
        self.weigh(value, 0)
    }
    fn weigh(&self, value: &Value, depth: usize) -> Result<(), Trouble> {
        if depth > DEPTH_MAX {
            return Err(Trouble::wrong("The template language expression makes a value that is nested too deeply"));
        }
        match value {
            Value::String(s) => self.bytes(s.len() + 16),
            Value::Array(all) => {
                self.bytes(16)?;
                all.iter().try_for_each(|v| self.weigh(v, depth + 1))
            }
            Value::Object(all) => {
                self.bytes(16)?;
                for (name, v) in all {
                    self.bytes(name.len() + 16)?;
                    self.weigh(v, depth + 1)?;
                }
                Ok(())
            }
            _ => self.bytes(16),
        }
    }
}

fn count_to(at: &Cell<u64>, count: usize, most: u64) -> Result<(), Trouble> {
    at.set(at.get().saturating_add(count as u64));
    if at.get() > most {
        return Err(Trouble::wrong("The template exceeds the maximum allowed size or number of evaluations"));
    }
    Ok(())
}
