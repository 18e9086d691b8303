//! The outermost level of a definition: what it is called, what goes in and out, what may be used.

use std::sync::Arc;

use super::value::scope;
use super::{At, Reader};
use crate::domain::workflow::expr::{Arg, nearest};
use crate::domain::workflow::model::{
    Definition, DefinitionId, Input, OnError, Output, Priority, Task, Template,
};
use crate::domain::workflow::source::{Content, Entry};

/// The DSL's versions that this reader was written for.
const DSL: &str = "1.0.";

impl<'a> Reader<'a> {
    pub(super) fn definition(&mut self, at: At<'a>) -> Option<Definition> {
        const KNOWN: [&str; 8] =
            ["document", "input", "use", "do", "timeout", "output", "schedule", "evaluate"];
        if !self.object(&at, &KNOWN) {
            return None;
        }
        let head = self
            .required(&at, "document", "dsl, namespace, name and version")
            .and_then(|document| self.document(&document));
        let metadata = at.get("document").and_then(|document| document.get("metadata"));
        let schedule =
            at.get("schedule").and_then(|schedule| self.schedule(&schedule, metadata.as_ref()));
        self.evaluation(at.get("evaluate"));
        let secrets = self.reusable_parts();
        let input = at.get("input").map(|i| self.input(&i, scope::WORKFLOW_INPUT));
        let output = at.get("output").map(|o| self.output(&o, scope::WORKFLOW_OUTPUT));
        let timeout = at.get("timeout").and_then(|t| self.timeout(&t, scope::WORKFLOW_INPUT));
        let root = self.required(&at, "do", "the tasks").and_then(|list| self.list(&list));
        self.uncalled_functions();
        let tasks: Option<Vec<Task>> = std::mem::take(&mut self.tasks).into_iter().collect();
        let head = head?;
        Some(Definition {
            id: head.id,
            source: Arc::new(at.node.to_json()),
            title: head.title,
            status: head.ours.status,
            on_error: head.ours.on_error,
            priority: head.ours.priority,
            notices: head.ours.notices,
            input: input.unwrap_or_default(),
            output: output.unwrap_or_default(),
            timeout,
            schedule,
            secrets,
            root: root?,
            tasks: tasks?,
            queues: std::mem::take(&mut self.queues).into_iter().collect(),
            hosts: std::mem::take(&mut self.hosts).into_iter().collect(),
        })
    }

    fn document(&mut self, at: &At<'a>) -> Option<Head> {
        const KNOWN: [&str; 8] =
            ["dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"];
        if !self.object(at, &KNOWN) {
            return None;
        }
        if let Some(dsl) = self.required(at, "dsl", "'1.0.3'")
            && let Some(version) = self.text(&dsl, "'1.0.3'")
            && !version.starts_with(DSL)
        {
            let detail = format!("version {version} of the DSL is not known");
            self.fault(&dsl, detail, "write for version 1.0.3");
        }
        let namespace = self.name(at, "namespace");
        let name = self.name(at, "name");
        let version = self.version(at);
        let title = at.get("title").and_then(|t| self.text(&t, "a title"));
        if let Some(summary) = at.get("summary") {
            self.text(&summary, "a summary");
        }
        for key in ["tags", "metadata"] {
            if let Some(map) = at.get(key)
                && !matches!(map.node.content, Content::Map(_))
            {
                self.fault(&map, format!("`{key}` is no object"), "write names and values");
            }
        }
        let ours = self.document_metadata(at.get("metadata"));
        let id = DefinitionId { namespace: namespace?, name: name?, version: version? };
        Some(Head { id, title: title.map(str::to_owned), ours })
    }

    fn document_metadata(&mut self, at: Option<At<'a>>) -> Ours {
        let Some(at) = at else { return Ours::default() };
        let known = ["status", "onError", "priority", "notices"].into_iter();
        let known: Vec<&str> = known.chain(super::schedule::METADATA).collect();
        self.warn_of_near_misses(&at, &known);
        let status = at.get("status").map(|s| self.template(&s, scope::WORKFLOW_INPUT));
        let words = [("fault", OnError::Fault), ("suspend", OnError::Suspend)];
        let on_error = self.word(at.get("onError"), &words, OnError::Fault);
        let priority = at.get("priority").and_then(|p| match p.as_text() {
            Some(_) => self.expr(&p, scope::WORKFLOW_INPUT).map(Priority::Of),
            None => self.integer(&p, 0, 9).map(|priority| Priority::Fixed(priority as u8)),
        });
        let priority = priority.unwrap_or_default();
        let notices = self.boolean(at.get("notices"), true);
        Ours { status, on_error, priority, notices }
    }

    /// A namespace or name, as the DSL's schema has it.
    fn name(&mut self, at: &At<'a>, key: &str) -> Option<Arc<str>> {
        let at = self.required(at, key, "letters, digits and hyphens")?;
        let name = self.text(&at, "letters, digits and hyphens")?;
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let fits = name.len() <= 63
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && edge(name.chars().next())
            && edge(name.chars().last());
        if !fits {
            let fix = "up to 63 letters, digits and inner hyphens";
            self.fault(&at, format!("`{name}` is no {key}"), fix);
        }
        fits.then(|| name.into())
    }

