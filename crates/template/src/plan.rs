//! From a template to a plan: resources with their loops unrolled, their ids, conditions and dependencies.

use crate::evaluate::{Eval, Place, find};
use crate::expression::{Expression, Key, Written, parse, written};
use crate::functions::{is_list, nested_name, resource_id};
use crate::graph;
use crate::host::{Host, Question};
use crate::lenient::Places;
use crate::meter::Meter;
use crate::parameters::{self, Kind};
use crate::words::{Got, Trouble, invalid, type_of, unparsed, wrong};
use base::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};

/// Azure's limits.
const PARAMETERS_MAX: usize = 256;
const VARIABLES_MAX: usize = 512;
const RESOURCES_MAX: usize = 800;
const OUTPUTS_MAX: usize = 256;
const CHILDREN_DEPTH_MAX: usize = 8;

const MEMBERS: [&str; 14] = [
    "$schema",
    "contentVersion",
    "languageVersion",
    "apiProfile",
    "metadata",
    "definitions",
    "parameters",
    "variables",
    "functions",
    "resources",
    "outputs",
    "imports",
    "extensions",
    "asserts",
];
/// What a resource of a template has besides its body.
const HEAD: [&str; 18] = [
    "type",
    "apiVersion",
    "name",
    "condition",
    "copy",
    "dependsOn",
    "scope",
    "resources",
    "comments",
    "metadata",
    "existing",
    "import",
    "extension",
    "asserts",
    "resourceGroup",
    "subscriptionId",
    "@options",
    "$schema",
];
const DEPLOYMENTS: &str = "Microsoft.Resources/deployments";

/// What to plan.
#[derive(Debug)]
pub struct Request<'a> {
    /// The id of the group, subscription or management group that the deployment is at; `/` for the tenant.
    pub scope: &'a str,
    pub template: &'a Value,
    /// Where the parts of the template stand, from [`crate::lenient`]; empty is fine.
    pub places: Places,
    /// As in a deployment's body: `{"name": {"value": …}}`.
    pub parameters: &'a Map<String, Value>,
    /// Secrets are replaced by stars, and not checked: for what is shown and never deployed.
    pub hide_secrets: bool,
}

/// One loop that a part of a template is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loop {
    pub name: String,
    pub index: i64,
    pub of_resource: bool,
}

/// What `reference` and its kin may name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    pub symbol: Option<String>,
    /// The symbolic name of the loop it is a round of.
    pub member_of: Option<String>,
    pub id: String,
    pub name: String,
    pub kind: String,
    pub api_version: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Variable {
    raw: Value,
    count: Option<Value>,
}

impl Variable {
    pub(crate) fn loop_count(&self) -> Option<&Value> {
        self.count.as_ref()
    }
    pub(crate) fn value(&self) -> &Value {
        &self.raw
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UserFunction {
    namespace: String,
    name: String,
    pub parameters: Vec<String>,
    pub output: Value,
}

/// All that an evaluation sees of its template.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Context {
    pub scope: String,
    pub parameters: Map<String, Value>,
    pub variables: Map<String, Value>,
    /// What is needed until the two above are there.
    pub declared_parameters: Map<String, Value>,
    pub declared_variables: Vec<(String, Variable)>,
    pub given: Map<String, Value>,
    pub definitions: Map<String, Value>,
    pub hide_secrets: bool,
    functions: Vec<UserFunction>,
    pub targets: Vec<Target>,
    /// Names of loops of resources, those with no round too.
    pub loops: Vec<String>,
}

impl Context {
    pub(crate) fn user_function(&self, namespace: &str, name: &str) -> Option<&UserFunction> {
        self.functions.iter().find(|f| f.namespace.eq_ignore_ascii_case(namespace) && f.name.eq_ignore_ascii_case(name))
    }
    /// By symbolic name, id, `type/name`, or name.
    pub(crate) fn target(&self, text: &str) -> Option<&Target> {
        let by = |fits: &dyn Fn(&Target) -> bool| self.targets.iter().find(|t| fits(t));
        by(&|t| t.symbol.as_deref().is_some_and(|s| s.eq_ignore_ascii_case(text)))
            .or_else(|| by(&|t| t.id.eq_ignore_ascii_case(text)))
            .or_else(|| by(&|t| tail(&t.id).eq_ignore_ascii_case(text)))
            .or_else(|| by(&|t| t.name.eq_ignore_ascii_case(text)))
    }
    /// The rounds of a loop.
    pub(crate) fn members<'c>(&'c self, symbol: &'c str) -> impl Iterator<Item = &'c Target> {
        self.targets.iter().filter(move |t| t.member_of.as_deref().is_some_and(|s| s.eq_ignore_ascii_case(symbol)))
    }
}

/// An id below its last `providers`.
fn tail(id: &str) -> &str {
    id.to_ascii_lowercase().rfind("/providers/").map_or(id, |at| &id[at + "/providers/".len()..])
}

/// A template made ready: what to deploy, in what order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of the template, loops unrolled.
    pub resources: Vec<Planned>,
    context: Context,
    outputs: Map<String, Value>,
    kinds: Vec<(String, String)>,
}

