//! Bounds on what one evaluation may cost: a short template can ask for very much.

use crate::words::Trouble;
use serde_json::Value;

const STEPS_MAX: u64 = 2_000_000;
const BYTES_MAX: u64 = 64 << 20;
/// Of a value, and of evaluations inside evaluations.
pub(crate) const DEPTH_MAX: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Meter {
    steps: u64,
    bytes: u64,
}

impl Meter {
    pub(crate) fn step(&mut self) -> Result<(), Trouble> {
        self.steps += 1;
        if self.steps > STEPS_MAX { Err(too_much()) } else { Ok(()) }
    }
    /// Counts bytes that are about to be made.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<(), Trouble> {
        self.bytes = self.bytes.saturating_add(count as u64);
        if self.bytes > BYTES_MAX { Err(too_much()) } else { Ok(()) }
    }
    pub(crate) fn value(&mut self, value: &Value) -> Result<(), Trouble> {
        self.weigh(value, 0)
    }
    fn weigh(&mut self, value: &Value, depth: usize) -> Result<(), Trouble> {
        if depth > DEPTH_MAX {
            return Err(Trouble::wrong("The template language expression makes a value that is nested too deeply."));
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

fn too_much() -> Trouble {
    Trouble::wrong("The template exceeds the maximum allowed size or number of evaluations.")
}
