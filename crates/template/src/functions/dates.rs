//! Dates, always UTC, in .NET's formats and the invariant culture. As Azure counts, `P1Y` is 365 days and `P1M` 30.

use super::Arguments;
use crate::evaluate::Eval;
use crate::expression::Expression;
use crate::functions::strings::only_in_defaults;
use crate::host::Question;
use crate::words::{Got, wrong};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

/// .NET's "general" format, what `dateTimeAdd` answers without another.
const GENERAL: &str = "M/d/yyyy h:mm:ss tt";

pub(super) fn utc_now(eval: &mut Eval, name: &str, arguments: &[Expression]) -> Got {
    only_in_defaults(eval, name)?;
    let format = match arguments.first().map(|e| eval.expression(e)).transpose()? {
        None => "yyyyMMddTHHmmssZ".to_owned(),
        Some(Value::String(format)) => format,
        Some(_) => return wrong("The format of 'utcNow' must be a text"),
    };
    let now = eval.ask(Question::Now)?;
    let now = now.as_str().and_then(|t| OffsetDateTime::parse(t, &Rfc3339).ok());
    match now.and_then(|now| printed(now.to_offset(UtcOffset::UTC), &format)) {
        Some(text) => Ok(Value::String(text)),
        None => wrong("The format of 'utcNow' is not valid"),
    }
}

pub(super) fn add(a: &mut Arguments) -> Got {
    let Some(begin) = read(a.text(0)?) else { return a.fails("the base is not a date") };
    let Some(duration) = duration(a.text(1)?) else { return a.fails("the duration is not one of ISO 8601") };
    let format = if a.len() > 2 { a.text(2)? } else { GENERAL };
    let Some(end) = begin.checked_add(duration) else { return a.fails("the date is out of range") };
    printed(end, format).map_or_else(|| a.fails("the format is not valid"), |t| Ok(Value::String(t)))
}

pub(super) fn from_epoch(a: &mut Arguments) -> Got {
    let at = OffsetDateTime::from_unix_timestamp(a.integer(0)?).ok().filter(|at| (1..=9999).contains(&at.year()));
    at.and_then(|at| printed(at, "yyyy-MM-ddTHH:mm:ssZ")).map_or_else(|| a.fails("the time is out of range"), |t| Ok(Value::String(t)))
}

pub(super) fn to_epoch(a: &mut Arguments) -> Got {
    read(a.text(0)?).map_or_else(|| a.fails("the text is not a date"), |at| Ok(Value::from(at.unix_timestamp())))
}

/// A run of digits of a text that is read from the left.
struct Digits<'a>(&'a str);

impl Digits<'_> {
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let length = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if length < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        digits.parse().ok()
    }
    fn skip(&mut self, any: &[char]) -> bool {
        match self.0.strip_prefix(any) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

/// ISO 8601 (extended or compact), with `T` or a space, and `M/d/yyyy [h:mm:ss [AM|PM]]`.
fn read(text: &str) -> Option<OffsetDateTime> {
    let mut rest = Digits(text.trim());
    let american = rest.0.find('/').is_some_and(|at| at <= 2);
    let (year, month, day);
    if american {
        month = rest.number(1, 2)?;
        rest.skip(&['/']).then_some(())?;
        day = rest.number(1, 2)?;
        rest.skip(&['/']).then_some(())?;
        year = rest.number(4, 4)?;
    } else {
        year = rest.number(4, 4)?;
        let extended = rest.skip(&['-', '/']);
        month = rest.number(2, 2)?;
        (rest.skip(&['-', '/']) == extended).then_some(())?;
        day = rest.number(2, 2)?;
    }
    let date = Date::from_calendar_date(year as i32, Month::try_from(month as u8).ok()?, day as u8).ok()?;
    let time = if rest.skip(&['T', 't', ' ']) { clock(&mut rest)? } else { Time::MIDNIGHT };
    let offset = zone(rest.0.trim())?;
    Some(date.with_time(time).assume_offset(offset).to_offset(UtcOffset::UTC))
}

fn clock(rest: &mut Digits) -> Option<Time> {
    let mut hour = rest.number(1, 2)?;
    rest.skip(&[':']);
    let minute = rest.number(2, 2)?;
    rest.skip(&[':']);
    let second = rest.number(2, 2).unwrap_or(0);
    let mut nano = 0;
    if rest.skip(&['.']) {
        let before = rest.0.len();
        let part = rest.number(1, 9)?;
        nano = part * 10u32.pow(9 - (before - rest.0.len()) as u32);
    }
    let tail = rest.0.trim_start().to_ascii_uppercase();
    if tail.starts_with("AM") || tail.starts_with("PM") {
        (1..=12).contains(&hour).then_some(())?;
        hour = hour % 12 + if tail.starts_with("PM") { 12 } else { 0 };
        rest.0 = &rest.0.trim_start()[2..];
    }
    Time::from_hms_nano(hour as u8, minute as u8, second as u8, nano).ok()
}

fn zone(text: &str) -> Option<UtcOffset> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("gmt") {
        return Some(UtcOffset::UTC);
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut rest = Digits(&text[1..]);
    let hours = rest.number(2, 2)? as i8;
    rest.skip(&[':']);
    let minutes = if rest.0.is_empty() { 0 } else { rest.number(2, 2)? as i8 };
    if !rest.0.is_empty() {
        return None;
    }
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// `[-]P[nY][nM][nW][nD][T[nH][nM][nS]]`.
fn duration(text: &str) -> Option<Duration> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |t| (-1, t));
    let text = text.strip_prefix('P')?;
    let (days, clock) = text.split_once('T').map_or((text, None), |(d, c)| (d, Some(c)));
    if clock == Some("") || (days.is_empty() && clock.is_none()) {
        return None;
    }
    let mut seconds: i64 = 0;
    let day = 86_400;
    for (part, units) in [
        (days, [('Y', 365 * day), ('M', 30 * day), ('W', 7 * day), ('D', day)]),
        (clock.unwrap_or(""), [('H', 3600), ('M', 60), ('S', 1), ('S', 1)]),
    ] {
        let (mut rest, mut next) = (part, 0);
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let count: i64 = rest[..end].parse().ok()?;
            let letter = rest[end..].chars().next()?;
            let at = units[next..].iter().position(|(l, _)| *l == letter)? + next;
            seconds = seconds.checked_add(count.checked_mul(units[at].1)?)?;
            next = at + 1;
            rest = &rest[end + letter.len_utf8()..];
        }
    }
    Some(Duration::seconds(sign * seconds))
}

