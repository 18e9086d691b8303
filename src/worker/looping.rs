//! One child for many jobs: a job is a line on its stdin, its answer a line on its stdout.

use std::time::Duration;

use rustix::process::Pid;
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use super::Settings;
use super::child::Files;
use super::documents;
use super::group;
use super::job::{Job, Outcome, Stop, Why};
use super::said::Said;
use super::server::Server;

/// Bytes of a line.
const LINE_MAX: u64 = 1024 * 1024;

/// Before a child that died is begun anew, at first and at the most.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(5);

/// The child of one hand.
#[derive(Default)]
pub struct LoopChild {
    running: Option<Running>,
    /// How long the next one waits; none: the last one did a job.
    pause: Option<Duration>,
}

struct Running {
    /// Where its files are.
    files: Files,
    child: Child,
    group: Option<Pid>,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What it writes to stderr goes to the job that it is at.
    said: tokio::sync::watch::Sender<Said>,
    listening: JoinHandle<()>,
}

/// An answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    job: String,
    #[serde(default)]
    output: Json,
    #[serde(default)]
    error: Option<Json>,
    #[serde(default = "yes")]
    retryable: bool,
    #[serde(default)]
    retry_after_seconds: Option<i64>,
}

fn yes() -> bool {
    true
}

/// Does a job by the child, which is begun where there is none.
pub async fn work(
    many: &mut LoopChild,
    (settings, server): (&Settings, &Server),
    job: &Job,
    said: &Said,
    mut stop: Stop,
) -> Outcome {
    if many.running.as_mut().is_some_and(Running::has_ended) {
        // between two jobs: neither is to blame for it
        many.forget();
    }
    if many.running.is_none() {
        match Running::begin(settings) {
            Ok(running) => many.running = Some(running),
            Err(error) => {
                many.slow_down();
                return Outcome::failed(format!("the child cannot be started: {error}"), true);
            }
        }
    }
    let Some(running) = &mut many.running else {
        return Outcome::failed("there is no child", true);
    };
    running.said.send_replace(said.clone());
    let asked = tokio::select! {
        asked = running.ask(job) => asked,
        why = stopped(&mut stop) => {
            // the job is to blame, and the next one does not wait for it
            many.end_running().await;
            return Outcome::stopped(why, settings.timeout);
        }
    };
    match asked {
        Ok(answer) if answer.job == job.id => {
            many.pause = None;
            let outcome = match answer.error {
                Some(error) => {
                    let error = match error {
                        Json::Object(_) => error,
                        other => serde_json::json!({"detail": other.to_string()}),
                    };
                    let (retryable, crashed) = (answer.retryable, false);
                    let retry_after = answer.retry_after_seconds;
                    Outcome::Failed { error, retryable, retry_after, crashed }
                }
                None => {
                    let stored = documents::store(server, running.files.folder(), answer.output);
                    tokio::select! {
                        outcome = stored => outcome,
                        why = stopped(&mut stop) => Outcome::stopped(why, settings.timeout),
                    }
                }
            };
            // what it has left is another job's no more
            match running.files.clear() {
                Ok(()) => outcome,
                Err(error) => {
                    many.kill().await;
                    Outcome::failed(format!("its files stay: {error}"), true)
                }
            }
        }
        Ok(answer) => {
            many.kill().await;
            Outcome::crashed(format!("it answered for the job {}", answer.job))
        }
        Err(why) => {
            many.kill().await;
            Outcome::crashed(why)
        }
    }
}

async fn stopped(stop: &mut Stop) -> Why {
    let why = stop.wait_for(Option::is_some).await.ok().and_then(|why| *why);
    why.unwrap_or(Why::NotWanted)
}

impl Running {
    fn begin(settings: &Settings) -> std::io::Result<Self> {
        let files = Files::new()?;
        let mut command = group::command(settings, &settings.command);
        let mut child = command.env("CASEWORKER_OUT", files.folder()).spawn()?;
        let group = group::of(&child);
        let missing = || std::io::Error::other("it has no pipes");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let stderr = BufReader::new(child.stderr.take().ok_or_else(missing)?);
        let (said, at) = tokio::sync::watch::channel(Said::default());
        let listening = tokio::spawn(listen(stderr, at));
        Ok(Self { files, child, group, stdin, stdout, said, listening })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Hands it a job, and waits for the answer.
    async fn ask(&mut self, job: &Job) -> Result<Answer, String> {
        let line = format!("{}\n", job.told);
        let gone = |error: std::io::Error| format!("it has ended: {error}");
        self.stdin.write_all(line.as_bytes()).await.map_err(gone)?;
        self.stdin.flush().await.map_err(gone)?;
        let mut answer = String::new();
        let mut limited = (&mut self.stdout).take(LINE_MAX + 1);
        let read = limited.read_line(&mut answer).await;
        read.map_err(|error| format!("its answer cannot be read: {error}"))?;
        if !answer.ends_with('\n') {
            return Err(match answer.len() as u64 > LINE_MAX {
                true => "its answer is longer than 1 MiB".to_owned(),
                false => "it ended without an answer".to_owned(),
            });
        }
        serde_json::from_str(&answer).map_err(|error| format!("its answer is no JSON: {error}"))
    }
}

/// Hands each line to the job that the child is at.
async fn listen(
    mut from: BufReader<tokio::process::ChildStderr>,
    at: tokio::sync::watch::Receiver<Said>,
) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut from).take(64 * 1024);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                at.borrow().line(text.trim_end_matches(['\n', '\r']));
            }
        }
    }
}

impl LoopChild {
    fn slow_down(&mut self) {
        let next = self.pause.map_or(AGAIN, |pause| (pause * 2).min(AGAIN_MOST));
        self.pause = Some(next);
    }

    /// Waits before a child that died is begun anew: before a job is taken, which it would cost its time.
    pub async fn rest(&mut self) {
        if self.running.is_none()
            && let Some(pause) = self.pause
        {
            tokio::time::sleep(pause).await;
        }
    }

    async fn kill(&mut self) {
        self.slow_down();
        self.end_running().await;
    }

    async fn end_running(&mut self) {
        if let Some(mut running) = self.running.take() {
            group::end(&mut running.child, running.group).await;
            running.listening.abort();
        }
    }

    /// It has ended: whatever it has started goes with it.
    fn forget(&mut self) {
        if let Some(running) = self.running.take() {
            group::kill(running.group);
            running.listening.abort();
        }
    }

    /// No more jobs come: its stdin ends, and it may finish.
    pub async fn end(mut self, grace: Duration) {
        let Some(running) = self.running.take() else { return };
        let Running { mut child, group, stdin, .. } = running;
        drop(stdin);
        let _ = tokio::time::timeout(grace, child.wait()).await;
        group::end(&mut child, group).await;
    }
}
