//! Where bytes may be: locations (regions), sites (data centres) and their signed places.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An Azure location, which is the name of a region: `francecentral`. Compared in canonical form (lower case, no spaces).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Location(String);

impl Location {
    /// Accepts "France Central" as Azure does. Error `InvalidLocation`.
    pub fn new(name: &str) -> Result<Location> {
        let canonical: String = name.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_lowercase();
        if canonical.is_empty() || canonical.len() > 40 || !canonical.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::invalid("InvalidLocation", format!("'{name}' is not a location name.")).at("location"));
        }
        Ok(Location(canonical))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({})", self.0)
    }
}

/// A data centre of the region: 1 to 32 of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteName(String);

impl SiteName {
    /// Error `InvalidSiteName`.
    pub fn new(name: &str) -> Result<SiteName> {
        let ok = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !ok {
            return Err(Error::invalid("InvalidSiteName", format!("'{name}' is not a site name: 1 to 32 of a-z, 0-9 and '-'.")));
        }
        Ok(SiteName(name.to_owned()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of a site, signed with the region's key when the site is added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub site: SiteName,
    /// ISO 3166-1 alpha-2, upper case: `FR`.
    pub country: String,
    /// NUTS 2024 code: `FR10`.
    pub nuts: String,
    pub address: String,
}
