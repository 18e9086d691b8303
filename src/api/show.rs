//! Values as the API shows them: every field there, null where there is nothing.

use serde_json::{Value as Json, json};

use super::tasks;
use crate::actors::handles::{Batch, Case, DryRun, Entry, Handle};
use crate::domain::case::event::WaitKind;
use crate::domain::case::history::open_tasks;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::{ShownWait, Summary};
use crate::domain::time::Timestamp;

/// A wait.
pub fn wait(wait: &ShownWait) -> Json {
    json!({
        "kind": wait.kind.name(),
        "on": wait.on,
        "task": wait.task,
        "since": wait.since.to_string(),
        "until": wait.until.map(|at| at.to_string()),
        "nextAttemptAt": wait.next_attempt_at.map(|at| at.to_string()),
        "detail": wait.detail,
    })
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// A wait, with the end of the operator's hold, or of the service's pause, that it may be for.
fn wait_of(handle: &Handle, shown: &ShownWait) -> Json {
    let mut json = wait(shown);
    if matches!(shown.kind, WaitKind::Operator | WaitKind::Rate) {
        let served = shown.on.as_deref().and_then(|name| handle.service(name));
        json["until"] = json!(time(served.and_then(|served| served.held_until())));
    }
    json
}

/// A case in a list.
pub fn item(handle: &Handle, case: &Summary) -> Json {
    json!({
        "id": case.id.to_string(),
        "workflow": case.definition.workflow(),
        "version": case.definition.version,
        "revision": case.version,
        "subject": case.subject,
        "tags": case.tags,
        "priority": case.priority,
        "phase": case.phase.name(),
        "status": case.status,
        "wait": case.wait.as_ref().map(|wait| wait_of(handle, wait)),
        "createdAt": case.created_at.to_string(),
        "updatedAt": case.updated_at.to_string(),
        "endedAt": time(case.ended_at),
    })
}

/// A case as a whole.
pub fn case(handle: &Handle, case: &Case, logs: &[Batch]) -> Json {
    let Case { definition, state, quarantined } = case;
    let mut summary = Summary::of(definition, state);
    if let Some(reason) = quarantined
        && !state.phase.ended()
    {
        summary.phase = Phase::Suspended;
        let (kind, detail) = (WaitKind::Quarantine, Some(reason.clone()));
        let since = state.updated_at;
        summary.wait = Some(ShownWait {
            kind,
            on: None,
            task: None,
            since,
            until: None,
            next_attempt_at: None,
            detail,
        });
    }
    let mut shown = item(handle, &summary);
    let behind = ["wait", "createdAt", "updatedAt", "endedAt"].map(|field| {
        let fields = shown.as_object_mut();
        (field, fields.and_then(|fields| fields.shift_remove(field)))
    });
    let tasks: Vec<Json> = open_tasks(definition, state)
        .into_iter()
        .map(|task| {
            let wait = task.wait.as_ref().map(|wait| wait_of(handle, wait));
            tasks::open(&task, wait, logs)
        })
        .collect();
    shown["input"] = json!(state.input);
    shown["output"] = json!(state.output);
    // the error that it ended with, or stands at
    let standing = || summary.dead.as_ref().and_then(|dead| dead.error.clone());
    shown["error"] = json!(state.error.clone().or_else(standing));
    // what there was, what came of it, where it stands, since when
    let [wait, times @ ..] = behind;
    shown[wait.0] = json!(wait.1);
    shown["tasks"] = json!(tasks);
    shown["unwinding"] = json!(state.unwinding.is_some());
    for (field, value) in times {
        shown[field] = json!(value);
    }
    shown
}

/// An entry of a history.
pub fn entry(entry: &Entry) -> Json {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let by = json!({
        "who": entry.by.who, "from": said(&entry.by.from), "why": said(&entry.by.why),
    });
    let mut shown = json!({
        "revision": entry.version,
        "at": entry.at.to_string(),
        "type": entry.told.kind,
    });
    if let Some((reference, iteration, attempt)) = &entry.told.task {
        shown["task"] = json!(reference);
        shown["iteration"] = json!(iteration);
        if let Some(attempt) = attempt {
            shown["attempt"] = json!(attempt);
        }
    }
    shown["by"] = by;
    shown["data"] = json!(entry.told.data);
    shown
}

/// The plan that a submission would get.
pub fn dry_run(tried: &DryRun) -> Json {
    let (placed, unplaced): (Vec<_>, Vec<_>) =
        tried.tasks.iter().partition(|task| task.csr.is_some());
    let placed = placed.into_iter().map(|task| {
        json!({"title": task.title, "csr": task.csr, "start": time(task.start),
            "end": time(task.end), "why": task.why})
    });
    let unplaced = unplaced.into_iter().map(|task| {
        let why = task.why.as_deref().unwrap_or("a task before it has no place");
        json!({"title": task.title, "why": why})
    });
    json!({"plan": placed.collect::<Vec<_>>(), "unplaced": unplaced.collect::<Vec<_>>(),
        "stopsAt": tried.stops_at})
}
