//! Schedules, over HTTP and the command line: what is due each second over kills, events, versions, pauses.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::caseworker;
use crate::server::{Server, until};

/// A workflow that begins by itself, and ends at once.
fn scheduled(name: &str, version: &str, schedule: &str, metadata: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: test, name: {name}, version: '{version}', metadata: {{ {metadata} }} }}\n\
         schedule: {{ {schedule} }}\ndo:\n  - seen: {{ set: {{ input: '${{ . }}' }} }}\n"
    )
}

/// One whose cases wait for an event.
fn waiting(name: &str, version: &str, schedule: &str, metadata: &str) -> String {
    scheduled(name, version, schedule, metadata)
        + "  - told: { listen: { to: { one: { with: { type: go } } } } }\n"
}

async fn started(definition: &str) -> Server {
    let mut server = Server::new("");
    server.start().await;
    let answer = server.define(definition).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    server
}

async fn schedule(server: &Server, id: &str) -> Value {
    let answer = server.get(&format!("/v1/schedules/{id}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

async fn say(server: &Server, id: &str, verb: &str, body: Value) -> (u16, Value) {
    let answer = server.post(&format!("/v1/schedules/{id}/{verb}"), &body).await;
    (answer.status, answer.json)
}

async fn send(server: &Server, kind: &str, id: &str, data: Value) {
    let event =
        json!({"specversion": "1.0", "source": "/test", "id": id, "type": kind, "data": data});
    let body = Some(("application/cloudevents+json", event.to_string()));
    assert_eq!(server.send(Method::POST, "/v1/events", body, &[]).await.status, 202);
}

/// The inputs of the workflow's cases that have ended, once there are so many.
async fn inputs(server: &Server, workflow: &str, most: usize) -> Vec<Value> {
    until("its cases have ended", || async {
        let path = format!("/v1/cases?workflow={workflow}&phase=completed");
        let cases = server.list(&path).await;
        (cases.len() >= most).then_some(())
    })
    .await;
    let mut inputs = Vec::new();
    for case in server.list(&format!("/v1/cases?workflow={workflow}")).await {
        let case = server.case(case["id"].as_str().unwrap()).await;
        inputs.push(case["input"].clone());
    }
    inputs
}

#[tokio::test]
async fn each_second_has_its_case_over_kills() {
    let metadata = "missed: all";
    let mut server = started(&scheduled("tick", "1.0.0", "cron: '* * * * * *'", metadata)).await;
    for seen in [2, 4, 6] {
        until("it has run", || async {
            let last = schedule(&server, "test.tick").await["last"].clone();
            let runs = last.as_array().unwrap().iter().filter(|run| run["case"].is_string());
            (runs.count() >= seen).then_some(())
        })
        .await;
        server.kill().await;
        server.start().await;
    }
    let (status, shown) = say(&server, "test.tick", "pause", json!({"reason": "enough"})).await;
    assert_eq!((status, &shown["state"]), (200, &json!("paused")), "{shown}");
    until("all have ended", || async {
        let open = schedule(&server, "test.tick").await["openCases"].clone();
        (open == 0).then_some(())
    })
    .await;
    until("the lists know it", || async {
        let path = "/v1/cases?workflow=test/tick";
        let all = server.list(path).await;
        let ended = all.iter().all(|case| case["phase"] == "completed");
        (ended && all.len() >= 6).then_some(())
    })
    .await;
    let inputs = inputs(&server, "test/tick", 6).await;
    let due: BTreeSet<i64> = inputs.iter().map(|input| seconds(&input["due"])).collect();
    assert_eq!(due.len(), inputs.len(), "an instant has two cases");
    let (first, last) = (due.first().unwrap(), due.last().unwrap());
    assert_eq!(last - first + 1, i64::try_from(due.len()).unwrap(), "an instant has none: {due:?}");
    assert!(inputs.iter().all(|input| input["schedule"] == "test.tick"), "{inputs:?}");
    let previous = inputs.iter().filter(|input| input["previous"].is_null()).count();
    assert_eq!(previous, 1, "only the first has none before it");
}

fn seconds(at: &Value) -> i64 {
    let at: jiff::Timestamp = at.as_str().unwrap().parse().unwrap();
    at.as_second()
}

#[tokio::test]
async fn each_event_begins_a_case_once() {
    let on = "on: { any: [ { with: { type: paid } }, { with: { type: refunded } } ] }";
    let mut server = started(&scheduled("heard", "1.0.0", on, "")).await;
    send(&server, "paid", "1", json!({"n": 1})).await;
    send(&server, "other", "2", json!({})).await;
    send(&server, "refunded", "3", json!({"n": 3})).await;
    send(&server, "paid", "1", json!({"n": 1})).await;
    let seen = inputs(&server, "test/heard", 2).await;
    let mut numbers: Vec<i64> = seen.iter().filter_map(|i| i[0]["data"]["n"].as_i64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 3]);
    server.kill().await;
    server.start().await;
    send(&server, "paid", "4", json!({"n": 4})).await;
    assert_eq!(inputs(&server, "test/heard", 3).await.len(), 3);
    let shown = schedule(&server, "test.heard").await;
    assert_eq!((&shown["kind"], &shown["spec"]), (&json!("on"), &json!("paid refunded")));
    assert_eq!(shown["last"].as_array().unwrap().len(), 3);
    assert_eq!(say(&server, "test.heard", "trigger", json!({})).await.0, 409);
}

#[tokio::test]
async fn events_that_belong_together_begin_a_case_together() {
    let order = "correlate: { order: { from: .data.order } }";
    let on = format!(
        "on: {{ all: [ {{ with: {{ type: paid }}, {order} }}, {{ with: {{ type: sent }}, {order} }} ] }}"
    );
    let mut server = started(&scheduled("both", "1.0.0", &on, "")).await;
    send(&server, "paid", "1", json!({"order": "a"})).await;
    send(&server, "paid", "2", json!({"order": "b"})).await;
    until("they are kept", || async {
        (schedule(&server, "test.both").await["revision"].as_u64() > Some(2)).then_some(())
    })
    .await;
    server.kill().await;
    server.start().await;
    send(&server, "sent", "3", json!({"order": "b"})).await;
    let seen = inputs(&server, "test/both", 1).await;
    let types: Vec<&Value> = seen[0].as_array().unwrap().iter().map(|e| &e["type"]).collect();
    assert_eq!(types, ["paid", "sent"]);
    assert_eq!(seen[0][0]["data"]["order"], "b");
}

#[tokio::test]
async fn runs_wait_for_each_other_and_are_triggered_by_key() {
    let server = started(&waiting("slow", "1.0.0", "after: PT1S", "overlap: skip")).await;
    let open = until("its first run is under way", || async {
        let shown = schedule(&server, "test.slow").await;
        (shown["openCases"] == 1).then_some(shown)
    })
    .await;
    assert_eq!(open["next"], json!([]), "the next is due after the end of this one");
    let (status, refused) = say(&server, "test.slow", "trigger", json!({})).await;
    assert_eq!(status, 409, "{refused}");
    send(&server, "go", "1", json!({})).await;
    let two = until("the next one is under way", || async {
        let shown = schedule(&server, "test.slow").await;
        (shown["last"].as_array().unwrap().len() == 2).then_some(shown)
    })
    .await;
    assert_eq!(two["last"][1]["outcome"], "completed");
    let ended = two["last"][1].clone();
    let since = seconds(&two["last"][0]["due"]) - seconds(&ended["at"]);
    assert!(since >= 1, "{two}");

    let definition = scheduled("daily", "1.0.0", "cron: 0 6 * * *", "timeZone: Europe/Berlin");
    assert_eq!(server.define(&definition).await.status, 201);
    let key = [("idempotency-key", "monday")];
    let path = "/v1/schedules/test.daily/trigger";
    let body = || Some(("application/json", "{}".to_owned()));
    let first = server.send(Method::POST, path, body(), &key).await;
    let second = server.send(Method::POST, path, body(), &key).await;
    assert_eq!((first.status, second.status), (201, 200), "{}", second.text);
    assert_eq!(first.json["case"], second.json["case"]);
    let case = server.ended(first.json["case"].as_str().unwrap()).await;
    assert_eq!(case["input"]["timeZone"], "Europe/Berlin", "{case}");
    assert_eq!(schedule(&server, "test.daily").await["next"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn the_latest_released_version_rules() {
    let server = started(&scheduled("ruled", "1.0.0", "cron: 0 6 * * *", "")).await;
    let shown = schedule(&server, "test.ruled").await;
    assert_eq!((&shown["version"], &shown["state"]), (&json!("1.0.0"), &json!("active")));
    for (version, spec) in [("1.1.0", "0 7 * * *"), ("2.0.0-rc.1", "0 8 * * *")] {
        let text = scheduled("ruled", version, &format!("cron: {spec}"), "missed: skip");
        assert_eq!(server.define(&text).await.status, 201);
        let shown = schedule(&server, "test.ruled").await;
        assert_eq!(shown["spec"], "0 7 * * *", "one before its release rules nothing");
    }
    let without = "document: { dsl: '1.0.3', namespace: test, name: ruled, version: '2.0.0' }
do: [ { a: { set: { b: 1 } } } ]
";
    assert_eq!(server.define(without).await.status, 201);
    let shown = schedule(&server, "test.ruled").await;
    assert_eq!((&shown["state"], &shown["next"]), (&json!("ended"), &json!([])), "{shown}");
    assert_eq!(say(&server, "test.ruled", "trigger", json!({})).await.0, 409);
    assert_eq!(server.get("/v1/schedules/test.nothing").await.status, 404);
}

#[tokio::test]
async fn a_schedule_whose_input_is_refused_says_so() {
    let text = "document: { dsl: '1.0.3', namespace: test, name: strict, version: '1.0.0' }
schedule: { every: PT1S }
input: { schema: { document: { type: object, required: [customer] } } }
do: [ { a: { set: { b: 1 } } } ]
";
    let server = started(text).await;
    let shown = until("a run was refused", || async {
        let shown = schedule(&server, "test.strict").await;
        (shown["last"][0]["outcome"] == "refused").then_some(shown)
    })
    .await;
    assert_eq!(shown["openCases"], 0, "{shown}");
    assert!(shown["last"][0]["detail"].as_str().unwrap().contains("customer"), "{shown}");
    let (status, refused) = say(&server, "test.strict", "trigger", json!({})).await;
    assert_eq!(status, 422, "{refused}");
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("customer"), "{refused}");
    assert_eq!(say(&server, "test.strict", "pause", json!({})).await.0, 422);
    assert_eq!(say(&server, "test.strict", "resume", json!({"from": "soon"})).await.0, 422);
    let ahead = json!({"from": "2199-01-01T00:00:00Z"});
    assert_eq!(say(&server, "test.strict", "resume", ahead).await.0, 409);
}

#[tokio::test]
async fn what_is_no_schedule_is_refused_with_its_place() {
    let mut server = Server::new("");
    server.start().await;
    for (schedule, metadata, pointer) in [
        ("cron: 0 0 30 2 *", "", "/schedule/cron"),
        ("cron: '* * * * *', every: PT1M", "", "/schedule"),
        ("every: PT0.5S", "", "/schedule/every"),
        ("on: { one: { with: { type: a } }, until: .x }", "", "/schedule/on/until"),
        ("every: PT1M", "timeZone: Berlin", "/document/metadata/timeZone"),
        ("every: PT1M", "missed: never", "/document/metadata/missed"),
        ("every: PT1M", "jitter: P2D", "/document/metadata/jitter"),
    ] {
        let answer = server.define(&scheduled("wrong", "1.0.0", schedule, metadata)).await;
        assert_eq!(answer.status, 422, "{schedule}: {}", answer.text);
        assert_eq!(answer.json["errors"][0]["pointer"], pointer, "{}", answer.text);
    }
    let listed = server.get("/v1/schedules").await.text;
    assert!(!listed.contains("test.wrong"), "{listed}");
}

#[tokio::test]
async fn schedules_are_shown_paused_resumed_and_triggered() {
    let server = started(&scheduled("daily", "1.0.0", "cron: 0 6 * * *", "")).await;
    let run = async |args: &[&str]| {
        let mut all = vec!["schedules"];
        all.extend(args);
        caseworker(&server, &all, "").await
    };
    let listed = run(&[]).await;
    assert!(
        listed.out.contains("test.daily") && listed.out.contains("cron 0 6 * * *"),
        "{}",
        listed.out
    );
    let paused = run(&["pause", "test.daily", "--reason", "holidays"]).await;
    assert!(paused.code == 0 && paused.out.contains("paused: holidays"), "{}", paused.out);
    let begun = run(&["trigger", "test.daily", "--key", "now"]).await;
    assert!(begun.code == 0 && begun.out.starts_with("case_"), "{}{}", begun.out, begun.err);
    server.ended(begun.out.trim()).await;
    until("its end is noted", || async {
        run(&["test.daily"]).await.out.contains("completed").then_some(())
    })
    .await;
    let resumed = run(&["resume", "test.daily"]).await;
    assert!(resumed.out.contains("active"), "{}", resumed.out);
    assert_eq!(run(&["test.nothing"]).await.code, 3);
    let late = "caseworker_schedules_late 0";
    until("it is measured", || async {
        server.get("/metrics").await.text.lines().any(|line| line == late).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_decided_again_keeps_its_cases_and_goes_on() {
    let server = started(&scheduled("back", "1.0.0", "every: PT1S", "overlap: skip")).await;
    let runs = async || {
        let cases = server.list("/v1/cases?workflow=test/back").await;
        cases.iter().filter(|case| case["phase"] == "completed").count()
    };
    until("it has run", async || (runs().await >= 3).then_some(())).await;
    let shown = schedule(&server, "test.back").await;
    let from = shown["last"].as_array().unwrap().last().unwrap()["due"].clone();
    let (status, resumed) = say(&server, "test.back", "resume", json!({"from": from})).await;
    assert_eq!(status, 200, "{resumed}");
    let before = runs().await;
    until("it goes on", async || (runs().await >= before + 3).then_some(())).await;
    assert_eq!(say(&server, "test.back", "pause", json!({"reason": "enough"})).await.0, 200);
    until("none is under way", async || {
        (schedule(&server, "test.back").await["openCases"] == 0).then_some(())
    })
    .await;
    let inputs = inputs(&server, "test/back", before + 3).await;
    let due: BTreeSet<i64> = inputs.iter().map(|input| seconds(&input["due"])).collect();
    assert_eq!(due.len(), inputs.len(), "an instant has two cases");
}

#[tokio::test]
async fn schedules_are_there_as_soon_as_anybody_may_ask() {
    let mut server = started(&scheduled("seen0", "1.0.0", "cron: 0 6 * * *", "")).await;
    for n in 1..5 {
        let text = scheduled(&format!("seen{n}"), "1.0.0", "cron: 0 6 * * *", "");
        assert_eq!(server.define(&text).await.status, 201);
    }
    for _ in 0..3 {
        server.kill().await;
        server.start_unready().await;
        let listed = until("it is let in", || async {
            let listed = server.get("/v1/schedules").await;
            (listed.status != 503).then_some(listed)
        })
        .await;
        let mut items = listed.json["items"].as_array().unwrap().clone();
        items.retain(|item| item["id"].as_str().unwrap().starts_with("test."));
        assert_eq!(items.len(), 5, "{}", listed.text);
        assert!(items[0]["next"].as_array().unwrap().len() == 5, "{}", listed.text);
        until("it is ready", || async {
            (server.get("/readyz").await.status == 200).then_some(())
        })
        .await;
    }
    // two are shipped
    let first = server.get("/v1/schedules?limit=4").await.json;
    assert_eq!(first["items"].as_array().unwrap().len(), 4);
    let next = first["next"].as_str().unwrap();
    let second = server.get(&format!("/v1/schedules?limit=3&cursor={next}")).await.json;
    assert_eq!((&second["items"][0]["id"], &second["next"]), (&json!("test.seen2"), &json!(null)));
    for wrong in ["limit=0", "cursor=x", "foo=1"] {
        assert_eq!(server.get(&format!("/v1/schedules?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn events_of_before_a_pause_begin_cases_and_those_behind_it_none() {
    let on = "on: { one: { with: { type: paid } } }";
    let server = started(&scheduled("paused", "1.0.0", on, "")).await;
    for n in 0..20 {
        send(&server, "paid", &n.to_string(), json!({"n": n})).await;
    }
    assert_eq!(say(&server, "test.paused", "pause", json!({"reason": "lunch"})).await.0, 200);
    for n in 20..25 {
        send(&server, "paid", &n.to_string(), json!({"n": n})).await;
    }
    assert_eq!(say(&server, "test.paused", "resume", json!({})).await.0, 200);
    send(&server, "paid", "25", json!({"n": 25})).await;
    let seen = inputs(&server, "test/paused", 21).await;
    let mut numbers: Vec<i64> = seen.iter().filter_map(|i| i[0]["data"]["n"].as_i64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).chain([25]).collect::<Vec<_>>());
}