/// One resource of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Planned {
    pub id: String,
    /// All names, outer first: `server/database`.
    pub name: String,
    /// `Microsoft.Storage/storageAccounts`, as spelt.
    pub kind: String,
    pub api_version: String,
    /// The scope that it is deployed at; for a nested deployment the one that its template is for.
    pub scope: String,
    pub symbol: Option<String>,
    /// False: its condition did not hold, nothing is done.
    pub deployed: bool,
    /// Places in [`Plan::resources`] of what must be there before.
    pub depends_on: Vec<usize>,
    /// The body, with texts that wait for a runtime function as they are written.
    pub preview: Value,
    /// The body as written, where something in it waits.
    deferred: Option<Value>,
    loops: Vec<Loop>,
    line: usize,
    column: usize,
}

/// Something that may have to be asked first.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluated<T> {
    Ready(T),
    /// Ask these, then evaluate again.
    Waits(Vec<Question>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: String,
    pub kind: Kind,
    pub value: Value,
}

/// A parameter as a GET of the deployment shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown<'a> {
    pub name: &'a str,
    pub kind: Kind,
    /// `None`: it is a secret.
    pub value: Option<&'a Value>,
}

/// Reads, checks and unrolls a template. Errors are Azure's: `InvalidTemplate`, and what the host refuses.
pub fn plan(request: &Request, host: &dyn Host) -> Result<Plan> {
    let template = template_of(request.template)?;
    let mut context = context_of(template, request)?;
    let meter = &Meter::default();
    evaluate_parameters(&mut context, request, host, meter)?;
    evaluate_variables(&mut context, host, meter)?;
    let (mut context, heads) = heads_of(template, context, &request.places, host, meter)?;
    let names = Names::of(&heads);
    let mut resources = Vec::with_capacity(heads.len());
    for (at, head) in heads.iter().enumerate() {
        resources.push(planned(at, head, &heads, &names, &context, host, meter)?);
    }
    let edges: Vec<Vec<usize>> = resources.iter().map(|r| r.depends_on.clone()).collect();
    if let Some(at) = graph::circle(&edges) {
        return Err(invalid(format!(
            "Circular dependency detected on resource: '{}'. Please see https://aka.ms/arm-syntax-resources for usage details",
            resources[at].id
        )));
    }
    let outputs = section(template, "outputs")?.cloned().unwrap_or_default();
    let kinds = kinds_of(&context)?;
    (context.declared_parameters, context.declared_variables, context.given) = Default::default();
    let plan = Plan { resources, context, outputs, kinds };
    // wrong outputs are told now, not at the end
    plan.evaluate_outputs(host, Place::Planning, meter)?;
    Ok(plan)
}

impl Planned {
    /// False: something in the body waits for a runtime function.
    pub fn is_known(&self) -> bool {
        self.deferred.is_none()
    }
}

impl Plan {
    /// The body of a resource, once what it refers to is there.
    pub fn body(&self, at: usize, host: &dyn Host) -> Result<Evaluated<Value>> {
        let resource = &self.resources[at];
        let Some(raw) = &resource.deferred else { return Ok(Evaluated::Ready(resource.preview.clone())) };
        let meter = Meter::default();
        let mut eval = Eval::new(&self.context, host, Place::Running, &meter);
        eval.loops = resource.loops.clone();
        match body(&mut eval, raw, &resource.kind) {
            Ok(value) => Ok(Evaluated::Ready(value)),
            Err(Trouble::Waits) => Ok(Evaluated::Waits(eval.waits)),
            Err(trouble) => Err(at_resource(trouble, &resource.id, resource.line, resource.column)),
        }
    }

    /// The outputs, once everything is deployed.
    pub fn outputs(&self, host: &dyn Host) -> Result<Evaluated<Vec<Output>>> {
        self.evaluate_outputs(host, Place::Running, &Meter::default())
    }

    /// The parameters in use, secrets without their values.
    pub fn parameters(&self) -> impl Iterator<Item = Shown<'_>> {
        self.kinds.iter().filter_map(|(name, kind)| {
            let kind = Kind::of(kind)?;
            let value = self.context.parameters.get(name).filter(|_| !kind.is_secure());
            Some(Shown { name, kind, value })
        })
    }

    fn evaluate_outputs(&self, host: &dyn Host, place: Place, meter: &Meter) -> Result<Evaluated<Vec<Output>>> {
        let mut out = Vec::new();
        let mut waits = Vec::new();
        let mut waited = false;
        for (name, declaration) in &self.outputs {
            let mut eval = Eval::new(&self.context, host, place, meter);
            match output(&mut eval, name, declaration) {
                Ok(found) => out.extend(found),
                Err(Trouble::Waits) => {
                    waited = true;
                    waits.extend(eval.waits);
                }
                Err(Trouble::Refused(error)) => return Err(error),
                Err(Trouble::Wrong(inner)) if place == Place::Planning => {
                    return Err(invalid(format!("The template output '{name}' is not valid: {inner}")));
                }
                Err(Trouble::Wrong(inner)) => {
                    return Err(Error::invalid(
                        "DeploymentOutputEvaluationFailed",
                        format!(
                            "Unable to evaluate template outputs: '{name}'. Please see error details and deployment operations. {inner}."
                        ),
                    ));
                }
            }
        }
        Ok(if waited { Evaluated::Waits(waits) } else { Evaluated::Ready(out) })
    }
}

