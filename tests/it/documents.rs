//! Documents: stored, served, named by results, kept and removed; rendered by the worker that `serve` starts.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reqwest::Method;
use serde_json::{Value, json};

use crate::jobs::lease;
use crate::server::{Answer, Server, until};

const FILED: &str = "
document: { dsl: '1.0.3', namespace: test, name: filed, version: '1.0.0' }
do:
  - scan: { call: work, with: { queue: scans } }
";

const LETTER: &str = "
document: { dsl: '1.0.3', namespace: test, name: letter, version: '1.0.0' }
do:
  - render:
      try:
        - letter:
            call: pdf
            with: { template: '${ .template }', name: '${ .name }', data: '${ .data }' }
      catch: { as: error, do: [ { told: { set: { failed: '${ $error.detail }' } } } ] }
";

async fn put(server: &Server, kind: &str, bytes: &[u8]) -> Answer {
    let request = server.client.request(Method::POST, server.url("/v1/documents"));
    let answer = request.header("content-type", kind).body(bytes.to_vec()).send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, text, json }
}

async fn get(server: &Server, id: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>, Value) {
    let mut request = server.client.get(server.url(&format!("/v1/documents/{id}")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let told: serde_json::Map<String, Value> = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
        .collect();
    (status, answer.bytes().await.unwrap().to_vec(), Value::Object(told))
}

/// The file of a document.
fn file_of(server: &Server, id: &str) -> PathBuf {
    server.data().join("documents").join(&id[4..6]).join(id)
}

#[tokio::test]
async fn a_document_is_stored_and_served_whole_or_in_part() {
    let mut server = Server::new("");
    server.start().await;
    let stored = put(&server, "text/plain", b"0123456789").await;
    assert_eq!((stored.status, &stored.json["bytes"]), (201, &json!(10)), "{}", stored.text);
    let id = stored.json["document"].as_str().unwrap().to_owned();
    assert_eq!(put(&server, "text/plain", b"0123456789").await.json["document"], id.as_str());
    server.kill().await;
    server.start().await;
    let (status, bytes, told) = get(&server, &id, &[]).await;
    assert_eq!((status, &bytes[..]), (200, &b"0123456789"[..]));
    assert_eq!(told["content-type"], "text/plain");
    assert_eq!(told["content-disposition"], "attachment");
    assert_eq!(told["x-content-type-options"], "nosniff");
    assert!(told["content-security-policy"].as_str().unwrap().contains("sandbox"));
    let tag = told["etag"].as_str().unwrap();
    assert_eq!(get(&server, &id, &[("if-none-match", tag)]).await.0, 304);
    let (status, bytes, told) = get(&server, &id, &[("range", "bytes=2-4")]).await;
    assert_eq!(
        (status, &bytes[..], &told["content-range"]),
        (206, &b"234"[..], &json!("bytes 2-4/10"))
    );
    assert_eq!(get(&server, &id, &[("range", "bytes=10-")]).await.0, 416);
    assert_eq!(get(&server, "doc_x", &[]).await.0, 404);
    assert_eq!(put(&server, "nonsense", b"x").await.status, 415);

    let file = file_of(&server, &id);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let (status, told, _) = get(&server, &id, &[]).await;
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!((status, &told["type"]), (500, &json!("/problems/document-damaged")));
}

#[tokio::test]
async fn one_that_is_too_large_is_not_stored() {
    let mut server = Server::new("").env("CASEWORKER_DOCUMENTS_MAX", "1KiB");
    server.start().await;
    assert_eq!(put(&server, "text/plain", &[b'x'; 2000]).await.status, 413);
    assert_eq!(put(&server, "text/plain", &[b'x'; 1024]).await.status, 201);
}

#[tokio::test]
async fn a_result_names_documents_which_stay_and_others_go() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(FILED).await.status, 201);
    let case = server.submit("test/filed", &json!({})).await;
    let id = |answer: Answer| answer.json["document"].as_str().unwrap().to_owned();
    let (kept, lost) = (
        id(put(&server, "text/plain", b"kept").await),
        id(put(&server, "text/plain", b"lost").await),
    );
    let ask = json!({"worker": "w1", "waitSeconds": 20});
    let job = lease(&server, "scans", &ask).await.remove(0);
    let path = format!("/v1/jobs/{}/complete", job["id"].as_str().unwrap());
    let done = |documents: Value| json!({"lease": job["lease"], "output": {"pages": 2}, "documents": documents});
    let missing = "doc_0000000000000000000000000000000000000000000000000000";
    for (documents, pointer) in [
        (json!([kept, missing]), "/documents/1"),
        (json!(["x"]), "/documents/0"),
        (json!(vec![kept.clone(); 21]), "/documents"),
    ] {
        let answer = server.post(&path, &done(documents)).await;
        assert_eq!((answer.status, &answer.json["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    assert_eq!(server.post(&path, &done(json!([kept]))).await.status, 200);
    assert_eq!(server.post(&path, &done(json!([kept]))).await.status, 200, "it is the same result");
    server.ended(&case).await;
    let named = until("the lists know it", || async {
        let named = server.list(&format!("/v1/documents?case={case}")).await;
        (named[0]["cases"] == json!([case])).then_some(named)
    })
    .await;
    assert_eq!((&named[0]["id"], &named[0]["mediaType"]), (&json!(kept), &json!("text/plain")));
    let history = server.history(&case).await;
    assert!(history.iter().any(|entry| entry["type"] == "case.documents"), "{history:?}");

    // a day and more later, by the files' own times
    server.stop().await;
    for document in [&kept, &lost] {
        let file = std::fs::File::options().append(true).open(file_of(&server, document)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    // and from views that are made anew
    std::fs::remove_dir_all(server.data().join("views")).unwrap();
    server.start().await;
    until("what nobody names is gone", || async {
        (get(&server, &lost, &[]).await.0 == 404).then_some(())
    })
    .await;
    assert_eq!(get(&server, &kept, &[]).await.0, 200);
}

#[tokio::test]
async fn files_that_a_program_leaves_are_documents() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(FILED).await.status, 201);
    let case = server.submit("test/filed", &json!({})).await;
    let program = "echo hello > $CASEWORKER_OUT/b.txt; echo 'a,b' > $CASEWORKER_OUT/a.csv; echo '{\"pages\": 2}'";
    let mut worker = tokio::process::Command::new(env!("CARGO_BIN_EXE_caseworker"))
        .args([
            "worker",
            "--queue",
            "scans",
            "--server",
            &server.url(""),
            "--",
            "/bin/sh",
            "-c",
            program,
        ])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = server.ended(&case).await;
    worker.kill().await.unwrap();
    let documents = ended["output"]["documents"].as_array().unwrap();
    let names: Vec<&Value> = documents.iter().map(|document| &document["name"]).collect();
    assert_eq!(names, ["a.csv", "b.txt"], "{ended}");
    assert_eq!(ended["output"]["pages"], 2);
    assert_eq!(documents[0]["mediaType"], "text/csv");
    let (_, bytes, _) = get(&server, documents[1]["document"].as_str().unwrap(), &[]).await;
    assert_eq!(bytes, b"hello\n");
}

/// The program that renders; `make tests` builds it.
pub fn program() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_caseworker")).with_file_name("caseworker-pdf");
    assert!(program.exists(), "cargo build -p caseworker-pdf has not been run");
    program.to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_template_and_its_data_become_a_pdf() {
    let mut server = Server::new("")
        .env("CASEWORKER_PDF_WORKERS", "1")
        .env("CASEWORKER_PDF_PROGRAM", &program())
        .env("CASEWORKER_PDF_MEMORY", "1GiB");
    let own = server.path().join("templates");
    std::fs::create_dir_all(own.join("note")).unwrap();
    std::fs::write(own.join("note/main.typ"), "= #json(\"/data.json\").title\n").unwrap();
    server = server.env("CASEWORKER_DOCUMENTS_TEMPLATES", own.to_str().unwrap());
    server.start().await;
    let defined = server.define(LETTER).await;
    assert_eq!(defined.status, 201, "{}", defined.text);
    let render = async |template: &str, data: Value| {
        let input = json!({"template": template, "name": "A note", "data": data});
        let case = server.submit("test/letter", &input).await;
        server.ended(&case).await["output"].clone()
    };
    let first = render("note", json!({"title": "Größe"})).await;
    assert_eq!((&first["name"], &first["pages"]), (&json!("A note.pdf"), &json!(1)), "{first}");
    let id = first["document"].as_str().unwrap();
    let (status, bytes, told) = get(&server, id, &[]).await;
    assert_eq!((status, &told["content-type"]), (200, &json!("application/pdf")));
    assert!(bytes.starts_with(b"%PDF-") && json!(bytes.len()) == first["bytes"]);
    // the same again is the same document
    assert_eq!(render("note", json!({"title": "Größe"})).await["document"], id);
    let failed = render("note", json!({})).await["failed"].clone();
    assert!(failed.as_str().unwrap().contains("note/main.typ:1"), "{failed}");
    let missing = render("nothing", json!({})).await["failed"].clone();
    assert!(missing.as_str().unwrap().contains("no template `nothing`"), "{missing}");
}

#[tokio::test]
async fn bad_templates_take_no_time_from_good_ones() {
    let mut server = Server::new("")
        .env("CASEWORKER_PDF_WORKERS", "1")
        .env("CASEWORKER_PDF_PROGRAM", &program())
        .env("CASEWORKER_PDF_TIMEOUT", "1s")
        .env("CASEWORKER_PDF_MEMORY", "1GiB");
    let own = server.path().join("templates");
    for (name, text) in [
        ("note", "= Hello"),
        ("endless", "#while true { }"),
        ("deep", "#let f(x) = f(x + 1); #f(0)"),
    ] {
        std::fs::create_dir_all(own.join(name)).unwrap();
        std::fs::write(own.join(name).join("main.typ"), text).unwrap();
    }
    server = server.env("CASEWORKER_DOCUMENTS_TEMPLATES", own.to_str().unwrap());
    server.start().await;
    assert_eq!(server.define(LETTER).await.status, 201);
    let submit = async |template: &str| {
        let input = json!({"template": template, "name": "x", "data": {}});
        server.submit("test/letter", &input).await
    };
    for _ in 0..3 {
        submit("endless").await;
        submit("deep").await;
    }
    until("some were tried", || async {
        let cases = server.list("/v1/cases?workflow=test/letter&wait=job").await;
        (!cases.is_empty()).then_some(())
    })
    .await;
    for _ in 0..3 {
        let good = submit("note").await;
        let ended = server.ended(&good).await;
        assert_eq!(ended["output"]["pages"], 1, "{ended}");
    }
}

#[tokio::test]
async fn without_its_program_documents_wait_and_it_is_said_so() {
    let mut server = Server::new("")
        .env("CASEWORKER_PDF_WORKERS", "1")
        .env("CASEWORKER_PDF_PROGRAM", "/nowhere/caseworker-pdf");
    server.start().await;
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 200);
    let reasons = ready.json["reasons"].to_string();
    assert!(reasons.contains("/nowhere/caseworker-pdf"), "{reasons}");
}
