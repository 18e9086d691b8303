//! The command line: one file a verb. Data goes to stdout, talk to stderr.

mod bench;
mod bench_echo;
mod check;
mod exit;
mod output;
mod serve;

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// Carries every customer onboarding and every order to its end, whatever fails.
#[derive(Parser)]
#[command(name = "caseworker", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve the HTTP API and carry cases to their ends
    Serve(serve::Serve),
    /// Measure this build on this machine
    Bench(bench::Bench),
    /// The service that benches call
    #[command(hide = true)]
    BenchEcho(bench_echo::BenchEcho),
    /// Check definitions: every fault with its line and what would be right
    Check(check::Check),
}

impl Cli {
    /// Carries out the verb.
    pub fn run(self) -> Exit {
        match self.verb {
            Verb::Serve(verb) => verb.run(),
            Verb::Bench(verb) => verb.run(),
            Verb::BenchEcho(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
        }
    }
}

/// A runtime for what talks to sockets.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
