//! Reads a definition's tree into the model, and finds every fault on the way: nothing stops at
//! the first. One file for each part of the language.

mod auth;
mod call;
mod control;
mod document;
mod event;
mod list;
mod metadata;
mod resilience;
mod run;
mod schedule;
mod slips;
mod task;
mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::expr::nearest;
use super::fault::{Fault, Faults};
use super::location::Location;
use super::model::{Definition, Task};
use super::source::{self, Content, Entry, Format, Node};

/// What is known around a definition; what is not known is worth a warning, no more.
pub struct Surroundings<'a> {
    /// Whether a service is configured for this host.
    pub serves: &'a dyn Fn(&str) -> bool,
    /// Whether a secret of this name exists.
    pub has_secret: &'a dyn Fn(&str) -> bool,
}

impl Surroundings<'_> {
    /// Nothing is looked at, so nothing is warned of.
    pub fn unknown() -> Self {
        Self { serves: &|_| true, has_secret: &|_| true }
    }
}

/// A definition that can run, and what its author may want to look at again.
#[derive(Debug)]
pub struct Compiled {
    pub definition: Arc<Definition>,
    pub warnings: Vec<Fault>,
    /// What may not be registered any more. A definition that was, by an earlier version, goes on, and
    /// its tasks fail where they meet it.
    pub refused: Vec<Fault>,
}

impl Compiled {
    /// It as one that is registered now.
    ///
    /// # Errors
    /// What may not be registered.
    pub fn registered_now(self) -> Result<Self, Vec<Fault>> {
        if self.refused.is_empty() { Ok(self) } else { Err(self.refused) }
    }
}

/// Reads, checks and compiles a definition.
///
/// Deep expressions recurse while they are parsed: call it on a thread with some MiB of stack.
///
/// # Errors
/// Every fault, each with its place and what would be right.
pub fn compile(
    text: &str,
    format: Format,
    around: &Surroundings<'_>,
) -> Result<Compiled, Vec<Fault>> {
    let root = source::read(text, format).map_err(Faults::sorted)?;
    let mut reader = Reader::new(&root, around);
    let definition = reader.definition(At { node: &root, pointer: String::new() });
    match definition {
        Some(definition) if reader.faults.is_empty() => {
            let (warnings, refused) = (reader.warnings.sorted(), reader.refused.sorted());
            Ok(Compiled { definition: Arc::new(definition), warnings, refused })
        }
        _ => {
            reader.refused.sorted().into_iter().for_each(|fault| reader.faults.push(fault));
            Err(reader.faults.sorted())
        }
    }
}

/// A node and the pointer that leads to it.
#[derive(Clone)]
struct At<'a> {
    node: &'a Node,
    pointer: String,
}

impl<'a> At<'a> {
    /// The property of this name, if there is one.
    fn get(&self, key: &str) -> Option<At<'a>> {
        self.node.get(key).map(|node| self.step(key, node))
    }

    fn step(&self, key: &str, node: &'a Node) -> At<'a> {
        let key = key.replace('~', "~0").replace('/', "~1");
        At { node, pointer: format!("{}/{key}", self.pointer) }
    }

    fn entries(&self) -> &'a [Entry] {
        match &self.node.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    fn items(&self) -> Vec<At<'a>> {
        match &self.node.content {
            Content::List(items) => {
                let item = |(place, node)| self.step(&format!("{place}"), node);
                items.iter().enumerate().map(item).collect()
            }
            _ => Vec::new(),
        }
    }

    fn as_text(&self) -> Option<&'a str> {
        match &self.node.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads one definition.
