//! How objects of a directory hang together: members and the groups they are in, owners, managers.
//!
//! A membership is a fact, because rules read it at each decision. Owners and managers are rows, one in each direction; they
//! say who answers for something and give no right by themselves.

use super::answer::{self, Asked, Change, entity, home, with_context};
use super::body::json as read_json;
use super::query::{Options, Page, listing, select, unsupported};
use super::users::tenant_of;
use super::{bad_request, not_found, objects};
use crate::directory::{LINKS, Link, ObjectKind};
use base::{Error, Kind, ObjectId, Result};
use serde_json::{Value, json};
use service::{Body, Call, Neighbours, Reply};
use std::collections::BTreeSet;
use trust::{Access, Batch, Fact, Permit, Read, Span, Write};
use wire::odata::Expand;

/// Objects behind one `$expand`; Graph's own bound.
const EXPANDED_MAX: usize = 20;
const SCAN: usize = 500;
/// Owners of one object (Graph's own bound).
const OWNERS_MAX: usize = 100;
/// How far up a line of managers is followed to see that it ends.
const MANAGERS_MAX: usize = 64;

/// A navigation from an object to objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Members,
    TransitiveMembers,
    MemberOf,
    TransitiveMemberOf,
    Owners,
    OwnedObjects,
    Manager,
    DirectReports,
}

impl Way {
    /// By its name in Graph, where objects of this kind have it.
    fn named(kind: ObjectKind, name: &str) -> Option<Way> {
        use ObjectKind::{Application, Group, ServicePrincipal, User};
        let (way, kinds): (Way, &[ObjectKind]) = match name {
            "members" => (Way::Members, &[Group]),
            "transitiveMembers" => (Way::TransitiveMembers, &[Group]),
            "memberOf" => (Way::MemberOf, &[User, Group, ServicePrincipal]),
            "transitiveMemberOf" => (Way::TransitiveMemberOf, &[User, Group, ServicePrincipal]),
            "owners" => (Way::Owners, &[Group, Application, ServicePrincipal]),
            "ownedObjects" => (Way::OwnedObjects, &[User, ServicePrincipal]),
            "manager" => (Way::Manager, &[User]),
            "directReports" => (Way::DirectReports, &[User]),
            _ => return None,
        };
        kinds.contains(&kind).then_some(way)
    }
    /// The rows that hold it.
    fn rows(self) -> &'static str {
        match self {
            Way::Owners => "owner",
            Way::OwnedObjects => "owned",
            Way::Manager => "manager",
            Way::DirectReports => "report",
            // memberships are facts
            Way::Members | Way::TransitiveMembers | Way::MemberOf | Way::TransitiveMemberOf => "",
        }
    }
    fn back(self) -> Way {
        match self {
            Way::Members => Way::MemberOf,
            Way::TransitiveMembers => Way::TransitiveMemberOf,
            Way::MemberOf => Way::Members,
            Way::TransitiveMemberOf => Way::TransitiveMembers,
            Way::Owners => Way::OwnedObjects,
            Way::OwnedObjects => Way::Owners,
            Way::Manager => Way::DirectReports,
            Way::DirectReports => Way::Manager,
        }
    }
}

/// The objects at the end of a way, in the order of their ids. Those that are deleted may be among them.
pub(super) async fn ids<A: Access>(way: Way, of: ObjectId, permit: &Permit<A>, near: &Neighbours) -> Result<BTreeSet<ObjectId>> {
    let tenant = permit.tenant().ok_or_else(|| Error::internal("a directory permit is for a tenant"))?;
    let direct = |group: ObjectId| {
        let prefix = format!("member/{tenant}/{group}/");
        near.facts(|f| {
            let member = |fact: &Fact| if let Fact::Member { member, .. } = fact { Some(*member) } else { None };
            f.scan(&prefix).filter_map(member).collect::<BTreeSet<_>>()
        })
    };
    Ok(match way {
        Way::Members => direct(of),
        Way::TransitiveMembers => {
            let (mut found, mut ahead) = (BTreeSet::new(), vec![of]);
            while let Some(group) = ahead.pop() {
                ahead.extend(direct(group).into_iter().filter(|member| found.insert(*member)));
            }
            found
        }
        Way::TransitiveMemberOf => near.facts(|f| f.identities(of).into_iter().filter(|o| *o != of).collect()),
        Way::MemberOf => near.facts(|f| {
            let is_direct = |group: &ObjectId| f.get(&Fact::Member { tenant, group: *group, member: of }.key()).is_some();
            f.identities(of).into_iter().filter(is_direct).collect()
        }),
        Way::Owners | Way::OwnedObjects | Way::Manager | Way::DirectReports => links(way, of, permit).await?,
    })
}

