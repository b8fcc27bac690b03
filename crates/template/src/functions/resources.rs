//! Resources, scopes and the deployment: ids, and what only the region knows.

use super::Arguments;
use crate::evaluate::{Eval, Place};
use crate::expression::Expression;
use crate::host::Question;
use crate::plan::Target;
use crate::words::{Got, type_of, wrong};
use serde_json::{Value, json};

fn text(eval: &mut Eval, name: &str, argument: &Expression) -> Got<String> {
    match eval.expression(argument)? {
        Value::String(text) => Ok(text),
        other => wrong(format!(
            "The template language function '{name}' expects its parameters to be texts. The provided value is of type '{}'. Please see https://aka.ms/arm-functions for usage details",
            type_of(&other)
        )),
    }
}

pub(super) fn parameters(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let name = text(eval, name, &arguments[0])?;
    eval.parameter(&name)
}
pub(super) fn variables(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let name = text(eval, name, &arguments[0])?;
    eval.variable(&name)
}

/// `copyIndex([loop], [offset])`. Without a name: of the resource, else of the innermost loop.
pub(super) fn copy_index(eval: &mut Eval, _: &str, arguments: &[Expression]) -> Got {
    let mut values = eval.all(arguments)?.into_iter();
    let (mut name, mut offset) = (None, 0);
    match values.next() {
        Some(Value::String(text)) => name = Some(text),
        Some(Value::Number(n)) if values.len() == 0 => offset = n.as_i64().unwrap_or(0),
        Some(_) => return wrong("The function 'copyIndex' expects the name of a loop, an offset, or both"),
        None => {}
    }
    match values.next() {
        Some(Value::Number(n)) => offset = n.as_i64().unwrap_or(0),
        Some(_) => return wrong("The offset of 'copyIndex' must be a whole number"),
        None => {}
    }
    let found = match &name {
        Some(name) => eval.loops.iter().rev().find(|l| l.name.eq_ignore_ascii_case(name)),
        None => eval.loops.iter().rev().find(|l| l.of_resource).or(eval.loops.last()),
    };
    match found.and_then(|l| l.index.checked_add(offset)) {
        Some(index) => Ok(Value::from(index)),
        None => wrong(
            "The template function 'copyIndex' is not expected at this location. The function can only be used in a resource with copy specified, or with the name of a loop that it is in. Please see https://aka.ms/arm-copy for usage details",
        ),
    }
}

pub(super) fn subscription(eval: &mut Eval, _: &str, _: &[Expression]) -> Got {
    eval.ask(Question::Subscription)
}
pub(super) fn resource_group(eval: &mut Eval, name: &str, _: &[Expression]) -> Got {
    if !eval.context.scope.to_ascii_lowercase().contains("/resourcegroups/") {
        return wrong(format!(
            "The template function '{name}' is not expected at this location: the deployment is not at the scope of a resource group. Please see https://aka.ms/arm-functions for usage details"
        ));
    }
    eval.ask(Question::ResourceGroup)
}
pub(super) fn tenant(eval: &mut Eval, _: &str, _: &[Expression]) -> Got {
    eval.ask(Question::Tenant)
}
pub(super) fn management_group(eval: &mut Eval, _: &str, _: &[Expression]) -> Got {
    eval.ask(Question::ManagementGroup)
}
pub(super) fn deployment(eval: &mut Eval, _: &str, _: &[Expression]) -> Got {
    eval.ask(Question::Deployment)
}
pub(super) fn deployer(eval: &mut Eval, _: &str, _: &[Expression]) -> Got {
    eval.ask(Question::Deployer)
}
pub(super) fn environment(eval: &mut Eval, _: &str, _: &[Expression]) -> Got {
    eval.ask(Question::Environment)
}

