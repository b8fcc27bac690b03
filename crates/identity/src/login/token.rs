//! The grants of the token endpoint: each turns a proof into a [`Grant`].

use super::client::{Client, Presented, Proof, must_be_enabled, service_principal};
use super::issue::{Grant, Refresh, Wish, check_verifier, issue, living_user};
use super::{Authority, Login, authorize, device, ok, record, second};
use crate::dialect::{invalid_client, invalid_grant, invalid_request, locked_out, oauth_error, unknown_application, wrong_password};
use crate::directory::{AZ_CLIENT, find_user, holder_of};
use base::{AppId, Error, Kind, ObjectId, Result, TenantId, Timestamp};
use crypto::SecretBytes;
use serde_json::{Value, json};
use service::{Call, Head, Neighbours, Public, Reply, collect};
use std::sync::Arc;
use trust::{Denied, Directory, Ended, Outcome};
use wire::oauth::{FORM_BYTES_MAX, Form};

pub(super) const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What is known of an attempt so far: a refusal of someone known is recorded under their name.
#[derive(Default)]
struct Attempt {
    who: Option<(Directory, AppId)>,
    detail: String,
}

impl Attempt {
    fn is(&mut self, who: &Directory, app: AppId) {
        self.who = Some((who.clone(), app));
    }
}

/// Answers an attempt: recorded when someone known made it, tallied when not.
async fn answer(login: &Login, head: &Head, public: Public, near: &Neighbours, attempt: Attempt, result: Result<Value>) -> Result<Reply> {
    let Some((who, app)) = attempt.who else {
        return result.map(|value| ok(public.receipt(), &value));
    };
    match result {
        Ok(value) => Ok(ok(record(near, &who, app, Outcome::done(200), &attempt.detail).await?, &value)),
        // who was not even heard is a stranger's matter
        Err(error) if matches!(error.kind, Kind::Internal | Kind::Throttled) => Err(error),
        Err(error) if !login.records_refusal(who.object, near.clock.now()) => Err(error),
        Err(error) => {
            let outcome = Outcome { result: Ended::Refused, ..Outcome::failed(&error) };
            let receipt = record(near, &who, app, outcome, &format!("{}: {}", attempt.detail, number(&error))).await?;
            let (status, body) = oauth_error(head, &error);
            Ok(Reply::json(receipt, http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST), &body))
        }
    }
}

/// `AADSTS50126`.
fn number(error: &Error) -> &str {
    error.message.split(':').next().unwrap_or_default()
}

/// `POST …/token`.
pub(super) async fn token(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let form = Form::parse(&collect(body, FORM_BYTES_MAX).await?)?;
    let authority = Authority::of(&near, head.params.get("tenant"))?;
    let mut attempt = Attempt::default();
    let request = Request { login: &login, head: &head, form: &form, near: &near, authority: &authority };
    let result = request.grant(&mut attempt).await;
    answer(&login, &head, public, &near, attempt, result).await
}

/// When a user proved who they are, and whether by more than a password.
struct Session {
    start: Timestamp,
    mfa: bool,
}

struct Request<'a> {
    login: &'a Login,
    head: &'a Head,
    form: &'a Form,
    near: &'a Neighbours,
    authority: &'a Authority,
}

