//! Jobs of workers outside, over HTTP: leased, done, failed, lost, given back; queues that are paused and
//! purged; all of it over kills.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Answer, Server, types, until};

const SCORE: &str = "
document: { dsl: '1.0.3', namespace: test, name: score, version: '1.0.0' }
do:
  - score: { call: work, with: { queue: scoring, input: { n: '${ .n }' } } }
";

const CAUGHT: &str = "
document: { dsl: '1.0.3', namespace: test, name: caught, version: '1.0.0' }
do:
  - t:
      try:
        - score: { call: work, with: { queue: scoring, ttl: '${ .ttl // \"PT1H\" }' } }
      catch: { as: error, do: [ { told: { set: { title: '${ $error.title }' } } } ] }
";

async fn started() -> Server {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(SCORE).await.status, 201);
    assert_eq!(server.define(CAUGHT).await.status, 201);
    server
}

pub async fn lease(server: &Server, queue: &str, ask: &Value) -> Vec<Value> {
    let answer = server.post(&format!("/v1/queues/{queue}/jobs/lease"), ask).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json["items"].as_array().unwrap().clone()
}

async fn one(server: &Server, worker: &str) -> Value {
    let ask = json!({"worker": worker, "waitSeconds": 20, "leaseSeconds": 5});
    let mut jobs = lease(server, "scoring", &ask).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0)
}

async fn none(server: &Server) {
    let ask = json!({"worker": "nobody"});
    assert_eq!(lease(server, "scoring", &ask).await, Vec::<Value>::new());
}

async fn say(server: &Server, job: &Value, verb: &str, more: Value) -> Answer {
    let mut body = more;
    body["lease"] = job["lease"].clone();
    server.post(&format!("/v1/jobs/{}/{verb}", job["id"].as_str().unwrap()), &body).await
}

async fn complete(server: &Server, job: &Value) -> Answer {
    say(server, job, "complete", json!({"output": {"score": job["input"]["n"]}})).await
}

fn problem(answer: &Answer) -> (u16, String) {
    let kind = answer.json["type"].as_str().unwrap_or_default();
    (answer.status, kind.trim_start_matches("/problems/").to_owned())
}

#[tokio::test]
async fn a_worker_gets_a_job_does_it_and_says_so_twice() {
    let server = started().await;
    let waiting = one(&server, "w1");
    let submitting = async {
        until("the worker waits", || async {
            let workers = server.get("/v1/workers").await.json;
            (workers["items"][0]["name"] == "w1").then_some(())
        })
        .await;
        server.submit("test/score", &json!({"n": 7})).await
    };
    let (job, case) = tokio::join!(waiting, submitting);
    let schema = server.get("/schemas/job.json").await.json;
    let schema = caseworker::domain::workflow::schema::Schema::compile(&schema).unwrap();
    assert!(schema.violations(&job).is_empty(), "{job:#}");
    assert_eq!(job["case"], json!(case));
    assert_eq!((&job["input"], &job["attempt"]), (&json!({"n": 7}), &json!(1)));
    let shown = server.case(&case).await;
    assert_eq!(shown["phase"], "running", "{shown:#}");
    let extended = say(&server, &job, "extend", json!({})).await;
    assert_eq!(extended.status, 200, "{}", extended.text);

    let done = complete(&server, &job).await;
    assert_eq!((done.status, &done.json["state"]), (200, &json!("done")), "{}", done.text);
    assert_eq!(complete(&server, &job).await.status, 200, "the same again is the same");
    let other = say(&server, &job, "complete", json!({"output": {"score": 1}})).await;
    assert_eq!(problem(&other), (409, "already-done".to_owned()));
    let extended = say(&server, &job, "extend", json!({})).await;
    assert_eq!(problem(&extended), (409, "already-done".to_owned()));
    let ended = server.ended(&case).await;
    assert_eq!(ended["output"], json!({"score": 7}));
    let history = server.history(&case).await;
    assert!(types(&history).contains(&"task.completed"));
    let began = history.iter().find(|event| event["data"]["worker"] == "w1");
    assert!(began.is_some(), "{history:#?}");
}