/// A standard format is one letter; everything else is a picture. `None`: neither.
fn printed(at: OffsetDateTime, format: &str) -> Option<String> {
    let picture = match format {
        "d" => "MM/dd/yyyy",
        "D" => "dddd, dd MMMM yyyy",
        "f" => "dddd, dd MMMM yyyy HH:mm",
        "F" | "U" => "dddd, dd MMMM yyyy HH:mm:ss",
        "g" => "MM/dd/yyyy HH:mm",
        "G" => "MM/dd/yyyy HH:mm:ss",
        "M" | "m" => "MMMM dd",
        "O" | "o" => "yyyy-MM-ddTHH:mm:ss.fffffffZ",
        "R" | "r" => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        "s" => "yyyy-MM-ddTHH:mm:ss",
        "t" => "HH:mm",
        "T" => "HH:mm:ss",
        "u" => "yyyy-MM-dd HH:mm:ssZ",
        "Y" | "y" => "yyyy MMMM",
        other => other.strip_prefix('%').unwrap_or(other),
    };
    if picture.is_empty() || (format.chars().count() == 1 && picture == format) || picture.len() > 256 {
        return None;
    }
    let mut out = String::new();
    let mut rest = picture.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => loop {
                match rest.next()? {
                    end if end == c => break,
                    '\\' => out.push(rest.next()?),
                    inside => out.push(inside),
                }
            },
            '\\' => out.push(rest.next()?),
            'd' | 'f' | 'F' | 'g' | 'h' | 'H' | 'K' | 'm' | 'M' | 's' | 't' | 'y' | 'z' => {
                let mut count = 1;
                while rest.next_if_eq(&c).is_some() {
                    count += 1;
                }
                out.push_str(&part(at, c, count)?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

fn part(at: OffsetDateTime, letter: char, count: usize) -> Option<String> {
    let short = |name: String| name.chars().take(3).collect::<String>();
    let number = |n: u32| if count == 1 { n.to_string() } else { format!("{n:02}") };
    Some(match (letter, count) {
        ('y', 1) => (at.year() % 100).to_string(),
        ('y', 2) => format!("{:02}", at.year() % 100),
        ('y', _) => format!("{:0count$}", at.year()),
        ('M', 3) => short(at.month().to_string()),
        ('M', 4..) => at.month().to_string(),
        ('M', _) => number(u8::from(at.month()).into()),
        ('d', 3) => short(at.weekday().to_string()),
        ('d', 4..) => at.weekday().to_string(),
        ('d', _) => number(at.day().into()),
        ('H', _) => number(at.hour().into()),
        ('h', _) => number(((at.hour() + 11) % 12 + 1).into()),
        ('m', _) => number(at.minute().into()),
        ('s', _) => number(at.second().into()),
        ('f' | 'F', 1..=7) => {
            let digits = format!("{:07}", at.nanosecond() / 100)[..count].to_owned();
            if letter == 'F' { digits.trim_end_matches('0').to_owned() } else { digits }
        }
        ('t', 1) => if at.hour() < 12 { "A" } else { "P" }.to_owned(),
        ('t', _) => if at.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        ('K', _) => "Z".repeat(count),
        ('z', 1) => "+0".to_owned(),
        ('z', 2) => "+00".to_owned(),
        ('z', _) => "+00:00".to_owned(),
        ('g', _) => "A.D.".to_owned(),
        _ => return None,
    })
}
