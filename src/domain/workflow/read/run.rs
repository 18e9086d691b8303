//! run: other workflows; containers, scripts and shells are not run yet.

use super::value::scope;
use super::{At, Reader};
use crate::domain::workflow::model::{Kind, Run};

impl<'a> Reader<'a> {
    pub(super) fn run(&mut self, at: &At<'a>) -> Option<Kind> {
        if !self.object(at, &["workflow", "container", "script", "shell", "await", "return"]) {
            return None;
        }
        for what in ["container", "script", "shell"] {
            if let Some(process) = at.get(what) {
                self.unsupported(&process, &format!("`run: {what}`"));
                return None;
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
