//! The way to the database: who it is, and what protects what is said to it.
//!
//! Rows are sealed before they come here; yet whoever sits on the line could drop, repeat or answer in the database's
//! place, so a connection that leaves this machine is encrypted and the other end's certificate is checked, unless the
//! operator says otherwise.
//!
//! | `sslmode` | what happens |
//! |---|---|
//! | not said | in clear over a Unix socket or the loopback; refused elsewhere |
//! | `disable` | in clear: the operator vouches for the network |
//! | `require`, `verify-full` | TLS; certificate and name are checked against `sslrootcert` |
//!
//! `require` checks as `verify-full` does: encryption to nobody in particular protects from nobody who can answer. libpq's
//! weaker modes (`allow`, `prefer`, `verify-ca`) are refused. `sslcert` and `sslkey` are the region's own certificate,
//! which is how it signs in without a password.

use base::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, NoTls, Socket};

const CONNECT_SECONDS_MAX: u64 = 5;
/// A peer that has vanished without a word is given up after about this long.
const SILENCE_SECONDS_MAX: u64 = 20;

/// A database, as a connection string names it.
#[derive(Clone)]
pub(crate) struct Way {
    config: Config,
    /// `None`: in clear.
    tls: Option<Tls>,
}

/// What of a URL is ours to read: libpq's words for TLS.
#[derive(Default)]
struct Asked {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Way {
    /// Errors (kind Invalid): `InvalidConnectionString`; `ConnectionNotProtected`: it would leave this machine in clear.
    pub(crate) fn parse(connect: &str) -> Result<Way> {
        let (rest, asked) = take_ours(connect)?;
        let unreadable = |e| invalid("The database's connection string is not readable.").because(e);
        let mut config: Config = rest.parse().map_err(unreadable)?;
        let mode = asked.mode.as_deref();
        let encrypted = match mode {
            None if is_near(&config) => false,
            None => {
                return Err(Error::invalid(
                    "ConnectionNotProtected",
                    "The database is on another machine and the connection would not be encrypted. Add sslmode=verify-full&sslrootcert=/path/of/its/authority.pem to the URL, or sslmode=disable if the network itself is protected.",
                ));
            }
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            Some(_) => return Err(invalid("sslmode is disable, require or verify-full; the weaker ones protect from nobody.")),
        };
        if !encrypted && (asked.root.is_some() || asked.certificate.is_some() || asked.key.is_some()) {
            return Err(invalid("Certificates are given and sslmode does not ask for TLS: say sslmode=verify-full."));
        }
        if encrypted && config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
            return Err(invalid("TLS is for TCP: a Unix socket needs no sslmode."));
        }
        let tls = if encrypted { Some(tls(&asked)?) } else { None };
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX)).application_name("bleu");
        config.tcp_user_timeout(Duration::from_secs(SILENCE_SECONDS_MAX));
        config.keepalives_idle(Duration::from_secs(SILENCE_SECONDS_MAX / 2));
        config.keepalives_interval(Duration::from_secs(SILENCE_SECONDS_MAX / 8)).keepalives_retries(4);
        Ok(Way { config, tls })
    }

    /// A new connection; its work goes on as a task of this runtime.
    pub(crate) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let ended = |outcome: Result<(), tokio_postgres::Error>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "a database connection ended");
            }
        };
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio::spawn(async move { ended(connection.await) });
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                tokio::spawn(async move { ended(connection.await) });
                Ok(client)
            }
        }
    }
}

pub(crate) fn check(connect: &str) -> Result<()> {
    Way::parse(connect).map(drop)
}

fn invalid(message: &str) -> Error {
    Error::invalid("InvalidConnectionString", message)
}

/// Every address is a Unix socket or this machine's loopback. Where `hostaddr` is said, it is what is connected to.
fn is_near(config: &Config) -> bool {
    let near = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    };
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(near),
        addresses => addresses.iter().all(|ip| ip.is_loopback()),
    }
}

/// Takes our words out of a URL; a connection string of the other form has none and passes as it is.
fn take_ours(connect: &str) -> Result<(String, Asked)> {
    let mut asked = Asked::default();
    let is_url = connect.starts_with("postgres://") || connect.starts_with("postgresql://");
    let Some((place, query)) = connect.split_once('?').filter(|_| is_url) else { return Ok((connect.to_owned(), asked)) };
    let mut others = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "sslmode" => &mut asked.mode,
            "sslrootcert" => &mut asked.root,
            "sslcert" => &mut asked.certificate,
            "sslkey" => &mut asked.key,
            _ => {
                others.push(pair);
                continue;
            }
        };
        if slot.replace(percent_decoded(value)?).is_some() {
            return Err(invalid("A word of the database's URL is there twice."));
        }
    }
    let rest = if others.is_empty() { place.to_owned() } else { format!("{place}?{}", others.join("&")) };
    Ok((rest, asked))
}

