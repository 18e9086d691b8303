//! The program.

use clap::Parser;

fn main() -> caseworker::cli::Exit {
    caseworker::prepare_process();
    caseworker::cli::Cli::parse().run()
}
