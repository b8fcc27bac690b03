//! Texts.

use super::Arguments;
use crate::evaluate::Eval;
use crate::expression::Expression;
use crate::host::Question;
use crate::lenient;
use crate::unique;
use crate::words::{Got, wrong};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A value as `string`, `concat` and `format` print it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn string(a: &mut Arguments) -> Got {
    Ok(Value::String(text_of(a.at(0))))
}

pub(super) fn base64(a: &mut Arguments) -> Got {
    Ok(Value::String(STANDARD.encode(a.text(0)?)))
}
fn decoded(a: &Arguments, text: &str) -> Got<String> {
    let bytes = STANDARD.decode(text).ok();
    bytes.and_then(|b| String::from_utf8(b).ok()).map_or_else(|| a.fails("the text is not base64 of UTF-8"), Ok)
}
pub(super) fn base64_to_string(a: &mut Arguments) -> Got {
    decoded(a, a.text(0)?).map(Value::String)
}
pub(super) fn base64_to_json(a: &mut Arguments) -> Got {
    let text = decoded(a, a.text(0)?)?;
    a.meter.bytes(text.len().saturating_mul(16))?;
    lenient::parse(text.as_bytes()).map_or_else(|_| a.fails("the text is not JSON"), |found| Ok(found.value))
}

pub(super) fn data_uri(a: &mut Arguments) -> Got {
    Ok(Value::String(format!("data:text/plain;charset=utf8;base64,{}", STANDARD.encode(a.text(0)?))))
}
/// RFC 2397.
pub(super) fn data_uri_to_string(a: &mut Arguments) -> Got {
    let text = a.text(0)?;
    let Some((head, data)) = text.strip_prefix("data:").and_then(|t| t.split_once(',')) else {
        return a.fails("the text is not a data URI");
    };
    if head.to_ascii_lowercase().ends_with(";base64") {
        return decoded(a, data).map(Value::String);
    }
    percent_decode_str(data).decode_utf8().map_or_else(|_| a.fails("the text is not UTF-8"), |t| Ok(Value::String(t.into_owned())))
}

pub(super) fn starts_with(a: &mut Arguments) -> Got {
    Ok(Value::Bool(a.text(0)?.to_lowercase().starts_with(&a.text(1)?.to_lowercase())))
}
pub(super) fn ends_with(a: &mut Arguments) -> Got {
    Ok(Value::Bool(a.text(0)?.to_lowercase().ends_with(&a.text(1)?.to_lowercase())))
}

/// The arguments as texts, joined with `-`.
fn joined(a: &Arguments) -> Got<String> {
    Ok((0..a.len()).map(|at| a.text(at)).collect::<Got<Vec<_>>>()?.join("-"))
}
pub(super) fn guid(a: &mut Arguments) -> Got {
    Ok(Value::String(unique::guid(&joined(a)?)))
}
pub(super) fn unique_string(a: &mut Arguments) -> Got {
    Ok(Value::String(unique::unique_string(&joined(a)?)))
}
pub(super) fn new_guid(eval: &mut Eval, name: &str, _: &[Expression]) -> Got {
    only_in_defaults(eval, name)?;
    eval.ask(Question::NewGuid)
}
/// What differs from one deployment to the next is for default values of parameters.
pub(super) fn only_in_defaults(eval: &Eval, name: &str) -> Got<()> {
    if eval.place == crate::evaluate::Place::Default {
        return Ok(());
    }
    wrong(format!(
        "The template function '{name}' is not expected at this location. Please see https://aka.ms/arm-functions for usage details"
    ))
}

pub(super) fn join(a: &mut Arguments) -> Got {
    let parts: Vec<String> = a.array(0)?.iter().map(text_of).collect();
    let between = a.text(1)?;
    a.meter.bytes(parts.len().saturating_mul(between.len()))?;
    Ok(Value::String(parts.join(between)))
}

