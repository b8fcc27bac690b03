//! Every function of the language, in one table. One file per family.

mod arrays;
mod cidr;
mod dates;
mod format;
mod lambdas;
mod logic;
mod numbers;
mod objects;
mod resources;
mod strings;

pub(crate) use arrays::same;
pub(crate) use resources::{nested_name, resource_id};

use crate::evaluate::Eval;
use crate::expression::Expression;
use crate::meter::Meter;
use crate::words::{Got, type_of, wrong};
use serde_json::{Map, Value};

pub(crate) struct Function {
    pub name: &'static str,
    /// How many arguments.
    pub least: usize,
    pub most: usize,
    pub run: Run,
}

#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// A function of its arguments alone.
    Pure(fn(&mut Arguments) -> Got),
    /// Evaluates what it needs by itself. Gets the name as written.
    Special(fn(&mut Eval, &str, &[Expression]) -> Got),
}

const ANY: usize = usize::MAX;

const fn pure(name: &'static str, least: usize, most: usize, run: fn(&mut Arguments) -> Got) -> Function {
    Function { name, least, most, run: Run::Pure(run) }
}
const fn special(name: &'static str, least: usize, most: usize, run: fn(&mut Eval, &str, &[Expression]) -> Got) -> Function {
    Function { name, least, most, run: Run::Special(run) }
}

/// The language. `list*` stands for every name that begins with `list`.
#[rustfmt::skip]
static FUNCTIONS: &[Function] = &[
    // arrays, and what arrays share with texts and objects
    pure("array", 1, 1, arrays::array),
    pure("concat", 0, ANY, arrays::concat),
    pure("contains", 2, 2, arrays::contains),
    pure("createArray", 0, ANY, arrays::create_array),
    pure("empty", 1, 1, arrays::empty),
    pure("first", 1, 1, arrays::first),
    pure("indexFromEnd", 2, 2, arrays::index_from_end),
    pure("indexOf", 2, 2, arrays::index_of),
    pure("intersection", 1, ANY, arrays::intersection),
    pure("last", 1, 1, arrays::last),
    pure("lastIndexOf", 2, 2, arrays::last_index_of),
    pure("length", 1, 1, arrays::length),
    pure("range", 2, 2, arrays::range),
    pure("skip", 2, 2, arrays::skip),
    pure("take", 2, 2, arrays::take),
    pure("tryGet", 2, ANY, arrays::try_get),
    pure("tryIndexFromEnd", 2, 2, arrays::try_index_from_end),
    pure("union", 1, ANY, arrays::union),
    // CIDR
    pure("cidrHost", 2, 2, cidr::host),
    pure("cidrSubnet", 3, 3, cidr::subnet),
    pure("parseCidr", 1, 1, cidr::parse),
    // comparison and logic
    special("and", 2, ANY, logic::and),
    special("coalesce", 1, ANY, logic::coalesce),
    special("if", 3, 3, logic::when),
    special("or", 2, ANY, logic::or),
    pure("bool", 1, 1, logic::bool),
    pure("equals", 2, 2, logic::equals),
    pure("fail", 1, 1, logic::fail),
    pure("false", 0, 0, logic::no),
    pure("greater", 2, 2, logic::greater),
    pure("greaterOrEquals", 2, 2, logic::greater_or_equals),
    pure("less", 2, 2, logic::less),
    pure("lessOrEquals", 2, 2, logic::less_or_equals),
    pure("not", 1, 1, logic::not),
    pure("true", 0, 0, logic::yes),
    // dates
    pure("dateTimeAdd", 2, 3, dates::add),
    pure("dateTimeFromEpoch", 1, 1, dates::from_epoch),
    pure("dateTimeToEpoch", 1, 1, dates::to_epoch),
    special("utcNow", 0, 1, dates::utc_now),
    // deployment and scope
    special("copyIndex", 0, 2, resources::copy_index),
    special("deployer", 0, 0, resources::deployer),
    special("deployment", 0, 0, resources::deployment),
    special("environment", 0, 0, resources::environment),
    special("managementGroup", 0, 0, resources::management_group),
    special("parameters", 1, 1, resources::parameters),
    special("resourceGroup", 0, 0, resources::resource_group),
    special("subscription", 0, 0, resources::subscription),
    special("tenant", 0, 0, resources::tenant),
    special("variables", 1, 1, resources::variables),
    // lambdas
    special("filter", 2, 2, lambdas::filter),
    special("groupBy", 2, 2, lambdas::group_by),
    special("lambda", 1, ANY, lambdas::lambda),
    special("lambdaVariables", 1, 1, lambdas::variables),
    special("map", 2, 2, lambdas::map),
    special("mapValues", 2, 2, lambdas::map_values),
    special("reduce", 3, 3, lambdas::reduce),
    special("sort", 2, 2, lambdas::sort),
    special("toObject", 2, 3, lambdas::to_object),
    // numbers
    pure("add", 2, 2, numbers::add),
    pure("div", 2, 2, numbers::div),
    pure("float", 1, 1, numbers::float),
    pure("int", 1, 1, numbers::int),
    pure("max", 1, ANY, numbers::max),
    pure("min", 1, ANY, numbers::min),
    pure("mod", 2, 2, numbers::modulo),
    pure("mul", 2, 2, numbers::mul),
    pure("sub", 2, 2, numbers::sub),
    // objects
    pure("createObject", 0, ANY, objects::create),
    pure("items", 1, 1, objects::items),
    pure("json", 1, 1, objects::json),
    pure("null", 0, 0, objects::null),
    pure("objectKeys", 1, 1, objects::keys),
    pure("shallowMerge", 1, 1, objects::shallow_merge),
    // resources
    pure("extensionResourceId", 3, ANY, resources::extension_resource_id),
    special("list*", 1, 3, resources::list),
    special("managementGroupResourceId", 2, ANY, resources::management_group_resource_id),
    special("pickZones", 3, 5, resources::pick_zones),
    special("providers", 1, 2, resources::providers),
    special("reference", 1, 3, resources::reference),
    special("references", 1, 2, resources::references),
    special("resourceId", 2, ANY, resources::resource_id_function),
    special("resourceInfo", 1, 1, resources::resource_info),
    special("subscriptionResourceId", 2, ANY, resources::subscription_resource_id),
    pure("tenantResourceId", 2, ANY, resources::tenant_resource_id),
    special("toLogicalZone", 3, 3, resources::to_zones),
    special("toLogicalZones", 3, 3, resources::to_zones),
    special("toPhysicalZone", 3, 3, resources::to_zones),
    special("toPhysicalZones", 3, 3, resources::to_zones),
    // texts
    pure("base64", 1, 1, strings::base64),
    pure("base64ToJson", 1, 1, strings::base64_to_json),
    pure("base64ToString", 1, 1, strings::base64_to_string),
    pure("dataUri", 1, 1, strings::data_uri),
    pure("dataUriToString", 1, 1, strings::data_uri_to_string),
    pure("endsWith", 2, 2, strings::ends_with),
    pure("format", 1, ANY, format::format),
    pure("guid", 1, ANY, strings::guid),
    pure("join", 2, 2, strings::join),
    special("newGuid", 0, 0, strings::new_guid),
    pure("padLeft", 2, 3, strings::pad_left),
    pure("replace", 3, 3, strings::replace),
    pure("split", 2, 2, strings::split),
    pure("startsWith", 2, 2, strings::starts_with),
    pure("string", 1, 1, strings::string),
    pure("substring", 2, 3, strings::substring),
    pure("toLower", 1, 1, strings::to_lower),
    pure("toUpper", 1, 1, strings::to_upper),
    pure("trim", 1, 1, strings::trim),
    pure("uniqueString", 1, ANY, strings::unique_string),
    pure("uri", 2, 2, strings::uri),
    pure("uriComponent", 1, 1, strings::uri_component),
    pure("uriComponentToString", 1, 1, strings::uri_component_to_string),
];

