//! The messages of the blob service: names, headers and XML, to and from our types. Pure.
//!
//! Source: "Blob service REST API" and "Naming and referencing containers, blobs, and metadata" (Azure Storage REST
//! reference). Everything that comes in is bounded before it is stored.

use crate::model::{Blob, Container, Metadata, Served};
use base::{Error, Kind, Result, Timestamp};
use base64::prelude::*;
use http::HeaderMap;
use quick_xml::escape::escape;
use quick_xml::events::Event;
use std::fmt::Write;

/// Names and values of all metadata of one resource.
pub const METADATA_BYTES_MAX: usize = 8 << 10;
/// Blocks in a blob.
pub const BLOCKS_MAX: usize = 50_000;
/// A block list of that many blocks with the longest ids.
pub const BLOCK_LIST_BYTES_MAX: usize = 8 << 20;
/// The longest block id, before its base64.
pub const BLOCK_ID_BYTES_MAX: usize = 64;
const BLOB_NAME_CHARS_MAX: usize = 1_024;
/// The longest header value that is kept (content type and its kin).
const SERVED_BYTES_MAX: usize = 1_024;

/// `yyyy-mm-dd`, any: clients ship before we know their version.
pub fn is_version(text: &str) -> bool {
    text.len() == 10 && Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).is_some()
}

/// 3 to 63 of `a-z 0-9 -`, no two hyphens in a row, none at an end; or one of Azure's own `$root`, `$web`, `$logs`. Errors:
/// `OutOfRangeInput` for another length, `InvalidResourceName` for other characters.
pub fn check_container_name(name: &str) -> Result<()> {
    if matches!(name, "$root" | "$web" | "$logs") {
        return Ok(());
    }
    if !(3..=63).contains(&name.chars().count()) {
        return Err(Error::invalid("OutOfRangeInput", "The specified resource name length is not within the permissible limits."));
    }
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    match plain {
        true => Ok(()),
        false => Err(Error::invalid("InvalidResourceName", "The specified resource name contains invalid characters.")),
    }
}

/// May a client make a container of this name? `$logs` is the service's own, made where analytics are on: they are not built.
pub fn check_new_container(name: &str) -> Result<()> {
    match name {
        "$logs" => Err(Error::invalid("InvalidResourceName", "The container '$logs' is made by the service, not by its clients.")),
        _ => check_container_name(name),
    }
}

/// 1 to 1,024 characters, without NUL.
pub fn check_blob_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().count() > BLOB_NAME_CHARS_MAX || name.contains('\0') {
        return Err(Error::invalid("InvalidUri", "A blob name has 1 to 1024 characters."));
    }
    Ok(())
}

pub fn missing_header(name: &'static str) -> Error {
    Error::invalid("MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified.").at(name)
}
pub fn bad_header(name: &'static str) -> Error {
    Error::invalid("InvalidHeaderValue", format!("The value for one of the HTTP headers is not in the correct format: '{name}'.")).at(name)
}
pub fn bad_query(name: &'static str) -> Error {
    Error::invalid(
        "InvalidQueryParameterValue",
        format!("Value for one of the query parameters specified in the request URI is invalid: '{name}'."),
    )
    .at(name)
}

/// A header as text. Error `InvalidHeaderValue` when it is there but not UTF-8.
pub fn text<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>> {
    headers.get(name).map(|v| std::str::from_utf8(v.as_bytes()).map_err(|_| bad_header(name))).transpose()
}

/// A digest in base64, of exactly `N` bytes. Errors: `InvalidMd5` for MD5 headers, else `InvalidHeaderValue`.
pub fn digest<const N: usize>(headers: &HeaderMap, name: &'static str) -> Result<Option<[u8; N]>> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let wrong = || {
        if N == 16 {
            Error::invalid("InvalidMd5", "The MD5 value specified in the request is invalid. It must be 128 bits and Base64-encoded.")
                .at(name)
        } else {
            bad_header(name)
        }
    };
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| wrong())?;
    bytes.try_into().map(Some).map_err(|_| wrong())
}

