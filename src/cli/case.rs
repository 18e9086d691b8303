//! `caseworker case ID`, and what persons ask of a case.

use clap::Args;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::Exit;
use super::client::{Connection, Failure, Remote, run};
use super::output;

/// Show a case.
#[derive(Args)]
pub struct Case {
    /// `case_…`
    id: String,
    /// Follow its history until it ends
    #[arg(long)]
    follow: bool,
    /// Show its history so far
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Case {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let path = format!("/v1/cases/{}", self.id);
            if self.follow {
                let json = remote.output.is_json();
                follow(&remote, &format!("{path}/events"), |event| {
                    if json {
                        println!("{event}");
                    } else {
                        println!("{}", line(event));
                    }
                })
                .await?;
                return Ok(Exit::Ok);
            }
            if self.history {
                return history(&remote, &path).await;
            }
            let case = remote.get(&path).await?;
            if remote.output.is_json() {
                println!("{case}");
            } else {
                show(&case);
            }
            Ok(Exit::Ok)
        })
    }
}

/// Prints all of a history, oldest first.
async fn history(remote: &Remote, path: &str) -> Result<Exit, Failure> {
    let mut next: Option<String> = None;
    loop {
        let cursor = next.map(|next| format!("&cursor={next}")).unwrap_or_default();
        let page = remote.get(&format!("{path}/events?limit=500{cursor}")).await?;
        for event in page["items"].as_array().into_iter().flatten() {
            match remote.output.is_json() {
                true => println!("{event}"),
                false => println!("{}", line(event)),
            }
        }
        match page["next"].as_str() {
            Some(cursor) => next = Some(cursor.to_owned()),
            None => return Ok(Exit::Ok),
        }
    }
}

fn show(case: &Json) {
    for name in ["id", "workflow", "version", "subject", "phase", "status", "createdAt", "endedAt"]
    {
        println!("{name:10} {}", output::cell(&case[name]));
    }
    println!("{:10} {}", "waits for", output::wait(&case["wait"]));
    for name in ["error", "output"] {
        if !case[name].is_null() {
            println!("{name:10} {}", case[name]);
        }
    }
    let tasks = case["tasks"].as_array().cloned().unwrap_or_default();
    if !tasks.is_empty() {
        println!();
        let rows = tasks.iter().map(|task| {
            let mut row: Vec<String> =
                ["reference", "phase", "attempt"].iter().map(|n| output::cell(&task[*n])).collect();
            row.push(output::wait(&task["wait"]));
            let share = task["progress"]["share"].as_f64();
            let share = share.map_or(String::new(), |share| format!("{:.0} %", share * 100.0));
            row.extend([output::cell(&task["worker"]), share]);
            row
        });
        output::table(
            &["task", "phase", "attempt", "waits for", "worker", "progress"],
            rows.collect(),
        );
    }
}

fn line(event: &Json) -> String {
    let place = event["task"].as_str().unwrap_or_default();
    let data = &event["data"];
    let what = match event["type"].as_str().unwrap_or_default() {
        "task.waiting" => output::wait(&data["wait"]),
        "case.status" => output::cell(&data["status"]),
        "workflow.completed" | "task.completed" => data["output"].to_string(),
        "workflow.faulted" | "task.faulted" | "task.retried" | "task.unknown" => {
            output::cell(&data["error"]["detail"])
        }
        "workflow.suspended" | "workflow.cancelled" => output::cell(&data["reason"]),
        _ => String::new(),
    };
    let at = event["at"].as_str().unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or_default();
    // what a person did is told with who it was, and why
    let by = &event["by"];
    let who = by["who"].as_str().filter(|who| *who != "engine");
    let who = match (who, by["why"].as_str()) {
        (Some(who), Some(why)) if what != why => format!(" by {who}: {why}"),
        (Some(who), _) => format!(" by {who}"),
        (None, _) => String::new(),
    };
    format!("{at} {kind:20} {place} {what}{who}").trim_end().to_owned()
}

