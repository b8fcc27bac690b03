//! The promises about `Permit` and `Reply`, held by code that must not compile. Here, because this crate sees what a
//! service sees: `trust` and the contract, and nothing below.

#[test]
fn the_promises_hold() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/fail/ok.rs");
    cases.compile_fail("tests/fail/permit_*.rs");
    cases.compile_fail("tests/fail/reply_*.rs");
    cases.compile_fail("tests/fail/access_*.rs");
    cases.compile_fail("tests/fail/store_*.rs");
}
