//! Grammars that Azure's dialects share, to and from our types: percent-encoding, ranges, conditions, dates, OData
//! filters, error bodies. Pure, bounded, fuzzed ([`fuzz`]). A service's own messages live in the service.

mod arm_error;
mod condition;
pub mod oauth;
pub mod odata;
mod percent;
mod range;

pub use arm_error::arm_error_body;
pub use condition::{Conditions, Current, Tags, Verdict};
pub use percent::{percent_decode, percent_encode};
pub use range::ByteRange;

/// Every reader of outside bytes in this crate, for the fuzzer.
pub mod fuzz {
    pub use crate::condition::fuzz_conditions;
    pub use crate::oauth::fuzz_form;
    pub use crate::odata::fuzz_filter;
    pub use crate::range::fuzz_range;
}
