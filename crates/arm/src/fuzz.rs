//! Every reader of outside bytes in this crate, for the fuzzer.

pub fn fuzz_filter(bytes: &[u8]) {
    crate::filter::fuzz(bytes);
}
pub fn fuzz_group_body(bytes: &[u8]) {
    crate::names::fuzz_group_body(bytes);
}
pub fn fuzz_skip_token(bytes: &[u8]) {
    crate::paging::fuzz(bytes);
}
