//! The second factor at sign-in. Who has an authenticator is asked for its code, always; whom conditional access means
//! must have one. What is enough is decided here, for pages, for scripts and for sessions that go on.
//!
//! Between the password and the code there is a [`Half`]: sealed in the page's form like the rest of a sign-in, so that
//! nobody types a code for another person, and bound to a cookie that was not known before the password was right.

use super::authorize::SignedIn;
use super::issue::living_user;
use super::{Login, page, record};
use crate::conditional::requires_second_factor;
use base::{AppId, Error, Kind, ObjectId, Result, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use service::Neighbours;
use trust::{Denied, Directory, Ended, Factor, Outcome, Receipt};

/// A sign-in whose password was right.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Half {
    pub tenant: TenantId,
    pub user: ObjectId,
    /// When the password was typed.
    pub at: Timestamp,
}

/// AADSTS50076: a code is needed, and this way has no place for one. Clients go on in a browser when they read it.
pub(super) fn code_needed() -> Error {
    Error::invalid(
        "interaction_required",
        "AADSTS50076: Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication.",
    )
}

/// AADSTS50079: the same, for who has no authenticator yet.
fn enrolment_needed() -> Error {
    Error::invalid(
        "interaction_required",
        "AADSTS50079: You must enroll in multi-factor authentication: open /common/security at the sign-in address and set up an authenticator.",
    )
}

/// Whether what a user proved is enough (`mfa`: a second factor was part of it). Errors `interaction_required`:
/// AADSTS50076, AADSTS50079.
pub(super) async fn must_be_enough(near: &Neighbours, user: &Directory, mfa: bool) -> Result<()> {
    if mfa {
        return Ok(());
    }
    if near.credentials().second_factor(user.tenant, user.object).await?.is_some() {
        return Err(code_needed());
    }
    match near.facts(|f| requires_second_factor(f, user)) {
        true => Err(enrolment_needed()),
        false => Ok(()),
    }
}

/// What follows a right password on a page.
pub(super) async fn after_password(login: &Login, near: &Neighbours, user: Directory, client: AppId, detail: &str) -> Result<SignedIn> {
    match must_be_enough(near, &user, false).await {
        Ok(()) => {
            let receipt = record(near, &user, client, Outcome::done(200), detail).await?;
            Ok(SignedIn::Yes { user, mfa: false, receipt })
        }
        Err(error) if error.code != "interaction_required" => Err(error),
        Err(error) => {
            let receipt = refused(login, near, &user, client, &error, &format!("{detail}: {}", number(&error))).await?;
            match error.message.starts_with("AADSTS50076") {
                true => Ok(SignedIn::Half(Half { tenant: user.tenant, user: user.object, at: near.clock.now() }, receipt)),
                false => Ok(SignedIn::MustEnrol(user, receipt)),
            }
        }
    }
}

fn number(error: &Error) -> &str {
    error.message.split(':').next().unwrap_or_default()
}

/// Records a refusal of somebody known, unless too many were in this minute.
pub(super) async fn refused(
    login: &Login,
    near: &Neighbours,
    user: &Directory,
    client: AppId,
    error: &Error,
    detail: &str,
) -> Result<Option<Receipt>> {
    if !login.records_refusal(user.object, near.clock.now()) {
        return Ok(None);
    }
    let outcome = Outcome { result: Ended::Refused, ..Outcome::failed(error) };
    Ok(Some(record(near, user, client, outcome, detail).await?))
}

/// The code of a page, of whoever's password was right before.
pub(super) async fn check(login: &Login, near: &Neighbours, half: &Half, client: AppId, code: &str, detail: &str) -> Result<SignedIn> {
    // disabled, revoked or deleted since the password
    let user = match living_user(near, half.tenant, half.user, half.at) {
        Ok(user) => user,
        Err(_) => return Ok(SignedIn::No(page::STALE, None)),
    };
    let (error, text) = match near.credentials().check_code(user.tenant, user.object, code, near.origin.peer).await? {
        Ok(factor) => {
            let how = match factor {
                Factor::Totp => "code of the authenticator".to_owned(),
                Factor::Recovery { left } => format!("recovery code, {left} left"),
            };
            let receipt = record(near, &user, client, Outcome::done(200), &format!("{detail}, {how}")).await?;
            return Ok(SignedIn::Yes { user, mfa: true, receipt });
        }
        Err(Denied::LockedOut { retry_after_s }) => (crate::dialect::locked_out(retry_after_s), page::LOCKED),
        Err(_) => (wrong_code(), page::WRONG_CODE),
    };
    let receipt = refused(login, near, &user, client, &error, &format!("{detail}: {}", number(&error))).await?;
    Ok(SignedIn::No(text, receipt))
}

fn wrong_code() -> Error {
    Error::new(Kind::Invalid, "invalid_grant", "AADSTS500121: Authentication failed during strong authentication request.")
}