/// The `x-ms-meta-…` headers. Errors: `InvalidMetadata` for a name that is no C# identifier or a name given twice,
/// `MetadataTooLarge`, `EmptyMetadataKey`.
pub fn metadata(headers: &HeaderMap) -> Result<Metadata> {
    let mut found = Metadata::new();
    let mut bytes = 0;
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix("x-ms-meta-") else { continue };
        if key.is_empty() {
            return Err(Error::invalid("EmptyMetadataKey", "The key for one of the metadata key-value pairs is empty."));
        }
        let invalid = || Error::invalid("InvalidMetadata", "The metadata specified is invalid. It has characters that are not permitted.");
        let ok = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !key.as_bytes()[0].is_ascii_digit();
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|v| std::str::from_utf8(v.as_bytes()).ok()).ok_or_else(invalid)?.trim();
        if !ok || values.next().is_some() || value.chars().any(char::is_control) {
            return Err(invalid());
        }
        bytes += key.len() + value.len();
        found.push((key.to_owned(), value.to_owned()));
    }
    if bytes > METADATA_BYTES_MAX {
        return Err(Error::invalid("MetadataTooLarge", "The size of the specified metadata exceeds the limit of 8 KiB."));
    }
    Ok(found)
}

/// The headers that a blob is to be served with: `x-ms-blob-content-type` and its kin, and where `plain` allows it (Put
/// Blob) the ordinary header in its place.
pub fn served(headers: &HeaderMap, plain: bool) -> Result<Served> {
    let one = |ours: &'static str, ordinary: &'static str| -> Result<Option<String>> {
        let value = match text(headers, ours)? {
            None if plain => text(headers, ordinary)?,
            other => other,
        };
        match value {
            Some(v) if v.len() > SERVED_BYTES_MAX || v.chars().any(char::is_control) => Err(bad_header(ours)),
            Some(v) => Ok(Some(v.trim().to_owned()).filter(|v| !v.is_empty())),
            None => Ok(None),
        }
    };
    Ok(Served {
        content_type: one("x-ms-blob-content-type", "content-type")?,
        content_encoding: one("x-ms-blob-content-encoding", "content-encoding")?,
        content_language: one("x-ms-blob-content-language", "content-language")?,
        cache_control: one("x-ms-blob-cache-control", "cache-control")?,
        content_disposition: one("x-ms-blob-content-disposition", "content-disposition")?,
        content_md5: digest(headers, "x-ms-blob-content-md5")?,
    })
}

/// `x-ms-access-tier`. Error `InvalidHeaderValue`; tiers of other blob types are refused, `Archive` is not built.
pub fn tier(headers: &HeaderMap) -> Result<Option<String>> {
    match text(headers, "x-ms-access-tier")? {
        None => Ok(None),
        Some(t @ ("Hot" | "Cool" | "Cold")) => Ok(Some(t.to_owned())),
        Some("Archive") => Err(Error::not_implemented("The access tier 'Archive'")),
        Some(_) => Err(bad_header("x-ms-access-tier")),
    }
}

/// What a request asks for by header that we can't give: better said than ignored.
pub fn refuse_unbuilt(headers: &HeaderMap) -> Result<()> {
    const UNBUILT: [(&str, &str); 11] = [
        ("x-ms-tags", "Blob tags"),
        ("x-ms-if-tags", "A condition on blob tags"),
        ("x-ms-encryption-key", "A customer-provided encryption key"),
        ("x-ms-encryption-scope", "An encryption scope"),
        ("x-ms-immutability-policy-until-date", "An immutability policy"),
        ("x-ms-immutability-policy-mode", "An immutability policy"),
        ("x-ms-legal-hold", "A legal hold"),
        ("x-ms-structured-body", "A structured message body"),
        ("x-ms-expiry-option", "Blob expiry"),
        ("x-ms-blob-public-access", "Public access to a container"),
        ("x-ms-default-encryption-scope", "An encryption scope"),
    ];
    if let Some((_, what)) =
        UNBUILT.iter().find(|(name, _)| headers.get(*name).is_some_and(|v| !v.is_empty() && v != "false" && v != "$account-encryption-key"))
    {
        return Err(Error::not_implemented(what));
    }
    if headers.contains_key("x-ms-lease-id") {
        return Err(Error::new(Kind::PreconditionFailed, "LeaseNotPresentWithBlobOperation", "There is currently no lease on the blob."));
    }
    Ok(())
}