/// RFC 3986, section 2.1.
fn percent_decoded(text: &str) -> Result<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let code =
            code.and_then(|code| u8::from_str_radix(code, 16).ok()).ok_or_else(|| invalid("A % of the database's URL is not right."))?;
        bytes.push(code);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|e| invalid("The database's URL is not text.").because(e))
}

fn tls(asked: &Asked) -> Result<Tls> {
    let root = asked.root.as_deref().ok_or_else(|| {
        invalid("sslrootcert is missing: the file with the certificate of the authority that speaks for the database's name.")
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(root)? {
        roots.add(certificate).map_err(|e| invalid(&format!("'{root}' has no certificate of an authority.")).because(e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .with_root_certificates(roots);
    let config = match (asked.certificate.as_deref(), asked.key.as_deref()) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(absolute(key)?);
            let private = private.map_err(|e| invalid(&format!("'{key}' can't be read as a private key in PEM.")).because(e))?;
            let mine = builder.with_client_auth_cert(certificates(certificate)?, private);
            mine.map_err(|e| invalid("sslcert and sslkey do not belong together.").because(e))?
        }
        _ => return Err(invalid("sslcert and sslkey come together.")),
    };
    Ok(Tls(Arc::new(config)))
}

fn absolute(path: &str) -> Result<&Path> {
    let path = Path::new(path);
    // it is remembered in region.toml, and the next start may be from elsewhere
    if path.is_absolute() { Ok(path) } else { Err(invalid("The paths of certificates in the database's URL begin with '/'.")) }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = |e| invalid(&format!("'{path}' can't be read as certificates in PEM.")).because(e);
    let found: Vec<_> =
        CertificateDer::pem_file_iter(absolute(path)?).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if found.is_empty() {
        return Err(invalid(&format!("'{path}' has no certificate in it.")));
    }
    Ok(found)
}

/// rustls for the PostgreSQL client. Ours, because the adapter that is published brings a second library of primitives.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

pub(crate) struct TlsTo {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

pub(crate) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = TlsTo;
    type Error = InvalidDnsNameError;
    fn make_tls_connect(&mut self, name: &str) -> Result<TlsTo, InvalidDnsNameError> {
        Ok(TlsTo { config: self.0.clone(), name: ServerName::try_from(name)?.to_owned() })
    }
}

impl TlsConnect<Socket> for TlsTo {
    type Stream = Stream;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Stream>> + Send>>;
    fn connect(self, socket: Socket) -> Self::Future {
        let connecting = tokio_rustls::TlsConnector::from(self.config).connect(self.name, socket);
        Box::pin(async move { connecting.await.map(Stream) })
    }
}

impl TlsStream for Stream {
    /// None: it strengthens passwords, and there are none.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(connect: &str) -> String {
        match Way::parse(connect) {
            Ok(_) => panic!("{connect} is accepted"),
            Err(error) => error.code.into_owned(),
        }
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_the_operator_says_otherwise() {
        for near in [
            "postgres://bleu@localhost/bleu",
            "postgres://bleu@127.0.0.1:5433/bleu?application_name=x",
            "postgres://bleu@[::1]/bleu",
            "postgres://bleu@%2Frun%2Fpostgresql/bleu",
            "host=/tmp user=bleu",
            "postgres://db.example/bleu?sslmode=disable",
        ] {
            let way = Way::parse(near).unwrap_or_else(|e| panic!("{near}: {e}"));
            assert!(way.tls.is_none() && way.config.get_ssl_mode() == SslMode::Disable, "{near}");
        }
        for far in ["postgres://db.example/bleu", "postgres://10.0.0.1/bleu", "host=db.example", "postgres://localhost,db.example/bleu"] {
            assert_eq!(refused(far), "ConnectionNotProtected", "{far}");
        }
        assert_eq!(refused("postgres://localhost/bleu?hostaddr=10.0.0.1"), "ConnectionNotProtected");
        for wrong in [
            "postgres://db.example/bleu?sslmode=prefer",
            "postgres://db.example/bleu?sslmode=verify-ca&sslrootcert=/x",
            "postgres://db.example/bleu?sslmode=require",
            "postgres://db.example/bleu?sslmode=verify-full&sslrootcert=relative.pem",
            "postgres://db.example/bleu?sslmode=verify-full&sslrootcert=/no/such/file",
            "postgres://localhost/bleu?sslrootcert=/etc/hostname",
            "postgres://localhost/bleu?sslmode=disable&sslmode=disable",
            "postgres://localhost/bleu?sslmode=%zz",
            "postgres://%2Frun/bleu?sslmode=require&sslrootcert=/x",
            "postgres://localhost/bleu?nonsense=1",
        ] {
            assert_eq!(refused(wrong), "InvalidConnectionString", "{wrong}");
        }
    }

    #[test]
    fn percent_codes_are_read() {
        assert_eq!(percent_decoded("a%2Fb%C3%A9").unwrap(), "a/bé");
        for bad in ["%", "%4", "%+1", "%zz", "%é", "%FF"] {
            assert!(percent_decoded(bad).is_err(), "{bad}");
        }
    }
}
