//! The worker of the queue `pdf`, a process that `serve` starts: what a bad template takes of memory and time it
//! takes there. It is begun again when it ends, and ends when its stdin does, so that none is left behind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Pdf;
use crate::domain::work::queue::PDF;

/// The program's name.
const PROGRAM: &str = "caseworker-pdf";

/// Before it is begun again, at first and at the most.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_MOST: Duration = Duration::from_secs(60);

/// How long it has to run before its next begin is the first again.
const STEADY: Duration = Duration::from_secs(60);

/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// The worker's process, kept running.
pub struct Renderer {
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Where it works.
pub struct Place {
    pub server: SocketAddr,
    pub key: String,
    pub templates: PathBuf,
}

/// The program that renders.
///
/// # Errors
/// That there is none.
pub fn program(settings: &Pdf) -> Result<PathBuf, String> {
    let program = match &settings.program {
        Some(named) => named.clone(),
        None => {
            let ours = std::env::current_exe().map_err(|error| error.to_string())?;
            ours.with_file_name(PROGRAM)
        }
    };
    use std::os::unix::fs::PermissionsExt;
    let about = std::fs::metadata(&program);
    let runs = about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0);
    match runs {
        true => Ok(program),
        false => Err(format!(
            "there is no program {} that can be run: documents wait in the queue `{PDF}` (`[pdf] program`, or `workers = 0`)",
            program.display()
        )),
    }
}

impl Renderer {
    /// Starts it.
    pub fn start(settings: &Pdf, program: PathBuf, place: Place) -> Self {
        let settings = settings.clone();
        let (stop, mut stopping) = oneshot::channel();
        let running = tokio::spawn(async move {
            let mut pause = AGAIN;
            loop {
                let begun = tokio::time::Instant::now();
                match begin(&settings, &program, &place).await {
                    Ok(mut child) => {
                        // it is held here: when this is dropped, its stdin ends
                        let stdin = child.stdin.take();
                        let ended = tokio::select! {
                            ended = child.wait() => ended,
                            _ = &mut stopping => {
                                // it gives back what it has while there is somebody who takes it
                                drop(stdin);
                                let _ = tokio::time::timeout(GRACE, child.wait()).await;
                                return;
                            }
                        };
                        drop(stdin);
                        let ended =
                            ended.map_or_else(|e| e.to_string(), |status| status.to_string());
                        tracing::error!(ended, "the worker that renders documents has ended");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the worker that renders documents cannot be started");
                    }
                }
                pause = if begun.elapsed() > STEADY { AGAIN } else { (pause * 2).min(AGAIN_MOST) };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = &mut stopping => return,
                }
            }
        });
        Self { running: Some((stop, running)) }
    }

    /// It is not started.
    pub fn none() -> Self {
        Self { running: None }
    }

    /// Ends it: what it has at hand is given back.
    pub async fn stop(self) {
        if let Some((stop, running)) = self.running {
            // an error means that it has ended
            let _ = stop.send(());
            let _ = running.await;
        }
    }
}

async fn begin(settings: &Pdf, program: &Path, place: &Place) -> std::io::Result<Child> {
    let seconds = |span: i64| format!("{}s", (span / 1000).max(1));
    let mut child = Command::new(std::env::current_exe()?)
        .args(["worker", "--queue", PDF, "--loop", "--name", PDF, "--key-from-stdin"])
        .args(["--concurrency", &settings.workers.0.to_string()])
        .args(["--timeout", &seconds(settings.timeout.0), "--grace", "1s"])
        .args(["--memory", &format!("{}B", settings.memory.0)])
        .args(["--server", &format!("http://{}", reachable(place.server))])
        .arg("--")
        .arg(program)
        .arg(&place.templates)
        // each document is its case's to tell of
        .env("CASEWORKER_LOG_FILTER", "warn")
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()?;
    if let Some(stdin) = &mut child.stdin {
        stdin.write_all(format!("{}\n", place.key).as_bytes()).await?;
    }
    Ok(child)
}

/// The address at which a process of this machine finds us.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