#[tokio::test]
async fn kills_cost_no_lease_and_no_job() {
    let mut server = started().await;
    let mut cases = Vec::new();
    for n in 0..30 {
        cases.push(server.submit("test/score", &json!({"n": n})).await);
    }
    let ask = json!({"worker": "w1", "max": 10, "waitSeconds": 10, "leaseSeconds": 60});
    let mut held = lease(&server, "scoring", &ask).await;
    while held.len() < 10 {
        held.extend(lease(&server, "scoring", &ask).await);
    }
    for _ in 0..2 {
        server.kill().await;
        server.start().await;
    }
    // what is leased is leased still, and comes to nobody else
    let mut others = Vec::new();
    let ask = json!({"worker": "w2", "max": 100, "waitSeconds": 10, "leaseSeconds": 60});
    until("the rest is leased", || async { Some(()) }).await;
    while held.len() + others.len() < 30 {
        others.extend(lease(&server, "scoring", &ask).await);
    }
    let ids: BTreeSet<&str> =
        held.iter().chain(&others).map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 30, "a job was leased twice");
    let results: Vec<Value> = others
        .iter()
        .map(|job| {
            let output = json!({"score": job["input"]["n"]});
            json!({"id": job["id"], "lease": job["lease"], "output": output})
        })
        .collect();
    let said = server.post("/v1/jobs/results", &json!({"items": results})).await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert!(said.json["items"].as_array().unwrap().iter().all(|item| item["status"] == 200));
    for job in &held {
        assert_eq!(complete(&server, job).await.status, 200);
    }
    for (n, case) in cases.iter().enumerate() {
        let ended = server.ended(case).await;
        assert_eq!(ended["output"], json!({"score": n}));
    }
}

#[tokio::test]
async fn a_job_that_kills_its_workers_is_a_dead_letter_and_its_neighbours_are_done() {
    let server = started().await;
    let poison = server.submit("test/score", &json!({"n": -1})).await;
    let mut good = Vec::new();
    for n in 0..3 {
        good.push(server.submit("test/score", &json!({"n": n})).await);
    }
    let mut crashes = 0;
    while crashes < 3 {
        let job = one(&server, &format!("w{crashes}")).await;
        if job["input"]["n"] == -1 {
            let crashed =
                json!({"error": {"detail": "killed"}, "retryable": true, "crashed": true});
            assert_eq!(say(&server, &job, "fail", crashed).await.status, 200);
            crashes += 1;
        } else {
            assert_eq!(complete(&server, &job).await.status, 200);
        }
    }
    while server.get("/v1/queues/scoring").await.json["depth"] != 0 {
        let ask = json!({"worker": "last", "waitSeconds": 1});
        for job in lease(&server, "scoring", &ask).await {
            assert_eq!(complete(&server, &job).await.status, 200);
        }
    }
    for case in &good {
        assert_eq!(server.ended(case).await["phase"], "completed");
    }
    let case = server.case_when(&poison, |case| case["phase"] == "suspended").await;
    assert_eq!(case["wait"]["kind"], "person");
    let letters = server.list("/v1/dead-letters?limit=10").await;
    assert_eq!((letters.len(), &letters[0]["cause"]), (1, &json!("poison")));
}

#[tokio::test]
async fn a_lease_that_runs_out_goes_to_the_next_and_the_late_result_is_refused() {
    let server = started().await;
    let case = server.submit("test/score", &json!({"n": 5})).await;
    let job = one(&server, "w1").await;
    let again = one(&server, "w2").await;
    assert_eq!((&again["id"], &again["lost"]), (&job["id"], &json!(1)));
    assert_eq!(problem(&complete(&server, &job).await), (409, "lease-lost".to_owned()));
    assert_eq!(problem(&say(&server, &job, "extend", json!({})).await).1, "lease-lost");
    assert_eq!(complete(&server, &again).await.status, 200);
    assert_eq!(problem(&complete(&server, &job).await), (409, "lease-lost".to_owned()));
    assert_eq!(server.ended(&case).await["output"], json!({"score": 5}));
}

