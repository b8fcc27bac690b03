//! Sign-in on another device (RFC 8628): a program shows a short code, a person types it into a page here, signs in and
//! allows it. Pending codes live in memory for fifteen minutes: after a restart the program starts again.

use super::authorize::{SignedIn, signed_in};
use super::client::{Client, Presented};
use super::issue::{Wish, open, seal};
use super::page::{self, FormAction, SignInForm};
use super::second::{self, Half};
use super::{Authority, Login, ok};
use crate::dialect::invalid_grant;
use crate::urls::base_of;
use base::{AppId, Error, Kind, ObjectId, Result, TenantId, Text, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{Call, Head, Neighbours, Public, Reply, collect};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use wire::oauth::{FORM_BYTES_MAX, Form};

const FLOW: &str = "identity.device.1";
const CODE: &str = "identity.device_code.1";
const LIFE_S: i64 = 15 * 60;
const INTERVAL_S: i64 = 5;
const PENDING_MAX: usize = 10_000;
/// From one address, so that nobody takes all places.
const PENDING_PER_PEER_MAX: usize = 100;
/// Wrong codes from one address in a minute.
const GUESSES_MAX: u32 = 20;
/// Without vowels (no words), and without letters that look alike: 20^8 codes.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What waits to be allowed.
#[derive(Default)]
pub(super) struct Devices {
    by_device_code: HashMap<String, Pending>,
    /// Codes that were turned into tokens, until they would have expired.
    used: HashMap<String, Timestamp>,
    /// Wrong codes typed, by address: the minute and how many.
    guesses: HashMap<Option<IpAddr>, (i64, u32)>,
}

/// What a device code says of itself, sealed: it outlives the process that gave it, what waits for it does not.
#[derive(Serialize, Deserialize)]
struct Begun {
    client: AppId,
    secret: String,
}

struct Pending {
    user_code: String,
    client: AppId,
    client_name: String,
    wish: Wish,
    authority: Authority,
    peer: Option<IpAddr>,
    expires: Timestamp,
    polled: Option<Timestamp>,
    state: State,
}

enum State {
    Waiting,
    Declined,
    Granted { tenant: TenantId, user: ObjectId, at: Timestamp, mfa: bool },
}

/// A device code that a user allowed.
#[derive(Debug)]
pub(super) struct Granted {
    pub tenant: TenantId,
    pub user: ObjectId,
    pub at: Timestamp,
    pub mfa: bool,
    pub wish: Wish,
}

impl Devices {
    fn add(&mut self, device_code: String, pending: Pending, now: Timestamp) -> Result<()> {
        self.by_device_code.retain(|_, p| p.expires >= now);
        self.used.retain(|_, expires| *expires >= now);
        let of_peer = self.by_device_code.values().filter(|p| p.peer == pending.peer).count();
        if self.by_device_code.len() >= PENDING_MAX || of_peer >= PENDING_PER_PEER_MAX {
            return Err(Error::new(
                Kind::Throttled,
                "temporarily_unavailable",
                "AADSTS90055: Too many sign-ins are pending. Try again later.",
            ));
        }
        self.by_device_code.insert(device_code, pending);
        Ok(())
    }

    fn waiting(&mut self, user_code: &str, now: Timestamp) -> Option<&mut Pending> {
        self.by_device_code.values_mut().find(|p| p.user_code == user_code && p.expires >= now && matches!(p.state, State::Waiting))
    }

    /// Counts a wrong code. True when there were too many.
    fn guessed(&mut self, peer: Option<IpAddr>, now: Timestamp) -> bool {
        let minute = now.seconds() / 60;
        if self.guesses.len() >= PENDING_MAX {
            self.guesses.retain(|_, (at, _)| *at == minute);
        }
        if self.guesses.len() >= PENDING_MAX {
            return true;
        }
        let entry = self.guesses.entry(peer).or_insert((minute, 0));
        if entry.0 != minute {
            *entry = (minute, 0);
        }
        entry.1 += 1;
        entry.1 > GUESSES_MAX
    }

    /// Error of RFC 8628 section 3.5 until the user decided.
    fn poll(&mut self, device_code: &str, client: AppId, now: Timestamp) -> Result<Granted> {
        let pending = self.by_device_code.get_mut(device_code).filter(|p| p.client == client);
        let pending = pending
            .ok_or_else(|| invalid_grant("AADSTS70000: The provided value for the device code is not valid, or was already used."))?;
        if pending.expires < now {
            return Err(expired());
        }
        let state = match &pending.state {
            State::Waiting => None,
            State::Declined => return Err(Error::invalid("authorization_declined", "AADSTS70017: The user declined the sign-in.")),
            State::Granted { tenant, user, at, mfa } => Some((*tenant, *user, *at, *mfa)),
        };
        if let Some((tenant, user, at, mfa)) = state {
            return Ok(Granted { tenant, user, at, mfa, wish: pending.wish.clone() });
        }
        // a second of grace for the way
        let too_soon = pending.polled.is_some_and(|last| now < last.plus_seconds(INTERVAL_S - 1));
        pending.polled = Some(now);
        if too_soon {
            return Err(Error::invalid("slow_down", format!("AADSTS70021: Ask at most once in {INTERVAL_S} seconds.")));
        }
        Err(Error::invalid(
            "authorization_pending",
            "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
        ))
    }
}

fn expired() -> Error {
    Error::invalid("expired_token", "AADSTS70020: The device code has expired. Start again.")
}

impl Login {
    pub(super) fn poll_device(&self, near: &Neighbours, device_code: &str, client: AppId) -> Result<Granted> {
        let mut devices = self.devices();
        let polled = devices.poll(device_code, client, near.clock.now());
        let is_known = devices.by_device_code.contains_key(device_code) || devices.used.contains_key(device_code);
        drop(devices);
        // ours, and nothing waits for it any more: it expired long ago, or the region was started again (RFC 8628 section 3.5)
        match polled.is_err() && !is_known && open::<Begun>(near, CODE, device_code).is_some_and(|begun| begun.client == client) {
            true => Err(expired()),
            false => polled,
        }
    }
    /// A device code works once: true for whoever took it.
    pub(super) fn take_device(&self, device_code: &str) -> bool {
        let mut devices = self.devices();
        let Some(taken) = devices.by_device_code.remove(device_code) else { return false };
        if devices.used.len() < PENDING_MAX {
            devices.used.insert(device_code.to_owned(), taken.expires);
        }
        true
    }
    fn devices(&self) -> std::sync::MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// `POST …/devicecode`.
pub(super) async fn begin(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let form = Form::parse(&collect(body, FORM_BYTES_MAX).await?)?;
    let authority = Authority::of(&near, head.params.get("tenant"))?;
    let presented = Presented::read(&head, &form)?;
    let client = Client::find(&near, &authority, presented.app).await?;
    if !client.public {
        return Err(crate::dialect::invalid_client("AADSTS7000218: The client must be a public client to use a device code."));
    }
    let wish = login.wish(&head, &form)?;
    let begun = Begun { client: client.app, secret: crypto::random_secret_text(&*near.chance, 32) };
    let device_code = seal(&near, CODE, &begun);
    let user_code = user_code(&*near.chance);
    let page = format!("{}/devicelogin", base_of(&head));
    let now = near.clock.now();
    let pending = Pending {
        user_code: user_code.clone(),
        client: client.app,
        client_name: client.name,
        wish,
        authority,
        peer: head.origin.peer,
        expires: now.plus_seconds(LIFE_S),
        polled: None,
        state: State::Waiting,
    };
    login.devices().add(device_code.clone(), pending, now)?;
    let answer = json!({
        "user_code": user_code,
        "device_code": device_code,
        "verification_uri": page,
        "verification_url": page,
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "expires_in": LIFE_S,
        "interval": INTERVAL_S,
        "message": format!("To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate."),
    });
    Ok(ok(public.receipt(), &answer))
}

/// `BCDF-GHJK`.
fn user_code(chance: &dyn base::Chance) -> String {
    let mut code = String::new();
    while code.len() < 9 {
        let mut byte = [0];
        chance.fill(&mut byte);
        // 240 is the last multiple of 20 in a byte: no letter is likelier than another
        if byte[0] < 240 {
            if code.len() == 4 {
                code.push('-');
            }
            code.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    code
}

/// As a person types it: any case, with or without the dash.
fn normal(typed: &str) -> String {
    let letters: String = typed.chars().filter(char::is_ascii_alphanumeric).take(16).collect::<String>().to_ascii_uppercase();
    if letters.len() == 8 { format!("{}-{}", &letters[..4], &letters[4..]) } else { letters }
}

/// The page's own request, sealed in its form.
#[derive(Serialize, Deserialize)]
struct Flow {
    user_code: String,
    cookie: [u8; 32],
    expires: Timestamp,
    /// The password was right; the code is missing.
    half: Option<Half>,
}

/// `GET /devicelogin`.
pub(super) async fn show(_: Arc<Login>, call: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let head = &call.head;
    let language = page::language(head, head.query.get("ui_locales"));
    let typed = normal(head.query.get("user_code").unwrap_or_default());
    let html = page::code(&language, &head.raw_path, &typed, None);
    Ok(page::reply(public.receipt(), StatusCode::OK, &html, FormAction::Here, None))
}

/// `POST /devicelogin`: first the code, then name and password.
pub(super) async fn sign_in(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let form = Form::parse(&collect(body, FORM_BYTES_MAX).await?)?;
    let language = page::language(&head, None);
    match form.get("flow") {
        None => Ok(typed(&login, &head, &form, public, &near, &language)),
        Some(flow) => decided(&login, &head, &form, flow, public, &near, &language).await,
    }
}

fn typed(login: &Login, head: &Head, form: &Form, public: Public, near: &Neighbours, language: &str) -> Reply {
    let code = normal(form.get("user_code").unwrap_or_default());
    let now = near.clock.now();
    let mut devices = login.devices();
    let Some(pending) = devices.waiting(&code, now) else {
        let too_many = devices.guessed(head.origin.peer, now);
        let (status, wrong) =
            if too_many { (StatusCode::TOO_MANY_REQUESTS, page::TOO_MANY_CODES) } else { (StatusCode::BAD_REQUEST, page::UNKNOWN_CODE) };
        return page::reply(public.receipt(), status, &page::code(language, &head.raw_path, "", Some(wrong)), FormAction::Here, None);
    };
    let client = pending.client_name.clone();
    // an address that guessed too much learns nothing from a code that fits
    if devices.guesses.get(&head.origin.peer).is_some_and(|(minute, count)| *minute == now.seconds() / 60 && *count > GUESSES_MAX) {
        return page::reply(
            public.receipt(),
            StatusCode::TOO_MANY_REQUESTS,
            &page::code(language, &head.raw_path, "", Some(page::TOO_MANY_CODES)),
            FormAction::Here,
            None,
        );
    }
    let cookie = page::cookie(head).unwrap_or_else(|| crypto::random_secret_text(&*near.chance, 24));
    let flow = Flow { user_code: code, cookie: crypto::sha256(cookie.as_bytes()), expires: now.plus_seconds(LIFE_S), half: None };
    let html = device_page(head, language, &client, &seal(near, FLOW, &flow), "", None);
    page::reply(public.receipt(), StatusCode::OK, &html, FormAction::Here, Some(&cookie))
}

fn device_page(head: &Head, language: &str, client: &str, flow: &str, user_name: &str, wrong: Option<Text>) -> String {
    page::sign_in(&SignInForm { language, client, path: &head.raw_path, flow, user_name, wrong, device: true })
}

async fn decided(
    login: &Login,
    head: &Head,
    form: &Form,
    sealed: &str,
    public: Public,
    near: &Neighbours,
    language: &str,
) -> Result<Reply> {
    let now = near.clock.now();
    let cookie = page::cookie(head).map(|c| crypto::sha256(c.as_bytes()));
    let stale = |public: Public| {
        let html = page::message(language, page::NOT_POSSIBLE, page::STALE.of(language));
        page::reply(public.receipt(), StatusCode::BAD_REQUEST, &html, FormAction::Nowhere, None)
    };
    let Some(flow) = open::<Flow>(near, FLOW, sealed).filter(|f| f.expires >= now && Some(f.cookie) == cookie) else {
        return Ok(stale(public));
    };
    let found = login
        .devices()
        .waiting(&flow.user_code, now)
        .map(|p| (p.client, p.client_name.clone(), p.authority.clone(), p.wish.resource.clone()));
    let Some((client, client_name, authority, resource)) = found else { return Ok(stale(public)) };
    if form.get("action") != Some("sign-in") {
        if let Some(pending) = login.devices().waiting(&flow.user_code, now) {
            pending.state = State::Declined;
        }
        let html = page::message(language, page::DEVICE, page::REFUSED.of(language));
        return Ok(page::reply(public.receipt(), StatusCode::OK, &html, FormAction::Nowhere, None));
    }
    let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    let detail = format!("device code by {client} for {resource}");
    let answer = match &flow.half {
        None => signed_in(login, near, &authority, client, name, password, &detail).await?,
        Some(half) => second::check(login, near, half, client, form.get("code").unwrap_or_default(), &detail).await?,
    };
    match answer {
        SignedIn::Yes { user, mfa, receipt } => {
            if let Some(pending) = login.devices().waiting(&flow.user_code, now) {
                pending.state = State::Granted { tenant: user.tenant, user: user.object, at: now, mfa };
            }
            let html = page::message(language, page::DEVICE, page::ALLOWED.of(language));
            Ok(page::reply(receipt, StatusCode::OK, &html, FormAction::Nowhere, None))
        }
        SignedIn::Half(half, receipt) => {
            let cookie = crypto::random_secret_text(&*near.chance, 24);
            let flow = Flow { half: Some(half), cookie: crypto::sha256(cookie.as_bytes()), ..flow };
            let html = page::second(language, &head.raw_path, &seal(near, FLOW, &flow), None);
            Ok(page::reply(receipt.unwrap_or_else(|| public.receipt()), StatusCode::OK, &html, FormAction::Here, Some(&cookie)))
        }
        SignedIn::MustEnrol(_, receipt) => {
            let receipt = receipt.unwrap_or_else(|| public.receipt());
            Ok(page::reply(receipt, StatusCode::BAD_REQUEST, &page::must_enrol(language), FormAction::Nowhere, None))
        }
        SignedIn::No(wrong, receipt) => {
            let receipt = receipt.unwrap_or_else(|| public.receipt());
            let html = match flow.half {
                None => device_page(head, language, &client_name, sealed, name, Some(wrong)),
                Some(_) => page::second(language, &head.raw_path, sealed, Some(wrong)),
            };
            Ok(page::reply(receipt, StatusCode::BAD_REQUEST, &html, FormAction::Here, None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    fn pending(user_code: &str, peer: Option<IpAddr>) -> Pending {
        Pending {
            user_code: user_code.into(),
            client: crate::directory::AZ_CLIENT,
            client_name: "az".into(),
            wish: Wish { resource: "https://r".into(), openid: true, offline_access: true, nonce: None },
            authority: Authority { segment: "common".into(), tenant: None },
            peer,
            expires: Timestamp::from_seconds(LIFE_S),
            polled: None,
            state: State::Waiting,
        }
    }

    #[test]
    fn polling_follows_the_protocol() {
        let mut devices = Devices::default();
        let at = Timestamp::from_seconds;
        let client = crate::directory::AZ_CLIENT;
        devices.add("d".into(), pending("BCDF-GHJK", None), at(0)).unwrap();
        let code = |r: Result<Granted>| r.unwrap_err().code.to_string();
        assert_eq!(code(devices.poll("x", client, at(0))), "invalid_grant");
        assert_eq!(code(devices.poll("d", AppId(uuid::Uuid::nil()), at(0))), "invalid_grant");
        assert_eq!(code(devices.poll("d", client, at(0))), "authorization_pending");
        assert_eq!(code(devices.poll("d", client, at(1))), "slow_down");
        assert_eq!(code(devices.poll("d", client, at(6))), "authorization_pending");
        assert_eq!(code(devices.poll("d", client, at(LIFE_S + 1))), "expired_token");
        devices.waiting("BCDF-GHJK", at(7)).unwrap().state =
            State::Granted { tenant: TenantId(uuid::Uuid::nil()), user: ObjectId(uuid::Uuid::nil()), at: at(7), mfa: true };
        assert_eq!(devices.poll("d", client, at(8)).unwrap().wish.resource, "https://r");
        assert!(devices.waiting("BCDF-GHJK", at(8)).is_none());
        devices.add("e".into(), pending("BCDF-GHJL", None), at(8)).unwrap();
        devices.waiting("BCDF-GHJL", at(8)).unwrap().state = State::Declined;
        assert_eq!(code(devices.poll("e", client, at(9))), "authorization_declined");
    }

    #[test]
    fn nobody_takes_all_places_or_guesses_for_long() {
        let mut devices = Devices::default();
        let now = Timestamp::from_seconds(0);
        for i in 0..PENDING_PER_PEER_MAX {
            devices.add(format!("{i}"), pending("X", None), now).unwrap();
        }
        assert_eq!(devices.add("more".into(), pending("X", None), now).unwrap_err().kind, Kind::Throttled);
        assert!(devices.add("other".into(), pending("X", Some([127, 0, 0, 1].into())), now).is_ok());
        // they expire
        assert!(devices.add("later".into(), pending("X", None), Timestamp::from_seconds(LIFE_S + 1)).is_ok());
        let guesses = (0..=GUESSES_MAX).map(|_| devices.guessed(None, now)).filter(|too_many| *too_many).count();
        assert_eq!(guesses, 1);
        assert!(!devices.guessed(None, Timestamp::from_seconds(60)));
    }

    #[test]
    fn codes_are_typed_by_people() {
        let code = user_code(&SeededChance::new(3));
        assert_eq!((code.len(), code.as_bytes()[4]), (9, b'-'));
        assert!(code.bytes().all(|b| b == b'-' || LETTERS.contains(&b)));
        assert_eq!(normal(&code.to_lowercase().replace('-', " ")), code);
        assert_eq!(normal("é-"), "");
    }
}
