//! The token service: one table, in both of Azure's forms.
//!
//! The *AAD form* names a tenant in the path (`/{tenant}/oauth2/v2.0/token`); the *AD FS form* (`/adfs/oauth2/token`) names
//! none, and MSAL asks no Microsoft host about it: it is what we advertise. There the tenant is found from the client id
//! or the user name. `{tenant}` is a GUID, a verified domain, or `common` and `organizations`, which name none either.
//!
//! | file | what |
//! |---|---|
//! | `client.rs` | which application asks, and its secret or certificate |
//! | `token.rs` | the grants: from a proof to a [`issue::Grant`] |
//! | `issue.rs` | tokens and their claims, refresh tickets, PKCE |
//! | `authorize.rs` | sign-in in a browser: authorization code |
//! | `device.rs` | sign-in on another device: device code |
//! | `second.rs` | the second factor: when it is asked for, and whether it is right |
//! | `security.rs` | the page where people set up an authenticator and change their password |
//! | `page.rs` | the pages people see: French and English, no script needed |

mod authorize;
mod client;
mod device;
mod issue;
mod page;
mod second;
mod security;
mod token;

use crate::dialect::{oauth_error, unknown_tenant};
use crate::urls::{base_of, is_ours};
use base::{AppId, Error, ObjectId, Result, TenantId, Timestamp};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use service::{Call, Door, Head, Neighbours, Operations, Public, Reply, Service, Target, Urls, names_directory};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use trust::{Caller, Directory, Outcome, Receipt, SignIn};

/// The token service of a region.
pub struct Login {
    /// The region's services and their doors: a token can be asked for one of these, and for nothing else.
    doors: Vec<(Arc<dyn Service>, &'static str)>,
    devices: Mutex<device::Devices>,
    codes: Mutex<authorize::UsedCodes>,
    process: OnceLock<String>,
    /// Held from the look at a person's factors to the change of them: a first authenticator is enrolled once.
    changing: tokio::sync::Mutex<()>,
    /// Refusals recorded of each principal: the minute and how many.
    refusals: Mutex<HashMap<ObjectId, (i64, u32)>>,
}

/// Refusals of one principal that are recorded in a minute, each in an entry of its own. A stranger who knows a name
/// must not be able to fill the record: what comes beyond is tallied like any stranger's.
const REFUSALS_A_MINUTE: u32 = 20;

impl Login {
    /// `services`: everything a token may be asked for (their audiences; [`Service::audiences`]).
    pub fn new(services: &[Arc<dyn Service>]) -> Login {
        let doors = services.iter().flat_map(|s| s.clone().operations().doors.into_iter().map(move |d| (s.clone(), d.name))).collect();
        Login {
            doors,
            devices: Mutex::default(),
            codes: Mutex::default(),
            process: OnceLock::new(),
            changing: tokio::sync::Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Counts a refusal of a known principal. True when it has an entry of its own.
    pub(crate) fn records_refusal(&self, who: ObjectId, now: Timestamp) -> bool {
        let minute = now.seconds() / 60;
        let mut refusals = self.refusals.lock().unwrap_or_else(|e| e.into_inner());
        if refusals.len() > 10_000 {
            refusals.retain(|_, (at, _)| *at == minute);
        }
        let entry = refusals.entry(who).or_insert((minute, 0));
        if entry.0 != minute {
            *entry = (minute, 0);
        }
        entry.1 += 1;
        entry.1 <= REFUSALS_A_MINUTE
    }

    /// True for the audiences of the region's doors, and for the region's own addresses.
    pub(crate) fn is_askable(&self, urls: &Urls, audience: &str) -> bool {
        is_ours(urls, audience) || self.doors.iter().any(|(service, door)| service.audiences(urls, door).iter().any(|a| a == audience))
    }
}

impl Service for Login {
    fn namespace(&self) -> &'static str {
        "bleu.login"
    }
    fn part(&self) -> Option<&'static str> {
        Some("identity")
    }

