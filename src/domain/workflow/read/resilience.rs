//! try, catch, retry, raise and timeouts.

use super::value::scope;
use super::{At, Reader};
use crate::domain::time::Duration;
use crate::domain::workflow::expr::Arg;
use crate::domain::workflow::model::{
    Backoff, Catch, ErrorFilter, Kind, RaisedError, RetryPolicy, Span,
};
use crate::domain::workflow::source::Content;

impl<'a> Reader<'a> {
    pub(super) fn try_catch(&mut self, task: &At<'a>, at: &At<'a>) -> Option<Kind> {
        let body = self.list(at);
        let catch = self.required(task, "catch", "which errors, and what to do with them")?;
        if catch.entries().is_empty() {
            let detail = "every error of these tasks is swallowed, and nobody will know of it";
            self.warn(&catch, detail, "name `errors`, a `retry`, or what to `do`");
        }
        let catch = self.catch(&catch);
        Some(Kind::Try { body: body?, catch: Box::new(catch?) })
    }

    fn catch(&mut self, at: &At<'a>) -> Option<Catch> {
        if !self.object(at, &["errors", "as", "when", "exceptWhen", "retry", "do"]) {
            return None;
        }
        let filter = at.get("errors").and_then(|errors| {
            self.object(&errors, &["with"]);
            errors.get("with").and_then(|with| self.error_filter(&with))
        });
        let variable = self.variable(at.get("as"), "error");
        let inside = self.with_locals(std::slice::from_ref(&variable), |reader| {
            let when = at.get("when").and_then(|w| reader.condition(&w, scope::BODY));
            let except_when = at.get("exceptWhen").and_then(|w| reader.condition(&w, scope::BODY));
            let retry = at.get("retry").and_then(|r| reader.retry(&r));
            let body = at.get("do").map(|list| reader.list(&list));
            (when, except_when, retry, body)
        });
        let (when, except_when, retry, body) = inside;
        let body = match body {
            Some(None) => return None,
            Some(body) => body,
            None => None,
        };
        Some(Catch { filter, variable, when, except_when, retry, body })
    }

    fn error_filter(&mut self, at: &At<'a>) -> Option<ErrorFilter> {
        const KNOWN: [&str; 6] = ["type", "status", "instance", "title", "detail", "details"];
        if !self.object(at, &KNOWN) {
            return None;
        }
        let mut text = |key: &str| {
            at.get(key).and_then(|at| self.text(&at, "the value to look for").map(str::to_owned))
        };
        let (kind, instance, title) = (text("type"), text("instance"), text("title"));
        let detail = text("details").or_else(|| text("detail"));
        let status = at.get("status").and_then(|s| self.integer(&s, 0, 999));
        Some(ErrorFilter { kind, status, instance, title, detail })
    }

    fn retry(&mut self, at: &At<'a>) -> Option<RetryPolicy> {
        if let Content::Text(name) = &at.node.content {
            let policy = self.part(at, "retries", name)?;
            return self.retry_policy(&policy);
        }
        self.retry_policy(at)
    }

    pub(super) fn retry_policy(&mut self, at: &At<'a>) -> Option<RetryPolicy> {
        const KNOWN: [&str; 6] = ["when", "exceptWhen", "delay", "backoff", "limit", "jitter"];
        if !self.object(at, &KNOWN) {
            return None;
        }
        let mut policy = RetryPolicy {
            when: at.get("when").and_then(|w| self.condition(&w, scope::BODY)),
            except_when: at.get("exceptWhen").and_then(|w| self.condition(&w, scope::BODY)),
            delay: at.get("delay").and_then(|d| self.span(&d, scope::BODY)),
            ..RetryPolicy::default()
        };
        policy.backoff = at.get("backoff").map_or(Backoff::Constant, |b| self.backoff(&b));
        if at.get("limit").is_none() && at.get("delay").is_none() {
            let detail = "this retries at once and for ever: there is no `limit` and no `delay`";
            self.warn(at, detail, "add limit: {attempt: {count: 5}}, or a delay");
        }
        if let Some(limit) = at.get("limit") {
            self.object(&limit, &["attempt", "duration"]);
            policy.duration = limit.get("duration").and_then(|d| self.span(&d, scope::BODY));
            if let Some(attempt) = limit.get("attempt") {
                self.object(&attempt, &["count", "duration"]);
                let count = attempt.get("count");
                let count = count.and_then(|c| self.integer(&c, 0, i64::from(u32::MAX)));
                policy.attempts = count.map(|n| n as u32);
                policy.attempt_duration =
                    attempt.get("duration").and_then(|d| self.span(&d, scope::BODY));
            }
        }
        if let Some(jitter) = at.get("jitter") {
            self.object(&jitter, &["from", "to"]);
            let from = self.required(&jitter, "from", "the least to add");
            let to = self.required(&jitter, "to", "the most to add");
            let from = from.and_then(|f| self.span(&f, scope::BODY));
            policy.jitter = from.zip(to.and_then(|t| self.span(&t, scope::BODY)));
        }
        Some(policy)
    }