/// Follows a history to its end; a connection that breaks is taken up where it was.
///
/// # Errors
/// When the server refuses, or cannot be reached for a while.
pub async fn follow(
    remote: &Remote,
    path: &str,
    mut told: impl FnMut(&Json),
) -> Result<(), Failure> {
    follow_until(remote, path, |event| {
        told(event);
        false
    })
    .await
}

/// The same, until an event is the one that is waited for.
///
/// # Errors
/// As [`follow`].
pub async fn follow_until(
    remote: &Remote,
    path: &str,
    mut is_it: impl FnMut(&Json) -> bool,
) -> Result<(), Failure> {
    let (mut last, mut misses) = (0u64, 0);
    loop {
        let request = remote
            .request(Method::GET, path)
            .header("accept", "text/event-stream")
            .header("last-event-id", last.to_string());
        match request.send().await {
            Ok(answer) if answer.status().as_u16() == 204 => return Ok(()),
            Ok(answer) if answer.status().is_success() => {
                misses = 0;
                let (mut text, mut chunks) = (String::new(), answer.bytes_stream());
                while let Some(Ok(chunk)) = chunks.next().await {
                    text.push_str(&String::from_utf8_lossy(&chunk));
                    while let Some(end) = text.find("\n\n") {
                        let block: String = text.drain(..end + 2).collect();
                        if let Some(event) = event_of(&block) {
                            last = event["revision"].as_u64().unwrap_or(last);
                            if is_it(&event) {
                                return Ok(());
                            }
                        }
                    }
                }
            }
            Ok(answer) => {
                let status = answer.status();
                let exit = match status.as_u16() {
                    404 => Exit::NotFound,
                    401 | 403 => Exit::NotAllowed,
                    _ => Exit::Failed,
                };
                return Err(Failure::new(exit, format!("the server answered {status}")));
            }
            Err(error) if misses < 50 => {
                misses += 1;
                tracing::debug!(%error, "the connection broke");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            Err(error) => return Err(remote.unreachable(&error)),
        }
    }
}

fn event_of(block: &str) -> Option<Json> {
    let data: String = block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    serde_json::from_str(&data).ok()
}

/// What is asked of a case, and why.
#[derive(Args)]
pub struct Ask {
    /// `case_…`
    id: String,
    /// Kept in the history
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

impl Ask {
    /// Asks: suspend, resume, cancel.
    pub fn run(self, verb: &str) -> Exit {
        let body = json!({"reason": self.reason});
        tell(&self.connection, &format!("/v1/cases/{}/{verb}", self.id), &body)
    }
}

/// Take up again what waits for a person.
#[derive(Args)]
pub struct Retry {
    /// `case_…`, or a dead letter `dead_…`
    id: String,
    /// Kept in the history
    #[arg(long, default_value = "")]
    reason: String,
    /// Reference of one task; all that wait for a person unless named
    #[arg(long)]
    task: Option<String>,
    /// Whether a call of which nobody knows was done: `done` or `repeat`
    #[arg(long, value_parser = ["done", "repeat"])]
    outcome: Option<String>,
    /// Output of the task, with `--outcome done`: JSON
    #[arg(long)]
    result: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Retry {
    /// Asks at this place: cases or dead letters.
    pub fn run(self, collection: &str, verb: &str) -> Exit {
        let mut body = json!({"reason": self.reason});
        if let Some(task) = self.task {
            body["task"] = json!(task);
        }
        if let Some(outcome) = self.outcome {
            body["outcome"] = json!(outcome);
        }
        if let Some(result) = self.result {
            match serde_json::from_str::<Json>(&result) {
                Ok(result) => body["output"] = result,
                Err(error) => {
                    eprintln!("--result: {error}");
                    return Exit::Usage;
                }
            }
        }
        tell(&self.connection, &format!("/v1/{collection}/{}/{verb}", self.id), &body)
    }
}

fn tell(connection: &Connection, path: &str, body: &Json) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let answer = remote.post(path, body).await?;
        if remote.output.is_json() {
            println!("{answer}");
        } else {
            println!("{} {}", output::cell(&answer["id"]), output::cell(&answer["phase"]));
        }
        Ok(Exit::Ok)
    })
}
