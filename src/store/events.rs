//! Events as JSON, the shape in which they lie in the journal.
//!
//! Each event is an array: a word, then for a task's event the task's number and iteration, then
//! an object with whatever else there is to say, left out where there is nothing. A short form,
//! since a case that polls for months writes a few of them with every poll:
//!
//! ```text
//! ["start", 9, 12, {"attempt": 1, "service": "bobs-post"}]
//! ["done", 9, 12, {"output": {"status": "scheduled"}}]
//! ["wait", 8, 13, {"wait": {"until": 1732183200000}}]
//! ```

use std::sync::Arc;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::case::event::{
    Answer, Came, Change, Doubt, Entry, Event, Received, Start, Submission, TaskEvent, Wait,
    WaitKind,
};
use crate::domain::case::notices::NoticeEvent;
use crate::domain::case::problem::Problem;
use crate::domain::data::Data;
use crate::domain::document::DocumentId;
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{TaskId, Then};
use job::{WireJob, WireLease};

/// Writes events as a JSON array.
pub fn encode(events: &[Event]) -> Vec<u8> {
    let wire: Vec<Wire> = events.iter().map(to_wire).collect();
    serde_json::to_vec(&wire).expect("events are plain JSON")
}

/// Reads events.
///
/// # Errors
/// What cannot be read, for whoever looks into a quarantined case.
pub fn decode(bytes: &[u8]) -> Result<Vec<Event>, String> {
    let wire: Vec<Wire> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    wire.into_iter().map(from_wire).collect()
}

/// One event as it is written.
struct Wire {
    word: String,
    key: Option<(u32, u32)>,
    rest: Rest,
}

/// Everything that an event may have to say beside its word, task and iteration.
#[derive(Serialize, Deserialize, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rest {
    #[serde(skip_serializing_if = "Option::is_none")]
    submission: Option<Submission>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "some")]
    input: Option<Data>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "some")]
    work: Option<Data>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_deadline: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<WireWait>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "some")]
    output: Option<Data>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "some")]
    context: Option<Data>,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Then>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Data>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Received>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<Doubt>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    unsettled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    keep: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    retried: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    recalled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    safe: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    /// What is known of an attempt that is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Came>,
    /// Until when an outage is waited through.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// A raw answer that became no output.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "some")]
    answer: Option<Data>,
    /// There was an answer, but nothing is left of it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    gone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<u64>,
    /// Something of a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanEvent>,
    /// Something of what people are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<NoticeEvent>,
    /// What is fixed of a job that is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<WireJob>,
    /// The worker that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<WireLease>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    documents: Vec<DocumentId>,
    /// The task that an error of the whole case stands at.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<(TaskId, u32)>,
}

/// A wait without what it does not say.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireWait {
    /// Left out for the most common one, an instant.
    #[serde(skip_serializing_if = "is_timer", default = "timer")]
    kind: WaitKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Arc<str>>,
}

fn timer() -> WaitKind {
    WaitKind::Timer
}

fn is_timer(kind: &WaitKind) -> bool {
    *kind == WaitKind::Timer
}

/// A value that is there, even where it is null.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Data>, D::Error> {
    Data::deserialize(deserializer).map(Some)
}

impl Serialize for Wire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        seq.serialize_element(&self.word)?;
        if let Some((task, iteration)) = self.key {
            seq.serialize_element(&task)?;
            seq.serialize_element(&iteration)?;
        }
        if self.rest != Rest::default() {
            seq.serialize_element(&self.rest)?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Wire;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an event: a word, a task and its iteration, and the rest")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Wire, A::Error> {
                let missing = || A::Error::custom("the event ends too early");
                let word: String = seq.next_element()?.ok_or_else(missing)?;
                let key = if TASK_WORDS.contains(&word.as_str()) {
                    let task = seq.next_element()?.ok_or_else(missing)?;
                    Some((task, seq.next_element()?.ok_or_else(missing)?))
                } else {
                    None
                };
                let rest = seq.next_element()?.unwrap_or_default();
                if seq.next_element::<IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom("the event says more than is understood"));
                }
                Ok(Wire { word, key, rest })
            }
        }
        deserializer.deserialize_seq(Words)
    }
}

const TASK_WORDS: [&str; 15] = [
    "start",
    "queue",
    "turn",
    "listen",
    "prepare",
    "wait",
    "unknown",
    "reconciled",
    "retry",
    "fault",
    "done",
    "skip",
    "cancel",
    "take",
    "back",
];