fn template_of(template: &Value) -> Result<&Map<String, Value>> {
    let Value::Object(map) = template else { return Err(unparsed("The template is not a JSON object")) };
    for name in map.keys() {
        if !MEMBERS.iter().any(|m| m.eq_ignore_ascii_case(name)) {
            return Err(unparsed(format!(
                "Could not find member '{name}' on object of type 'Template'. Path 'properties.template.{name}'"
            )));
        }
    }
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    let Some(schema) = text("$schema") else {
        return Err(unparsed("Required property '$schema' not found in JSON. Path 'properties.template'"));
    };
    if text("contentVersion").is_none() {
        return Err(unparsed("Required property 'contentVersion' not found in JSON. Path 'properties.template'"));
    }
    let known = [
        "deploymentTemplate.json",
        "subscriptionDeploymentTemplate.json",
        "managementGroupDeploymentTemplate.json",
        "tenantDeploymentTemplate.json",
    ];
    let file = schema.trim_end_matches('#').rsplit('/').next().unwrap_or("");
    if !known.iter().any(|k| k.eq_ignore_ascii_case(file)) {
        return Err(invalid(format!(
            "The template schema '{schema}' is not supported. Supported are the schemas named {}. Please see https://aka.ms/arm-template for usage details",
            known.join(", ")
        )));
    }
    for name in ["imports", "extensions"] {
        if map.get(name).is_some_and(|v| v.as_object().is_some_and(|m| !m.is_empty())) {
            return Err(Error::not_implemented("A template with extensions (imports)").at(name));
        }
    }
    Ok(map)
}

/// A part of the template that is an object, if it is there.
fn section<'v>(template: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Map<String, Value>>> {
    match template.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(other) => Err(unparsed(format!(
            "The template's '{name}' is of type '{}', not 'Object'. Path 'properties.template.{name}'",
            type_of(other)
        ))),
    }
}

fn context_of(template: &Map<String, Value>, request: &Request) -> Result<Context> {
    let mut context = Context {
        scope: request.scope.trim_end_matches('/').to_owned(),
        given: request.parameters.clone(),
        hide_secrets: request.hide_secrets,
        ..Context::default()
    };
    context.declared_parameters = section(template, "parameters")?.cloned().unwrap_or_default();
    context.definitions = section(template, "definitions")?.cloned().unwrap_or_default();
    for (name, raw) in section(template, "variables")?.into_iter().flatten() {
        let loops = raw.as_array().filter(|_| name.eq_ignore_ascii_case("copy"));
        for copy in loops.into_iter().flatten() {
            let (Some(loop_name), Some(count)) = (copy.get("name").and_then(Value::as_str), copy.get("count")) else {
                return Err(invalid(
                    "A copy of the template's variables has no name or no count. Please see https://aka.ms/arm-copy for usage details",
                ));
            };
            let raw = copy.get("input").cloned().unwrap_or(Value::Null);
            context.declared_variables.push((loop_name.to_owned(), Variable { raw, count: Some(count.clone()) }));
        }
        if loops.is_none() {
            context.declared_variables.push((name.clone(), Variable { raw: raw.clone(), count: None }));
        }
    }
    context.functions = functions_of(template)?;
    let counts = [
        ("parameters", context.declared_parameters.len(), PARAMETERS_MAX),
        ("variables", context.declared_variables.len(), VARIABLES_MAX),
        ("outputs", section(template, "outputs")?.map_or(0, Map::len), OUTPUTS_MAX),
    ];
    for (what, count, most) in counts {
        if count > most {
            return Err(invalid(format!("The number of template {what} limit exceeded. Limit: '{most}' and actual: '{count}'")));
        }
    }
    Ok(context)
}

fn functions_of(template: &Map<String, Value>) -> Result<Vec<UserFunction>> {
    let mut out = Vec::new();
    let wrong = || {
        invalid(
            "The template's functions are not valid: each has a namespace and members. Please see https://aka.ms/arm-template/#functions for usage details",
        )
    };
    let all = match template.get("functions") {
        None | Some(Value::Null) => return Ok(out),
        Some(Value::Array(all)) => all,
        Some(_) => return Err(wrong()),
    };
    for group in all {
        let namespace = group.get("namespace").and_then(Value::as_str).ok_or_else(wrong)?;
        for (name, member) in group.get("members").and_then(Value::as_object).ok_or_else(wrong)? {
            let parameters = match member.get("parameters") {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(all)) => {
                    let names: Option<Vec<String>> = all.iter().map(|p| Some(p.get("name")?.as_str()?.to_owned())).collect();
                    names.ok_or_else(wrong)?
                }
                Some(_) => return Err(wrong()),
            };
            let output = member.pointer("/output/value").cloned().ok_or_else(wrong)?;
            out.push(UserFunction { namespace: namespace.to_owned(), name: name.clone(), parameters, output });
        }
    }
    Ok(out)
}

