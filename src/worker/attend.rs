//! Attends to a job while it is done: extends its lease, sends its log, and has it stopped in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::job::{Doer, Job, Outcome, Why};
use super::said::{Said, Told};
use super::server::Extended;
use super::{Phase, Shared};

/// Between two messages about a job that has something to say.
const SAY: Duration = Duration::from_secs(1);

/// Messages with what was left to say when a job has ended.
const LAST_WORDS: usize = 10;

/// Has a job done, and attends to it.
pub async fn attend(shared: &Arc<Shared>, doer: &mut Doer, job: &Job) -> Outcome {
    let said = Said::default();
    let (stop, stopping) = watch::channel(None);
    let third = Duration::from_secs(job.lease_seconds) / 3;
    let (began, mut phase) = (Instant::now(), shared.phase.subscribe());
    let (timeout, mut extend_at, mut say_from) =
        (began + shared.settings.timeout, began + third, began);
    let mut extending: Option<JoinHandle<(Extended, Told)>> = None;
    let outcome = {
        let doing = doer.work((&shared.settings, &shared.server), job, &said, stopping);
        tokio::pin!(doing);
        loop {
            let idle = extending.is_none();
            tokio::select! {
                outcome = &mut doing => break outcome,
                () = sleep_until(timeout), if stop.borrow().is_none() => {
                    stop.send_replace(Some(Why::Timeout));
                }
                ending = phase.wait_for(|phase| *phase == Phase::Killing),
                    if stop.borrow().is_none() =>
                {
                    let _ = ending;
                    stop.send_replace(Some(Why::Ending));
                }
                () = sleep_until(extend_at), if idle => {
                    extending = Some(extend(shared, job, said.take()));
                }
                () = said_something(&said, say_from), if idle => {
                    extending = Some(extend(shared, job, said.take()));
                }
                extended = extended(&mut extending) => {
                    extending = None;
                    (extend_at, say_from) = (Instant::now() + third, Instant::now() + SAY);
                    match extended {
                        Some((Extended::Yes, _)) => shared.has_reached(),
                        Some((Extended::Over, _)) => {
                            stop.send_if_modified(|why| {
                                let first = why.is_none();
                                why.get_or_insert(Why::NotWanted);
                                first
                            });
                        }
                        Some((Extended::Unknown, told)) => {
                            said.put_back(told);
                            extend_at = Instant::now() + SAY;
                        }
                        None => {}
                    }
                }
            }
        }
    };
    if let Some(extending) = extending
        && let Ok((Extended::Unknown, told)) = extending.await
    {
        said.put_back(told);
    }
    if outcome != Outcome::Dropped {
        for _ in 0..LAST_WORDS {
            if said.is_empty() || shared.server.extend(job, &said.take()).await != Extended::Yes {
                break;
            }
        }
    }
    outcome
}

fn extend(shared: &Arc<Shared>, job: &Job, told: Told) -> JoinHandle<(Extended, Told)> {
    let (server, job) = (shared.server.clone(), job.clone());
    tokio::spawn(async move {
        let extended = server.extend(&job, &told).await;
        (extended, told)
    })
}

/// What came of extending, once that is known; none: it broke off.
async fn extended(
    extending: &mut Option<JoinHandle<(Extended, Told)>>,
) -> Option<(Extended, Told)> {
    match extending {
        Some(extending) => extending.await.ok(),
        None => std::future::pending().await,
    }
}

/// Waits until there is something to say, and not before an instant.
async fn said_something(said: &Said, from: Instant) {
    said.more().await;
    sleep_until(from).await;
}
