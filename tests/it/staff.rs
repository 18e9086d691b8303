//! People: onboardings booked with CSRs, performed in order, whatever happens in between.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Answer, Server, types, until};

/// Hours on every day, so that a test fits whatever day it is.
pub fn hours(start: &str, end: &str) -> Value {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    json!(days.map(|day| json!({"day": day, "start": start, "end": end})))
}

async fn put(server: &Server, path: &str, body: &Value) -> Answer {
    server.send(Method::PUT, path, Some(("application/json", body.to_string())), &[]).await
}

pub async fn csr(server: &Server, id: &str, zone: &str, skills: &[&str], more: Value) -> Value {
    let mut body = json!({
        "name": id.to_uppercase(), "email": format!("{id}@example.com"), "timeZone": zone,
        "skills": skills, "hours": hours("08:00", "18:00"),
    });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let answer = put(server, &format!("/v1/csrs/{id}"), &body).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json
}

pub fn customer(n: usize) -> Value {
    json!({"name": format!("Customer {n}"), "email": format!("c{n}@example.com"), "timeZone": "Europe/Paris"})
}

pub fn tasks(titles: &[&str]) -> Value {
    let task = |title: &&str| json!({"name": title, "skill": "identity", "minutes": 30});
    json!(titles.iter().map(task).collect::<Vec<_>>())
}

pub async fn assignments(server: &Server, query: &str) -> Vec<Value> {
    server.list(&format!("/v1/assignments?limit=500&{query}")).await
}

pub async fn act(server: &Server, id: &str, verb: &str, body: Value) -> Answer {
    server.post(&format!("/v1/assignments/{id}/{verb}"), &body).await
}

/// No reservation of anybody overlaps another, and each placed task has exactly one.
pub async fn books_agree(server: &Server, csrs: &[&str]) {
    let placed = assignments(server, "phase=planned,ready,started,blocked").await;
    let mut reserved: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for csr in csrs {
        let calendar =
            server.get(&format!("/v1/csrs/{csr}/calendar?to={}", in_days(90))).await.json;
        let mut end = String::new();
        for booking in calendar["bookings"].as_array().unwrap() {
            if booking["state"] == "done" {
                continue;
            }
            let start = booking["start"].as_str().unwrap().to_owned();
            assert!(end <= start, "{csr} has two at a time: {calendar:#}");
            end = booking["bufferEnd"].as_str().unwrap().to_owned();
            let id = booking["booking"].as_str().unwrap().to_owned();
            reserved.entry(id).or_default().push((*csr).to_owned());
        }
    }
    for one in &placed {
        let by = reserved.remove(one["booking"].as_str().unwrap());
        assert_eq!(by, Some(vec![one["csr"].as_str().unwrap().to_owned()]), "{one:#}");
    }
    assert!(reserved.is_empty(), "reserved for nobody: {reserved:?}");
}

fn in_days(days: i64) -> String {
    let clock = caseworker::clock::Clock::engine();
    clock.now().plus(days * 24 * 3_600_000).to_string()[..10].to_owned()
}

