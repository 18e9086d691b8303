//! A server and a service, each a process of its own, in a folder of their own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::process::{Child, Command};

/// The processes.
pub struct World {
    folder: PathBuf,
    /// The folder is ours to remove.
    ours: bool,
    pub client: Client,
    server: Option<Child>,
    echo: Option<Child>,
    port: u16,
    echo_port: u16,
    /// Where its mails go; none: it has no mail server.
    pub mail_port: Option<u16>,
}

/// Five calls one after the other, to a service or to the built-in echo.
const ORDER5: &str = "
document: { dsl: '1.0.3', namespace: bench, name: order5, version: '1.0.0' }
do:
";

const TASK: &str = "
  - task{n}:
      call: http
      with: { method: post, endpoint: http://echo/echo, body: '${ . }' }
      metadata: { idempotent: true }
";

const PARKED: &str = "
document: { dsl: '1.0.3', namespace: bench, name: parked, version: '1.0.0' }
do:
  - pause: { wait: P30D }
";

impl World {
    /// Starts the service; the server is started by [`World::start`].
    pub async fn open(folder: Option<&Path>) -> Result<Self, String> {
        let (folder, ours) = match folder {
            Some(folder) => (folder.to_owned(), false),
            None => {
                let name = format!("caseworker-bench-{}", std::process::id());
                (std::env::temp_dir().join(name), true)
            }
        };
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(folder.join("workflows")).map_err(failed)?;
        let (port, echo_port) = (free_port()?, free_port()?);
        let services = format!(
            "[services.echo]\nurl = \"http://127.0.0.1:{echo_port}\"\nmax_concurrent = 20000\n"
        );
        std::fs::write(folder.join("services.toml"), services).map_err(failed)?;
        for (name, text) in definitions() {
            std::fs::write(folder.join("workflows").join(name), text).map_err(failed)?;
        }
        let client = Client::builder().no_proxy().tcp_nodelay(true).build();
        let client = client.map_err(|error| error.to_string())?;
        let (server, echo, mail_port) = (None, None, None);
        let mut world = Self { folder, ours, client, server, echo, port, echo_port, mail_port };
        world.start_echo(0).await?;
        Ok(world)
    }

    /// Starts the service, which takes so many milliseconds for an answer.
    pub async fn start_echo(&mut self, latency: u64) -> Result<(), String> {
        if let Some(mut echo) = self.echo.take() {
            let _ = echo.kill().await;
        }
        let mut command = program()?;
        command.args(["bench-echo", &self.echo_port.to_string(), &latency.to_string()]);
        self.echo = Some(spawn(command)?);
        Ok(())
    }

    /// Starts the server. How long it took until it was ready.
    pub async fn start(&mut self) -> Result<Duration, String> {
        let begun = Instant::now();
        let mut command = program()?;
        command
            .arg("serve")
            .arg("--data")
            .arg(self.data())
            .arg("--services")
            .arg(self.folder.join("services.toml"))
            .arg("--workflows")
            .arg(self.folder.join("workflows"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .env("CASEWORKER_LOG_FILTER", "error");
        if let Some(port) = self.mail_port {
            command.env("CASEWORKER_EMAIL_URL", format!("smtp://127.0.0.1:{port}"));
        }
        self.server = Some(spawn(command)?);
        let ready = self.url("/readyz");
        while begun.elapsed() < Duration::from_secs(600) {
            let asked = self.client.get(&ready).timeout(Duration::from_secs(1)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(begun.elapsed());
            }
            if let Some(server) = &mut self.server
                && let Ok(Some(status)) = server.try_wait()
            {
                return Err(format!("the server ended: {status}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err("the server does not become ready".to_owned())
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill().await;
        }
    }

    /// Ends the server in good order.
    pub async fn stop(&mut self) -> Result<(), String> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        if let Some(id) = server.id() {
            let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
            let id = id.ok_or("the server has no id")?;
            let asked = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            asked.map_err(|error| error.to_string())?;
        }
        server.wait().await.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Everything that lasts, for a new beginning.
    pub fn forget(&self) -> Result<(), String> {
        remove(&self.data())
    }

    /// The views alone.
    pub fn forget_views(&self) -> Result<(), String> {
        remove(&self.data().join("views"))
    }

    /// Bytes that the views take on the disk.
    pub fn views_on_disk(&self) -> Result<f64, String> {
        let mut bytes = 0;
        let mut folders = vec![self.data().join("views")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
                let entry = entry.map_err(|error| error.to_string())?;
                let known = entry.metadata().map_err(|error| error.to_string())?;
                match known.is_dir() {
                    true => folders.push(entry.path()),
                    // a sparse file takes less than its length
                    false => bytes += known.blocks() * 512,
                }
            }
        }
        Ok(bytes as f64)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// An address of the server.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Resident memory of the server, in MB: its own, and pages of files that the system can take back.
    pub fn resident(&self) -> Result<f64, String> {
        self.memory("VmRSS:")
    }

    /// The server's own memory, in MB.
    pub fn own_memory(&self) -> Result<f64, String> {
        self.memory("RssAnon:")
    }

    fn memory(&self, name: &str) -> Result<f64, String> {
        let id = self.server.as_ref().and_then(Child::id).ok_or("the server does not run")?;
        memory(&id.to_string(), name)
    }

    /// A number of the server's metrics, all labels added up.
    pub async fn metric(&self, name: &str) -> Result<f64, String> {
        let text = self.client.get(self.url("/metrics")).send().await;
        let text = text.map_err(|error| error.to_string())?.text().await;
        let text = text.map_err(|error| error.to_string())?;
        let lines = text.lines().filter(|line| line.starts_with(name));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Ends everything.
    pub async fn close(mut self) {
        self.kill().await;
        self.echo = None;
        if self.ours {
            let _ = std::fs::remove_dir_all(&self.folder);
        } else {
            let _ = self.forget();
        }
    }
}

/// A process's own memory, in MB.
///
/// # Errors
/// When the system does not say.
pub fn anonymous(process: &str) -> Result<f64, String> {
    memory(process, "RssAnon:")
}

fn memory(process: &str, name: &str) -> Result<f64, String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| "the memory is not known".to_owned())
}

fn definitions() -> [(&'static str, String); 5] {
    let tasks =
        |task: &str| (1..=5).map(|n| task.replace("{n}", &n.to_string())).collect::<String>();
    let echo = "\n  - task{n}: { call: echo, with: '${ . }' }\n";
    [
        ("order5.yaml", format!("{ORDER5}{}", tasks(TASK))),
        ("echo5.yaml", format!("{}{}", ORDER5.replace("order5", "echo5"), tasks(echo))),
        ("parked.yaml", PARKED.to_owned()),
        ("people.yaml", super::people::definition()),
        ("work.yaml", super::work::DEFINITION.to_owned()),
    ]
}

fn program() -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(Command::new(program))
}

fn spawn(mut command: Command) -> Result<Child, String> {
    command.stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().map_err(|error| error.to_string())
}

fn remove(folder: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// A port that nobody listens at.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| error.to_string())
}
