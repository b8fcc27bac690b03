//! One-time codes by the clock (RFC 6238: TOTP over HMAC-SHA1, 30 s, 6 digits), as authenticator apps make them. SHA-1 is
//! what they all understand; its weakness is collisions, which HMAC does not rest on.

use aws_lc_rs::hmac;

/// Seconds that a code is for (RFC 6238 section 4.1).
pub const TOTP_STEP_S: i64 = 30;
const DIGITS: usize = 6;
/// Clocks of telephones may be one step off, in either direction (RFC 6238 section 5.2).
const STEPS_OFF: u64 = 1;

/// The code of a step (RFC 4226 section 5.3).
pub fn totp(key: &[u8], step: u64) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), &step.to_be_bytes());
    let tag = tag.as_ref();
    // four bits say where: at most 15, and the tag has 20 bytes
    let at = usize::from(tag[tag.len() - 1] & 0x0f);
    let word = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    format!("{:0DIGITS$}", word % 1_000_000)
}

/// The step whose code was typed, if it is near `now_s` (seconds since 1970) and later than `used`, the last step that
/// was taken: a code works once (RFC 6238 section 5.2). Looks at every candidate, and at all of each.
pub fn totp_step(key: &[u8], typed: &str, now_s: i64, used: u64) -> Option<u64> {
    let now = u64::try_from(now_s / TOTP_STEP_S).ok()?;
    let mut found = None;
    for step in now.saturating_sub(STEPS_OFF)..=now + STEPS_OFF {
        let is_it = crate::equal(totp(key, step).as_bytes(), typed.as_bytes());
        if is_it && step > used {
            found = Some(step);
        }
    }
    found
}

/// Base32 without padding (RFC 4648 section 6): how authenticator apps take a key that is typed.
pub fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
    (0..(bytes.len() * 8).div_ceil(5))
        .map(|group| char::from(LETTERS[(0..5).fold(0, |value, at| value << 1 | usize::from(bit(group * 5 + at)))]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4226_and_6238_vectors() {
        let key = b"12345678901234567890";
        for (step, code) in
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"].iter().enumerate()
        {
            assert_eq!(totp(key, step as u64), *code);
        }
        // the last six of the eight digits of RFC 6238, appendix B
        for (time_s, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(totp(key, time_s / 30), code);
        }
    }

    #[test]
    fn a_code_holds_for_a_step_around_its_own_and_once() {
        let key = b"12345678901234567890";
        for (now_s, holds) in [(0, true), (59, true), (60, true), (89, true), (90, false), (-1_000, false)] {
            assert_eq!(totp_step(key, "287082", now_s, 0), holds.then_some(1), "{now_s}");
        }
        assert_eq!(totp_step(key, "287082", 30, 1), None, "used");
        assert_eq!(totp_step(b"other", "287082", 30, 0), None);
        for bad in ["", "28708", "2870820", "28708２", "abcdef"] {
            assert_eq!(totp_step(key, bad, 30, 0), None, "{bad}");
        }
    }

    #[test]
    fn rfc_4648_vectors() {
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
