//! `region.toml`: what a region is, written at its first start and read at every other. It holds no secret.

use crate::folder::{Folder, read_small, write_public};
use crate::phrase;
use anyhow::{Context, Result, bail};
use base::{Location, Place, SiteName};
use record::VerifierKey;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

pub const LISTEN: &str = "127.0.0.1:8443";
const DOMAIN: &str = "bleu.localhost";
const LOCATION: &str = "francecentral";
const SITE: &str = "site-1";
const HEAD: &str = "# What this region is. Written at its first start; domain, location, engine and sites stay what they are.\n\
                    # A [[witness]] (url, key) is someone who cosigns the record: one of your customers, or another region.\n\
                    # [limits] (connections, requests, peer_share_percent, loopback_share_percent) bounds what one address may hold.\n\n";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub domain: String,
    pub location: String,
    /// Where `up` listens when nothing else is asked.
    pub listen: SocketAddr,
    /// `fjall`, `redb`, or a PostgreSQL URL without a password.
    pub engine: String,
    #[serde(rename = "site")]
    pub sites: Vec<Site>,
    #[serde(rename = "witness", default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<WitnessAt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsAt>,
}

/// Bounds of the listeners, where the operator knows better: a proxy on this machine speaks for everybody, for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsAt {
    /// Connections at once.
    pub connections: Option<usize>,
    /// Requests at once.
    pub requests: Option<usize>,
    /// What one address (an IPv6 /64) may have of both, in percent.
    pub peer_share_percent: Option<u8>,
    /// The same for this machine's own addresses.
    pub loopback_share_percent: Option<u8>,
}

impl LimitsAt {
    fn apply(&self, limits: &mut gateway::Limits) {
        limits.connections_max = self.connections.unwrap_or(limits.connections_max);
        limits.requests_max = self.requests.unwrap_or(limits.requests_max);
        limits.peer_share_percent = self.peer_share_percent.unwrap_or(limits.peer_share_percent);
        limits.loopback_share_percent = self.loopback_share_percent.unwrap_or(limits.loopback_share_percent);
    }
    fn check(&self) -> Result<()> {
        let share = |percent: Option<u8>| percent.is_none_or(|p| (1..=100).contains(&p));
        let count = |all: Option<usize>| all.is_none_or(|n| (16..=1_000_000).contains(&n));
        if share(self.peer_share_percent) && share(self.loopback_share_percent) && count(self.connections) && count(self.requests) {
            return Ok(());
        }
        bail!(phrase!(
            "In [limits], shares are from 1 to 100 percent, connections and requests from 16 to 1000000.",
            "Dans [limits], les parts vont de 1 à 100 pour cent, les connexions et requêtes de 16 à 1000000."
        ))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    pub name: String,
    pub country: String,
    pub nuts: String,
    pub address: String,
}

/// A witness that somebody else runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessAt {
    pub url: String,
    pub key: String,
}

/// What the command line asks for; `None`: whatever the region says.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub domain: Option<String>,
    pub location: Option<String>,
    pub engine: Option<String>,
    pub sites: Vec<String>,
}

impl Settings {
    /// What a folder says. Error: nothing, or something malformed.
    pub fn read(folder: &Folder) -> Result<Option<Settings>> {
        let path = folder.path("region.toml");
        let Some(text) = read_small(&path)? else { return Ok(None) };
        let shown = path.display();
        let settings: Settings =
            toml::from_str(&text).with_context(|| phrase!("'{shown}' is not right.", "« {shown} » n’est pas correct."))?;
        settings.check().with_context(|| phrase!("'{shown}' is not right.", "« {shown} » n’est pas correct."))?;
        Ok(Some(settings))
    }

    /// What a folder says, or the first settings of a new region. Error: what is asked is not what the region is.
    pub fn read_or_make(folder: &Folder, asked: &Asked) -> Result<Settings> {
        let mut settings = match Settings::read(folder)? {
            Some(settings) if folder.is_made() || settings.agree(asked).is_ok() => {
                settings.agree(asked)?;
                return Ok(settings);
            }
            // written beforehand, or by a start that made nothing: whoever asks again may ask for something else
            Some(settings) => settings,
            None => Settings {
                domain: DOMAIN.into(),
                location: LOCATION.into(),
                listen: LISTEN.parse().context("the default address")?,
                engine: "fjall".into(),
                sites: vec![declared(SITE.to_owned())],
                witnesses: Vec::new(),
                limits: None,
            },
        };
        let take = |to: &mut String, asked: &Option<String>| asked.iter().for_each(|a| to.clone_from(a));
        take(&mut settings.domain, &asked.domain.as_ref().map(|d| d.to_ascii_lowercase()));
        take(&mut settings.location, &asked.location);
        take(&mut settings.engine, &asked.engine);
        if !asked.sites.is_empty() {
            settings.sites = asked.sites.iter().cloned().map(declared).collect();
        }
        settings.check()?;
        if let Engine::Postgres(url) = Engine::parse(&settings.engine)? {
            store::check_postgres(&url)?;
        }
        let text = format!("{HEAD}{}", toml::to_string(&settings)?);
        write_public(&folder.path("region.toml"), text.as_bytes())?;
        Ok(settings)
    }

