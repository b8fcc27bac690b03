//! `uniqueString` and `guid`: the same text for the same arguments, for ever, and the same as Azure's.
//!
//! `uniqueString` is a 64-bit member of the MurmurHash3 family (Austin Appleby, public domain) over the arguments
//! joined with `-`, printed as thirteen digits of base 32. `guid` is UUID version 5 (RFC 9562 section 5.5) of the same
//! text in a namespace of Azure's own. Neither is a digest for security.

use uuid::Uuid;

const NAMESPACE: Uuid = Uuid::from_u128(0x11fb06fb_712d_4ddd_98c7_e71bbd588830);
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const FIRST: u32 = 0x239b_961b;
const SECOND: u32 = 0xab0e_9789;

pub(crate) fn guid(text: &str) -> String {
    Uuid::new_v5(&NAMESPACE, text.as_bytes()).hyphenated().to_string()
}

pub(crate) fn unique_string(text: &str) -> String {
    let hash = murmur(text.as_bytes());
    (0..13).map(|i| char::from(DIGITS[(hash << (5 * i) >> 59) as usize])).collect()
}

/// The decimal number that a deployment shows as `templateHash`: it changes when the template does.
pub fn template_hash(template: &serde_json::Value) -> String {
    murmur(template.to_string().as_bytes()).to_string()
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |word, b| word << 8 | u32::from(*b))
}
fn low(word: u32) -> u32 {
    word.wrapping_mul(FIRST).rotate_left(15).wrapping_mul(SECOND)
}
fn high(word: u32) -> u32 {
    word.wrapping_mul(SECOND).rotate_left(17).wrapping_mul(FIRST)
}
fn mixed(mut word: u32) -> u32 {
    word = (word ^ word >> 16).wrapping_mul(0x85eb_ca6b);
    word = (word ^ word >> 13).wrapping_mul(0xc2b2_ae35);
    word ^ word >> 16
}

fn murmur(bytes: &[u8]) -> u64 {
    let (mut one, mut two) = (0u32, 0u32);
    let mut blocks = bytes.chunks_exact(8);
    for block in &mut blocks {
        one = (one ^ low(word(block))).rotate_left(19).wrapping_add(two).wrapping_mul(5).wrapping_add(0x561c_cd1b);
        two = (two ^ high(word(&block[4..]))).rotate_left(13).wrapping_add(one).wrapping_mul(5).wrapping_add(0x0bca_a747);
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        one ^= low(word(rest));
    }
    if rest.len() > 4 {
        two ^= high(word(&rest[4..]));
    }
    one ^= bytes.len() as u32;
    two ^= bytes.len() as u32;
    one = one.wrapping_add(two);
    two = two.wrapping_add(one);
    (one, two) = (mixed(one), mixed(two));
    one = one.wrapping_add(two);
    two = two.wrapping_add(one);
    u64::from(two) << 32 | u64::from(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_strings_are_azures() {
        for (text, want) in [
            ("test", "rbgf3xv4ufgzg"),
            ("hello-world", "a7wkljktk6wne"),
            ("abc", "cgtzqvhu4i23s"),
            ("/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/my-rg", "bmg7c6xu4tw46"),
            ("foo-bar-baz", "xzi4ioaxtmth4"),
        ] {
            assert_eq!(unique_string(text), want, "{text}");
        }
    }

    #[test]
    fn guids_are_version_five() {
        let id = Uuid::parse_str(&guid("a-b")).unwrap();
        assert_eq!(id.get_version_num(), 5);
        assert_eq!(guid("a-b"), guid("a-b"));
        assert_ne!(guid("a-b"), guid("a-c"));
    }
}
