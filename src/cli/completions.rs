//! `caseworker completions SHELL`, `caseworker man`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit};

/// Print completions for a shell.
#[derive(Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Exit {
        let mut command = Cli::command();
        clap_complete::generate(self.shell, &mut command, "caseworker", &mut std::io::stdout());
        Exit::Ok
    }
}

/// Print the manual page.
#[derive(Args)]
pub struct Man {}

impl Man {
    pub fn run(self) -> Exit {
        match clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()) {
            Ok(()) => Exit::Ok,
            Err(_) => Exit::Failed,
        }
    }
}
