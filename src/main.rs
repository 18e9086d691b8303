//! The program.

use clap::Parser;

/// A third of a busy server's time went into glibc's allocator and its locks; see docs/adr/0009.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> caseworker::cli::Exit {
    caseworker::prepare_process();
    caseworker::cli::end_quietly_when_nobody_reads();
    caseworker::cli::Cli::parse().run()
}