impl Request<'_> {
    async fn grant(&self, attempt: &mut Attempt) -> Result<Value> {
        let grant_type = self.form.need("grant_type")?;
        attempt.detail = format!("{grant_type} by {}", super::client::bounded(self.form.get("client_id").unwrap_or("a client")));
        match grant_type {
            "client_credentials" => self.client_credentials(attempt).await,
            "password" => self.password(attempt).await,
            "authorization_code" => self.code(attempt).await,
            "refresh_token" => self.refresh(attempt).await,
            DEVICE_CODE_GRANT | "device_code" => self.device(attempt).await,
            _ => Err(Error::invalid("unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")),
        }
    }

    fn wish(&self, attempt: &mut Attempt) -> Result<Wish> {
        let wish = self.login.wish(self.head, self.form)?;
        attempt.detail = format!("{} for {}", attempt.detail, wish.resource);
        Ok(wish)
    }

    /// RFC 6749 section 4.4: an application for itself.
    async fn client_credentials(&self, attempt: &mut Attempt) -> Result<Value> {
        let client = Presented::read(self.head, self.form)?;
        let app = client.app;
        let principal = service_principal(self.near, self.authority, app)?;
        attempt.is(&principal, app);
        let wish = self.wish(attempt)?;
        let proof = client.prove(self.near, &self.authority.segment, principal.tenant).await?;
        must_be_enabled(&principal, app)?;
        self.issue(&principal, app, proof, &wish, Session { start: self.near.clock.now(), mfa: false })
    }

    /// RFC 6749 section 4.3: deprecated, and still what scripts use.
    async fn password(&self, attempt: &mut Attempt) -> Result<Value> {
        let (name, password) = (self.form.need("username")?, self.form.need("password")?);
        let client = Presented::read(self.head, self.form)?;
        let app = client.app;
        let wish = self.wish(attempt)?;
        let proof = self.user_client(client, None).await?;
        let user = check_user(self.near, self.authority, name, password, |user| attempt.is(user, app)).await?;
        // there is nowhere to type a code
        second::must_be_enough(self.near, &user, false).await?;
        self.issue(&user, app, proof, &wish, Session { start: self.near.clock.now(), mfa: false })
    }

    /// RFC 6749 section 4.1.3, with PKCE.
    async fn code(&self, attempt: &mut Attempt) -> Result<Value> {
        let client = Presented::read(self.head, self.form)?;
        let app = client.app;
        let ticket = authorize::Code::open(self.near, self.form.need("code")?)?;
        let user = living_user(self.near, ticket.tenant, ticket.user, ticket.issued)?;
        attempt.is(&user, app);
        self.must_be_home(ticket.tenant)?;
        if ticket.client != app {
            return Err(invalid_grant("AADSTS700005: Provided Authorization Code is intended to use against other client."));
        }
        if ticket.redirect_uri != self.form.need("redirect_uri")? {
            return Err(invalid_grant(
                "AADSTS500112: The reply address does not match the reply address provided when requesting Authorization code.",
            ));
        }
        let proof = self.user_client(client, Some(ticket.tenant)).await?;
        match &ticket.challenge {
            Some(challenge) => check_verifier(challenge, self.form.need("code_verifier")?)?,
            None if proof == Proof::None => return Err(invalid_grant("AADSTS501481: A public client must use PKCE.")),
            None => {}
        }
        // the scope of the token request, if there is one, may name the resource again
        let mut wish = ticket.wish.clone();
        if self.form.get("scope").is_some_and(|s| s.contains('/')) || self.form.get("resource").is_some() {
            wish.resource = self.login.wish(self.head, self.form)?.resource;
        }
        attempt.detail = format!("{} for {}", attempt.detail, wish.resource);
        if !self.login.made(&ticket, self.near) {
            return Err(authorize::expired());
        }
        if !self.login.use_code(&ticket, self.near.clock.now()) {
            return Err(invalid_grant(
                "AADSTS54005: OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
            ));
        }
        self.issue(&user, app, proof, &wish, Session { start: ticket.issued, mfa: ticket.mfa })
    }

    /// RFC 6749 section 6. Any resource of the region may be asked for: the user signed in to the region.
    async fn refresh(&self, attempt: &mut Attempt) -> Result<Value> {
        let client = Presented::read(self.head, self.form)?;
        let app = client.app;
        let ticket = Refresh::open(self.near, self.form.need("refresh_token")?)?;
        let user = living_user(self.near, ticket.tenant, ticket.user, ticket.issued)?;
        attempt.is(&user, app);
        self.must_be_home(ticket.tenant)?;
        if ticket.client != app {
            return Err(invalid_grant("AADSTS700007: The refresh token was issued to another client."));
        }
        let proof = self.user_client(client, Some(ticket.tenant)).await?;
        let mut wish = self.wish(attempt)?;
        wish.offline_access = true;
        second::must_be_enough(self.near, &user, ticket.mfa).await?;
        self.issue(&user, app, proof, &wish, Session { start: ticket.session_start, mfa: ticket.mfa })
    }

    /// RFC 8628 section 3.4.
    async fn device(&self, attempt: &mut Attempt) -> Result<Value> {
        let client = Presented::read(self.head, self.form)?;
        let app = client.app;
        // older libraries send `code`
        let code = self.form.get("device_code").or(self.form.get("code"));
        let code = code.map_or_else(|| self.form.need("device_code"), Ok)?;
        let granted = self.login.poll_device(self.near, code, app)?;
        let device::Granted { tenant, user, at, mfa, wish } = granted;
        let user = living_user(self.near, tenant, user, at)?;
        attempt.is(&user, app);
        self.must_be_home(tenant)?;
        attempt.detail = format!("{} for {}", attempt.detail, wish.resource);
        let proof = self.user_client(client, Some(tenant)).await?;
        if !self.login.take_device(code) {
            return Err(invalid_grant("AADSTS70000: The provided value for the device code was already used."));
        }
        self.issue(&user, app, proof, &wish, Session { start: at, mfa })
    }

    /// A client that acts for a user: public, or proving itself.
    async fn user_client(&self, client: Presented, tenant: Option<TenantId>) -> Result<Proof> {
        let authority = match tenant {
            Some(tenant) => Authority { tenant: Some(tenant), ..self.authority.clone() },
            None => self.authority.clone(),
        };
        let known = Client::find(self.near, &authority, client.app).await?;
        if client.proves_nothing() {
            if known.public {
                return Ok(Proof::None);
            }
            return Err(invalid_client(
                "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            ));
        }
        let principal = service_principal(self.near, &authority, client.app)?;
        client.prove(self.near, &authority.segment, principal.tenant).await
    }

    /// A ticket is of one tenant, and so must be the path that presents it. Error AADSTS50020.
    fn must_be_home(&self, tenant: TenantId) -> Result<()> {
        match self.authority.tenant {
            Some(asked) if asked != tenant => Err(invalid_grant("AADSTS50020: The user account does not exist in this tenant.")),
            _ => Ok(()),
        }
    }

    /// The client must be at home in the tenant of whoever it acts for: an application of one tenant gets no token for a
    /// user of another. Errors: AADSTS700016 unknown there, AADSTS7000112 disabled there.
    fn must_be_known_to(&self, principal: &Directory, client: AppId) -> Result<()> {
        let found = self.near.facts(|f| f.service_principals(client).into_iter().find(|sp| sp.tenant == principal.tenant).cloned());
        match found {
            Some(found) => must_be_enabled(&found, client),
            None if client == AZ_CLIENT => Ok(()),
            None => Err(unknown_application(&client.to_string(), &principal.tenant.to_string())),
        }
    }

    fn issue(&self, principal: &Directory, client: AppId, proof: Proof, wish: &Wish, session: Session) -> Result<Value> {
        self.must_be_known_to(principal, client)?;
        let issuer = self.authority.issuer(self.head, principal.tenant);
        let Session { start, mfa } = session;
        issue(self.near, &Grant { principal, client, proof, wish, session_start: start, mfa, issuer })
    }
}

/// A user by name and password. `known` is told who it is about as soon as that is known. A name that does not exist
/// takes as long as a wrong password and gets the same answer. Errors `invalid_grant`: AADSTS50126, 50053, 50055, 50057.
pub(super) async fn check_user(
    near: &Neighbours,
    authority: &Authority,
    name: &str,
    password: &str,
    mut known: impl FnMut(&Directory),
) -> Result<Directory> {
    let user = near.facts(|f| find_user(f, name.trim(), authority.tenant));
    let presented = SecretBytes::from(password.to_owned());
    let Some(user) = user else {
        let somewhere = authority.tenant.or_else(|| near.facts(|f| f.tenants().next().map(|t| t.id)));
        if let Some(tenant) = somewhere {
            let nobody = ObjectId(uuid::Uuid::nil());
            let _ = near.credentials().check_secret(tenant, nobody, presented, near.origin.peer).await?;
        }
        return Err(wrong_password());
    };
    known(&user);
    match near.credentials().check_secret(user.tenant, user.object, presented, near.origin.peer).await? {
        Ok(_) if !user.enabled => Err(invalid_grant("AADSTS50057: The user account is disabled.")),
        Ok(_) => Ok(user),
        Err(Denied::LockedOut { retry_after_s }) => Err(locked_out(retry_after_s)),
        Err(Denied::Expired) => Err(invalid_grant("AADSTS50055: The password is expired. Ask an administrator for a new one.")),
        Err(_) => Err(wrong_password()),
    }
}

/// `GET /msi/token?api-version=2019-08-01&resource=…`, header `X-IDENTITY-HEADER`: the shape of App Service's managed
/// identities, for programs that run with `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` in their environment. The header is
/// `{client id}.{secret}`: a credential of the identity's service principal, made where the program is started, and
/// checked like any client secret.
pub(super) async fn managed_identity(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let head = call.head;
    let mut attempt = Attempt::default();
    let result = identity_token(&login, &head, &near, &mut attempt).await;
    answer(&login, &head, public, &near, attempt, result).await
}

async fn identity_token(login: &Login, head: &Head, near: &Neighbours, attempt: &mut Attempt) -> Result<Value> {
    if head.query.get("api-version").is_none_or(|v| v.len() != 10) {
        return Err(invalid_request("AADSTS900144: The request must contain the following parameter: 'api-version' (2019-08-01)."));
    }
    let resource = head.query.get("resource").filter(|r| !r.is_empty());
    let resource =
        resource.ok_or_else(|| invalid_request("AADSTS900144: The request must contain the following parameter: 'resource'."))?;
    let presented = head.header("x-identity-header").and_then(|h| h.split_once('.'));
    let Some((Ok(app), secret)) = presented.map(|(app, secret)| (app.parse::<AppId>(), secret)) else {
        return Err(invalid_client("AADSTS7000218: The header 'X-IDENTITY-HEADER' is missing or is not '{client id}.{secret}'."));
    };
    if head.query.get("client_id").is_some_and(|asked| !asked.eq_ignore_ascii_case(&app.to_string())) {
        return Err(invalid_request("AADSTS700016: The identity asked for is not the one of this program."));
    }
    let authority = Authority { segment: "adfs".into(), tenant: None };
    let principal = service_principal(near, &authority, app)?;
    attempt.is(&principal, app);
    let wish = login.wish(head, &Form::from_pairs(&[("resource".into(), resource.to_owned())])?)?;
    attempt.detail = format!("managed identity for {}", wish.resource);
    match near.credentials().check_secret(principal.tenant, holder_of(app), SecretBytes::from(secret.to_owned()), near.origin.peer).await? {
        Ok(_) => {}
        Err(Denied::LockedOut { retry_after_s }) => return Err(invalid_client(locked_out(retry_after_s).message)),
        Err(_) => return Err(invalid_client("AADSTS7000215: Invalid identity header.")),
    }
    must_be_enabled(&principal, app)?;
    let issuer = format!("{}/{}/v2.0", crate::urls::base_of(head), principal.tenant);
    let grant = Grant {
        principal: &principal,
        client: app,
        proof: Proof::Secret,
        wish: &wish,
        session_start: near.clock.now(),
        mfa: false,
        issuer,
    };
    let issued = issue(near, &grant)?;
    Ok(json!({
        "access_token": issued["access_token"],
        "expires_in": issued["expires_in"].to_string(),
        "expires_on": issued["expires_on"],
        "resource": wish.resource,
        "token_type": "Bearer",
        "client_id": app.to_string(),
    }))
}
