//! CloudEvents and those who listen for them; children and parents; what is followed live.

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Server, types, until};

const LISTENS: &str = "
document: { dsl: '1.0.3', namespace: test, name: listens, version: '1.0.0' }
do:
  - paid:
      listen:
        to:
          one:
            with: { type: test.paid }
            correlate:
              order: { from: .data.order, expect: '${ .order }' }
";

fn paid(order: &str, id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": "test.paid",
           "data": {"order": order, "sum": 5}})
}

async fn send(server: &Server, event: &Value) -> u16 {
    let body = Some(("application/cloudevents+json", event.to_string()));
    server.send(Method::POST, "/v1/events", body, &[]).await.status
}

#[tokio::test]
async fn an_event_finds_its_case_whichever_comes_first() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(LISTENS).await.status, 201);
    let one = server.submit("test/listens", &json!({"order": "A"})).await;
    let other = server.submit("test/listens", &json!({"order": "B"})).await;
    let case = server.case_when(&one, |case| case["phase"] == "waiting").await;
    assert_eq!(
        (&case["wait"]["kind"], &case["wait"]["on"]),
        (&json!("event"), &json!("test.paid"))
    );
    assert_eq!(send(&server, &paid("A", "1")).await, 202);
    // the same event again is the same event
    assert_eq!(send(&server, &paid("A", "1")).await, 202);
    let case = server.ended(&one).await;
    assert_eq!(case["output"], json!([{"order": "A", "sum": 5}]), "{case:#}");
    assert_eq!(server.case(&other).await["phase"], "waiting");
    server.kill().await;
    server.start().await;
    assert_eq!(send(&server, &paid("B", "2")).await, 202);
    server.ended(&other).await;
}

#[tokio::test]
async fn headers_of_an_event_are_percent_encoded() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(&LISTENS.replace(".data.order", ".subject")).await.status, 201);
    let id = server.submit("test/listens", &json!({"order": "Bücher 7"})).await;
    let mut headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/x"),
        ("ce-type", "test.paid"),
        ("ce-subject", "B%C3%BCcher%207"),
    ];
    let body = || Some(("application/json", "{\"sum\": 5}".to_owned()));
    let answer = server.send(Method::POST, "/v1/events", body(), &headers).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(server.ended(&id).await["output"], json!([{"sum": 5}]));
    headers[4].1 = "B%FCcher";
    let answer = server.send(Method::POST, "/v1/events", body(), &headers).await;
    let pointer = &answer.json["errors"][0]["pointer"];
    assert_eq!((answer.status, pointer), (422, &json!("/subject")), "{}", answer.text);
}

#[tokio::test]
async fn events_are_checked() {
    let mut server = Server::new("");
    server.start().await;
    let mut wrong = paid("A", "1");
    wrong["specversion"] = json!("0.3");
    let body = Some(("application/cloudevents+json", wrong.to_string()));
    let answer = server.send(Method::POST, "/v1/events", body, &[]).await;
    assert_eq!(
        (answer.status, &answer.json["errors"][0]["pointer"]),
        (422, &json!("/specversion"))
    );
    let mut bytes = paid("A", "1");
    bytes.as_object_mut().unwrap().remove("data");
    bytes["data_base64"] = json!("no base");
    let body = Some(("application/cloudevents+json", bytes.to_string()));
    let answer = server.send(Method::POST, "/v1/events", body, &[]).await;
    let pointer = &answer.json["errors"][0]["pointer"];
    assert_eq!((answer.status, pointer), (422, &json!("/data_base64")), "{}", answer.text);
    let headers =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/x"), ("ce-type", "test.any")];
    let body = Some(("application/json", "{\"a\": 1}".to_owned()));
    let answer = server.send(Method::POST, "/v1/events", body, &headers).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let batch = json!([paid("A", "8"), {"id": "9"}]).to_string();
    let body = Some(("application/cloudevents-batch+json", batch));
    let answer = server.send(Method::POST, "/v1/events", body, &[]).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.json["errors"][0]["pointer"], "/1/specversion");
}

