//! Policy definitions and initiatives (Microsoft.Authorization/policyDefinitions, policySetDefinitions), read once,
//! strictly: what is not understood is refused, never ignored.

use crate::condition::{CONDITIONS_MAX, Condition, Reader, Where};
use crate::expression::{Fault, Operand};
use crate::subject::Aliases;
use base::{Error, Result};
use serde_json::{Map, Value};

/// Bytes of a definition as JSON.
pub const BYTES_MAX: usize = 262_144;
const PARAMETERS_MAX: usize = 40;
const SET_PARAMETERS_MAX: usize = 400;
const MEMBERS_MAX: usize = 1_000;

/// What happens where the condition holds (Azure Policy, "effects").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Disabled,
    Append,
    Modify,
    Deny,
    DenyAction,
    Audit,
    AuditIfNotExists,
    DeployIfNotExists,
    Manual,
}

impl Effect {
    pub const ALL: [(&'static str, Effect); 9] = [
        ("disabled", Effect::Disabled),
        ("append", Effect::Append),
        ("modify", Effect::Modify),
        ("deny", Effect::Deny),
        ("denyAction", Effect::DenyAction),
        ("audit", Effect::Audit),
        ("auditIfNotExists", Effect::AuditIfNotExists),
        ("deployIfNotExists", Effect::DeployIfNotExists),
        ("manual", Effect::Manual),
    ];
    pub fn read(text: &str) -> Option<Effect> {
        Effect::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, e)| *e)
    }
    pub fn name(self) -> &'static str {
        Effect::ALL.iter().find(|(_, e)| *e == self).map_or("", |(name, _)| name)
    }
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything.
    All,
    /// What has a location and tags.
    Indexed,
    /// A provider's own data: nothing of this region.
    Other,
}

/// A parameter of a definition or initiative.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub kind: String,
    pub default: Option<Value>,
    pub allowed: Option<Vec<Value>>,
}

pub type Parameters = Vec<(String, Parameter)>;

#[derive(Clone, Debug)]
pub struct Definition {
    pub mode: Mode,
    pub parameters: Parameters,
    pub condition: Condition,
    pub effect: Operand,
    pub append: Vec<(Where, Operand)>,
    pub operations: Vec<Modification>,
    /// Where two modifications disagree: true for `deny`.
    pub conflict_denies: bool,
    pub existence: Option<Existence>,
    /// `denyAction`: `delete`.
    pub denied_actions: Vec<String>,
    /// `denyAction`: what it protects goes with its resource group all the same (`cascadeBehaviors`).
    pub goes_with_its_group: bool,
}

#[derive(Clone, Debug)]
pub struct Modification {
    pub kind: Modify,
    pub field: Where,
    pub value: Option<Operand>,
    pub condition: Option<Operand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modify {
    Add,
    AddOrReplace,
    Remove,
}

/// What must be there beside the resource, for the two `…IfNotExists` effects.
#[derive(Clone, Debug)]
pub struct Existence {
    pub kind: String,
    pub name: Option<Operand>,
    pub condition: Option<Condition>,
    /// `existenceScope: subscription`.
    pub anywhere: bool,
}

/// One policy of an initiative.
#[derive(Clone, Debug)]
pub struct Member {
    pub definition: String,
    pub reference: String,
    pub parameters: Vec<(String, Operand)>,
}

#[derive(Clone, Debug)]
pub struct Set {
    pub parameters: Parameters,
    pub members: Vec<Member>,
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::invalid("InvalidPolicyRule", format!("The policy definition rule is invalid: {why}."))
}
fn wrong_set(why: impl std::fmt::Display) -> Error {
    Error::invalid("InvalidPolicySetDefinitionRequest", format!("The policy set definition request is invalid: {why}."))
}
fn wrong_parameters(why: impl std::fmt::Display) -> Error {
    Error::invalid("InvalidPolicyParameters", format!("The policy parameters are invalid: {why}."))
}

fn member<'v>(map: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    map.get(name).or_else(|| map.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v)).filter(|v| !v.is_null())
}

