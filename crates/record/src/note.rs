//! Signed notes (C2SP signed-note) and cosignatures (C2SP tlog-cosignature), over Ed25519.
//!
//! A [`SignedNote`] is a text and signature lines. A [`VerifierKey`] is a public key under a name, of one of two kinds
//! that sign different messages, so that neither can be taken for the other. Whoever holds a private key hands its
//! signing function to a [`NoteSigner`]: the key itself may sit in a sealed file or an HSM, never here.
//!
//! Parsing is strict: a note has exactly one spelling. Signature lines of unknown keys are kept and ignored, as the
//! specification asks.

use base::{Error, Result, Timestamp};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use signed_note::{Note, Signature, StandardVerifier, Verifier};
use std::fmt;
use std::str::FromStr;

const NAME_BYTES_MAX: usize = 256;

/// What a key signs, by the algorithm byte of signed-note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// 0x01: the text of a note.
    Note = 1,
    /// 0x04: a timestamped statement about a checkpoint (`cosignature/v1`).
    Cosigner = 4,
}

/// A public key as signed-note prints it: `name+id+base64(kind ‖ key)`.
#[derive(Clone)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: KeyKind,
    public: [u8; 32],
    verifier: StandardVerifier,
}

/// What the lines of one key say about a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// No line under this name and id.
    Missing,
    /// A line under this name and id does not verify.
    Wrong,
    /// Every line of the key verifies. A cosigner also says when (seconds since 1970).
    Good { at_seconds: Option<u64> },
}

impl VerifierKey {
    /// Errors `InvalidKey`: a name that is empty, over 256 bytes, or holds a space, plus or control character; bytes
    /// that are not an Ed25519 public key.
    pub fn new(name: &str, kind: KeyKind, public: [u8; 32]) -> Result<VerifierKey> {
        let clean = signed_note::is_key_name_valid(name) && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
        if !clean {
            return Err(invalid_key("its name is empty, too long, or holds a space, '+' or control character"));
        }
        let id = signed_note::key_id(name, &tagged(kind, &public));
        // the library knows kind 1 only: the same point under that kind checks raw signatures for both
        let plain = tagged(KeyKind::Note, &public);
        let text = format!("{name}+{:08x}+{}", signed_note::key_id(name, &plain), BASE64_STANDARD.encode(&plain));
        let verifier = StandardVerifier::new(&text).map_err(|_| invalid_key("it is not an Ed25519 public key"))?;
        Ok(VerifierKey { name: name.to_owned(), id, kind, public, verifier })
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The key id of signed-note: four bytes of SHA-256 over name, kind and key.
    pub fn id(&self) -> u32 {
        self.id
    }
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
    /// The raw Ed25519 public key (RFC 8032).
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    fn check(&self, text: &str, signature: &[u8]) -> Option<Signed> {
        match self.kind {
            KeyKind::Note => self.verifier.verify(text.as_bytes(), signature).then_some(Signed::Good { at_seconds: None }),
            KeyKind::Cosigner => {
                let (time, signature) = signature.split_first_chunk::<8>()?;
                let at_seconds = u64::from_be_bytes(*time);
                let fits = at_seconds <= i64::MAX as u64;
                let good = fits && self.verifier.verify(cosigned_message(text, at_seconds).as_bytes(), signature);
                good.then_some(Signed::Good { at_seconds: Some(at_seconds) })
            }
        }
    }
}

/// The message of `cosignature/v1` (tlog-cosignature, "Ed25519 signed message").
fn cosigned_message(text: &str, at_seconds: u64) -> String {
    format!("cosignature/v1\ntime {at_seconds}\n{text}")
}

fn tagged(kind: KeyKind, public: &[u8; 32]) -> Vec<u8> {
    [&[kind as u8], public.as_slice()].concat()
}

impl FromStr for VerifierKey {
    type Err = Error;
    /// Strict: the id must be the one that signed-note derives, in lower case. Error `InvalidKey`.
    fn from_str(text: &str) -> Result<VerifierKey> {
        // a name holds no '+', base64 may
        let mut fields = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(invalid_key("it is not 'name+id+key'"));
        };
        let bytes = BASE64_STANDARD.decode(key).map_err(|_| invalid_key("its key is not base64"))?;
        let (kind, public) = bytes.split_first().ok_or_else(|| invalid_key("its key is empty"))?;
        let kind = match kind {
            1 => KeyKind::Note,
            4 => KeyKind::Cosigner,
            _ => return Err(invalid_key("its algorithm is unknown")),
        };
        let public = public.try_into().map_err(|_| invalid_key("an Ed25519 public key has 32 bytes"))?;
        let parsed = VerifierKey::new(name, kind, public)?;
        if parsed.to_string() != text {
            return Err(invalid_key("its id does not belong to its name and key"));
        }
        Ok(parsed)
    }
}
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id, BASE64_STANDARD.encode(tagged(self.kind, &self.public)))
    }
}
impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}
impl PartialEq for VerifierKey {
    fn eq(&self, other: &VerifierKey) -> bool {
        self.name == other.name && self.kind == other.kind && self.public == other.public
    }
}
impl Eq for VerifierKey {}

