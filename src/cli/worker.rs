//! `caseworker worker`: does jobs of queues by a program of the user's.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::serve::told_to_stop;
use super::{Exit, block_on};
use crate::config::values::{Size, Span, Text};
use crate::config::{Log, LogFormat};
use crate::domain::work::lease::SECONDS;
use crate::domain::work::queue::check_name;
use crate::telemetry;
use crate::worker::{self, Allowed, End, Server, Settings};

/// Do jobs of queues: a program gets each on its stdin, and writes the output to its stdout.
#[derive(Args)]
pub struct Worker {
    /// A queue; may be said several times. Those of what is allowed need not be said
    #[arg(long = "queue")]
    queues: Vec<String>,
    /// Jobs at the same time
    #[arg(long, default_value_t = 1)]
    concurrency: usize,
    /// The worker's name; host and process unless said
    #[arg(long)]
    name: Option<String>,
    /// How long a job may be without a word of ours; the job's or the queue's unless said
    #[arg(long)]
    lease: Option<Span>,
    /// How long a job may take
    #[arg(long, default_value = "10m")]
    timeout: Span,
    /// Memory that each process of a job may have, such as 512MiB
    #[arg(long)]
    memory: Option<Size>,
    /// How long jobs may go on once it is told to end
    #[arg(long, default_value = "30s")]
    grace: Span,
    /// A variable that jobs get of ours, beside PATH, HOME, LANG and TZ; may be said several times
    #[arg(long = "env")]
    env: Vec<String>,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long)]
    health: Option<SocketAddr>,
    /// One child does many jobs: a line each on stdin and stdout
    #[arg(long = "loop")]
    looping: bool,
    /// Commands of definitions that it runs; whoever registers definitions then commands this machine
    #[arg(long, value_enum, value_delimiter = ',')]
    allow: Vec<Allow>,
    /// Address of the server
    #[arg(long, env = "CASEWORKER_SERVER", default_value = "http://127.0.0.1:7700")]
    server: String,
    /// API key, where the server wants one
    #[arg(long, env = "CASEWORKER_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The API key is the first line of stdin; when that ends, the worker does
    #[arg(long, hide = true)]
    key_from_stdin: bool,
    /// The program and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

/// What may be allowed.
#[derive(Clone, Copy, ValueEnum)]
enum Allow {
    /// `run: shell`, by /bin/sh
    Shell,
    /// `run: script`, by python3 and node
    Script,
    /// `run: container`, by podman or docker
    Container,
    /// Containers have the network
    Network,
}

impl From<Allow> for Allowed {
    fn from(allow: Allow) -> Self {
        match allow {
            Allow::Shell => Self::Shell,
            Allow::Script => Self::Script,
            Allow::Container => Self::Container,
            Allow::Network => Self::Network,
        }
    }
}

impl Worker {
    pub fn run(self) -> Exit {
        let mut log = Log { format: LogFormat::Text, ..Log::default() };
        if let Ok(filter) = std::env::var("CASEWORKER_LOG_FILTER") {
            log.filter = Text(filter);
        }
        let begun = telemetry::log(&log).and_then(|()| {
            let from_stdin = self.key_from_stdin;
            let key = if from_stdin { Some(first_line()?) } else { self.api_key.clone() };
            let server = Server::new(&self.server, key)?;
            Ok((self.settings()?, server, from_stdin))
        });
        let (settings, server, from_stdin) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                eprintln!("{error}");
                return Exit::Usage;
            }
        };
        block_on(async {
            let stop = async {
                tokio::select! {
                    () = told_to_stop() => {}
                    () = stdin_ends(), if from_stdin => {}
                }
            };
            match worker::run(settings, server, stop).await {
                End::Drained => Exit::Ok,
                End::NotAllowed(why) => {
                    eprintln!("{why}");
                    Exit::NotAllowed
                }
                End::NeverReached(address) => {
                    eprintln!("{address} was never reached");
                    Exit::Unreachable
                }
                End::Failed(why) => {
                    eprintln!("{why}");
                    Exit::Failed
                }
            }
        })
    }

    fn settings(mut self) -> Result<Settings, String> {
        let allow: Vec<Allowed> = self.allow.iter().map(|allow| (*allow).into()).collect();
        let allowed: Vec<_> = allow.iter().filter_map(|kind| kind.queue()).collect();
        for queue in &allowed {
            if !self.queues.iter().any(|known| known == queue) {
                self.queues.push((*queue).to_owned());
            }
        }
        if self.queues.is_empty() {
            return Err("--queue: which queue's jobs is it to do?".to_owned());
        }
        let own = self.queues.iter().find(|queue| !allowed.contains(&queue.as_str()));
        if let Some(queue) = own.filter(|_| self.command.is_empty()) {
            return Err(format!("what does the jobs of `{queue}`? Say the program after `--`"));
        }
        for queue in &self.queues {
            check_name(queue).map_err(|wrong| format!("--queue: {wrong}"))?;
        }
        let lease = self.lease.map(|span| span.0 / 1000);
        if lease.is_some_and(|seconds| !SECONDS.contains(&seconds)) {
            let (least, most) = (SECONDS.start(), SECONDS.end());
            return Err(format!("--lease: {least} to {most} seconds"));
        }
        if self.concurrency == 0 || self.concurrency > 1000 {
            return Err("--concurrency: 1 to 1000".to_owned());
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = match host.trim() {
            "" => "unknown".to_owned(),
            host => host.chars().take(60).collect(),
        };
        let name = self.name.unwrap_or_else(|| format!("{host}-{}", std::process::id()));
        let span = |span: &Span| Duration::from_millis(span.0.unsigned_abs());
        Ok(Settings {
            queues: self.queues,
            concurrency: self.concurrency,
            name,
            host,
            lease: lease.and_then(|seconds| u64::try_from(seconds).ok()),
            timeout: span(&self.timeout),
            memory: self.memory.map(|size| size.0),
            grace: span(&self.grace),
            env: self.env,
            health: self.health,
            looping: self.looping,
            allow,
            command: self.command,
        })
    }
}

/// The key that whoever has started us has written there.
fn first_line() -> Result<String, String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| format!("stdin: {error}"))?;
    Ok(line.trim().to_owned())
}

/// Whoever has started us is gone.
async fn stdin_ends() {
    let (ends, ended) = tokio::sync::oneshot::channel::<()>();
    // a thread of its own, for which nobody waits
    std::thread::spawn(move || {
        let _ends = ends;
        let mut rest = [0; 64];
        while let Ok(1..) = std::io::stdin().read(&mut rest) {}
    });
    let _ = ended.await;
}
