//! Reading the directory: lists with `$filter`, `$select`, `$top` and pages; single objects; objects by their ids.

use super::answer::{self, Asked, entity, home, with_context};
use super::query::{Options, Page, listing};
use super::{bad_request, body, not_found, relations};
use crate::directory::{APPLICATIONS, Object, ObjectKind, find_user, row_name, tenant_of};
use base::{Error, ObjectId, Result};
use serde_json::{Value, json};
use service::{Call, Head, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Found, Permit, PrincipalKind, Read, Span};

/// Rows read at once while looking for those that fit.
const SCAN: usize = 500;
const IDS_MAX: usize = 1000;

/// `GET /users` and its kin.
pub(super) async fn list(kind: ObjectKind, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let page = page(kind, &asked.head, &permit, &near).await;
    answer::read(permit, page).await
}

async fn page(kind: ObjectKind, head: &Head, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let options = Options::read(head, Some(kind))?;
    let mut page = Page::of(&options);
    let mut span = options.from().map_or_else(Span::all, |id| Span::all().from(id));
    while !page.is_full() {
        let rows = permit.data().scan::<Object>(kind.table(), span, SCAN).await?;
        for (_, row) in rows.rows {
            page.offer(row.value.show(kind)?);
        }
        match rows.next {
            Some(from) => span = Span::all().from(from),
            None => break,
        }
    }
    let count = options.count.then(|| page.total());
    let (found, next) = page.finish();
    let mut shown = Vec::with_capacity(found.len());
    for object in found {
        shown.push(relations::expanded(kind, &options, object, permit, near).await?);
    }
    Ok(listing(head, kind.collection(), count, next, shown))
}

/// `GET /users/$count` and its kin: a number, as text.
pub(super) async fn count(kind: ObjectKind, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let counted = counted(kind, &call.head, &permit).await;
    answer::read_text(permit, counted.map(|n| n.to_string())).await
}

async fn counted(kind: ObjectKind, head: &Head, permit: &Permit<Read>) -> Result<u64> {
    if !head.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual")) {
        return Err(super::query::unsupported("$count is not currently supported without the header 'ConsistencyLevel: eventual'."));
    }
    let options = Options::read(&counting(head), Some(kind))?;
    let mut page = Page::of(&options);
    let mut span = Span::all();
    loop {
        let rows = permit.data().scan::<Object>(kind.table(), span, SCAN).await?;
        for (_, row) in rows.rows {
            page.offer(row.value.show(kind)?);
        }
        match rows.next {
            Some(from) => span = Span::all().from(from),
            None => return Ok(page.total()),
        }
    }
}

/// `/$count` in the path is `$count=true` already.
pub(super) fn counting(head: &Head) -> Head {
    let mut head = head.clone();
    head.query.0.push(("$count".into(), "true".into()));
    head
}

/// `GET /users/{id}` and its kin; users by name too.
pub(super) async fn get(kind: ObjectKind, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let found = one(kind, &asked, &permit, &near).await;
    answer::read(permit, found).await
}

async fn one(kind: ObjectKind, call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let options = Options::read(&call.head, Some(kind))?;
    let found = find(kind, call.head.params.get("id"), permit, near).await?;
    Ok(entity(&call.head, kind, relations::expanded(kind, &options, found.value.show(kind)?, permit, near).await?))
}

/// An object of the permit's tenant by its id; a user by its name too. Error `Request_ResourceNotFound`.
pub(super) async fn find<A: Access>(kind: ObjectKind, id: &str, permit: &Permit<A>, near: &Neighbours) -> Result<Found<Object>> {
    let by_name = || near.facts(|f| find_user(f, id, permit.tenant()).map(|u| u.object));
    let object: Option<ObjectId> = id.parse().ok().or_else(|| if kind == ObjectKind::User { by_name() } else { None });
    let Some(object) = object else { return Err(not_found(id)) };
    permit.data().get(kind.table(), row_name(object)).await?.ok_or_else(|| not_found(id))
}

/// `GET /me`.
pub(super) async fn me(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let found = my_own(&asked, &permit, &near).await;
    answer::read(permit, found).await
}

