//! Sign-in in a browser (RFC 6749 section 4.1, with PKCE, RFC 7636).
//!
//! `GET authorize` shows a page with a form; the request itself travels in it, sealed, bound to a cookie of this browser,
//! for fifteen minutes. `POST authorize` checks name and password and hands the client a code, which is sealed too, lives
//! five minutes, works once, and dies with the process that made it. Nothing is stored.
//!
//! An error goes to the client's address only once client and address are known to belong together; before, it is shown
//! to the person (RFC 6749 section 4.1.2.1).

use super::client::Client;
use super::issue::{Wish, challenge, open, seal};
use super::page::{self, FormAction, SignInForm};
use super::second::{self, Half};
use super::token::check_user;
use super::{Authority, Login};
use crate::dialect::{invalid_grant, invalid_request};
use base::{AppId, Error, Kind, ObjectId, Result, TenantId, Text, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use service::{Call, Head, Neighbours, Public, Reply, collect};
use std::collections::HashMap;
use std::sync::Arc;
use trust::{Directory, Receipt};
use wire::oauth::{FORM_BYTES_MAX, Form};

const FLOW: &str = "identity.flow.1";
const CODE: &str = "identity.code.1";
const FLOW_S: i64 = 15 * 60;
const CODE_S: i64 = 5 * 60;
/// Codes redeemed in the last five minutes, at most.
const USED_MAX: usize = 100_000;

/// How the answer travels to the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    Query,
    Fragment,
    FormPost,
}

/// An authorization request that was judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flow {
    client: AppId,
    client_name: String,
    redirect_uri: String,
    state: Option<String>,
    mode: Mode,
    challenge: Option<String>,
    wish: Wish,
    /// SHA-256 of the cookie, so that a page of one browser works in no other.
    cookie: [u8; 32],
    expires: Timestamp,
    language: String,
    /// The password was right; the code is missing.
    #[serde(default)]
    half: Option<Half>,
}

/// An authorization code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Code {
    id: String,
    pub client: AppId,
    pub redirect_uri: String,
    pub challenge: Option<String>,
    pub tenant: TenantId,
    pub user: ObjectId,
    pub wish: Wish,
    pub issued: Timestamp,
    #[serde(default)]
    pub mfa: bool,
    /// The process that made it: another one cannot know whether it was used.
    process: String,
}

impl Code {
    /// Errors `invalid_grant`: AADSTS70000 not ours, AADSTS70008 expired.
    pub(super) fn open(near: &Neighbours, text: &str) -> Result<Code> {
        let code: Code =
            open(near, CODE, text).ok_or_else(|| invalid_grant("AADSTS70000: The provided value for the code is not valid."))?;
        if near.clock.now() > code.issued.plus_seconds(CODE_S) {
            return Err(expired());
        }
        Ok(code)
    }
}

pub(super) fn expired() -> Error {
    invalid_grant(
        "AADSTS70008: The provided authorization code or refresh token has expired. Send a new interactive authorization request.",
    )
}

/// Codes that were redeemed and have not expired.
#[derive(Default)]
pub(super) struct UsedCodes {
    until: HashMap<String, Timestamp>,
}

impl Login {
    /// Tells this token service from the one before a restart, whose used codes nobody remembers.
    fn process(&self, near: &Neighbours) -> &str {
        self.process.get_or_init(|| crypto::random_secret_text(&*near.chance, 16))
    }
    /// False for a code from before a restart.
    pub(super) fn made(&self, code: &Code, near: &Neighbours) -> bool {
        code.process == self.process(near)
    }
    /// True the first time.
    pub(super) fn use_code(&self, code: &Code, now: Timestamp) -> bool {
        let mut used = self.codes.lock().unwrap_or_else(|e| e.into_inner());
        if used.until.len() >= USED_MAX {
            used.until.retain(|_, until| *until >= now);
        }
        if used.until.len() >= USED_MAX || used.until.contains_key(&code.id) {
            return false;
        }
        used.until.insert(code.id.clone(), code.issued.plus_seconds(CODE_S));
        true
    }
}

