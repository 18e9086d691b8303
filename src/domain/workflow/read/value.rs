//! Expressions, templates, durations and addresses, wherever they stand in a definition.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{At, Reader};
use crate::domain::time::Duration;
use crate::domain::workflow::expr::{Arg, Expr, Scope};
use crate::domain::workflow::fault::Fault;
use crate::domain::workflow::location::Location;
use crate::domain::workflow::model::{Span, Template, Uri, UriPart};
use crate::domain::workflow::schema::Schema;
use crate::domain::workflow::source::Content;

/// Which of the DSL's arguments exist at which place of a definition.
pub mod scope {
    use super::Arg;

    pub const WORKFLOW_INPUT: &[Arg] = &[Arg::Workflow, Arg::Runtime];
    pub const WORKFLOW_OUTPUT: &[Arg] = &[Arg::Context, Arg::Workflow, Arg::Runtime];
    /// `if` and `input.from`, which see the raw input as `.`.
    pub const BEFORE: &[Arg] = &[Arg::Context, Arg::Task, Arg::Workflow, Arg::Runtime];
    pub const BODY: &[Arg] = &[Arg::Context, Arg::Input, Arg::Task, Arg::Workflow, Arg::Runtime];
    /// Arguments of calls, which alone may hold secrets: they are never stored.
    pub const CALL: &[Arg] = &[
        Arg::Context,
        Arg::Input,
        Arg::Task,
        Arg::Workflow,
        Arg::Runtime,
        Arg::Secrets,
        Arg::Authorization,
    ];
    pub const AUTHENTICATION: &[Arg] =
        &[Arg::Context, Arg::Input, Arg::Task, Arg::Workflow, Arg::Runtime, Arg::Secrets];
    pub const OUTPUT: &[Arg] =
        &[Arg::Context, Arg::Input, Arg::Task, Arg::Workflow, Arg::Runtime, Arg::Authorization];
    pub const EXPORT: &[Arg] = &[
        Arg::Context,
        Arg::Input,
        Arg::Output,
        Arg::Task,
        Arg::Workflow,
        Arg::Runtime,
        Arg::Authorization,
    ];
    pub const STATUS: &[Arg] =
        &[Arg::Context, Arg::Input, Arg::Output, Arg::Task, Arg::Workflow, Arg::Runtime];
}

/// What is wrong with `order ${ .id }` and with `${ .id`, which the DSL takes for plain texts.
const INSIDE: &str = "`${ }` works only around the whole text";

/// What would be right instead.
const WHOLE: &str = "make the whole text one expression, such as ${ \"order \\(.id)\" }";

/// The expression inside of `${ … }`, if the whole text is one.
pub fn strict(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("${")?.strip_suffix('}')?;
    (!inner.trim().is_empty()).then(|| inner.trim())
}

impl<'a> Reader<'a> {
    /// An expression of a field that the schema calls one: bare jq, or inside of `${ … }`.
    pub(super) fn expr(&mut self, at: &At<'a>, args: &'static [Arg]) -> Option<Expr> {
        let text = self.text(at, "a jq expression")?;
        self.compile_expr(at, strict(text).unwrap_or(text), args)
    }

    /// An expression that decides; one that sets a value would always decide the same way.
    pub(super) fn condition(&mut self, at: &At<'a>, args: &'static [Arg]) -> Option<Expr> {
        let expr = self.expr(at, args)?;
        if expr.assigns() {
            let detail = "`=` sets a value, so that this condition holds whatever the data is";
            self.fault(at, detail, "compare with `==`");
        }
        Some(expr)
    }

    fn compile_expr(&mut self, at: &At<'a>, source: &str, args: &'static [Arg]) -> Option<Expr> {
        let scope = Scope { args, locals: self.locals.clone() };
        match Expr::compile(source, &scope) {
            Ok(expr) => {
                self.warn_of_secrets(at, &expr);
                self.warn_of_stored_credentials(at, &expr);
                Some(expr)
            }
            Err(_) if source.contains("${") => {
                self.fault(at, INSIDE, WHOLE);
                None
            }
            Err(no) => {
                let place = inside(at, source, no.offset);
                let fix = match no.detail.contains("`$secrets`") {
                    true => "use secrets in call arguments and authentication only".to_owned(),
                    false => no.fix,
                };
                self.faults.push(Fault::at(place, &at.pointer, no.detail, fix));
                None
            }
        }
    }