    #[rustfmt::skip] // a table: one row a line
    fn operations(self: Arc<Self>) -> Operations {
        Operations::of(self)
            .on(Door::control("login", &["login"]), |_, _, _, _| Ok(Target::of(base::ResourceId::region())))
            // the AD FS form first: "adfs" would pass as a tenant
            .open("Discovery (AD FS)", Method::GET, "/adfs/.well-known/openid-configuration", &[], discovery_adfs)
            // az resolves `--tenant DOMAIN` under whatever sign-in address it was given
            .open("Discovery of a domain (AD FS)", Method::GET, "/adfs/{tenant}/v2.0/.well-known/openid-configuration", &[], discovery_v2)
            .open("Keys (AD FS)", Method::GET, "/adfs/discovery/keys", &[], keys)
            .open("User Realm", Method::GET, "/common/userrealm/{name}", &[], user_realm)
            .open("Instance Discovery", Method::GET, "/common/discovery/instance", &[], instance)
            .open("Managed Identity Token", Method::GET, "/msi/token", &[], token::managed_identity)
            .open("Device Page", Method::GET, "/devicelogin", &[], device::show)
            .open("Device Sign In", Method::POST, "/devicelogin", &[], device::sign_in)
            .open("Discovery v2", Method::GET, "/{tenant}/v2.0/.well-known/openid-configuration", &[names_directory()], discovery_v2)
            .open("Discovery v1", Method::GET, "/{tenant}/.well-known/openid-configuration", &[names_directory()], discovery_v1)
            .open("Keys", Method::GET, "/{tenant}/discovery/v2.0/keys", &[names_directory()], keys)
            .open("Keys v1", Method::GET, "/{tenant}/discovery/keys", &[names_directory()], keys)
            .open("Token", Method::POST, "/{tenant}/oauth2/v2.0/token", &[names_directory()], token::token)
            .open("Token v1", Method::POST, "/{tenant}/oauth2/token", &[names_directory()], token::token)
            .open("Device Code", Method::POST, "/{tenant}/oauth2/v2.0/devicecode", &[names_directory()], device::begin)
            .open("Device Code v1", Method::POST, "/{tenant}/oauth2/devicecode", &[names_directory()], device::begin)
            .open("Authorize", Method::GET, "/{tenant}/oauth2/v2.0/authorize", &[names_directory()], authorize::show)
            .open("Authorize v1", Method::GET, "/{tenant}/oauth2/authorize", &[names_directory()], authorize::show)
            .open("Sign In", Method::POST, "/{tenant}/oauth2/v2.0/authorize", &[names_directory()], authorize::sign_in)
            .open("Sign In v1", Method::POST, "/{tenant}/oauth2/authorize", &[names_directory()], authorize::sign_in)
            .open("Security Page", Method::GET, "/{tenant}/security", &[names_directory()], security::show)
            .open("Change Security", Method::POST, "/{tenant}/security", &[names_directory()], security::act)
            .open("Sign Out", Method::GET, "/{tenant}/oauth2/v2.0/logout", &[names_directory()], sign_out)
            .open("Sign Out v1", Method::GET, "/{tenant}/oauth2/logout", &[names_directory()], sign_out)
            .build()
    }

    fn audiences(&self, _: &Urls, _: &'static str) -> Vec<String> {
        Vec::new()
    }

    fn refuse(&self, head: &Head, error: &Error) -> http::Response<Bytes> {
        let (status, body) = oauth_error(head, error);
        let mut response = http::Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json; charset=utf-8"));
        if error.kind == base::Kind::Throttled {
            response.headers_mut().insert("retry-after", http::HeaderValue::from_static("2"));
        }
        response
    }

    fn decorate(&self, head: &Head, headers: &mut http::HeaderMap) {
        for (name, value) in [("cache-control", "no-store"), ("pragma", "no-cache"), ("x-content-type-options", "nosniff")] {
            headers.entry(name).or_insert(http::HeaderValue::from_static(value));
        }
        if let Ok(id) = http::HeaderValue::from_str(&head.origin.request.to_string()) {
            headers.insert("x-ms-request-id", id);
        }
    }
}

/// Which directory a path speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// The path's first segment in canonical form: the tenant's GUID, `common`, `organizations` or `adfs`.
    pub segment: String,
    /// `None` where the path names no tenant.
    pub tenant: Option<TenantId>,
}

impl Authority {
    /// Error AADSTS90002: no such tenant.
    pub(crate) fn of(near: &Neighbours, segment: &str) -> Result<Authority> {
        let lower = segment.to_ascii_lowercase();
        if ["common", "organizations", "adfs"].contains(&lower.as_str()) {
            return Ok(Authority { segment: lower, tenant: None });
        }
        let found = near.facts(|f| match lower.parse::<TenantId>() {
            Ok(id) => f.tenant(id).map(|t| t.id),
            Err(_) => f.tenant_by_domain(&lower),
        });
        let tenant = found.ok_or_else(|| unknown_tenant(&client::bounded(segment)))?;
        Ok(Authority { segment: tenant.to_string(), tenant: Some(tenant) })
    }

    /// The issuer of the tokens given here.
    pub(crate) fn issuer(&self, head: &Head, tenant: TenantId) -> String {
        let base = base_of(head);
        if self.segment == "adfs" { format!("{base}/adfs") } else { format!("{base}/{tenant}/v2.0") }
    }
}