/// `GET …/authorize`.
pub(super) async fn show(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let head = &call.head;
    let language = page::language(head, head.query.get("ui_locales"));
    let form = match Form::from_pairs(&head.query.0) {
        Ok(form) => form,
        Err(error) => return Ok(refused(public.receipt(), &language, &error)),
    };
    let (client, redirect_uri) = match client_and_address(&near, head, &form).await {
        Ok(both) => both,
        Err(error) if error.kind == Kind::Internal => return Err(error),
        Err(error) => return Ok(refused(public.receipt(), &language, &error)),
    };
    let mode = mode(&form);
    let back =
        Back { redirect_uri: &redirect_uri, state: form.get("state"), mode: *mode.as_ref().unwrap_or(&Mode::Query), language: &language };
    let (wish, challenge) = match judge(&login, head, &form, &client).and_then(|both| mode.map(|_| both)) {
        Ok(both) => both,
        Err(error) => return Ok(back.error(public.receipt(), &error.code, &error.message)),
    };
    if form.get("prompt") == Some("none") {
        return Ok(back.error(
            public.receipt(),
            "login_required",
            "AADSTS50058: Session information is not sufficient for single-sign-on.",
        ));
    }
    let cookie = page::cookie(head).unwrap_or_else(|| crypto::random_secret_text(&*near.chance, 24));
    let flow = Flow {
        client: client.app,
        client_name: client.name,
        redirect_uri: redirect_uri.clone(),
        state: form.get("state").map(str::to_owned),
        mode: back.mode,
        challenge,
        wish,
        cookie: crypto::sha256(cookie.as_bytes()),
        expires: near.clock.now().plus_seconds(FLOW_S),
        language: language.clone(),
        half: None,
    };
    let html = page_of(&flow, head, &seal(&near, FLOW, &flow), form.get("login_hint").unwrap_or_default(), None);
    Ok(page::reply(public.receipt(), StatusCode::OK, &html, FormAction::HereAnd(&redirect_uri), Some(&cookie)))
}

fn page_of(flow: &Flow, head: &Head, sealed: &str, user_name: &str, wrong: Option<Text>) -> String {
    page::sign_in(&SignInForm {
        language: &flow.language,
        client: &flow.client_name,
        path: &head.raw_path,
        flow: sealed,
        user_name,
        wrong,
        device: false,
    })
}

fn refused(receipt: Receipt, language: &str, error: &Error) -> Reply {
    page::reply(receipt, StatusCode::BAD_REQUEST, &page::message(language, page::NOT_POSSIBLE, &error.message), FormAction::Nowhere, None)
}

/// The client and its address, which belong together. Errors are for the person, never for the address.
async fn client_and_address(near: &Neighbours, head: &Head, form: &Form) -> Result<(Client, String)> {
    let authority = Authority::of(near, head.params.get("tenant"))?;
    let id = form.need("client_id")?;
    let app = id.parse().map_err(|_| crate::dialect::unknown_application(&super::client::bounded(id), &authority.segment))?;
    let client = Client::find(near, &authority, app).await?;
    let redirect_uri = form.need("redirect_uri")?;
    if !client.may_redirect_to(redirect_uri) {
        return Err(invalid_request(format!(
            "AADSTS50011: The redirect URI '{}' specified in the request does not match the redirect URIs configured for the application '{app}'.",
            super::client::bounded(redirect_uri)
        )));
    }
    Ok((client, redirect_uri.to_owned()))
}

fn mode(form: &Form) -> Result<Mode> {
    match form.get("response_mode") {
        None | Some("query") => Ok(Mode::Query),
        Some("fragment") => Ok(Mode::Fragment),
        Some("form_post") => Ok(Mode::FormPost),
        Some(_) => Err(invalid_request("AADSTS90014: The response_mode must be 'query', 'fragment' or 'form_post'.")),
    }
}

