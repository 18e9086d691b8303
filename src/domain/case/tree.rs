//! Finding one's way in the tree of activations.

use std::sync::Arc;

use serde_json::Value as Json;

use super::ledger::{Entry, Fate};
use super::state::{Activation, Body, Branch, Seq, State, TryStage};
use crate::domain::data::Data;
use crate::domain::ids::PlanId;
use crate::domain::workflow::model::{Definition, Kind, TaskId};

impl Activation {
    /// The plan that it is at.
    pub fn plan(&self) -> Option<PlanId> {
        match &self.body {
            Body::Staff { plan } => *plan,
            _ => None,
        }
    }

    /// The activations directly below, in order.
    pub fn children(&self) -> Vec<&Activation> {
        match &self.body {
            Body::List(seq) | Body::For { seq, .. } => seq.child.as_deref().into_iter().collect(),
            Body::Try(body) => match &body.stage {
                TryStage::Body(seq) | TryStage::Catch { seq, .. } => {
                    seq.child.as_deref().into_iter().collect()
                }
                TryStage::Pause { .. } => Vec::new(),
            },
            Body::Fork(branches) => branches
                .iter()
                .filter_map(|branch| match branch {
                    Branch::Running(child) => Some(&**child),
                    Branch::Ready | Branch::Done(_) | Branch::Dropped => None,
                })
                .collect(),
            Body::Instant
            | Body::Wait { .. }
            | Body::Listen { .. }
            | Body::Call(_)
            | Body::Staff { .. } => Vec::new(),
        }
    }

    /// The same, to change them.
    pub fn children_mut(&mut self) -> Vec<&mut Activation> {
        match &mut self.body {
            Body::List(seq) | Body::For { seq, .. } => {
                seq.child.as_deref_mut().into_iter().collect()
            }
            Body::Try(body) => match &mut body.stage {
                TryStage::Body(seq) | TryStage::Catch { seq, .. } => {
                    seq.child.as_deref_mut().into_iter().collect()
                }
                TryStage::Pause { .. } => Vec::new(),
            },
            Body::Fork(branches) => branches
                .iter_mut()
                .filter_map(|branch| match branch {
                    Branch::Running(child) => Some(&mut **child),
                    Branch::Ready | Branch::Done(_) | Branch::Dropped => None,
                })
                .collect(),
            Body::Instant
            | Body::Wait { .. }
            | Body::Listen { .. }
            | Body::Call(_)
            | Body::Staff { .. } => Vec::new(),
        }
    }

    /// The child that is the activation of this task.
    pub fn child(&self, task: TaskId) -> Option<&Activation> {
        self.children().into_iter().find(|child| child.task == task)
    }

    /// The same, to change it.
    pub fn child_mut(&mut self, task: TaskId) -> Option<&mut Activation> {
        if !matches!(self.body, Body::Fork(_)) {
            return self.seq_mut()?.child.as_deref_mut().filter(|child| child.task == task);
        }
        let Body::Fork(branches) = &mut self.body else {
            return None;
        };
        branches.iter_mut().find_map(|branch| match branch {
            Branch::Running(child) if child.task == task => Some(&mut **child),
            _ => None,
        })
    }

