//! What was deleted and may come back: users, applications, service principals stay for thirty days as a row beside the
//! directory, with their credentials, and without the facts that sign-in and rules read. Groups here are security groups:
//! they are gone at once, as in Graph.
//!
//! After a deletion for good a mark of it stays, for those who ask what changed.

use super::answer::{self, Asked, Change, home, with_context};
use super::query::{Options, Page, listing};
use super::users::tenant_of;
use super::{bad_request, not_found, relations};
use crate::directory::*;
use base::{AppId, Error, Kind, ObjectId, ResourceId, Result, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Call, Neighbours, Reply};
use trust::{Access, Batch, Directory, Fact, Found, GlobalName, Permit, PrincipalKind, Read, Span, Write};

/// How long a deleted object can be restored (Graph's own time).
const KEPT_S: i64 = 30 * 86_400;
const SCAN: usize = 500;

/// A deleted object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    /// Its collection in Graph's paths.
    pub collection: String,
    pub at: Timestamp,
    /// `None`: deleted for good.
    pub object: Option<Object>,
    /// The groups that it was in.
    pub groups: Vec<ObjectId>,
}

base::first_version! { Deleted "identity.deleted"; }

impl Deleted {
    pub(crate) fn kind(&self) -> Result<ObjectKind> {
        let found = ObjectKind::ALL.into_iter().find(|kind| kind.collection() == self.collection);
        found.ok_or_else(|| Error::internal(format!("'{}' is no collection", self.collection)))
    }
    fn mark(kind: ObjectKind, at: Timestamp) -> Deleted {
        Deleted { collection: kind.collection().to_owned(), at, object: None, groups: Vec::new() }
    }
    /// Restorable still.
    fn object(&self, now: Timestamp) -> Option<&Object> {
        self.object.as_ref().filter(|_| now < self.at.plus_seconds(KEPT_S))
    }
    fn show(&self, object: &Object) -> Result<Value> {
        let mut shown = object.show(self.kind()?)?;
        shown["deletedDateTime"] = self.at.rfc3339().into();
        Ok(shown)
    }
}

/// Puts an object aside, with the groups that it is in.
pub(super) fn set_aside(batch: Batch, kind: ObjectKind, object: &Object, tenant: base::TenantId, near: &Neighbours) -> Batch {
    let groups = near.facts(|f| {
        let is_direct = |group: &ObjectId| f.get(&Fact::Member { tenant, group: *group, member: object.id }.key()).is_some();
        f.identities(object.id).into_iter().filter(is_direct).collect()
    });
    let gone = Deleted { collection: kind.collection().to_owned(), at: near.clock.now(), object: Some(object.clone()), groups };
    batch.put(DELETED, object.name(), &gone)
}

/// Only the mark that an object was here.
pub(super) fn mark(batch: Batch, kind: ObjectKind, id: ObjectId, at: Timestamp) -> Batch {
    batch.put(DELETED, row_name(id), &Deleted::mark(kind, at))
}

/// `GET /directory/deletedItems/microsoft.graph.user` and its kin.
pub(super) async fn list(call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let id = asked.head.params.get("id").to_owned();
    let cast = ObjectKind::ALL.into_iter().find(|kind| id.strip_prefix("microsoft.graph.") == Some(kind.odata_type()));
    let shown = match cast {
        Some(kind) => all_of(kind, &asked, &permit, &near).await,
        None => one(&asked, &permit, &near).await.and_then(|(found, object)| {
            Ok(with_context(format!("{}/$metadata#directoryObjects/$entity", home(&asked.head)), found.value.show(&object)?))
        }),
    };
    answer::read(permit, shown).await
}

async fn all_of(kind: ObjectKind, call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let options = Options::read(&call.head, Some(kind))?;
    let mut page = Page::of(&options);
    let mut span = Span::all();
    loop {
        let rows = permit.data().scan::<Deleted>(DELETED, span, SCAN).await?;
        for (_, row) in rows.rows {
            if let Some(object) = row.value.object(near.clock.now()).filter(|_| row.value.collection == kind.collection()) {
                page.offer(row.value.show(object)?);
            }
        }
        match rows.next {
            Some(from) => span = Span::all().from(from),
            None => break,
        }
    }
    let count = options.count.then(|| page.total());
    let (found, next) = page.finish();
    Ok(listing(&call.head, kind.collection(), count, next, found.into_iter().map(|o| options.select(o)).collect()))
}

async fn one<A: Access>(call: &Asked, permit: &Permit<A>, near: &Neighbours) -> Result<(Found<Deleted>, Object)> {
    let id = call.head.params.get("id");
    let name = row_name(id.parse().map_err(|_| not_found(id))?);
    let found = permit.data().get::<Deleted>(DELETED, name).await?.ok_or_else(|| not_found(id))?;
    let object = found.value.object(near.clock.now()).cloned().ok_or_else(|| not_found(id))?;
    Ok((found, object))
}