    fn agree(&self, asked: &Asked) -> Result<()> {
        let differs = |asked: &Option<String>, is: &str| asked.as_ref().is_some_and(|a| !a.eq_ignore_ascii_case(is));
        for (option, asked, is) in [
            ("--domain", &asked.domain, &self.domain),
            ("--location", &asked.location, &self.location),
            ("--engine", &asked.engine, &self.engine),
        ] {
            if differs(asked, is) {
                bail!(phrase!(
                    "This region was made with {option} {is}, which can't change. Leave the option out, or start another region with another --data.",
                    "Cette région a été créée avec {option} {is}, ce qui ne peut changer. Omettez l’option, ou démarrez une autre région avec un autre --data."
                ));
            }
        }
        if let Some(new) = asked.sites.iter().find(|name| !self.sites.iter().any(|s| s.name == **name)) {
            bail!(phrase!(
                "This region was made without the site '{new}', and this version of bleu adds none. Leave the option out, or start another region with another --data.",
                "Cette région a été créée sans le site « {new} », et cette version de bleu n’en ajoute pas. Omettez l’option, ou démarrez une autre région avec un autre --data."
            ));
        }
        Ok(())
    }

    /// Bounds of the listeners.
    pub fn limits(&self) -> gateway::Limits {
        let mut limits = gateway::Limits::default();
        self.limits.iter().for_each(|l| l.apply(&mut limits));
        limits
    }

    fn check(&self) -> Result<()> {
        self.location()?;
        self.limits.iter().try_for_each(LimitsAt::check)?;
        let label =
            |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let labels: Vec<&str> = self.domain.split('.').collect();
        // a wildcard certificate needs two labels under it
        if labels.len() < 2 || self.domain.len() > 200 || !labels.into_iter().all(label) {
            let domain = &self.domain;
            bail!(phrase!(
                "'{domain}' is not a domain of two or more labels of a-z, 0-9 and '-', such as bleu.localhost.",
                "« {domain} » n’est pas un domaine d’au moins deux labels formés de a-z, 0-9 et « - », tel que bleu.localhost."
            ));
        }
        Engine::parse(&self.engine)?;
        let places = self.places()?;
        if places.is_empty() {
            bail!(phrase!("A region needs a [[site]].", "Une région a besoin d’un [[site]]."));
        }
        for (at, place) in places.iter().enumerate() {
            if places[..at].iter().any(|other| other.site == place.site) {
                bail!(phrase!("The site '{}' is there twice.", "Le site « {} » est là deux fois.", place.site));
            }
        }
        for witness in &self.witnesses {
            witness.key()?;
            crate::witness::address(&witness.url)?;
        }
        Ok(())
    }

    pub fn location(&self) -> Result<Location> {
        Ok(Location::new(&self.location)?)
    }

    pub fn places(&self) -> Result<Vec<Place>> {
        self.sites
            .iter()
            .map(|s| {
                let country = s.country.len() == 2 && s.country.bytes().all(|b| b.is_ascii_uppercase());
                let nuts = (2..=5).contains(&s.nuts.len()) && s.nuts.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
                if !country || !nuts || !s.nuts.starts_with(&s.country) || s.address.len() > 200 || s.address.chars().any(char::is_control)
                {
                    bail!(phrase!(
                        "The place of site '{}' needs a country (FR), a NUTS code of that country (FR10) and an address on one line.",
                        "Le lieu du site « {} » demande un pays (FR), un code NUTS de ce pays (FR10) et une adresse sur une ligne.",
                        s.name
                    ));
                }
                Ok(Place { site: SiteName::new(&s.name)?, country: s.country.clone(), nuts: s.nuts.clone(), address: s.address.clone() })
            })
            .collect()
    }
}

impl WitnessAt {
    pub fn key(&self) -> Result<VerifierKey> {
        let key: VerifierKey = self.key.parse()?;
        if key.kind() != record::KeyKind::Cosigner {
            let name = key.name();
            bail!(phrase!(
                "The key of witness '{name}' is not a cosigner's.",
                "La clé du témoin « {name} » n’est pas celle d’un cosignataire."
            ));
        }
        Ok(key)
    }
}

/// A site of a region on a laptop: its place is what its owner says, and says so.
fn declared(name: String) -> Site {
    Site { name, country: "FR".into(), nuts: "FR10".into(), address: "as declared in region.toml, not verified".into() }
}

impl Engine {
    /// What can't change of it: a database may move, an engine's files are no other's.
    pub fn kind(&self) -> &'static str {
        match self {
            Engine::Fjall => "fjall",
            Engine::Redb => "redb",
            Engine::Postgres(_) => "postgres",
        }
    }
}