pub(super) fn pad_left(a: &mut Arguments) -> Got {
    let text = match a.at(0) {
        Value::String(_) | Value::Number(_) => text_of(a.at(0)),
        _ => return a.expects(0, "a text or a whole number"),
    };
    let width = a.integer(1)?;
    let fill = if a.len() > 2 { a.text(2)? } else { " " };
    let mut filler = fill.chars();
    let (Some(fill), None) = (filler.next(), filler.next()) else { return a.fails("the padding is not one character") };
    if !(0..=65_536).contains(&width) {
        return a.fails("the width is not from 0 to 65536");
    }
    let missing = (width as usize).saturating_sub(text.chars().count());
    Ok(Value::String(std::iter::repeat_n(fill, missing).chain(text.chars()).collect()))
}

pub(super) fn replace(a: &mut Arguments) -> Got {
    let (text, from, to) = (a.text(0)?.to_owned(), a.text(1)?.to_owned(), a.text(2)?.to_owned());
    if from.is_empty() {
        return a.fails("the text to replace is empty");
    }
    a.meter.bytes(text.matches(&from).count().saturating_mul(to.len()))?;
    Ok(Value::String(text.replace(&from, &to)))
}

/// By one text, or by any of several.
pub(super) fn split(a: &mut Arguments) -> Got {
    let text = a.text(0)?;
    let by: Vec<&str> = match a.at(1) {
        Value::String(one) => vec![one],
        Value::Array(all) => match all.iter().map(Value::as_str).collect() {
            Some(all) => all,
            None => return a.expects(1, "a text or an array of texts"),
        },
        _ => return a.expects(1, "a text or an array of texts"),
    };
    let by: Vec<&str> = by.into_iter().filter(|b| !b.is_empty()).collect();
    a.meter.bytes(text.len().saturating_mul(by.len()))?;
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(c) = text[at..].chars().next() {
        match by.iter().find(|b| text[at..].starts_with(**b)) {
            Some(found) => {
                parts.push(Value::from(&text[begin..at]));
                at += found.len();
                begin = at;
            }
            None => at += c.len_utf8(),
        }
    }
    parts.push(Value::from(&text[begin..]));
    Ok(Value::Array(parts))
}

pub(super) fn substring(a: &mut Arguments) -> Got {
    let (text, begin) = (a.text(0)?, a.integer(1)?);
    let all: Vec<char> = text.chars().collect();
    let begin = usize::try_from(begin).ok().filter(|b| *b <= all.len());
    let Some(begin) = begin else { return a.fails("the start index is outside the text") };
    let length = if a.len() > 2 && !a.at(2).is_null() { usize::try_from(a.integer(2)?).ok() } else { Some(all.len() - begin) };
    let Some(end) = length.and_then(|l| begin.checked_add(l)).filter(|e| *e <= all.len()) else {
        return a.fails("the index and length parameters must refer to a location within the string");
    };
    Ok(Value::String(all[begin..end].iter().collect()))
}

pub(super) fn to_lower(a: &mut Arguments) -> Got {
    Ok(Value::String(a.text(0)?.to_lowercase()))
}
pub(super) fn to_upper(a: &mut Arguments) -> Got {
    Ok(Value::String(a.text(0)?.to_uppercase()))
}
pub(super) fn trim(a: &mut Arguments) -> Got {
    Ok(Value::String(a.text(0)?.trim().to_owned()))
}

/// RFC 3986 section 5: the second, as seen from the first.
pub(super) fn uri(a: &mut Arguments) -> Got {
    let found = url::Url::parse(a.text(0)?).and_then(|base| base.join(a.text(1).unwrap_or_default()));
    a.text(1)?;
    found.map_or_else(|_| a.fails("the parameters are not a base URI and a relative one"), |u| Ok(Value::String(u.into())))
}
pub(super) fn uri_component(a: &mut Arguments) -> Got {
    Ok(Value::String(utf8_percent_encode(a.text(0)?, COMPONENT).to_string()))
}
pub(super) fn uri_component_to_string(a: &mut Arguments) -> Got {
    let text = a.text(0)?;
    percent_decode_str(text)
        .decode_utf8()
        .map_or_else(|_| a.fails("the text is not percent-encoded UTF-8"), |t| Ok(Value::String(t.into_owned())))
}
