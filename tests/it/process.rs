//! `run: shell` and `script`: commands of definitions, run by a worker that allows them and by nobody else.

use std::process::Stdio;

use serde_json::json;
use tokio::process::{Child, Command};

use crate::server::Server;

fn allowing(server: &Server, allow: &str, arguments: &[&str]) -> Child {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_caseworker"));
    worker
        .args(["worker", "--allow", allow, "--name", "runner", "--lease", "5s"])
        .args(arguments)
        .env("CASEWORKER_SERVER", server.url(""))
        .env("SECRET", "not for commands")
        .stdout(Stdio::null())
        .kill_on_drop(true);
    worker.spawn().unwrap()
}

async fn defined(server: &Server, name: &str, run: &str) {
    let yaml = format!(
        "document: {{ dsl: '1.0.3', namespace: test, name: {name}, version: '1.0.0' }}\n\
         do:\n  - only:\n      run:\n{run}"
    );
    let answer = server.define(&yaml).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

const SHELL: &str = "        shell:
          command: |
            input=$(cat)
            echo \"stdin $input, arguments $1 $2, $GREETING ${SECRET:-nothing}\"
            echo 'a line of the log' >&2
          stdin: ${ .message }
          arguments: [Foo, '${ .n }']
          environment: { GREETING: hello }
";

#[tokio::test]
async fn a_shell_is_run_by_a_worker_that_allows_it() {
    let mut server = Server::new("");
    server.start().await;
    defined(&server, "shell", SHELL).await;
    let input = json!({"message": "Hello World", "n": 7});
    let case = server.submit("test/shell", &input).await;
    let waits = server.case_when(&case, |case| case["tasks"][0]["queue"] == "shell").await;
    assert_eq!(waits["tasks"][0]["attempt"], 0, "nobody runs it: {:#}", waits["tasks"]);
    let _worker = allowing(&server, "shell", &[]);
    let output = server.ended(&case).await["output"].clone();
    assert_eq!(output, "stdin Hello World, arguments Foo 7, hello nothing\n");
    let log = server.get(&format!("/v1/cases/{case}/tasks/%2Fdo%2F0%2Fonly/log")).await.json;
    assert_eq!(log["items"][0]["line"], "a line of the log", "{log:#}");
}

#[tokio::test]
async fn what_is_ended_halfway_is_a_persons_and_its_code_an_error() {
    let mut server = Server::new("");
    server.start().await;
    let (sleeps, fails) = ("echo begun; sleep 1000", "echo no >&2; exit 3");
    defined(&server, "sleeps", &format!("        shell: {{ command: '{sleeps}' }}\n")).await;
    defined(&server, "fails", &format!("        shell: {{ command: '{fails}' }}\n")).await;
    let _worker = allowing(&server, "shell", &["--timeout", "1s"]);
    let fails = server.submit("test/fails", &json!({})).await;
    let error = server.ended(&fails).await["error"].clone();
    assert!(error["detail"].as_str().unwrap().contains("the code 3"), "{error}");
    let sleeps = server.submit("test/sleeps", &json!({})).await;
    let held = server.case_when(&sleeps, |case| case["phase"] == "suspended").await;
    assert_eq!(held["tasks"][0]["error"]["detail"], "it was ended after 1 s");
    let path = format!("/v1/cases/{sleeps}/retry");
    let neither = server.post(&path, &json!({"reason": "again"})).await;
    assert_eq!(neither.status, 409, "whether it was done has to be said: {}", neither.text);
    let said = json!({"reason": "looked", "outcome": "done", "output": "it was"});
    assert_eq!(server.post(&path, &said).await.status, 200);
    assert_eq!(server.ended(&sleeps).await["output"], "it was");
}

#[tokio::test]
async fn scripts_run_in_python_and_javascript() {
    let mut server = Server::new("");
    server.start().await;
    let python = "        script:
          language: python
          arguments: [hello]
          stdin: ${ . }
          code: |
            import json, sys
            print(json.load(sys.stdin)['n'] + 1, sys.argv[1], end='')
";
    let javascript = "        script:
          language: javascript
          arguments: [hello]
          environment: { foo: bar }
          code: |
            const [_, __, arg] = process.argv;
            process.stdout.write(`${arg} ${process.env.foo}`);
";
    let _worker = allowing(&server, "shell,script", &[]);
    for (name, program, run, output) in [
        ("python", "python3", python, json!("8 hello")),
        ("javascript", "node", javascript, json!("hello bar")),
    ] {
        if std::process::Command::new(program).arg("--version").output().is_err() {
            eprintln!("{program} is not there: {name} is not tried");
            continue;
        }
        defined(&server, name, run).await;
        let case = server.submit(&format!("test/{name}"), &json!({"n": 7})).await;
        assert_eq!(server.ended(&case).await["output"], output, "{name}");
    }
}
