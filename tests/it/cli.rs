//! The command line as scripts see it: what is printed where, and how it exits.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::server::{Server, until};

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub async fn caseworker(server: &Server, args: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_caseworker"))
        .args(args)
        .env("CASEWORKER_SERVER", server.url(""))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // an error means that it reads nothing
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const FLOWS: [&str; 2] = [
    "
document: { dsl: '1.0.3', namespace: test, name: echo, version: '1.0.0' }
do: [ { a: { call: echo, with: '${ . }' } } ]
",
    "
document: { dsl: '1.0.3', namespace: test, name: fails, version: '1.0.0' }
do: [ { a: { raise: { error: { type: https://x, status: 400, title: no } } } } ]
",
];

#[tokio::test]
async fn verbs_print_and_exit_as_they_say() {
    let mut server = Server::new("");
    server.start().await;
    for flow in FLOWS {
        assert_eq!(server.define(flow).await.status, 201);
    }
    let waited =
        caseworker(&server, &["submit", "test/echo", "--wait", "--output", "json"], "{\"n\": 1}");
    let waited = waited.await;
    assert_eq!(waited.code, 0, "{}", waited.err);
    let case: Value = serde_json::from_str(&waited.out).unwrap();
    assert_eq!((&case["phase"], &case["output"]), (&json!("completed"), &json!({"n": 1})));
    let id = case["id"].as_str().unwrap();
    let failed = caseworker(&server, &["submit", "test/fails", "--wait"], "{}").await;
    assert_eq!(failed.code, 9, "{}", failed.err);
    let bulk = caseworker(&server, &["submit", "test/echo", "--key", "k"], "{}\n{}\n{}\n").await;
    assert_eq!((bulk.code, bulk.out.lines().count()), (0, 3), "{}", bulk.err);
    let again = caseworker(&server, &["submit", "test/echo", "--key", "k"], "{}\n{}\n{}\n").await;
    assert_eq!(again.out, bulk.out);
    let followed = caseworker(&server, &["case", id, "--follow"], "").await;
    assert!(followed.out.contains("workflow.completed"), "{}", followed.out);
    let listed = caseworker(&server, &["cases", "--workflow", "test/echo"], "").await;
    assert_eq!(listed.code, 0, "{}", listed.err);
    for (args, code) in [
        (&["case", "case_x"][..], 3),
        (&["submit", "test/none"], 3),
        (&["resume", id], 1),
        (&["suspend", id, "--reason", "x"], 5),
        (&["isolate", "nobody", "--reason", "x"], 3),
        (&["release", "mail"], 5),
        (&["redrive", "dead_x"], 3),
        (&["services", "mail"], 0),
        (&["dead-letters"], 0),
        (&["cases", "--phase", "asleep"], 1),
        (&["frobnicate"], 2),
    ] {
        let ran = caseworker(&server, args, "{}").await;
        if args[0] == "resume" {
            assert!([1, 5].contains(&ran.code), "{args:?}: {}", ran.err);
        } else {
            assert_eq!(ran.code, code, "{args:?}: {}{}", ran.out, ran.err);
        }
    }
    server.kill().await;
    assert_eq!(caseworker(&server, &["cases"], "").await.code, 6);
}

#[tokio::test]
async fn check_names_every_fault_with_its_line() {
    let server = Server::new("");
    let file = server.path().join("wrong.yaml");
    let text = "document: { dsl: '1.0.3', namespace: test, name: wrong, version: '1.0.0' }
do:
  - first:
      set: { a: '${ .b | }' }
      then: nowhere
  - second: { cal: http }
    third: { set: { a: 1 } }
  - fourth:
      try: [ { a: { set: { b: 1 } } } ]
      catch: { retry: undefined }
";
    std::fs::write(&file, text).unwrap();
    let ran = caseworker(&server, &["check", file.to_str().unwrap()], "").await;
    assert_eq!(ran.code, 1);
    for line in ["wrong.yaml:4:", "wrong.yaml:5:", "wrong.yaml:6:", "wrong.yaml:10:"] {
        assert!(ran.out.contains(line), "{line} in {}", ran.out);
    }
}

#[tokio::test]
async fn a_roster_goes_to_a_table_and_back() {
    let mut server = Server::new("");
    server.start().await;
    let file = server.path().join("roster.csv");
    let path = file.to_str().unwrap();
    let head = "id,name,email,timeZone,skills,hours,maxOpen\n";
    let wrong = format!(
        "{head}ann,Ann,no address,Europe/Berlin,a,mon 09:00-17:00,\nben,Ben,ben@example.com,Europe/Nowhere,a,,\n"
    );
    std::fs::write(&file, wrong).unwrap();
    let refused = caseworker(&server, &["csrs", "import", path], "").await;
    assert_eq!(refused.code, 1, "{}", refused.out);
    let said = &refused.err;
    assert!(said.contains("roster.csv:2") && said.contains("roster.csv:3"), "{said}");
    assert!(server.list("/v1/csrs?").await.is_empty(), "nothing is stored half");
    let right =
        format!("{head}ann,\"Ann, B\",ann@example.com,Europe/Berlin,a b,mon-fri 09:00-17:00,5\n");
    std::fs::write(&file, right).unwrap();
    let tried = caseworker(&server, &["csrs", "import", path, "--dry-run"], "").await;
    assert_eq!(tried.out.trim(), "1 would be added, 0 would be changed, 0 are as they were");
    assert!(server.list("/v1/csrs?").await.is_empty());
    let added = caseworker(&server, &["csrs", "import", path], "").await;
    assert_eq!((added.code, added.out.trim()), (0, "1 added, 0 changed, 0 are as they were"));
    let exported = caseworker(&server, &["csrs", "export"], "").await;
    let row = "ann,\"Ann, B\",ann@example.com,Europe/Berlin,,,a b,mon-fri 09:00-17:00,,,5,,,";
    assert_eq!(exported.out.lines().nth(1), Some(row));
    std::fs::write(&file, &exported.out).unwrap();
    let again = caseworker(&server, &["csrs", "import", path], "").await;
    assert_eq!(again.out.trim(), "0 added, 0 changed, 1 are as they were");
    let doctor = caseworker(&server, &["doctor", "--output", "json"], "").await;
    assert!(
        doctor.out.contains("time zones") && doctor.out.contains("data of 20"),
        "{}",
        doctor.out
    );
}

#[tokio::test]
async fn queues_are_shown_paused_resumed_and_purged() {
    let mut server = Server::new("");
    server.start().await;
    let text = "document: { dsl: '1.0.3', namespace: test, name: score, version: '1.0.0' }
do: [ { score: { call: work, with: { queue: clerks } } } ]
";
    assert_eq!(server.define(text).await.status, 201);
    let case = server.submit("test/score", &json!({})).await;
    until("the job is counted", || async {
        let shown = caseworker(&server, &["queues", "clerks", "--output", "json"], "").await;
        shown.out.contains("\"depth\":1").then_some(())
    })
    .await;
    let ask = json!({"worker": "w1"});
    let path = "/v1/queues/clerks/jobs/lease";
    let paused = caseworker(&server, &["queues", "pause", "clerks", "--reason", "lunch"], "").await;
    assert!(
        paused.code == 0 && paused.out.contains("paused: lunch"),
        "{}{}",
        paused.out,
        paused.err
    );
    assert_eq!(server.post(path, &ask).await.json["items"], json!([]));
    let listed = caseworker(&server, &["queues"], "").await;
    assert!(listed.out.contains("clerks") && listed.out.contains("scoring"), "{}", listed.out);
    assert_eq!(caseworker(&server, &["queues", "resume", "clerks"], "").await.code, 0);
    let workers = caseworker(&server, &["workers"], "").await;
    assert!(workers.out.contains("w1") && workers.out.contains("active"), "{}", workers.out);
    let purged = caseworker(&server, &["queues", "purge", "clerks", "--reason", "old"], "").await;
    assert_eq!(purged.code, 0, "{}", purged.err);
    server.case_when(&case, |case| case["phase"] == "suspended").await;
    for (args, code) in [
        (&["queues", "nothing"][..], 3),
        (&["queues", "pause", "nothing", "--reason", "x"], 3),
        (&["queues", "pause", "clerks"], 2),
    ] {
        assert_eq!(caseworker(&server, args, "").await.code, code, "{args:?}");
    }
    until("the purged job is measured", || async {
        let measured = server.get("/metrics").await.text;
        let has = |line: &str| measured.lines().any(|known| known == line);
        let purged = has("caseworker_jobs_total{queue=\"clerks\",outcome=\"purged\"} 1");
        let gone = has("caseworker_jobs{queue=\"clerks\",state=\"queued\"} 0");
        (purged && gone).then_some(())
    })
    .await;
}