pub(super) fn providers(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let namespace = text(eval, name, &arguments[0])?;
    let kind = arguments.get(1).map(|a| text(eval, name, a)).transpose()?;
    eval.ask(Question::Providers { namespace, kind })
}
pub(super) fn pick_zones(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let namespace = text(eval, name, &arguments[0])?;
    let kind = text(eval, name, &arguments[1])?;
    let location = text(eval, name, &arguments[2])?;
    let mut number = |at: usize, without: i64| match arguments.get(at).map(|a| eval.expression(a)).transpose()? {
        None => Ok(without),
        Some(value) => value.as_i64().map_or_else(|| wrong("The numbers of 'pickZones' must be whole"), Ok),
    };
    let (count, offset) = (number(3, 1)?, number(4, 0)?);
    eval.ask(Question::PickZones { namespace, kind, location, count, offset })
}
pub(super) fn to_zones(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let subscription = text(eval, name, &arguments[0])?;
    let location = text(eval, name, &arguments[1])?;
    let zones = eval.expression(&arguments[2])?;
    let plural = name.to_ascii_lowercase().ends_with('s');
    if zones.is_array() != plural {
        return wrong(format!(
            "The template language function '{name}' expects its third parameter to be {}",
            if plural { "an array" } else { "a text" }
        ));
    }
    let logical = name.to_ascii_lowercase().starts_with("tological");
    eval.ask(Question::Zones { logical, subscription, location, zones })
}

/// `type` with a name after each of its parts: `NS/a/b` and `[x, y]` make `NS/a/x/b/y`.
pub(crate) fn nested_name(kind: &str, names: &[&str]) -> Option<String> {
    let mut parts = kind.split('/');
    let mut out = parts.next().filter(|ns| !ns.is_empty())?.to_owned();
    let parts: Vec<&str> = parts.collect();
    if parts.is_empty() || parts.len() != names.len() || parts.iter().chain(names).any(|p| p.is_empty()) {
        return None;
    }
    for (part, name) in parts.iter().zip(names) {
        out = format!("{out}/{part}/{name}");
    }
    Some(out)
}

/// The id of a resource at a scope. `None`: the type has another number of parts than the name.
pub(crate) fn resource_id(scope: &str, kind: &str, names: &[&str]) -> Option<String> {
    let scope = scope.trim_end_matches('/');
    if let ("microsoft.resources/resourcegroups", [group]) = (kind.to_ascii_lowercase().as_str(), names)
        && scope.to_ascii_lowercase().starts_with("/subscriptions/")
        && !group.is_empty()
    {
        let subscription: Vec<&str> = scope.split('/').take(3).collect();
        return Some(format!("{}/resourceGroups/{group}", subscription.join("/")));
    }
    Some(format!("{scope}/providers/{}", nested_name(kind, names)?))
}

fn made(name: &str, scope: &str, kind: &str, names: &[&str]) -> Got {
    match resource_id(scope, kind, names) {
        Some(id) => Ok(Value::String(id)),
        None => wrong(format!(
            "Unable to evaluate template language function '{name}': the type '{kind}' requires '{}' resource name argument(s). Please see https://aka.ms/arm-functions for usage details",
            kind.split('/').count().saturating_sub(1)
        )),
    }
}

