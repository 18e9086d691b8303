//! A process and all that it starts: begun in a group of its own, so that all of it can be ended.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::Settings;

/// How long a group may take to end when it is asked to.
const POLITE: Duration = Duration::from_secs(5);

/// Variables of ours that a job gets.
const PASSED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A command that runs a program: with a limit of memory, in a group of its own, with an environment that
/// holds nothing of ours but what is named.
pub fn command(settings: &Settings, program: &[String]) -> Command {
    let mut command = match settings.memory {
        // a shell sets the limit and becomes the program
        Some(bytes) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(format!("ulimit -v {} && exec \"$@\"", bytes / 1024)).arg("sh");
            command.args(program);
            command
        }
        None => {
            let mut command = Command::new(&program[0]);
            command.args(&program[1..]);
            command
        }
    };
    let passed = settings.env.iter().map(String::as_str).chain(PASSED);
    let passed = passed.filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?)));
    command
        .env_clear()
        .envs(passed)
        .env("CASEWORKER_WORKER", &settings.name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// The group of a child, as long as that is known.
pub fn of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Ends a group at once. One that is gone has ended.
pub fn kill(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Asks a group to end, and ends it where it does not.
pub async fn end(child: &mut Child, group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
    }
    let _ = tokio::time::timeout(POLITE, child.wait()).await;
    kill(group);
    // an error means that it is gone
    let _ = child.wait().await;
}