fn evaluate_parameters(context: &mut Context, request: &Request, host: &dyn Host, meter: &Meter) -> Result<()> {
    let declared = &context.declared_parameters;
    let unknown: Vec<&str> = context.given.keys().filter(|n| find(declared, n).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = declared.keys().map(String::as_str).collect();
        return Err(invalid(format!(
            "The template parameters '{}' in the parameters file are not valid; they are not present in the original template and can therefore not be provided at deployment time. The only supported parameters for this template are '{}'. Please see https://aka.ms/arm-pass-parameter-values for usage details",
            unknown.join(", "),
            known.join(", ")
        )));
    }
    for (name, declaration) in declared {
        if find(&context.given, name).is_none() && !parameters::is_optional(declaration, &context.definitions) {
            let place = request.places.at(&format!("/parameters/{name}"));
            let (line, column) = place.map_or((1, 1), |p| (p.line, p.column));
            return Err(invalid(format!(
                "The value for the template parameter '{name}' at line '{line}' and column '{column}' is not provided. Please see https://aka.ms/arm-create-parameter-file for usage details"
            )));
        }
    }
    let mut eval = Eval::new(context, host, Place::Default, meter);
    let mut values = Map::new();
    for name in declared.keys() {
        let value = eval.parameter(name).map_err(|trouble| plain(trouble, &format!("the template parameter '{name}'")))?;
        values.insert(name.clone(), value);
    }
    context.parameters = values;
    Ok(())
}

fn kinds_of(context: &Context) -> Result<Vec<(String, String)>> {
    let one = |(name, declaration): (&String, &Value)| {
        let kind = parameters::resolved(declaration, &context.definitions).and_then(|d| parameters::kind_of(name, &d));
        kind.map(|k| (name.clone(), k.as_str().to_owned())).map_err(|trouble| plain(trouble, name))
    };
    context.declared_parameters.iter().map(one).collect()
}

fn evaluate_variables(context: &mut Context, host: &dyn Host, meter: &Meter) -> Result<()> {
    let mut eval = Eval::new(context, host, Place::Plain, meter);
    let mut values = Map::new();
    for (name, _) in &context.declared_variables {
        let value = eval.variable(name).map_err(|trouble| match trouble {
            Trouble::Wrong(inner) => invalid(format!("The template variable '{name}' is not valid: {inner}")),
            other => plain(other, name),
        })?;
        values.insert(name.clone(), value);
    }
    context.variables = values;
    Ok(())
}

/// An error of what is not in a resource.
fn plain(trouble: Trouble, what: &str) -> Error {
    match trouble {
        Trouble::Wrong(inner) => invalid(inner),
        Trouble::Refused(error) => error,
        Trouble::Waits => invalid(format!("The value of {what} is not known while the deployment is planned")),
    }
}

fn at_resource(trouble: Trouble, id: &str, line: usize, column: usize) -> Error {
    match trouble {
        Trouble::Refused(error) => error,
        Trouble::Wrong(inner) => Error::invalid(
            "InvalidTemplate",
            format!(
                "Unable to process template language expressions for resource '{id}' at line '{line}' and column '{column}'. '{inner}.'"
            ),
        ),
        Trouble::Waits => {
            invalid(format!("The resource '{id}' at line '{line}' and column '{column}' needs what is known only at run time"))
        }
    }
}