/// What the client asks for. Errors are for the client's address.
fn judge(login: &Login, head: &Head, form: &Form, client: &Client) -> Result<(Wish, Option<String>)> {
    match form.get("response_type") {
        Some("code") => {}
        None => return Err(invalid_request("AADSTS900144: The request must contain the following parameter: 'response_type'.")),
        Some(_) => return Err(Error::invalid("unsupported_response_type", "AADSTS700054: Only the response_type 'code' is enabled.")),
    }
    if form.get("state").is_some_and(|s| s.len() > 4096) || form.get("nonce").is_some_and(|n| n.len() > 1024) {
        return Err(invalid_request("AADSTS90015: The state or nonce is too long."));
    }
    let challenge = challenge(form)?;
    if challenge.is_none() && client.public {
        return Err(invalid_request(
            "AADSTS9002325: Proof Key for Code Exchange is required for cross-origin or public authorization code redemption.",
        ));
    }
    Ok((login.wish(head, form)?, challenge))
}

/// `POST …/authorize`: the form of [`show`].
pub(super) async fn sign_in(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let form = Form::parse(&collect(body, FORM_BYTES_MAX).await?)?;
    let now = near.clock.now();
    let cookie = page::cookie(&head).map(|c| crypto::sha256(c.as_bytes()));
    let flow = form.get("flow").and_then(|text| open::<Flow>(&near, FLOW, text)).filter(|f| f.expires >= now && Some(f.cookie) == cookie);
    let Some(flow) = flow else {
        let language = page::language(&head, None);
        let html = page::message(&language, page::NOT_POSSIBLE, page::STALE.of(&language));
        return Ok(page::reply(public.receipt(), StatusCode::BAD_REQUEST, &html, FormAction::Nowhere, None));
    };
    let back = Back { redirect_uri: &flow.redirect_uri, state: flow.state.as_deref(), mode: flow.mode, language: &flow.language };
    if form.get("action") == Some("cancel") {
        return Ok(back.error(public.receipt(), "access_denied", "AADSTS65004: The user declined to sign in."));
    }
    let authority = Authority::of(&near, head.params.get("tenant"))?;
    let detail = format!("browser by {} for {}", flow.client, flow.wish.resource);
    let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    let answer = match &flow.half {
        None => signed_in(&login, &near, &authority, flow.client, name, password, &detail).await?,
        Some(half) => second::check(&login, &near, half, flow.client, form.get("code").unwrap_or_default(), &detail).await?,
    };
    match answer {
        SignedIn::Yes { user, mfa, receipt } => {
            let code = Code {
                id: crypto::random_secret_text(&*near.chance, 16),
                client: flow.client,
                redirect_uri: flow.redirect_uri.clone(),
                challenge: flow.challenge.clone(),
                tenant: user.tenant,
                user: user.object,
                wish: flow.wish.clone(),
                issued: now,
                mfa,
                process: login.process(&near).to_owned(),
            };
            Ok(back.code(receipt, seal(&near, CODE, &code)))
        }
        SignedIn::Half(half, receipt) => {
            // who knew the cookie of before the password does not get the page of after it
            let cookie = crypto::random_secret_text(&*near.chance, 24);
            let flow = Flow { half: Some(half), cookie: crypto::sha256(cookie.as_bytes()), ..flow };
            let html = page::second(&flow.language, &head.raw_path, &seal(&near, FLOW, &flow), None);
            let receipt = receipt.unwrap_or_else(|| public.receipt());
            Ok(page::reply(receipt, StatusCode::OK, &html, FormAction::HereAnd(&flow.redirect_uri), Some(&cookie)))
        }
        SignedIn::MustEnrol(_, receipt) => {
            let receipt = receipt.unwrap_or_else(|| public.receipt());
            let html = page::must_enrol(&flow.language);
            Ok(page::reply(receipt, StatusCode::BAD_REQUEST, &html, FormAction::Nowhere, None))
        }
        SignedIn::No(wrong, receipt) => {
            let receipt = receipt.unwrap_or_else(|| public.receipt());
            let sealed = form.get("flow").unwrap_or_default();
            let html = match flow.half {
                None => page_of(&flow, &head, sealed, name, Some(wrong)),
                Some(_) => page::second(&flow.language, &head.raw_path, sealed, Some(wrong)),
            };
            Ok(page::reply(receipt, StatusCode::BAD_REQUEST, &html, FormAction::HereAnd(&flow.redirect_uri), None))
        }
    }
}