async fn links<A: Access>(way: Way, of: ObjectId, permit: &Permit<A>) -> Result<BTreeSet<ObjectId>> {
    let prefix = format!("{}/{of}/", way.rows());
    let mut found = BTreeSet::new();
    let mut span = Span::prefix(&prefix);
    loop {
        let page = permit.data().scan::<Link>(LINKS, span, SCAN).await?;
        let names =
            page.rows.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok()?.strip_prefix(&prefix)?.parse::<ObjectId>().ok());
        found.extend(names);
        match page.next {
            Some(from) => span = Span::prefix(&prefix).from(from),
            None => return Ok(found),
        }
    }
}

fn row(way: Way, from: ObjectId, to: ObjectId) -> String {
    format!("{}/{from}/{to}", way.rows())
}

/// Both directions of a link.
pub(super) fn link(batch: Batch, way: Way, from: ObjectId, to: ObjectId) -> Batch {
    batch.put(LINKS, row(way, from, to), &Link {}).put(LINKS, row(way.back(), to, from), &Link {})
}

fn unlink(batch: Batch, way: Way, from: ObjectId, to: ObjectId) -> Batch {
    batch.delete(LINKS, row(way, from, to)).delete(LINKS, row(way.back(), to, from))
}

/// Every link of an object that will not come back.
pub(super) async fn forget_links(mut batch: Batch, of: ObjectId, permit: &Permit<Write>) -> Result<Batch> {
    for way in [Way::Owners, Way::OwnedObjects, Way::Manager, Way::DirectReports] {
        for other in links(way, of, permit).await? {
            batch = unlink(batch, way, of, other);
        }
    }
    Ok(batch)
}

/// An object with what `$expand` asks for, and only what `$select` does.
pub(super) async fn expanded(
    kind: ObjectKind,
    options: &Options,
    object: Value,
    permit: &Permit<Read>,
    near: &Neighbours,
) -> Result<Value> {
    let id: Option<ObjectId> = object.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let mut shown = options.select(object);
    if let (Some(expand), Some(id)) = (&options.expand, id) {
        shown[&expand.name] = behind(kind, expand, id, permit, near).await?;
    }
    Ok(shown)
}

async fn behind(kind: ObjectKind, expand: &Expand, id: ObjectId, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    if matches!(kind, ObjectKind::User | ObjectKind::Group | ObjectKind::ServicePrincipal)
        && let Some(found) = super::grants::expanded(&expand.name, id, permit).await?
    {
        return Ok(found.into());
    }
    let Some(way) = Way::named(kind, &expand.name) else {
        return Err(bad_request(format!(
            "Could not find a property named '{}' on type 'microsoft.graph.{}'.",
            expand.name,
            kind.odata_type()
        ))
        .at("$expand"));
    };
    let mut found = Vec::new();
    for other in ids(way, id, permit, near).await? {
        if found.len() == EXPANDED_MAX {
            break;
        }
        if let Some((kind, shown)) = objects::some_kind(other, permit, near).await? {
            found.push(select(&expand.select, Some(kind), shown));
        }
    }
    Ok(if way == Way::Manager { found.into_iter().next().unwrap_or_default() } else { found.into() })
}

/// `GET /groups/{id}/members` and its kin; `{cast}` is `microsoft.graph.user`, `$count` or `$ref`.
pub(super) async fn list(kind: ObjectKind, way: Way, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    if asked.head.params.get("cast") == "$count" {
        let counted = counted(kind, way, &asked, &permit, &near).await;
        return answer::read_text(permit, counted.map(|n| n.to_string())).await;
    }
    let shown = shown(kind, way, &asked, &permit, &near).await;
    answer::read(permit, shown).await
}

/// The object that the path begins at: by id, a user by name, or the caller itself (`/me/…`).
async fn start<A: Access>(kind: ObjectKind, call: &Asked, permit: &Permit<A>, near: &Neighbours) -> Result<ObjectId> {
    if !call.head.params.has("id") {
        let me = call.caller.principal().filter(|p| p.kind == trust::PrincipalKind::User);
        return me
            .map(|me| me.object)
            .ok_or_else(|| Error::invalid("BadRequest", "/me request is only valid with delegated authentication flow."));
    }
    Ok(objects::find(kind, call.head.params.get("id"), permit, near).await?.value.id)
}

async fn counted(kind: ObjectKind, way: Way, call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<u64> {
    if !call.head.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual")) {
        return Err(unsupported("$count is not currently supported without the header 'ConsistencyLevel: eventual'."));
    }
    let options = Options::read(&objects::counting(&call.head), None)?;
    let mut page = Page::of(&options);
    for id in ids(way, start(kind, call, permit, near).await?, permit, near).await? {
        if let Some((_, object)) = objects::some_kind(id, permit, near).await? {
            page.offer(object);
        }
    }
    Ok(page.total())
}