#[tokio::test]
async fn parents_wait_for_their_children() {
    let mut server = Server::new("");
    server.start().await;
    let child = "
document: { dsl: '1.0.3', namespace: test, name: child, version: '1.0.0' }
do:
  - answer: { call: echo, with: { doubled: '${ .n * 2 }' } }
";
    let parent = "
document: { dsl: '1.0.3', namespace: test, name: parent, version: '1.0.0' }
do:
  - each:
      for: { each: n, in: '${ [1, 2, 3] }' }
      do:
        - ask: { run: { workflow: { namespace: test, name: child, version: '1.0.0', input: { n: '${ $n }' } } } }
  - tell: { emit: { event: { with: { source: /parent, type: test.done, data: '${ . }' } } } }
";
    for yaml in [child, parent] {
        let answer = server.define(yaml).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    let id = server.submit("test/parent", &json!({})).await;
    let case = server.ended(&id).await;
    assert_eq!(case["phase"], "completed", "{case:#}");
    assert_eq!(case["output"]["data"], json!({"doubled": 6}), "{case:#}");
    let children = until("three children", || async {
        let list = server.list("/v1/cases?workflow=test/child&phase=completed").await;
        (list.len() == 3).then_some(list)
    });
    children.await;
}

#[tokio::test]
async fn a_history_is_followed_to_its_end() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(LISTENS).await.status, 201);
    let id = server.submit("test/listens", &json!({"order": "A"})).await;
    let path = server.url(&format!("/v1/cases/{id}/events"));
    let request = server.client.get(&path).header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(send(&server, &paid("A", "1")).await, 202);
    let mut text = String::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        text.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
    }
    let followed: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("event: ")).collect();
    let history = server.history(&id).await;
    assert_eq!(followed, types(&history));
    let request = server.client.get(&path).header("accept", "text/event-stream");
    let last = history.len().to_string();
    let again = request.header("last-event-id", last).send().await.unwrap();
    assert_eq!(again.status(), 204);
}