async fn my_own(call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let Some(me) = call.caller.principal().filter(|p| p.kind == PrincipalKind::User) else {
        // the Azure command looks for these words
        return Err(Error::invalid("BadRequest", "/me request is only valid with delegated authentication flow."));
    };
    let options = Options::read(&call.head, Some(ObjectKind::User))?;
    let found = find(ObjectKind::User, &me.object.to_string(), permit, near).await?;
    let shown = relations::expanded(ObjectKind::User, &options, found.value.show(ObjectKind::User)?, permit, near).await?;
    Ok(entity(&call.head, ObjectKind::User, shown))
}

/// A call of Graph that is not here.
pub(super) async fn not_built(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let path: String = call.head.params.get("call").chars().filter(|c| !c.is_control()).take(200).collect();
    answer::read(permit, Err(Error::not_implemented(format!("{} /v1.0/{path}", call.head.method)))).await
}

/// `GET /organization`.
pub(super) async fn organization(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let shown = tenant_of(&call.caller).and_then(|id| {
        let tenant = near.facts(|f| f.tenant(id).cloned()).ok_or_else(|| not_found(&id.to_string()))?;
        let domains: Vec<Value> = tenant.domains.iter().enumerate().map(|(at, name)| json!({"name": name, "isDefault": at == 0, "isInitial": at == 0, "type": "Managed"})).collect();
        let one = json!({
            "@odata.type": "#microsoft.graph.organization", "id": id.to_string(), "displayName": tenant.name, "tenantType": "AAD", "verifiedDomains": domains,
        });
        Ok(with_context(format!("{}/$metadata#organization", home(&call.head)), json!({ "value": [one] })))
    });
    answer::read(permit, shown).await
}

/// `GET /directoryObjects/{id}`.
pub(super) async fn any(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let id = call.head.params.get("id");
    let found = match id.parse() {
        Ok(object) => some_kind(object, &permit, &near).await.and_then(|found| found.ok_or_else(|| not_found(id))),
        Err(_) => Err(not_found(id)),
    };
    let shown = found.map(|(_, shown)| with_context(format!("{}/$metadata#directoryObjects/$entity", home(&call.head)), shown));
    answer::read(permit, shown).await
}

/// `POST /directoryObjects/getByIds`: those that exist, in the order asked.
pub(super) async fn by_ids(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let context = format!("{}/$metadata#directoryObjects", home(&call.head));
    let found = each_of(call, &permit, &near).await;
    answer::read(permit, found.map(|value| with_context(context, json!({ "value": value })))).await
}

async fn each_of(call: Call, permit: &Permit<Read>, near: &Neighbours) -> Result<Vec<Value>> {
    let sent = body::json(call.body).await?;
    let texts = |name: &str| {
        sent.get(name).and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    };
    let ids = texts("ids").ok_or_else(|| bad_request("A value is required for parameter 'ids'.").at("ids"))?;
    if ids.len() > IDS_MAX {
        return Err(bad_request(format!("At most {IDS_MAX} ids can be asked for.")).at("ids"));
    }
    let types = texts("types").unwrap_or_default();
    let mut found = Vec::new();
    for id in ids {
        let object = id.parse().map_err(|_| bad_request("Invalid object identifier.").at("ids"))?;
        let Some((kind, shown)) = some_kind(object, permit, near).await? else { continue };
        let wanted = types.is_empty() || types.iter().any(|t| t.eq_ignore_ascii_case(kind.odata_type()) || t == "directoryObject");
        if wanted {
            found.push(shown);
        }
    }
    Ok(found)
}

/// An object of the permit's tenant, whatever its kind.
pub(super) async fn some_kind<A: Access>(object: ObjectId, permit: &Permit<A>, near: &Neighbours) -> Result<Option<(ObjectKind, Value)>> {
    let kind = match near.facts(|f| f.principal(object).filter(|p| Some(p.tenant) == permit.tenant()).map(|p| p.kind)) {
        Some(PrincipalKind::User) => ObjectKind::User,
        Some(PrincipalKind::Group) => ObjectKind::Group,
        Some(PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity) => ObjectKind::ServicePrincipal,
        None => {
            let found = permit.data().get::<Object>(APPLICATIONS, row_name(object)).await?;
            return found.map(|f| Ok((ObjectKind::Application, f.value.show(ObjectKind::Application)?))).transpose();
        }
    };
    let found = permit.data().get::<Object>(kind.table(), row_name(object)).await?;
    found.map(|f| Ok((kind, f.value.show(kind)?))).transpose()
}
