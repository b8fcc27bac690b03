//! Why something from outside does not hold.

use std::fmt;

/// A token, signature or certificate that does not hold. Says enough for an answer and a record entry, and carries
/// none of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Not the format at all; the text says which rule it breaks.
    Malformed(&'static str),
    /// Well-formed and longer than we read.
    TooLarge,
    /// An algorithm, header or key type that we don't take (`none` is one).
    Unsupported(&'static str),
    /// It names another key or certificate than the one it is checked against.
    WrongKey,
    /// The signature is not of this key over these bytes.
    BadSignature,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Malformed(why) => write!(f, "malformed: {why}"),
            Refused::TooLarge => f.write_str("too large"),
            Refused::Unsupported(what) => write!(f, "not supported: {what}"),
            Refused::WrongKey => f.write_str("made with another key"),
            Refused::BadSignature => f.write_str("the signature does not hold"),
        }
    }
}

impl std::error::Error for Refused {}
