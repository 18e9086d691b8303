//! The program.

use clap::Parser;

/// A third of a busy server's time went into glibc's allocator and its locks; see ADR 9.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> caseworker::cli::Exit {
    caseworker::prepare_process();
    caseworker::cli::Cli::parse().run()
}