#[tokio::test]
async fn what_fails_is_repeated_or_is_the_workflows() {
    let server = started().await;
    let case = server.submit("test/caught", &json!({})).await;
    let job = one(&server, "w1").await;
    let more = json!({"error": {"title": "busy"}, "retryable": true, "retryAfterSeconds": 0});
    let failed = say(&server, &job, "fail", more).await;
    assert_eq!(failed.status, 200, "{}", failed.text);
    let job = one(&server, "w1").await;
    assert_eq!(job["attempt"], 2);
    let more = json!({"error": {"title": "no model", "status": 422}, "retryable": false});
    let failed = say(&server, &job, "fail", more).await;
    assert_eq!(failed.json["state"], "failed", "{}", failed.text);
    assert_eq!(server.ended(&case).await["output"], json!({"title": "no model"}));

    let expired = server.submit("test/caught", &json!({"ttl": "PT0.2S"})).await;
    assert_eq!(server.ended(&expired).await["output"], json!({"title": "Expired"}));
}

#[tokio::test]
async fn a_job_that_nobody_wants_any_more_is_over() {
    let server = started().await;
    let case = server.submit("test/score", &json!({"n": 1})).await;
    let job = one(&server, "w1").await;
    let queued = server.submit("test/score", &json!({"n": 2})).await;
    for case in [&case, &queued] {
        let cancelled = server.post(&format!("/v1/cases/{case}/cancel"), &json!({})).await;
        assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    }
    assert_eq!(problem(&say(&server, &job, "extend", json!({})).await), (409, "job-over".into()));
    assert_eq!(problem(&complete(&server, &job).await), (409, "job-over".into()));
    none(&server).await;
    let released = server.submit("test/score", &json!({"n": 3})).await;
    let job = one(&server, "w1").await;
    assert_eq!(say(&server, &job, "release", json!({})).await.json["state"], "queued");
    let again = one(&server, "w2").await;
    assert_eq!((&again["id"], &again["lost"]), (&job["id"], &json!(0)));
    assert_eq!(complete(&server, &again).await.status, 200);
    assert_eq!(server.ended(&released).await["phase"], "completed");
}

#[tokio::test]
async fn pauses_and_purges_last() {
    let mut server = started().await;
    let reason = json!({"reason": "a new model comes"});
    assert_eq!(server.post("/v1/queues/nowhere/pause", &reason).await.status, 404);
    let first = server.submit("test/score", &json!({"n": 1})).await;
    let paused = server.post("/v1/queues/scoring/pause", &reason).await;
    assert_eq!(paused.json["paused"], true, "{}", paused.text);
    none(&server).await;
    server.kill().await;
    server.start().await;
    let queue = server.get("/v1/queues/scoring").await.json;
    assert_eq!((&queue["depth"], &queue["reason"]), (&json!(1), &reason["reason"]), "{queue:#}");
    none(&server).await;
    let purged = server.post("/v1/queues/scoring/purge", &reason).await;
    assert_eq!((purged.status, &purged.json["purging"]), (202, &json!(1)), "{}", purged.text);
    server.case_when(&first, |case| case["phase"] == "suspended").await;
    let letters = server.list("/v1/dead-letters?limit=10").await;
    assert_eq!(letters[0]["cause"], "purged");
    let second = server.submit("test/score", &json!({"n": 2})).await;
    assert_eq!(server.post("/v1/queues/scoring/resume", &json!({})).await.status, 200);
    let job = one(&server, "w1").await;
    assert_eq!(job["case"], json!(second));
    let retried = server.post(&format!("/v1/cases/{first}/retry"), &json!({})).await;
    assert_eq!(retried.status, 200, "{}", retried.text);
    assert_eq!(one(&server, "w1").await["case"], json!(first));
}

