//! `/{tenant}/security`: where people set up an authenticator, get recovery codes and change their password.
//!
//! There is no session: who was seen, and when, is sealed in each form ([`Seat`]) and ends with it, fifteen minutes after
//! the password. Setting up a first authenticator takes the password; all that touches one that is there takes its code
//! too.

use super::authorize::{SignedIn, signed_in};
use super::issue::{living_user, open, seal};
use super::page::{self, FormAction, SignInForm};
use super::second::{self, Half};
use super::{Authority, Login};
use crate::conditional::requires_second_factor;
use crate::directory::{AUTHENTICATOR, PASSWORD, RECOVERY, check_password};
use crate::seed::password_credential;
use base::{AppId, ResourceId, Result, Text, Timestamp};
use crypto::SecretBytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use service::{Call, Head, Neighbours, Public, Reply, collect};
use std::sync::Arc;
use trust::{Batch, Caller, Credential, Directory, Fact, Outcome, Permit, Receipt, Weight, Write};
use uuid::Uuid;
use wire::oauth::{FORM_BYTES_MAX, Form};

const SEAT: &str = "identity.security.1";
const LIFE_S: i64 = 15 * 60;
/// The client that sign-ins to this page are recorded under: Entra's "My Signins".
const PAGE: AppId = AppId(Uuid::from_u128(0x19db_86c3_b2b9_44cc_b339_36da_233a_3be2));

/// How far somebody came, and in which browser.
#[derive(Serialize, Deserialize)]
struct Seat {
    cookie: [u8; 32],
    expires: Timestamp,
    step: Step,
}

#[derive(Serialize, Deserialize)]
enum Step {
    Out,
    Half(Half),
    In {
        who: Half,
        mfa: bool,
    },
    /// A key is shown, and waits for the first code made with it.
    Enrol {
        who: Half,
        mfa: bool,
        key: Vec<u8>,
    },
}

/// What a step needs to make its page.
struct Here<'a> {
    head: &'a Head,
    near: &'a Neighbours,
    language: &'a str,
    expires: Timestamp,
}

impl Here<'_> {
    /// A page under a new cookie: no earlier form fits it.
    fn page(&self, receipt: Receipt, status: StatusCode, step: Step, html: impl FnOnce(&str) -> String) -> Reply {
        let cookie = crypto::random_secret_text(&*self.near.chance, 24);
        let seat = Seat { cookie: crypto::sha256(cookie.as_bytes()), expires: self.expires, step };
        page::reply(receipt, status, &html(&seal(self.near, SEAT, &seat)), FormAction::Here, Some(&cookie))
    }
    fn sign_in(&self, receipt: Receipt, status: StatusCode, name: &str, wrong: Option<Text>) -> Reply {
        self.page(receipt, status, Step::Out, |flow| {
            page::sign_in(&SignInForm {
                language: self.language,
                client: page::SECURITY.of(self.language),
                path: &self.head.raw_path,
                flow,
                user_name: name,
                wrong,
                device: false,
            })
        })
    }
    fn over(&self, receipt: Receipt, status: StatusCode, text: Text) -> Reply {
        let html = page::message(self.language, page::SECURITY, text.of(self.language));
        page::reply(receipt, status, &html, FormAction::Nowhere, None)
    }
    async fn menu(&self, receipt: Receipt, status: StatusCode, who: Half, mfa: bool, wrong: Option<Text>) -> Result<Reply> {
        let factor = self.near.credentials().second_factor(who.tenant, who.user).await?;
        Ok(self.page(receipt, status, Step::In { who, mfa }, |flow| {
            page::security(self.language, &self.head.raw_path, flow, factor.map(|f| f.codes_left), wrong)
        }))
    }
}

/// `GET /{tenant}/security`.
pub(super) async fn show(_: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let language = page::language(&call.head, call.head.query.get("ui_locales"));
    Authority::of(&near, call.head.params.get("tenant"))?;
    let here = Here { head: &call.head, near: &near, language: &language, expires: near.clock.now().plus_seconds(LIFE_S) };
    Ok(here.sign_in(public.receipt(), StatusCode::OK, "", None))
}

