//! Lists of tasks: their names, where the flow goes from each, and what is never reached.

use super::{At, Reader, list_of};
use crate::domain::workflow::expr::nearest;
use crate::domain::workflow::model::{Kind, List, TaskId, Then};
use crate::domain::workflow::source::Content;

impl<'a> Reader<'a> {
    /// Reads a list of named tasks, each an object with one property.
    pub(super) fn list(&mut self, at: &At<'a>) -> Option<List> {
        if !matches!(at.node.content, Content::List(_)) {
            let found = at.node.kind();
            self.fault(at, format!("expected a list of tasks, found {found}"), "- name: { … }");
            return None;
        }
        let items = self.named_items(at, "task");
        let names: Vec<&str> = items.iter().map(|(name, _)| *name).collect();
        let ids: Vec<TaskId> =
            items.iter().map(|(name, item)| self.task(item, name, &names)).collect();
        self.warn_of_unreached(&items, &ids);
        Some(ids)
    }

    /// The items of a list of one-property objects: the property's name and value.
    pub(super) fn named_items(&mut self, at: &At<'a>, what: &str) -> Vec<(&'a str, At<'a>)> {
        let mut items: Vec<(&'a str, At<'a>)> = Vec::new();
        for item in at.items() {
            let entries = item.entries();
            match entries {
                [entry] => {
                    let name = entry.key.as_str();
                    let value = item.node.get(name).map(|node| At {
                        node,
                        pointer: format!("{}/{}", item.pointer, escaped(name)),
                    });
                    if items.iter().any(|(known, _)| *known == name) {
                        let detail = format!("two {what}s of this list are called `{name}`");
                        self.fault(&item, detail, "give each a name of its own");
                    }
                    items.extend(value.map(|value| (name, value)));
                }
                [] => {
                    let detail = format!("this list item is no {what}");
                    self.fault(&item, detail, format!("write - name: {{ … }} with one {what}"));
                }
                [_, second, ..] => {
                    let names: Vec<&str> = entries.iter().map(|e| e.key.as_str()).collect();
                    let detail = format!("two {what}s in one list item: {}", names.join(", "));
                    let fix = format!("begin each with a hyphen of its own: - {}:", second.key);
                    self.fault(&item, detail, fix);
                }
            }
        }
        items
    }

    /// A flow directive: a word of the DSL, or the name of a task of the same list.
    pub(super) fn then(&mut self, at: Option<At<'a>>, siblings: &[&str]) -> Then {
        let Some(at) = at else { return Then::Continue };
        let Some(name) = self.text(&at, "continue, exit, end or a task's name") else {
            return Then::Continue;
        };
        match name {
            "continue" => return Then::Continue,
            "exit" => return Then::Exit,
            "end" => return Then::End,
            _ => {}
        }
        if let Some(place) = siblings.iter().position(|sibling| *sibling == name) {
            return Then::To(place as u32);
        }
        let fix = match nearest(name, siblings.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let words: Vec<&str> = ["continue", "exit", "end"]
                    .into_iter()
                    .chain(siblings.iter().copied())
                    .collect();
                list_of(&words)
            }
        };
        self.fault(&at, format!("`{name}` names no task of this list"), fix);
        Then::Continue
    }

    fn warn_of_unreached(&mut self, items: &[(&str, At<'a>)], ids: &[TaskId]) {
        let mut reached = vec![false; ids.len()];
        let mut open = vec![0];
        while let Some(place) = open.pop() {
            if place >= ids.len() || reached[place] {
                continue;
            }
            reached[place] = true;
            // a task that could not be read says nothing of where the flow goes
            match &self.tasks[ids[place].0 as usize] {
                None => open.push(place + 1),
                Some(task) => {
                    let target = |then: Then| match then {
                        Then::Continue => Some(place + 1),
                        Then::To(place) => Some(place as usize),
                        Then::Exit | Then::End => None,
                    };
                    if task.condition.is_some() {
                        open.push(place + 1);
                    }
                    match &task.kind {
                        Kind::Switch(cases) => {
                            open.extend(cases.iter().filter_map(|c| target(c.then)));
                            if cases.iter().all(|c| c.when.is_some()) {
                                open.extend(target(task.then));
                            }
                        }
                        Kind::Raise(_) => {}
                        _ => open.extend(target(task.then)),
                    }
                }
            }
        }
        for (place, (name, at)) in items.iter().enumerate() {
            if !reached[place] {
                let detail = format!("`{name}` is never reached");
                self.warn(at, detail, "lead to it with a `then`, or take it out");
            }
        }
    }
}

/// A name as a segment of a JSON pointer.
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