    /// A value of which any string may be `${ … }`.
    pub(super) fn template(&mut self, at: &At<'a>, args: &'static [Arg]) -> Template {
        match &at.node.content {
            Content::Text(text) => match strict(text) {
                Some(source) => match self.compile_expr(at, source, args) {
                    Some(expr) => Template::Expr(expr),
                    None => Template::Literal(Arc::new(Json::Null)),
                },
                None => {
                    if text.contains("${") {
                        self.fault(at, INSIDE, WHOLE);
                    }
                    self.literal(at)
                }
            },
            Content::List(_) => {
                let items = at.items().iter().map(|item| self.template(item, args)).collect();
                folded(Template::List(items), at)
            }
            Content::Map(_) => {
                let mut fields = Vec::new();
                for entry in at.entries() {
                    let value = self.template(&at.step(&entry.key, &entry.value), args);
                    fields.push((entry.key.clone(), value));
                }
                folded(Template::Map(fields), at)
            }
            Content::Null | Content::Bool(_) | Content::Number(_) => {
                Template::Literal(Arc::new(at.node.to_json()))
            }
        }
    }

    /// A value in which `${` is a text like any other: templates of mails, scripts.
    pub(super) fn literal(&mut self, at: &At<'a>) -> Template {
        Template::Literal(Arc::new(at.node.to_json()))
    }

    /// A transformation (`from`, `as`, `set`): a string is an expression, an object a template.
    pub(super) fn transformation(&mut self, at: &At<'a>, args: &'static [Arg]) -> Option<Template> {
        match &at.node.content {
            Content::Text(_) => self.expr(at, args).map(Template::Expr),
            Content::Map(_) => Some(self.template(at, args)),
            _ => {
                let found = at.node.kind();
                let fix = "a jq expression or an object";
                self.fault(at, format!("expected an expression, found {found}"), fix);
                None
            }
        }
    }

    /// A duration: an object, an ISO 8601 text, or `${ … }` that yields one.
    pub(super) fn span(&mut self, at: &At<'a>, args: &'static [Arg]) -> Option<Span> {
        if let Content::Text(text) = &at.node.content
            && let Some(source) = strict(text)
        {
            return self.compile_expr(at, source, args).map(Span::Expr);
        }
        self.duration(at).map(Span::Fixed)
    }

    /// A duration that no expression may give.
    pub(super) fn duration(&mut self, at: &At<'a>) -> Option<Duration> {
        const UNITS: [(&str, i64); 5] = [
            ("days", 86_400_000),
            ("hours", 3_600_000),
            ("minutes", 60_000),
            ("seconds", 1000),
            ("milliseconds", 1),
        ];
        /// About a thousand years, in the smallest unit; more is a slip of the pen.
        const MAX: i64 = 31_556_952_000_000;
        match &at.node.content {
            Content::Text(text) => {
                let parsed = text.parse();
                if parsed.is_err() {
                    let detail = format!("`{text}` is no ISO 8601 duration");
                    self.fault(at, detail, "write it like PT30S, P1DT12H or { seconds: 30 }");
                }
                parsed.ok()
            }
            Content::Map(entries) => {
                if !self.object(at, &UNITS.map(|(unit, _)| unit)) {
                    return None;
                }
                if entries.is_empty() {
                    self.fault(
                        at,
                        "the duration is empty",
                        "name days, hours, minutes, seconds or milliseconds",
                    );
                }
                let mut millis = 0i64;
                for (unit, factor) in UNITS {
                    if let Some(amount) = at.get(unit) {
                        millis += self.integer(&amount, 0, MAX / factor)? * factor;
                    }
                }
                Some(Duration::millis(millis))
            }
            _ => {
                let found = at.node.kind();
                let fix = "write it like PT30S or { seconds: 30 }";
                self.fault(at, format!("expected a duration, found {found}"), fix);
                None
            }
        }
    }