/// Every resource before its body. With symbolic names the head of one may tell of another (`resourceInfo`), in any order.
fn heads_of<'v>(
    template: &'v Map<String, Value>,
    context: Context,
    places: &Places,
    host: &dyn Host,
    meter: &Meter,
) -> Result<(Context, Vec<Head<'v>>)> {
    let mut waiting: VecDeque<(Option<&str>, &'v Value, String)> = match template.get("resources") {
        Some(Value::Object(all)) => {
            let pointer = |symbol: &str| format!("/resources/{}", symbol.replace('~', "~0").replace('/', "~1"));
            all.iter().map(|(symbol, raw)| (Some(symbol.as_str()), raw, pointer(symbol))).collect()
        }
        Some(Value::Array(all)) => all.iter().enumerate().map(|(at, raw)| (None, raw, format!("/resources/{at}"))).collect(),
        _ => return Err(unparsed("Required property 'resources' not found in JSON. Path 'properties.template'")),
    };
    let mut heads = Heads { context, host, places, meter, out: Vec::new() };
    let mut refused = 0;
    while let Some((symbol, raw, pointer)) = waiting.pop_front() {
        let before = (heads.out.len(), heads.context.targets.len(), heads.context.loops.len());
        match heads.add(raw, symbol, None, &pointer, &[], 0) {
            Ok(()) => refused = 0,
            Err(_) if symbol.is_some() && refused < waiting.len() => {
                heads.out.truncate(before.0);
                heads.context.targets.truncate(before.1);
                heads.context.loops.truncate(before.2);
                refused += 1;
                waiting.push_back((symbol, raw, pointer));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((heads.context, heads.out))
}

/// A resource of the template, one round of its loop, before its body.
struct Head<'v> {
    raw: &'v Map<String, Value>,
    loops: Vec<Loop>,
    symbol: Option<String>,
    /// The template's own name of the loop it is in: `copy.name`, and the symbolic name.
    loop_names: Vec<String>,
    id: String,
    name: String,
    kind: String,
    api_version: String,
    scope: String,
    deployed: bool,
    depends_on: Vec<String>,
    /// Of a serial loop: places of the rounds of the batch before.
    after: Vec<usize>,
    line: usize,
    column: usize,
}

struct Heads<'v, 'c> {
    /// Its targets and loops grow with each head.
    context: Context,
    host: &'c dyn Host,
    places: &'c Places,
    meter: &'c Meter,
    out: Vec<Head<'v>>,
}

struct Copy {
    name: String,
    count: i64,
    /// Rounds at once; `None`: all.
    batch: Option<usize>,
}

impl<'v> Heads<'v, '_> {
    fn add(
        &mut self,
        raw: &'v Value,
        symbol: Option<&str>,
        parent: Option<(&str, &str, &str)>,
        pointer: &str,
        loops: &[Loop],
        depth: usize,
    ) -> Result<()> {
        let place = self.places.at(pointer);
        let (line, column) = place.map_or((1, 1), |p| (p.line, p.column));
        let not_valid = |why: &str| {
            invalid(format!("The template resource '{}' at line '{line}' and column '{column}' is not valid: {why}", raw_name(raw, symbol)))
        };
        let Value::Object(map) = raw else { return Err(not_valid("it is not an object")) };
        if depth > CHILDREN_DEPTH_MAX {
            return Err(not_valid("its children are nested too deeply"));
        }
        if map.contains_key("import") || map.contains_key("extension") {
            return Err(Error::not_implemented("A resource of an extension"));
        }
        let copy = self.copy(map, symbol).map_err(|trouble| told(trouble, &not_valid))?;
        let Some(copy) = copy else { return self.one(map, symbol, None, &[], parent, pointer, loops, depth, (line, column), &not_valid) };
        self.context.loops.push(copy.name.clone());
        self.context.loops.extend(symbol.map(str::to_owned));
        let (mut before, mut now): (Vec<usize>, Vec<usize>) = Default::default();
        for index in 0..copy.count {
            let mut inside = loops.to_vec();
            inside.push(Loop { name: copy.name.clone(), index, of_resource: true });
            if copy.batch.is_some_and(|size| now.len() >= size) {
                before = std::mem::take(&mut now);
            }
            if self.context.targets.len() < RESOURCES_MAX + 1 {
                now.push(self.out.len());
            }
            self.one(map, symbol, Some(&copy), &before, parent, pointer, &inside, depth, (line, column), &not_valid)?;
        }
        Ok(())
    }

    fn copy(&self, map: &Map<String, Value>, symbol: Option<&str>) -> Got<Option<Copy>> {
        let Some(copy) = map.get("copy") else { return Ok(None) };
        let mut eval = Eval::new(&self.context, self.host, Place::Plain, self.meter);
        let name = match copy.get("name").map(|n| eval.value(n)).transpose()? {
            Some(Value::String(name)) => name,
            None if symbol.is_some() => symbol.unwrap_or_default().to_owned(),
            _ => return wrong("its copy has no name. Please see https://aka.ms/arm-copy for usage details"),
        };
        let count = eval.count(&name, copy.get("count"))?;
        let serial = match copy.get("mode").map(|m| eval.value(m)).transpose()? {
            None | Some(Value::Null) => false,
            Some(Value::String(mode)) if mode.eq_ignore_ascii_case("parallel") => false,
            Some(Value::String(mode)) if mode.eq_ignore_ascii_case("serial") => true,
            Some(_) => {
                return wrong(
                    "the mode of its copy is neither 'serial' nor 'parallel'. Please see https://aka.ms/arm-copy for usage details",
                );
            }
        };
        let batch = match copy.get("batchSize").map(|b| eval.value(b)).transpose()? {
            None | Some(Value::Null) => 1,
            Some(value) => match value.as_u64().filter(|b| (1..=800).contains(b)) {
                Some(size) => size as usize,
                None => return wrong("the batch size of its copy is not valid. Please see https://aka.ms/arm-copy for usage details"),
            },
        };
        Ok(Some(Copy { name, count, batch: serial.then_some(batch) }))
    }

    #[allow(clippy::too_many_arguments)] // all that one round depends on, in sight
    fn one(
        &mut self,
        map: &'v Map<String, Value>,
        symbol: Option<&str>,
        copy: Option<&Copy>,
        after: &[usize],
        parent: Option<(&str, &str, &str)>,
        pointer: &str,
        loops: &[Loop],
        depth: usize,
        (line, column): (usize, usize),
        not_valid: &dyn Fn(&str) -> Error,
    ) -> Result<()> {
        if self.out.len() >= RESOURCES_MAX || self.context.targets.len() >= 2 * RESOURCES_MAX {
            return Err(invalid(format!("The number of template resources limit exceeded. Limit: '{RESOURCES_MAX}'")));
        }
        let mut eval = Eval::new(&self.context, self.host, Place::Plain, self.meter);
        eval.loops = loops.to_vec();
        let found = head_texts(&mut eval, map).map_err(|trouble| told(trouble, not_valid))?;
        let (kind, name) = match parent {
            Some((kind, name, _)) => (format!("{kind}/{}", found.kind), format!("{name}/{}", found.name)),
            None => (found.kind, found.name),
        };
        let names: Vec<&str> = name.split('/').collect();
        if nested_name(&kind, &names).is_none() {
            return Err(invalid(format!(
                "The template resource '{name}' for type '{kind}' at line '{line}' and column '{column}' has incorrect segment lengths. A nested resource type must have identical number of segments as its resource name. A root resource type must have segment length one greater than its resource name. Please see https://aka.ms/arm-template/#resources for usage details"
            )));
        }
        let scope = match parent {
            Some((_, _, scope)) => scope.to_owned(),
            None => self.scope(&mut eval, map, &kind).map_err(|trouble| told(trouble, not_valid))?,
        };
        let Some(id) = resource_id(&scope, &kind, &names) else { return Err(not_valid("its name does not fit its type")) };
        let kind_of_id = last_type(&id).unwrap_or_else(|| kind.clone());
        let index = loops.last().filter(|_| copy.is_some()).map(|l| l.index);
        let own_symbol = symbol.map(|s| index.map_or_else(|| s.to_owned(), |i| format!("{s}[{i}]")));
        self.context.targets.push(Target {
            symbol: own_symbol.clone(),
            member_of: symbol.filter(|_| copy.is_some()).map(str::to_owned),
            id: id.clone(),
            name: name.clone(),
            kind: kind_of_id.clone(),
            api_version: found.api_version.clone(),
        });
        if map.get("existing").and_then(Value::as_bool) == Some(true) {
            return Ok(());
        }
        if found.deployed && self.out.iter().any(|h| h.deployed && h.id.eq_ignore_ascii_case(&id)) {
            return Err(invalid(format!(
                "The resource '{}' at line '{line}' and column '{column}' is defined multiple times in a template. Please see https://aka.ms/arm-syntax-resources for usage details",
                tail(&id)
            )));
        }
        let mut loop_names: Vec<String> = copy.map(|c| c.name.clone()).into_iter().collect();
        loop_names.extend(symbol.filter(|_| copy.is_some()).map(str::to_owned));
        self.out.push(Head {
            raw: map,
            loops: loops.to_vec(),
            symbol: own_symbol,
            loop_names,
            id,
            name: name.clone(),
            kind: kind_of_id,
            api_version: found.api_version,
            scope: scope.clone(),
            deployed: found.deployed,
            depends_on: found.depends_on,
            after: after.to_vec(),
            line,
            column,
        });
        self.children(map, &kind, &name, &scope, pointer, loops, depth, not_valid)
    }

    #[allow(clippy::too_many_arguments)]
    fn children(
        &mut self,
        map: &'v Map<String, Value>,
        kind: &str,
        name: &str,
        scope: &str,
        pointer: &str,
        loops: &[Loop],
        depth: usize,
        not_valid: &dyn Fn(&str) -> Error,
    ) -> Result<()> {
        match map.get("resources") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Array(all)) => {
                for (at, raw) in all.iter().enumerate() {
                    self.add(raw, None, Some((kind, name, scope)), &format!("{pointer}/resources/{at}"), loops, depth + 1)?;
                }
                Ok(())
            }
            Some(Value::Object(all)) => {
                for (symbol, raw) in all {
                    self.add(raw, Some(symbol), Some((kind, name, scope)), &format!("{pointer}/resources/{symbol}"), loops, depth + 1)?;
                }
                Ok(())
            }
            Some(_) => Err(not_valid("its resources are not an array")),
        }
    }

    /// The scope of a resource: the deployment's, or another that it names.
    fn scope(&self, eval: &mut Eval, map: &Map<String, Value>, kind: &str) -> Got<String> {
        let own = self.context.scope.clone();
        let mut text = |name: &str| match map.get(name).filter(|v| !v.is_null()).map(|v| eval.value(v)).transpose()? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => wrong(format!("its {name} is not a text")),
        };
        if let Some(scope) = text("scope")? {
            return Ok(match scope.as_str() {
                "/" => String::new(),
                full if full.starts_with('/') => full.trim_end_matches('/').to_owned(),
                // the name of a management group's kind is at the tenant, everything else in the deployment's own scope
                group if group.to_ascii_lowercase().starts_with("microsoft.management/managementgroups/") => format!("/providers/{group}"),
                relative => match self.symbol_id(relative) {
                    Some(id) => id,
                    None => format!("{own}/providers/{relative}"),
                },
            });
        }
        let existing = map.get("existing").and_then(Value::as_bool) == Some(true);
        if !kind.eq_ignore_ascii_case(DEPLOYMENTS) && !existing {
            return Ok(own);
        }
        let (subscription, group) = (text("subscriptionId")?, text("resourceGroup")?);
        let parts: Vec<&str> = own.split('/').collect();
        let own_subscription = parts.get(2).filter(|_| parts[1].eq_ignore_ascii_case("subscriptions")).map(|s| (*s).to_owned());
        let subscription_id = subscription.clone().or(own_subscription);
        match (subscription_id, group) {
            (Some(subscription), Some(group)) => Ok(format!("/subscriptions/{subscription}/resourceGroups/{group}")),
            (Some(id), None) if subscription.is_some() => Ok(format!("/subscriptions/{id}")),
            (None, Some(_)) => wrong("it names a resource group, but no subscription"),
            _ => Ok(own),
        }
    }

    fn symbol_id(&self, text: &str) -> Option<String> {
        self.context.targets.iter().find(|t| t.symbol.as_deref().is_some_and(|s| s.eq_ignore_ascii_case(text))).map(|t| t.id.clone())
    }
}

