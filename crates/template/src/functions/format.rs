//! `format`: .NET's composite formatting, as far as templates use it: `{index[,width][:format]}`, `{{`, `}}`. Of numbers
//! the standard formats `D`, `F`, `N`, `P`, `X`, `G`, and pictures of `0`, `#`, `,` and `.`, in the invariant
//! culture.

use super::Arguments;
use super::strings::text_of;
use crate::words::Got;
use serde_json::Value;

const WIDTH_MAX: usize = 4096;

pub(super) fn format(a: &mut Arguments) -> Got {
    let pattern = a.text(0)?.to_owned();
    let mut out = String::new();
    let mut rest = pattern.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        if let Some(after) = tail.strip_prefix("{{").or_else(|| tail.strip_prefix("}}")) {
            out.push_str(&tail[..1]);
            rest = after;
            continue;
        }
        let (Some(inside), true) = (tail.find('}').map(|end| &tail[1..end]), tail.starts_with('{')) else {
            return a.fails("the format is not valid: a brace stands alone");
        };
        let item = item(a, inside)?;
        a.meter.bytes(item.len())?;
        out.push_str(&item);
        rest = &tail[inside.len() + 2..];
    }
    out.push_str(rest);
    Ok(Value::String(out))
}

fn item(a: &Arguments, inside: &str) -> Got<String> {
    let (head, format) = inside.split_once(':').unwrap_or((inside, ""));
    let (index, width) = head.split_once(',').unwrap_or((head, "0"));
    let index = index.trim().parse::<usize>().ok().filter(|i| *i < 1_000_000 && i + 1 < a.len());
    let Some(index) = index else { return a.fails("the format names a parameter that is not there") };
    let width = width.trim().parse::<i64>().ok().filter(|w| w.unsigned_abs() as usize <= WIDTH_MAX);
    let Some(width) = width else { return a.fails("the width of an item is not valid") };
    let value = a.at(index + 1);
    let text = match (value, value.as_i64()) {
        (_, _) if format.is_empty() => text_of(value),
        (_, Some(number)) => match integer(number, format) {
            Some(text) => text,
            None => return a.fails("the format of a number is not one that is known here"),
        },
        (Value::Number(n), None) => match n.as_f64().and_then(|f| float(f, format)) {
            Some(text) => text,
            None => return a.fails("the format of a number is not one that is known here"),
        },
        _ => text_of(value),
    };
    let missing = (width.unsigned_abs() as usize).saturating_sub(text.chars().count());
    let fill = " ".repeat(missing);
    Ok(if width < 0 { text + &fill } else { fill + &text })
}

/// The letter and the precision of a standard format.
fn standard(format: &str) -> Option<(char, Option<usize>)> {
    let mut chars = format.chars();
    let letter = chars.next().filter(char::is_ascii_alphabetic)?;
    let digits = chars.as_str();
    if digits.is_empty() {
        return Some((letter, None));
    }
    digits.parse().ok().filter(|p| *p <= 99).map(|p| (letter, Some(p)))
}

fn integer(number: i64, format: &str) -> Option<String> {
    let Some((letter, precision)) = standard(format) else { return picture(number as f64, Some(number), format) };
    let sign = if number < 0 { "-" } else { "" };
    let digits = number.unsigned_abs().to_string();
    Some(match letter {
        'D' | 'd' => format!("{sign}{digits:0>width$}", width = precision.unwrap_or(1)),
        'N' | 'n' => format!("{sign}{}{}", grouped(&digits), zeros(precision.unwrap_or(2))),
        'F' | 'f' => format!("{sign}{digits}{}", zeros(precision.unwrap_or(2))),
        'G' | 'g' => format!("{sign}{digits}"),
        'X' => format!("{number:0>width$X}", width = precision.unwrap_or(1)),
        'x' => format!("{number:0>width$x}", width = precision.unwrap_or(1)),
        'P' | 'p' => format!("{sign}{}{} %", grouped(&number.unsigned_abs().checked_mul(100)?.to_string()), zeros(precision.unwrap_or(2))),
        _ => return None,
    })
}

fn float(number: f64, format: &str) -> Option<String> {
    let Some((letter, precision)) = standard(format) else { return picture(number, None, format) };
    let precision = precision.unwrap_or(2);
    let sign = if number < 0.0 { "-" } else { "" };
    Some(match letter {
        'F' | 'f' => format!("{number:.precision$}"),
        'N' | 'n' => {
            let text = format!("{:.precision$}", number.abs());
            let (whole, part) = text.split_once('.').map_or((text.as_str(), String::new()), |(w, p)| (w, format!(".{p}")));
            format!("{sign}{}{part}", grouped(whole))
        }
        'G' | 'g' => number.to_string(),
        _ => return None,
    })
}

fn zeros(count: usize) -> String {
    if count == 0 { String::new() } else { format!(".{}", "0".repeat(count)) }
}
fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A custom format of `0`, `#`, `,` and `.` alone.
fn picture(number: f64, whole: Option<i64>, format: &str) -> Option<String> {
    if format.len() > 64 || !format.chars().all(|c| matches!(c, '0' | '#' | ',' | '.')) || format.matches('.').count() > 1 {
        return None;
    }
    let (before, after) = format.split_once('.').unwrap_or((format, ""));
    let least = before.chars().skip_while(|c| *c != '0').filter(|c| *c != ',').count();
    let text = match whole {
        Some(whole) => format!("{}.{}", whole.unsigned_abs(), "0".repeat(after.len())),
        None => format!("{:.width$}", number.abs(), width = after.len()),
    };
    let (digits, part) = text.split_once('.').unwrap_or((&text, ""));
    let mut part = part.to_owned();
    let kept = after.rfind('0').map_or(0, |at| at + 1);
    while part.len() > kept && part.ends_with('0') {
        part.pop();
    }
    let digits = if digits == "0" && least == 0 { "" } else { digits };
    let digits = format!("{digits:0>least$}");
    let digits = if before.contains(',') { grouped(&digits) } else { digits };
    let sign = if number < 0.0 { "-" } else { "" };
    Some(if part.is_empty() { format!("{sign}{digits}") } else { format!("{sign}{digits}.{part}") })
}