#[tokio::test]
async fn thirty_onboardings_for_two_csrs_outlive_a_kill_and_are_performed_in_order() {
    let mut server = Server::new("");
    server.start().await;
    csr(&server, "ann", "Europe/Berlin", &["identity"], json!({})).await;
    csr(&server, "ben", "America/New_York", &["identity"], json!({})).await;
    let mut cases = Vec::new();
    for n in 0..30 {
        let input = json!({"customer": customer(n), "tasks": tasks(&["first", "second", "third"])});
        cases.push(server.submit("customers/onboarding", &input).await);
    }
    for case in &cases {
        server
            .case_when(case, |case| {
                case["wait"]["on"].as_str().is_some_and(|on| on.starts_with("csr:"))
            })
            .await;
    }
    server.kill().await;
    server.start().await;
    let all = until("every task is listed", || async {
        let all = assignments(&server, "").await;
        (all.len() == 90 && all.iter().all(|one| !one["start"].is_null())).then_some(all)
    })
    .await;
    for one in &all {
        assert!(one["csr"] == "ann" || one["csr"] == "ben", "{one:#}");
        assert!(one["why"].as_str().is_some_and(|why| !why.is_empty()), "{one:#}");
    }
    books_agree(&server, &["ann", "ben"]).await;
    let case = &cases[0];
    let plan = server.get(&format!("/v1/cases/{case}/plan")).await.json;
    let plan = plan["plans"][0]["tasks"].as_array().unwrap().clone();
    let titles: Vec<_> = plan.iter().map(|task| task["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["first", "second", "third"]);
    let ends = |n: usize| plan[n]["end"].as_str().unwrap();
    assert!(
        ends(0) <= plan[1]["start"].as_str().unwrap()
            && ends(1) <= plan[2]["start"].as_str().unwrap()
    );
    let id = |n: usize| plan[n]["id"].as_str().unwrap();
    let late = act(&server, id(2), "complete", json!({"outcome": {}})).await;
    assert_eq!(
        (late.status, late.json["type"].as_str()),
        (409, Some("/problems/predecessor-open")),
        "{}",
        late.text
    );
    let done = act(&server, id(0), "complete", json!({"outcome": {"ok": true}})).await;
    assert_eq!((done.status, &done.json["phase"]), (200, &json!("done")), "{}", done.text);
    assert_eq!(server.case(case).await["status"], "InProgress");
    let again = act(&server, id(0), "complete", json!({"outcome": {"ok": true}})).await;
    assert_eq!(again.status, 200, "{}", again.text);
    let other = act(&server, id(0), "complete", json!({"outcome": {"ok": false}})).await;
    assert_eq!(
        (other.status, other.json["type"].as_str()),
        (409, Some("/problems/already-done")),
        "{}",
        other.text
    );
    let skipped = act(&server, id(1), "skip", json!({"reason": "not needed"})).await;
    assert_eq!(skipped.status, 200, "{}", skipped.text);
    let done = act(&server, id(2), "complete", json!({"outcome": {"n": 3}})).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let case = server.ended(case).await;
    assert_eq!(
        (&case["phase"], &case["status"]),
        (&json!("completed"), &json!("Onboarded")),
        "{case:#}"
    );
    let outcomes = case["output"]["tasks"].as_array().unwrap();
    assert_eq!(outcomes[0]["outcome"], json!({"ok": true}), "{case:#}");
    assert_eq!(outcomes[1]["skipped"], json!(true));
    let history = server.history(case["id"].as_str().unwrap()).await;
    let seen: BTreeSet<_> = types(&history).into_iter().collect();
    for kind in [
        "plan.changed",
        "booking.proposed",
        "booking.made",
        "assignment.ready",
        "assignment.started",
        "assignment.completed",
        "assignment.skipped",
        "booking.done",
    ] {
        assert!(seen.contains(kind), "{kind} in {seen:?}");
    }
    books_agree(&server, &["ann", "ben"]).await;
}

#[tokio::test]
async fn nobody_available_waits_with_the_reason_and_is_woken_by_what_helps() {
    let mut server = Server::new("");
    server.start().await;
    csr(&server, "ann", "Europe/Berlin", &["contract"], json!({})).await;
    let input = json!({"customer": customer(1), "tasks": tasks(&["only"])});
    let case = server.submit("customers/onboarding", &input).await;
    let waiting = server.case_when(&case, |case| !case["wait"]["detail"].is_null()).await;
    assert_eq!(waiting["wait"]["kind"], "staff", "{waiting:#}");
    assert_eq!(waiting["wait"]["detail"], "0 of 1 have the skill identity", "{waiting:#}");
    let listed = until("it is listed as unplaced", || async {
        assignments(&server, "attention=unplaced").await.into_iter().next()
    })
    .await;
    assert_eq!((&listed["phase"], &listed["csr"]), (&json!("unplaced"), &Value::Null));
    csr(&server, "ann", "Europe/Berlin", &["contract", "identity"], json!({})).await;
    server.case_when(&case, |case| case["wait"]["on"] == "csr:ann").await;
    let cancelled =
        server.post(&format!("/v1/cases/{case}/cancel"), &json!({"reason": "gone"})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    server.case_when(&case, |case| case["phase"] == "cancelled").await;
    books_agree(&server, &["ann"]).await;
}

#[tokio::test]
async fn who_is_sick_or_leaves_gives_what_they_have_to_others_or_it_is_shown() {
    let mut server = Server::new("");
    server.start().await;
    csr(&server, "ann", "UTC", &["identity"], json!({"hours": hours("00:00", "24:00")})).await;
    let input = json!({"customer": customer(1), "tasks": tasks(&["first", "second"])});
    let case = server.submit("customers/onboarding", &input).await;
    server.case_when(&case, |case| case["wait"]["on"] == "csr:ann").await;
    csr(&server, "ben", "UTC", &["identity"], json!({"hours": hours("00:00", "24:00")})).await;
    let dry = json!({"from": in_days(0), "to": in_days(9), "reason": "ill", "dryRun": true});
    let dry = server.post("/v1/csrs/ann/time-off", &dry).await;
    for (method, path) in [
        (Method::DELETE, "/v1/csrs/ben?dryRun=true"),
        (Method::POST, "/v1/csrs/ben/time-off?dryRun=true"),
    ] {
        let tried = server.send(method, path, None, &[]).await;
        assert_eq!(tried.status, 200, "{}", tried.text);
        assert!(tried.json["moves"].is_array(), "{}", tried.text);
    }
    let ben = server.get("/v1/csrs/ben").await.json;
    assert_eq!((&ben["state"], &ben["timeOff"]), (&json!("active"), &json!([])), "{ben:#}");
    let moves = dry.json["moves"].as_array().unwrap();
    let to: Vec<&Value> = moves.iter().map(|one| &one["to"]["csr"]).collect();
    assert_eq!(to, [&json!("ben"), &json!("ben")], "{}", dry.text);
    assert!(moves.iter().all(|one| one["from"]["csr"] == "ann"), "{}", dry.text);
    // what is only tried leaves no trace
    books_agree(&server, &["ann", "ben"]).await;
    let ill = json!({"from": in_days(0), "to": in_days(9), "reason": "ill"});
    let ill = server.post("/v1/csrs/ann/time-off", &ill).await;
    assert_eq!(ill.status, 201, "{}", ill.text);
    server.case_when(&case, |case| case["wait"]["on"] == "csr:ben").await;
    until("both tasks are ben's", || async {
        let all = assignments(&server, &format!("case={case}&csr=ben")).await;
        (all.len() == 2).then_some(())
    })
    .await;
    // called in sick twice, somebody is sick once
    for status in [201, 200] {
        let called = server.post("/v1/csrs/ann/time-off", &json!({"reason": "a cold"})).await;
        assert_eq!(called.status, status, "{}", called.text);
    }
    let ann = server.get("/v1/csrs/ann").await.json;
    let colds = ann["timeOff"].as_array().unwrap().iter().filter(|off| off["reason"] == "a cold");
    assert_eq!(colds.count(), 1, "{ann:#}");
    let left = server.send(Method::DELETE, "/v1/csrs/ben", None, &[]).await;
    assert_eq!((left.status, &left.json["state"]), (200, &json!("left")), "{}", left.text);
    // ann is back in ten days, and has time then
    server.case_when(&case, |case| case["wait"]["on"] == "csr:ann").await;
    books_agree(&server, &["ann", "ben"]).await;
    let refused = put(&server, "/v1/csrs/ann", &json!({"name": "Ann"})).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let unknown = server.get("/v1/csrs/zoe").await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);
}

#[tokio::test]
async fn queued_work_goes_to_who_has_the_fewest_and_comes_back_with_its_form() {
    let mut server = Server::new("");
    server.start().await;
    csr(&server, "ann", "UTC", &["review"], json!({})).await;
    csr(&server, "ben", "UTC", &["review"], json!({})).await;
    let yaml = "
document: { dsl: '1.0.3', namespace: test, name: review, version: '1.0.0' }
do:
  - review:
      call: perform
      with:
        skill: review
        title: Look at it
        due: { businessHours: 4 }
        form: { type: object, required: [fine], properties: { fine: { type: boolean } } }
";
    assert_eq!(server.define(yaml).await.status, 201);
    let (mut cases, mut csrs) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let case = server.submit("test/review", &json!({})).await;
        let given = server
            .case_when(&case, |case| {
                case["wait"]["on"].as_str().is_some_and(|on| on.starts_with("csr:"))
            })
            .await;
        csrs.push(given["wait"]["on"].as_str().unwrap()[4..].to_owned());
        cases.push(case);
    }
    csrs.sort_unstable();
    assert_eq!(csrs, ["ann", "ben"]);
    let find = |case: String| {
        let server = &server;
        async move {
            until("it is ready", || async {
                let all = assignments(server, &format!("case={case}&phase=ready")).await;
                all.into_iter().next()
            })
            .await
        }
    };
    let one = find(cases[0].clone()).await;
    let (id, first) = (one["id"].as_str().unwrap(), one["csr"].as_str().unwrap());
    assert!(one["start"].is_null() && !one["due"].is_null(), "{one:#}");
    let wrong = act(&server, id, "complete", json!({"outcome": {"fine": "yes"}})).await;
    assert_eq!(
        (wrong.status, &wrong.json["errors"][0]["pointer"]),
        (422, &json!("/outcome/fine")),
        "{}",
        wrong.text
    );
    let back = act(&server, id, "hand-back", json!({"reason": "no time"})).await;
    assert_eq!(back.status, 200, "{}", back.text);
    let other = until("the other one has it", || async {
        let all = assignments(&server, &format!("case={}&phase=ready", cases[0])).await;
        all.into_iter().find(|one| one["csr"] != first)
    })
    .await;
    let stale = server
        .send(Method::POST, &format!("/v1/assignments/{id}/start"), None, &[("if-match", "\"1\"")])
        .await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    let id = other["id"].as_str().unwrap();
    assert_eq!(act(&server, id, "start", json!({})).await.status, 200);
    let blocked = act(&server, id, "block", json!({"reason": "a document is missing"})).await;
    assert_eq!(blocked.json["phase"], "blocked", "{}", blocked.text);
    let waits = server.case(&cases[0]).await;
    assert_eq!(waits["wait"]["on"], "customer", "{waits:#}");
    assert_eq!(act(&server, id, "unblock", json!({})).await.status, 200);
    let done = act(&server, id, "complete", json!({"outcome": {"fine": true}})).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let case = server.ended(&cases[0]).await;
    assert_eq!(case["output"], json!({"fine": true}), "{case:#}");
}

#[tokio::test]
async fn fifty_who_want_one_hour_of_one_csr_get_one_booking() {
    let mut server = Server::new("");
    server.start().await;
    let tomorrow = in_days(1);
    let day = json!([{"id": "x", "from": format!("{tomorrow}T10:00"), "to": format!("{tomorrow}T11:00")}]);
    csr(&server, "ann", "UTC", &["identity"], json!({"hours": [], "extra": day})).await;
    let yaml = "
document: { dsl: '1.0.3', namespace: test, name: hour, version: '1.0.0' }
do:
  - book: { call: book, with: { skill: identity, minutes: 60 } }
  - keep: { wait: P1D }
";
    assert_eq!(server.define(yaml).await.status, 201);
    let server = &server;
    let submitting = (0..50).map(|_| async move { server.submit("test/hour", &json!({})).await });
    let cases = futures_util::future::join_all(submitting).await;
    let mut booked = 0;
    for case in &cases {
        let case = server
            .case_when(case, |case| {
                case["wait"]["kind"] == "timer"
                    || case["wait"]["on"] == "skill:identity" && !case["wait"]["detail"].is_null()
            })
            .await;
        booked += usize::from(case["wait"]["kind"] == "timer");
    }
    assert_eq!(booked, 1);
    let calendar = server.get(&format!("/v1/csrs/ann/calendar?to={}", in_days(3))).await.json;
    assert_eq!(calendar["bookings"].as_array().map(Vec::len), Some(1), "{calendar:#}");
}

#[tokio::test]
async fn a_plan_is_tried_without_a_trace_and_changed_while_it_is_performed() {
    let mut server = Server::new("");
    server.start().await;
    csr(&server, "ann", "UTC", &["identity"], json!({})).await;
    let mut wanted = tasks(&["first", "second"]);
    wanted[1]["skill"] = json!("saml");
    let input = json!({"customer": customer(1), "tasks": wanted});
    let body = json!({"workflow": "customers/onboarding", "input": input});
    let tried = server.post("/v1/cases?dryRun=true", &body).await;
    assert_eq!(tried.status, 200, "{}", tried.text);
    assert_eq!(tried.json["plan"][0]["csr"], "ann", "{}", tried.text);
    assert_eq!(tried.json["unplaced"][0]["why"], "0 of 1 have the skill saml", "{}", tried.text);
    assert_eq!(tried.json["stopsAt"], "/do/0/plan", "{}", tried.text);
    assert!(server.list("/v1/cases?limit=10").await.is_empty());
    books_agree(&server, &["ann"]).await;
    let wrong =
        server.post("/v1/cases?dryRun=true", &json!({"workflow": "customers/onboarding"})).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    let mut nowhere = body.clone();
    nowhere["input"]["customer"]["timeZone"] = json!("Mars/Olympus");
    let nowhere = server.post("/v1/cases?dryRun=true", &nowhere).await;
    assert_eq!(nowhere.status, 422, "{}", nowhere.text);
    assert!(nowhere.text.contains("Mars/Olympus"), "{}", nowhere.text);
    let list = server.post("/v1/cases", &json!(["customers/onboarding"])).await;
    assert_eq!(list.status, 422, "{}", list.text);
    let input = json!({"customer": customer(1), "tasks": tasks(&["first", "second", "third"])});
    let case = server.submit("customers/onboarding", &input).await;
    server.case_when(&case, |case| case["wait"]["on"] == "csr:ann").await;
    let path = format!("/v1/cases/{case}/plan");
    let plan = server.get(&path).await.json;
    let booking = |n: usize| plan["plans"][0]["tasks"][n]["booking"].clone();
    let more = json!({"title": "more", "skill": "identity", "minutes": 15});
    let change = json!({"tasks": [{"booking": booking(2)}, {"booking": booking(0)}, more], "reason": "they asked"});
    let mut tried = change.clone();
    tried["dryRun"] = json!(true);
    let tried = put(&server, &path, &tried).await;
    assert_eq!(tried.status, 200, "{}", tried.text);
    let moves = tried.json["moves"].as_array().unwrap();
    assert!(moves.iter().any(|one| one["to"].is_null() && one["why"] == "they asked"), "{moves:?}");
    assert!(
        moves.iter().any(|one| one["from"].is_null() && one["to"]["csr"] == "ann"),
        "{moves:?}"
    );
    let same = server.get(&path).await.json;
    assert_eq!(same["plans"][0]["tasks"].as_array().unwrap().len(), 3, "{same:#}");
    let changed = put(&server, &path, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let titles: Vec<_> = changed.json["plans"][0]["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| {
            format!("{} {}", task["title"].as_str().unwrap(), task["phase"].as_str().unwrap())
        })
        .collect();
    assert_eq!(&titles[..2], ["second skipped", "third ready"], "{}", changed.text);
    until("all have their places in order", || async {
        let plan = server.get(&path).await.json;
        let tasks = plan["plans"][0]["tasks"].as_array().unwrap()[1..].to_vec();
        let starts: Vec<&str> = tasks.iter().filter_map(|task| task["start"].as_str()).collect();
        (starts.len() == 3 && starts.is_sorted()).then_some(())
    })
    .await;
    books_agree(&server, &["ann"]).await;
    let begun = act(&server, "assign_00000000000000000000000000", "start", json!({})).await;
    assert_eq!(begun.status, 404, "{}", begun.text);
    let unnamed = put(&server, &path, &json!({"tasks": []})).await;
    assert_eq!(
        (unnamed.status, &unnamed.json["errors"][0]["pointer"]),
        (422, &json!("")),
        "{}",
        unnamed.text
    );
}

/// One hour of a CSR, in so many days.
fn hour(id: &str, days: i64, hour: u32) -> Value {
    let day = in_days(days);
    json!({"id": id, "from": format!("{day}T{hour:02}:00"), "to": format!("{day}T{:02}:00", hour + 1)})
}

const HOUR: &str = "
document: { dsl: '1.0.3', namespace: test, name: hour, version: '1.0.0' }
do:
  - book: { call: book, with: { skill: identity, minutes: 60 }, metadata: { status: Booked } }
  - keep: { wait: P1D }
";

#[tokio::test]
async fn what_comes_free_goes_to_who_comes_first_and_a_refusal_changes_nothing() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(HOUR).await.status, 201);
    csr(&server, "ann", "UTC", &["identity"], json!({"hours": [], "extra": [hour("a", 1, 10)]}))
        .await;
    let submit = |priority: u8| {
        let body = json!({"workflow": "test/hour", "input": {}, "priority": priority});
        let server = &server;
        async move {
            let answer = server.post("/v1/cases", &body).await;
            assert_eq!(answer.status, 201, "{}", answer.text);
            answer.json["id"].as_str().unwrap().to_owned()
        }
    };
    let first = submit(5).await;
    server.case_when(&first, |case| case["status"] == "Booked").await;
    let mut waiting = Vec::new();
    for priority in [5, 1, 9, 3] {
        let case = submit(priority).await;
        server.case_when(&case, |case| !case["wait"]["detail"].is_null()).await;
        waiting.push(case);
    }
    // the index has all of them
    until("all four are listed", || async {
        let all = server.list("/v1/cases?wait=staff:skill:identity&limit=10").await;
        (all.len() == 4).then_some(())
    })
    .await;
    let booked = until("it is listed", || async {
        assignments(&server, &format!("case={first}")).await.into_iter().next()
    })
    .await;
    let id = booked["id"].as_str().unwrap();
    csr(&server, "ben", "UTC", &["other"], json!({})).await;
    // ann has another hour, to which the first one is moved: what it had comes free
    let extra = json!([hour("a", 1, 10), hour("b", 2, 10)]);
    let ninth = waiting.remove(2);
    csr(&server, "ann", "UTC", &["identity"], json!({"hours": [], "extra": extra})).await;
    server.case_when(&ninth, |case| case["status"] == "Booked").await;
    let to = format!("{}T10:00:00Z", in_days(2));
    let taken = act(&server, id, "move", json!({"start": to, "reason": "they asked"})).await;
    assert_eq!(
        (taken.status, &taken.json["type"]),
        (409, &json!("/problems/not-free")),
        "{}",
        taken.text
    );
    let kept = server.get(&format!("/v1/assignments/{id}")).await.json;
    assert_eq!((&kept["csr"], &kept["start"]), (&booked["csr"], &booked["start"]), "{kept:#}");
    let to = format!("{}T15:00:00Z", in_days(2));
    let moved = act(&server, id, "move", json!({"start": to, "reason": "they asked"})).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    server.case_when(&waiting[0], |case| case["status"] == "Booked").await;
    for case in &waiting[1..] {
        assert_eq!(server.case(case).await["status"], Value::Null);
    }
    server.send(Method::DELETE, "/v1/csrs/ben", None, &[]).await;
    let gone = act(&server, id, "reassign", json!({"csr": "ben", "reason": "why not"})).await;
    assert_eq!(
        (gone.status, &gone.json["errors"][0]["pointer"]),
        (422, &json!("/csr")),
        "{}",
        gone.text
    );
    books_agree(&server, &["ann"]).await;
}