fn raw_name(raw: &Value, symbol: Option<&str>) -> String {
    raw.get("name").and_then(Value::as_str).or(symbol).unwrap_or("").to_owned()
}
fn told(trouble: Trouble, not_valid: &dyn Fn(&str) -> Error) -> Error {
    match trouble {
        Trouble::Wrong(inner) => not_valid(&inner),
        Trouble::Refused(error) => error,
        Trouble::Waits => not_valid("it needs what is known only at run time"),
    }
}

/// The type that the last provider of an id names.
fn last_type(id: &str) -> Option<String> {
    let at = id.to_ascii_lowercase().rfind("/providers/");
    let Some(at) = at else {
        return id.to_ascii_lowercase().contains("/resourcegroups/").then(|| "Microsoft.Resources/resourceGroups".to_owned());
    };
    let parts: Vec<&str> = id[at + "/providers/".len()..].split('/').collect();
    let mut out = (*parts.first()?).to_owned();
    for part in parts.iter().skip(1).step_by(2) {
        out = format!("{out}/{part}");
    }
    Some(out)
}

struct HeadTexts {
    kind: String,
    name: String,
    api_version: String,
    deployed: bool,
    depends_on: Vec<String>,
}

fn head_texts(eval: &mut Eval, map: &Map<String, Value>) -> Got<HeadTexts> {
    let mut text = |name: &str| match map.get(name).map(|v| eval.value(v)).transpose()? {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(other) => wrong(format!(
            "its '{name}' is of type '{}', or empty. Please see https://aka.ms/arm-syntax-resources for usage details",
            type_of(&other)
        )),
        None => wrong(format!("the '{name}' property is missing. Please see https://aka.ms/arm-syntax-resources for usage details")),
    };
    let (kind, name, api_version) = (text("type")?, text("name")?, text("apiVersion")?);
    let deployed = match map.get("condition").map(|v| eval.value(v)).transpose()? {
        None => true,
        Some(Value::Bool(holds)) => holds,
        Some(Value::String(s)) if s.eq_ignore_ascii_case("true") || s.eq_ignore_ascii_case("false") => s.eq_ignore_ascii_case("true"),
        Some(other) => {
            return wrong(format!(
                "its condition is of type '{}', not 'Boolean'. Please see https://aka.ms/arm-syntax-resources for usage details",
                type_of(&other)
            ));
        }
    };
    let depends_on = match map.get("dependsOn").map(|v| eval.value(v)).transpose()? {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(all)) => {
            let texts: Option<Vec<String>> = all.iter().map(|d| d.as_str().map(str::to_owned)).collect();
            match texts {
                Some(texts) => texts,
                None => return wrong("its dependsOn holds what is not a text"),
            }
        }
        Some(_) => return wrong("its dependsOn is not an array"),
    };
    Ok(HeadTexts { kind, name, api_version, deployed, depends_on })
}