async fn shown(kind: ObjectKind, way: Way, call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let cast = match call.head.params.get("cast") {
        "" | "$ref" => None,
        text => Some(cast(text)?),
    };
    let options = Options::read(&call.head, cast)?;
    if options.expand.is_some() {
        return Err(unsupported("$expand behind a navigation.").at("$expand"));
    }
    let from = start(kind, call, permit, near).await?;
    let mut page = Page::of(&options);
    for id in ids(way, from, permit, near).await? {
        // those of the pages before need not be read
        if options.from().is_some_and(|from| id.to_string().as_str() <= from) && !options.count {
            continue;
        }
        if page.is_full() {
            break;
        }
        if let Some((kind, object)) = objects::some_kind(id, permit, near).await?
            && cast.is_none_or(|cast| cast == kind)
        {
            page.offer(object);
        }
    }
    let count = options.count.then(|| page.total());
    let (found, next) = page.finish();
    let home = home(&call.head);
    let reference = |o: Value| json!({"@odata.id": format!("{home}/directoryObjects/{}", o["id"].as_str().unwrap_or_default())});
    let is_reference = call.head.params.get("cast") == "$ref";
    let found = found.into_iter().map(|o| if is_reference { reference(o) } else { options.select(o) }).collect();
    let context = match cast {
        _ if is_reference => "Collection($ref)",
        Some(kind) => kind.collection(),
        None => "directoryObjects",
    };
    Ok(listing(&call.head, context, count, next, found))
}

fn cast(text: &str) -> Result<ObjectKind> {
    let found = ObjectKind::ALL.into_iter().find(|kind| text.strip_prefix("microsoft.graph.") == Some(kind.odata_type()));
    let text: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    found.ok_or_else(|| bad_request(format!("Resource not found for the segment '{text}'.")))
}

/// `GET /users/{id}/manager`.
pub(super) async fn manager(call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = shown_manager(&asked, &permit, &near).await;
    answer::read(permit, shown).await
}

async fn shown_manager(call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let options = Options::read(&call.head, Some(ObjectKind::User))?;
    let user = start(ObjectKind::User, call, permit, near).await?;
    for id in ids(Way::Manager, user, permit, near).await? {
        if let Some((_, manager)) = objects::some_kind(id, permit, near).await? {
            return Ok(entity(&call.head, ObjectKind::User, options.select(manager)));
        }
    }
    Err(not_found("manager"))
}

