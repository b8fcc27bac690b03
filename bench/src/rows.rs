//! What is measured, section by section. Each starts servers of its own and leaves nothing behind.

mod growth;
mod large;
mod management;
mod record;
mod small;
mod starts;

use crate::Options;
use crate::table::Table;
use anyhow::Result;

/// Rounds in which those that are compared take turns.
const ROUNDS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    Starts,
    Small,
    Large,
    Record,
    Management,
    Growth,
}

impl Section {
    pub const ALL: [Section; 6] = [Section::Starts, Section::Small, Section::Large, Section::Record, Section::Management, Section::Growth];

    pub async fn measure(self, options: &Options, table: &mut Table) -> Result<()> {
        match self {
            Section::Starts => starts::measure(options, table),
            Section::Small => small::measure(options, table).await,
            Section::Large => large::measure(options, table).await,
            Section::Record => record::measure(options, table),
            Section::Management => management::measure(options, table).await,
            Section::Growth => growth::measure(options, table).await,
        }
    }
}
