//! The composition root: builds the rooms in order and owns the order in which they close.

mod definitions;
mod pdf;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

pub use definitions::format_of;
use pdf::{Place, Renderer};

use crate::actors::engine::{Engine, Parts, Running};
use crate::actors::handles::{By, CsrError, Handle, Terms, random};
use crate::api::{self, Api, Key};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::services::Services;
use crate::config::staff::Roster;
use crate::domain::staff::notice::letter::Templates;
use crate::domain::time::Timestamp;
use crate::domain::work::queue::PDF;
use crate::effects::email::Post;
use crate::effects::http::Http;
use crate::effects::names::Names;
use crate::store::EngineJournal;
use crate::store::documents::Documents;
use crate::store::embedded::EmbeddedJournal;
use crate::store::journal::{Journal, RecordCursor};
use crate::store::logs::{Limits, Logs};
use crate::store::record;
use crate::store::snapshots::Snapshots;
use crate::store::views::Views;
use crate::telemetry;

/// Threads that serve requests.
const DOOR_THREADS: usize = 1;

/// What the program is started with.
pub struct Options {
    pub config: Config,
    pub services: Services,
    pub roster: Roster,
    /// Definitions of this folder are registered at the start.
    pub workflows: Option<PathBuf>,
    pub clock: Clock,
}

/// How far the wall clock may be behind before it is worth a word, in milliseconds.
const CLOCK_OFF: i64 = 1000;

/// The program while it runs.
pub struct App {
    running: Running,
    handle: Handle,
    address: SocketAddr,
    door: Door,
    renderer: Renderer,
    fatal: mpsc::UnboundedReceiver<String>,
}