/// `PUT /users/{id}/manager/$ref`.
pub(super) async fn set_manager(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_manager(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_manager(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let manager = reference(body, permit, near).await?;
    let found = objects::find(ObjectKind::User, call.head.params.get("id"), permit, near).await?;
    let user = found.value.id;
    if !matches!(objects::some_kind(manager, permit, near).await?, Some((ObjectKind::User, _))) {
        return Err(bad_request("A manager is a user.").at("@odata.id"));
    }
    let (mut above, mut steps) = (Some(manager), 0);
    while let Some(at) = above {
        steps += 1;
        if at == user || steps > MANAGERS_MAX {
            return Err(bad_request("A user is not above itself: the line of managers would not end.").at("@odata.id"));
        }
        above = links(Way::Manager, at, permit).await?.into_iter().next();
    }
    let mut batch = Batch::new().is(ObjectKind::User.table(), found.value.name(), found.version);
    for before in links(Way::Manager, user, permit).await? {
        batch = unlink(batch, Way::Manager, user, before);
    }
    // the user's row is written again: of two managers set at once, the second sees the first
    Ok(Change::none(link(batch, Way::Manager, user, manager).put(ObjectKind::User.table(), found.value.name(), &found.value)))
}

/// `DELETE /users/{id}/manager/$ref`.
pub(super) async fn remove_manager(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_manager(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_manager(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let user = objects::find(ObjectKind::User, call.head.params.get("id"), permit, near).await?.value.id;
    let before = links(Way::Manager, user, permit).await?;
    if before.is_empty() {
        return Err(not_found("manager"));
    }
    Ok(Change::none(before.into_iter().fold(Batch::new(), |batch, manager| unlink(batch, Way::Manager, user, manager))))
}

/// `POST …/{id}/owners/$ref`.
pub(super) async fn add_owner(kind: ObjectKind, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_owner(kind, &asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_owner(kind: ObjectKind, call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let owner = reference(body, permit, near).await?;
    let object = objects::find(kind, call.head.params.get("id"), permit, near).await?.value;
    if !matches!(objects::some_kind(owner, permit, near).await?, Some((ObjectKind::User | ObjectKind::ServicePrincipal, _))) {
        return Err(bad_request("An owner is a user or a service principal.").at("@odata.id"));
    }
    let before = links(Way::Owners, object.id, permit).await?;
    if before.contains(&owner) {
        return Err(bad_request("One or more added object references already exist for the following modified properties: 'owners'."));
    }
    if before.len() >= OWNERS_MAX {
        return Err(bad_request(format!("An object has at most {OWNERS_MAX} owners.")));
    }
    Ok(Change::none(link(Batch::new().exists(kind.table(), object.name()), Way::Owners, object.id, owner)))
}

/// `DELETE …/{id}/owners/{member}/$ref`.
pub(super) async fn remove_owner(kind: ObjectKind, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_owner(kind, &asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_owner(kind: ObjectKind, call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let object = objects::find(kind, call.head.params.get("id"), permit, near).await?.value.id;
    let id = call.head.params.get("member");
    let owner: ObjectId = id.parse().map_err(|_| not_found(id))?;
    if !links(Way::Owners, object, permit).await?.contains(&owner) {
        return Err(Error::new(Kind::NotFound, "Request_ResourceNotFound", format!("'{owner}' is not an owner of the object.")));
    }
    Ok(Change::none(unlink(Batch::new(), Way::Owners, object, owner)))
}

/// `{"@odata.id": "https://…/directoryObjects/{id}"}`: an object of the permit's tenant that exists.
pub(super) async fn reference(body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<ObjectId> {
    let sent = read_json(body).await?;
    let reference = sent
        .get("@odata.id")
        .and_then(Value::as_str)
        .ok_or_else(|| bad_request("A value is required for property '@odata.id' of the resource.").at("@odata.id"))?;
    let object = id_of(reference).ok_or_else(|| bad_request("Invalid object identifier.").at("@odata.id"))?;
    let tenant = tenant_of(permit)?;
    match near.facts(|f| f.principal(object).is_some_and(|p| p.tenant == tenant)) {
        true => Ok(object),
        false => Err(not_found(&object.to_string())),
    }
}

/// The id at the end of `https://…/directoryObjects/{id}`.
pub(super) fn id_of(reference: &str) -> Option<ObjectId> {
    reference.rsplit('/').next()?.parse().ok()
}

/// `POST …/checkMemberObjects` with `{"ids": […]}`.
pub(super) async fn check_objects(kind: ObjectKind, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let found = among(kind, "ids", &asked, body, &permit, &near).await;
    answer::read(permit, found).await
}

/// `POST …/checkMemberGroups` with `{"groupIds": […]}`: which of these groups it is in, nested ones included.
pub(super) async fn check_groups(kind: ObjectKind, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let found = among(kind, "groupIds", &asked, body, &permit, &near).await;
    answer::read(permit, found).await
}

async fn among(kind: ObjectKind, name: &'static str, call: &Asked, body: Body, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let sent = read_json(body).await?;
    let wanted = sent
        .get(name)
        .and_then(Value::as_array)
        .ok_or_else(|| bad_request(format!("A value is required for parameter '{name}'.")).at(name))?;
    if wanted.len() > EXPANDED_MAX {
        return Err(bad_request(format!("At most {EXPANDED_MAX} ids can be asked for.")).at(name));
    }
    let wanted: BTreeSet<ObjectId> = wanted.iter().filter_map(|id| id.as_str()?.parse().ok()).collect();
    let of = start(kind, call, permit, near).await?;
    let groups = ids(Way::TransitiveMemberOf, of, permit, near).await?;
    Ok(texts(call, groups.intersection(&wanted)))
}

fn texts<'i>(call: &Asked, ids: impl Iterator<Item = &'i ObjectId>) -> Value {
    let ids: Vec<String> = ids.map(ObjectId::to_string).collect();
    with_context(format!("{}/$metadata#Collection(Edm.String)", home(&call.head)), json!({ "value": ids }))
}

/// `POST …/getMemberGroups`, `…/getMemberObjects`: every group it is in, nested ones included.
pub(super) async fn all_groups(kind: ObjectKind, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let found = every_group(kind, &asked, &permit, &near).await;
    answer::read(permit, found).await
}

async fn every_group(kind: ObjectKind, call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let of = start(kind, call, permit, near).await?;
    Ok(texts(call, ids(Way::TransitiveMemberOf, of, permit, near).await?.iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_end_with_an_id() {
        let id = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
        assert_eq!(id_of(&format!("https://graph.bleu.localhost/v1.0/directoryObjects/{id}")).unwrap().to_string(), id);
        assert_eq!(id_of("https://graph/v1.0/directoryObjects/"), None);
    }

    #[test]
    fn every_way_leads_back() {
        for way in [
            Way::Members,
            Way::TransitiveMembers,
            Way::MemberOf,
            Way::TransitiveMemberOf,
            Way::Owners,
            Way::OwnedObjects,
            Way::Manager,
            Way::DirectReports,
        ] {
            assert_eq!(way.back().back(), way);
        }
        assert_eq!(Way::named(ObjectKind::Group, "members"), Some(Way::Members));
        assert_eq!(Way::named(ObjectKind::User, "members"), None);
    }
}
