//! What persons ask of cases: suspend, resume, cancel, retry, redrive.

use caseworker::sim::{FaultsChange, echo};
use reqwest::Method;
use serde_json::json;

use crate::server::{Server, free_port, types, until};

const PARKED: &str = "
document: { dsl: '1.0.3', namespace: test, name: parked, version: '1.0.0' }
do:
  - pause: { wait: P30D }
";

#[tokio::test]
async fn a_case_is_suspended_resumed_and_cancelled() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(PARKED).await.status, 201);
    let id = server.submit("test/parked", &json!({})).await;
    let case = server.case_when(&id, |case| case["phase"] == "waiting").await;
    assert_eq!(case["wait"]["kind"], "timer", "{case:#}");
    let path = format!("/v1/cases/{id}");
    let wrong = server.post(&format!("{path}/resume"), &json!({})).await;
    assert_eq!(wrong.status, 409, "{}", wrong.text);
    assert_eq!(wrong.json["allowed"], json!(["suspend", "cancel"]), "{}", wrong.text);
    let suspended = server.post(&format!("{path}/suspend"), &json!({"reason": "a look"})).await;
    assert_eq!(suspended.json["phase"], "suspended", "{}", suspended.text);
    let stale = Some(("application/json", "{}".to_owned()));
    let headers = [("if-match", "\"1\"")];
    let stale = server.send(Method::POST, &format!("{path}/resume"), stale, &headers).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    let resumed = server.post(&format!("{path}/resume"), &json!({})).await;
    assert_eq!(resumed.json["phase"], "waiting", "{}", resumed.text);
    let cancelled = server.post(&format!("{path}/cancel"), &json!({"reason": "done"})).await;
    assert_eq!(cancelled.json["phase"], "cancelled", "{}", cancelled.text);
    let history = server.history(&id).await;
    let last = types(&history);
    assert!(last.ends_with(&["workflow.cancelled"]), "{last:?}");
    let suspended = history.iter().find(|e| e["type"] == "workflow.suspended").unwrap();
    assert_eq!(suspended["by"], json!({"who": "local", "from": "http", "why": "a look"}));
    let versions: Vec<_> = history.iter().map(|e| e["revision"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_failed_is_a_dead_letter_until_it_is_redriven() {
    caseworker::prepare_process();
    let port = free_port();
    let party = echo::open(port).await.unwrap();
    party.change(&FaultsChange {
        errors: Some(1.0),
        error_status: Some(500),
        ..Default::default()
    });
    let mut server = Server::new(&format!("[services.echo]\nurl = \"http://127.0.0.1:{port}\"\n"));
    server.start().await;
    let yaml = "
document: { dsl: '1.0.3', namespace: test, name: stuck, version: '1.0.0', metadata: { onError: suspend } }
do:
  - ask:
      call: http
      with: { method: post, endpoint: http://echo/echo, body: { a: 1 } }
      metadata: { idempotent: true }
";
    assert_eq!(server.define(yaml).await.status, 201);
    let id = server.submit("test/stuck", &json!({"n": 1})).await;
    let case = server.case_when(&id, |case| case["phase"] == "suspended").await;
    assert_eq!(case["error"]["status"], 500, "{case:#}");
    assert_eq!(case["error"]["instance"], "/do/0/ask");
    assert_eq!(case["wait"]["kind"], "person");
    let letter = until("a dead letter", || async {
        server.list("/v1/dead-letters?state=open").await.into_iter().next()
    })
    .await;
    assert_eq!(letter["case"], id, "{letter:#}");
    assert_eq!(letter["task"], "/do/0/ask");
    let resume = server.post(&format!("/v1/cases/{id}/resume"), &json!({})).await;
    assert_eq!(resume.status, 409, "{}", resume.text);
    party.change(&FaultsChange { errors: Some(0.0), ..Default::default() });
    let path = format!("/v1/dead-letters/{}", letter["id"].as_str().unwrap());
    let redriven = server.post(&format!("{path}/redrive"), &json!({"reason": "healed"})).await;
    assert_eq!(redriven.status, 200, "{}", redriven.text);
    let case = server.ended(&id).await;
    assert_eq!(case["output"], json!({"a": 1}), "{case:#}");
    until("the letter is settled", || async {
        (server.get(&path).await.json["state"] == "redriven").then_some(())
    })
    .await;
    let again = server.post(&format!("{path}/redrive"), &json!({})).await;
    assert_eq!(again.status, 409);
}

#[tokio::test]
async fn an_unknown_outcome_is_shown_to_a_person() {
    caseworker::prepare_process();
    let port = free_port();
    let party = echo::open(port).await.unwrap();
    party.change(&FaultsChange { silent: Some(1.0), ..Default::default() });
    let services =
        format!("[services.echo]\nurl = \"http://127.0.0.1:{port}\"\ntimeout = \"200ms\"\n");
    let mut server = Server::new(&services);
    server.start().await;
    let yaml = "
document: { dsl: '1.0.3', namespace: test, name: unsafe, version: '1.0.0', metadata: { onError: suspend } }
do:
  - ask: { call: http, with: { method: post, endpoint: http://echo/echo, body: { a: 1 } } }
";
    assert_eq!(server.define(yaml).await.status, 201);
    let id = server.submit("test/unsafe", &json!({})).await;
    let case = server.case_when(&id, |case| case["phase"] == "suspended").await;
    assert_eq!(case["tasks"][0]["phase"], "suspended", "{case:#}");
    let path = format!("/v1/cases/{id}/retry");
    let unsaid = server.post(&path, &json!({})).await;
    assert_eq!(unsaid.status, 409, "{}", unsaid.text);
    assert_eq!(unsaid.json["allowed"], json!(["done", "repeat"]));
    // one that could never be read again is stored nowhere
    let deep =
        format!("{{\"outcome\": \"done\", \"output\": {}1{}}}", "[".repeat(120), "]".repeat(120));
    let deep = server.send(Method::POST, &path, Some(("application/json", deep)), &[]).await;
    assert_eq!((deep.status, &deep.json["errors"][0]["pointer"]), (422, &json!("/output")));
    let large = json!({"outcome": "done", "output": "x".repeat(300_000)});
    assert_eq!(server.post(&path, &large).await.status, 413);
    let said = json!({"outcome": "done", "output": {"b": 2}, "reason": "seen there"});
    assert_eq!(server.post(&path, &said).await.status, 200);
    let case = server.ended(&id).await;
    assert_eq!(case["output"], json!({"b": 2}), "{case:#}");
}