fn to_wire(event: &Event) -> Wire {
    let plain = |word: &str, rest: Rest| Wire { word: word.to_owned(), key: None, rest };
    match event.clone() {
        Event::Accepted(submission) => {
            plain("accepted", Rest { submission: Some(*submission), ..Rest::default() })
        }
        Event::Started(start) => {
            let Start { submission, data, deadline } = *start;
            plain("started", Rest { submission, input: data, deadline, ..Rest::default() })
        }
        Event::Suspended { reason, error, task } => {
            let reason = Some(reason);
            plain("suspended", Rest { reason, error, task, ..Rest::default() })
        }
        Event::Resumed { reason, retried } => {
            plain("resumed", Rest { reason: Some(reason), retried, ..Rest::default() })
        }
        Event::Cancelled { reason } => {
            plain("cancelled", Rest { reason: Some(reason), ..Rest::default() })
        }
        Event::Faulted { error } => {
            plain("faulted", Rest { error: Some(error), ..Rest::default() })
        }
        Event::Completed { output } => plain("completed", Rest { output, ..Rest::default() }),
        Event::Status { status } => {
            plain("status", Rest { status: Some(status), ..Rest::default() })
        }
        Event::Referred { documents } => plain("referred", Rest { documents, ..Rest::default() }),
        Event::Alerted { cause } => {
            plain("alerted", Rest { cause: Some(cause), ..Rest::default() })
        }
        Event::UnwindingStarted { reason, error } => {
            plain("unwinding", Rest { reason: Some(reason), error, ..Rest::default() })
        }
        Event::UnwindingEnded => plain("unwound", Rest::default()),
        Event::Trimmed { through } => plain("trimmed", Rest { through, ..Rest::default() }),
        Event::Plan(event) => plain("plan", Rest { plan: Some(event), ..Rest::default() }),
        Event::Notice(event) => plain("notice", Rest { notice: Some(event), ..Rest::default() }),
        Event::Closing => plain("closing", Rest::default()),
        Event::Task(TaskEvent { task, iteration, change }) => {
            let (word, rest) = change_to_wire(change);
            Wire { word: word.to_owned(), key: Some((task.0, iteration)), rest }
        }
    }
}

fn change_to_wire(change: Change) -> (&'static str, Rest) {
    let none = Rest::default;
    match change {
        Change::Started { entry, attempt, service, generation, safe, lease } => {
            let attempt = (attempt > 0).then_some(attempt);
            let generation = (generation > 0).then_some(generation);
            let lease = lease.map(|lease| WireLease::from(*lease));
            ("start", Rest { attempt, service, generation, safe, lease, ..entry_to_wire(entry) })
        }
        Change::Queued { entry, job } => {
            ("queue", Rest { job: Some(WireJob::from(*job)), ..entry_to_wire(entry) })
        }
        Change::Turned { turn } => ("turn", Rest { turn: Some(turn), ..none() }),
        Change::Preparing { entry, service } => {
            ("prepare", Rest { service: Some(service), ..entry_to_wire(entry) })
        }
        Change::Waiting { entry, wait, outcome } => {
            let Wait { kind, on, until, detail } = wait;
            let wait = Some(WireWait { kind, on, until, detail });
            ("wait", Rest { wait, outcome, ..entry_to_wire(entry) })
        }
        Change::Listening { on, expected } => {
            ("listen", Rest { on, expected: Some(expected), ..none() })
        }
        Change::Unknown { error } => ("unknown", Rest { error: Some(error), ..none() }),
        Change::Reconciled { found } => ("reconciled", Rest { found, ..none() }),
        Change::Retried { error, at, deadline, outcome, until } => {
            let (error, at) = (Some(error), Some(at));
            ("retry", Rest { error, at, deadline, outcome, until, ..none() })
        }
        Change::Faulted { error, doubt, answer, keep } => {
            let gone = matches!(answer, Some(Answer::Gone));
            let answer = match answer {
                Some(Answer::Kept(answer)) => Some(answer),
                Some(Answer::Gone) | None => None,
            };
            ("fault", Rest { error: Some(error), doubt, answer, gone, keep, ..none() })
        }
        Change::Completed { output, context, then, skipped, recalled } => {
            let word = if skipped { "skip" } else { "done" };
            (word, Rest { output, context, then, recalled, ..none() })
        }
        Change::Cancelled { unsettled, keep } => ("cancel", Rest { unsettled, keep, ..none() }),
        Change::Received { filter, event } => {
            ("take", Rest { filter: Some(filter), event: Some(*event), ..none() })
        }
        Change::ReadBack { output } => ("back", Rest { output: Some(output), ..none() }),
    }
}

fn entry_to_wire(entry: Option<Box<Entry>>) -> Rest {
    let Entry { input, work, turn, deadline, attempt_deadline } =
        entry.map(|entry| *entry).unwrap_or_default();
    Rest { input, work, turn, deadline, attempt_deadline, ..Rest::default() }
}

