//! Slips: what is valid and does not do what its author means. They are warned of.

use super::{At, Reader};
use crate::domain::workflow::expr::{Arg, Expr, nearest};
use crate::domain::workflow::model::{Call, Kind, ReadAs, TaskMetadata};

impl<'a> Reader<'a> {
    /// Slips of one task as a whole.
    pub(super) fn warn_of_slips(&mut self, at: &At<'a>, kind: &Kind, metadata: &TaskMetadata) {
        if metadata.key.is_some()
            && !matches!(kind, Kind::Run(_))
            && let Some(key) = at.get("metadata").and_then(|metadata| metadata.get("key"))
        {
            let detail = "`key` says nothing here: it is of `run: workflow`";
            self.warn(&key, detail, "leave it out");
        }
        match kind {
            Kind::Call(call) => self.warn_of_unsafe(at, call, metadata),
            Kind::Listen(listen) if listen.read == ReadAs::Data => self.warn_of_data(at),
            _ => {}
        }
    }

    /// A call that must not be repeated, and of which nobody can be asked whether it was done.
    fn warn_of_unsafe(&mut self, at: &At<'a>, call: &Call, metadata: &TaskMetadata) {
        let Call::Http(http) = call else { return };
        let repeats = matches!(&*http.method, "POST" | "PATCH");
        if !repeats || metadata.idempotent || metadata.reconcile.is_some() {
            return;
        }
        let method = at.get("with").and_then(|with| with.get("method"));
        let detail = format!(
            "a {} whose answer is lost is not repeated: the case waits for a person",
            http.method
        );
        let fix = "add metadata.reconcile, which asks whether it was done, or idempotent: true \
                   where the service knows the Idempotency-Key";
        self.warn(&method.unwrap_or_else(|| at.clone()), detail, fix);
    }

    /// `$authorization` in what is kept: whoever reads the case reads the credentials.
    pub(super) fn warn_of_stored_credentials(&mut self, at: &At<'a>, expr: &Expr) {
        if expr.uses(Arg::Authorization)
            && (at.pointer.contains("/output/") || at.pointer.contains("/export/"))
        {
            let detail = "the credentials become part of the case's data and are stored";
            self.warn(at, detail, "leave `$authorization` out of what is kept");
        }
    }

    /// `.[0].data` over what a `listen` gives, which is the data already.
    fn warn_of_data(&mut self, at: &At<'a>) {
        for part in ["output", "export"] {
            let filter = at.get(part).and_then(|output| output.get("as"));
            let Some(filter) = filter else { continue };
            if filter.as_text().is_some_and(|text| text.contains("].data")) {
                let detail = "a listen gives the list of the events' data, not of the events";
                let fix = "leave `.data` out, or add read: envelope";
                self.warn(&filter, detail, fix);
            }
        }
    }

    /// Names of the metadata that are nearly ours; all others are the author's own.
    pub(super) fn warn_of_near_misses(&mut self, at: &At<'a>, ours: &[&'static str]) {
        for entry in at.entries() {
            let key = entry.key.as_str();
            if ours.contains(&key) {
                continue;
            }
            let same = ours.iter().copied().find(|name| name.eq_ignore_ascii_case(key));
            let Some(name) = same.or_else(|| nearest(key, ours.iter().copied())) else { continue };
            let detail = format!("`{key}` is nothing that is acted upon");
            let fix = format!("did you mean `{name}`?");
            self.warn(&at.step(key, &entry.value), detail, fix);
        }
    }

    /// `expect: .id`, which is the text `.id` and nothing that an event will ever hold.
    pub(super) fn warn_of_constant(&mut self, expect: Option<&At<'a>>) {
        let Some(at) = expect else { return };
        if let Some(text) = at.as_text()
            && (text.starts_with('.') || text.starts_with('$') && !text.starts_with("${"))
        {
            let detail = format!("`{text}` is a constant here: the event must hold this very text");
            self.warn(at, detail, format!("write ${{ {text} }}"));
        }
    }

    /// Secrets that are used without being listed in `use.secrets`.
    pub(super) fn warn_of_secrets(&mut self, at: &At<'a>, expr: &Expr) {
        let used = expr.used.iter().find(|used| used.is_arg(Arg::Secrets));
        for name in used.and_then(|used| used.fields.as_deref()).unwrap_or_default() {
            let listed = self.reusable.as_ref().and_then(|r| r.get("secrets"));
            let items = listed.iter().flat_map(At::items);
            if items.into_iter().any(|item| item.as_text() == Some(name)) {
                continue;
            }
            let there = match (self.around.has_secret)(name) {
                true => "",
                false => ", and there is no such secret",
            };
            let detail = format!("the secret `{name}` is not listed in `use.secrets`{there}");
            self.warn(at, detail, "list every secret that the workflow uses");
        }
    }
}