type SignFn = Box<dyn Fn(&[u8]) -> Result<[u8; 64]> + Send + Sync>;

/// Signs with a private key held elsewhere.
pub struct NoteSigner {
    key: VerifierKey,
    sign: SignFn,
}

impl NoteSigner {
    /// `sign` makes the raw Ed25519 signature (RFC 8032) of a message with the private half of `key`.
    pub fn new(key: VerifierKey, sign: impl Fn(&[u8]) -> Result<[u8; 64]> + Send + Sync + 'static) -> NoteSigner {
        NoteSigner { key, sign: Box::new(sign) }
    }
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// `at` is only said by a cosigner. The fresh signature is verified before it leaves: a wrong key or a faulty
    /// device must not put a bad line into a checkpoint.
    fn line(&self, text: &str, at: Timestamp) -> Result<Signature> {
        let bytes = match self.key.kind {
            KeyKind::Note => (self.sign)(text.as_bytes())?.to_vec(),
            KeyKind::Cosigner => {
                let at_seconds = u64::try_from(at.seconds()).unwrap_or(0);
                let signature = (self.sign)(cosigned_message(text, at_seconds).as_bytes())?;
                [at_seconds.to_be_bytes().as_slice(), &signature].concat()
            }
        };
        if self.key.check(text, &bytes).is_none() {
            return Err(Error::internal(format!("the signature made with {} does not verify", self.key)));
        }
        Signature::new(self.key.name.clone(), self.key.id, bytes).map_err(|e| Error::internal(e.to_string()))
    }
}
impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.key)
    }
}

/// A text with signature lines. Every line of the text ends with a newline.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// Signs `text` with a note key. Errors: `InvalidNote` for a text that a note can't hold; what the signer says.
    pub fn sign(text: &str, signer: &NoteSigner) -> Result<SignedNote> {
        Note::new(text.as_bytes(), &[])
            .map_err(|_| invalid("the text is too long, or holds a control character, or does not end with a newline"))?;
        if signer.key.kind != KeyKind::Note {
            return Err(invalid("a cosigner's key does not sign notes"));
        }
        let line = signer.line(text, Timestamp::default())?;
        Ok(SignedNote { text: text.to_owned(), signatures: vec![line] })
    }

    /// Strict inverse of [`SignedNote::to_bytes`]: at most 1,000,000 bytes, 1 to 100 signatures, one spelling. Error `InvalidNote`.
    pub fn parse(bytes: &[u8]) -> Result<SignedNote> {
        let malformed = || invalid("it is not a text, a blank line and signature lines");
        Note::from_bytes(bytes).map_err(|_| malformed())?;
        let whole = std::str::from_utf8(bytes).map_err(|_| malformed())?;
        let (text, lines) = whole.rsplit_once("\n\n").ok_or_else(malformed)?;
        let signatures = signature_lines(lines)?;
        let note = SignedNote { text: format!("{text}\n"), signatures };
        if note.to_bytes() != bytes {
            return Err(invalid("it is not in canonical form"));
        }
        Ok(note)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.text.clone().into_bytes();
        out.push(b'\n');
        for signature in &self.signatures {
            out.extend(signature.to_bytes());
        }
        out
    }

    /// What was signed, final newline included.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Name and id of each signature line, verified or not.
    pub fn signers(&self) -> impl Iterator<Item = (&str, u32)> {
        self.signatures.iter().map(|s| (s.name(), s.id()))
    }

    /// What the lines under `key`'s name and id say.
    pub fn signed_by(&self, key: &VerifierKey) -> Signed {
        let mut seen = Signed::Missing;
        for line in self.signatures.iter().filter(|s| s.name() == key.name && s.id() == key.id) {
            match key.check(&self.text, line.signature()) {
                Some(good) => seen = good,
                None => return Signed::Wrong,
            }
        }
        seen
    }

    /// Adds the cosignature of `signer` at the time `at`, in place of an earlier one; returns its line.
    pub fn cosign(&mut self, signer: &NoteSigner, at: Timestamp) -> Result<String> {
        if signer.key.kind != KeyKind::Cosigner {
            return Err(invalid("a note key does not cosign"));
        }
        let line = signer.line(&self.text, at)?;
        let text = String::from_utf8_lossy(&line.to_bytes()).into_owned();
        self.put(line);
        Ok(text)
    }

    /// Takes from a witness's answer (signature lines) those that verify under `known` keys, in place of earlier ones;
    /// returns how many. Lines of unknown keys are ignored (tlog-witness, "add-checkpoint"). Error `InvalidNote` for
    /// an answer that is not signature lines.
    pub fn take_cosignatures(&mut self, answer: &[u8], known: &[VerifierKey]) -> Result<usize> {
        let text = std::str::from_utf8(answer).map_err(|_| invalid("an answer with cosignatures is text"))?;
        let mut taken = 0;
        for line in signature_lines(text)? {
            let good = known
                .iter()
                .filter(|key| key.kind == KeyKind::Cosigner && key.name == line.name() && key.id == line.id())
                .any(|key| key.check(&self.text, line.signature()).is_some());
            if good {
                self.put(line);
                taken += 1;
            }
        }
        Ok(taken)
    }

    fn put(&mut self, line: Signature) {
        self.signatures.retain(|s| s.name() != line.name() || s.id() != line.id());
        self.signatures.push(line);
    }
}