/// The name of every function; `list*` stands for all that begin so.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|f| f.name)
}

pub(crate) fn find(name: &str) -> Option<&'static Function> {
    let exact = FUNCTIONS.iter().find(|f| f.name.eq_ignore_ascii_case(name));
    exact.or_else(|| if is_list(name) { FUNCTIONS.iter().find(|f| f.name == "list*") } else { None })
}

/// `listKeys`, `listAccountSas` and every other `list…`.
pub(crate) fn is_list(name: &str) -> bool {
    name.len() > 4 && name.get(..4).is_some_and(|n| n.eq_ignore_ascii_case("list")) && !name.contains('*')
}

impl Function {
    pub(crate) fn expects(&self) -> String {
        match (self.least, self.most) {
            (least, ANY) => format!("at least {least}"),
            (least, most) if least == most => format!("exactly {least}"),
            (least, most) => format!("from {least} to {most}"),
        }
    }
}

/// The evaluated arguments of a pure function.
pub(crate) struct Arguments<'a> {
    /// As the template spells it.
    pub function: &'a str,
    pub values: Vec<Value>,
    pub meter: &'a Meter,
}

impl Arguments<'_> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
    /// `Null` beyond the last.
    pub(crate) fn at(&self, at: usize) -> &Value {
        self.values.get(at).unwrap_or(&Value::Null)
    }
    pub(crate) fn take(&mut self, at: usize) -> Value {
        self.values.get_mut(at).map(Value::take).unwrap_or(Value::Null)
    }
    pub(crate) fn text(&self, at: usize) -> Got<&str> {
        self.at(at).as_str().map_or_else(|| self.expects(at, "a text"), Ok)
    }
    pub(crate) fn integer(&self, at: usize) -> Got<i64> {
        self.at(at).as_i64().map_or_else(|| self.expects(at, "a whole number"), Ok)
    }
    pub(crate) fn array(&self, at: usize) -> Got<&Vec<Value>> {
        self.at(at).as_array().map_or_else(|| self.expects(at, "an array"), Ok)
    }
    pub(crate) fn object(&self, at: usize) -> Got<&Map<String, Value>> {
        self.at(at).as_object().map_or_else(|| self.expects(at, "an object"), Ok)
    }
    /// Never prints the value: it may be a secret.
    pub(crate) fn expects<T>(&self, at: usize, what: &str) -> Got<T> {
        wrong(format!(
            "The template language function '{}' expects its parameter {} to be {what}. The provided value is of type '{}'. Please see https://aka.ms/arm-functions for usage details",
            self.function,
            at + 1,
            type_of(self.at(at))
        ))
    }
    pub(crate) fn fails<T>(&self, why: &str) -> Got<T> {
        wrong(format!(
            "Unable to evaluate template language function '{}': {why}. Please see https://aka.ms/arm-functions for usage details",
            self.function
        ))
    }
}
