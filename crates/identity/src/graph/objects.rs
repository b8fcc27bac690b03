//! Reading the directory: lists with `$filter`, `$select`, `$top` and pages; single objects; objects by their ids.

use super::answer::{self, Asked, entity, home, with_context};
use super::{bad_request, body, not_found};
use crate::directory::{APPLICATIONS, Object, ObjectKind, find_user, row_name, tenant_of};
use base::{Error, ObjectId, Result};
use serde_json::{Map, Value, json};
use service::{Call, Head, Neighbours, Query, Reply};
use std::sync::Arc;
use trust::{Access, Found, Permit, PrincipalKind, Read, Span};
use wire::odata::Filter;

const TOP_DEFAULT: usize = 100;
const TOP_MAX: usize = 999;
/// Rows read at once while looking for those that fit.
const SCAN: usize = 500;
const IDS_MAX: usize = 1000;

/// The options of a list (OData 4.01 URL conventions, section 5).
#[derive(Debug, Default)]
pub(super) struct Options {
    filter: Option<Filter>,
    select: Vec<String>,
    top: usize,
    from: Option<ObjectId>,
}

impl Options {
    /// Errors: `Request_BadRequest` for a malformed option, `NotImplemented` for one we do not have.
    pub(super) fn read(query: &Query) -> Result<Options> {
        let mut options = Options { top: TOP_DEFAULT, ..Options::default() };
        for (name, value) in &query.0 {
            match name.as_str() {
                "$filter" => options.filter = Some(Filter::parse(value)?),
                "$select" => options.select = value.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).take(100).collect(),
                "$top" => {
                    let top = value.parse().ok().filter(|top| (1..=TOP_MAX).contains(top));
                    options.top = top.ok_or_else(|| {
                        bad_request(format!("Invalid page size specified: '{value}'. Must be between 1 and {TOP_MAX} inclusive."))
                            .at("$top")
                    })?;
                }
                "$skiptoken" => {
                    options.from = Some(value.parse().map_err(|_| bad_request("The skip token is not valid.").at("$skiptoken"))?)
                }
                // the count of a page says nothing that the page does not
                "$count" => {}
                other if other.starts_with('$') => {
                    return Err(Error::not_implemented(format!("The query option '{other}'")).at(other.to_owned()));
                }
                _ => {}
            }
        }
        Ok(options)
    }

    pub(super) fn fits(&self, object: &Value) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.fits(object))
    }

    pub(super) fn select(&self, object: Value) -> Value {
        match object {
            Value::Object(map) if !self.select.is_empty() => {
                let wanted = |name: &str| name == "id" || name.starts_with("@odata.") || self.select.iter().any(|s| s == name);
                Value::Object(map.into_iter().filter(|(name, _)| wanted(name)).collect())
            }
            other => other,
        }
    }

    /// The address of the page that begins at `next`.
    fn next_link(&self, head: &Head, next: &str) -> String {
        let mut pairs: Vec<String> = head
            .query
            .0
            .iter()
            .filter(|(n, _)| n != "$skiptoken")
            .map(|(n, v)| format!("{}={}", wire::percent_encode(n, b"$"), wire::percent_encode(v, b"")))
            .collect();
        pairs.push(format!("$skiptoken={next}"));
        format!("{}{}?{}", home(head).trim_end_matches("/v1.0"), head.raw_path, pairs.join("&"))
    }
}

/// `GET /users` and its kin.
pub(super) async fn list(kind: ObjectKind, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let page = page(kind, &call.head, &permit).await;
    answer::read(permit, page).await
}

async fn page(kind: ObjectKind, head: &Head, permit: &Permit<Read>) -> Result<Value> {
    let options = Options::read(&head.query)?;
    let mut span = options.from.map_or_else(Span::all, |id| Span::all().from(row_name(id)));
    let mut found = Vec::new();
    let mut next = None;
    'pages: loop {
        let rows = permit.data().scan::<Object>(kind.table(), span, SCAN).await?;
        for (name, row) in rows.rows {
            let shown = row.value.show(kind)?;
            if !options.fits(&shown) {
                continue;
            }
            if found.len() == options.top {
                next = String::from_utf8(name).ok();
                break 'pages;
            }
            found.push(options.select(shown));
        }
        match rows.next {
            Some(from) => span = Span::all().from(from),
            None => break,
        }
    }
    let mut answer = Map::new();
    answer.insert("@odata.context".into(), format!("{}/$metadata#{}", home(head), kind.collection()).into());
    if let Some(next) = next {
        answer.insert("@odata.nextLink".into(), options.next_link(head, &next).into());
    }
    answer.insert("value".into(), found.into());
    Ok(Value::Object(answer))
}

/// `GET /users/{id}` and its kin; users by name too.
pub(super) async fn get(kind: ObjectKind, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let found = one(kind, &asked, &permit, &near).await;
    answer::read(permit, found).await
}

async fn one(kind: ObjectKind, call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let options = Options::read(&call.head.query)?;
    let found = find(kind, call.head.params.get("id"), permit, near).await?;
    Ok(entity(&call.head, kind, options.select(found.value.show(kind)?)))
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
    let options = Options::read(&call.head.query)?;
    let found = find(ObjectKind::User, &me.object.to_string(), permit, near).await?;
    Ok(entity(&call.head, ObjectKind::User, options.select(found.value.show(ObjectKind::User)?)))
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
pub(super) async fn some_kind(object: ObjectId, permit: &Permit<Read>, near: &Neighbours) -> Result<Option<(ObjectKind, Value)>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn options(raw: &str) -> Result<Options> {
        Options::read(&Query::parse(raw).unwrap())
    }

    #[test]
    fn options_are_strict() {
        let good = options("$filter=displayName%20eq%20'x'&$select=id,displayName&$top=5&api-version=1&$count=true").unwrap();
        assert_eq!((good.top, good.select.len()), (5, 2));
        for bad in ["$top=0", "$top=1000", "$top=x", "$filter=x", "$skiptoken=..", "$search=x", "$expand=members", "$orderby=x"] {
            assert!(options(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_follow_each_other_under_the_same_question() {
        let mut head = crate::dialect::tests::head();
        head.host = "graph.bleu.localhost".into();
        head.raw_path = "/v1.0/users".into();
        head.query = Query::parse("$filter=a%20eq%20'b%26'&$skiptoken=x").unwrap();
        assert_eq!(
            Options::default().next_link(&head, "00"),
            "https://graph.bleu.localhost:8443/v1.0/users?$filter=a%20eq%20%27b%26%27&$skiptoken=00"
        );
    }

    #[test]
    fn select_keeps_what_names_the_object() {
        let selected = options("$select=displayName").unwrap().select(json!({"@odata.type": "t", "id": 1, "displayName": 2, "mail": 3}));
        assert_eq!(selected, json!({"@odata.type": "t", "id": 1, "displayName": 2}));
    }
}
