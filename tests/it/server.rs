//! A server of its own for each test: a process on a free port, over a folder that goes with it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long a condition may take to hold.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Server {
    folder: TempDir,
    port: u16,
    pub client: Client,
    env: Vec<(String, String)>,
    child: Option<Child>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Server {
    /// A server with these services and the shipped definitions, not started yet.
    pub fn new(services: &str) -> Self {
        caseworker::prepare_process();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("services.toml"), services).unwrap();
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(70)).build().unwrap();
        Self { folder, port: free_port(), client, env: Vec::new(), child: None }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caseworker"));
        command
            .arg("serve")
            .arg("--data")
            .arg(self.data())
            .arg("--services")
            .arg(self.folder.path().join("services.toml"))
            .arg("--workflows")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/workflows"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .env("CASEWORKER_LOG_FILTER", "warn,caseworker::app=error")
            .env("CASEWORKER_DATA_MIN_FREE", "1MiB")
            // who renders documents is started where a test asks for it
            .env("CASEWORKER_PDF_WORKERS", "0")
            .envs(self.env.iter().cloned())
            .kill_on_drop(true);
        command
    }

    pub async fn start(&mut self) {
        self.child = Some(self.command().spawn().unwrap());
        until("the server is ready", || async {
            let ready = self.client.get(self.url("/readyz")).send().await;
            ready.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// Starts it where it will not be ready.
    pub async fn start_unready(&mut self) {
        self.child = Some(self.command().spawn().unwrap());
        until("the server answers", || async {
            self.client.get(self.url("/healthz")).send().await.ok().map(|_| ())
        })
        .await;
    }

    /// Starts it where it is expected to refuse; what it says.
    pub async fn refusal(&self) -> (i32, String) {
        let output = self.command().stderr(Stdio::piped()).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    pub async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    /// Ends it in good order; how long it took.
    pub async fn stop(&mut self) -> Duration {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        let id = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().await.unwrap().success());
        begun.elapsed()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method, self.url(path));
        if let Some((media, body)) = body {
            request = request.header("content-type", media).body(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, json }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let body = Some(("application/json", body.to_string()));
        self.send(Method::POST, path, body, &[]).await
    }

    pub async fn define(&self, yaml: &str) -> Answer {
        let body = Some(("application/yaml", yaml.to_owned()));
        self.send(Method::POST, "/v1/workflows", body, &[]).await
    }

    /// Submits; the case's id.
    pub async fn submit(&self, workflow: &str, input: &Value) -> String {
        let answer = self.post("/v1/cases", &json!({"workflow": workflow, "input": input})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json["id"].as_str().unwrap().to_owned()
    }

    /// Submits under a key, again and again until it is acknowledged.
    pub async fn submit_surely(&self, workflow: &str, input: &Value, key: &str) -> String {
        let body = json!({"workflow": workflow, "input": input}).to_string();
        until("a submission is acknowledged", || async {
            let request = self.client.post(self.url("/v1/cases")).header("idempotency-key", key);
            let request = request.header("content-type", "application/json").body(body.clone());
            let answer = request.send().await.ok().filter(|a| a.status().is_success())?;
            let json: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
            Some(json["id"].as_str()?.to_owned())
        })
        .await
    }

    pub async fn case(&self, id: &str) -> Value {
        self.get(&format!("/v1/cases/{id}")).await.json
    }

    /// Waits until a case is as wanted.
    pub async fn case_when(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let last = std::cell::RefCell::new(Value::Null);
        let found = until_within(PATIENCE, || async {
            let case = self.case(id).await;
            *last.borrow_mut() = case.clone();
            wanted(&case).then_some(case)
        })
        .await;
        found.unwrap_or_else(|| panic!("the case stays {:#}", last.borrow()))
    }

    pub async fn ended(&self, id: &str) -> Value {
        let ended = ["completed", "faulted", "cancelled"];
        self.case_when(id, |case| ended.contains(&case["phase"].as_str().unwrap_or_default())).await
    }

    /// All cases of a query.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{cursor}")).await.json;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    pub async fn history(&self, id: &str) -> Vec<Value> {
        self.list(&format!("/v1/cases/{id}/events?limit=500")).await
    }
}

/// The types of a history's events.
pub fn types(history: &[Value]) -> Vec<&str> {
    history.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// Waits until something is there.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> T {
    let found = until_within(PATIENCE, look).await;
    found.unwrap_or_else(|| panic!("in vain: {what}"))
}

/// The same, for no longer than this.
pub async fn until_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> Option<T> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if let Some(found) = look().await {
            return Some(found);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