fn from_wire(wire: Wire) -> Result<Event, String> {
    let Wire { word, key, rest } = wire;
    if let Some((task, iteration)) = key {
        let change = change_from_wire(&word, rest)?;
        return Ok(Event::Task(TaskEvent { task: TaskId(task), iteration, change }));
    }
    let lacks = |what: &str| format!("`{word}` without {what}");
    let reason = || rest.reason.clone().unwrap_or_default();
    Ok(match word.as_str() {
        "accepted" => {
            Event::Accepted(Box::new(rest.submission.ok_or_else(|| lacks("a submission"))?))
        }
        "started" => Event::Started(Box::new(Start {
            submission: rest.submission,
            data: rest.input,
            deadline: rest.deadline,
        })),
        "suspended" => Event::Suspended { reason: reason(), error: rest.error, task: rest.task },
        "resumed" => Event::Resumed { reason: reason(), retried: rest.retried },
        "cancelled" => Event::Cancelled { reason: reason() },
        "faulted" => Event::Faulted { error: rest.error.ok_or_else(|| lacks("an error"))? },
        "completed" => Event::Completed { output: rest.output },
        "status" => Event::Status { status: rest.status.ok_or_else(|| lacks("a status"))? },
        "referred" => Event::Referred { documents: rest.documents },
        "alerted" => Event::Alerted { cause: rest.cause.unwrap_or_default() },
        "unwinding" => Event::UnwindingStarted { reason: reason(), error: rest.error },
        "unwound" => Event::UnwindingEnded,
        "trimmed" => Event::Trimmed { through: rest.through },
        "plan" => Event::Plan(rest.plan.ok_or_else(|| lacks("what happened to it"))?),
        "notice" => Event::Notice(rest.notice.ok_or_else(|| lacks("what happened to it"))?),
        "closing" => Event::Closing,
        _ => return Err(format!("the word `{word}` is not known")),
    })
}

fn change_from_wire(word: &str, rest: Rest) -> Result<Change, String> {
    let lacks = |what: &str| format!("`{word}` without {what}");
    let error = |error: Option<Problem>| error.ok_or_else(|| lacks("an error"));
    let answer = match (rest.answer, rest.gone) {
        (Some(answer), _) => Some(Answer::Kept(answer)),
        (None, true) => Some(Answer::Gone),
        (None, false) => None,
    };
    let Rest { input, work, turn, deadline, attempt_deadline, .. } = rest;
    let Rest { attempt, service, wait, found, doubt, unsettled, keep, safe, .. } = rest;
    let Rest { generation, outcome, recalled, .. } = rest;
    let entry = Entry { input, work, turn, deadline, attempt_deadline };
    let entry = (entry != Entry::default()).then(|| Box::new(entry));
    Ok(match word {
        "start" => Change::Started {
            entry,
            attempt: attempt.unwrap_or(0),
            service,
            generation: generation.unwrap_or(0),
            safe,
            lease: rest.lease.map(|lease| Box::new(lease.into())),
        },
        "queue" => {
            Change::Queued { entry, job: Box::new(rest.job.ok_or_else(|| lacks("a job"))?.into()) }
        }
        "turn" => Change::Turned {
            turn: entry.and_then(|entry| entry.turn).ok_or_else(|| lacks("a number"))?,
        },
        "prepare" => {
            Change::Preparing { entry, service: service.ok_or_else(|| lacks("a service"))? }
        }
        "wait" => {
            let WireWait { kind, on, until, detail } = wait.ok_or_else(|| lacks("a wait"))?;
            Change::Waiting { entry, wait: Wait { kind, on, until, detail }, outcome }
        }
        "listen" => Change::Listening {
            on: rest.on,
            expected: rest.expected.ok_or_else(|| lacks("what is expected"))?,
        },
        "unknown" => Change::Unknown { error: error(rest.error)? },
        "reconciled" => Change::Reconciled { found },
        "retry" => Change::Retried {
            error: error(rest.error)?,
            at: rest.at.ok_or_else(|| lacks("a time"))?,
            deadline,
            outcome,
            until: rest.until,
        },
        "fault" => Change::Faulted { error: error(rest.error)?, doubt, answer, keep },
        "done" | "skip" => Change::Completed {
            output: rest.output,
            context: rest.context,
            then: rest.then,
            skipped: word == "skip",
            recalled,
        },
        "cancel" => Change::Cancelled { unsettled, keep },
        "back" => Change::ReadBack { output: rest.output.ok_or_else(|| lacks("an output"))? },
        _ => Change::Received {
            filter: rest.filter.unwrap_or(0),
            event: Box::new(rest.event.ok_or_else(|| lacks("an event"))?),
        },
    })
}

mod job;
#[cfg(test)]
mod tests;