/// `DELETE /directory/deletedItems/{id}`: for good.
pub(super) async fn purge(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = purged(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn purged(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let (found, object) = one(call, permit, near).await?;
    let (kind, id) = (found.value.kind()?, object.id);
    let mut batch = mark(Batch::new().is(DELETED, object.name(), found.version), kind, id, near.clock.now());
    batch = relations::forget_links(batch, id, permit).await?;
    batch = super::grants::forget_grants(batch, id, permit).await?;
    batch = match kind {
        ObjectKind::User => forget_user_credentials(batch, id),
        ObjectKind::Application | ObjectKind::ServicePrincipal => {
            super::applications::forget_credentials(batch, client_of(&object.properties()?)?, &object.properties()?)
        }
        ObjectKind::Group => batch,
    };
    Ok(Change::none(batch))
}

/// Whatever a user could prove itself with.
fn forget_user_credentials(batch: Batch, id: ObjectId) -> Batch {
    [PASSWORD, AUTHENTICATOR, RECOVERY].into_iter().fold(batch, |batch, which| batch.delete_credential(&id.to_string(), which))
}

fn client_of(properties: &Map<String, Value>) -> Result<AppId> {
    let id = properties.get("appId").and_then(Value::as_str).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::internal("an application without a client id"))
}

/// `POST /directory/deletedItems/{id}/restore`.
pub(super) async fn restore(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = restored(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn restored(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let (found, object) = one(call, permit, near).await?;
    let (kind, tenant, now) = (found.value.kind()?, tenant_of(permit)?, near.clock.now());
    let properties = object.properties()?;
    let mut batch = Batch::new()
        .is(DELETED, object.name(), found.version)
        .delete(DELETED, object.name())
        .absent(kind.table(), object.name())
        .put(kind.table(), object.name(), &object);
    let name = properties.get("displayName").and_then(Value::as_str).unwrap_or_default();
    let enabled = properties.get("accountEnabled").and_then(Value::as_bool).unwrap_or(true);
    let taken = |what: &str| {
        Err(Error::new(
            Kind::Conflict,
            "Request_MultipleObjectsWithSameKeyValue",
            format!("Another object with the same value for property {what} already exists."),
        ))
    };
    match kind {
        ObjectKind::User => {
            let upn = properties.get("userPrincipalName").and_then(Value::as_str).unwrap_or_default();
            if near.facts(|f| f.user_by_name(upn).is_some()) {
                return taken("userPrincipalName");
            }
            let claim = GlobalName { zone: UPN_ZONE.into(), name: upn.to_lowercase(), resource: ResourceId::tenant(tenant) };
            batch = batch.claim_fact(Fact::Name(claim)).put_fact(user_fact(tenant, object.id, upn, name, enabled, now));
        }
        ObjectKind::Application => {
            let app = client_of(&properties)?;
            let index = ClientIndex { application: object.id };
            batch = batch.absent(APPLICATION_BY_CLIENT_ID, app.to_string()).put(APPLICATION_BY_CLIENT_ID, app.to_string(), &index);
        }
        ObjectKind::ServicePrincipal => {
            let app = client_of(&properties)?;
            let index = permit.data().get::<ClientIndex>(APPLICATION_BY_CLIENT_ID, app.to_string()).await?;
            let index = index.ok_or_else(|| bad_request("The application of this service principal does not exist: restore it first."))?;
            if near.facts(|f| f.service_principals(app).iter().any(|p| p.tenant == tenant)) {
                return taken("appId");
            }
            // two at once: the second sees that the application was touched
            let row = row_name(index.value.application);
            let application = permit.data().get::<Object>(APPLICATIONS, &row).await?.ok_or_else(|| not_found(&row))?;
            batch = batch.is(APPLICATIONS, &row, application.version).put(APPLICATIONS, &row, &application.value);
            let Fact::Principal(fact) = service_principal_fact(tenant, object.id, app, name, PrincipalKind::ServicePrincipal, now) else {
                return Err(Error::internal("a principal's fact"));
            };
            batch = batch.put_fact(Fact::Principal(Directory { enabled, ..fact }));
        }
        ObjectKind::Group => return Err(not_found(call.head.params.get("id"))),
    }
    for group in &found.value.groups {
        // a group that was deleted meanwhile is not joined again, and one with a rule decides anew below
        if permit.data().get::<super::dynamic::DynamicRule>(DYNAMIC, format!("group/{group}")).await?.is_some() {
            continue;
        }
        if near.facts(|f| f.principal(*group).is_some_and(|p| p.tenant == tenant)) {
            batch = super::groups::joined(batch.exists(GROUPS, row_name(*group)), tenant, *group, object.id);
        }
    }
    if kind == ObjectKind::User {
        batch = super::dynamic::follow(batch, tenant, object.id, &properties, permit, near).await?;
    }
    let shown = with_context(format!("{}/$metadata#directoryObjects/$entity", home(&call.head)), object.show(kind)?);
    Ok(Change { batch, status: StatusCode::OK, body: Some(shown) })
}
