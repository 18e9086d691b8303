//! `caseworker worker`: programs that know nothing of us do jobs, die over them, write too much, and are ended.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::server::{Server, free_port, until};

const SCORE: &str = "
document: { dsl: '1.0.3', namespace: test, name: score, version: '1.0.0' }
do:
  - score: { call: work, with: { queue: scoring, input: '${ . }', attempts: 3 } }
";

async fn started() -> Server {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(SCORE).await.status, 201);
    server
}

/// A worker of its own for a test.
fn worker(server: &Server, arguments: &[&str], command: &[&str]) -> Child {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_caseworker"));
    worker
        .args(["worker", "--queue", "scoring", "--lease", "5s", "--name", "w1"])
        .args(arguments)
        .arg("--")
        .args(command)
        .env("CASEWORKER_SERVER", server.url(""))
        .env("CASEWORKER_API_KEY", "not for jobs")
        .stdout(Stdio::null())
        .kill_on_drop(true);
    worker.spawn().unwrap()
}

fn sh(server: &Server, arguments: &[&str], script: &str) -> Child {
    worker(server, arguments, &["/bin/sh", "-c", script])
}

async fn submit(server: &Server, input: &Value) -> String {
    server.submit("test/score", input).await
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(id, signal).unwrap();
}

async fn log(server: &Server, case: &str) -> Vec<String> {
    let path = format!("/v1/cases/{case}/tasks/%2Fdo%2F0%2Fscore/log");
    let page = server.get(&path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let lines = page.json["items"].as_array().unwrap().clone();
    lines.iter().map(|line| line["line"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_program_does_a_job_and_its_log_is_kept() {
    let mut server = started().await;
    let script = "cat > /dev/null; echo hello $CASEWORKER_QUEUE >&2; echo 'progress 0.5 half' >&2; \
                  echo \"key ${CASEWORKER_API_KEY:-none}\" >&2; sleep 2; echo '{\"score\": 80}'";
    let _worker = sh(&server, &[], script);
    let case = submit(&server, &json!({})).await;
    let shown = server.case_when(&case, |case| case["tasks"][0]["progress"]["share"] == 0.5).await;
    let task = &shown["tasks"][0];
    assert_eq!((&task["worker"], &task["queue"]), (&json!("w1"), &json!("scoring")), "{task:#}");
    assert_eq!(task["log"], json!(["hello scoring", "key none"]), "{task:#}");
    assert_eq!(server.ended(&case).await["output"], json!({"score": 80}));
    assert_eq!(log(&server, &case).await, ["hello scoring", "key none"]);
    let stories = server.get(&format!("/v1/cases/{case}/tasks")).await.json;
    let story = &stories["items"][0];
    assert_eq!((&story["phase"], &story["attempt"]), (&json!("completed"), &json!(1)));
    assert!(story["durationMs"].as_i64().unwrap() >= 1900, "{story:#}");
    assert_eq!(story["progress"]["message"], "half");
    let workers = server.get("/v1/workers").await.json;
    until("the job is counted", || async {
        let workers = server.get("/v1/workers").await.json;
        (workers["items"][0]["done"] == 1).then_some(())
    })
    .await;
    assert_eq!(workers["items"][0]["state"], "active");
    server.kill().await;
    server.start().await;
    assert_eq!(log(&server, &case).await, ["hello scoring", "key none"]);
}

#[tokio::test]
async fn how_a_program_ends_says_what_becomes_of_its_job() {
    let server = started().await;
    // the input names what it does
    let script = "job=$(cat); case \"$job\" in \
        *never*) echo '{\"title\": \"no such model\", \"status\": 422}'; exit 65;; \
        *nonsense*) echo 'this is no JSON';; \
        *flood*) head -c 400000 /dev/zero | tr '\\0' 'x';; \
        *forks*) sleep 1000 & echo 1;; \
        *memory*) head -c 300000000 /dev/zero | tail | wc -c;; \
        *again*) echo '{\"retryAfterSeconds\": 0}'; [ $CASEWORKER_ATTEMPT -gt 1 ] && echo >/dev/null; \
                 [ $CASEWORKER_ATTEMPT -gt 1 ] || exit 75;; \
        *silent*) ;; \
        esac";
    let _worker = sh(&server, &["--concurrency", "3", "--memory", "100MiB"], script);
    let mut cases = Vec::new();
    for word in ["never", "nonsense", "flood", "forks", "again", "silent"] {
        cases.push((word, submit(&server, &json!({"word": word})).await));
    }
    for (word, case) in &cases {
        let ended = server.ended(case).await;
        let (phase, error) = (&ended["phase"], &ended["error"]);
        match *word {
            "never" => assert_eq!(
                (&error["title"], &error["status"]),
                (&json!("no such model"), &json!(422))
            ),
            "nonsense" => assert_eq!(error["detail"], "its output is no JSON"),
            "flood" => assert!(error["detail"].as_str().unwrap().contains("256 KiB"), "{error}"),
            "forks" => assert_eq!(ended["output"], 1),
            "again" => assert_eq!(ended["output"], json!({"retryAfterSeconds": 0}), "{ended:#}"),
            _ => assert_eq!((phase, &ended["output"]), (&json!("completed"), &Value::Null)),
        }
    }
}

#[tokio::test]
async fn a_program_that_kills_itself_is_poison_and_its_neighbours_are_done() {
    let server = started().await;
    let script = "job=$(cat); case \"$job\" in *poison*) kill -9 $$;; esac; echo 1";
    let _worker = sh(&server, &["--concurrency", "4"], script);
    let mut good = Vec::new();
    let poison = submit(&server, &json!({"word": "poison"})).await;
    for _ in 0..3 {
        good.push(submit(&server, &json!({"word": "good"})).await);
    }
    for case in &good {
        assert_eq!(server.ended(case).await["phase"], "completed");
    }
    let case = server.case_when(&poison, |case| case["phase"] == "suspended").await;
    let letters = server.list("/v1/dead-letters?limit=10").await;
    assert_eq!((letters.len(), &letters[0]["cause"]), (1, &json!("poison")), "{case:#}");
}

#[tokio::test]
async fn a_job_that_takes_too_long_or_is_not_wanted_is_ended_with_all_it_started() {
    let server = started().await;
    let marks = server.path().join("marks");
    std::fs::create_dir_all(&marks).unwrap();
    // it does not listen to SIGTERM, and has a child of its own; both say who they are
    let script = format!(
        "trap '' TERM; cat > /dev/null; \
         sh -c 'trap \"\" TERM; touch {0}/$$; while :; do sleep 0.2; done' & \
         touch {0}/$$; while :; do sleep 0.2; done",
        marks.display()
    );
    let _worker = sh(&server, &["--timeout", "1s"], &script);
    let case = submit(&server, &json!({})).await;
    let failed =
        server.case_when(&case, |case| case["tasks"][0]["error"]["detail"].is_string()).await;
    let detail = failed["tasks"][0]["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("longer than 1 s"), "{failed:#}");
    let cancelled = server.post(&format!("/v1/cases/{case}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 200);
    until("what it started has ended", || async {
        let marks = std::fs::read_dir(&marks).unwrap().map(|mark| mark.unwrap().file_name());
        let marks: Vec<_> = marks.collect();
        assert!(marks.len() >= 2, "both have begun: {marks:?}");
        let lives = |process| Path::new("/proc").join(process).exists();
        (!marks.into_iter().any(lives)).then_some(())
    })
    .await;
    // the hand is free for the next one
    drop(_worker);
    let _worker = sh(&server, &[], "cat >/dev/null; echo 2");
    let next = submit(&server, &json!({})).await;
    assert_eq!(server.ended(&next).await["output"], 2);
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_finishes_what_it_has_or_gives_it_back() {
    let server = started().await;
    let mut worker = sh(&server, &["--grace", "20s"], "cat >/dev/null; sleep 2; echo 1");
    let case = submit(&server, &json!({})).await;
    server.case_when(&case, |case| case["tasks"][0]["worker"] == "w1").await;
    signal(&worker, rustix::process::Signal::TERM);
    let later = submit(&server, &json!({})).await;
    assert!(worker.wait().await.unwrap().success());
    assert_eq!(server.ended(&case).await["output"], 1);
    assert_eq!(server.case(&later).await["phase"], "waiting", "it leased nothing more");

    let mut worker = sh(&server, &["--grace", "1s"], "cat >/dev/null; sleep 1000; echo 1");
    server.case_when(&later, |case| case["tasks"][0]["worker"] == "w1").await;
    signal(&worker, rustix::process::Signal::TERM);
    assert!(worker.wait().await.unwrap().success());
    let given_back = server.case_when(&later, |case| case["phase"] == "waiting").await;
    assert_eq!(given_back["tasks"][0]["lost"], 0, "{given_back:#}");
}

#[tokio::test]
async fn a_server_that_is_away_gets_the_result_when_it_is_back() {
    let mut server = started().await;
    let port = free_port();
    let health = format!("127.0.0.1:{port}");
    let mut worker = sh(&server, &["--health", &health], "cat >/dev/null; sleep 3; echo 1");
    let case = submit(&server, &json!({})).await;
    server.case_when(&case, |case| case["tasks"][0]["worker"] == "w1").await;
    let ready = server.client.get(format!("http://{health}/readyz")).send().await.unwrap();
    assert!(ready.status().is_success());
    server.kill().await;
    server.start().await;
    assert_eq!(server.ended(&case).await["output"], 1);
    let stories = server.get(&format!("/v1/cases/{case}/tasks")).await.json;
    assert_eq!(stories["items"][0]["lost"], 0, "{stories:#}");
    let text = server.client.get(format!("http://{health}/metrics")).send().await.unwrap();
    let text = text.text().await.unwrap();
    assert!(text.contains("caseworker_worker_jobs_total{outcome=\"done\"} 1"), "{text}");
    signal(&worker, rustix::process::Signal::INT);
    assert!(worker.wait().await.unwrap().success());
}

#[tokio::test]
async fn one_child_does_many_jobs_and_is_begun_anew_when_it_dies() {
    let server = started().await;
    let script = "n=0; while read job; do n=$((n + 1)); \
        id=$(printf %s \"$job\" | sed 's/.*\"id\":\"\\(job_[^\"]*\\)\".*/\\1/'); \
        echo \"job $n\" >&2; \
        case \"$job\" in *dies*) exit 1;; *other*) echo '{\"job\": \"another\"}'; continue;; \
        *fails*) echo \"{\\\"job\\\": \\\"$id\\\", \\\"error\\\": {\\\"title\\\": \\\"no\\\"}, \\\"retryable\\\": false}\"; continue;; esac; \
        echo \"{\\\"job\\\": \\\"$id\\\", \\\"output\\\": $n}\"; done";
    let _worker = sh(&server, &["--loop"], script);
    let mut outputs = Vec::new();
    for _ in 0..3 {
        let case = submit(&server, &json!({"word": "good"})).await;
        outputs.push(server.ended(&case).await["output"].as_i64().unwrap());
    }
    assert_eq!(outputs, [1, 2, 3], "it is one child");
    let fails = submit(&server, &json!({"word": "fails"})).await;
    assert_eq!(server.ended(&fails).await["error"]["title"], "no");
    for word in ["dies", "other"] {
        let case = submit(&server, &json!({"word": word})).await;
        server.case_when(&case, |case| case["phase"] == "suspended").await;
    }
    let case = submit(&server, &json!({"word": "good"})).await;
    assert_eq!(server.ended(&case).await["output"], 1, "another child");
}

#[tokio::test]
async fn a_worker_that_may_not_or_cannot_says_so() {
    let server = started().await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let mut lost = Command::new(env!("CARGO_BIN_EXE_caseworker"));
    let health = format!("127.0.0.1:{}", free_port());
    lost.args(["worker", "--queue", "scoring", "--server", &nobody, "--health", &health]);
    let mut lost = lost.args(["--", "true"]).spawn().unwrap();
    until("it has begun", || async {
        let answer = server.client.get(format!("http://{health}/healthz")).send().await;
        answer.is_ok().then_some(())
    })
    .await;
    signal(&lost, rustix::process::Signal::TERM);
    assert_eq!(lost.wait().await.unwrap().code(), Some(6));
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_caseworker"));
    wrong.args(["worker", "--queue", "No Queue", "--", "true"]);
    assert_eq!(wrong.status().await.unwrap().code(), Some(2));
    drop(server);
}

/// The examples in other languages, where there is something to run them.
fn example(name: &str, program: &str) -> Option<PathBuf> {
    let there = std::process::Command::new(program).arg("--version").output();
    if there.is_err() {
        eprintln!("{program} is not there: {name} is not tried");
        return None;
    }
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workers").join(name))
}

#[tokio::test]
async fn the_examples_do_jobs() {
    let server = started().await;
    let examples: [(&str, &str, &[&str]); 3] = [
        ("score.py", "python3", &[]),
        ("score.js", "node", &[]),
        ("score_loop.py", "python3", &["--loop"]),
    ];
    let input = json!({"answers": {"why": "because", "when": "now"}});
    let scored = json!({"score": 70, "reasons": ["2 answers were given"]});
    for (name, program, arguments) in examples {
        let Some(path) = example(name, program) else { continue };
        let worker = worker(&server, arguments, &[program, &path.display().to_string()]);
        let case = submit(&server, &input).await;
        assert_eq!(server.ended(&case).await["output"], scored, "{name}");
        drop(worker);
    }
    let Some(path) = example("plain.py", "python3") else { return };
    let mut plain = Command::new("python3");
    plain.arg(path).arg("scoring").env("CASEWORKER_SERVER", server.url("")).kill_on_drop(true);
    let _plain = plain.spawn().unwrap();
    let case = submit(&server, &input).await;
    assert_eq!(server.ended(&case).await["output"], scored);
}

#[tokio::test]
async fn a_worker_of_two_queues_does_not_wait_at_the_empty_one() {
    let server = started().await;
    let idle = SCORE.replace("name: score", "name: idle").replace("scoring", "idle");
    assert_eq!(server.define(&idle).await.status, 201);
    let mut cases = Vec::new();
    for _ in 0..100 {
        cases.push(submit(&server, &json!({})).await);
    }
    let _worker = sh(&server, &["--queue", "idle"], "echo 1");
    // a wait at the other queue between any two would take longer than anybody waits here
    let last = cases.last().unwrap();
    assert_eq!(server.ended(last).await["output"], 1);
}

#[tokio::test]
async fn a_result_that_cannot_be_taken_is_a_failure_and_no_loss() {
    let server = started().await;
    let script = "case \"$(cat)\" in *title*) echo '{\"title\": 5}'; exit 65;; \
                  *orphan*) setsid sleep 20 & echo 7;; esac";
    let _worker = sh(&server, &[], script);
    let wrong = submit(&server, &json!({"word": "title"})).await;
    let case = server.ended(&wrong).await;
    assert_eq!(case["error"]["title"], "The result cannot be taken", "{case:#}");
    let orphan = submit(&server, &json!({"word": "orphan"})).await;
    assert_eq!(server.ended(&orphan).await["output"], 7, "what was written counts");
}
