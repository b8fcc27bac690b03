//! Who asks for a token: the client application, and how it proves itself.

use super::Authority;
use crate::dialect::{invalid_client, invalid_request, locked_out, unknown_application};
use crate::directory::{self, AZ_CLIENT, holder_of};
use crate::urls::assertion_audiences;
use base::{AppId, Error, Result, TenantId};
use base64::prelude::*;
use crypto::SecretBytes;
use serde_json::{Map, Value};
use service::{Head, Neighbours};
use trust::{Denied, Directory};
use wire::oauth::Form;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How a client proved itself: the `appidacr` claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A public client has nothing to prove with.
    None,
    Secret,
    Certificate,
}

impl Proof {
    pub(crate) fn claim(self) -> &'static str {
        match self {
            Proof::None => "0",
            Proof::Secret => "1",
            Proof::Certificate => "2",
        }
    }
}

/// What a client presents.
pub(crate) struct Presented {
    pub app: AppId,
    secret: Option<SecretBytes>,
    assertion: Option<String>,
}

impl Presented {
    /// From the form or, for the secret, HTTP Basic (RFC 6749 section 2.3.1). Errors: `client_id` missing
    /// (AADSTS900144), no GUID (AADSTS700016), an assertion of another type.
    pub(crate) fn read(head: &Head, form: &Form) -> Result<Presented> {
        let basic = head.header("authorization").and_then(basic);
        let client = match (form.get("client_id"), &basic) {
            (Some(id), _) => id.to_owned(),
            (None, Some((id, _))) => id.clone(),
            (None, None) => form.need("client_id")?.to_owned(),
        };
        let app = client.parse().map_err(|_| unknown_application(&bounded(&client), "adfs"))?;
        let secret = form.get("client_secret").map(str::to_owned).or(basic.map(|(_, secret)| secret)).map(SecretBytes::from);
        let assertion = form.get("client_assertion").map(str::to_owned);
        if assertion.is_some() && form.get("client_assertion_type") != Some(ASSERTION_TYPE) {
            return Err(invalid_request(format!(
                "AADSTS900144: The request body must contain the following parameter: 'client_assertion_type' = '{ASSERTION_TYPE}'."
            )));
        }
        Ok(Presented { app, secret, assertion })
    }

    pub(crate) fn proves_nothing(&self) -> bool {
        self.secret.is_none() && self.assertion.is_none()
    }

    /// Checks the secret or certificate of the client in a tenant. Errors `invalid_client`: AADSTS7000218 nothing
    /// presented, 7000215 wrong, 7000222 expired, 700027 and 700024 for certificates, 50053 locked out.
    pub(crate) async fn prove(self, near: &Neighbours, authority: &str, tenant: TenantId) -> Result<Proof> {
        let app = self.app;
        if let Some(assertion) = self.assertion {
            let named = crypto::jwt::parse_assertion(&assertion)
                .ok()
                .and_then(|t| Some(t.unverified_claims().get("sub")?.as_str()?.parse::<AppId>()));
            if !matches!(named, Some(Ok(named)) if named == app) {
                return Err(invalid_client("AADSTS700021: Client assertion application identifier doesn't match 'client_id' parameter."));
            }
            let audiences = assertion_audiences(&near.urls, authority, tenant);
            let checked = near.credentials().check_assertion(tenant, holder_of(app), &assertion, &audiences).await?;
            return checked.map(|_| Proof::Certificate).map_err(|why| match why {
                Denied::Expired => invalid_client("AADSTS700024: Client assertion is not within its valid time range."),
                Denied::NotForUs => invalid_client("AADSTS50027: JWT token is invalid or malformed: its audience or lifetime is not ours."),
                Denied::LockedOut { retry_after_s } => invalid_client(locked_out(retry_after_s).message),
                Denied::Wrong | Denied::Nothing => {
                    invalid_client(format!("AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application '{app}', or the signature does not hold."))
                }
            });
        }
        let Some(secret) = self.secret else {
            return Err(invalid_client(
                "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            ));
        };
        let checked = near.credentials().check_secret(tenant, holder_of(app), secret, near.origin.peer).await?;
        checked.map(|_| Proof::Secret).map_err(|why| match why {
            Denied::Expired => invalid_client(format!("AADSTS7000222: The provided client secret keys for app '{app}' are expired. Create a new one with 'az ad app credential reset'.")),
            Denied::LockedOut { retry_after_s } => invalid_client(locked_out(retry_after_s).message),
            _ => invalid_client(format!("AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{app}'.")),
        })
    }
}

/// Cuts what a stranger sent before it is shown again.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn basic(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ")?;
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((wire::percent_decode(id)?, wire::percent_decode(&secret.replace('+', " "))?))
}

/// The service principal of an application, in the tenant that the authority names or, where it names none, in the one
/// tenant that has it. Errors: AADSTS700016 unknown, AADSTS50059 in several tenants, AADSTS7000112 disabled.
pub(crate) fn service_principal(near: &Neighbours, authority: &Authority, app: AppId) -> Result<Directory> {
    let mut found: Vec<Directory> = near.facts(|f| f.service_principals(app).into_iter().cloned().collect());
    if let Some(tenant) = authority.tenant {
        found.retain(|sp| sp.tenant == tenant);
    }
    if found.len() > 1 {
        return Err(invalid_request(
            "AADSTS50059: No tenant-identifying information found: the application is in several tenants. Use the tenant's own sign-in address.",
        ));
    }
    found.pop().ok_or_else(|| unknown_application(&app.to_string(), &authority.segment))
}

pub(crate) fn must_be_enabled(principal: &Directory, app: AppId) -> Result<()> {
    if principal.enabled {
        return Ok(());
    }
    Err(Error::invalid("unauthorized_client", format!("AADSTS7000112: Application '{app}' ({}) is disabled.", principal.display_name)))
}

/// What sign-in needs of a registered client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub app: AppId,
    pub name: String,
    pub public: bool,
    redirects: Vec<String>,
}

