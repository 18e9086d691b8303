//! Tasks without an effect: for, fork, set, switch.

use super::value::scope;
use super::{At, Reader};
use crate::domain::workflow::model::{Case, Kind, List};
use crate::domain::workflow::source::Content;

impl<'a> Reader<'a> {
    pub(super) fn fork(&mut self, at: &At<'a>) -> Option<Kind> {
        if !self.object(at, &["branches", "compete"]) {
            return None;
        }
        let compete = self.boolean(at.get("compete"), false);
        let branches = self.required(at, "branches", "the tasks to run side by side")?;
        let list = self.branches(&branches)?;
        if compete && list.is_empty() {
            self.fault(&branches, "nobody competes", "name at least one branch");
        }
        Some(Kind::Fork { branches: list, compete })
    }

    /// Branches are tasks, but the flow does not go from one to the next.
    fn branches(&mut self, at: &At<'a>) -> Option<List> {
        if !matches!(at.node.content, Content::List(_)) {
            self.fault(at, "expected a list of branches", "- name: { … }");
            return None;
        }
        let items = self.named_items(at, "branch");
        Some(items.iter().map(|(name, item)| self.task(item, name, &[])).collect())
    }

    pub(super) fn for_each(&mut self, task: &At<'a>, at: &At<'a>) -> Option<Kind> {
        if !self.object(at, &["each", "in", "at"]) {
            return None;
        }
        let each = self.variable(at.get("each"), "item");
        let index = self.variable(at.get("at"), "index");
        let over = self
            .required(at, "in", "an expression that gives a list")
            .and_then(|i| self.expr(&i, scope::BODY));
        let (condition, body) = self.with_locals(&[each.clone(), index.clone()], |reader| {
            let condition = task.get("while").and_then(|w| reader.condition(&w, scope::BODY));
            let body = reader.required(task, "do", "the tasks of each iteration");
            (condition, body.and_then(|list| reader.list(&list)))
        });
        Some(Kind::For { each, at: index, over: over?, condition, body: body? })
    }

    pub(super) fn set(&mut self, at: &At<'a>) -> Option<Kind> {
        match &at.node.content {
            Content::Map(entries) if entries.is_empty() => {
                self.fault(at, "nothing is set", "name at least one property");
                None
            }
            Content::Map(_) => Some(Kind::Set(self.template(at, scope::BODY))),
            Content::Text(text) if super::value::strict(text).is_some() => {
                Some(Kind::Set(self.template(at, scope::BODY)))
            }
            _ => {
                let found = at.node.kind();
                let fix = "an object, or an expression in ${ }";
                self.fault(at, format!("expected what to set, found {found}"), fix);
                None
            }
        }
    }

    pub(super) fn switch(&mut self, at: &At<'a>, siblings: &[&str]) -> Option<Kind> {
        if !matches!(&at.node.content, Content::List(items) if !items.is_empty()) {
            self.fault(at, "expected a list of cases", "- name: { when: …, then: … }");
            return None;
        }
        let mut cases = Vec::new();
        for (name, item) in self.named_items(at, "case") {
            if !self.object(&item, &["when", "then"]) {
                continue;
            }
            let when = item.get("when").and_then(|w| self.condition(&w, scope::BODY));
            if item.get("when").is_none() && cases.iter().any(|c: &Case| c.when.is_none()) {
                let fix = "give all but one of the cases a `when`";
                self.fault(&item, "a second default case", fix);
            }
            let target = self.required(&item, "then", "where the flow goes");
            let then = self.then(target, siblings);
            cases.push(Case { name: name.into(), when, then });
        }
        Some(Kind::Switch(cases))
    }
}