/// Where rows are kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Engine {
    Fjall,
    Redb,
    Postgres(String),
}

impl Engine {
    pub fn parse(text: &str) -> Result<Engine> {
        match text {
            "fjall" => Ok(Engine::Fjall),
            "redb" => Ok(Engine::Redb),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                let authority = url.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or("");
                let has_password = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || url.contains("password=");
                if has_password {
                    bail!(phrase!(
                        "A database password does not belong into region.toml or the command line. Use a Unix socket, or a certificate (sslcert and sslkey in the URL).",
                        "Un mot de passe de base de données n’a pas sa place dans region.toml ni sur la ligne de commande. Utilisez un socket Unix, ou un certificat (sslcert et sslkey dans l’URL)."
                    ));
                }
                Ok(Engine::Postgres(url.to_owned()))
            }
            other => bail!(phrase!(
                "'{other}' is not an engine: fjall, redb or postgres://…",
                "« {other} » n’est pas un moteur : fjall, redb ou postgres://…"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(temporary.path()).unwrap();
        (temporary, folder)
    }

    #[test]
    fn the_first_start_writes_what_later_ones_read() {
        let (_temporary, folder) = folder();
        let first = Settings::read_or_make(&folder, &Asked::default()).unwrap();
        assert_eq!((first.domain.as_str(), first.location.as_str(), first.engine.as_str()), ("bleu.localhost", "francecentral", "fjall"));
        assert_eq!(Settings::read_or_make(&folder, &Asked::default()).unwrap(), first);
        // a start that came no further fixed nothing
        let other = Asked { engine: Some("redb".into()), ..Asked::default() };
        assert_eq!(Settings::read_or_make(&folder, &other).unwrap(), Settings { engine: "redb".into(), ..first.clone() });
        let back = Asked { engine: Some("fjall".into()), ..Asked::default() };
        assert_eq!(Settings::read_or_make(&folder, &back).unwrap(), first);
        folder.root_key(&base::OsChance, false).unwrap();
        let same = Asked { domain: Some("Bleu.localhost".into()), ..Asked::default() };
        assert!(Settings::read_or_make(&folder, &same).is_ok());
        for other in [
            Asked { domain: Some("other.localhost".into()), ..Asked::default() },
            Asked { location: Some("francesouth".into()), ..Asked::default() },
            Asked { engine: Some("redb".into()), ..Asked::default() },
            Asked { sites: vec!["lyon".into()], ..Asked::default() },
        ] {
            assert!(Settings::read_or_make(&folder, &other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn what_is_not_right_is_refused() {
        for asked in [
            Asked { domain: Some("localhost".into()), ..Asked::default() },
            Asked { domain: Some("a..b".into()), ..Asked::default() },
            Asked { location: Some("france-central".into()), ..Asked::default() },
            Asked { engine: Some("sqlite".into()), ..Asked::default() },
            Asked { engine: Some("postgres://u:secret@h/db".into()), ..Asked::default() },
            Asked { engine: Some("postgres://u@database.example/db".into()), ..Asked::default() },
            Asked { engine: Some("postgres://u@database.example/db?sslmode=prefer".into()), ..Asked::default() },
            Asked { sites: vec!["Paris".into()], ..Asked::default() },
            Asked { sites: vec!["a".into(), "a".into()], ..Asked::default() },
        ] {
            let (_temporary, folder) = folder();
            assert!(Settings::read_or_make(&folder, &asked).is_err(), "{asked:?}");
            assert!(Settings::read(&folder).unwrap().is_none(), "nothing is left behind");
        }
        let (_temporary, folder) = folder();
        Settings::read_or_make(&folder, &Asked::default()).unwrap();
        let path = folder.path("region.toml");
        let good = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [("domain =", "domian ="), ("\"FR10\"", "\"DE10\""), ("\"FR\"", "\"France\""), ("127.0.0.1:8443", "here")] {
            assert!(good.contains(from), "{from}");
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            assert!(Settings::read(&folder).is_err(), "{to}");
        }
        for (limits, is_right) in
            [("loopback_share_percent = 100", true), ("peer_share_percent = 0", false), ("connections = 1", false), ("x = 1", false)]
        {
            std::fs::write(&path, format!("{good}\n[limits]\n{limits}\n")).unwrap();
            assert_eq!(Settings::read(&folder).is_ok(), is_right, "{limits}");
        }
        std::fs::write(&path, format!("{good}\n[limits]\nloopback_share_percent = 100\n")).unwrap();
        let limits = Settings::read(&folder).unwrap().unwrap().limits();
        assert_eq!((limits.loopback_share_percent, limits.peer_share_percent), (100, 25));
        std::fs::write(&path, format!("{good}\n[[witness]]\nurl = \"http://127.0.0.1:1/\"\nkey = \"x\"\n")).unwrap();
        assert!(Settings::read(&folder).is_err());
    }
}