/// `POST /{tenant}/security`: the form of whatever page was shown.
pub(super) async fn act(login: Arc<Login>, call: Call, public: Public, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let form = Form::parse(&collect(body, FORM_BYTES_MAX).await?)?;
    let language = page::language(&head, None);
    let authority = Authority::of(&near, head.params.get("tenant"))?;
    let now = near.clock.now();
    let cookie = page::cookie(&head).map(|c| crypto::sha256(c.as_bytes()));
    let seat = form.get("flow").and_then(|text| open::<Seat>(&near, SEAT, text)).filter(|s| s.expires >= now && Some(s.cookie) == cookie);
    let mut here = Here { head: &head, near: &near, language: &language, expires: now };
    let Some(seat) = seat else { return Ok(here.over(public.receipt(), StatusCode::BAD_REQUEST, page::STALE)) };
    here.expires = seat.expires;
    if form.get("action") == Some("cancel") {
        return Ok(here.over(public.receipt(), StatusCode::OK, page::SIGNED_OUT));
    }
    match seat.step {
        Step::Out => {
            let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
            here.expires = now.plus_seconds(LIFE_S);
            let answer = see(&login, &near, &authority, name, password).await?;
            entered(&here, public, answer, name).await
        }
        Step::Half(half) => {
            let answer = second::check(&login, &near, &half, PAGE, form.get("code").unwrap_or_default(), "security page").await?;
            match answer {
                SignedIn::No(wrong, receipt) => {
                    Ok(here.page(receipt.unwrap_or_else(|| public.receipt()), StatusCode::BAD_REQUEST, Step::Half(half), |flow| {
                        page::second(&language, &head.raw_path, flow, Some(wrong))
                    }))
                }
                other => entered(&here, public, other, "").await,
            }
        }
        Step::In { .. } | Step::Enrol { .. } => {
            let _alone = login.changing.lock().await;
            change(&here, public, &form, seat.step).await
        }
    }
}

/// The steps that change something, one at a time.
async fn change(here: &Here<'_>, public: Public, form: &Form, step: Step) -> Result<Reply> {
    match step {
        Step::In { who, mfa } => chosen(here, public, form, who, mfa).await,
        Step::Enrol { who, mfa, key } => confirmed(here, public, form, who, mfa, key).await,
        Step::Out | Step::Half(_) => Ok(here.over(public.receipt(), StatusCode::BAD_REQUEST, page::STALE)),
    }
}

/// Name and password. Who must enrol is let in with a password alone, here and nowhere else: to enrol.
async fn see(login: &Login, near: &Neighbours, authority: &Authority, name: &str, password: &str) -> Result<SignedIn> {
    let answer = signed_in(login, near, authority, PAGE, name, password, "security page").await?;
    let SignedIn::MustEnrol(user, receipt) = answer else { return Ok(answer) };
    Ok(match receipt {
        Some(receipt) => SignedIn::Yes { user, mfa: false, receipt },
        None => SignedIn::No(page::LOCKED, None),
    })
}

async fn entered(here: &Here<'_>, public: Public, answer: SignedIn, name: &str) -> Result<Reply> {
    match answer {
        SignedIn::Yes { user, mfa, receipt } => {
            let who = Half { tenant: user.tenant, user: user.object, at: here.near.clock.now() };
            here.menu(receipt, StatusCode::OK, who, mfa, None).await
        }
        SignedIn::Half(half, receipt) => {
            Ok(here.page(receipt.unwrap_or_else(|| public.receipt()), StatusCode::OK, Step::Half(half), |flow| {
                page::second(here.language, &here.head.raw_path, flow, None)
            }))
        }
        SignedIn::MustEnrol(..) => Ok(here.over(public.receipt(), StatusCode::BAD_REQUEST, page::MUST_ENROL)),
        SignedIn::No(wrong, receipt) => {
            Ok(here.sign_in(receipt.unwrap_or_else(|| public.receipt()), StatusCode::BAD_REQUEST, name, Some(wrong)))
        }
    }
}

/// Whether the person may still act, and proved enough for what is there now: an authenticator may have come since.
async fn still(near: &Neighbours, who: &Half, mfa: bool) -> Result<Option<Directory>> {
    let Ok(user) = living_user(near, who.tenant, who.user, who.at) else { return Ok(None) };
    let has = near.credentials().second_factor(who.tenant, who.user).await?.is_some();
    Ok((mfa || !has).then_some(user))
}

/// A button of the menu.
async fn chosen(here: &Here<'_>, public: Public, form: &Form, who: Half, mfa: bool) -> Result<Reply> {
    let near = here.near;
    let Some(user) = still(near, &who, mfa).await? else {
        return Ok(here.over(public.receipt(), StatusCode::BAD_REQUEST, page::STALE));
    };
    match form.get("action") {
        Some("enrol") => {
            let key = Credential::totp_key(&*near.chance);
            Ok(enrol_page(here, public.receipt(), StatusCode::OK, &user, who, mfa, key, None))
        }
        Some("codes") if mfa => {
            let (set, codes) = Credential::recovery(&*near.chance, near.clock.now());
            let batch = Batch::new().set_credential(&user.object.to_string(), RECOVERY, set);
            let receipt = write(near, "Register recovery codes", &user, batch).await?;
            Ok(codes_page(here, receipt, who, mfa, &codes))
        }
        Some("remove") if mfa => {
            if near.facts(|f| requires_second_factor(f, &user)) {
                return here.menu(public.receipt(), StatusCode::BAD_REQUEST, who, mfa, Some(page::IS_REQUIRED)).await;
            }
            let holder = user.object.to_string();
            let batch = Batch::new().delete_credential(&holder, AUTHENTICATOR).delete_credential(&holder, RECOVERY);
            let receipt = write(near, "Delete authenticator", &user, batch).await?;
            here.menu(receipt, StatusCode::OK, who, false, None).await
        }
        Some("password") => change_password(here, public, form, &user, who, mfa).await,
        _ => here.menu(public.receipt(), StatusCode::OK, who, mfa, None).await,
    }
}

