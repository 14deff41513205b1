//! Decoding, apart from any server: what lists, events and refusals of Kubernetes mean.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn named() -> Kubernetes {
    Kubernetes { namespace: "shop".into(), name: "web".into(), ..Kubernetes::default() }
}

fn selected() -> Kubernetes {
    Kubernetes { namespace: "shop".into(), selector: "app=web,tier!=x".into(), ..Kubernetes::default() }
}

fn shown(o: &Objects) -> String {
    let mut all: Vec<String> = o.entries.iter().map(|(k, v)| format!("{k}={}", String::from_utf8_lossy(v))).collect();
    all.sort();
    all.join(" ")
}

#[test]
fn paths() {
    let mut k = named();
    assert_eq!(list_path(&k, ""), "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dweb&limit=50");
    assert_eq!(
        watch_path(&k, "7", 60),
        "/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dweb\
         &watch=1&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=60"
    );
    k.base = "/k8s/clusters/c-1".into();
    k.is_secret = true;
    assert_eq!(
        list_path(&k, "a+/="),
        "/k8s/clusters/c-1/api/v1/namespaces/shop/secrets?fieldSelector=metadata.name%3Dweb&limit=50&continue=a%2B%2F%3D"
    );
    assert_eq!(
        list_path(&selected(), ""),
        "/api/v1/namespaces/shop/configmaps?labelSelector=app%3Dweb%2Ctier%21%3Dx&limit=50"
    );
    assert_eq!(k.what(), "secret shop/web");
    assert_eq!(selected().what(), "configmaps of shop with app=web,tier!=x");
    assert_eq!(Kubernetes { selector: String::new(), ..selected() }.what(), "configmaps of shop");
}

#[test]
fn pages_become_keys() {
    let body =
        br#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"199","continue":"abc"},"items":[
        {"metadata":{"name":"web","managedFields":[{"fieldsV1":{"f:data":{"f:a":{}}}}]},
         "data":{"a":"1","../x":"up","d/e":"\u00e9"},"binaryData":{"b":"AP8="},"immutable":true,"new":{"items":[1]}},
        {"metadata":{"name":"other"},"data":{"a":"2"}}]}"#;
    let mut o = Objects::default();
    assert_eq!(page(&named(), body, &mut o).unwrap(), ("199".to_string(), "abc".to_string()));
    assert_eq!(shown(&o), "/../x=up /a=1 /b=\0\u{fffd} /d/e=é");
    assert!(o.is_there);
    let mut o = Objects::default();
    page(&selected(), body, &mut o).unwrap();
    assert_eq!(shown(&o), "/other/a=2 /web/../x=up /web/a=1 /web/b=\0\u{fffd} /web/d/e=é");
    // Of a Secret the data too is base64.
    let mut o = Objects::default();
    let k = Kubernetes { is_secret: true, ..named() };
    let body = br#"{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"web"},"data":{"p":"czNjcmV0"}}]}"#;
    page(&k, body, &mut o).unwrap();
    assert_eq!(shown(&o), "/p=s3cret");
    // Nothing, in each of its spellings.
    for items in ["[]", "null"] {
        let mut o = Objects::default();
        let body = format!(r#"{{"metadata":{{"resourceVersion":"5"}},"items":{items}}}"#);
        assert_eq!(page(&named(), body.as_bytes(), &mut o).unwrap(), ("5".to_string(), String::new()));
        assert!(!o.is_there && o.entries.is_empty());
    }
    let mut o = Objects::default();
    let body = br#"{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"web"},"data":null}]}"#;
    page(&named(), body, &mut o).unwrap();
    assert!(o.is_there && o.entries.is_empty());
}