/// Names that a map may hold. Error, in words: another one.
fn only(map: &Map<String, Value>, names: &[&str], of: &str) -> Result<(), Fault> {
    match map.keys().find(|k| !names.iter().any(|n| n.eq_ignore_ascii_case(k))) {
        Some(other) => Err(format!("could not find member '{other}' on object of type '{of}'")),
        None => Ok(()),
    }
}

/// How deep a JSON value goes, up to `limit`.
fn depth_within(value: &Value, limit: usize) -> bool {
    if limit == 0 {
        return false;
    }
    match value {
        Value::Array(items) => items.iter().all(|i| depth_within(i, limit - 1)),
        Value::Object(map) => map.values().all(|v| depth_within(v, limit - 1)),
        _ => true,
    }
}

/// The parameters of a definition. Error `InvalidPolicyParameters`.
pub fn parameters(value: Option<&Value>, most: usize) -> Result<Parameters> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let map = value.as_object().ok_or_else(|| wrong_parameters("they are not an object"))?;
    if map.len() > most {
        return Err(wrong_parameters(format!("there are more than {most}")));
    }
    let mut found: Parameters = Vec::new();
    for (name, about) in map {
        let about = about.as_object().ok_or_else(|| wrong_parameters(format!("'{name}' is not an object")))?;
        only(about, &["type", "metadata", "defaultValue", "allowedValues", "schema"], "ParameterDefinition").map_err(wrong_parameters)?;
        let kind = member(about, "type").and_then(Value::as_str).unwrap_or("").to_lowercase();
        if !["string", "array", "object", "boolean", "integer", "float", "datetime"].contains(&kind.as_str()) {
            return Err(wrong_parameters(format!(
                "the type of '{name}' is none of String, Array, Object, Boolean, Integer, Float, DateTime"
            )));
        }
        let allowed = match member(about, "allowedValues") {
            None => None,
            Some(Value::Array(items)) => Some(items.clone()),
            Some(_) => return Err(wrong_parameters(format!("the allowed values of '{name}' are not an array"))),
        };
        let parameter = Parameter { kind, default: member(about, "defaultValue").cloned(), allowed };
        if let Some(default) = &parameter.default {
            fits(name, &parameter, default)?;
        }
        if found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(wrong_parameters(format!("'{name}' is there twice")));
        }
        found.push((name.clone(), parameter));
    }
    Ok(found)
}

fn fits(name: &str, parameter: &Parameter, value: &Value) -> Result<()> {
    let right = match parameter.kind.as_str() {
        "string" => value.is_string(),
        "datetime" => value.as_str().is_some_and(|t| crate::expression::date(t).is_some()),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => value.is_number(),
    };
    if !right {
        return Err(Error::invalid(
            "InvalidPolicyParameterType",
            format!("The value of the policy parameter '{name}' is not of the type '{}'.", parameter.kind),
        )
        .at(name.to_owned()));
    }
    let allowed = |v: &Value| parameter.allowed.as_ref().is_none_or(|a| a.iter().any(|a| crate::compare::equal(a, v)));
    let good = match value {
        Value::Array(items) if parameter.kind == "array" => items.iter().all(allowed),
        other => allowed(other),
    };
    if good {
        return Ok(());
    }
    Err(Error::invalid(
        "PolicyParameterValueNotAllowed",
        format!("The value '{value}' of the policy parameter '{name}' is not one of the allowed values."),
    )
    .at(name.to_owned()))
}

/// The values of an assignment's parameters (`{"name": {"value": …}}`) over the defaults. `what` is the assignment, `of`
/// the definition, for the words of an error: `UndefinedPolicyParameter`, `MissingPolicyParameter`…
pub fn arguments(declared: &Parameters, given: Option<&Value>, what: &str, of: &str) -> Result<Map<String, Value>> {
    let empty = Map::new();
    let given = match given {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(map)) => map,
        Some(_) => return Err(wrong_parameters("they are not an object")),
    };
    let mut values = Map::new();
    for (name, value) in given {
        let value = value.get("value").ok_or_else(|| wrong_parameters(format!("'{name}' has no 'value'")))?;
        values.insert(name.clone(), value.clone());
    }
    merged(declared, &values, what, of)
}

