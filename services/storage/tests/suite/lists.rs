//! Lists of containers and blobs.

use crate::world::World;

/// The text of each `tag`, in order.
fn all<'x>(xml: &'x str, tag: &str) -> Vec<&'x str> {
    xml.split(&format!("<{tag}>")).skip(1).map(|rest| rest.split(&format!("</{tag}>")).next().unwrap()).collect()
}

#[tokio::test]
async fn pages_join_to_the_whole() {
    let w = World::new(30).await;
    w.container("con").await;
    let mut names: Vec<String> =
        (0..25).map(|n| format!("n{n:02}")).chain(["é".into(), "a/b/c".into(), "a/b/d".into(), "a/e".into(), "x".repeat(1000)]).collect();
    for name in &names {
        w.put(&format!("/con/{}", wire::percent_encode(name, b"/")), "").await;
    }
    names.sort();
    for size in [1, 2, 7, 30, 31] {
        let (mut found, mut marker, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = w.get(&format!("/con?restype=container&comp=list&maxresults={size}&marker={marker}")).await;
            assert_eq!(page.status, 200, "{}", page.text());
            found.extend(all(page.text(), "Name").into_iter().map(str::to_owned));
            pages += 1;
            match all(page.text(), "NextMarker").first() {
                Some(next) => marker = (*next).to_owned(),
                None => break,
            }
        }
        assert_eq!(found, names, "in pages of {size}");
        assert_eq!(pages, names.len().div_ceil(size));
    }
}

#[tokio::test]
async fn a_delimiter_folds_and_skips() {
    let w = World::new(31).await;
    w.container("con").await;
    for n in 0..230 {
        w.put(&format!("/con/dir/{n:03}"), "").await;
    }
    for name in ["a", "dir", "dir.txt", "dir0", "sub/x/y", "sub/z", "z"] {
        w.put(&format!("/con/{name}"), "").await;
    }
    let list = |query: &str| {
        let path = format!("/con?restype=container&comp=list{query}");
        let w = &w;
        async move {
            let page = w.get(&path).await;
            (
                all(page.text(), "Name").into_iter().map(str::to_owned).collect::<Vec<_>>(),
                all(page.text(), "NextMarker").first().map(|m| (*m).to_owned()),
            )
        }
    };
    let (names, next) = list("&delimiter=/").await;
    assert_eq!(names, ["a", "dir", "dir.txt", "dir/", "dir0", "sub/", "z"]);
    assert_eq!(next, None);
    let (names, _) = list("&delimiter=/&prefix=sub/").await;
    assert_eq!(names, ["sub/x/", "sub/z"]);
    let (mut found, mut marker) = (Vec::new(), String::new());
    loop {
        let (names, next) = list(&format!("&delimiter=/&maxresults=2&marker={marker}")).await;
        assert!(names.len() <= 2);
        found.extend(names);
        match next {
            Some(next) => marker = next,
            None => break,
        }
    }
    assert_eq!(found, ["a", "dir", "dir.txt", "dir/", "dir0", "sub/", "z"], "a folded prefix comes once over all pages");
    let (names, _) = list("&prefix=dir/22").await;
    assert_eq!(names.len(), 10);
    let (names, _) = list("&prefix=nothing").await;
    assert!(names.is_empty());
}

#[tokio::test]
async fn uncommitted_blobs_show_only_when_asked() {
    let w = World::new(32).await;
    w.container("con").await;
    w.put("/con/b", "").await;
    w.call("PUT", "/con/a?comp=block&blockid=AAAA", &[], "x").await;
    w.call("PUT", "/con/b?comp=block&blockid=AAAA", &[], "x").await;
    w.call("PUT", "/con/c?comp=block&blockid=AAAA", &[], "x").await;
    let plain = w.get("/con?restype=container&comp=list").await;
    assert_eq!(all(plain.text(), "Name"), ["b"]);
    let with = w.get("/con?restype=container&comp=list&include=uncommittedblobs,metadata").await;
    assert_eq!(all(with.text(), "Name"), ["a", "b", "c"]);
}

#[tokio::test]
async fn containers_are_listed_with_their_metadata_when_asked() {
    let w = World::new(33).await;
    for name in ["one", "two", "three"] {
        assert_eq!(w.call("PUT", &format!("/{name}?restype=container"), &[("x-ms-meta-n", name)], "").await.status, 201);
    }
    let page = w.get("/?comp=list&maxresults=2").await;
    assert_eq!(all(page.text(), "Name"), ["one", "three"]);
    assert!(!page.text().contains("<Metadata>"));
    let next = all(page.text(), "NextMarker")[0].to_owned();
    let rest = w.get(&format!("/?comp=list&include=metadata&marker={next}")).await;
    assert_eq!(all(rest.text(), "Name"), ["two"]);
    assert!(rest.text().contains("<Metadata><n>two</n></Metadata>"));
    assert_eq!(all(w.get("/?comp=list&prefix=t").await.text(), "Name"), ["three", "two"]);
}

#[tokio::test]
async fn wrong_parameters_are_refused() {
    let w = World::new(34).await;
    w.container("con").await;
    for (query, code) in [
        ("maxresults=0", "OutOfRangeQueryParameterValue"),
        ("maxresults=-1", "InvalidQueryParameterValue"),
        ("maxresults=x", "InvalidQueryParameterValue"),
        ("marker=%21", "InvalidQueryParameterValue"),
        ("include=everything", "InvalidQueryParameterValue"),
    ] {
        assert_eq!(w.code("GET", &format!("/con?restype=container&comp=list&{query}"), &[], "").await, (400, code.into()), "{query}");
    }
}