/// One line of a block list to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Committed(Vec<u8>),
    Uncommitted(Vec<u8>),
    Latest(Vec<u8>),
}

impl Wanted {
    pub fn id(&self) -> &[u8] {
        match self {
            Wanted::Committed(id) | Wanted::Uncommitted(id) | Wanted::Latest(id) => id,
        }
    }
}

/// `blockid` or the text of a block list's element: base64 of 1 to 64 bytes.
pub fn block_id(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok().filter(|id| (1..=BLOCK_ID_BYTES_MAX).contains(&id.len()))
}

/// The body of Put Block List. Errors: `InvalidXmlDocument`, `BlockListTooLong`, `InvalidBlockId`.
pub fn block_list(bytes: &[u8]) -> Result<Vec<Wanted>> {
    let invalid = || Error::invalid("InvalidXmlDocument", "XML specified is not syntactically valid.");
    let text = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    let mut reader = quick_xml::Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut wanted = Vec::new();
    // where we are: before the list, in it, in one of its elements
    let (mut in_list, mut done, mut element) = (false, false, None::<(String, String)>);
    loop {
        match reader.read_event().map_err(|_| invalid())? {
            Event::Start(tag) if !in_list && !done && tag.name().as_ref() == "BlockList" => in_list = true,
            Event::Empty(tag) if !in_list && !done && tag.name().as_ref() == "BlockList" => done = true,
            Event::Start(tag) if in_list && element.is_none() => element = Some((tag.name().as_ref().to_owned(), String::new())),
            Event::Text(part) => {
                let part: &str = part.as_ref();
                match &mut element {
                    Some((_, id)) => id.push_str(part),
                    None if part.trim().is_empty() => {}
                    None => return Err(invalid()),
                }
            }
            // base64 needs no entity
            Event::End(_) => match element.take() {
                Some((kind, id)) => {
                    let id = block_id(id.trim()).ok_or_else(|| {
                        Error::invalid("InvalidBlockId", "The specified block ID is invalid. The block ID must be Base64-encoded.")
                    })?;
                    wanted.push(match kind.as_str() {
                        "Committed" => Wanted::Committed(id),
                        "Uncommitted" => Wanted::Uncommitted(id),
                        "Latest" => Wanted::Latest(id),
                        _ => return Err(invalid()),
                    });
                    if wanted.len() > BLOCKS_MAX {
                        return Err(Error::invalid("BlockListTooLong", "The block list may not contain more than 50,000 blocks."));
                    }
                }
                None if in_list => (in_list, done) = (false, true),
                None => return Err(invalid()),
            },
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if done => return Ok(wanted),
            _ => return Err(invalid()),
        }
    }
}

pub const XML: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";

/// The body of a refusal ("Status and error codes").
pub fn error_xml(code: &str, message: &str, request: &str, at: Timestamp) -> String {
    format!(
        "{XML}<Error><Code>{}</Code><Message>{}\nRequestId:{request}\nTime:{}</Message></Error>",
        escape(code),
        escape(printable(message)),
        at.rfc3339()
    )
}

/// Characters that XML 1.0 can't hold become `?`.
fn printable(text: &str) -> String {
    text.chars().map(|c| if is_xml(c) { c } else { '?' }).collect()
}
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}

/// A name in a list. One that XML can't hold is percent-encoded and says so (since version 2021-02-12); so is one with
/// line ends, which a reader of XML would change.
fn name_xml(name: &str) -> String {
    if name.chars().all(|c| is_xml(c) && c != '\r' && c != '\n') {
        return format!("<Name>{}</Name>", escape(name));
    }
    format!("<Name Encoded=\"true\">{}</Name>", wire::percent_encode(name, b"/"))
}

/// What a list request asked for, echoed in its answer.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub endpoint: String,
    pub container: Option<String>,
    pub prefix: Option<String>,
    pub marker: Option<String>,
    pub delimiter: Option<String>,
    /// `None` when the client did not say.
    pub results_max: Option<usize>,
}