#[tokio::test]
async fn the_stream_tells_what_changes() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(LISTENS).await.status, 201);
    let stream = server.client.get(server.url("/v1/stream?workflow=test/listens")).send();
    let mut chunks = stream.await.unwrap().bytes_stream();
    let id = server.submit("test/listens", &json!({"order": "A"})).await;
    let mut text = String::new();
    while !text.contains("\"waiting\"") {
        text.push_str(&String::from_utf8_lossy(&chunks.next().await.unwrap().unwrap()));
    }
    assert!(text.contains(&id) && text.contains("event: case") && text.contains("id: "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_whose_parent_was_cancelled_before_a_kill_is_cancelled_after_it() {
    let mut server = Server::new("");
    server.start().await;
    let child = "
document: { dsl: '1.0.3', namespace: test, name: endless, version: '1.0.0' }
do: [ { hear: { listen: { to: { one: { with: { type: never } } } } } } ]
";
    let parent = "
document: { dsl: '1.0.3', namespace: test, name: over, version: '1.0.0' }
do: [ { ask: { run: { workflow: { namespace: test, name: endless, version: '1.0.0' } } } } ]
";
    for yaml in [child, parent] {
        assert_eq!(server.define(yaml).await.status, 201);
    }
    let mut parents = Vec::new();
    for _ in 0..20 {
        parents.push(server.submit("test/over", &json!({})).await);
    }
    until("all children", || async {
        (server.list("/v1/cases?workflow=test/endless").await.len() == 20).then_some(())
    })
    .await;
    let mut cancels = tokio::task::JoinSet::new();
    for id in parents {
        let asked = server.client.post(server.url(&format!("/v1/cases/{id}/cancel"))).send();
        cancels.spawn(async move { asked.await.is_ok_and(|a| a.status() == 200).then_some(id) });
    }
    let first = cancels.join_next().await.expect("a cancel").expect("an answer");
    server.kill().await;
    let mut cancelled: Vec<String> = cancels.join_all().await.into_iter().flatten().collect();
    cancelled.extend(first);
    server.start().await;
    until("their children are cancelled with them", || async {
        for id in &cancelled {
            if server.get(&format!("/v1/cases/{id}")).await.json["phase"] != "cancelled" {
                return None;
            }
        }
        let living = server.list("/v1/cases?workflow=test/endless&phase=waiting").await.len();
        (living <= 20 - cancelled.len()).then_some(())
    })
    .await;
}

fn of(kind: &str, source: &str, id: &str, subject: Option<&str>) -> Value {
    let mut event = json!({"specversion": "1.0", "id": id, "source": source, "type": kind});
    if let Some(subject) = subject {
        event["subject"] = json!(subject);
    }
    event
}

async fn send_all(server: &Server, events: Vec<Value>) {
    let body = Some(("application/cloudevents-batch+json", Value::from(events).to_string()));
    let answer = server.send(Method::POST, "/v1/events", body, &[]).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

#[tokio::test]
async fn listeners_that_take_turns_lose_none_of_each_others_events() {
    let turns = "
document: { dsl: '1.0.3', namespace: test, name: turns, version: '1.0.0' }
do:
  - first: { listen: { to: { one: { with: { type: t.first } } } } }
  - turns:
      for: { each: i, in: '[1, 2, 3]' }
      do:
        - a: { listen: { to: { one: { with: { type: t.turn, source: 'urn:a' } } } } }
        - b: { listen: { to: { one: { with: { type: t.turn, source: 'urn:b' } } } } }
";
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(turns).await.status, 201);
    let id = server.submit("test/turns", &json!({})).await;
    let turn = |source: &str, n: u8| of("t.turn", source, &format!("{source}{n}"), None);
    let mut events: Vec<Value> = (0..3).map(|n| turn("urn:a", n)).collect();
    events.extend((0..3).map(|n| turn("urn:b", n)));
    send_all(&server, events).await;
    assert_eq!(send(&server, &of("t.first", "urn:f", "f", None)).await, 202);
    assert_eq!(server.ended(&id).await["phase"], "completed");
}

#[tokio::test]
async fn events_that_a_case_does_not_want_hold_up_none_that_it_wants() {
    let wants = "
document: { dsl: '1.0.3', namespace: test, name: wants, version: '1.0.0' }
do:
  - now: { listen: { to: { one: { with: { type: t.wanted, source: 'urn:w' } } } } }
  - later: { listen: { to: { one: { with: { type: t.later } } } } }
";
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(wants).await.status, 201);
    let id = server.submit("test/wants", &json!({})).await;
    server.case_when(&id, |case| case["phase"] == "waiting").await;
    for kind in ["t.noise", "t.wanted", "t.later"] {
        let noise = |n| of(kind, "urn:n", &format!("{kind}{n}"), Some(&id));
        send_all(&server, (0..700).map(noise).collect()).await;
    }
    assert_eq!(send(&server, &of("t.wanted", "urn:w", "w", None)).await, 202);
    assert_eq!(server.ended(&id).await["phase"], "completed");
}

const TURNS: &str = "
document: { dsl: '1.0.3', namespace: test, name: turns, version: '1.0.0' }
do:
  - each:
      for: { each: n, in: '${ [0, 1, 2] }' }
      do:
        - hear: { listen: { to: { one: { with: { type: test.turn, data: '${ .n == $n }' } } } } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_in_another_order_than_the_turns_are_all_heard() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(TURNS).await.status, 201);
    let mut cases = Vec::new();
    for _ in 0..10 {
        cases.push(server.submit("test/turns", &json!({})).await);
    }
    let turn = |n: u64| json!({"specversion": "1.0", "id": n.to_string(), "source": "/x", "type": "test.turn", "data": {"n": n}});
    let batch = json!([turn(2), turn(1), turn(0)]).to_string();
    let batch = Some(("application/cloudevents-batch+json", batch));
    assert_eq!(server.send(Method::POST, "/v1/events", batch, &[]).await.status, 202);
    for case in cases {
        assert_eq!(server.ended(&case).await["phase"], "completed");
    }
}
