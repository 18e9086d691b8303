//! The door: submissions, lists, limits, keys, what is refused and how.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::Digest;

use crate::server::{Server, until};

const ECHO: &str = "
document: { dsl: '1.0.3', namespace: test, name: echo, version: '1.0.0' }
input:
  schema: { document: { type: object, properties: { n: { type: integer } } } }
do:
  - answer: { call: echo, with: '${ . }' }
";

async fn submit(server: &Server, body: &Value, headers: &[(&str, &str)]) -> crate::server::Answer {
    let body = Some(("application/json", body.to_string()));
    server.send(Method::POST, "/v1/cases", body, headers).await
}

#[tokio::test]
async fn a_submission_is_repeated_safely() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(ECHO).await.status, 201);
    let body = json!({"workflow": "test/echo", "input": {"n": 1, "m": 2}});
    let key = [("idempotency-key", "4711")];
    let first = submit(&server, &body, &key).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(first.json["receipt"], "journaled");
    assert!(first.headers["location"].to_str().unwrap().starts_with("/v1/cases/case_"));
    assert!(first.headers.contains_key("etag"));
    let id = first.json["id"].as_str().unwrap();
    server.ended(id).await;
    server.kill().await;
    server.start().await;
    let swapped = json!({"input": {"m": 2, "n": 1}, "workflow": "test/echo"});
    let again = submit(&server, &swapped, &key).await;
    assert_eq!((again.status, again.json["id"].as_str()), (200, Some(id)), "{}", again.text);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = json!({"workflow": "test/echo", "input": {"n": 2}});
    assert_eq!(submit(&server, &other, &key).await.status, 422);
}

#[tokio::test]
async fn who_prefers_to_wait_gets_the_case() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(ECHO).await.status, 201);
    let body = json!({"workflow": "test/echo", "input": {"n": 1}, "subject": "K-1",
                      "tags": ["a"], "priority": 9});
    let answer = submit(&server, &body, &[("prefer", "wait=10")]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let expected = json!({"phase": "completed", "output": {"n": 1}, "subject": "K-1",
                          "priority": 9, "tags": ["a"], "receipt": "journaled", "version": "1.0.0",
                          "workflow": "test/echo", "error": null, "wait": null, "tasks": []});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&answer.json[name], value, "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(ECHO).await.status, 201);
    let pointer = |answer: &crate::server::Answer| answer.json["errors"][0]["pointer"].clone();
    for (body, status, at) in [
        (json!({"workflow": "test/echo", "input": {"n": "x"}}), 422, json!("/input/n")),
        (json!({"workflow": "test/echo", "inptu": {}}), 422, json!("/inptu")),
        (json!({"workflow": "test"}), 422, json!("/workflow")),
        (json!({"workflow": "test/echo", "priority": 10}), 422, json!("/priority")),
        (json!({"workflow": "test/other"}), 404, Value::Null),
        (json!({"workflow": "test/echo", "version": "9.0.0"}), 404, Value::Null),
    ] {
        let answer = submit(&server, &body, &[]).await;
        assert_eq!((answer.status, pointer(&answer)), (status, at), "{}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json["status"], status);
    }
    let text = Some(("text/plain", "{}".to_owned()));
    assert_eq!(server.send(Method::POST, "/v1/cases", text, &[]).await.status, 415);
    let broken = Some(("application/json", "{".to_owned()));
    assert_eq!(server.send(Method::POST, "/v1/cases", broken, &[]).await.status, 400);
    let large = Some(("application/json", format!("\"{}\"", "x".repeat(2 << 20))));
    assert_eq!(server.send(Method::POST, "/v1/cases", large, &[]).await.status, 413);
    assert_eq!(server.get("/v1/cases/case_x").await.status, 404);
    assert_eq!(server.get("/v1/nothing").await.status, 404);
    assert_eq!(server.send(Method::DELETE, "/v1/cases", None, &[]).await.status, 405);
    assert_eq!(server.get("/v1/cases?tag=x").await.status, 400);
    assert_eq!(server.get("/v1/cases?phase=sleeping").await.status, 400);
    let other = ECHO.replace("answer", "reply");
    assert_eq!(server.define(&other).await.status, 409);
    assert_eq!(server.define(ECHO).await.status, 200);
    let faulty = server.define("document: {}\ndo: [ { a: { cal: x } } ]").await;
    assert_eq!(faulty.status, 422);
    assert!(faulty.json["errors"].as_array().unwrap().len() > 2, "{}", faulty.text);
    assert!(faulty.json["errors"][0]["line"].is_number());
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(ECHO).await.status, 201);
    for n in 0..25 {
        let subject = format!("S-{}", n % 5);
        let body = json!({"workflow": "test/echo", "input": {"n": n}, "subject": subject});
        assert_eq!(submit(&server, &body, &[]).await.status, 201);
    }
    until("all are shown", || async {
        let done = server.list("/v1/cases?phase=completed&limit=7").await.len();
        (done == 25).then_some(())
    })
    .await;
    assert_eq!(server.list("/v1/cases?subject=S-1,S-2&limit=3").await.len(), 10);
    assert_eq!(server.list("/v1/cases?workflow=test/echo/1.0.0").await.len(), 25);
    assert_eq!(server.list("/v1/cases?since=2999-01-01T00:00:00Z").await.len(), 0);
    let newest = server.get("/v1/cases?limit=1").await.json["items"][0].clone();
    assert!(newest.get("input").is_none() && newest["createdAt"].is_string(), "{newest}");
}