impl Asked {
    fn head(&self) -> String {
        let mut out = format!("{XML}<EnumerationResults ServiceEndpoint=\"{}\"", escape(&self.endpoint));
        if let Some(container) = &self.container {
            let _ = write!(out, " ContainerName=\"{}\"", escape(container));
        }
        out.push('>');
        for (tag, value) in [("Prefix", &self.prefix), ("Marker", &self.marker)] {
            element(&mut out, tag, value.as_deref());
        }
        element(&mut out, "MaxResults", self.results_max.map(|n| n.to_string()).as_deref());
        element(&mut out, "Delimiter", self.delimiter.as_deref());
        out
    }
}

/// Nothing where there is no value.
fn element(out: &mut String, tag: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = write!(out, "<{tag}>{}</{tag}>", escape(printable(value)));
    }
}

fn metadata_xml(out: &mut String, metadata: &Metadata) {
    out.push_str("<Metadata>");
    metadata.iter().for_each(|(k, v)| element(out, k, Some(v)));
    out.push_str("</Metadata>");
}

fn next_marker(out: &mut String, next: Option<&str>) {
    match next {
        Some(next) => element(out, "NextMarker", Some(next)),
        None => out.push_str("<NextMarker/>"),
    }
}

/// "List Containers", response body.
pub fn containers_xml(asked: &Asked, containers: &[(String, Container)], with_metadata: bool, next: Option<&str>) -> String {
    let mut out = asked.head() + "<Containers>";
    for (name, c) in containers {
        let _ = write!(
            out,
            "<Container>{}<Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>\
             <DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope><DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>\
             <HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold></Properties>",
            name_xml(name),
            c.modified.http_date(),
            escape(c.etag.quoted())
        );
        if with_metadata {
            metadata_xml(&mut out, &c.metadata);
        }
        out.push_str("</Container>");
    }
    out.push_str("</Containers>");
    next_marker(&mut out, next);
    out + "</EnumerationResults>"
}

/// One line of a list of blobs.
#[derive(Clone, Debug)]
pub enum Line {
    Blob(String, Box<Blob>),
    /// Only blocks so far.
    Uncommitted(String, Timestamp),
    Prefix(String),
}

/// "List Blobs", response body.
pub fn blobs_xml(asked: &Asked, lines: &[Line], with_metadata: bool, next: Option<&str>) -> String {
    let mut out = asked.head() + "<Blobs>";
    for line in lines {
        match line {
            Line::Prefix(name) => {
                let _ = write!(out, "<BlobPrefix>{}</BlobPrefix>", name_xml(name));
            }
            Line::Uncommitted(name, created) => {
                let _ = write!(
                    out,
                    "<Blob>{}<Properties><Last-Modified>{}</Last-Modified><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>",
                    name_xml(name),
                    created.http_date()
                );
            }
            Line::Blob(name, blob) => blob_xml(&mut out, name, blob, with_metadata),
        }
    }
    out.push_str("</Blobs>");
    next_marker(&mut out, next);
    out + "</EnumerationResults>"
}

fn blob_xml(out: &mut String, name: &str, blob: &Blob, with_metadata: bool) {
    let s = &blob.served;
    let _ = write!(
        out,
        "<Blob>{}<Properties><Creation-Time>{}</Creation-Time><Last-Modified>{}</Last-Modified><Etag>{}</Etag><Content-Length>{}</Content-Length>",
        name_xml(name),
        blob.created.http_date(),
        blob.modified.http_date(),
        blob.etag,
        blob.content.length
    );
    element(out, "Content-Type", Some(s.content_type.as_deref().unwrap_or(DEFAULT_TYPE)));
    for (tag, value) in [("Content-Encoding", &s.content_encoding), ("Content-Language", &s.content_language)] {
        element(out, tag, Some(value.as_deref().unwrap_or("")));
    }
    element(out, "Content-MD5", Some(&s.content_md5.map(|d| BASE64_STANDARD.encode(d)).unwrap_or_default()));
    for (tag, value) in [("Cache-Control", &s.cache_control), ("Content-Disposition", &s.content_disposition)] {
        element(out, tag, Some(value.as_deref().unwrap_or("")));
    }
    let _ = write!(out, "<BlobType>BlockBlob</BlobType><AccessTier>{}</AccessTier>", blob.tier.as_deref().unwrap_or("Hot"));
    match blob.tier_changed {
        Some(at) => element(out, "AccessTierChangeTime", Some(&at.http_date())),
        None => out.push_str("<AccessTierInferred>true</AccessTierInferred>"),
    }
    out.push_str(
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>",
    );
    if with_metadata {
        metadata_xml(out, &blob.metadata);
    }
    out.push_str("</Blob>");
}