/// As [`arguments`], of plain values.
pub fn merged(declared: &Parameters, given: &Map<String, Value>, what: &str, of: &str) -> Result<Map<String, Value>> {
    let undefined: Vec<&str> =
        given.keys().filter(|k| !declared.iter().any(|(n, _)| n.eq_ignore_ascii_case(k))).map(String::as_str).collect();
    if !undefined.is_empty() {
        return Err(Error::invalid(
            "UndefinedPolicyParameter",
            format!(
                "The policy assignment '{what}' is attempting to assign the parameter(s) '{}' which are not defined in the policy definition '{of}'. Please either remove these parameters from the assignment or update the policy definition to include these parameters.",
                undefined.join(",")
            ),
        ));
    }
    let (mut values, mut missing) = (Map::new(), Vec::new());
    for (name, parameter) in declared {
        let given = given.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        match given.or(parameter.default.as_ref()) {
            Some(value) => {
                fits(name, parameter, value)?;
                values.insert(name.clone(), value.clone());
            }
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(values);
    }
    Err(Error::invalid(
        "MissingPolicyParameter",
        format!(
            "The policy assignment '{what}' is missing the parameter(s) '{}' as defined in the policy definition '{of}'. Please define these parameters in the policy assignment.",
            missing.join(",")
        ),
    ))
}

impl Definition {
    /// Reads the `properties` of a definition. Errors `InvalidPolicyRule`, `InvalidPolicyParameters`.
    pub fn read(properties: &Value, aliases: &dyn Aliases) -> Result<Definition> {
        let map = properties.as_object().ok_or_else(|| wrong("the properties are not an object"))?;
        if !depth_within(properties, 48) {
            return Err(wrong("it is nested too deeply"));
        }
        let mode = match member(map, "mode").map(|m| m.as_str().unwrap_or("").to_lowercase()) {
            None => Mode::Indexed,
            Some(m) if m == "indexed" || m == "notspecified" => Mode::Indexed,
            Some(m) if m == "all" => Mode::All,
            Some(m) if m.starts_with("microsoft.") => Mode::Other,
            Some(m) => return Err(wrong(format!("the mode '{m}' is none of 'All', 'Indexed' and the resource providers'"))),
        };
        let parameters = parameters(member(map, "parameters"), PARAMETERS_MAX)?;
        let rule = member(map, "policyRule").and_then(Value::as_object).ok_or_else(|| wrong("there is no 'policyRule'"))?;
        only(rule, &["if", "then"], "PolicyRule").map_err(wrong)?;
        let names = parameters.iter().map(|(n, _)| n.to_lowercase()).collect();
        let mut reader = Reader { aliases, left: CONDITIONS_MAX, parameters: names };
        let condition = reader.condition(member(rule, "if").ok_or_else(|| wrong("there is no 'if'"))?, 0).map_err(wrong)?;
        let then = member(rule, "then").and_then(Value::as_object).ok_or_else(|| wrong("there is no 'then'"))?;
        only(then, &["effect", "details"], "PolicyRuleThen").map_err(wrong)?;
        let effect = reader.operand(member(then, "effect").ok_or_else(|| wrong("there is no 'effect'"))?).map_err(wrong)?;
        let known = match &effect {
            Operand::Fixed(Value::String(text)) => {
                Some(Effect::read(text).ok_or_else(|| wrong(format!("the effect '{text}' is not known")))?)
            }
            Operand::Fixed(_) => return Err(wrong("the effect is not a string")),
            _ => None,
        };
        let mut found = Definition {
            mode,
            parameters,
            condition,
            effect,
            append: Vec::new(),
            operations: Vec::new(),
            conflict_denies: true,
            existence: None,
            denied_actions: Vec::new(),
            goes_with_its_group: false,
        };
        if let Some(details) = member(then, "details") {
            found.details(details, &mut reader).map_err(wrong)?;
        }
        found.complete(known)?;
        Ok(found)
    }

    fn details(&mut self, details: &Value, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let map = match details {
            Value::Array(items) => {
                for item in items {
                    let item = item.as_object().ok_or("an element of 'details' is not an object")?;
                    only(item, &["field", "value"], "AppendDetails")?;
                    let field = reader.field(member(item, "field").ok_or("an element of 'details' has no 'field'")?)?;
                    let value = item.get("value").ok_or("an element of 'details' has no 'value'")?;
                    self.append.push((field, reader.operand(value)?));
                }
                return Ok(());
            }
            Value::Object(map) => map,
            _ => return Err("'details' is neither an array nor an object".into()),
        };
        let known = [
            "operations",
            "conflictEffect",
            "roleDefinitionIds",
            "type",
            "name",
            "kind",
            "resourceGroupName",
            "existenceScope",
            "existenceCondition",
            "deployment",
            "deploymentScope",
            "evaluationDelay",
            "actionNames",
            "cascadeBehaviors",
            "defaultState",
        ];
        only(map, &known, "PolicyEffectDetails")?;
        for operation in
            member(map, "operations").map_or(Ok(&[][..]), |o| o.as_array().map(Vec::as_slice).ok_or("'operations' is not an array"))?
        {
            self.operations.push(modification(operation, reader)?);
        }
        if let Some(conflict) = member(map, "conflictEffect").and_then(Value::as_str) {
            self.conflict_denies = match conflict.to_lowercase().as_str() {
                "deny" => true,
                "audit" | "disabled" => false,
                other => return Err(format!("the conflict effect '{other}' is not known")),
            };
        }
        if let Some(actions) = member(map, "actionNames") {
            let actions = actions.as_array().ok_or("'actionNames' is not an array")?;
            self.denied_actions = actions.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
            if self.denied_actions.len() != actions.len() || self.denied_actions.iter().any(|a| a != "delete") {
                return Err("'denyAction' knows the action 'delete' only".into());
            }
        }
        if let Some(behaviours) = member(map, "cascadeBehaviors") {
            let of_group = behaviours.as_object().and_then(|b| member(b, "resourceGroup")).map_or(Some("deny"), Value::as_str);
            self.goes_with_its_group = match of_group.unwrap_or("").to_lowercase().as_str() {
                "deny" => false,
                "allow" => true,
                _ => return Err("'cascadeBehaviors' gives 'resourceGroup' one of 'allow' and 'deny'".into()),
            };
        }
        if let Some(kind) = member(map, "type") {
            let condition = member(map, "existenceCondition").map(|c| reader.condition(c, 0)).transpose()?;
            self.existence = Some(Existence {
                kind: kind.as_str().ok_or("the 'type' of 'details' is not a string")?.to_owned(),
                name: member(map, "name").map(|n| reader.operand(n)).transpose()?,
                condition,
                anywhere: member(map, "existenceScope").and_then(Value::as_str).is_some_and(|s| s.eq_ignore_ascii_case("subscription")),
            });
        }
        Ok(())
    }

    /// A fixed effect has the details it needs.
    fn complete(&self, effect: Option<Effect>) -> Result<()> {
        match effect {
            Some(Effect::Append) if self.append.is_empty() => Err(wrong("'append' needs details: an array of field and value")),
            Some(Effect::Modify) if self.operations.is_empty() => Err(wrong("'modify' needs details with operations")),
            Some(e @ (Effect::AuditIfNotExists | Effect::DeployIfNotExists)) if self.existence.is_none() => {
                Err(wrong(format!("'{}' needs details with a type", e.name())))
            }
            Some(Effect::DenyAction) if self.denied_actions.is_empty() => Err(wrong("'denyAction' needs details with actionNames")),
            _ => Ok(()),
        }
    }
}

fn modification(value: &Value, reader: &mut Reader<'_>) -> Result<Modification, Fault> {
    let map = value.as_object().ok_or("an operation is not an object")?;
    only(map, &["operation", "field", "value", "condition"], "ModifyOperation")?;
    let kind = match member(map, "operation").and_then(Value::as_str).unwrap_or("").to_lowercase().as_str() {
        "add" => Modify::Add,
        "addorreplace" => Modify::AddOrReplace,
        "remove" => Modify::Remove,
        other => return Err(format!("the operation '{other}' is none of add, addOrReplace, remove")),
    };
    let field = reader.field(member(map, "field").ok_or("an operation has no 'field'")?)?;
    let value = map.get("value").map(|v| reader.operand(v)).transpose()?;
    if (kind == Modify::Remove) == value.is_some() {
        return Err("an operation but 'remove' has a 'value'".into());
    }
    let condition = member(map, "condition").map(|c| reader.operand(c)).transpose()?;
    Ok(Modification { kind, field, value, condition })
}

impl Set {
    /// Reads the `properties` of an initiative. Errors `InvalidPolicySetDefinitionRequest`, `InvalidPolicyParameters`.
    pub fn read(properties: &Value) -> Result<Set> {
        let map = properties.as_object().ok_or_else(|| wrong_set("the properties are not an object"))?;
        if !depth_within(properties, 48) {
            return Err(wrong_set("it is nested too deeply"));
        }
        let parameters = parameters(member(map, "parameters"), SET_PARAMETERS_MAX)?;
        let items =
            member(map, "policyDefinitions").and_then(Value::as_array).ok_or_else(|| wrong_set("there are no 'policyDefinitions'"))?;
        if items.is_empty() || items.len() > MEMBERS_MAX {
            return Err(wrong_set(format!("it has between 1 and {MEMBERS_MAX} policies")));
        }
        let mut members: Vec<Member> = Vec::new();
        let none: Vec<String> = parameters.iter().map(|(n, _)| n.to_lowercase()).collect();
        struct NoAliases;
        impl Aliases for NoAliases {
            fn path(&self, _: &str) -> Option<String> {
                None
            }
            fn serves(&self, _: &str) -> bool {
                true
            }
        }
        let reader = Reader { aliases: &NoAliases, left: 0, parameters: none };
        for (i, item) in items.iter().enumerate() {
            let item = item.as_object().ok_or_else(|| wrong_set("a policy is not an object"))?;
            let known = [
                "policyDefinitionId",
                "policyDefinitionReferenceId",
                "parameters",
                "groupNames",
                "definitionVersion",
                "latestDefinitionVersion",
                "effectiveDefinitionVersion",
            ];
            only(item, &known, "PolicyDefinitionReference").map_err(wrong_set)?;
            let definition = member(item, "policyDefinitionId")
                .and_then(Value::as_str)
                .ok_or_else(|| wrong_set("a policy has no 'policyDefinitionId'"))?;
            // Azure numbers what has no name
            let reference = member(item, "policyDefinitionReferenceId")
                .and_then(Value::as_str)
                .map_or_else(|| format!("{}_{}", definition.rsplit('/').next().unwrap_or(""), i + 1), str::to_owned);
            if members.iter().any(|m| m.reference.eq_ignore_ascii_case(&reference)) {
                return Err(wrong_set(format!("the reference '{reference}' is there twice")));
            }
            let mut values = Vec::new();
            if let Some(given) = member(item, "parameters") {
                for (name, value) in given.as_object().ok_or_else(|| wrong_set("the parameters are not an object"))? {
                    let value = value.get("value").ok_or_else(|| wrong_set(format!("the parameter '{name}' has no 'value'")))?;
                    values.push((name.clone(), reader.operand(value).map_err(wrong_set)?));
                }
            }
            members.push(Member { definition: definition.to_owned(), reference, parameters: values });
        }
        Ok(Set { parameters, members })
    }
}
