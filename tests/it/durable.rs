//! What was acknowledged is there, whatever happened to the process and its files.

use std::cell::Cell;
use std::time::Duration;

use caseworker::sim::{FaultsChange, Party, echo};
use serde_json::json;

use crate::server::{Server, free_port, until};

const FIVE: &str = "
document: { dsl: '1.0.3', namespace: test, name: five, version: '1.0.0' }
do:
  - a: { call: http, with: { method: post, endpoint: http://echo/echo, body: { n: '${ .n + 1 }' } }, metadata: { idempotent: true } }
  - b: { call: http, with: { method: post, endpoint: http://echo/echo, body: { n: '${ .n + 1 }' } }, metadata: { idempotent: true } }
  - c: { call: echo, with: { n: '${ .n + 1 }' } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills() {
    caseworker::prepare_process();
    let port = free_port();
    let party = echo::open(port).await.unwrap();
    party.change(&FaultsChange { latency_ms: Some(30), ..Default::default() });
    let mut server = Server::new(&format!("[services.echo]\nurl = \"http://127.0.0.1:{port}\"\n"));
    server.start().await;
    assert_eq!(server.define(FIVE).await.status, 201);
    let mut ids = Vec::new();
    for n in 0..240 {
        ids.push(server.submit_surely("test/five", &json!({"n": 0}), &format!("{n}")).await);
        if n % 60 == 59 {
            server.kill().await;
            server.start().await;
        }
    }
    for id in &ids {
        let case = server.ended(id).await;
        assert_eq!(case["output"], json!({"n": 3}), "{case:#}");
        let history = server.history(id).await;
        let done = history.iter().filter(|e| e["type"] == "task.completed").count();
        assert_eq!(done, 3, "{history:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_made_anew_when_they_are_gone_or_damaged() {
    let mut server = Server::new("");
    server.start().await;
    let parked = "
document: { dsl: '1.0.3', namespace: test, name: parked, version: '1.0.0' }
do: [ { pause: { wait: P30D } } ]
";
    let short = parked.replace("parked", "short").replace("P30D", "PT2S");
    assert_eq!(server.define(parked).await.status, 201);
    assert_eq!(server.define(&short).await.status, 201);
    for _ in 0..50 {
        server.submit("test/parked", &json!({})).await;
    }
    let id = server.submit("test/short", &json!({})).await;
    server.stop().await;
    std::fs::remove_dir_all(server.data().join("views")).unwrap();
    server.start().await;
    assert_eq!(server.list("/v1/cases?wait=timer&limit=500").await.len(), 51);
    server.kill().await;
    for entry in std::fs::read_dir(server.data().join("views")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, b"garbage").unwrap();
        }
    }
    server.start().await;
    server.ended(&id).await;
    assert_eq!(server.list("/v1/cases?workflow=test/parked&limit=500").await.len(), 50);
}

#[tokio::test]
async fn a_second_process_and_a_shorter_journal_are_refused() {
    let mut server = Server::new("");
    server.start().await;
    let yaml = "
document: { dsl: '1.0.3', namespace: test, name: echo, version: '1.0.0' }
do: [ { a: { call: echo } } ]
";
    assert_eq!(server.define(yaml).await.status, 201);
    server.submit("test/echo", &json!({})).await;
    let journal = server.data().join("journal");
    let refused = tokio::process::Command::new(env!("CARGO_BIN_EXE_caseworker"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.data())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
    server.stop().await;
    std::fs::remove_dir_all(journal.join("fjall")).unwrap();
    let (code, text) = server.refusal().await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("records are missing") && text.contains("Restore the folder"), "{text}");
}

#[tokio::test]
async fn it_ends_in_time_and_refuses_what_is_wrong() {
    let mut server = Server::new("");
    server.start().await;
    let stream = server.client.get(server.url("/v1/stream")).send().await.unwrap();
    // a follower does not keep it from ending
    assert!(server.stop().await < Duration::from_secs(10));
    drop(stream);
    let server = server.env("CASEWORKER_CASES_LIVE_MAX", "many");
    let (code, text) = server.refusal().await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("CASEWORKER_CASES_LIVE_MAX: `many` is not a whole number"), "{text}");
}

#[tokio::test]
async fn a_full_disk_is_refused_before_it_is_full() {
    let mut server = Server::new("").env("CASEWORKER_DATA_MIN_FREE", "1000TiB");
    let refused = tokio::time::timeout(Duration::from_secs(10), async {
        server.start_unready().await;
        until("it says why", || async {
            let ready = server.get("/readyz").await;
            (ready.json["reasons"][0]["name"] == "refusing").then_some(ready)
        })
        .await
    });
    let answer = refused.await.unwrap();
    assert_eq!(answer.status, 503);
    let detail = "the disk holds less than `[data] min_free`";
    assert_eq!(answer.json["reasons"], json!([{"name": "refusing", "detail": detail}]));
    let answer = server.post("/v1/cases", &json!({"workflow": "orders/order"})).await;
    assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (503, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_takes_its_own_case_out_of_service() {
    let mut server = Server::new("");
    server.start().await;
    let yaml = "
document: { dsl: '1.0.3', namespace: test, name: parked, version: '1.0.0' }
do: [ { pause: { wait: P30D } } ]
";
    assert_eq!(server.define(yaml).await.status, 201);
    let broken = server.submit("test/parked", &json!({})).await;
    let sound = server.submit("test/parked", &json!({})).await;
    server.stop().await;
    forge(&server, broken.parse().unwrap()).await;
    server.start().await;
    let case = server.case_when(&broken, |case| case["phase"] == "suspended").await;
    assert_eq!(case["wait"]["kind"], "quarantine", "{case:#}");
    assert_eq!(server.case(&sound).await["phase"], "waiting");
    let cancelled = server.post(&format!("/v1/cases/{sound}/cancel"), &json!({})).await;
    assert_eq!(cancelled.json["phase"], "cancelled");
    let refused = server.post(&format!("/v1/cases/{broken}/cancel"), &json!({})).await;
    assert_eq!((refused.status, &refused.json["allowed"]), (409, &json!(["retry"])));
    until("a dead letter", || async {
        let letters = server.list("/v1/dead-letters?state=open").await;
        letters.iter().any(|letter| letter["case"] == broken).then_some(())
    })
    .await;
}

/// Appends a record that does not follow the one before it.
async fn forge(server: &Server, case: caseworker::domain::ids::CaseId) {
    use caseworker::domain::ids::Entity;
    use caseworker::store::EngineJournal;
    use caseworker::store::journal::{Append, Appended, Journal};
    use caseworker::store::record::{self, By, Header, SCHEMA};
    let folder = server.data().join("journal");
    let journal = EngineJournal::open(&folder, |error| panic!("{error}")).unwrap();
    let entity = Entity::from(case);
    let there = journal.last(entity).await.unwrap().unwrap();
    let (last, _) = record::decode(&there.record).unwrap();
    let header = Header {
        schema: SCHEMA,
        entity,
        version: last.last_version() + 1,
        count: 1,
        at: last.at,
        previous: [7; 16],
        command: None,
        by: By::engine(),
    };
    let record = record::encode(&header, b"[[\"unwound\"]]").into();
    let (fence, first) = (Some(there.fence), header.version);
    let appended = journal.append(Append { entity, fence, first, record, note: None }).await;
    assert!(matches!(appended, Appended::Committed(_)), "{appended:?}");
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_writes_two_small_records() {
    use caseworker::domain::ids::Entity;
    use caseworker::sim::{bobs_post::BobsPost, crm};
    use caseworker::store::EngineJournal;
    use caseworker::store::journal::Journal;
    caseworker::prepare_process();
    let (post_port, crm_port) = (free_port(), free_port());
    let post = BobsPost::new(Duration::from_secs(3600), None);
    let _bobs_post = post.open(post_port).await.unwrap();
    let _crm = crm::open(crm_port).await.unwrap();
    let services = format!(
        "[services.crm]\nurl = \"http://127.0.0.1:{crm_port}\"\n\
         [services.bobs-post]\nurl = \"http://127.0.0.1:{post_port}\"\n"
    );
    let mut server = Server::new(&services);
    server.start().await;
    let input = json!({"customerId": "c", "items": [{"sku": "A", "quantity": 1}]});
    let id = server.submit("orders/order", &input).await;
    until("two polls", || async {
        let history = server.history(&id).await;
        let asked = history.iter().filter(|e| {
            let polled = e["task"].as_str().is_some_and(|t| t.ends_with("getShipment"));
            polled && e["type"] == "task.completed"
        });
        (asked.count() == 2).then_some(())
    })
    .await;
    server.stop().await;
    let folder = server.data().join("journal");
    let journal = EngineJournal::open(&folder, |error| panic!("{error}")).unwrap();
    let entity = Entity::from(id.parse::<caseworker::domain::ids::CaseId>().unwrap());
    let records = journal.read(entity, 1, 100).await.unwrap().records;
    // the last two are the second poll: the call starts, and its answer begins the next wait
    let poll: usize = records[records.len() - 2..].iter().map(Vec::len).sum();
    println!("a poll takes {poll} bytes");
    assert!(poll <= 400, "{poll}");
}

const PARCELS: &str = "
document: { dsl: '1.0.3', namespace: test, name: parcels, version: '1.0.0' }
do:
  - each:
      for: { each: n, in: '${ [range(8)] }' }
      do:
        - post:
            call: http
            with: { method: post, endpoint: http://echo/echo, body: { n: '${ $n }', label: '${ \"x\" * 100000 }' } }
            metadata:
              compensate: { call: http, with: { method: post, endpoint: http://echo/echo, body: { undone: '${ .n }' } } }
  - rest: { wait: P30D }
";

/// A case that has posted so many parcels, in a server that was killed and started since.
async fn posted(parcels: usize) -> (Server, Party, String) {
    caseworker::prepare_process();
    let port = free_port();
    let party = echo::open(port).await.unwrap();
    let mut server = Server::new(&format!("[services.echo]\nurl = \"http://127.0.0.1:{port}\"\n"));
    server.start().await;
    let yaml = PARCELS.replace("range(8)", &format!("range({parcels})"));
    assert_eq!(server.define(&yaml).await.status, 201);
    let id = server.submit("test/parcels", &json!({})).await;
    until("all are posted", || async {
        (server.case(&id).await["wait"]["kind"] == "timer").then_some(())
    })
    .await;
    server.kill().await;
    server.start().await;
    (server, party, id)
}

async fn cancel(server: &Server, id: &str) {
    let path = format!("/v1/cases/{id}/cancel");
    assert_eq!(server.post(&path, &json!({"reason": "changed my mind"})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_undone_from_the_journal_where_a_case_keeps_no_more() {
    let (server, _party, id) = posted(8).await;
    cancel(&server, &id).await;
    let case = server.ended(&id).await;
    assert_eq!(case["phase"], "cancelled", "{case:#}");
    let history = server.history(&id).await;
    let undone: Vec<_> =
        history.iter().filter_map(|e| e["data"]["output"]["undone"].as_i64()).collect();
    assert_eq!(undone, [7, 6, 5, 4, 3, 2, 1, 0], "latest first, each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_cannot_be_read_for_a_while_loses_no_answer() {
    // enough that the first of them are in files of their own
    let (server, _party, id) = posted(100).await;
    let tables = std::fs::read_dir(server.data().join("journal/fjall/keyspaces/1/tables")).unwrap();
    let tables = tables.map(|entry| entry.unwrap().path());
    let number = |path: &std::path::Path| path.file_name()?.to_str()?.parse::<u64>().ok();
    let table = tables.min_by_key(|path| number(path)).unwrap();
    let aside = server.data().join("aside");
    std::fs::rename(&table, &aside).unwrap();
    cancel(&server, &id).await;
    let (known, looks) = (Cell::new(0), Cell::new(0));
    until("it stands still", || async {
        let row = &server.list("/v1/cases?workflow=test/parcels").await[0];
        let revision = row["revision"].as_u64().unwrap();
        looks.set(if known.replace(revision) == revision { looks.get() + 1 } else { 0 });
        (looks.get() > 50).then_some(())
    })
    .await;
    assert_ne!(server.list("/v1/cases?phase=running").await.len(), 0);
    std::fs::rename(&aside, &table).unwrap();
    let case = server.ended(&id).await;
    assert_eq!(case["phase"], "cancelled", "{case:#}");
    let history = server.history(&id).await;
    let undone = history.iter().filter_map(|e| e["data"]["output"]["undone"].as_i64());
    assert!(undone.eq((0..100).rev()), "latest first, each once");
}
