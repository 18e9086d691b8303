//! emit and listen.

use super::value::{scope, strict};
use super::{At, Reader};
use crate::domain::workflow::expr::Arg;
use crate::domain::workflow::model::{
    Correlation, Emit, EventFilter, Kind, Listen, Matcher, ReadAs, Strategy,
};
use crate::domain::workflow::source::Content;

impl<'a> Reader<'a> {
    pub(super) fn emit(&mut self, at: &At<'a>) -> Option<Kind> {
        if !self.object(at, &["event"]) {
            return None;
        }
        let event = self.required(at, "event", "the event's attributes in `with`")?;
        if !self.object(&event, &["with"]) {
            return None;
        }
        let with = self.required(&event, "with", "source, type and data")?;
        if !matches!(with.node.content, Content::Map(_)) {
            self.fault(&with, "expected the event's attributes", "source, type and data");
            return None;
        }
        self.required(&with, "source", "a URI that names who emits");
        self.required(&with, "type", "what happened, such as com.example.order.placed.v1");
        let mut attributes = Vec::new();
        for entry in with.entries() {
            let value = with.step(&entry.key, &entry.value);
            if entry.key == "specversion" || !is_attribute(&entry.key) {
                let detail = format!("`{}` is no attribute of a CloudEvent", entry.key);
                self.fault(&value, detail, "lower-case letters and digits, at most 20");
                continue;
            }
            if entry.key != "data" {
                self.text(&value, "a text or an expression in ${ }");
            }
            attributes.push((entry.key.clone(), self.template(&value, scope::BODY)));
        }
        Some(Kind::Emit(Box::new(Emit { attributes })))
    }

    pub(super) fn listen(&mut self, task: &At<'a>, at: &At<'a>) -> Option<Kind> {
        if let Some(foreach) = task.get("foreach") {
            self.unsupported(&foreach, "`listen` with `foreach`");
        }
        if !self.object(at, &["to", "read"]) {
            return None;
        }
        let words = [("data", ReadAs::Data), ("envelope", ReadAs::Envelope), ("raw", ReadAs::Raw)];
        let read = self.word(at.get("read"), &words, ReadAs::Data);
        let to = self.required(at, "to", "one, any or all")?;
        if let Some(until) = to.get("until") {
            self.unsupported(&until, "`listen` with `until`");
        }
        let (strategy, filters) = self.strategy(&to, scope::BODY)?;
        Some(Kind::Listen(Box::new(Listen { strategy, filters, read })))
    }

    /// Which events are waited for, and how many of them; expressions see `args`.
    pub(super) fn strategy(
        &mut self,
        to: &At<'a>,
        args: &'static [Arg],
    ) -> Option<(Strategy, Vec<EventFilter>)> {
        if !self.object(to, &["one", "any", "all", "until"]) {
            return None;
        }
        let (strategy, filters) = match (to.get("one"), to.get("any"), to.get("all")) {
            (Some(one), None, None) => (Strategy::One, vec![one]),
            (None, Some(any), None) => (Strategy::Any, self.filters_of(&any)?),
            (None, None, Some(all)) => (Strategy::All, self.filters_of(&all)?),
            _ => {
                self.fault(to, "what is listened to is not clear", "name one, any or all");
                return None;
            }
        };
        if strategy == Strategy::All && filters.is_empty() {
            self.fault(to, "all of nothing is listened to", "name at least one event");
        }
        Some((strategy, filters.iter().filter_map(|f| self.event_filter(f, args)).collect()))
    }

    fn filters_of(&mut self, at: &At<'a>) -> Option<Vec<At<'a>>> {
        if !matches!(at.node.content, Content::List(_)) {
            self.fault(at, "expected a list of events", "- with: { type: … }");
            return None;
        }
        Some(at.items())
    }

    fn event_filter(&mut self, at: &At<'a>, args: &'static [Arg]) -> Option<EventFilter> {
        if !self.object(at, &["with", "correlate"]) {
            return None;
        }
        let with = self.required(at, "with", "what the event must look like")?;
        if !matches!(&with.node.content, Content::Map(entries) if !entries.is_empty()) {
            self.fault(&with, "the event may look like anything", "name at least its type");
            return None;
        }
        let mut filter = EventFilter::default();
        for entry in with.entries() {
            let value = with.step(&entry.key, &entry.value);
            match (entry.key.as_str(), value.as_text()) {
                ("type", Some(text)) if strict(text).is_none() => {
                    filter.event_type = Some(text.into());
                }
                (_, Some(text)) if strict(text).is_some() => {
                    if let Some(expr) = self.expr(&value, args) {
                        filter.attributes.push((entry.key.clone(), Matcher::Predicate(expr)));
                    }
                }
                _ => {
                    let literal = Matcher::Literal(value.node.to_json());
                    filter.attributes.push((entry.key.clone(), literal));
                }
            }
        }
        if let Some(correlate) = at.get("correlate") {
            filter.correlate = self.correlations(&correlate, args);
        }
        Some(filter)
    }

    fn correlations(&mut self, at: &At<'a>, args: &'static [Arg]) -> Vec<Correlation> {
        if !matches!(at.node.content, Content::Map(_)) {
            self.fault(at, "expected correlations by name", "name: { from: …, expect: … }");
            return Vec::new();
        }
        let mut all = Vec::new();
        for entry in at.entries() {
            let value = at.step(&entry.key, &entry.value);
            if !self.object(&value, &["from", "expect"]) {
                continue;
            }
            let from = self.required(&value, "from", "an expression over the event");
            // nothing of the case is known where events are looked up by this value
            let locals = std::mem::take(&mut self.locals);
            let from = from.and_then(|f| self.expr(&f, &[]));
            self.locals = locals;
            let expect = value.get("expect");
            self.warn_of_constant(expect.as_ref());
            let expect = expect.map(|e| self.template(&e, args));
            if let Some(from) = from {
                all.push(Correlation { name: entry.key.as_str().into(), from, expect });
            }
        }
        all
    }
}

fn is_attribute(name: &str) -> bool {
    (1..=20).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}