    fn version(&mut self, at: &At<'a>) -> Option<Arc<str>> {
        let at = self.required(at, "version", "a semantic version such as '1.0.0'")?;
        let text = self.text(&at, "a semantic version such as '1.0.0'")?;
        if semver::Version::parse(text).is_err() {
            let detail = format!("`{text}` is no semantic version");
            self.fault(&at, detail, "write major.minor.patch, such as '1.0.0'");
            return None;
        }
        Some(text.into())
    }

    fn evaluation(&mut self, at: Option<At<'a>>) {
        let Some(at) = at else { return };
        if !self.object(&at, &["language", "mode"]) {
            return;
        }
        if let Some(language) = at.get("language")
            && language.as_text() != Some("jq")
        {
            self.unsupported(&language, "an expression language other than jq");
        }
        if let Some(mode) = at.get("mode") {
            match mode.as_text() {
                Some("strict") => {}
                Some("loose") => self.unsupported(&mode, "the loose mode"),
                _ => self.fault(&mode, "this is no evaluation mode", "write strict"),
            }
        }
    }

    /// Checks `use` and gives the names of secrets. Parts that are used are read where they are
    /// used; the others are read here, so that their faults are found as well.
    fn reusable_parts(&mut self) -> Vec<Arc<str>> {
        const KNOWN: [&str; 8] = [
            "authentications",
            "errors",
            "extensions",
            "functions",
            "retries",
            "secrets",
            "timeouts",
            "catalogs",
        ];
        let Some(at) = self.reusable.clone() else {
            return Vec::new();
        };
        if !self.object(&at, &KNOWN) {
            return Vec::new();
        }
        if let Some(extensions) = at.get("extensions") {
            self.unsupported(&extensions, "`use.extensions`");
        }
        if let Some(catalogs) = at.get("catalogs") {
            self.unsupported(&catalogs, "`use.catalogs`");
        }
        for (_, auth) in self.parts("authentications") {
            self.auth(&auth);
        }
        for (_, error) in self.parts("errors") {
            self.raised_error(&error);
        }
        for (_, retry) in self.parts("retries") {
            self.retry_policy(&retry);
        }
        for (_, timeout) in self.parts("timeouts") {
            self.timeout(&timeout, scope::BEFORE);
        }
        let mut names = Vec::new();
        for item in at.get("secrets").iter().flat_map(At::items) {
            if let Some(name) = self.text(&item, "the name of a secret") {
                if !(self.around.has_secret)(name) {
                    let detail = format!("there is no secret `{name}`");
                    self.warn(&item, detail, "put a file of this name into the secrets folder");
                }
                names.push(name.into());
            }
        }
        names
    }

    /// The parts of one kind in `use`, by name.
    pub(super) fn parts(&mut self, kind: &str) -> Vec<(&'a str, At<'a>)> {
        let Some(map) = self.reusable.as_ref().and_then(|r| r.get(kind)) else {
            return Vec::new();
        };
        if !matches!(map.node.content, Content::Map(_)) {
            self.fault(&map, format!("`{kind}` is no object"), "write names and definitions");
        }
        let part = |e: &'a Entry| (e.key.as_str(), map.step(&e.key, &e.value));
        map.entries().iter().map(part).collect()
    }

    /// Looks up a part of `use` by the name that a text gives.
    pub(super) fn part(&mut self, at: &At<'a>, kind: &str, name: &str) -> Option<At<'a>> {
        let parts = self.parts(kind);
        if let Some((_, found)) = parts.iter().find(|(known, _)| *known == name) {
            return Some(found.clone());
        }
        let names: Vec<&str> = parts.iter().map(|(known, _)| *known).collect();
        let fix = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("define it in `use.{kind}`"),
            None => super::list_of(&names),
        };
        self.fault(at, format!("`{name}` is not defined in `use.{kind}`"), fix);
        None
    }

    pub(super) fn input(&mut self, at: &At<'a>, args: &'static [Arg]) -> Input {
        if !self.object(at, &["schema", "from"]) {
            return Input::default();
        }
        let schema = at.get("schema").and_then(|s| self.schema(&s));
        let from = at.get("from").and_then(|f| self.transformation(&f, args));
        Input { schema, from: from.filter(|f| !f.is_identity()) }
    }

    pub(super) fn output(&mut self, at: &At<'a>, args: &'static [Arg]) -> Output {
        if !self.object(at, &["schema", "as"]) {
            return Output::default();
        }
        let schema = at.get("schema").and_then(|s| self.schema(&s));
        let transform = at.get("as").and_then(|f| self.transformation(&f, args));
        Output { transform: transform.filter(|t| !t.is_identity()), schema }
    }
}

/// What `document` says.
struct Head {
    id: DefinitionId,
    title: Option<String>,
    ours: Ours,
}

/// Our extensions of a document, in its `metadata`.
struct Ours {
    status: Option<Template>,
    on_error: OnError,
    priority: Priority,
    notices: bool,
}

impl Default for Ours {
    fn default() -> Self {
        Self {
            status: None,
            on_error: OnError::Fault,
            priority: Priority::default(),
            notices: true,
        }
    }
}
