//! Resource Manager: groups made over sixteen connections, and lists when there are ten thousand.

use super::ROUNDS;
use crate::Options;
use crate::http::{Connection, Head};
use crate::load::{Turn, fill, middle, step, stretch};
use crate::region::Region;
use crate::table::{Row, Table, Target};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use std::time::Instant;

const GROUPS: usize = 10_000;
const PAGES: usize = 200;
const WHOLE_LISTS: usize = 10;

pub async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let region = Region::start(&options.bleu, folder.path())?;
    let client = region.client().await?;
    let put = |prefix: String| {
        let (bearer, subscription) = (client.bearer.clone(), region.subscription.clone());
        step(move |connection: &mut Connection, turn: Turn| {
            let path = format!("/subscriptions/{subscription}/resourceGroups/{prefix}{}-{}?api-version=2024-11-01", turn.task, turn.count);
            let bearer = bearer.clone();
            Box::pin(async move { connection.arm("PUT", &path, &bearer, r#"{"location":"francecentral"}"#).await.map(drop) })
        })
    };
    let mut made = Vec::new();
    for round in 0..ROUNDS {
        made.push(stretch(&client.caller, region.id(), options.stretch_s(), put(format!("r{round}-"))).await?);
    }
    let made = middle(&made);
    let what = "PUT resource group, durable, 16 connections";
    table.row(Row::of(what, "/s", made.per_s).target(Target::AtLeast(2_000.0)).seen(made));
    region.stop()?;

    // a region of exactly so many: what was made above depends on the machine
    let folder = tempfile::tempdir()?;
    let region = Region::start(&options.bleu, folder.path())?;
    let client = region.client().await?;
    let put = {
        let (bearer, subscription) = (client.bearer.clone(), region.subscription.clone());
        step(move |connection: &mut Connection, turn: Turn| {
            let path = format!("/subscriptions/{subscription}/resourceGroups/group-{:05}?api-version=2024-11-01", turn.count);
            let bearer = bearer.clone();
            Box::pin(async move { connection.arm("PUT", &path, &bearer, r#"{"location":"francecentral"}"#).await.map(drop) })
        })
    };
    fill(&client.caller, GROUPS, put).await?;
    let first = format!("/subscriptions/{}/resourceGroups?api-version=2024-11-01", region.subscription);
    let mut connection = client.caller.connect().await?;
    let (mut pages_ms, mut lists_ms) = (Vec::new(), Vec::new());
    for _ in 0..PAGES {
        pages_ms.push(page(&mut connection, &first, &client.bearer).await?.0);
    }
    for _ in 0..WHOLE_LISTS {
        let (mut next, mut found, mut took_ms) = (Some(first.clone()), 0, 0.0);
        while let Some(path) = next {
            let (ms, body) = page(&mut connection, &path, &client.bearer).await?;
            let body: Value = serde_json::from_slice(&body)?;
            (found, took_ms) = (found + body["value"].as_array().map_or(0, Vec::len), took_ms + ms);
            next = body["nextLink"].as_str().map(path_of).transpose()?;
        }
        // the client made one of its own
        ensure!(found == GROUPS + 1, "the list has {found} groups");
        lists_ms.push(took_ms);
    }
    let (page_p99, list_worst) = (worst_but(&mut pages_ms, 0.99), worst_but(&mut lists_ms, 1.0));
    let what = format!("page of 1,000 among {GROUPS} resource groups, p99 of {PAGES}");
    table.row(Row::of(what, "ms", page_p99).target(Target::AtMost(50.0)));
    table.row(Row::of(format!("all {GROUPS} resource groups, page by page, worst of {WHOLE_LISTS}"), "ms", list_worst));
    region.stop()
}

async fn page(connection: &mut Connection, path: &str, bearer: &str) -> Result<(f64, Bytes)> {
    let head = Head::arm("GET", path, bearer)?;
    let begun = Instant::now();
    let body = connection.send(&head, Bytes::new()).await?;
    Ok((begun.elapsed().as_secs_f64() * 1e3, body))
}

/// A link names the host that was asked; the connection goes there already.
fn path_of(link: &str) -> Result<String> {
    let uri: http::Uri = link.parse()?;
    Ok(uri.path_and_query().context("a link without a path")?.to_string())
}

fn worst_but(times_ms: &mut [f64], part: f64) -> f64 {
    times_ms.sort_by(f64::total_cmp);
    let at = (times_ms.len() as f64 * part) as usize;
    times_ms.get(at.min(times_ms.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_but_one_percent() {
        let mut times: Vec<f64> = (0..200).rev().map(f64::from).collect();
        assert_eq!((worst_but(&mut times, 0.99), worst_but(&mut times, 1.0)), (198.0, 199.0));
        assert!(worst_but(&mut [], 0.99).is_nan());
    }

    #[test]
    fn a_link_becomes_a_path() {
        assert_eq!(path_of("https://localhost:1/a?b=%24c").unwrap(), "/a?b=%24c");
    }
}