/// The content type of a blob that was given none.
pub const DEFAULT_TYPE: &str = "application/octet-stream";

/// "Get Block List", response body. Ids and sizes in bytes; `None` for a list that was not asked for.
pub fn block_list_xml(committed: Option<&[(Vec<u8>, u64)]>, uncommitted: Option<&[(Vec<u8>, u64)]>) -> String {
    let mut out = format!("{XML}<BlockList>");
    for (tag, blocks) in [("CommittedBlocks", committed), ("UncommittedBlocks", uncommitted)] {
        let Some(blocks) = blocks else { continue };
        let _ = write!(out, "<{tag}>");
        for (id, bytes) in blocks {
            let _ = write!(out, "<Block><Name>{}</Name><Size>{bytes}</Size></Block>", BASE64_STANDARD.encode(id));
        }
        let _ = write!(out, "</{tag}>");
    }
    out + "</BlockList>"
}

/// "Get Blob Service Properties": what holds for every account.
pub fn service_properties_xml() -> String {
    format!(
        "{XML}<StorageServiceProperties><Logging><Version>1.0</Version><Read>false</Read><Write>false</Write><Delete>false</Delete>\
         <RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging><HourMetrics><Version>1.0</Version><Enabled>false</Enabled>\
         <RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></HourMetrics><MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled>\
         <RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></MinuteMetrics><Cors/><DeleteRetentionPolicy><Enabled>false</Enabled>\
         </DeleteRetentionPolicy><StaticWebsite><Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>"
    )
}

/// Does the body of "Set Blob Service Properties" ask for nothing but the defaults? Errors: `InvalidXmlDocument`.
pub fn only_default_properties(bytes: &[u8]) -> Result<bool> {
    let invalid = || Error::invalid("InvalidXmlDocument", "XML specified is not syntactically valid.");
    let text = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    let mut reader = quick_xml::Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut depth, mut defaults, mut seen) = (0u32, true, false);
    loop {
        match reader.read_event().map_err(|_| invalid())? {
            Event::Start(tag) => {
                if depth == 0 && tag.name().as_ref() != "StorageServiceProperties" {
                    return Err(invalid());
                }
                defaults &= tag.name().as_ref() != "CorsRule";
                seen = true;
                depth += 1;
            }
            Event::Empty(_) if depth > 0 => {}
            Event::Empty(tag) if tag.name().as_ref() == "StorageServiceProperties" => seen = true,
            Event::End(_) => depth = depth.checked_sub(1).ok_or_else(invalid)?,
            // every switch there is stands at false
            Event::Text(part) => {
                let part: &str = part.as_ref();
                defaults &= part.trim() != "true";
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if depth == 0 && seen => return Ok(defaults),
            _ => return Err(invalid()),
        }
    }
}

pub fn fuzz_block_list(bytes: &[u8]) {
    if let Ok(list) = block_list(bytes) {
        let mut body = String::from("<BlockList>");
        for wanted in &list {
            let tag = match wanted {
                Wanted::Committed(_) => "Committed",
                Wanted::Uncommitted(_) => "Uncommitted",
                Wanted::Latest(_) => "Latest",
            };
            let _ = write!(body, "<{tag}>{}</{tag}>", BASE64_STANDARD.encode(wanted.id()));
        }
        assert_eq!(block_list((body + "</BlockList>").as_bytes()).ok(), Some(list));
    }
}

pub fn fuzz_service_properties(bytes: &[u8]) {
    let _ = only_default_properties(bytes);
}

