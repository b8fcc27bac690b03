//! One error type for the whole house: a few kinds that say what the caller can do, and the code, message and
//! parameter that its dialect prints.

use std::borrow::Cow;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error. The dialects map kinds to HTTP status in one table ([`Kind::status`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed: change it.
    Invalid,
    /// No credential, or one that does not hold: sign in.
    Unauthenticated,
    /// Known caller, not allowed: ask for a role.
    Forbidden,
    /// Does not exist, or may not be seen.
    NotFound,
    /// The resource is there, this verb is not.
    MethodNotAllowed,
    /// The state of the resource forbids it now.
    Conflict,
    /// A condition of the request (If-Match and its kin) did not hold.
    PreconditionFailed,
    /// The caller already has this version.
    NotModified,
    LengthRequired,
    TooLarge,
    RangeNotSatisfiable,
    /// Too many requests: try again later.
    Throttled,
    /// Named by Azure, not built here. `docs/coverage.md` lists it.
    NotImplemented,
    /// The region can't do it now (disk full, shutting down): try again.
    Unavailable,
    /// The client went away.
    Cancelled,
    /// A defect or a broken disk: nothing the caller can change.
    Internal,
}

impl Kind {
    pub const ALL: [Kind; 16] = [
        Kind::Invalid,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::Conflict,
        Kind::PreconditionFailed,
        Kind::NotModified,
        Kind::LengthRequired,
        Kind::TooLarge,
        Kind::RangeNotSatisfiable,
        Kind::Throttled,
        Kind::NotImplemented,
        Kind::Unavailable,
        Kind::Cancelled,
        Kind::Internal,
    ];

    /// The kind of an HTTP status, the inverse of [`Kind::status`]; what is no kind's is Internal.
    pub fn of_status(status: u16) -> Kind {
        Kind::ALL.into_iter().find(|kind| kind.status() == status).unwrap_or(Kind::Internal)
    }

    /// The HTTP status of this kind (RFC 9110 section 15).
    pub fn status(self) -> u16 {
        match self {
            Kind::Invalid => 400,
            Kind::Unauthenticated => 401,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::Conflict => 409,
            Kind::LengthRequired => 411,
            Kind::PreconditionFailed => 412,
            Kind::TooLarge => 413,
            Kind::RangeNotSatisfiable => 416,
            Kind::NotModified => 304,
            Kind::Throttled => 429,
            Kind::NotImplemented => 501,
            Kind::Unavailable => 503,
            Kind::Cancelled => 499,
            Kind::Internal => 500,
        }
    }
}

/// An error with two faces: `code`, `message` and `target` go to the client, `cause` goes to the operator's log only.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    /// The dialect's own code, such as `ResourceGroupNotFound` or `BlobNotFound`.
    pub code: Cow<'static, str>,
    /// For the person who called: what is wrong and what to do.
    pub message: String,
    /// The parameter at fault, when there is one.
    pub target: Option<String>,
    /// What Resource Manager's dialect adds as `additionalInfo`: the text of a JSON array. The others leave it out.
    pub info: Option<Box<str>>,
    /// Never shown to the client.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error { kind, code: code.into(), message: message.into(), target: None, info: None, cause: None }
    }

    /// A defect or a broken engine: the client sees "InternalError", the log sees `cause`.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error {
            kind: Kind::Internal,
            code: "InternalError".into(),
            message: "The region met an internal error. The request can be tried again.".into(),
            target: None,
            info: None,
            cause: Some(cause.into()),
        }
    }

    pub fn invalid(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, code, message)
    }

    pub fn not_implemented(what: impl fmt::Display) -> Error {
        Error::new(Kind::NotImplemented, "NotImplemented", format!("{what} is not implemented in this version of bleu."))
    }

    /// Names the parameter at fault.
    pub fn at(mut self, target: impl Into<String>) -> Error {
        self.target = Some(target.into());
        self
    }

    /// Adds [`Error::info`].
    pub fn with_info(mut self, json_array: impl Into<Box<str>>) -> Error {
        self.info = Some(json_array.into());
        self
    }

    /// Keeps the chain for the log.
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.cause = Some(cause.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(target) = &self.target {
            write!(f, " (at {target})")?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|c| c as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status_of_its_own_and_comes_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_status(kind.status()), kind);
        }
        // a new kind must be listed: this does not compile without it
        let listed = |kind: Kind| match kind {
            Kind::Invalid | Kind::Unauthenticated | Kind::Forbidden | Kind::NotFound | Kind::MethodNotAllowed => 5,
            Kind::Conflict | Kind::PreconditionFailed | Kind::NotModified | Kind::LengthRequired | Kind::TooLarge => 10,
            Kind::RangeNotSatisfiable | Kind::Throttled | Kind::NotImplemented | Kind::Unavailable | Kind::Cancelled => 15,
            Kind::Internal => 16,
        };
        assert_eq!(listed(Kind::Internal), Kind::ALL.len());
        assert_eq!(Kind::of_status(418), Kind::Internal);
    }
}
