//! A child for one job: the job on its stdin, the output on its stdout, its log on stderr.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::oneshot;

use super::Settings;
use super::documents;
use super::group;
use super::job::{Job, Outcome, Stop, Why};
use super::said::Said;
use super::server::Server;

/// Bytes of an output.
pub const OUTPUT_MAX: usize = 256 * 1024;

/// How long what a child has left behind may hold its pipes open.
const LINGERS: Duration = Duration::from_secs(1);

/// Exit codes: to be tried again, and never.
const RETRY: i32 = 75;
const NEVER: i32 = 65;

/// How a child ended.
pub enum How {
    Exited(ExitStatus),
    Stopped(Why),
    /// It wrote more than it may.
    TooMuch,
    /// Nobody can say.
    Unknown,
}

/// How a child ended, and what it wrote.
pub struct Ended {
    pub how: How,
    pub stdout: Vec<u8>,
    /// As much of it as was to be kept.
    pub stderr: Vec<u8>,
}

/// Does a job by a child of its own.
pub async fn work(
    (settings, server): (&Settings, &Server),
    job: &Job,
    said: &Said,
    stop: Stop,
) -> Outcome {
    let files = match Files::new() {
        Ok(files) => files,
        Err(error) => return Outcome::failed(format!("no folder for its files: {error}"), true),
    };
    let mut command = group::command(settings, &settings.command);
    about(&mut command, job).env("CASEWORKER_OUT", files.folder());
    let mut after = stop.clone();
    match run(command, job.told.to_string().into_bytes(), said, 0, stop).await {
        Ok(ended) => match judged(settings, ended) {
            Outcome::Done { output, .. } => tokio::select! {
                outcome = documents::store(server, files.folder(), output) => outcome,
                why = stopped(&mut after) => Outcome::stopped(why, settings.timeout),
            },
            other => other,
        },
        Err(error) => {
            let program = settings.command.first().map_or("", String::as_str);
            Outcome::failed(format!("`{program}` cannot be started: {error}"), true)
        }
    }
}

/// Tells a child which job it is at.
pub fn about<'a>(command: &'a mut Command, job: &Job) -> &'a mut Command {
    command
        .env("CASEWORKER_JOB", &job.id)
        .env("CASEWORKER_KEY", &job.key)
        .env("CASEWORKER_QUEUE", &job.queue)
        .env("CASEWORKER_ATTEMPT", job.attempt.to_string())
}

/// Runs a command to its end with these bytes on its stdin, or until it is to stop. The first bytes of its
/// stderr are kept, beside its log. An error: it cannot be started.
pub async fn run(
    mut command: Command,
    told: Vec<u8>,
    said: &Said,
    stderr_max: usize,
    mut stop: Stop,
) -> std::io::Result<Ended> {
    let mut child = command.spawn()?;
    let group = group::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let telling = tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            // one that does not read it has ended, or does not want to
            let _ = stdin.write_all(&told).await;
        }
    });
    let (overflows, overflow) = oneshot::channel();
    let written = Written::default();
    let into = written.clone();
    let mut reading = tokio::spawn(async move {
        if let Some(stdout) = stdout {
            bounded(stdout, &into, overflows).await;
        }
    });
    let lines = said.clone();
    let mut listening = tokio::spawn(async move {
        match stderr {
            Some(stderr) => lines.read(BufReader::new(stderr), stderr_max).await,
            None => Vec::new(),
        }
    });
    let too_much = async {
        if overflow.await.is_err() {
            // all of it was read
            std::future::pending::<()>().await;
        }
    };
    let how = tokio::select! {
        status = child.wait() => status.map_or(How::Unknown, How::Exited),
        why = stopped(&mut stop) => How::Stopped(why),
        // what writes without end is ended, or it would wait for us for ever
        () = too_much => How::TooMuch,
    };
    match how {
        // whatever it has started goes with it
        How::Exited(_) => group::kill(group),
        _ => group::end(&mut child, group).await,
    }
    telling.abort();
    let stderr = tokio::time::timeout(LINGERS, &mut listening).await;
    listening.abort();
    // whoever it has left behind may hold the pipe open: what was written counts
    let _ = tokio::time::timeout(LINGERS, &mut reading).await;
    reading.abort();
    let stdout = std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
    let how = match how {
        How::Exited(_) if stdout.len() > OUTPUT_MAX => How::TooMuch,
        how => how,
    };
    Ok(Ended { how, stdout, stderr: stderr.ok().and_then(Result::ok).unwrap_or_default() })
}

async fn stopped(stop: &mut Stop) -> Why {
    match stop.wait_for(Option::is_some).await.ok().and_then(|why| *why) {
        Some(why) => why,
        // whoever could say so is gone, and so is the job
        None => Why::NotWanted,
    }
}

/// What a child has written so far.
type Written = Arc<Mutex<Vec<u8>>>;

/// Reads what a child writes, and says so where that is too much.
async fn bounded(
    mut from: impl AsyncRead + Unpin,
    written: &Written,
    overflows: oneshot::Sender<()>,
) {
    let mut part = vec![0; 16 * 1024];
    // what cannot be read is missing from the output, which says so
    while let Ok(read @ 1..) = from.read(&mut part).await {
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(&part[..read]);
        if written.len() > OUTPUT_MAX {
            // an error means that it has ended meanwhile
            let _ = overflows.send(());
            return;
        }
    }
}

/// That it wrote more than it may.
pub fn too_much() -> String {
    format!("its output is larger than {} KiB", OUTPUT_MAX / 1024)
}

/// What it comes to how a child ended.
fn judged(settings: &Settings, ended: Ended) -> Outcome {
    let status = match ended.how {
        How::Exited(status) => status,
        How::Stopped(why) => return Outcome::stopped(why, settings.timeout),
        How::TooMuch => return Outcome::failed(too_much(), false),
        How::Unknown => return Outcome::crashed("how it ended is not known"),
    };
    if let Some(signal) = status.signal() {
        return Outcome::crashed(format!("it was killed by signal {signal}"));
    }
    let code = status.code().unwrap_or(-1);
    let said: Option<Json> = match ended.stdout.trim_ascii().is_empty() {
        true => Some(Json::Null),
        false => serde_json::from_slice(&ended.stdout).ok(),
    };
    if code == 0 {
        return match said {
            Some(output) => Outcome::done(output),
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

/// A folder for the files of one job, which nobody else can know or open; it goes with it.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> std::io::Result<Self> {
        tempfile::Builder::new().prefix("caseworker-job-").tempdir().map(Self)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Another job begins: nothing is left of the one before.
    pub fn clear(&self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(self.folder())? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }
}