fn signature_lines(text: &str) -> Result<Vec<Signature>> {
    const LINES_MAX: usize = 100;
    let body = text.strip_suffix('\n').ok_or_else(|| invalid("the last line does not end"))?;
    let mut lines = Vec::new();
    for line in body.split('\n') {
        if lines.len() == LINES_MAX {
            return Err(invalid("it has more than 100 signatures"));
        }
        lines.push(Signature::from_bytes(line.as_bytes()).map_err(|_| invalid("a signature line is malformed"))?);
    }
    Ok(lines)
}

fn invalid(why: &str) -> Error {
    Error::invalid("InvalidNote", format!("Not a signed note: {why}."))
}
fn invalid_key(why: &str) -> Error {
    Error::invalid("InvalidKey", format!("Not a public key of a note: {why}."))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    /// A signer from a seed byte, for the tests of this crate.
    pub(crate) fn signer(name: &str, kind: KeyKind, seed: u8) -> NoteSigner {
        let private = SigningKey::from_bytes(&[seed; 32]);
        let key = VerifierKey::new(name, kind, private.verifying_key().to_bytes()).unwrap();
        NoteSigner::new(key, move |message| Ok(private.sign(message).to_bytes()))
    }

    // the example of c2sp.org/signed-note
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn verifies_the_published_note() {
        let key: VerifierKey = PETER.parse().unwrap();
        assert_eq!(key.to_string(), PETER);
        let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.signed_by(&key), Signed::Good { at_seconds: None });
        assert_eq!(note.to_bytes(), NOTE.as_bytes());
        let other = SignedNote::parse(NOTE.replace("then you", "then we").as_bytes()).unwrap();
        assert_eq!(other.signed_by(&key), Signed::Wrong);
        assert_eq!(note.signed_by(signer("PeterNeumann", KeyKind::Note, 1).key()), Signed::Missing);
    }

    #[test]
    fn parses_the_published_cosignature() {
        // the example of c2sp.org/tlog-cosignature; the key is not published, so only its form is checked
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
        let note = SignedNote::parse(text.as_bytes()).unwrap();
        let cosignature = note.signatures[1].signature();
        assert_eq!((cosignature.len(), u64::from_be_bytes(cosignature[..8].try_into().unwrap())), (72, 1_679_315_147));
        assert!(
            cosigned_message(note.text(), 1_679_315_147)
                .starts_with("cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n")
        );
    }

    #[test]
    fn the_two_kinds_do_not_stand_for_each_other() {
        let note_key = signer("w", KeyKind::Note, 7);
        let cosigner = signer("w", KeyKind::Cosigner, 7);
        assert_ne!(note_key.key().id(), cosigner.key().id());
        let mut note = SignedNote::sign("a\n", &note_key).unwrap();
        assert_eq!(note.signed_by(cosigner.key()), Signed::Missing);
        assert!(note.cosign(&note_key, Timestamp(0)).is_err());
        assert!(SignedNote::sign("a\n", &cosigner).is_err());
        note.cosign(&cosigner, Timestamp(5_000)).unwrap();
        let line = note.cosign(&cosigner, Timestamp(9_000)).unwrap();
        assert_eq!(note.signed_by(cosigner.key()), Signed::Good { at_seconds: Some(9) });
        assert_eq!(note.signers().count(), 2);
        // another witness's line is not taken under this key, nor this line for another text
        let mut other = SignedNote::sign("b\n", &note_key).unwrap();
        assert_eq!(other.take_cosignatures(line.as_bytes(), &[cosigner.key().clone()]).unwrap(), 0);
        let mut same = SignedNote::sign("a\n", &note_key).unwrap();
        assert_eq!(same.take_cosignatures(line.as_bytes(), &[cosigner.key().clone()]).unwrap(), 1);
        assert_eq!(same.signed_by(cosigner.key()), Signed::Good { at_seconds: Some(9) });
    }

    #[test]
    fn a_signer_with_the_wrong_key_is_caught() {
        let key = signer("w", KeyKind::Note, 1).key().clone();
        let wrong = NoteSigner::new(key, |_| Ok([0; 64]));
        assert!(SignedNote::sign("a\n", &wrong).is_err());
    }

    #[test]
    fn refuses_what_is_not_a_key() {
        for bad in ["", "a", "a+b", "a+00000000+AQ==", &PETER.replace("c74f20a3", "c74f20a4"), &PETER.to_uppercase(), "é u+1+AQ=="] {
            assert_eq!(bad.parse::<VerifierKey>().unwrap_err().code, "InvalidKey", "{bad}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_note() {
        for bad in ["", "a\n", "a\n\n", "a\n\n— x AAAAAAA=", "a\r\n\n— x AAAAAAA=\n", &NOTE.replace("— ", "- ")] {
            assert_eq!(SignedNote::parse(bad.as_bytes()).unwrap_err().code, "InvalidNote", "{bad:?}");
        }
    }
}