#[allow(clippy::too_many_arguments)] // one page, made in two places
fn enrol_page(
    here: &Here<'_>,
    receipt: Receipt,
    status: StatusCode,
    user: &Directory,
    who: Half,
    mfa: bool,
    key: Vec<u8>,
    wrong: Option<Text>,
) -> Reply {
    let secret = crypto::base32(&key);
    let upn = user.upn.clone().unwrap_or_default();
    here.page(receipt, status, Step::Enrol { who, mfa, key }, |flow| {
        page::enrol(here.language, &here.head.raw_path, flow, &here.head.urls.domain, &upn, &secret, wrong)
    })
}

fn codes_page(here: &Here<'_>, receipt: Receipt, who: Half, mfa: bool, codes: &[String]) -> Reply {
    here.page(receipt, StatusCode::OK, Step::In { who, mfa }, |flow| page::codes(here.language, &here.head.raw_path, flow, codes))
}

/// The first code of a new authenticator: it works, so it is kept.
async fn confirmed(here: &Here<'_>, public: Public, form: &Form, who: Half, mfa: bool, key: Vec<u8>) -> Result<Reply> {
    let near = here.near;
    let Some(user) = still(near, &who, mfa).await? else {
        return Ok(here.over(public.receipt(), StatusCode::BAD_REQUEST, page::STALE));
    };
    let now = near.clock.now();
    let typed: String = form.get("code").unwrap_or_default().chars().filter(char::is_ascii_digit).take(8).collect();
    let Some(step) = crypto::totp_step(&key, &typed, now.seconds(), 0) else {
        return Ok(enrol_page(here, public.receipt(), StatusCode::BAD_REQUEST, &user, who, mfa, key, Some(page::WRONG_CODE)));
    };
    let (set, codes) = Credential::recovery(&*near.chance, now);
    let holder = user.object.to_string();
    let batch =
        Batch::new().set_credential(&holder, AUTHENTICATOR, Credential::totp(key, step, now)).set_credential(&holder, RECOVERY, set);
    let receipt = write(near, "Register authenticator", &user, batch).await?;
    // the code just typed was the second factor
    Ok(codes_page(here, receipt, who, true, &codes))
}

/// A new password ends every session, this one too.
async fn change_password(here: &Here<'_>, public: Public, form: &Form, user: &Directory, who: Half, mfa: bool) -> Result<Reply> {
    let near = here.near;
    let (new, again) = (form.get("new").unwrap_or_default(), form.get("again").unwrap_or_default());
    let upn = user.upn.clone().unwrap_or_default();
    let wrong = match check_password(new, &upn) {
        _ if new != again => Some(page::NOT_THE_SAME),
        Err(_) => Some(page::WEAK_PASSWORD),
        Ok(()) => None,
    };
    if wrong.is_some() {
        return here.menu(public.receipt(), StatusCode::BAD_REQUEST, who, mfa, wrong).await;
    }
    let credential = password_credential(near, SecretBytes::from(new.to_owned()), None, 0).await?;
    let key = Fact::principal_key(user.tenant, user.object);
    let (found, version) = near.facts(|f| (f.principal(user.object).cloned(), f.version(&key)));
    let Some(found) = found else { return Ok(here.over(public.receipt(), StatusCode::BAD_REQUEST, page::STALE)) };
    let batch = Batch::new()
        .set_credential(&user.object.to_string(), PASSWORD, credential)
        .fact_is(key, version)
        .put_fact(Fact::Principal(Directory { tokens_valid_from: near.clock.now().plus_seconds(1), ..found }));
    let receipt = write(near, "Change password", user, batch).await?;
    Ok(here.over(receipt, StatusCode::OK, page::PASSWORD_CHANGED))
}

/// Writes credentials of a person who proved who they are: their own act, for which they need no role.
async fn write(near: &Neighbours, verb: &'static str, user: &Directory, batch: Batch) -> Result<Receipt> {
    let own = near.on_behalf(Caller::Region { part: "identity" });
    let detail = format!("{} ({}), by their own hand", user.upn.as_deref().unwrap_or_default(), user.object);
    let target = ResourceId::tenant(user.tenant);
    let permit: Permit<Write> = own.permit(verb, &["bleu.identity/credentials/write"], false, &target, Weight::Indexed, &detail).await?;
    Ok(permit.commit(batch, Outcome::done(200)).await?)
}
