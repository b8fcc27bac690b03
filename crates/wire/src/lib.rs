//! Grammars that Azure's dialects share, to and from our types: percent-encoding, ranges, conditions, dates, OData
//! filters, error bodies. Pure, bounded, fuzzed ([`fuzz`]). A service's own messages live in the service.

pub mod oauth;
pub mod odata;
mod percent;

pub use percent::{percent_decode, percent_encode};

/// Every reader of outside bytes in this crate, for the fuzzer.
pub mod fuzz {
    pub use crate::oauth::fuzz_form;
    pub use crate::odata::fuzz_filter;
}
