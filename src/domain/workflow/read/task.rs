//! One task: what all kinds have in common, and which kind it is.

use std::sync::Arc;

use super::value::scope;
use super::{At, Reader};
use crate::domain::workflow::expr::nearest;
use crate::domain::workflow::model::{Kind, Output, Task, TaskId};
use crate::domain::workflow::source::Content;

/// Properties that every task may have.
const COMMON: [&str; 7] = ["if", "input", "output", "export", "timeout", "then", "metadata"];

/// What tells the kinds apart, and which further properties each has.
const KINDS: [(&str, &[&str]); 12] = [
    ("call", &["with"]),
    ("do", &[]),
    ("fork", &[]),
    ("emit", &[]),
    ("for", &["while", "do"]),
    ("listen", &["foreach"]),
    ("raise", &[]),
    ("run", &[]),
    ("set", &[]),
    ("switch", &[]),
    ("try", &["catch"]),
    ("wait", &[]),
];

/// How deep tasks may nest, functions included.
const DEPTH_MAX: usize = 40;

/// Tasks of one definition, those of functions counted at each call.
const TASKS_MAX: usize = 5000;

impl<'a> Reader<'a> {
    /// Reads a task and gives it the next number, before its subtasks get theirs.
    pub(super) fn task(&mut self, at: &At<'a>, name: &str, siblings: &[&str]) -> TaskId {
        self.task_at(at, name, siblings, at.pointer.clone())
    }

    /// Reads a task whose reference differs from its place in the text: that of a function.
    pub(super) fn task_at(
        &mut self,
        at: &At<'a>,
        name: &str,
        siblings: &[&str],
        reference: String,
    ) -> TaskId {
        let id = TaskId(self.tasks.len() as u32);
        self.tasks.push(None);
        if self.path.len() >= DEPTH_MAX || self.tasks.len() > TASKS_MAX {
            let fix = format!("at most {TASKS_MAX} tasks, {DEPTH_MAX} deep, functions included");
            self.fault(at, "the definition is too large", fix);
            return id;
        }
        self.path.push(id);
        let inner = At { node: at.node, pointer: at.pointer.clone() };
        let task = self.read_task(id, &inner, name, siblings, &reference);
        self.tasks[id.0 as usize] = task;
        self.path.pop();
        id
    }

    fn read_task(
        &mut self,
        id: TaskId,
        at: &At<'a>,
        name: &str,
        siblings: &[&str],
        reference: &str,
    ) -> Option<Task> {
        let kind_name = self.kind_of(at)?;
        let further = KINDS.iter().find(|(kind, _)| *kind == kind_name).map_or(&[][..], |k| k.1);
        let known: Vec<&str> = [kind_name].iter().chain(further).chain(&COMMON).copied().collect();
        self.object(at, &known);
        let condition = at.get("if").and_then(|i| self.condition(&i, scope::BEFORE));
        let input = at.get("input").map(|i| self.input(&i, scope::BEFORE));
        let timeout = at.get("timeout").and_then(|t| self.timeout(&t, scope::BODY));
        let then = self.then(at.get("then"), siblings);
        let kind = self.kind(kind_name, at, siblings, reference);
        let output = at.get("output").map(|o| self.output(&o, scope::OUTPUT));
        let export = at.get("export").map(|e| self.export(&e));
        let metadata = self.metadata(at.get("metadata"), reference).unwrap_or_default();
        if let Some(kind) = &kind {
            self.warn_of_slips(at, kind, &metadata);
        }
        Some(Task {
            id,
            name: name.into(),
            reference: reference.into(),
            pointer: at.pointer.as_str().into(),
            path: self.path.as_slice().into(),
            undoing: self.undoing,
            condition,
            input: input.unwrap_or_default(),
            output: output.unwrap_or_default(),
            export: export.flatten(),
            timeout,
            then,
            metadata,
            kind: kind?,
        })
    }

    /// The property that says what kind of task this is.
    fn kind_of(&mut self, at: &At<'a>) -> Option<&'static str> {
        if !matches!(at.node.content, Content::Map(_)) {
            let found = at.node.kind();
            let kinds: Vec<&str> = KINDS.iter().map(|k| k.0).collect();
            let fix = format!("an object with one of {}", kinds.join(", "));
            self.fault(at, format!("expected a task, found {found}"), fix);
            return None;
        }
        let present: Vec<&'static str> =
            KINDS.iter().map(|(kind, _)| *kind).filter(|kind| at.get(kind).is_some()).collect();
        match present[..] {
            [kind] => Some(kind),
            ["do", "for"] | ["for", "do"] => Some("for"),
            [] => {
                self.unknown_kind(at);
                None
            }
            _ => {
                let detail = format!("a task is of one kind, this one has {}", present.join(", "));
                self.fault(at, detail, "make each a task of its own");
                None
            }
        }
    }

    fn unknown_kind(&mut self, at: &At<'a>) {
        let kinds: Vec<&str> = KINDS.iter().map(|k| k.0).collect();
        let own = at.entries().iter().find(|e| !COMMON.contains(&e.key.as_str()));
        let (detail, fix) = match own {
            None => ("the task does nothing".to_owned(), super::list_of(&kinds)),
            Some(entry) => {
                let fix = match nearest(&entry.key, kinds.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => super::list_of(&kinds),
                };
                (format!("`{}` is no type of task", entry.key), fix)
            }
        };
        self.fault(at, detail, fix);
    }

    fn kind(
        &mut self,
        kind: &str,
        at: &At<'a>,
        siblings: &[&str],
        reference: &str,
    ) -> Option<Kind> {
        let value = at.get(kind)?;
        match kind {
            "call" => self.call(at, &value, reference),
            "do" => self.list(&value).map(Kind::Do),
            "fork" => self.fork(&value),
            "emit" => self.emit(&value),
            "for" => self.for_each(at, &value),
            "listen" => self.listen(at, &value),
            "raise" => self.raise(&value),
            "run" => self.run(&value),
            "set" => self.set(&value),
            "switch" => self.switch(&value, siblings),
            "try" => self.try_catch(at, &value),
            _ => self.span(&value, scope::BODY).map(Kind::Wait),
        }
    }

    /// `export`: unlike an output's, a transformation of `.` means something here.
    fn export(&mut self, at: &At<'a>) -> Option<Output> {
        if !self.object(at, &["schema", "as"]) {
            return None;
        }
        let schema = at.get("schema").and_then(|s| self.schema(&s));
        let transform = at.get("as").and_then(|a| self.transformation(&a, scope::EXPORT));
        Some(Output { transform, schema })
    }

    /// Runs `read` with variables that exist only inside.
    pub(super) fn with_locals<T>(
        &mut self,
        names: &[Arc<str>],
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outside = self.locals.len();
        self.locals.extend(names.iter().cloned());
        let result = read(self);
        self.locals.truncate(outside);
        result
    }

    /// The name of a variable, without its dollar sign.
    pub(super) fn variable(&mut self, at: Option<At<'a>>, default: &str) -> Arc<str> {
        let Some(at) = at else { return default.into() };
        let Some(name) = self.text(&at, "a variable's name") else {
            return default.into();
        };
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fits {
            let fix = "letters, digits and underscores, without the dollar sign";
            self.fault(&at, format!("`{name}` is no variable's name"), fix);
        }
        name.into()
    }
}