impl Client {
    /// In a tenant; `None` means wherever it is (the Azure command's client is everywhere). Errors: AADSTS700016.
    pub(crate) async fn find(near: &Neighbours, authority: &Authority, app: AppId) -> Result<Client> {
        if app == AZ_CLIENT {
            return Ok(azure_command());
        }
        let principal = service_principal(near, authority, app)?;
        must_be_enabled(&principal, app)?;
        let properties = directory::application(near, principal.tenant, app).await?;
        let properties = properties.ok_or_else(|| unknown_application(&app.to_string(), &authority.segment))?;
        Ok(Client::of(app, &properties))
    }

    fn of(app: AppId, properties: &Map<String, Value>) -> Client {
        let uris = |platform: &str| {
            properties.get(platform).and_then(|p| p.get("redirectUris")).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let redirects =
            ["web", "publicClient", "spa"].into_iter().flat_map(uris).filter_map(|uri| uri.as_str().map(str::to_owned)).collect();
        let fallback = properties.get("isFallbackPublicClient").and_then(Value::as_bool).unwrap_or(false);
        let public = fallback || !uris("publicClient").is_empty() || !uris("spa").is_empty();
        let name = properties.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
        Client { app, name, public, redirects }
    }

    /// True when codes may be sent there: equal to a registered address, byte for byte; for loopback addresses of a
    /// public client, whatever the port (RFC 8252 section 7.3).
    pub(crate) fn may_redirect_to(&self, asked: &str) -> bool {
        self.redirects.iter().any(|known| known == asked || (self.public && is_same_loopback(known, asked)))
    }
}

fn azure_command() -> Client {
    let redirects = ["http://localhost", "http://localhost/", "http://127.0.0.1", "http://127.0.0.1/"].map(str::to_owned);
    Client { app: AZ_CLIENT, name: "Microsoft Azure CLI".into(), public: true, redirects: redirects.to_vec() }
}

/// The two differ by their port alone, and both are `http` on this machine.
fn is_same_loopback(known: &str, asked: &str) -> bool {
    let parts = |uri: &str| {
        let rest = uri.strip_prefix("http://")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
        let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        (is_port && matches!(host, "localhost" | "127.0.0.1")).then(|| (host.to_owned(), path.to_owned()))
    };
    parts(known).is_some_and(|known| Some(known) == parts(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn redirects_are_exact_but_for_the_port_of_loopback() {
        let az = azure_command();
        for yes in ["http://localhost:8400", "http://localhost:52311", "http://localhost", "http://localhost:1/", "http://127.0.0.1:8400/"]
        {
            assert!(az.may_redirect_to(yes), "{yes}");
        }
        for no in [
            "https://localhost:8400",
            "http://localhost:8400/x",
            "http://localhost:8400@evil.example",
            "http://localhost.evil.example:8400",
            "http://localhost:84000000",
            "http://localhost:",
            "http://evil.example",
            "http://localhost:8400?x=1",
            "http://localhost:8400#x",
            "HTTP://localhost:8400",
            "",
            "javascript:alert(1)",
        ] {
            assert!(!az.may_redirect_to(no), "{no}");
        }
        let web = Client::of(
            AZ_CLIENT,
            json!({"displayName": "w", "web": {"redirectUris": ["https://app.example/cb", "http://localhost:5000/cb"]}})
                .as_object()
                .unwrap(),
        );
        assert!(!web.public);
        assert!(web.may_redirect_to("https://app.example/cb"));
        assert!(!web.may_redirect_to("https://app.example/cb/"));
        assert!(!web.may_redirect_to("http://localhost:5001/cb"));
    }

    #[test]
    fn basic_credentials_are_form_encoded() {
        let header = format!("Basic {}", BASE64_STANDARD.encode("id:se%3Acret+x"));
        assert_eq!(basic(&header), Some(("id".into(), "se:cret x".into())));
        for bad in ["Basic ???", "Bearer x", &format!("Basic {}", BASE64_STANDARD.encode("nocolon"))] {
            assert_eq!(basic(bad), None);
        }
    }
}