    /// The list that it works through, if it does.
    pub fn seq(&self) -> Option<&Seq> {
        match &self.body {
            Body::List(seq) | Body::For { seq, .. } => Some(seq),
            Body::Try(body) => match &body.stage {
                TryStage::Body(seq) | TryStage::Catch { seq, .. } => Some(seq),
                TryStage::Pause { .. } => None,
            },
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn seq_mut(&mut self) -> Option<&mut Seq> {
        match &mut self.body {
            Body::List(seq) | Body::For { seq, .. } => Some(seq),
            Body::Try(body) => match &mut body.stage {
                TryStage::Body(seq) | TryStage::Catch { seq, .. } => Some(seq),
                TryStage::Pause { .. } => None,
            },
            _ => None,
        }
    }

    /// This activation and all below it, each before its children.
    pub fn walk<'a>(&'a self, each: &mut impl FnMut(&'a Activation)) {
        each(self);
        for child in self.children() {
            child.walk(each);
        }
    }

    /// The call that it is, if it is one.
    pub fn call(&self) -> Option<&super::state::Call> {
        match &self.body {
            Body::Call(call) => Some(call),
            _ => None,
        }
    }
}

impl State {
    /// Where the tasks of the outermost list, of compensations and of detached calls hang.
    pub fn roots(&self) -> impl Iterator<Item = &Activation> {
        let flow = self.flow.seq.child.as_deref();
        flow.into_iter().chain(self.undoing.as_deref()).chain(&self.detached)
    }

    /// Walks over every open activation.
    pub fn walk<'a>(&'a self, each: &mut impl FnMut(&'a Activation)) {
        for root in self.roots() {
            root.walk(each);
        }
    }

    /// The activation of a task that was entered this often. Where the task has failed while its
    /// call goes on detached, it is the call's.
    pub fn find(
        &self,
        definition: &Definition,
        task: TaskId,
        iteration: u32,
    ) -> Option<&Activation> {
        let in_tree = self.find_any(definition, task).filter(|a| a.iteration == iteration);
        match in_tree {
            Some(activation) if activation.failed.is_none() => Some(activation),
            failed => self.detached((task, iteration)).or(failed),
        }
    }

    /// The same, to change it.
    pub fn find_mut(
        &mut self,
        definition: &Definition,
        task: TaskId,
        iteration: u32,
    ) -> Option<&mut Activation> {
        let in_tree = self.find_any(definition, task).filter(|a| a.iteration == iteration);
        let (is_there, has_failed) =
            (in_tree.is_some(), in_tree.is_some_and(|a| a.failed.is_some()));
        let beside = self.detached_place((task, iteration));
        match beside {
            Some(place) if !is_there || has_failed => Some(&mut self.detached[place]),
            _ if is_there => self.find_any_mut(definition, task),
            _ => None,
        }
    }

    /// The call that has left the flow under this key, if it is still under way.
    pub fn detached(&self, key: (TaskId, u32)) -> Option<&Activation> {
        self.detached_place(key).map(|place| &self.detached[place])
    }

    /// Its place among the detached ones.
    pub fn detached_place(&self, (task, iteration): (TaskId, u32)) -> Option<usize> {
        self.detached.iter().position(|a| a.task == task && a.iteration == iteration)
    }

    /// The latest effect that is to be undone now: it was done, and nothing is asked about it any more.
    pub fn undo_due(&self) -> Option<&Entry> {
        let is_due = |entry: &&Entry| {
            let settled = entry.is_done() && self.detached_place(entry.key()).is_none();
            entry.fate == Fate::Due && settled
        };
        self.ledger.iter().rev().find(is_due)
    }

    /// Whether what happens under this key happens to a call that has left the flow.
    pub fn is_detached(&self, definition: &Definition, key: (TaskId, u32)) -> bool {
        let in_tree = self.find_any(definition, key.0).filter(|a| a.iteration == key.1);
        in_tree.is_none_or(|a| a.failed.is_some()) && self.detached_place(key).is_some()
    }

    /// The one open activation of a task, in the flow or in the compensation that runs.
    pub fn find_any(&self, definition: &Definition, task: TaskId) -> Option<&Activation> {
        let (root, below) = strand(definition, task);
        let start = match root {
            Strand::Flow => self.flow.seq.child.as_deref(),
            Strand::Undo => self.undoing.as_deref(),
        };
        let mut current = start.filter(|a| below.first() == Some(&a.task))?;
        for &id in &below[1..] {
            current = current.child(id)?;
        }
        Some(current)
    }

    /// The same, to change it.
    pub fn find_any_mut(
        &mut self,
        definition: &Definition,
        task: TaskId,
    ) -> Option<&mut Activation> {
        let (root, below) = strand(definition, task);
        let start = match root {
            Strand::Flow => self.flow.seq.child.as_deref_mut(),
            Strand::Undo => self.undoing.as_deref_mut(),
        };
        let mut current = start.filter(|a| below.first() == Some(&a.task))?;
        for &id in &below[1..] {
            current = current.child_mut(id)?;
        }
        Some(current)
    }

    /// The variables that the author may use at a task: of the loops and catches around it, the innermost
    /// last.
    pub fn variables(&self, definition: &Definition, task: TaskId) -> Vec<(Arc<str>, Data)> {
        let mut found = Vec::new();
        for around in self.ancestry(definition, task) {
            let kind = &definition.task(around.task).kind;
            for name in names(kind) {
                found.extend(variable(around, kind, name).map(|value| (name.clone(), value)));
            }
        }
        found
    }

    /// The one of this name.
    pub fn variable(&self, definition: &Definition, task: TaskId, name: &str) -> Option<Data> {
        let around = self.ancestry(definition, task).into_iter().rev();
        let mut values = around.map(|a| variable(a, &definition.task(a.task).kind, name));
        values.find_map(|value| value)
    }

    /// The activations from the strand's beginning down to this task, itself included.
    pub fn ancestry(&self, definition: &Definition, task: TaskId) -> Vec<&Activation> {
        let (root, below) = strand(definition, task);
        let mut next = match root {
            Strand::Flow => self.flow.seq.child.as_deref(),
            Strand::Undo => self.undoing.as_deref(),
        };
        let mut found = Vec::with_capacity(below.len());
        for (depth, &id) in below.iter().enumerate() {
            let Some(current) = next.filter(|a| a.task == id) else {
                break;
            };
            found.push(current);
            next = below.get(depth + 1).and_then(|&id| current.child(id));
        }
        found
    }
}

/// The variables that a task gives to those below it.
fn names(kind: &Kind) -> Vec<&Arc<str>> {
    match kind {
        Kind::For { each, at, .. } => vec![each, at],
        Kind::Try { catch, .. } => vec![&catch.variable],
        _ => Vec::new(),
    }
}

/// What such a variable is now.
fn variable(around: &Activation, kind: &Kind, name: &str) -> Option<Data> {
    match (&around.body, kind) {
        (Body::For { items, turn, .. }, Kind::For { each, at, .. }) => {
            let turn = turn.unwrap_or(0);
            if &**each == name {
                items.get(turn as usize).cloned().map(Data::from)
            } else {
                (&**at == name).then(|| Data::from(Json::from(turn)))
            }
        }
        (Body::Try(inner), Kind::Try { catch, .. }) if &*catch.variable == name => {
            match &inner.stage {
                TryStage::Catch { error, .. } => Some(error.clone()),
                TryStage::Body(_) | TryStage::Pause { .. } => None,
            }
        }
        _ => None,
    }
}

/// The tasks from the beginning of a task's strand (the flow, or its compensation) down to it.
pub fn strand_path(definition: &Definition, task: TaskId) -> &[TaskId] {
    strand(definition, task).1
}

enum Strand {
    Flow,
    Undo,
}

/// Which strand a task belongs to, and the tasks from that strand's beginning down to it.
fn strand(definition: &Definition, task: TaskId) -> (Strand, &[TaskId]) {
    let task = definition.task(task);
    match task.undoing {
        None => (Strand::Flow, &task.path),
        Some(root) => {
            let start = task.path.iter().position(|&id| id == root).unwrap_or(0);
            (Strand::Undo, &task.path[start..])
        }
    }
}