impl App {
    /// Starts: the journal, the door, which says that it starts, definitions and actors; then everybody
    /// is let in, while the views are filled from the journal.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn start(options: Options) -> Result<Self, String> {
        let Options { config, services, roster, workflows, clock } = options;
        // what may be wrong is looked at before any file is opened
        let hands = hands(&config)?;
        // whatever is written is for nobody else's eyes
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let listen = config.server.listen.0;
        let listener = TcpListener::bind(listen).await.and_then(TcpListener::into_std);
        let listener = listener.map_err(|error| format!("server.listen: {listen}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (told, fatal) = mpsc::unbounded_channel();
        let parts = parts(&config, (services, &roster), clock, hands, told).await?;
        let engine = Engine::build(parts).await?;
        let (pdf, templates) = (config.pdf.clone(), config.data.dir.join("templates"));
        let program = (pdf.workers.0 > 0).then(|| pdf::program(&pdf));
        // whoever renders documents has a key of its own, for its queue alone
        let key = format!("{:032x}", u128::from_le_bytes(random()));
        match Self::open(config, workflows, listener, (&engine, &program, &key)).await {
            Ok(door) => {
                let handle = engine.handle();
                let running = engine.start().await?;
                enroll(&handle, roster).await?;
                let renderer = match program {
                    Some(Ok(program)) => {
                        Renderer::start(&pdf, program, Place { server: address, key, templates })
                    }
                    Some(Err(missing)) => {
                        tracing::warn!("{missing}");
                        Renderer::none()
                    }
                    None => Renderer::none(),
                };
                Ok(Self { running, handle, address, door, renderer, fatal })
            }
            Err(wrong) => {
                engine.give_up().await;
                Err(wrong)
            }
        }
    }

    /// The door, open, once the definitions are there.
    async fn open(
        config: Config,
        workflows: Option<PathBuf>,
        listener: std::net::TcpListener,
        (engine, program, key): (&Engine, &Option<Result<PathBuf, String>>, &str),
    ) -> Result<Door, String> {
        let (handle, listen) = (engine.handle(), config.server.listen.0);
        let keys = config.api.keys.into_iter();
        let mut keys: Vec<Key> = keys
            .map(|k| Key { name: k.name.0, sha256: k.sha256.0, queues: k.queues.map(Into::into) })
            .collect();
        if !keys.is_empty() {
            keys.push(Key::of(PDF, key, vec![PDF.to_owned()]));
        }
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let settings = api::Settings {
            keys,
            max_body: size(config.server.max_body.0),
            max_document: size(config.documents.max.0),
            renders: program.as_ref().map(|program| program.clone().map(drop)),
            max_requests: config.server.max_requests.0,
            rate: config.server.rate.0,
            hosts: hosts(&config.server.hosts.0, listen),
        };
        let connections = config.server.max_connections.0.min(descriptors() / 2);
        let api = Api::new(handle.clone(), settings, telemetry::count());
        let door = Door::open(listener, api, connections)?;
        if let Some(folder) = &workflows {
            definitions::register(&handle, folder).await?;
        }
        Ok(door)
    }

    /// Waits until lists are answered, too.
    pub async fn ready(&self) {
        self.handle.views_filled().await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until it is told to stop, or cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), String> {
        let (handle, address) = (self.handle.clone(), self.address);
        let ready = async {
            handle.views_filled().await;
            tracing::info!(%address, "ready");
            std::future::pending().await
        };
        let failed = tokio::select! {
            () = stop => None,
            () = ready => None,
            reason = self.fatal.recv() => reason,
        };
        tracing::info!("ending");
        self.renderer.stop().await;
        self.door.close().await;
        self.running.stop().await;
        failed.map_or(Ok(()), Err)
    }
}

/// Where requests come in. They have threads of their own: cases may keep the others as busy as
/// they like, who asks is answered.
struct Door {
    /// Taken when it is dropped, since a runtime must not wait for its threads there.
    threads: Option<tokio::runtime::Runtime>,
    server: tokio::task::JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Door {
    fn open(listener: std::net::TcpListener, api: Api, connections: usize) -> Result<Self, String> {
        let (stop, stopped) = oneshot::channel::<()>();
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(DOOR_THREADS)
            .thread_name("door")
            .enable_all()
            .build();
        let threads = threads.map_err(|error| error.to_string())?;
        let server = threads.spawn(async move {
            let stop = async move {
                let _ = stopped.await;
            };
            match TcpListener::from_std(listener) {
                Ok(listener) => api::serve(listener, api.router(), connections, stop).await,
                Err(error) => tracing::error!(%error, "nothing can be served"),
            }
        });
        Ok(Self { threads: Some(threads), server, stop: Some(stop) })
    }

    /// Lets nobody in any more, and requests under way end within a second.
    async fn close(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.server).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// A folder that an earlier version left open to others is closed.
fn close_to_others(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let only_us = std::fs::Permissions::from_mode(0o700);
    if let Err(error) = std::fs::set_permissions(folder, only_us) {
        tracing::warn!(folder = %folder.display(), %error, "the folder stays open to others");
    }
}

/// The names under which the server may be asked: those configured, and the address that it listens
/// at where that is one.
fn hosts(configured: &[String], listen: SocketAddr) -> Vec<String> {
    let mut hosts = configured.to_vec();
    if !listen.ip().is_unspecified() {
        hosts.push(listen.to_string());
    }
    hosts
}

/// File descriptors that the process may have, raised as far as it may be. Those who come in get half of
/// them at the most, and calls fewer, so that the journal never lacks one.
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the bound on file descriptors cannot be raised");
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// What calls and mails leave by.
fn hands(config: &Config) -> Result<(Http, Option<Post>), String> {
    let names = Names::of_the_system();
    let proxy = config.http.proxy.as_ref().map(|proxy| proxy.0.as_str());
    let http = Http::new(proxy, names.clone())?;
    let email = &config.email;
    let post = email.url.as_ref().map(|url| {
        let timeout = Duration::from_millis(email.timeout.0.unsigned_abs());
        Post::new(&url.0, &email.from.0, &email.domain.0, timeout, names)
    });
    let post = post.transpose().map_err(|error| format!("email.url: {error}"))?;
    Ok((http, post))
}

/// What notices are written by: the built-in templates, and those of a folder in their place.
fn templates(folder: Option<&Path>) -> Result<Templates, String> {
    let Some(folder) = folder else { return Ok(Templates::default()) };
    if !folder.is_dir() {
        return Err(format!("email.templates: {} is no folder", folder.display()));
    }
    let read = |file: &Path| match std::fs::read_to_string(file) {
        Ok(text) => Some(Ok(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
    };
    let mut faults: Vec<String> = Vec::new();
    for file in files_below(folder).map_err(|error| format!("email.templates: {error}"))? {
        let name = file.strip_prefix(folder).unwrap_or(&file);
        if !Templates::knows(name) {
            let known = "en or de, planned, changed, cancelled, assigned, reminder or escalation, .txt or .html";
            faults.push(format!(
                "email.templates: {}: no notice of this name: {known}",
                file.display()
            ));
        }
    }
    match Templates::with(folder, read) {
        Ok(templates) if faults.is_empty() => return Ok(templates),
        Ok(_) => {}
        Err(found) => faults.extend(found.iter().map(|fault| format!("email.templates: {fault}"))),
    }
    Err(faults.join("\n"))
}

/// The files of a folder and of the folders in it, but hidden ones.
fn files_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // a folder may be a link, as a mounted configuration is
        match entry.path().is_dir() {
            true => {
                for file in std::fs::read_dir(entry.path())? {
                    found.push(file?.path());
                }
            }
            false => found.push(entry.path()),
        }
    }
    let hidden = |file: &PathBuf| {
        let mut names = file.strip_prefix(folder).unwrap_or(file).iter();
        names.any(|name| name.to_string_lossy().starts_with('.'))
    };
    found.retain(|file| !hidden(file));
    Ok(found)
}

/// When the last record of the journal was written; the beginning of time where there is none.
async fn last_seen(journal: &EngineJournal, last: RecordCursor) -> Timestamp {
    let before = RecordCursor(last.0.saturating_sub(1));
    let tail = journal.tail(before, 1).await;
    let record = tail.ok().and_then(|tail| tail.records.into_iter().next());
    let header = record.and_then(|(_, bytes)| Some(record::decode(&bytes).ok()?.0));
    header.map_or(Timestamp(0), |header| header.at)
}

async fn parts(
    config: &Config,
    (services, roster): (Services, &Roster),
    clock: Clock,
    (http, post): (Http, Option<Post>),
    fatal: mpsc::UnboundedSender<String>,
) -> Result<Parts, String> {
    let folder = config.data.dir.clone();
    std::fs::create_dir_all(&folder)
        .map_err(|error| format!("data.dir: {}: {error}", folder.display()))?;
    close_to_others(&folder);
    let journal = EmbeddedJournal::open(&folder.join("journal"), |error| {
        // what the disk holds is not known any more; nothing is tried again
        tracing::error!(error, "the journal failed; the process ends");
        std::process::exit(1);
    });
    let journal = journal.map_err(|error| error.to_string())?;
    let last = journal.end().await.map_err(|error| error.to_string())?;
    let clock = clock.not_before(last_seen(&journal, last).await);
    let behind = clock.wall_ahead();
    if behind < -CLOCK_OFF {
        let behind = -behind;
        tracing::error!(
            behind,
            "the wall clock is behind the journal's last record; waits go by that"
        );
    }
    let views = Views::open(&folder.join("views"), &machine(), clock.now(), last);
    let views = views.map_err(|error| error.to_string())?;
    let snapshots = Snapshots::open(&folder.join("snapshots"));
    let limits = Limits { keep: config.logs.keep.0, bytes: config.logs.max.0 };
    let logs =
        Logs::open(&folder.join("logs"), limits).map_err(|error| format!("logs: {error}"))?;
    let documents = Documents::open(&folder.join("documents"));
    let documents = documents.map_err(|error| format!("documents: {error}"))?;
    let own = config.documents.templates.as_deref();
    let documents_by = crate::store::templates::Templates::open(own, &folder.join("templates"));
    let documents_by = documents_by.map_err(|error| format!("documents.templates: {error}"))?;
    Ok(Parts {
        clock,
        journal,
        views,
        snapshots,
        services: services.named,
        allow_unknown_hosts: services.allow_unknown_hosts,
        http,
        post,
        // they leave connections behind for the next ones
        max_requests: config.http.max_concurrent.0.min(descriptors() / 8).max(1),
        secrets: config.secrets.dir.clone(),
        folder,
        min_free: config.data.min_free.0,
        staff: roster.settings.clone(),
        catalogue: roster.catalogue.clone(),
        templates: templates(config.email.templates.as_deref())?,
        logs,
        documents,
        documents_by,
        queues: config.queues.0.clone(),
        live_max: config.cases.live_max.0,
        pending_max: config.cases.pending_max.0,
        fatal,
    })
}

/// This run of the machine: views that were open when it went down are not believed.
fn machine() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| format!("process {}", std::process::id()), |id| id.trim().to_owned())
}

/// Adds the calendars and CSRs of the staff file that do not exist yet.
async fn enroll(handle: &Handle, roster: Roster) -> Result<(), String> {
    for warning in &roster.warnings {
        tracing::warn!("{warning}");
    }
    let by = || By { who: "local".to_owned(), from: "file".to_owned(), why: String::new() };
    for calendar in roster.calendars {
        if handle.calendar(&calendar.name).is_none() {
            handle.put_calendar(calendar, by()).await?;
        }
    }
    for (id, profile) in roster.csrs {
        if handle.csr(&id).is_none() {
            let terms = Terms { by: by(), if_match: Some(0), dry_run: false };
            let put = handle.put_csr(&id, profile, terms).await;
            match put {
                Ok(_) => {}
                Err(CsrError::Quarantined(reason)) => {
                    tracing::error!(csr = %id, %reason, "a CSR of the staff file is out of service");
                }
                Err(error) => return Err(format!("csrs: `{id}`: {error}")),
            }
        }
    }
    Ok(())
}
