//! The command line: one file a verb. Data goes to stdout, talk to stderr.

mod bench;
mod bench_echo;
mod case;
mod cases;
mod check;
mod client;
mod completions;
mod dead_letters;
mod demo;
mod doctor;
mod documents;
mod exit;
mod output;
mod queues;
mod roster;
mod schedules;
mod serve;
mod services;
mod staff;
mod submit;
mod worker;
mod workers;
mod workflows;

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
    /// Serve with simulated parties and sample work
    Demo(demo::Demo),
    /// Check definitions: every fault with its line and what would be right
    Check(check::Check),
    /// Submit a case, or many as JSON Lines
    Submit(submit::Submit),
    /// List cases
    Cases(cases::Cases),
    /// Show a case, or follow it to its end
    Case(case::Case),
    /// Suspend a case
    Suspend(case::Ask),
    /// Resume a case that a person suspended
    Resume(case::Ask),
    /// Cancel a case; what it did is undone
    Cancel(case::Ask),
    /// Take up again what waits for a person
    Retry(case::Retry),
    /// Show services and their breakers
    Services(services::Services),
    /// Hold a service: its cases wait
    Isolate(services::Isolate),
    /// End a hold
    Release(services::Release),
    /// Show CSRs, what they can do and how much they have to do
    Csrs(staff::Csrs),
    /// List human tasks
    Assignments(staff::Assignments),
    /// Show the plan of a case: who does what when, and why
    Plan(staff::Plan),
    /// Show what cannot go on without a person, by cause; or one letter
    DeadLetters(dead_letters::DeadLetters),
    /// Take up the case of a dead letter again
    Redrive(case::Retry),
    /// List the definitions that are registered
    Workflows(workflows::Workflows),
    /// Register definitions
    Register(workflows::Register),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Print the manual page
    Man(completions::Man),
    /// Show queues, and pause, resume or purge one
    Queues(queues::Queues),
    /// Show the documents of a case, or get one
    Documents(documents::Documents),
    /// Show schedules, and pause, resume or trigger one
    Schedules(schedules::Schedules),
    /// Show who does the jobs of queues
    Workers(workers::Workers),
    /// Do jobs of queues by a program of yours
    Worker(worker::Worker),
    /// Look at configuration, disk and server
    Doctor(doctor::Doctor),
    /// Measure this build on this machine
    Bench(bench::Bench),
    /// The service that benches call
    #[command(hide = true)]
    BenchEcho(bench_echo::BenchEcho),
}

impl Cli {
    /// Carries out the verb.
    pub fn run(self) -> Exit {
        match self.verb {
            Verb::Serve(verb) => verb.run(),
            Verb::Demo(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Submit(verb) => verb.run(),
            Verb::Cases(verb) => verb.run(),
            Verb::Case(verb) => verb.run(),
            Verb::Suspend(verb) => verb.run("suspend"),
            Verb::Resume(verb) => verb.run("resume"),
            Verb::Cancel(verb) => verb.run("cancel"),
            Verb::Retry(verb) => verb.run("cases", "retry"),
            Verb::Services(verb) => verb.run(),
            Verb::Isolate(verb) => verb.run(),
            Verb::Release(verb) => verb.run(),
            Verb::Csrs(verb) => verb.run(),
            Verb::Assignments(verb) => verb.run(),
            Verb::Plan(verb) => verb.run(),
            Verb::DeadLetters(verb) => verb.run(),
            Verb::Redrive(verb) => verb.run("dead-letters", "redrive"),
            Verb::Workflows(verb) => verb.run(),
            Verb::Register(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(),
            Verb::Man(verb) => verb.run(),
            Verb::Queues(verb) => verb.run(),
            Verb::Documents(verb) => verb.run(),
            Verb::Schedules(verb) => verb.run(),
            Verb::Workers(verb) => verb.run(),
            Verb::Worker(verb) => verb.run(),
            Verb::Doctor(verb) => verb.run(),
            Verb::Bench(verb) => verb.run(),
            Verb::BenchEcho(verb) => verb.run(),
        }
    }
}

/// A reader that has seen enough (`| head -1`) ends a verb without a word, as other programs do.
pub fn end_quietly_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.contains("Broken pipe")) {
            std::process::exit(0);
        }
        usual(panic);
    }));
}

/// Threads for reads that block: more of them would wait for the same disk, each with memory of its own.
const BLOCKING_THREADS: usize = 64;

/// Runs what talks to sockets to its end.
fn block_on(work: impl Future<Output = Exit>) -> Exit {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    match builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("no runtime: {error}");
            Exit::Failed
        }
    }
}