struct Reader<'a> {
    faults: Faults,
    warnings: Faults,
    refused: Faults,
    around: &'a Surroundings<'a>,
    /// The definition's `use`, where reusable parts are looked up.
    reusable: Option<At<'a>>,
    tasks: Vec<Option<Task>>,
    /// Tasks around the one that is read, outermost first.
    path: Vec<super::model::TaskId>,
    /// The compensation that is being read, if any.
    undoing: Option<super::model::TaskId>,
    /// Variables of the author that exist at this place.
    locals: Vec<Arc<str>>,
    /// Functions that are being read, so that one that calls itself is found.
    functions: Vec<String>,
    called: BTreeSet<String>,
    hosts: BTreeSet<String>,
    queues: BTreeSet<Arc<str>>,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Node, around: &'a Surroundings<'a>) -> Self {
        let at = At { node: root, pointer: String::new() };
        Self {
            faults: Faults::default(),
            warnings: Faults::default(),
            refused: Faults::default(),
            around,
            reusable: at.get("use"),
            tasks: Vec::new(),
            path: Vec::new(),
            undoing: None,
            locals: Vec::new(),
            functions: Vec::new(),
            called: BTreeSet::new(),
            hosts: BTreeSet::new(),
            queues: BTreeSet::new(),
        }
    }

    fn fault(&mut self, at: &At<'_>, detail: impl Into<String>, fix: impl Into<String>) {
        self.faults.push(Fault::at(at.node.place, &at.pointer, detail, fix));
    }

    fn refuse(&mut self, at: &At<'_>, detail: impl Into<String>, fix: impl Into<String>) {
        self.refused.push(Fault::at(at.node.place, &at.pointer, detail, fix));
    }

    fn warn(&mut self, at: &At<'_>, detail: impl Into<String>, fix: impl Into<String>) {
        self.warnings.push(Fault::at(at.node.place, &at.pointer, detail, fix));
    }

    /// A part of the DSL that we do not run yet; the text of such faults always says so.
    fn unsupported(&mut self, at: &At<'_>, what: &str) {
        self.fault(at, format!("{what} is not supported yet"), "leave it out for now");
    }

    /// Checks that this is an object, and that it has no properties but these.
    fn object(&mut self, at: &At<'a>, known: &[&str]) -> bool {
        if !matches!(at.node.content, Content::Map(_)) {
            let found = at.node.kind();
            self.fault(at, format!("expected an object, found {found}"), list_of(known));
            return false;
        }
        for entry in at.entries() {
            if !known.contains(&entry.key.as_str()) {
                self.unknown_key(at, &entry.key, entry.key_place, known);
            }
        }
        true
    }

    fn unknown_key(&mut self, at: &At<'_>, key: &str, place: Location, known: &[&str]) {
        let begun = known.iter().copied().find(|k| key.len() >= 3 && k.starts_with(key));
        let fix = match begun.or_else(|| nearest(key, known.iter().copied())) {
            Some(name) => format!("did you mean `{name}`?"),
            None => list_of(known),
        };
        let pointer = format!("{}/{key}", at.pointer);
        let detail = format!("`{key}` is not known here");
        self.faults.push(Fault::at(place, &pointer, detail, fix));
    }

    /// The property of this name, which must exist.
    fn required(&mut self, at: &At<'a>, key: &str, what: &str) -> Option<At<'a>> {
        let found = at.get(key);
        if found.is_none() {
            self.fault(at, format!("`{key}` is missing"), format!("add `{key}`: {what}"));
        }
        found
    }

    /// The text of a node that must be one.
    fn text(&mut self, at: &At<'a>, what: &str) -> Option<&'a str> {
        let text = at.as_text();
        if text.is_none() {
            let found = at.node.kind();
            let quote = matches!(at.node.content, Content::Number(_) | Content::Bool(_));
            let fix = if quote { "put it in quotes".to_owned() } else { format!("write {what}") };
            self.fault(at, format!("expected a string, found {found}"), fix);
        }
        text
    }

    fn boolean(&mut self, at: Option<At<'a>>, default: bool) -> bool {
        match at {
            None => default,
            Some(At { node: Node { content: Content::Bool(b), .. }, .. }) => *b,
            Some(at) => {
                let found = at.node.kind();
                self.fault(&at, format!("expected a boolean, found {found}"), "true or false");
                default
            }
        }
    }

    /// A whole number within bounds.
    fn integer(&mut self, at: &At<'a>, min: i64, max: i64) -> Option<i64> {
        let value = match &at.node.content {
            Content::Number(number) => number.as_i64(),
            _ => None,
        };
        let value = value.filter(|n| (min..=max).contains(n));
        if value.is_none() {
            let fix = format!("a whole number from {min} to {max}");
            self.fault(at, "this is no number that fits here", fix);
        }
        value
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, at: Option<At<'a>>, words: &[(&str, T)], default: T) -> T {
        let Some(at) = at else { return default };
        let found = at.as_text().unwrap_or_default();
        match words.iter().find(|(word, _)| *word == found) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                self.fault(&at, format!("`{found}` is not known here"), list_of(&names));
                default
            }
        }
    }
}

fn list_of(known: &[&str]) -> String {
    format!("one of {}", known.join(", "))
}

#[cfg(test)]
mod tests;
