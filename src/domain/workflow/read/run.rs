//! run: other workflows; containers, scripts and shells, which are jobs of workers that allow them.

use super::value::{scope, strict};
use super::{At, Reader};
use crate::domain::workflow::model::{Call, Kind, Process, ProcessKind, Returns, Run, Template};

/// What is run outside.
const PROCESSES: [(&str, ProcessKind); 3] = [
    ("shell", ProcessKind::Shell),
    ("script", ProcessKind::Script),
    ("container", ProcessKind::Container),
];

/// Languages that workers run scripts in.
const LANGUAGES: [&str; 4] = ["js", "javascript", "python", "python3"];

const RETURNS: [(&str, Returns); 5] = [
    ("stdout", Returns::Stdout),
    ("stderr", Returns::Stderr),
    ("code", Returns::Code),
    ("all", Returns::All),
    ("none", Returns::None),
];

impl<'a> Reader<'a> {
    fn process(&mut self, at: &At<'a>, process: &At<'a>, kind: ProcessKind) -> Option<Kind> {
        let known: &[&str] = match kind {
            ProcessKind::Shell => &["command", "arguments", "environment", "stdin"],
            ProcessKind::Script => {
                &["language", "code", "source", "arguments", "environment", "stdin"]
            }
            ProcessKind::Container => &[
                "image",
                "name",
                "command",
                "ports",
                "volumes",
                "environment",
                "stdin",
                "arguments",
                "lifetime",
                "pullPolicy",
            ],
        };
        if !self.object(process, known) {
            return None;
        }
        if let Some(awaits) = at.get("await")
            && !self.boolean(Some(awaits.clone()), true)
        {
            self.unsupported(&awaits, "a process that is not awaited");
            return None;
        }
        match kind {
            ProcessKind::Shell => drop(self.required(process, "command", "what the shell runs")),
            ProcessKind::Container => drop(self.required(process, "image", "the image to run")),
            ProcessKind::Script => {
                let language = self.required(process, "language", "js or python");
                if let Some(language) = language
                    && let Some(name) = self.text(&language, "js or python")
                    && !LANGUAGES.contains(&name)
                {
                    let detail = format!("no worker runs scripts in `{name}`");
                    self.fault(&language, detail, "js or python");
                }
                if let Some(source) = process.get("source") {
                    self.unsupported(&source, "the source of a script");
                    return None;
                }
                self.required(process, "code", "the script");
            }
        }
        let mut fields = Vec::new();
        for entry in process.entries() {
            let value = process.step(&entry.key, &entry.value);
            // code is code: `${` in it is its own
            let is_code = matches!(entry.key.as_str(), "code" | "command")
                && value.as_text().is_some_and(|text| strict(text).is_none());
            let template = match is_code {
                true => self.literal(&value),
                false => self.template(&value, scope::BODY),
            };
            fields.push((entry.key.clone(), template));
        }
        self.queues.insert(kind.queue().into());
        let call = Call::Process(Process {
            kind,
            input: Template::Map(fields),
            returns: self.word(at.get("return"), &RETURNS, Returns::Stdout),
        });
        Some(Kind::Call(Box::new(call)))
    }

    pub(super) fn run(&mut self, at: &At<'a>) -> Option<Kind> {
        if !self.object(at, &["workflow", "container", "script", "shell", "await", "return"]) {
            return None;
        }
        for (what, kind) in PROCESSES {
            if let Some(process) = at.get(what) {
                return self.process(at, &process, kind);
            }
        }
        let awaits = self.boolean(at.get("await"), true);
        let kinds =
            [("stdout", false), ("stderr", false), ("code", false), ("all", false), ("none", true)];
        let discard = self.word(at.get("return"), &kinds, false);
        let workflow = self.required(at, "workflow", "namespace, name and version")?;
        if !self.object(&workflow, &["namespace", "name", "version", "input"]) {
            return None;
        }
        let namespace = self.required(&workflow, "namespace", "the workflow's namespace");
        let name = self.required(&workflow, "name", "the workflow's name");
        let version = workflow.get("version").and_then(|v| {
            let text = self.text(&v, "a semantic version, or latest")?;
            if text != "latest" && semver::Version::parse(text).is_err() {
                self.fault(&v, format!("`{text}` is no semantic version"), "such as '1.0.0'");
            }
            (text != "latest").then(|| text.into())
        });
        let input = workflow.get("input").map(|i| self.template(&i, scope::BODY));
        let namespace = namespace.and_then(|n| self.text(&n, "a namespace"));
        let name = name.and_then(|n| self.text(&n, "a name"));
        Some(Kind::Run(Box::new(Run {
            namespace: namespace?.into(),
            name: name?.into(),
            version,
            input,
            awaits,
            discard,
        })))
    }
}