/// What a dependency may call a resource.
struct Names(HashMap<String, Vec<usize>>);

impl Names {
    fn of(heads: &[Head]) -> Names {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, head) in heads.iter().enumerate() {
            let mut add = |prefix: &str, name: &str| names.entry(format!("{prefix}{}", name.to_lowercase())).or_default().push(at);
            if let Some(symbol) = &head.symbol {
                add("s:", symbol);
            }
            for name in &head.loop_names {
                add("l:", name);
            }
            add("i:", &head.id);
            add("t:", tail(&head.id));
            add("n:", &head.name);
        }
        Names(names)
    }
    fn find(&self, text: &str) -> Option<&Vec<usize>> {
        let text = text.trim_end_matches('/').to_lowercase();
        ["s:", "l:", "i:", "t:", "n:"].iter().find_map(|prefix| self.0.get(&format!("{prefix}{text}")))
    }
}

fn planned(at: usize, head: &Head, heads: &[Head], names: &Names, context: &Context, host: &dyn Host, meter: &Meter) -> Result<Planned> {
    let fail = |trouble| at_resource(trouble, &head.id, head.line, head.column);
    let mut depends_on = head.after.clone();
    for text in &head.depends_on {
        match names.find(text) {
            Some(found)
                if found.len() > 1
                    && found.iter().any(|f| heads[*f].loop_names.is_empty() && !heads[*f].id.eq_ignore_ascii_case(&heads[found[0]].id)) =>
            {
                return Err(invalid(format!(
                    "The template resource '{}' at line '{}' and column '{}' depends on '{text}', which several resources of the template are called; use the resource id. Please see https://aka.ms/arm-syntax-resources for usage details",
                    head.name, head.line, head.column
                )));
            }
            Some(found) => depends_on.extend(found),
            // a loop without rounds, and what is there already
            None if context.loops.iter().any(|l| l.eq_ignore_ascii_case(text)) || context.target(text).is_some() => {}
            None => {
                return Err(invalid(format!(
                    "The resource '{text}' is not defined in the template. Please see https://aka.ms/arm-syntax for usage details"
                )));
            }
        }
    }
    let raw = Value::Object(
        head.raw
            .iter()
            .filter(|(name, _)| !HEAD.iter().any(|h| h.eq_ignore_ascii_case(name)))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    );
    let mut eval = Eval::new(context, host, Place::Planning, meter);
    eval.loops = head.loops.clone();
    if head.deployed {
        implicit(&mut eval, &raw, &mut |text| {
            let found = names.find(text).or_else(|| context.target(text).and_then(|t| names.find(&t.id)));
            depends_on.extend(found.into_iter().flatten().filter(|f| **f != at));
        });
    }
    depends_on.sort_unstable();
    depends_on.dedup();
    let mut eval = Eval::new(context, host, Place::Planning, meter);
    eval.loops = head.loops.clone();
    eval.keep_raw = true;
    // what is not deployed may be wrong in its body
    let preview = if head.deployed { body(&mut eval, &raw, &head.kind).map_err(fail)? } else { Value::Object(Map::new()) };
    let deferred = eval.waited.then_some(raw);
    Ok(Planned {
        id: head.id.clone(),
        name: head.name.clone(),
        kind: head.kind.clone(),
        api_version: head.api_version.clone(),
        scope: head.scope.clone(),
        symbol: head.symbol.clone(),
        deployed: head.deployed,
        depends_on,
        preview,
        deferred,
        loops: head.loops.clone(),
        line: head.line,
        column: head.column,
    })
}

