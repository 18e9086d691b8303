//! A case's history and open tasks as users read them: the words of shapes.md.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::derive;
use super::event::{Change, Event, TaskEvent, Wait, WaitKind};
use super::evolve::what_it_left;
use super::notices::{self, NoticeEvent};
use super::phase::Phase;
use super::problem::Problem;
use super::state::{Activation, Stage, State, TryStage};
use super::summary::ShownWait;
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::time::Timestamp;
use crate::domain::work::lease::Lease;
use crate::domain::workflow::model::{Definition, TaskId};

/// An event as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// `task.started`, `workflow.completed` …
    pub kind: &'static str,
    /// Reference, iteration and (of attempts) which one.
    pub task: Option<(Arc<str>, u32, Option<u32>)>,
    pub data: Json,
}

/// A task that was entered and has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTask {
    pub reference: Arc<str>,
    /// Its number, and which entry of it.
    pub key: (TaskId, u32),
    /// running, waiting, suspended or faulted.
    pub phase: &'static str,
    pub attempt: u32,
    pub started_at: Option<Timestamp>,
    pub job: Option<OpenJob>,
    /// The last error that it met.
    pub error: Option<Problem>,
    pub next_attempt_at: Option<Timestamp>,
    pub wait: Option<ShownWait>,
}

/// What a worker outside does of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenJob {
    pub queue: Arc<str>,
    pub queued_at: Timestamp,
    /// Who has it.
    pub lease: Option<Lease>,
    pub lost: u32,
}

/// What an event says. `before` is the state that it came to; none before the first.
pub fn tell(definition: &Definition, before: Option<&State>, event: &Event) -> HistoryEntry {
    let plain = |kind, data| HistoryEntry { kind, task: None, data };
    match event {
        Event::Accepted(submission) => plain("case.accepted", json!({"input": submission.input})),
        Event::Started(start) => {
            let input = start.submission.as_ref().map(|submission| submission.input.clone());
            let input = input.or_else(|| before.map(|state| state.input.clone()));
            plain("workflow.started", json!({"input": input}))
        }
        Event::Suspended { reason, error, .. } => {
            plain("workflow.suspended", json!({"reason": reason, "error": error}))
        }
        Event::Resumed { reason, retried } => {
            plain("workflow.resumed", json!({"reason": reason, "retried": retried}))
        }
        Event::Cancelled { reason } => plain("workflow.cancelled", json!({"reason": reason})),
        Event::Faulted { error } => plain("workflow.faulted", json!({"error": error})),
        Event::Completed { output } => {
            let left = || before.map(|state| state.flow.seq.data.clone());
            plain("workflow.completed", json!({"output": output.clone().or_else(left)}))
        }
        Event::Status { status } => plain("case.status", json!({"status": status})),
        Event::Referred { documents } => plain("case.documents", json!({"documents": documents})),
        Event::Alerted { cause } => plain("case.alerted", json!({"cause": cause})),
        Event::UnwindingStarted { reason, error } => {
            plain("unwinding.started", json!({"reason": reason, "error": error}))
        }
        Event::UnwindingEnded => plain("unwinding.ended", json!({})),
        Event::Trimmed { .. } => plain("case.trimmed", json!({})),
        Event::Closing => plain("case.closing", json!({})),
        Event::Plan(event) => tell_plan(before, event),
        Event::Notice(event) => plain(event.name(), tell_notice(before, event)),
        Event::Task(event) => tell_task(definition, before, event),
    }
}

fn tell_plan(before: Option<&State>, event: &PlanEvent) -> HistoryEntry {
    let wire = serde_json::to_value(event).unwrap_or_default();
    let fields = wire.as_object().and_then(|one| one.values().next()).cloned();
    let mut data = fields.unwrap_or_default();
    in_words(&mut data);
    let made = event.booking().and_then(|booking| {
        let plans = &before?.plans;
        let item = plans.iter().find_map(|plan| plan.item(booking))?;
        Some((item.wanted.title(), item.made.clone().or_else(|| item.proposed.clone())))
    });
    if let (Some((title, place)), Some(data)) = (made, data.as_object_mut()) {
        data.insert("title".to_owned(), json!(title));
        if let Some(place) = place.filter(|_| !data.contains_key("place")) {
            data.insert("csr".to_owned(), json!(place.csr.id));
        }
    }
    HistoryEntry { kind: event.name(), task: None, data }
}

