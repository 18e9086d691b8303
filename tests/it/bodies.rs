//! Thousands of generated bodies and definitions: none panics, none is answered 5xx, none is stored
//! by halves.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::server::Server;

const BODIES: usize = 10_000;

/// At the same time.
const SIDE_BY_SIDE: usize = 8;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "\\$\\{ ?[.a-z\\[\\]()| ]{0,12} ?\\}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,8}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Bodies near to what is right: known fields, with any value in one of them.
fn submission() -> impl Strategy<Value = Vec<u8>> {
    let fields = ["workflow", "version", "input", "subject", "priority", "tags", "other"];
    let near = (prop::sample::select(fields.to_vec()), any_json()).prop_map(|(field, value)| {
        let mut body = json!({"workflow": "test/any", "input": {"n": 1}});
        body[field] = value;
        body.to_string().into_bytes()
    });
    prop_oneof![
        4 => near,
        2 => any_json().prop_map(|json| json.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

/// Definitions near to what is right: a good one with one place replaced.
fn definition() -> impl Strategy<Value = Vec<u8>> {
    let kinds = [
        "call", "do", "set", "switch", "for", "fork", "try", "raise", "wait", "listen", "emit",
        "run", "if", "then", "input", "output", "export", "timeout", "metadata", "with", "catch",
    ];
    let task = (prop::sample::select(kinds.to_vec()), any_json(), any_json());
    let tasks = prop::collection::vec(task, 0..4).prop_map(|tasks| {
        let list: Vec<Value> = tasks
            .into_iter()
            .enumerate()
            .map(|(n, (kind, one, other))| {
                let mut task = json!({"call": "echo"});
                task[kind] = one;
                task["with"] = other;
                let mut named = Map::new();
                named.insert(format!("t{n}"), task);
                Value::Object(named)
            })
            .collect();
        let document =
            json!({"dsl": "1.0.3", "namespace": "test", "name": "generated", "version": "1.0.0"});
        json!({"document": document, "do": list}).to_string().into_bytes()
    });
    prop_oneof![
        5 => tasks,
        1 => any_json().prop_map(|json| json.to_string().into_bytes()),
        1 => "\\PC{0,80}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

async fn send(server: &Server, path: &str, media: &str, body: Vec<u8>) -> u16 {
    let shown = String::from_utf8_lossy(&body).into_owned();
    let request = server.client.request(Method::POST, server.url(path));
    let answer = request.header("content-type", media).body(body).send().await;
    let status = answer.unwrap_or_else(|e| panic!("{path}: {e}: {shown}")).status().as_u16();
    assert!(status < 500, "{path} answered {status}: {shown}");
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_bodies_are_stored_whole_or_not_at_all() {
    use futures_util::{StreamExt, stream};
    let mut server = Server::new("").env("CASEWORKER_LOG_FILTER", "error");
    server.start().await;
    let yaml = "
document: { dsl: '1.0.3', namespace: test, name: any, version: '1.0.0' }
do: [ { a: { call: echo } } ]
";
    assert_eq!(server.define(yaml).await.status, 201);
    let mut runner = TestRunner::deterministic();
    let (submission, definition) = (submission(), definition());
    let mut bodies = Vec::new();
    for n in 0..BODIES {
        bodies.push(match n % 2 {
            0 => (
                "/v1/cases",
                "application/json",
                submission.new_tree(&mut runner).unwrap().current(),
            ),
            _ => {
                let media = if n % 4 == 1 { "application/json" } else { "application/yaml" };
                ("/v1/workflows", media, definition.new_tree(&mut runner).unwrap().current())
            }
        });
    }
    let statuses: Vec<(&str, u16)> = stream::iter(bodies)
        .map(|(path, media, body)| {
            let server = &server;
            async move { (path, send(server, path, media, body).await) }
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    let stored = statuses.iter().filter(|(p, s)| *p == "/v1/cases" && *s == 201).count();
    assert!(stored > 100, "{stored}");
    crate::server::until("every stored case is there and ends", || async {
        let done = server.list("/v1/cases?phase=completed,faulted&limit=500").await.len();
        (done == stored).then_some(())
    })
    .await;
    // whatever was registered can be read back
    for listed in server.list("/v1/workflows?limit=500").await {
        let path = format!(
            "/v1/workflows/{}/{}/{}",
            listed["namespace"].as_str().unwrap(),
            listed["name"].as_str().unwrap(),
            listed["version"].as_str().unwrap()
        );
        assert_eq!(server.get(&path).await.status, 200);
    }
    assert_eq!(server.get("/healthz").await.status, 200);
}