    fn backoff(&mut self, at: &At<'a>) -> Backoff {
        const KINDS: [&str; 3] = ["constant", "linear", "exponential"];
        if !self.object(at, &KINDS) {
            return Backoff::Constant;
        }
        let present: Vec<&str> =
            KINDS.iter().copied().filter(|kind| at.get(kind).is_some()).collect();
        let [kind] = present[..] else {
            self.fault(
                at,
                "a backoff is of one kind",
                "constant: {}, linear: {} or exponential: {}",
            );
            return Backoff::Constant;
        };
        let settings = at.get(kind).filter(|s| !matches!(s.node.content, Content::Null));
        let get = |key: &str| settings.as_ref().and_then(|settings| settings.get(key));
        let known: &[&str] = match kind {
            "linear" => &["increment"],
            "exponential" => &["factor"],
            _ => &[],
        };
        if let Some(settings) = &settings {
            self.object(settings, known);
        }
        match kind {
            "linear" => {
                let increment = get("increment").and_then(|i| self.duration(&i));
                Backoff::Linear { increment: increment.map(Duration::nominal_millis) }
            }
            "exponential" => {
                let factor = get("factor").map_or(2.0, |at| self.factor(&at));
                Backoff::Exponential { factor }
            }
            _ => Backoff::Constant,
        }
    }

    /// How many times longer each delay is than the one before.
    fn factor(&mut self, at: &At<'a>) -> f64 {
        let factor = match &at.node.content {
            Content::Number(number) => number.as_f64(),
            _ => None,
        };
        let factor = factor.filter(|factor| (1.0..=100.0).contains(factor));
        if factor.is_none() {
            self.fault(at, "this is no factor of a backoff", "a number from 1 to 100");
        }
        factor.unwrap_or(2.0)
    }

    pub(super) fn raise(&mut self, at: &At<'a>) -> Option<Kind> {
        if !self.object(at, &["error"]) {
            return None;
        }
        let error = self.required(at, "error", "an error, or the name of one in use.errors")?;
        let error = match &error.node.content {
            Content::Text(name) => self.part(&error, "errors", name)?,
            _ => error,
        };
        self.raised_error(&error).map(|error| Kind::Raise(Box::new(error)))
    }

    pub(super) fn raised_error(&mut self, at: &At<'a>) -> Option<RaisedError> {
        if !self.object(at, &["type", "status", "instance", "title", "detail"]) {
            return None;
        }
        let kind = self.required(at, "type", "a URI that names the kind of error");
        let status = self.required(at, "status", "a status such as 400");
        let mut text = |key: &str| {
            at.get(key).map(|value| {
                self.text(&value, "a text");
                self.template(&value, scope::BODY)
            })
        };
        let (title, detail, instance) = (text("title"), text("detail"), text("instance"));
        let kind = kind.map(|kind| {
            self.text(&kind, "a URI");
            self.template(&kind, scope::BODY)
        });
        let status = status.and_then(|s| self.integer(&s, 0, 999));
        Some(RaisedError { kind: kind?, status: status?, title, detail, instance })
    }

    /// A timeout, or the name of one in `use.timeouts`.
    pub(super) fn timeout(&mut self, at: &At<'a>, args: &'static [Arg]) -> Option<Span> {
        if let Content::Text(name) = &at.node.content {
            let timeout = self.part(at, "timeouts", name)?;
            return self.timeout(&timeout, args);
        }
        if !self.object(at, &["after"]) {
            return None;
        }
        let after = self.required(at, "after", "a duration")?;
        self.span(&after, args)
    }
}
