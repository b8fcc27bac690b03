//! Digests. SHA-256 protects; MD5 and CRC-64 only speak Azure's dialect (`Content-MD5`, `x-ms-content-crc64`).

use crc_fast::CrcAlgorithm;
use md5::Digest as _;

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// SHA-1 of a certificate, for the `x5t` header (RFC 7515 section 4.1.7): finds a certificate, protects nothing.
pub(crate) fn sha1_thumbprint(der: &[u8]) -> [u8; 20] {
    fixed(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref())
}

fn fixed<const N: usize>(digest: &[u8]) -> [u8; N] {
    // the algorithm fixes the length, and the callers above name both
    digest.try_into().expect("a digest has the length of its algorithm")
}

/// SHA-256 of a stream.
#[derive(Clone)]
pub struct Sha256(aws_lc_rs::digest::Context);

impl Sha256 {
    pub fn new() -> Sha256 {
        Sha256(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256))
    }
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    pub fn finish(self) -> [u8; 32] {
        fixed(self.0.finish().as_ref())
    }
}
impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256::new()
    }
}

/// MD5 (RFC 1321). **Compatibility only**: it finds accidents, not attacks.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    md5::Md5::digest(bytes).into()
}

/// MD5 of a stream. **Compatibility only**, as [`md5()`].
#[derive(Clone, Default)]
pub struct Md5(md5::Md5);

impl Md5 {
    pub fn new() -> Md5 {
        Md5::default()
    }
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    pub fn finish(self) -> [u8; 16] {
        self.0.finalize().into()
    }
}

/// CRC-64/NVME of a stream: Azure's `x-ms-content-crc64`. Finds accidents, not attacks.
#[derive(Clone, Debug)]
pub struct Crc64Nvme(crc_fast::Digest);

impl Crc64Nvme {
    pub fn new() -> Crc64Nvme {
        Crc64Nvme(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))
    }
    pub fn of(bytes: &[u8]) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
    }
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    pub fn finish(&self) -> u64 {
        self.0.finalize()
    }
    /// The checksum of A ‖ B from the checksums of A and B and the length of B in bytes.
    pub fn combine(a: u64, b: u64, b_bytes: u64) -> u64 {
        crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, a, b, b_bytes)
    }
    /// As the header carries it, before base64: the least significant byte first.
    pub fn header_bytes(crc: u64) -> [u8; 8] {
        crc.to_le_bytes()
    }
}
impl Default for Crc64Nvme {
    fn default() -> Crc64Nvme {
        Crc64Nvme::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::*;
    use proptest::prelude::*;

    #[test]
    fn sha256_vectors() {
        // FIPS 180-4 examples: the empty message, "abc", and a million times "a"
        assert_eq!(hex::encode(sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex::encode(sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut hash = Sha256::new();
        for _ in 0..1000 {
            hash.update(&[b'a'; 1000]);
        }
        assert_eq!(hex::encode(hash.finish()), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    #[test]
    fn md5_vectors() {
        // RFC 1321 appendix A.5
        assert_eq!(hex::encode(md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex::encode(md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(hex::encode(md5(b"abcdefghijklmnopqrstuvwxyz")), "c3fcd3d76192e4007dfb496cca67e13b");
    }

    #[test]
    fn sha1_vector() {
        assert_eq!(hex::encode(sha1_thumbprint(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn crc64_vectors() {
        // the check value of CRC-64/NVME (NVM Express NVM command set specification), and Azure's own example
        assert_eq!(Crc64Nvme::of(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(BASE64_STANDARD.encode(Crc64Nvme::header_bytes(Crc64Nvme::of(b"Hello World"))), "YeJLfssylmU=");
        assert_eq!(Crc64Nvme::new().finish(), 0);
    }

    proptest! {
        #[test]
        fn streams_equal_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..3000), cut in 0usize..3000) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let (mut sha, mut md, mut crc) = (Sha256::new(), Md5::new(), Crc64Nvme::new());
            for part in [a, b] {
                sha.update(part);
                md.update(part);
                crc.update(part);
            }
            prop_assert_eq!(sha.finish(), sha256(&bytes));
            prop_assert_eq!(md.finish(), md5(&bytes));
            prop_assert_eq!(crc.finish(), Crc64Nvme::of(&bytes));
            prop_assert_eq!(Crc64Nvme::combine(Crc64Nvme::of(a), Crc64Nvme::of(b), b.len() as u64), Crc64Nvme::of(&bytes));
        }
    }
}