#[tokio::test]
async fn a_purge_of_many_goes_on_after_a_kill() {
    let mut server = started().await;
    let mut cases = Vec::new();
    for n in 0..200 {
        cases.push(server.submit("test/score", &json!({"n": n})).await);
    }
    let pause = json!({"reason": "wrong input"});
    assert_eq!(server.post("/v1/queues/scoring/pause", &pause).await.status, 200);
    assert_eq!(server.post("/v1/queues/scoring/purge", &pause).await.status, 202);
    server.kill().await;
    server.start().await;
    for case in &cases {
        server.case_when(case, |case| case["phase"] == "suspended").await;
    }
    until("all are dead letters", || async {
        let letters = server.list("/v1/dead-letters?limit=500").await;
        (letters.len() == cases.len()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_workers_key_opens_its_queues_and_nothing_else() {
    let digest = Sha256::digest(b"secret")
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let worker = Sha256::digest(b"worker")
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let mut server = Server::new("");
    let config = format!(
        "[[api.keys]]\nname = \"admin\"\nsha256 = \"{digest}\"\n[[api.keys]]\nname = \"scorer\"\nsha256 = \"{worker}\"\nqueues = [\"scoring\"]\n"
    );
    let file = server.path().join("c.toml");
    std::fs::write(&file, config).unwrap();
    server = server.env("CASEWORKER_CONFIG", &file.display().to_string());
    server.start().await;
    let ask = async |key: &str, method: Method, path: &str, body: Value| {
        let bearer = format!("Bearer {key}");
        let body = Some(("application/json", body.to_string()));
        server.send(method, path, body, &[("authorization", bearer.as_str())]).await
    };
    let yaml = SCORE.to_owned();
    let bearer = [("authorization", "Bearer secret")];
    let two = yaml.replace("scoring", "other").replace("name: score", "name: other");
    for text in [yaml, two] {
        let body = Some(("application/yaml", text));
        let defined = server.send(Method::POST, "/v1/workflows", body, &bearer).await;
        assert_eq!(defined.status, 201, "{}", defined.text);
    }
    for workflow in ["test/score", "test/other"] {
        let body = json!({"workflow": workflow, "input": {"n": 1}});
        assert_eq!(ask("secret", Method::POST, "/v1/cases", body).await.status, 201);
    }
    let polls = json!({"worker": "w1", "waitSeconds": 10});
    let mine = ask("worker", Method::POST, "/v1/queues/scoring/jobs/lease", polls.clone()).await;
    assert_eq!(mine.json["items"].as_array().map(Vec::len), Some(1), "{}", mine.text);
    let other = ask("worker", Method::POST, "/v1/queues/other/jobs/lease", polls.clone()).await;
    assert_eq!(other.status, 404);
    let theirs = ask("secret", Method::POST, "/v1/queues/other/jobs/lease", polls).await;
    let theirs = &theirs.json["items"][0];
    let path = format!("/v1/jobs/{}/complete", theirs["id"].as_str().unwrap());
    let body = json!({"lease": theirs["lease"], "output": 1});
    assert_eq!(ask("worker", Method::POST, &path, body).await.status, 404);
    for path in ["/v1/cases", "/v1/queues", "/v1/workers", "/metrics"] {
        let answer = server.send(Method::GET, path, None, &[("authorization", "Bearer worker")]);
        assert_eq!(answer.await.status, 403, "{path}");
    }
    let job = &mine.json["items"][0];
    let path = format!("/v1/jobs/{}/complete", job["id"].as_str().unwrap());
    let body = json!({"lease": job["lease"], "output": 1});
    assert_eq!(ask("worker", Method::POST, &path, body).await.status, 200);
}

#[tokio::test]
async fn the_line_and_the_leases_are_made_anew_with_the_views() {
    let mut server = started().await;
    for n in 0..5 {
        server.submit("test/score", &json!({"n": n})).await;
    }
    let held = one(&server, "w1").await;
    server.stop().await;
    std::fs::remove_dir_all(server.data().join("views")).unwrap();
    server.start().await;
    until("the queue is shown", || async {
        let queue = server.get("/v1/queues/scoring").await.json;
        (queue["depth"] == 4 && queue["leased"] == 1).then_some(())
    })
    .await;
    assert_eq!(complete(&server, &held).await.status, 200);
    let ask = json!({"worker": "w2", "max": 10, "waitSeconds": 10});
    let mut jobs = Vec::new();
    while jobs.len() < 4 {
        jobs.extend(lease(&server, "scoring", &ask).await);
    }
    none(&server).await;
}

#[tokio::test]
async fn what_a_worker_asks_is_checked() {
    let server = started().await;
    let case = server.submit("test/score", &json!({"n": 1})).await;
    for (body, pointer) in [
        (json!({"worker": ""}), "/worker"),
        (json!({"worker": "w", "max": 101}), "/max"),
        (json!({"worker": "w", "max": 0}), "/max"),
        (json!({"worker": "w", "waitSeconds": 61}), "/waitSeconds"),
        (json!({"worker": "w", "leaseSeconds": 4}), "/leaseSeconds"),
        (json!({"worker": "w", "colour": "red"}), "/colour"),
    ] {
        let answer = server.post("/v1/queues/scoring/jobs/lease", &body).await;
        assert_eq!(answer.json["errors"][0]["pointer"], pointer, "{}", answer.text);
    }
    let job = one(&server, "w1").await;
    let large = "x".repeat(300 * 1024);
    let answer = say(&server, &job, "complete", json!({"output": large})).await;
    assert_eq!(answer.status, 413);
    let answer =
        say(&server, &job, "fail", json!({"error": {"status": 7}, "retryable": true})).await;
    assert_eq!(answer.json["errors"][0]["pointer"], "/error/status", "{}", answer.text);
    let mut forged = job.clone();
    forged["lease"] = json!("0000000000000000000000000");
    assert_eq!(problem(&complete(&server, &forged).await), (409, "lease-lost".into()));
    assert_eq!(server.post("/v1/jobs/job_x/complete", &json!({"lease": "x"})).await.status, 404);
    assert_eq!(complete(&server, &job).await.status, 200, "what was refused took nothing");
    assert_eq!(server.ended(&case).await["phase"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_hears_how_a_queue_stands() {
    let server = started().await;
    let mut stream = server.client.get(server.url("/v1/stream")).send().await.unwrap();
    server.submit("test/score", &json!({"n": 1})).await;
    let mut text = String::new();
    while !(text.contains("event: queue") && text.contains("\"depth\":1")) {
        let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_of_a_queue_that_only_data_names_outlives_the_server() {
    let mut server = Server::new("");
    server.start().await;
    let named =
        SCORE.replace("name: score", "name: named").replace("queue: scoring", "queue: '${ .q }'");
    assert_eq!(server.define(&named).await.status, 201);
    let case = server.submit("test/named", &json!({"q": "night-shift"})).await;
    let ask = json!({"worker": "w1", "waitSeconds": 20, "leaseSeconds": 5});
    let job = lease(&server, "night-shift", &ask).await.remove(0);
    server.kill().await;
    server.start().await;
    until("its lease is known again", || async {
        let extended = say(&server, &job, "extend", json!({})).await;
        assert_ne!(extended.status, 409, "a live worker has lost its job: {}", extended.text);
        (extended.status == 200).then_some(())
    })
    .await;
    // nobody extends it any more: it runs out, and another worker gets it
    let again = lease(&server, "night-shift", &json!({"worker": "w2", "waitSeconds": 20})).await;
    assert_eq!((&again[0]["case"], &again[0]["lost"]), (&json!(case), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_one_key_get_the_same_jobs_also_at_once() {
    let server = started().await;
    for n in 0..10 {
        server.submit("test/score", &json!({"n": n})).await;
    }
    let ask = json!({"worker": "w1", "max": 3, "waitSeconds": 5}).to_string();
    let asked = (0..8).map(|_| {
        let body = Some(("application/json", ask.clone()));
        let path = "/v1/queues/scoring/jobs/lease";
        server.send(Method::POST, path, body, &[("idempotency-key", "k1")])
    });
    let answers = futures_util::future::join_all(asked).await;
    let ids = |answer: &Answer| {
        let items = answer.json["items"].as_array().unwrap().clone();
        items.iter().map(|job| job["id"].clone()).collect::<Vec<_>>()
    };
    assert!(!ids(&answers[0]).is_empty());
    for answer in &answers {
        assert_eq!(ids(answer), ids(&answers[0]));
    }
}
