//! Our extensions of a task: status, compensation, reconciliation, patience. Other metadata is
//! the author's own and is left alone.

use super::value::scope;
use super::{At, Reader};
use crate::domain::time::Duration;
use crate::domain::workflow::model::{Reconcile, TaskId, TaskMetadata, Template};
use crate::domain::workflow::source::Content;

/// What we read of a task's metadata.
const OURS: [&str; 8] = [
    "status",
    "statusOnStart",
    "compensate",
    "reconcile",
    "idempotent",
    "patience",
    "deadline",
    "key",
];

impl<'a> Reader<'a> {
    pub(super) fn metadata(&mut self, at: Option<At<'a>>, reference: &str) -> Option<TaskMetadata> {
        let at = at?;
        if !matches!(at.node.content, Content::Map(_)) {
            self.fault(&at, "`metadata` is no object", "write names and values");
            return None;
        }
        self.warn_of_near_misses(&at, &OURS);
        let compensate = at.get("compensate").map(|undo| {
            // the undone task's variables are gone by then
            let locals = std::mem::take(&mut self.locals);
            let reference = format!("{reference}/metadata/compensate");
            let next = TaskId(self.tasks.len() as u32);
            let around = self.undoing.replace(next);
            let id = self.task_at(&undo, "compensate", &[], reference);
            self.undoing = around;
            self.locals = locals;
            id
        });
        let wall_deadline = self.word(at.get("deadline"), &[("wall", true)], false);
        Some(TaskMetadata {
            status: at.get("status").and_then(|s| self.status(&s)),
            status_on_start: at.get("statusOnStart").and_then(|s| self.status(&s)),
            compensate,
            reconcile: at.get("reconcile").and_then(|r| self.reconcile(&r)).map(Box::new),
            idempotent: self.boolean(at.get("idempotent"), false),
            patience: at.get("patience").and_then(|p| self.patience(&p)),
            wall_deadline,
            key: at.get("key").and_then(|key| self.child_key(&key)),
        })
    }

    fn status(&mut self, at: &At<'a>) -> Option<Template> {
        self.text(at, "a status, or an expression in ${ }")?;
        Some(self.template(at, scope::STATUS))
    }

    /// The key of the one case that `run: workflow` begins or joins.
    fn child_key(&mut self, at: &At<'a>) -> Option<Template> {
        self.text(at, "a text, or an expression in ${ }")?;
        Some(self.template(at, scope::BODY))
    }

    /// How long to wait through an outage; 0 is the DSL as written.
    fn patience(&mut self, at: &At<'a>) -> Option<Duration> {
        match &at.node.content {
            Content::Number(number) if number.as_i64() == Some(0) => Some(Duration::default()),
            _ => self.duration(at),
        }
    }

    fn reconcile(&mut self, at: &At<'a>) -> Option<Reconcile> {
        if !self.object(at, &["call", "with", "found", "output"]) {
            return None;
        }
        let call = self
            .required(at, "call", "http or openapi")
            .and_then(|function| self.reconciling_call(at, &function));
        let found = self
            .required(at, "found", "an expression over the answer")
            .and_then(|f| self.condition(&f, scope::BODY));
        let output = self
            .required(at, "output", "what of the answer stands for the task's output")
            .and_then(|o| self.transformation(&o, scope::BODY));
        Some(Reconcile { call: call?, found: found?, output: output? })
    }
}