    /// An address: a URI template, or an expression.
    pub(super) fn uri(&mut self, at: &At<'a>, args: &'static [Arg]) -> Option<Uri> {
        let text = self.text(at, "an address such as http://host/path")?;
        if let Some(source) = strict(text) {
            return self.compile_expr(at, source, args).map(Uri::Expr);
        }
        if text.contains("${") {
            let fix = "write a variable like {id}, or make the whole address an expression: \
                       ${ \"http://host/\\(.id)\" }";
            self.fault(at, "`${ }` does not work inside of an address", fix);
            return None;
        }
        let parts = match uri_parts(text) {
            Ok(parts) => parts,
            Err(detail) => {
                self.fault(at, detail, "write variables like {name}");
                return None;
            }
        };
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("http" | "https")) {
            let detail = format!("`{text}` is no http or https address");
            self.fault(at, detail, "write http://host/path or an expression in ${ }");
            return None;
        }
        if let Some(host) = literal_host(&parts) {
            if host.is_empty() {
                self.fault(at, format!("`{text}` names no host"), "write http://host/path");
                return None;
            }
            if !(self.around.serves)(&host) {
                let detail = format!("no service is configured for the host `{host}`");
                let fix = "name it in a service's `hosts` to give it a breaker and patience";
                self.warn(at, detail, fix);
            }
            self.hosts.insert(host);
        }
        Some(Uri::Template(parts))
    }

    /// A schema, inline; remote ones are not fetched.
    pub(super) fn schema(&mut self, at: &At<'a>) -> Option<Schema> {
        if !self.object(at, &["format", "document", "resource"]) {
            return None;
        }
        if let Some(resource) = at.get("resource") {
            self.unsupported(&resource, "a remote schema");
            return None;
        }
        if let Some(format) = at.get("format") {
            let name = self.text(&format, "json")?;
            if name != "json" && !name.starts_with("json:") {
                self.unsupported(&format, &format!("the schema format `{name}`"));
                return None;
            }
        }
        let document = self.required(at, "document", "the JSON Schema")?;
        match Schema::compile(&document.node.to_json()) {
            Ok(schema) => Some(schema),
            Err(detail) => {
                let detail = format!("this is no JSON Schema that can be used: {detail}");
                self.fault(&document, detail, "mend the schema; references stay inside of it");
                None
            }
        }
    }
}

/// Where in the text an offset into an expression stands, for expressions on one line.
fn inside(at: &At<'_>, source: &str, offset: usize) -> Location {
    let place = at.node.place;
    let Some(text) = at.as_text().filter(|text| !text.contains('\n')) else {
        return place;
    };
    let start = text.find(source).unwrap_or(0);
    let before = text.get(..start + offset).unwrap_or_default();
    Location { line: place.line, column: place.column + before.chars().count() }
}

/// A template without expressions is a literal.
fn folded(template: Template, at: &At<'_>) -> Template {
    let literal = match &template {
        Template::List(items) => items.iter().all(is_literal),
        Template::Map(fields) => fields.iter().all(|(_, t)| is_literal(t)),
        Template::Literal(_) | Template::Expr(_) => false,
    };
    if literal { Template::Literal(Arc::new(at.node.to_json())) } else { template }
}

fn is_literal(template: &Template) -> bool {
    matches!(template, Template::Literal(_))
}

/// Splits a URI template (RFC 6570, simple expansion only).
pub fn uri_parts(text: &str) -> Result<Vec<UriPart>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        if rest.as_bytes()[open] == b'}' {
            return Err("a `}` without its `{`".to_owned());
        }
        let close = rest[open..].find('}').ok_or("a `{` without its `}`")? + open;
        let name = &rest[open + 1..close];
        if name.is_empty() || name.contains(['{', '?', '+', '#', '*', '/', ';', '&', ',']) {
            return Err(format!("`{{{name}}}` is no simple variable"));
        }
        if open > 0 {
            parts.push(UriPart::Text(rest[..open].to_owned()));
        }
        parts.push(UriPart::Variable(name.to_owned()));
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(UriPart::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// The host, where no variable is part of it; lower case, without port.
fn literal_host(parts: &[UriPart]) -> Option<String> {
    let UriPart::Text(first) = parts.first()? else {
        return None;
    };
    let (_, rest) = first.split_once("://")?;
    let end = rest.find(['/', '?', '#']);
    if end.is_none() && parts.len() > 1 {
        return None;
    }
    let authority = &rest[..end.unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    Some(host.to_ascii_lowercase())
}
