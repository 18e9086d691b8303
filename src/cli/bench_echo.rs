//! `caseworker bench-echo`: the service that benches call, in a process of its own.

use clap::Args;

use super::{Exit, block_on};
use crate::sim::{FaultsChange, echo};

/// Answer what is sent.
#[derive(Args)]
pub struct BenchEcho {
    port: u16,
    /// Milliseconds before each answer
    latency: u64,
}

impl BenchEcho {
    pub fn run(self) -> Exit {
        block_on(async {
            match echo::open(self.port).await {
                Ok(party) => {
                    let latency_ms = Some(self.latency);
                    party.change(&FaultsChange { latency_ms, ..FaultsChange::default() });
                    super::serve::told_to_stop().await;
                    Exit::Ok
                }
                Err(error) => {
                    eprintln!("port {}: {error}", self.port);
                    Exit::Failed
                }
            }
        })
    }
}