/// True for a nested template that is evaluated by itself.
fn is_inner(properties: &Value) -> bool {
    let scope = properties.pointer("/expressionEvaluationOptions/scope").and_then(Value::as_str);
    scope.is_some_and(|s| s.eq_ignore_ascii_case("inner"))
}

fn body(eval: &mut Eval, raw: &Value, kind: &str) -> Got {
    let properties = raw.get("properties").and_then(Value::as_object).filter(|_| kind.eq_ignore_ascii_case(DEPLOYMENTS));
    let (Some(properties), Value::Object(map)) = (properties, raw) else { return eval.value(raw) };
    let mut out = Map::new();
    let mut waits = false;
    let mut keep = |found: Got, name: &str, into: &mut Map<String, Value>| match found {
        Ok(value) => {
            into.insert(name.to_owned(), value);
            Ok(())
        }
        Err(Trouble::Waits) => {
            waits = true;
            Ok(())
        }
        Err(other) => Err(other),
    };
    let inner = is_inner(&map["properties"]);
    let mut inside = Map::new();
    for (name, value) in properties {
        let found = match name.as_str() {
            "template" if inner => Ok(value.clone()),
            "template" => {
                eval.escape = true;
                let found = eval.value(value);
                eval.escape = false;
                found
            }
            _ => eval.value(value),
        };
        keep(found, name, &mut inside)?;
    }
    for (name, value) in map {
        let found = if name == "properties" { Ok(Value::Object(inside.clone())) } else { eval.value(value) };
        keep(found, name, &mut out)?;
    }
    if waits { Err(Trouble::Waits) } else { Ok(Value::Object(out)) }
}

/// What the runtime functions of a body are about: each makes a dependency.
fn implicit(eval: &mut Eval, raw: &Value, add: &mut dyn FnMut(&str)) {
    match raw {
        Value::String(text) => {
            if let Written::Expression(inside) = written(text)
                && let Ok(expression) = parse(inside)
            {
                of_expression(eval, &expression, add);
            }
        }
        Value::Array(all) => all.iter().for_each(|v| implicit(eval, v, add)),
        Value::Object(map) => {
            let inner = is_inner(raw);
            map.iter().filter(|(name, _)| !(inner && *name == "template")).for_each(|(_, v)| implicit(eval, v, add));
        }
        _ => {}
    }
}

fn of_expression(eval: &mut Eval, expression: &Expression, add: &mut dyn FnMut(&str)) {
    match expression {
        Expression::Call { namespace, name, arguments } => {
            let runtime =
                namespace.is_none() && (name.eq_ignore_ascii_case("reference") || name.eq_ignore_ascii_case("references") || is_list(name));
            if runtime && let Some(Ok(Value::String(about))) = arguments.first().map(|a| eval.expression(a)) {
                add(&about);
            }
            arguments.iter().for_each(|a| of_expression(eval, a, add));
        }
        Expression::Access { of, keys } => {
            of_expression(eval, of, add);
            for key in keys {
                if let Key::Computed(expression) = key {
                    of_expression(eval, expression, add);
                }
            }
        }
        Expression::Text(_) | Expression::Integer(_) => {}
    }
}

/// `None`: its condition does not hold.
fn output(eval: &mut Eval, name: &str, declaration: &Value) -> Got<Option<Output>> {
    let schema = parameters::resolved(declaration, &eval.context.definitions)?;
    let Some(kind) = schema.get("type").and_then(Value::as_str).and_then(Kind::of) else {
        return wrong("it has no valid type. Please see https://aka.ms/arm-syntax-outputs for usage details");
    };
    match schema.get("condition").map(|c| eval.value(c)).transpose()? {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(None),
        Some(other) => return wrong(format!("its condition is of type '{}', not 'Boolean'", type_of(&other))),
    }
    let value = match (schema.get("copy"), declaration.get("value")) {
        (Some(copy), _) => {
            let input = copy.get("input").cloned().unwrap_or(Value::Null);
            eval.looped(name, copy.get("count"), &input)?
        }
        (None, Some(value)) => eval.value(value)?,
        (None, None) => return wrong("it has no value. Please see https://aka.ms/arm-syntax-outputs for usage details"),
    };
    let nullable = schema.get("nullable").and_then(Value::as_bool).unwrap_or(false);
    if !(kind.fits(&value) || nullable && value.is_null()) {
        return wrong(format!("Template output JToken type is not valid. Expected '{}'. Actual '{}'", kind.expected(), type_of(&value)));
    }
    Ok(Some(Output { name: name.to_owned(), kind, value }))
}