#[test]
fn what_is_no_page_is_said() {
    for (body, want) in [
        (&b""[..], "unexpected end"),
        (b"[]", "it is no list"),
        (br#"{"metadata":{}}"#, "it is no list"),
        (b"\xff", "no UTF-8"),
        (
            br#"{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"web"},"binaryData":{"k":"s3cr!"}}]}"#,
            "web: the value of k is no base64",
        ),
    ] {
        let why = page(&named(), body, &mut Objects::default()).unwrap_err();
        assert!(why.contains(want) && !why.contains("s3cr"), "{why}");
    }
}

#[test]
fn events_change_keys() {
    let mut o = Objects::default();
    let mut feed =
        |line: &str| event(&selected(), line.as_bytes(), &mut o).map_err(|f| (f.kind == Kind::History, f.text));
    let object = |name: &str, version: &str, data: &str| {
        format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}},"data":{{{data}}}}}"#)
    };
    let line = |kind: &str, object: &str| format!(r#"{{"type":"{kind}","object":{object}}}"#);
    assert_eq!(feed(&line("ADDED", &object("a", "5", r#""x":"1","y":"2""#))), Ok(("5".into(), true)));
    assert_eq!(feed(&line("ADDED", &object("ab", "6", r#""x":"3""#))), Ok(("6".into(), true)));
    assert_eq!(feed(&line("MODIFIED", &object("a", "7", r#""x":"4""#))), Ok(("7".into(), true)));
    assert_eq!(feed(&line("BOOKMARK", &object("", "9", ""))), Ok(("9".into(), false)));
    let expired = r#"{"kind":"Status","message":"too old resource version: 1 (2)","reason":"Expired","code":410}"#;
    assert_eq!(feed(&line("ERROR", expired)), Err((true, "too old resource version: 1 (2)".into())));
    assert_eq!(feed(&line("NEW", "{}")), Err((false, no_answer("it is no event"))));
    assert!(feed(&line("ADDED", &object("a", "", ""))).is_err());
    assert!(feed("{").is_err() && feed("").is_err() && feed("null").is_err());
    assert_eq!(feed(&line("DELETED", &object("ab", "11", r#""x":"3""#))), Ok(("11".into(), true)));
    assert_eq!(shown(&o), "", "the last ADDED without a version had no keys");

    let mut o = Objects::default();
    let one = object("web", "1", r#""x":"1""#);
    event(&named(), line("ADDED", &one).as_bytes(), &mut o).map_err(|f| f.text).unwrap();
    assert!(o.is_there);
    event(&named(), line("DELETED", &object("other", "2", "")).as_bytes(), &mut o).map_err(|f| f.text).unwrap();
    assert!(o.is_there && shown(&o) == "/x=1");
    event(&named(), line("DELETED", &one).as_bytes(), &mut o).map_err(|f| f.text).unwrap();
    assert!(!o.is_there && shown(&o).is_empty());
}

#[test]
fn refusals() {
    let no = |k: &Kubernetes, status, words| refusal(k, status, words);
    let f = no(&named(), 403, "configmaps \"web\" is forbidden");
    assert_eq!(
        f.text,
        "403 configmaps \"web\" is forbidden (it needs a rule with resources: configmaps, resourceNames: web, \
         verbs: list, watch in the namespace shop)"
    );
    let f = no(&Kubernetes { is_secret: true, ..selected() }, 403, "x");
    assert!(f.text.contains("(it needs a rule with resources: secrets, verbs: list, watch in the namespace shop)"));
    for (status, words, kind) in [
        (401, "Unauthorized", Kind::Token),
        (410, "Expired", Kind::History),
        (504, "Too large resource version: 9, current: 1", Kind::History),
        (504, "Timeout", Kind::Plain),
        (500, "", Kind::Plain),
    ] {
        assert!(no(&named(), status, words).kind == kind, "{status} {words}");
    }
    assert_eq!(sentence(br#"{"kind":"Status","message":"no","code":403}"#).as_deref(), Some("no"));
    assert!(sentence(b"Unauthorized").is_none() && sentence(b"[]").is_none());
}

/// A map of the largest size there is, in as many keys as fit, is read whole.
#[test]
fn many_keys_are_read() {
    let data: Vec<String> = (0..60_000).map(|i| format!(r#""key{i}":"{i}""#)).collect();
    let object = format!(r#"{{"metadata":{{"name":"web","resourceVersion":"2"}},"data":{{{}}}}}"#, data.join(","));
    let body = format!(r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{object}]}}"#);
    let mut o = Objects::default();
    page(&named(), body.as_bytes(), &mut o).unwrap();
    assert_eq!(o.entries.len(), 60_000);
    let line = format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
    event(&named(), line.as_bytes(), &mut o).map_err(|f| f.text).unwrap();
    assert_eq!(o.entries.len(), 60_000);
}