#[tokio::test]
async fn keys_open_the_door() {
    let digest = sha2::Sha256::digest(b"secret");
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!("[[api.keys]]\nname = \"shop\"\nsha256 = \"{hex}\"\n");
    let server = Server::new("");
    let file = server.path().join("caseworker.toml");
    std::fs::write(&file, config).unwrap();
    let mut server = server.env("CASEWORKER_CONFIG", file.to_str().unwrap());
    server.start().await;
    assert_eq!(server.get("/v1/cases").await.status, 401);
    assert_eq!(server.get("/healthz").await.status, 200);
    let wrong = [("authorization", "Bearer guess")];
    assert_eq!(server.send(Method::GET, "/v1/cases", None, &wrong).await.status, 401);
    let right = [("authorization", "Bearer secret")];
    assert_eq!(server.send(Method::GET, "/v1/cases", None, &right).await.status, 200);
}

#[tokio::test]
async fn a_client_has_its_rate() {
    let mut server = Server::new("").env("CASEWORKER_SERVER_RATE", "5");
    server.start().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = server.get("/v1/services").await;
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after"));
        }
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn what_does_not_fit_in_is_shed_before_it_is_stored() {
    let mut server = Server::new("")
        .env("CASEWORKER_CASES_LIVE_MAX", "1")
        .env("CASEWORKER_CASES_PENDING_MAX", "3");
    server.start().await;
    let parked = "
document: { dsl: '1.0.3', namespace: test, name: slow, version: '1.0.0' }
do:
  - hold: { listen: { to: { any: [] } } }
  - again: { call: echo, with: 1 }
";
    assert_eq!(server.define(parked).await.status, 201);
    let body = json!({"workflow": "test/slow", "input": {}});
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(submit(&server, &body, &[]).await.status);
    }
    let stored = statuses.iter().filter(|status| **status == 201).count();
    assert!(statuses.iter().all(|status| [201, 429].contains(status)), "{statuses:?}");
    until("what was stored is started", || async {
        let waiting = server.list("/v1/cases?phase=waiting&limit=500").await.len();
        (waiting == stored).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_description_names_every_path() {
    let mut server = Server::new("");
    server.start().await;
    let document = server.get("/openapi.json").await.json;
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        let concrete = path
            .replace("{namespace}", "no")
            .replace("{id}", "no")
            .replace("{name}", "no")
            .replace("{absence}", "no")
            .replace("{queue}", "no")
            .replace("{reference}", "no")
            .replace("{version}", "1.0.0");
        for method in methods.as_object().unwrap().keys() {
            if concrete == "/v1/stream" {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = server.send(method, &concrete, None, &[]).await;
            assert_ne!(answer.json["detail"], "there is no such path", "{path}");
            assert_ne!(answer.status, 405, "{path}");
        }
    }
    let routes = include_str!("../../src/api/mod.rs").matches(".route(\"/").count();
    assert_eq!(document["paths"].as_object().unwrap().len(), routes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_is_carried_through_when_the_client_hangs_up() {
    use tokio::io::AsyncWriteExt;
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(ECHO).await.status, 201);
    let body = json!({"workflow": "test/echo", "input": {"n": 1}}).to_string();
    let host = server.url("").replace("http://", "");
    for n in 0..400 {
        let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
        let head = format!(
            "POST /v1/cases HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             idempotency-key: {n}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // hung up at another instant each time
        for _ in 0..n % 40 {
            tokio::task::yield_now().await;
        }
        if n % 7 != 0 {
            stream.set_zero_linger().unwrap();
        }
    }
    for n in 0..400 {
        let id = server.submit_surely("test/echo", &json!({"n": 1}), &n.to_string()).await;
        server.ended(&id).await;
    }
}

#[tokio::test]
async fn only_our_own_hosts_and_cursors_are_taken() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut server = Server::new("");
    server.start().await;
    let host = server.url("").replace("http://", "");
    for (head, status) in [
        (format!("GET /v1/cases HTTP/1.1\r\nHost: {host}"), "200"),
        (format!("GET /v1/cases HTTP/1.1\r\nHost: {host}\r\nHost: evil.example"), "40"),
        (format!("GET http://evil.example/v1/cases HTTP/1.1\r\nHost: {host}"), "40"),
        ("GET /v1/cases HTTP/1.1\r\nHost: evil.example".to_owned(), "403"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
    }
    for path in ["/v1/cases", "/v1/workflows", "/v1/dead-letters"] {
        for cursor in ["AAAA", "AAAAAAAAAAAAAAAAAAAAAA", "x", "%F0"] {
            let answer = server.get(&format!("{path}?cursor={cursor}")).await;
            assert_eq!(answer.status, 400, "{path} {cursor}: {}", answer.text);
        }
    }
}
