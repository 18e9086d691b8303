//! `caseworker submit WORKFLOW`

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::Exit;
use super::client::{Connection, Failure, Remote, run};
use super::output;

/// Submissions on their way at the same time, in bulk.
const SIDE_BY_SIDE: usize = 32;

/// Times that a submission is tried when there is no room for it.
const TRIES: u32 = 20;

/// Submit cases.
#[derive(Args)]
pub struct Submit {
    /// `namespace/name`
    workflow: String,
    /// A file with the input, or `-`: JSON, or JSON Lines for many cases
    #[arg(long, default_value = "-")]
    input: PathBuf,
    /// Idempotency key; in bulk each line's number is added to it
    #[arg(long)]
    key: Option<String>,
    /// Wait until the case has ended
    #[arg(long)]
    wait: bool,
    /// Seconds to wait for it
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
    /// Version of the workflow; the latest unless named
    #[arg(long)]
    version: Option<String>,
    /// The business key
    #[arg(long)]
    subject: Option<String>,
    /// 0 to 9, 9 first
    #[arg(long)]
    priority: Option<u8>,
    #[command(flatten)]
    connection: Connection,
}

impl Submit {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let text = self.read()?;
            if let Ok(input) = serde_json::from_str::<Json>(&text) {
                return self.one(&remote, input).await;
            }
            if text.trim().is_empty() {
                return self.one(&remote, json!({})).await;
            }
            self.many(&remote, &text).await
        })
    }

    fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let failed =
            |e: std::io::Error| Failure::new(Exit::Usage, format!("{}: {e}", self.input.display()));
        if self.input.as_os_str() == "-" {
            if std::io::stdin().is_terminal() {
                eprintln!("reading the input from the terminal; Ctrl-D ends it");
            }
            std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        } else {
            text = std::fs::read_to_string(&self.input).map_err(failed)?;
        }
        Ok(text)
    }

    async fn one(&self, remote: &Remote, input: Json) -> Result<Exit, Failure> {
        let mut case = self.submit(remote, input, self.key.clone()).await?;
        let id = case["id"].as_str().unwrap_or_default().to_owned();
        let mut exit = Exit::Ok;
        if self.wait {
            (case, exit) = self.ended(remote, &id).await?;
        }
        if remote.output.is_json() {
            println!("{case}");
        } else {
            println!("{id}");
            if self.wait {
                let status = output::cell(&case["status"]);
                eprintln!("{} {status}", output::cell(&case["phase"]));
                let error = &case["error"];
                if let Some(detail) = error["detail"].as_str().or(error["title"].as_str()) {
                    eprintln!("{} {detail}", output::cell(&error["instance"]));
                }
            }
        }
        Ok(exit)
    }

    async fn submit(
        &self,
        remote: &Remote,
        input: Json,
        key: Option<String>,
    ) -> Result<Json, Failure> {
        let mut body = json!({"workflow": self.workflow, "input": input});
        for (name, value) in [
            ("version", json!(self.version)),
            ("subject", json!(self.subject)),
            ("priority", json!(self.priority)),
        ] {
            if !value.is_null() {
                body[name] = value;
            }
        }
        let mut tries = 0;
        loop {
            let mut request = remote.request(Method::POST, "/v1/cases").json(&body);
            if let Some(key) = &key {
                request = request.header("idempotency-key", key);
            }
            match remote.send(request).await {
                // 429 and 503 say that nothing was stored, so it may be tried again
                Err(failure)
                    if tries < TRIES
                        && (failure.message.contains("(429)")
                            || failure.message.contains("(503)")) =>
                {
                    tries += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
                other => return other,
            }
        }
    }

    /// The case once it has ended, or stands until a person acts.
    async fn ended(&self, remote: &Remote, id: &str) -> Result<(Json, Exit), Failure> {
        let path = format!("/v1/cases/{id}/events");
        let following =
            super::case::follow_until(remote, &path, |event| event["type"] == "workflow.suspended");
        let patience = std::time::Duration::from_secs(self.timeout);
        match tokio::time::timeout(patience, following).await {
            Ok(followed) => followed?,
            Err(_) => {
                let detail = format!("{id} has not ended after {} s", self.timeout);
                return Err(Failure::new(Exit::TimedOut, detail));
            }
        }
        let case = remote.get(&format!("/v1/cases/{id}")).await?;
        let exit = match case["phase"].as_str() {
            Some("completed") => Exit::Ok,
            Some("faulted" | "cancelled") => Exit::EndedBadly,
            _ => {
                eprintln!("{id} is suspended: a person has to act");
                Exit::Failed
            }
        };
        Ok((case, exit))
    }

    /// One case for each line.
    async fn many(&self, remote: &Remote, text: &str) -> Result<Exit, Failure> {
        let lines: Vec<String> = BufReader::new(text.as_bytes())
            .lines()
            .map_while(Result::ok)
            .filter(|line| !line.trim().is_empty())
            .collect();
        let mut inputs = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let input: Json = serde_json::from_str(line).map_err(|error| {
                Failure::new(Exit::Usage, format!("line {}: {error}", number + 1))
            })?;
            inputs.push((number + 1, input));
        }
        let bar = ProgressBar::new(inputs.len() as u64);
        let results = stream::iter(inputs).map(|(number, input)| {
            let key = self.key.as_ref().map(|key| format!("{key}-{number}"));
            let bar = &bar;
            async move {
                let submitted = self.submit(remote, input, key).await;
                bar.inc(1);
                (number, submitted)
            }
        });
        let results: Vec<_> = results.buffered(SIDE_BY_SIDE).collect().await;
        bar.finish_and_clear();
        let mut failed = 0;
        for (number, result) in &results {
            match result {
                Ok(case) if remote.output.is_json() => println!("{case}"),
                Ok(case) => println!("{}", output::cell(&case["id"])),
                Err(failure) => {
                    failed += 1;
                    eprintln!("line {number}: {}", failure.message);
                }
            }
        }
        eprintln!("{} submitted, {failed} refused", results.len() - failed);
        Ok(match failed {
            0 => Exit::Ok,
            n if n == results.len() => Exit::Failed,
            _ => Exit::PartlyDone,
        })
    }
}