/// How a form was answered.
pub(super) enum SignedIn {
    Yes {
        user: Directory,
        mfa: bool,
        receipt: Receipt,
    },
    /// The password is right, and proves nothing alone.
    Half(Half, Option<Receipt>),
    /// The password is right, and the tenant asks for an authenticator that the user has not set up.
    MustEnrol(Directory, Option<Receipt>),
    /// What to show; the receipt where a known user was refused.
    No(Text, Option<Receipt>),
}

/// Checks name and password of a page, and records both outcomes.
pub(super) async fn signed_in(
    login: &Login,
    near: &Neighbours,
    authority: &Authority,
    client: AppId,
    name: &str,
    password: &str,
    detail: &str,
) -> Result<SignedIn> {
    let mut known = None;
    match check_user(near, authority, name, password, |user| known = Some(user.clone())).await {
        Ok(user) => second::after_password(login, near, user, client, detail).await,
        Err(error) if error.kind == Kind::Internal => Err(error),
        Err(error) if error.kind == Kind::Throttled => Ok(SignedIn::No(page::BUSY, None)),
        Err(error) => {
            let receipt = match &known {
                Some(user) => second::refused(login, near, user, client, &error, detail).await?,
                None => None,
            };
            let text = if error.message.starts_with("AADSTS50053") { page::LOCKED } else { page::WRONG };
            Ok(SignedIn::No(text, receipt))
        }
    }
}

/// The way back to the client.
struct Back<'a> {
    redirect_uri: &'a str,
    state: Option<&'a str>,
    mode: Mode,
    language: &'a str,
}

impl Back<'_> {
    fn code(&self, receipt: Receipt, code: String) -> Reply {
        self.send(receipt, vec![("code", code)])
    }
    fn error(&self, receipt: Receipt, code: &str, message: &str) -> Reply {
        self.send(receipt, vec![("error", code.to_owned()), ("error_description", message.to_owned())])
    }
    fn send(&self, receipt: Receipt, mut fields: Vec<(&str, String)>) -> Reply {
        if let Some(state) = self.state {
            fields.push(("state", state.to_owned()));
        }
        if self.mode == Mode::FormPost {
            let html = page::form_post(self.language, self.redirect_uri, &fields);
            return page::reply(receipt, StatusCode::OK, &html, FormAction::HereAnd(self.redirect_uri), None);
        }
        Reply::new(receipt, StatusCode::SEE_OTHER, "")
            .with("location", location(self.redirect_uri, self.mode, &fields))
            .with("referrer-policy", "no-referrer")
            .with("cache-control", "no-store")
    }
}

fn location(redirect_uri: &str, mode: Mode, fields: &[(&str, String)]) -> String {
    let joint = match mode {
        Mode::Fragment => '#',
        _ if redirect_uri.contains('?') => '&',
        _ => '?',
    };
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", wire::percent_encode(value, b""))).collect();
    format!("{redirect_uri}{joint}{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_travel_encoded() {
        let fields = [("code", "a b&c".to_owned()), ("state", "é#".to_owned())];
        assert_eq!(location("http://localhost:1", Mode::Query, &fields), "http://localhost:1?code=a%20b%26c&state=%C3%A9%23");
        assert_eq!(location("https://a/?x=1", Mode::Query, &fields[..1]), "https://a/?x=1&code=a%20b%26c");
        assert_eq!(location("https://a/", Mode::Fragment, &fields[..1]), "https://a/#code=a%20b%26c");
    }

    #[test]
    fn a_code_works_once() {
        let login = Login::new(&[]);
        let code = |id: &str| Code {
            id: id.into(),
            client: AppId(uuid::Uuid::nil()),
            redirect_uri: String::new(),
            challenge: None,
            tenant: TenantId(uuid::Uuid::nil()),
            user: ObjectId(uuid::Uuid::nil()),
            wish: Wish { resource: String::new(), openid: false, offline_access: false, nonce: None },
            issued: Timestamp(0),
            mfa: false,
            process: String::new(),
        };
        assert!(login.use_code(&code("a"), Timestamp(0)));
        assert!(!login.use_code(&code("a"), Timestamp(1)));
        assert!(login.use_code(&code("b"), Timestamp(1)));
    }
}
