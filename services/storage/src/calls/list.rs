//! Lists, a page at a time (Azure Storage REST reference, "List Containers", "List Blobs").
//!
//! With a delimiter, names that share a prefix up to it fold into one line. The walk does not read them all: after a
//! folded prefix it seeks past the last name that could have it.

use super::{container, fail, xml};
use crate::model::{BLOBS, Blob, CONTAINERS, Container, Mark, UPLOADS, Upload, under};
use crate::wire::{self, Asked, Line};
use base::{Error, Result, Stored};
use base64::prelude::*;
use service::{Call, Head, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Found, Outcome, Permit, Read, Span, Table};

type Service = Arc<crate::Storage>;

const RESULTS_MAX: usize = 5_000;
/// Rows read at once.
const PAGE_ROWS: usize = 1_000;
/// Row names keep their order up to this many bytes ([`trust::Batch`]); what is longer is filtered, not sought.
const ORDERED_BYTES: usize = 1_024;
/// Above every UTF-8 text that begins with what stands before it.
const ABOVE: u8 = 0xFF;

/// What a list request says. Errors: `OutOfRangeQueryParameterValue`, `InvalidQueryParameterValue`, not implemented.
struct Wish {
    asked: Asked,
    limit: usize,
    from: Option<Vec<u8>>,
    metadata: bool,
    uncommitted: bool,
}

impl Wish {
    fn of(head: &Head) -> Result<Wish> {
        let q = |name: &str| head.query.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
        let results_max = match q("maxresults") {
            None => None,
            Some(text) => {
                let number: usize = text.parse().map_err(|_| wire::bad_query("maxresults"))?;
                if number == 0 {
                    return Err(Error::invalid(
                        "OutOfRangeQueryParameterValue",
                        "One of the query parameters specified in the request URI is outside the permissible range.",
                    )
                    .at("maxresults"));
                }
                Some(number)
            }
        };
        let (mut metadata, mut uncommitted) = (false, false);
        for include in q("include").iter().flat_map(|i| i.split(',')) {
            match include.trim() {
                "metadata" => metadata = true,
                "uncommittedblobs" => uncommitted = true,
                // there are none of these, so a list that includes them is the same list
                ""
                | "snapshots"
                | "versions"
                | "deleted"
                | "deletedwithversions"
                | "copy"
                | "tags"
                | "immutabilitypolicy"
                | "legalhold"
                | "permissions"
                | "system" => {}
                _ => return Err(wire::bad_query("include")),
            }
        }
        for (name, what) in [
            ("showonly", "A list of some kinds of entries only"),
            ("startfrom", "A list from a given name"),
            ("endbefore", "A list up to a given name"),
        ] {
            if head.query.has(name) {
                return Err(Error::not_implemented(what));
            }
        }
        let from = match q("marker") {
            None => None,
            Some(marker) => {
                Some(BASE64_URL_SAFE_NO_PAD.decode(&marker).ok().filter(|m| m.len() <= 4_100).ok_or_else(|| wire::bad_query("marker"))?)
            }
        };
        let asked = Asked {
            endpoint: endpoint(head),
            container: head.params.has("container").then(|| head.params.get("container").to_owned()),
            prefix: q("prefix"),
            marker: q("marker"),
            delimiter: q("delimiter"),
            results_max,
        };
        Ok(Wish { limit: results_max.unwrap_or(RESULTS_MAX).min(RESULTS_MAX), asked, from, metadata, uncommitted })
    }
}

/// The account's URL as this client reached it.
fn endpoint(head: &Head) -> String {
    let account = head.params.get("account");
    if head.host.starts_with(&format!("{account}.")) {
        format!("https://{}{}/", head.host, head.urls.port_suffix())
    } else {
        format!("https://{}{}/{account}", head.host, head.urls.port_suffix())
    }
}

fn marker(name: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(name)
}

/// "List Containers".
pub async fn containers(_: Service, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let wish = match Wish::of(&call.head) {
        Ok(wish) => wish,
        Err(error) => return fail(permit, error).await,
    };
    let prefix = wish.asked.prefix.clone().unwrap_or_default();
    let (found, next) = container_page(&permit, &prefix, wish.from.clone(), wish.limit).await?;
    let receipt = permit.close(Outcome::done(200)).await?;
    Ok(xml(receipt, wire::containers_xml(&wish.asked, &found, wish.metadata, next.map(|n| marker(&n)).as_deref())))
}

/// A page of containers and the name that the next one begins with.
pub async fn container_page<A: Access>(
    permit: &Permit<A>,
    prefix: &str,
    mut from: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Vec<(String, Container)>, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    loop {
        let page = permit
            .data()
            .scan::<Container>(CONTAINERS, span(prefix.as_bytes(), from.as_deref()), (limit - found.len()).min(PAGE_ROWS))
            .await?;
        found.extend(page.rows.into_iter().map(|(name, row)| (text(&name), row.value)));
        match page.next {
            Some(next) if found.len() < limit => from = Some(next),
            next => return Ok((found, next)),
        }
    }
}

fn span(prefix: &[u8], from: Option<&[u8]>) -> Span {
    let span = Span::prefix(prefix);
    match from {
        Some(from) => span.from(from),
        None => span,
    }
}

