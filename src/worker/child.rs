//! A child for one job: the job on its stdin, the output on its stdout, its log on stderr.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

use super::Settings;
use super::group;
use super::job::{Job, Outcome, Stop, Why};
use super::said::Said;

/// Bytes of an output.
const OUTPUT_MAX: usize = 256 * 1024;

/// How long what a child has left behind may hold its pipes open.
const LINGERS: Duration = Duration::from_secs(1);

/// Exit codes: to be tried again, and never.
const RETRY: i32 = 75;
const NEVER: i32 = 65;

/// Does a job by a child of its own.
pub async fn work(settings: &Settings, job: &Job, said: &Said, mut stop: Stop) -> Outcome {
    let files = match Files::new() {
        Ok(files) => files,
        Err(error) => return Outcome::failed(format!("no folder for its files: {error}"), true),
    };
    let mut command = group::command(settings);
    command
        .env("CASEWORKER_JOB", &job.id)
        .env("CASEWORKER_KEY", &job.key)
        .env("CASEWORKER_QUEUE", &job.queue)
        .env("CASEWORKER_ATTEMPT", job.attempt.to_string())
        .env("CASEWORKER_OUT", &files.0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = settings.command.first().map_or("", String::as_str);
            return Outcome::failed(format!("`{program}` cannot be started: {error}"), true);
        }
    };
    let group = group::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let told = job.told.to_string();
    let telling = tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            // one that does not read it has ended, or does not want to
            let _ = stdin.write_all(told.as_bytes()).await;
        }
    });
    let reading = tokio::spawn(async move {
        match stdout {
            Some(stdout) => bounded(stdout).await,
            None => Output::default(),
        }
    });
    let lines = said.clone();
    let listening = tokio::spawn(async move {
        if let Some(stderr) = stderr {
            lines.read(BufReader::new(stderr)).await;
        }
    });
    let mut reading = reading;
    let (status, why, too_much) = tokio::select! {
        status = child.wait() => (status.ok(), None, false),
        why = stopped(&mut stop) => {
            group::end(&mut child, group).await;
            (None, Some(why), false)
        }
        output = &mut reading => match output {
            // what writes without end is ended, or it would wait for us for ever
            Ok(Output { too_much: true, .. }) => {
                group::end(&mut child, group).await;
                (None, None, true)
            }
            output => {
                let ended = tokio::select! {
                    status = child.wait() => (status.ok(), None),
                    why = stopped(&mut stop) => {
                        group::end(&mut child, group).await;
                        (None, Some(why))
                    }
                };
                // whatever it has started goes with it
                group::kill(group);
                let _ = tokio::time::timeout(LINGERS, listening).await;
                telling.abort();
                let output = output.unwrap_or_default();
                return judged(settings, ended.0, ended.1, output);
            }
        },
    };
    group::kill(group);
    telling.abort();
    let _ = tokio::time::timeout(LINGERS, listening).await;
    if too_much {
        let detail = format!("its output is larger than {} KiB", OUTPUT_MAX / 1024);
        return Outcome::failed(detail, false);
    }
    let output = tokio::time::timeout(LINGERS, reading).await;
    let output = output.ok().and_then(Result::ok).unwrap_or_default();
    judged(settings, status, why, output)
}

async fn stopped(stop: &mut Stop) -> Why {
    match stop.wait_for(Option::is_some).await.ok().and_then(|why| *why) {
        Some(why) => why,
        // whoever could say so is gone, and so is the job
        None => Why::NotWanted,
    }
}

/// What a child wrote to stdout.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    too_much: bool,
}

async fn bounded(mut from: impl AsyncRead + Unpin) -> Output {
    let mut bytes = Vec::new();
    let mut limited = (&mut from).take(OUTPUT_MAX as u64 + 1);
    // what cannot be read is missing from the output, which says so
    let _ = limited.read_to_end(&mut bytes).await;
    let too_much = bytes.len() > OUTPUT_MAX;
    Output { bytes, too_much }
}

/// What it comes to how a child ended.
fn judged(
    settings: &Settings,
    status: Option<ExitStatus>,
    why: Option<Why>,
    output: Output,
) -> Outcome {
    if let Some(why) = why {
        return Outcome::stopped(why, settings.timeout);
    }
    if output.too_much {
        let detail = format!("its output is larger than {} KiB", OUTPUT_MAX / 1024);
        return Outcome::failed(detail, false);
    }
    let Some(status) = status else {
        return Outcome::crashed("how it ended is not known");
    };
    if let Some(signal) = status.signal() {
        return Outcome::crashed(format!("it was killed by signal {signal}"));
    }
    let code = status.code().unwrap_or(-1);
    let said: Option<Json> = match output.bytes.trim_ascii().is_empty() {
        true => Some(Json::Null),
        false => serde_json::from_slice(&output.bytes).ok(),
    };
    if code == 0 {
        return match said {
            Some(output) => Outcome::Done(output),
            None => Outcome::failed("its output is no JSON", false),
        };
    }
    let retryable = code != NEVER;
    let mut error = json!({"detail": match code {
        RETRY => "it asks to be tried again".to_owned(),
        NEVER => "it says that it can never be done".to_owned(),
        code => format!("it ended with the code {code}"),
    }});
    let mut retry_after = None;
    if let Some(Json::Object(fields)) = said {
        for name in ["title", "detail", "type", "status"] {
            if let Some(value) = fields.get(name) {
                error[name] = value.clone();
            }
        }
        retry_after = fields.get("retryAfterSeconds").and_then(Json::as_i64);
    }
    Outcome::Failed { error, retryable, retry_after, crashed: false }
}

/// A folder for the files of one job; it goes with it.
struct Files(PathBuf);

impl Files {
    fn new() -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("caseworker-job-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // an error means that it is gone
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
