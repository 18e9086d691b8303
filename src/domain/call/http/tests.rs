//! Requests as they go out, and what each kind of answer means.

use serde_json::{Value as Json, json};

use super::{Answer, Parts, RETRY_AFTER_MAX, judge, pairs, request};
use crate::domain::case::command::{Health, Outcome};
use crate::domain::case::effect::{HttpBody, HttpRequest};
use crate::domain::workflow::model::OutputFormat;

fn get(output: OutputFormat) -> HttpRequest {
    let parts = Parts { method: "GET".into(), url: "http://x/".into(), output, ..Parts::default() };
    request(parts, "key")
}

fn answer(status: u16, kind: &str, body: &str) -> Answer {
    Answer {
        status,
        headers: vec![("content-type".into(), kind.into())],
        body: body.as_bytes().to_vec(),
    }
}

fn outcome(status: u16) -> Outcome {
    judge(&get(OutputFormat::Content), answer(status, "text/plain", "x"), Health::default())
}

#[test]
fn every_status_has_its_meaning() {
    assert!(matches!(outcome(200), Outcome::Done(_)));
    assert!(matches!(outcome(204), Outcome::Done(_)));
    assert!(matches!(outcome(302), Outcome::Failed { server: false, .. }));
    assert!(matches!(outcome(404), Outcome::Failed { server: false, .. }));
    assert!(matches!(outcome(500), Outcome::Failed { server: true, .. }));
    assert!(matches!(outcome(429), Outcome::NotDone { .. }));
    assert!(matches!(outcome(503), Outcome::NotDone { .. }));
    assert!(matches!(outcome(502), Outcome::Unknown { .. }));
    assert!(matches!(outcome(504), Outcome::Unknown { .. }));
}

#[test]
fn retry_after_is_honoured() {
    let mut busy = answer(429, "text/plain", "");
    busy.headers.push(("Retry-After".into(), "7".into()));
    let judged = judge(&get(OutputFormat::Content), busy, Health::default());
    assert!(matches!(judged, Outcome::NotDone { retry_after: Some(7000), .. }), "{judged:?}");
    let of = |after: &str, date: &str| {
        let mut busy = answer(503, "text/plain", "");
        busy.headers.push(("Retry-After".into(), after.into()));
        busy.headers.push(("Date".into(), date.into()));
        match judge(&get(OutputFormat::Content), busy, Health::default()) {
            Outcome::NotDone { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        }
    };
    let (now, later) = ("Thu, 26 Nov 2026 19:00:00 GMT", "Thu, 26 Nov 2026 19:00:06 GMT");
    assert_eq!(of(later, now), Some(6000));
    assert_eq!(of(now, later), Some(0));
    assert_eq!(of("Fri, 31 Dec 9999 23:59:59 GMT", now), Some(RETRY_AFTER_MAX));
    assert_eq!(of("99999999999999999999", now), Some(RETRY_AFTER_MAX));
    assert_eq!(of("soon", now), None);
}

fn done(format: OutputFormat, answer: Answer) -> Json {
    match judge(&get(format), answer, Health::default()) {
        Outcome::Done(data) => (*data).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn outputs_of_each_format() {
    let json = || answer(200, "application/json; charset=utf-8", r#"{"a":1}"#);
    assert_eq!(done(OutputFormat::Content, json()), json!({"a": 1}));
    assert_eq!(done(OutputFormat::Raw, json()), json!("eyJhIjoxfQ=="));
    let response = done(OutputFormat::Response, json());
    assert_eq!(response["statusCode"], 200);
    assert_eq!(response["content"], json!({"a": 1}));
    assert_eq!(response["request"]["method"], "get");
    assert_eq!(done(OutputFormat::Content, answer(200, "text/plain", "hi")), json!("hi"));
    assert_eq!(done(OutputFormat::Content, answer(200, "", "")), Json::Null);
    assert_eq!(done(OutputFormat::Content, answer(200, "image/png", "hi")), json!("aGk="));
}

#[test]
fn broken_and_oversized_answers_are_done_and_cannot_be_used() {
    let broken = answer(200, "application/json", "{");
    let large = answer(200, "text/plain", &"x".repeat(300 * 1024));
    for bad in [broken, large] {
        let judged = judge(&get(OutputFormat::Content), bad, Health::default());
        assert!(matches!(judged, Outcome::Unusable { .. }), "{judged:?}");
    }
}

#[test]
fn the_key_goes_along_where_something_changes() {
    let post = request(
        Parts {
            method: "POST".into(),
            url: "http://x/".into(),
            headers: vec![("X-Key".into(), "secret".into()), ("X-Shown".into(), "1".into())],
            hidden: vec!["x-key".into()],
            body: Some(json!({"a": 1})),
            authorization: Some("Bearer t".into()),
            ..Parts::default()
        },
        "case_1/do/0/a/1",
    );
    let header = |name: &str| post.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(header("idempotency-key"), Some("case_1/do/0/a/1"));
    assert_eq!(header("authorization"), Some("Bearer t"));
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(post.shown["headers"], json!({"X-Shown": "1"}));
    assert!(get(OutputFormat::Content).headers.is_empty());
}

#[test]
fn bodies_follow_the_content_type() {
    let body = |kind: &str, body: Json| {
        let headers = vec![("Content-Type".to_owned(), kind.to_owned())];
        let parts = Parts { method: "POST".into(), headers, body: Some(body), ..Parts::default() };
        request(parts, "k").body.unwrap()
    };
    assert_eq!(body("text/csv", json!("a,b")), HttpBody::Text("a,b".into()));
    let form = body("application/x-www-form-urlencoded", json!({"a": 1}));
    assert_eq!(form, HttpBody::Form(vec![("a".into(), "1".into())]));
    assert!(matches!(body("application/json", json!("text")), HttpBody::Json(_)));
}

#[test]
fn pairs_are_plain_values() {
    let good = pairs(&json!({"a": [1, "b"], "c": null, "d": true}), "query").unwrap();
    let text: Vec<_> = good.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(text, ["a=1", "a=b", "d=true"]);
    assert!(pairs(&json!({"a": {"b": 1}}), "query").is_err());
    assert!(pairs(&json!("x"), "query").is_err());
}

#[test]
fn an_answer_that_no_record_holds_is_done_and_unusable() {
    let nothing = "\0".repeat(250_000);
    let judged =
        judge(&get(OutputFormat::Content), answer(200, "text/plain", &nothing), Health::default());
    assert!(matches!(judged, Outcome::Unusable { .. }));
    let plain = "x".repeat(250_000);
    let judged =
        judge(&get(OutputFormat::Content), answer(200, "text/plain", &plain), Health::default());
    assert!(matches!(judged, Outcome::Done(_)));
}
