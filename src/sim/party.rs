//! A party: a server on a port of its own that can be cut off and come back.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::faults::{Fate, Faults, FaultsChange, Switch};

/// A party while it runs; dropped, it is gone.
pub struct Party {
    name: &'static str,
    address: SocketAddr,
    switch: Arc<Switch>,
    server: tokio::task::JoinHandle<()>,
    /// Where its faults outlast a restart.
    file: Option<std::path::PathBuf>,
}

/// Serves one connection.
pub type Serve = Arc<dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Party {
    /// A party that speaks HTTP.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn http(name: &'static str, port: u16, router: Router) -> io::Result<Self> {
        let switch = Arc::new(Switch::new(seed(name)));
        let router = router.layer(from_fn_with_state(switch.clone(), meet_fate));
        let serve: Serve = Arc::new(move |stream| {
            let service = TowerToHyperService::new(router.clone());
            Box::pin(async move {
                let builder = Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            })
        });
        Self::start(name, port, switch, serve).await
    }

    /// A party that speaks something else; it asks the switch itself.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(
        name: &'static str,
        port: u16,
        switch: Arc<Switch>,
        serve: Serve,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(run(listener, address, switch.clone(), serve));
        Ok(Self { name, address, switch, server, file: None })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its faults now.
    pub fn faults(&self) -> Faults {
        self.switch.now()
    }

    /// Somebody outside changes its faults, and keeps them from then on.
    pub fn touch(&self, change: &FaultsChange) {
        self.switch.touch();
        self.change(change);
        self.keep();
    }

    /// Whether somebody outside has changed its faults.
    pub fn is_touched(&self) -> bool {
        self.switch.is_touched()
    }

    /// Keeps what somebody outside has switched in a file, and takes up what lies there.
    pub fn kept_in(mut self, file: std::path::PathBuf) -> Self {
        let known = std::fs::read(&file).ok();
        if let Some(change) = known.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            self.switch.touch();
            self.change(&change);
        }
        self.file = Some(file);
        self
    }

    fn keep(&self) {
        let Some(file) = &self.file else { return };
        let bytes = serde_json::to_vec(&self.faults()).unwrap_or_default();
        if let Err(error) = std::fs::write(file, bytes) {
            tracing::warn!(party = self.name, %error, "its faults are not kept");
        }
    }

    /// Changes its faults.
    pub fn change(&self, change: &FaultsChange) {
        self.switch.change(change);
    }

    /// Its switch, for whoever handles its requests.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A seed that a name stands for.
pub fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

async fn run(listener: TcpListener, address: SocketAddr, switch: Arc<Switch>, serve: Serve) {
    let mut faults = switch.follow();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let down = faults.borrow_and_update().down;
        if down {
            listener = None;
            connections.shutdown().await;
            if faults.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            listener = TcpListener::bind(address).await.ok();
            if listener.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            continue;
        };
        tokio::select! {
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn meet_fate(State(switch): State<Arc<Switch>>, request: Request, next: Next) -> Response {
    let latency = switch.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match switch.fate() {
        Fate::Answered => next.run(request).await,
        Fate::Error(status) => StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        Fate::Silent => {
            let _acted_on = next.run(request).await;
            std::future::pending().await
        }
    }
}