fn texts(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got<Vec<String>> {
    eval.all(arguments)?
        .into_iter()
        .map(|value| match value {
            Value::String(text) => Ok(text),
            other => wrong(format!(
                "The template language function '{name}' expects its parameters to be texts. The provided value is of type '{}'. Please see https://aka.ms/arm-functions for usage details",
                type_of(&other)
            )),
        })
        .collect()
}

/// The subscription of a scope: `/subscriptions/{id}`.
fn subscription_of(scope: &str) -> Option<String> {
    let mut parts = scope.split('/').skip(1);
    (parts.next()?.eq_ignore_ascii_case("subscriptions")).then(|| parts.next().map(|id| format!("/subscriptions/{id}")))?
}
fn group_of(scope: &str) -> Option<&str> {
    let parts: Vec<&str> = scope.split('/').collect();
    (parts.len() >= 5 && parts[3].eq_ignore_ascii_case("resourceGroups")).then(|| parts[4])
}

/// `resourceId([subscriptionId], [resourceGroupName], type, name…)`.
pub(super) fn resource_id_function(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let all = texts(eval, name, arguments)?;
    let Some(at) = all.iter().take(3).position(|t| t.contains('/')) else {
        return wrong(format!(
            "Unable to evaluate template language function '{name}': function requires fully qualified resource type 'Microsoft.…/…' as one of its first three parameters. Please see https://aka.ms/arm-functions for usage details"
        ));
    };
    let own = &eval.context.scope;
    let own_group = group_of(own).map(str::to_owned);
    let (subscription, group) = match &all[..at] {
        [] => (None, own_group),
        [one] if one.len() == 36 && one.matches('-').count() == 4 => (Some(one.clone()), own_group),
        [group] => (None, Some(group.clone())),
        [subscription, group, ..] => (Some(subscription.clone()), Some(group.clone())),
    };
    let subscription = subscription.map(|s| format!("/subscriptions/{s}")).or_else(|| subscription_of(own));
    let scope = match (subscription, group) {
        (Some(subscription), Some(group)) => format!("{subscription}/resourceGroups/{group}"),
        (Some(subscription), None) => subscription,
        (None, _) => String::new(),
    };
    let names: Vec<&str> = all[at + 1..].iter().map(String::as_str).collect();
    made(name, &scope, &all[at], &names)
}

pub(super) fn subscription_resource_id(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let all = texts(eval, name, arguments)?;
    let at = usize::from(!all[0].contains('/'));
    let subscription = if at == 1 { Some(format!("/subscriptions/{}", all[0])) } else { subscription_of(&eval.context.scope) };
    let (Some(subscription), Some(kind)) = (subscription, all.get(at)) else {
        return wrong(format!(
            "Unable to evaluate template language function '{name}': the deployment is not in a subscription. Please see https://aka.ms/arm-functions for usage details"
        ));
    };
    let names: Vec<&str> = all[at + 1..].iter().map(String::as_str).collect();
    made(name, &subscription, kind, &names)
}

pub(super) fn tenant_resource_id(a: &mut Arguments) -> Got {
    let all = (0..a.len()).map(|at| a.text(at)).collect::<Got<Vec<&str>>>()?;
    made(a.function, "", all[0], &all[1..])
}

/// `extensionResourceId(id, type, name…)`.
pub(super) fn extension_resource_id(a: &mut Arguments) -> Got {
    let all = (0..a.len()).map(|at| a.text(at)).collect::<Got<Vec<&str>>>()?;
    made(a.function, all[0], all[1], &all[2..])
}

/// `managementGroupResourceId([managementGroupId], type, name…)`.
pub(super) fn management_group_resource_id(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let all = texts(eval, name, arguments)?;
    let at = usize::from(!all[0].contains('/'));
    let group = if at == 1 {
        all[0].clone()
    } else {
        let own = eval.ask(Question::ManagementGroup)?;
        match own.get("name").and_then(Value::as_str) {
            Some(group) => group.to_owned(),
            None => {
                return wrong(format!(
                    "Unable to evaluate template language function '{name}': the deployment is not in a management group"
                ));
            }
        }
    };
    let Some(kind) = all.get(at) else { return wrong(format!("The template language function '{name}' expects a type")) };
    let names: Vec<&str> = all[at + 1..].iter().map(String::as_str).collect();
    made(name, &format!("/providers/Microsoft.Management/managementGroups/{group}"), kind, &names)
}

/// A resource that a runtime function is about: its id, and the API version that the template gives it.
fn about(eval: &Eval, function: &str, text: &str) -> Got<(String, Option<String>)> {
    if let Some(target) = eval.context.target(text) {
        return Ok((target.id.clone(), Some(target.api_version.clone())));
    }
    if text.starts_with('/') {
        return Ok((text.to_owned(), None));
    }
    if text.contains('/')
        && let Some((namespace, rest)) = text.split_once('/')
        && namespace.contains('.')
    {
        return Ok((format!("{}/providers/{namespace}/{rest}", eval.context.scope.trim_end_matches('/')), None));
    }
    let what = if function.eq_ignore_ascii_case("reference") { "reference".to_owned() } else { function.to_owned() };
    wrong(format!(
        "The template {what} '{text}' is not valid: could not find template resource or resource copy with this name. Please see https://aka.ms/arm-function-reference for usage details"
    ))
}

/// `reference(name or id, [apiVersion], ['Full'])`.
pub(super) fn reference(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    refuse_here(eval, name)?;
    let all = eval.all(arguments)?;
    let Some(text) = all[0].as_str() else {
        return wrong(
            "The template function 'reference' expects the name or the id of a resource. Please see https://aka.ms/arm-function-reference for usage details",
        );
    };
    let (id, of_template) = about(eval, name, text)?;
    let words: Vec<&str> = all[1..].iter().filter_map(Value::as_str).collect();
    let full = words.iter().any(|w| w.eq_ignore_ascii_case("full"));
    let given = words.iter().find(|w| !w.eq_ignore_ascii_case("full")).map(|v| (*v).to_owned());
    let Some(api_version) = given.or(of_template) else {
        return wrong(format!(
            "The template function 'reference' with resource '{id}' requires an API version, since the resource is not defined in the template. Please see https://aka.ms/arm-function-reference for usage details"
        ));
    };
    seen(eval, id, api_version, full)
}

fn seen(eval: &mut Eval, id: String, api_version: String, full: bool) -> Got {
    let mut body = eval.ask(Question::Reference { id: id.clone(), api_version: Some(api_version.clone()) })?;
    if !full {
        return Ok(body.get_mut("properties").map(Value::take).unwrap_or_else(|| json!({})));
    }
    let mut out = serde_json::Map::new();
    out.insert("apiVersion".to_owned(), json!(api_version));
    if let Value::Object(map) = body {
        out.extend(map.into_iter().filter(|(name, _)| !matches!(name.as_str(), "id" | "name" | "type")));
    }
    let parts: Vec<&str> = id.split('/').collect();
    if parts.len() > 2 && parts[1].eq_ignore_ascii_case("subscriptions") {
        out.insert("subscriptionId".to_owned(), json!(parts[2]));
    }
    if let Some(group) = group_of(&id) {
        out.insert("resourceGroupName".to_owned(), json!(group));
    }
    out.insert("resourceId".to_owned(), json!(id));
    Ok(Value::Object(out))
}

/// `references(symbolic name of a loop, ['Full'])`: one for each round.
pub(super) fn references(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    refuse_here(eval, name)?;
    let all = texts(eval, name, arguments)?;
    let members: Vec<(String, String)> = eval.context.members(&all[0]).map(|t| (t.id.clone(), t.api_version.clone())).collect();
    if members.is_empty() && !eval.context.loops.iter().any(|l| l.eq_ignore_ascii_case(&all[0])) {
        return wrong(format!("The template references '{}' is not valid: could not find a resource copy with this symbolic name", all[0]));
    }
    let full = all.get(1).is_some_and(|w| w.eq_ignore_ascii_case("full"));
    let mut out = Vec::new();
    let mut waits = false;
    for (id, version) in members {
        match seen(eval, id, version, full) {
            Ok(value) => out.push(value),
            Err(crate::words::Trouble::Waits) => waits = true,
            Err(other) => return Err(other),
        }
    }
    if waits { Err(crate::words::Trouble::Waits) } else { Ok(Value::Array(out)) }
}

/// `resourceInfo(symbolic name)`: what is known of it before it is there.
pub(super) fn resource_info(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    let symbol = text(eval, name, &arguments[0])?;
    match eval.context.target(&symbol) {
        Some(Target { id, name, kind, api_version, .. }) => Ok(json!({"id": id, "name": name, "type": kind, "apiVersion": api_version})),
        None => wrong(format!("The template resourceInfo '{symbol}' is not valid: could not find a resource with this symbolic name")),
    }
}

/// `listKeys(name or id, apiVersion, [body])` and every other `list…`.
pub(super) fn list(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    refuse_here(eval, name)?;
    let all = eval.all(arguments)?;
    let Some(text) = all[0].as_str() else {
        return wrong(format!("The template function '{name}' expects the name or the id of a resource"));
    };
    let (id, of_template) = about(eval, name, text)?;
    let Some(api_version) = all.get(1).and_then(Value::as_str).map(str::to_owned).or(of_template) else {
        return wrong(format!("The template function '{name}' requires an API version"));
    };
    eval.ask(Question::List { function: name.to_owned(), id, api_version, body: all.get(2).cloned() })
}

fn refuse_here(eval: &Eval, name: &str) -> Got<()> {
    if matches!(eval.place, Place::Planning | Place::Running) {
        return Ok(());
    }
    wrong(format!(
        "The template function '{name}' is not expected at this location. Please see https://aka.ms/arm-functions for usage details"
    ))
}