/// Instants as users read them, where they lie as numbers.
fn in_words(data: &mut Json) {
    const INSTANTS: [&str; 7] = ["start", "end", "bufferEnd", "at", "due", "lease", "until"];
    match data {
        Json::Object(fields) => {
            for (name, value) in fields {
                match value.as_i64().filter(|_| INSTANTS.contains(&name.as_str())) {
                    Some(millis) => *value = Json::from(Timestamp(millis).to_string()),
                    // what people said stays as they said it
                    None if name == "outcome" || name == "form" => {}
                    None => in_words(value),
                }
            }
        }
        Json::Array(all) => all.iter_mut().for_each(in_words),
        _ => {}
    }
}

/// What a notice is about, and to whom it goes: the mail itself is made when it leaves.
fn tell_notice(before: Option<&State>, event: &NoticeEvent) -> Json {
    let sending = || match &before?.desk.stage {
        notices::Stage::Sending { notice, .. } => Some(&**notice),
        notices::Stage::Idle | notices::Stage::Parked { .. } => None,
    };
    let (notice, mut data) = match event {
        NoticeEvent::Begun { attempt, notice } => (Some(&**notice), json!({"attempt": attempt})),
        NoticeEvent::Sent => (sending(), json!({})),
        NoticeEvent::Delayed { until, came, error } => {
            (sending(), json!({"until": until.to_string(), "came": came, "error": error}))
        }
        NoticeEvent::Parked { wait } => (None, json!({"wait": wait_json(wait)})),
        NoticeEvent::Unparked => (None, json!({})),
        NoticeEvent::Failed { error } => (sending(), json!({"error": error})),
    };
    if let (Some(notice), Some(data)) = (notice, data.as_object_mut()) {
        let bookings: Vec<_> = notice.lines.iter().map(|line| line.booking).collect();
        data.insert("notice".to_owned(), json!(notice.kind.name()));
        data.insert("to".to_owned(), json!(notice.reader.who().name()));
        data.insert("bookings".to_owned(), json!(bookings));
    }
    data
}

fn tell_task(definition: &Definition, before: Option<&State>, event: &TaskEvent) -> HistoryEntry {
    let known = before.and_then(|state| state.find(definition, event.task, event.iteration));
    let call = known.and_then(|activation| activation.call());
    let mut attempt = call.map(|call| call.attempt).filter(|attempt| *attempt > 0);
    let (kind, data) = match &event.change {
        Change::Started { attempt: started, service, lease, .. } => {
            attempt = Some(*started).filter(|attempt| *attempt > 0);
            let worker = lease.as_deref().map(|lease| &lease.worker);
            let queue = call.and_then(|call| call.job.as_deref()).map(|job| &job.queue);
            match worker {
                Some(worker) => ("task.started", json!({"queue": queue, "worker": worker})),
                None => ("task.started", json!({"service": service})),
            }
        }
        Change::Queued { job, .. } => {
            let wait = Wait {
                kind: WaitKind::Job,
                on: Some(format!("queue:{}", job.queue).into()),
                until: job.expires_at,
                detail: None,
            };
            let wait = wait_json(&wait);
            ("task.waiting", json!({"wait": wait, "priority": job.priority}))
        }
        Change::Preparing { service, .. } => ("task.preparing", json!({"service": service})),
        Change::Turned { turn } => ("task.turned", json!({"turn": turn, "skipped": true})),
        Change::Waiting { wait, .. } => ("task.waiting", json!({"wait": wait_json(wait)})),
        Change::Listening { on, .. } => (
            "task.waiting",
            json!({"wait": {"kind": "event", "on": on, "until": null, "detail": null}}),
        ),
        Change::Unknown { error } => ("task.unknown", json!({"error": error})),
        Change::Reconciled { found } => ("task.reconciled", json!({"found": found})),
        Change::Retried { error, at, .. } => {
            ("task.retried", json!({"error": error, "at": at.to_string()}))
        }
        Change::Faulted { error, .. } => ("task.faulted", json!({"error": error})),
        Change::Completed { output, skipped, recalled, .. } => {
            let output = output.clone().or_else(|| known.map(what_it_left));
            let mut data = Map::new();
            data.insert("output".to_owned(), json!(output));
            if *skipped {
                data.insert("skipped".to_owned(), Json::Bool(true));
            }
            if *recalled {
                data.insert("recalled".to_owned(), Json::Bool(true));
            }
            ("task.completed", Json::Object(data))
        }
        Change::Cancelled { .. } => ("task.cancelled", json!({})),
        Change::ReadBack { .. } => ("task.recalled", json!({})),
        Change::Received { event, .. } => {
            ("event.received", json!({"source": event.source, "id": event.id, "type": event.kind}))
        }
    };
    let reference = definition.task(event.task).reference.clone();
    HistoryEntry { kind, task: Some((reference, event.iteration, attempt)), data }
}