/// Records a sign-in of a known principal, or the refusal of one.
pub(crate) async fn record(near: &Neighbours, who: &Directory, app: AppId, outcome: Outcome, detail: &str) -> Result<Receipt> {
    let sign_in = SignIn {
        tenant: Some(who.tenant),
        who: Caller::Principal(crate::directory::principal(who, app)),
        verb: "Sign in",
        outcome,
        detail: detail.to_owned(),
        origin: near.origin.clone(),
    };
    near.credentials().record(sign_in).await
}

fn ok(receipt: Receipt, value: &Value) -> Reply {
    Reply::json(receipt, http::StatusCode::OK, value)
}

async fn discovery_v2(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    discovery(&login, &call.head, public, &near, "oauth2/v2.0", "discovery/v2.0/keys")
}

async fn discovery_v1(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    discovery(&login, &call.head, public, &near, "oauth2", "discovery/keys")
}

fn discovery(_: &Login, head: &Head, public: Public, near: &Neighbours, endpoints: &str, keys: &str) -> Result<Reply> {
    let authority = Authority::of(near, head.params.get("tenant"))?;
    let home = format!("{}/{}", base_of(head), authority.segment);
    // Entra's own words where no tenant is named: the issuer follows from the user
    let issuer = match authority.tenant {
        Some(tenant) => authority.issuer(head, tenant),
        None => format!("{}/{{tenantid}}/v2.0", base_of(head)),
    };
    Ok(ok(public.receipt(), &document(&issuer, &format!("{home}/{endpoints}"), &format!("{home}/{keys}"), "token")))
}

async fn discovery_adfs(_: Arc<Login>, call: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let home = format!("{}/adfs", base_of(&call.head));
    // AD FS ends its token endpoint with a slash
    Ok(ok(public.receipt(), &document(&home, &format!("{home}/oauth2"), &format!("{home}/discovery/keys"), "token/")))
}

/// OpenID Connect Discovery 1.0, section 3.
fn document(issuer: &str, endpoints: &str, keys: &str, token: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{endpoints}/authorize"),
        "token_endpoint": format!("{endpoints}/{token}"),
        "device_authorization_endpoint": format!("{endpoints}/devicecode"),
        "end_session_endpoint": format!("{endpoints}/logout"),
        "jwks_uri": keys,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": ["authorization_code", "client_credentials", "password", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported": ["aud", "iss", "iat", "nbf", "exp", "auth_time", "tid", "oid", "sub", "preferred_username", "name", "nonce", "amr", "acr", "ver"],
        "ui_locales_supported": ["en", "fr"],
    })
}

async fn keys(_: Arc<Login>, _: Call, public: Public, near: Neighbours) -> Result<Reply> {
    Ok(ok(public.receipt(), &near.credentials().jwks()))
}

/// Says "managed" for every name: who exists is not a stranger's to learn.
async fn user_realm(_: Arc<Login>, call: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let name = client::bounded(call.head.params.get("name"));
    let domain = name.rsplit('@').next().unwrap_or_default().to_owned();
    let answer = json!({
        "ver": "1.0",
        "account_type": "Managed",
        "domain_name": domain,
        "cloud_instance_name": call.head.urls.domain,
        "cloud_audience_urn": format!("urn:federation:{}", call.head.urls.domain),
    });
    Ok(ok(public.receipt(), &answer))
}

/// Which names are one token service: ours alone, each under its own name.
async fn instance(_: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let head = &call.head;
    let unknown = || Error::invalid("invalid_instance", "AADSTS50049: Unknown or invalid instance.");
    let asked = head.query.get("authorization_endpoint").ok_or_else(unknown)?;
    let rest = asked.strip_prefix("https://").ok_or_else(unknown)?;
    let (host, path) = rest.split_once('/').ok_or_else(unknown)?;
    // the library drops the port when it asks
    let bare = host.strip_suffix(&head.urls.port_suffix()).unwrap_or(host);
    let ours = [format!("login.{}", head.urls.domain), head.urls.domain.clone(), "localhost".into()];
    if !ours.iter().any(|name| name == bare) {
        return Err(unknown());
    }
    let authority = Authority::of(&near, path.split('/').next().unwrap_or_default())?;
    let version = if authority.segment == "adfs" { "" } else { "/v2.0" };
    let answer = json!({
        "tenant_discovery_endpoint": format!("{}/{}{version}/.well-known/openid-configuration", base_of(head), authority.segment),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
    });
    Ok(ok(public.receipt(), &answer))
}

/// There is no session to end: each sign-in asks for the password. Tokens end by themselves or by revocation.
async fn sign_out(_: Arc<Login>, call: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let language = page::language(&call.head, None);
    Ok(page::reply(
        public.receipt(),
        http::StatusCode::OK,
        &page::message(&language, page::SIGNED_OUT, ""),
        page::FormAction::Nowhere,
        None,
    ))
}