pub fn fuzz_headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|b| *b == b'\n').take(64) {
        let Some(at) = line.iter().position(|b| *b == b':') else { continue };
        let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(&line[..at]), http::HeaderValue::from_bytes(&line[at + 1..])) else {
            continue;
        };
        headers.append(name, value);
    }
    if let Ok(found) = metadata(&headers) {
        assert!(found.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() <= METADATA_BYTES_MAX);
    }
    let _ = (served(&headers, true), tier(&headers), refuse_unbuilt(&headers));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ETag;
    use trust::Content;

    #[test]
    fn container_names_follow_azures_rule() {
        for good in ["abc", "a-b-c", "0aa", "$root", &"a".repeat(63)] {
            assert!(check_container_name(good).is_ok(), "{good}");
        }
        for bad in ["Abc", "a--b", "-ab", "ab-", "a_b", "$other", "é12"] {
            assert_eq!(check_container_name(bad).unwrap_err().code, "InvalidResourceName", "{bad}");
        }
        for bad in ["", "ab", "é1", "A", &"a".repeat(64), &"A".repeat(64)] {
            assert_eq!(check_container_name(bad).unwrap_err().code, "OutOfRangeInput", "{bad}");
        }
        for (name, code) in [("$logs", "InvalidResourceName"), ("ab", "OutOfRangeInput")] {
            assert_eq!(check_new_container(name).unwrap_err().code, code, "{name}");
        }
        assert!(["$root", "$web", "abc"].iter().all(|name| check_new_container(name).is_ok()));
    }

    #[test]
    fn blob_names_count_characters() {
        assert!(check_blob_name(&"é".repeat(1024)).is_ok());
        assert!(check_blob_name(&"é".repeat(1025)).is_err());
        assert!(check_blob_name("").is_err());
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        pairs.iter().for_each(|(k, v)| {
            map.append(*k, http::HeaderValue::from_bytes(v.as_bytes()).unwrap());
        });
        map
    }

    #[test]
    fn metadata_is_checked() {
        assert_eq!(metadata(&headers(&[("x-ms-meta-a_1", " v "), ("x-ms-date", "x")])).unwrap(), vec![("a_1".to_owned(), "v".to_owned())]);
        for (bad, code) in [("x-ms-meta-", "EmptyMetadataKey"), ("x-ms-meta-1a", "InvalidMetadata"), ("x-ms-meta-a-b", "InvalidMetadata")] {
            assert_eq!(metadata(&headers(&[(bad, "v")])).unwrap_err().code, code, "{bad}");
        }
        assert_eq!(metadata(&headers(&[("x-ms-meta-a", "1"), ("x-ms-meta-a", "2")])).unwrap_err().code, "InvalidMetadata");
        assert_eq!(metadata(&headers(&[("x-ms-meta-a", &"v".repeat(8192))])).unwrap_err().code, "MetadataTooLarge");
    }

    #[test]
    fn put_blob_takes_the_ordinary_headers_where_its_own_are_missing() {
        let map = headers(&[("content-type", "text/plain"), ("x-ms-blob-content-language", "fr"), ("content-language", "en")]);
        let both = served(&map, true).unwrap();
        assert_eq!((both.content_type.as_deref(), both.content_language.as_deref()), (Some("text/plain"), Some("fr")));
        assert_eq!(served(&map, false).unwrap().content_type, None);
        assert_eq!(served(&headers(&[("x-ms-blob-content-md5", "AAAA")]), true).unwrap_err().code, "InvalidMd5");
    }

    #[test]
    fn block_lists_are_read_strictly() {
        let good = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n <Latest>AAAA</Latest><Committed>AAAB</Committed>\n<Uncommitted>AAAC</Uncommitted></BlockList>";
        assert_eq!(
            block_list(good.as_bytes()).unwrap(),
            [Wanted::Latest(vec![0, 0, 0]), Wanted::Committed(vec![0, 0, 1]), Wanted::Uncommitted(vec![0, 0, 2])]
        );
        assert_eq!(block_list(b"<BlockList/>").unwrap(), []);
        assert_eq!(block_list(b"<BlockList></BlockList>").unwrap(), []);
        for (bad, code) in [
            ("", "InvalidXmlDocument"),
            ("<BlockList>", "InvalidXmlDocument"),
            ("<Blocks/>", "InvalidXmlDocument"),
            ("<BlockList><Other>AAAA</Other></BlockList>", "InvalidXmlDocument"),
            ("<BlockList>AAAA</BlockList>", "InvalidXmlDocument"),
            ("<BlockList><Latest><Latest>AAAA</Latest></Latest></BlockList>", "InvalidXmlDocument"),
            ("<BlockList/><BlockList/>", "InvalidXmlDocument"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><BlockList/>", "InvalidXmlDocument"),
            ("<BlockList><Latest>?</Latest></BlockList>", "InvalidBlockId"),
            ("<BlockList><Latest></Latest></BlockList>", "InvalidBlockId"),
        ] {
            assert_eq!(block_list(bad.as_bytes()).unwrap_err().code, code, "{bad}");
        }
    }

    #[test]
    fn too_many_blocks_are_refused() {
        let body = |n: usize| format!("<BlockList>{}</BlockList>", "<Latest>AAAA</Latest>".repeat(n));
        assert_eq!(block_list(body(BLOCKS_MAX).as_bytes()).unwrap().len(), BLOCKS_MAX);
        assert_eq!(block_list(body(BLOCKS_MAX + 1).as_bytes()).unwrap_err().code, "BlockListTooLong");
    }

    fn blob() -> Blob {
        Blob {
            content: Content::empty(),
            etag: ETag(0x8DE2A3),
            created: Timestamp(1_795_508_032_000),
            modified: Timestamp(1_795_508_033_000),
            served: Served { content_type: Some("text/plain".into()), content_md5: Some([0; 16]), ..Served::default() },
            metadata: vec![("who".into(), "<Zoé>".into())],
            tier: None,
            tier_changed: None,
            blocks: None,
        }
    }

    #[test]
    fn lists_print_as_azures() {
        let asked = Asked {
            endpoint: "https://a.blob/".into(),
            container: Some("c".into()),
            prefix: Some("a&b".into()),
            results_max: Some(3),
            ..Asked::default()
        };
        let lines = [
            Line::Blob("a&b/1".into(), Box::new(blob())),
            Line::Prefix("a&b/\u{1}/".into()),
            Line::Uncommitted("a&bz".into(), Timestamp(0)),
        ];
        let printed = blobs_xml(&asked, &lines, true, Some("next"));
        assert_eq!(
            printed,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a.blob/\" ContainerName=\"c\"><Prefix>a&amp;b</Prefix>\
             <MaxResults>3</MaxResults><Blobs><Blob><Name>a&amp;b/1</Name><Properties><Creation-Time>Tue, 24 Nov 2026 08:13:52 GMT</Creation-Time>\
             <Last-Modified>Tue, 24 Nov 2026 08:13:53 GMT</Last-Modified><Etag>0x8DE2A3</Etag><Content-Length>0</Content-Length>\
             <Content-Type>text/plain</Content-Type><Content-Encoding></Content-Encoding><Content-Language></Content-Language>\
             <Content-MD5>AAAAAAAAAAAAAAAAAAAAAA==</Content-MD5><Cache-Control></Cache-Control><Content-Disposition></Content-Disposition>\
             <BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>\
             <LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties><Metadata><who>&lt;Zoé&gt;</who></Metadata></Blob>\
             <BlobPrefix><Name Encoded=\"true\">a%26b/%01/</Name></BlobPrefix><Blob><Name>a&amp;bz</Name><Properties>\
             <Last-Modified>Thu, 01 Jan 1970 00:00:00 GMT</Last-Modified><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>\
             </Blobs><NextMarker>next</NextMarker></EnumerationResults>"
        );
    }

    #[test]
    fn errors_print_as_azures() {
        assert_eq!(
            error_xml("BlobNotFound", "No <blob>.", "r", Timestamp(0)),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobNotFound</Code><Message>No &lt;blob&gt;.\nRequestId:r\nTime:1970-01-01T00:00:00Z</Message></Error>"
        );
    }

    #[test]
    fn only_defaults_may_be_set() {
        assert!(only_default_properties(service_properties_xml().as_bytes()).unwrap());
        assert!(!only_default_properties(service_properties_xml().replace("<Enabled>false", "<Enabled>true").as_bytes()).unwrap());
        assert!(
            !only_default_properties(b"<StorageServiceProperties><Cors><CorsRule></CorsRule></Cors></StorageServiceProperties>").unwrap()
        );
        assert!(only_default_properties(b"<Other/>").is_err());
        assert!(only_default_properties(b"").is_err());
    }
}