fn text(name: &[u8]) -> String {
    // names were UTF-8 when they were stored
    String::from_utf8_lossy(name).into_owned()
}

/// "List Blobs".
pub async fn blobs(_: Service, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let found = page(&permit, &call.head).await;
    let (wish, lines, next) = match found {
        Ok(found) => found,
        Err(error) => return fail(permit, error).await,
    };
    let receipt = permit.close(Outcome::done(200).fact("listed", lines.len().to_string())).await?;
    Ok(xml(receipt, wire::blobs_xml(&wish.asked, &lines, wish.metadata, next.map(|n| marker(&n)).as_deref())))
}

async fn page(permit: &Permit<Read>, head: &Head) -> Result<(Wish, Vec<Line>, Option<Vec<u8>>)> {
    let wish = Wish::of(head)?;
    let generation = container(permit, head.params.get("container")).await?.value.generation;
    let mut walk = Walk {
        permit,
        generation,
        prefix: wish.asked.prefix.clone().unwrap_or_default(),
        delimiter: wish.asked.delimiter.clone(),
        uncommitted: wish.uncommitted,
        limit: wish.limit,
        lines: Vec::new(),
    };
    let next = walk.run(wish.from.clone()).await?;
    let lines = walk.lines;
    Ok((wish, lines, next))
}

/// A walk over the names of a container. Names and positions are without the generation.
struct Walk<'p, A: Access> {
    permit: &'p Permit<A>,
    generation: Mark,
    prefix: String,
    delimiter: Option<String>,
    uncommitted: bool,
    limit: usize,
    lines: Vec<Line>,
}

enum Item {
    Blob(Box<Blob>),
    Upload(Upload),
}

impl<A: Access> Walk<'_, A> {
    /// Fills `lines`; gives the position of the next page, if there is one.
    async fn run(&mut self, mut from: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        // the last folded prefix: names under it add nothing
        let mut folded: Option<String> = None;
        loop {
            let (items, next) = self.items(from.as_deref()).await?;
            for (name, item) in items {
                if !name.starts_with(&self.prefix) || folded.as_ref().is_some_and(|f| name.starts_with(f)) {
                    continue;
                }
                if self.lines.len() == self.limit {
                    return Ok(Some(name.into_bytes()));
                }
                let group = self.group(&name);
                self.lines.push(match (&group, item) {
                    (Some(group), _) => Line::Prefix(group.clone()),
                    (None, Item::Blob(blob)) => Line::Blob(name, blob),
                    (None, Item::Upload(upload)) => Line::Uncommitted(name, upload.created),
                });
                folded = group.or(folded);
            }
            let Some(next) = next else { return Ok(None) };
            from = Some(match &folded {
                Some(f) if next.starts_with(f.as_bytes()) && f.len() < ORDERED_BYTES => [f.as_bytes(), &[ABOVE]].concat(),
                _ => next,
            });
        }
    }

    /// The prefix that a name folds into.
    fn group(&self, name: &str) -> Option<String> {
        let delimiter = self.delimiter.as_deref()?;
        let rest = name.get(self.prefix.len()..)?;
        let at = rest.find(delimiter)?;
        Some(name[..self.prefix.len() + at + delimiter.len()].to_owned())
    }

    /// A page of rows in order, and where the next begins.
    async fn items(&self, from: Option<&[u8]>) -> Result<(Vec<(String, Item)>, Option<Vec<u8>>)> {
        let (blobs, next) = self.rows::<Blob>(BLOBS, from).await?;
        let mut items: Vec<(String, Item)> = blobs.into_iter().map(|(name, found)| (name, Item::Blob(Box::new(found.value)))).collect();
        if !self.uncommitted {
            return Ok((items, next));
        }
        let (uploads, upload_next) = self.rows::<Upload>(UPLOADS, from).await?;
        // only up to where both tables were read
        let horizon = [&next, &upload_next].into_iter().flatten().min().cloned();
        let there: std::collections::HashSet<String> = items.iter().map(|(name, _)| name.clone()).collect();
        items.extend(uploads.into_iter().filter(|(name, _)| !there.contains(name)).map(|(name, found)| (name, Item::Upload(found.value))));
        items.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        if let Some(horizon) = &horizon {
            items.retain(|(name, _)| name.as_bytes() < &horizon[..]);
        }
        Ok((items, horizon))
    }

    async fn rows<T: Stored>(&self, table: Table, from: Option<&[u8]>) -> Result<(Vec<(String, Found<T>)>, Option<Vec<u8>>)> {
        let mut cut = self.prefix.len().min(ORDERED_BYTES);
        while !self.prefix.is_char_boundary(cut) {
            cut -= 1;
        }
        let prefix = under(&self.generation, &self.prefix.as_bytes()[..cut]);
        let from = from.map(|f| under(&self.generation, f));
        let rows = PAGE_ROWS.min((self.limit - self.lines.len()).saturating_add(1).max(100));
        let page = self.permit.data().scan::<T>(table, span(&prefix, from.as_deref()), rows).await?;
        let inside = |name: &[u8]| name[self.generation.len()..].to_vec();
        let rows = page.rows.into_iter().map(|(name, found)| (text(&inside(&name)), found)).collect();
        Ok((rows, page.next.map(|n| inside(&n))))
    }
}