fn wait_json(wait: &Wait) -> Json {
    json!({
        "kind": wait.kind.name(),
        "on": wait.on,
        "until": wait.until.map(|at| at.to_string()),
        "detail": wait.detail,
    })
}

fn open_job(state: &State, activation: &Activation) -> Option<OpenJob> {
    let call = activation.call()?;
    let job = call.job.as_deref()?;
    let entry = state.ledger.get((activation.task, activation.iteration));
    Some(OpenJob {
        queue: job.queue.clone(),
        queued_at: job.queued_at,
        lease: call.lease().cloned(),
        lost: entry.map_or(0, |entry| entry.lost),
    })
}

fn error_of(activation: &Activation) -> Option<Problem> {
    let failed = activation.failed.as_ref().map(|failed| failed.error.clone());
    failed.or_else(|| activation.call()?.notes.last().map(|note| note.error.clone()))
}

/// The tasks that are open, and the one that failed.
pub fn open_tasks(definition: &Definition, state: &State) -> Vec<OpenTask> {
    let waits = derive::waits(definition, state);
    let wait_of = |task: TaskId, iteration: u32| {
        let found = waits.iter().find(|w| (w.task, w.iteration) == (task, iteration))?;
        Some(ShownWait {
            kind: found.wait.kind,
            on: found.wait.on.clone(),
            task: Some(definition.task(task).reference.clone()),
            since: found.since,
            until: found.wait.until,
            next_attempt_at: found.next,
            detail: found.wait.detail.clone(),
        })
    };
    let mut tasks = Vec::new();
    state.walk(&mut |activation| {
        let wait = wait_of(activation.task, activation.iteration);
        let phase = match (&activation.failed, activation.call().map(|call| &call.stage), &wait) {
            (Some(_), ..) => "faulted",
            (None, Some(Stage::Person { .. }), _) => "suspended",
            (None, _, Some(_)) => "waiting",
            (None, _, None) => "running",
        };
        let pause = match &activation.body {
            super::state::Body::Try(inner) => match &inner.stage {
                TryStage::Pause { until } => Some(*until),
                TryStage::Body(_) | TryStage::Catch { .. } => None,
            },
            _ => None,
        };
        let next_attempt_at = match activation.call().map(|call| &call.stage) {
            Some(Stage::Pausing { until }) => Some(*until),
            Some(Stage::Queued { .. }) => wait.as_ref().and_then(|wait| wait.next_attempt_at),
            _ => pause,
        };
        tasks.push(OpenTask {
            reference: definition.task(activation.task).reference.clone(),
            key: (activation.task, activation.iteration),
            phase,
            attempt: activation.call().map_or(0, |call| call.attempt),
            started_at: Some(activation.started_at),
            job: open_job(state, activation),
            error: error_of(activation),
            next_attempt_at,
            wait,
        });
    });
    let failed = || {
        let reference = state.error.as_ref()?.instance.as_deref()?;
        definition.find(reference)
    };
    if state.phase == Phase::Faulted
        && !tasks.iter().any(|task| task.phase == "faulted")
        && let Some(task) = failed()
    {
        // it went with the flow when the case undid what it did
        tasks.push(OpenTask {
            reference: task.reference.clone(),
            key: (task.id, 0),
            phase: "faulted",
            attempt: 0,
            started_at: None,
            job: None,
            error: state.error.clone(),
            next_attempt_at: None,
            wait: None,
        });
    }
    tasks
}
