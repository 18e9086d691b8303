//! `caseworker serve`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, block_on};
use crate::app::{App, Options};
use crate::clock::Clock;
use crate::config::services::Services;
use crate::config::staff::Roster;
use crate::config::{Config, Flags};
use crate::telemetry;

/// Serve the HTTP API.
#[derive(Args)]
pub struct Serve {
    /// Configuration; without it, built-in defaults
    #[arg(long, env = "CASEWORKER_CONFIG")]
    config: Option<PathBuf>,
    /// The folder with everything that lasts
    #[arg(long, env = "CASEWORKER_DATA")]
    data: Option<PathBuf>,
    /// Address and port of the API
    #[arg(long, env = "CASEWORKER_LISTEN")]
    listen: Option<SocketAddr>,
    /// The external parties
    #[arg(long, env = "CASEWORKER_SERVICES")]
    services: Option<PathBuf>,
    /// The first roster of CSRs, and the catalogue of their tasks
    #[arg(long, env = "CASEWORKER_STAFF")]
    staff: Option<PathBuf>,
    /// Definitions of this folder are registered at the start
    #[arg(long, env = "CASEWORKER_WORKFLOWS")]
    workflows: Option<PathBuf>,
    /// Many nodes over NATS (not supported yet)
    #[arg(long, env = "CASEWORKER_NATS")]
    nats: Option<String>,
}

impl Serve {
    pub fn run(self) -> Exit {
        let options = match self.options() {
            Ok(options) => options,
            Err(error) => {
                eprintln!("{error}");
                return Exit::Usage;
            }
        };
        if let Err(error) = telemetry::log(&options.config.log) {
            eprintln!("{error}");
            return Exit::Usage;
        }
        block_on(async {
            let stop = told_to_stop();
            let ended = match App::start(options).await {
                Ok(app) => app.run(stop).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => Exit::Ok,
                Err(error) => {
                    eprintln!("{error}");
                    Exit::Failed
                }
            }
        })
    }

    fn options(self) -> Result<Options, String> {
        let flags = Flags { data: self.data, listen: self.listen, nats: self.nats };
        let config = Config::load(self.config.as_deref(), std::env::vars(), flags);
        let config = config.map_err(|error| error.to_string())?;
        let services = Services::load(self.services.as_deref());
        let services = services.map_err(|error| error.to_string())?;
        let roster = Roster::load(self.staff.as_deref()).map_err(|error| error.to_string())?;
        let (workflows, clock) = (self.workflows, Clock::engine());
        Ok(Options { config, services, roster, workflows, clock })
    }
}

/// Ctrl-C, or the service manager's request; noticed from the call on, not only once it is awaited.
pub fn told_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "signals are not noticed");
                std::future::pending::<()>().await;
            }
        }
    }
}
