//! call: HTTP, OpenAPI, our built-in functions, and the definition's own.

use super::value::{scope, strict};
use super::{At, Reader, list_of};
use crate::domain::staff::plan::wanted::{Booked, Performed};
use crate::domain::work::queue::PDF;
use crate::domain::work::wanted::{ARGUMENTS, check};
use crate::domain::workflow::expr::nearest;
use crate::domain::workflow::model::{
    Auth, Call, Endpoint, HttpCall, Kind, OpenApiCall, OutputFormat, Template, Uri,
};
use crate::domain::workflow::source::Content;

/// Functions of the DSL and of ours that are known by name but do not run yet.
const NOT_YET: [&str; 4] = ["asyncapi", "grpc", "a2a", "mcp"];

/// Functions that run.
const BUILT_IN: [&str; 8] = ["http", "openapi", "email", "echo", "book", "perform", "work", "pdf"];

const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

const OUTPUTS: [(&str, OutputFormat); 3] = [
    ("content", OutputFormat::Content),
    ("raw", OutputFormat::Raw),
    ("response", OutputFormat::Response),
];

impl<'a> Reader<'a> {
    pub(super) fn call(&mut self, task: &At<'a>, at: &At<'a>, reference: &str) -> Option<Kind> {
        let name = self.text(at, "the name of a function")?;
        let own = self.parts("functions").into_iter().find(|(known, _)| *known == name);
        if let Some((_, function)) = own {
            return self.own_function(task, at, name, &function, reference);
        }
        if NOT_YET.contains(&name) {
            self.unsupported(at, &format!("`call: {name}`"));
            return None;
        }
        if name.contains("://") || name.contains('@') {
            self.unsupported(at, "a catalogued function");
            return None;
        }
        if !BUILT_IN.contains(&name) {
            let own: Vec<&str> = self.parts("functions").iter().map(|(name, _)| *name).collect();
            let known: Vec<&str> = BUILT_IN.iter().copied().chain(own).collect();
            let fix = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => list_of(&known),
            };
            self.fault(at, format!("there is no function `{name}`"), fix);
            return None;
        }
        match name {
            "book" => self.book(task),
            "perform" => self.perform(task),
            name => self.built_in(task, name).map(|call| Kind::Call(Box::new(call))),
        }
    }

    /// The question of `metadata.reconcile`: a call that only reads.
    pub(super) fn reconciling_call(&mut self, task: &At<'a>, at: &At<'a>) -> Option<Call> {
        match self.text(at, "http or openapi")? {
            name @ ("http" | "openapi") => self.built_in(task, name),
            name => {
                self.fault(at, format!("`{name}` cannot be asked"), "http or openapi");
                None
            }
        }
    }

    fn built_in(&mut self, task: &At<'a>, name: &str) -> Option<Call> {
        match name {
            "echo" => Some(Call::Echo(task.get("with").map(|w| self.template(&w, scope::BODY)))),
            "email" => {
                let with = self.required(task, "with", "to, subject and text")?;
                self.email(&with).map(Call::Email)
            }
            "work" => {
                let with = self.required(task, "with", "queue and input")?;
                self.work(&with).map(Call::Work)
            }
            "pdf" => {
                let with = self.required(task, "with", "template, data and name")?;
                self.pdf(&with).map(Call::Pdf)
            }
            "http" => {
                let with = self.required(task, "with", "method and endpoint")?;
                self.http(&with).map(Call::Http)
            }
            _ => {
                let with = self.required(task, "with", "document and operationId")?;
                self.openapi(&with).map(Call::OpenApi)
            }
        }
    }

    /// The arguments of a job. A worker has its own secrets: none is handed to it.
    fn work(&mut self, with: &At<'a>) -> Option<Template> {
        if with.as_text().and_then(strict).is_none() {
            if !self.object(with, &ARGUMENTS) {
                return None;
            }
            self.required(with, "queue", "the name of a queue");
        }
        let template = self.template(with, scope::BODY);
        let fields: Vec<(String, Template)> = match &template {
            Template::Map(fields) => fields.clone(),
            Template::Literal(json) => json
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), Template::Literal(value.clone().into())))
                .collect(),
            Template::Expr(_) | Template::List(_) => Vec::new(),
        };
        for (name, value) in fields {
            let Template::Literal(json) = value else { continue };
            if let Err(wrong) = check(&name, &json)
                && let Some(at) = with.get(&name)
            {
                self.refuse(&at, wrong, "mend the argument");
            } else if name == "queue"
                && let Some(queue) = json.as_str()
            {
                self.queues.insert(queue.into());
            }
        }
        Some(template)
    }

    /// The arguments of a document. Its worker has no secrets.
    fn pdf(&mut self, with: &At<'a>) -> Option<Template> {
        if with.as_text().and_then(strict).is_none() {
            if !self.object(with, &["template", "data", "name"]) {
                return None;
            }
            self.required(with, "template", "the name of a template");
            self.required(with, "name", "the name of the document");
        }
        for name in ["template", "name"] {
            if let Some(at) = with.get(name) {
                self.text(&at, "a text, or an expression in ${ }");
            }
        }
        self.queues.insert(PDF.into());
        Some(self.template(with, scope::BODY))
    }

    fn book(&mut self, task: &At<'a>) -> Option<Kind> {
        let with = self.required(task, "with", "skill and minutes, or tasks")?;
        let template = self.template(&with, scope::BODY);
        if let Template::Literal(json) = &template
            && let Err(wrong) = Booked::read(json)
        {
            self.refuse(&with, wrong, "skill and minutes, or a list of them as `tasks`");
        }
        Some(Kind::Book(template))
    }

    fn perform(&mut self, task: &At<'a>) -> Option<Kind> {
        let with = self.required(task, "with", "plan, booking or skill")?;
        let template = self.template(&with, scope::BODY);
        if let Template::Literal(json) = &template
            && let Err(wrong) = Performed::read(json)
        {
            self.refuse(&with, wrong, "one of plan, booking and skill");
        }
        Some(Kind::Perform(template))
    }

    /// A function of `use.functions`: its task becomes a subtask of the call.
    fn own_function(
        &mut self,
        task: &At<'a>,
        at: &At<'a>,
        name: &'a str,
        function: &At<'a>,
        reference: &str,
    ) -> Option<Kind> {
        if self.functions.iter().any(|open| open == name) {
            self.fault(at, format!("the function `{name}` calls itself"), "use a loop");
            return None;
        }
        let arguments = task.get("with").map(|w| self.template(&w, scope::BODY));
        self.functions.push(name.to_owned());
        self.called.insert(name.to_owned());
        // a function sees its arguments, not the variables of whoever calls it
        let locals = std::mem::take(&mut self.locals);
        let reference = format!("{reference}/call/{}", super::list::escaped(name));
        let body = self.task_at(function, name, &[], reference);
        self.locals = locals;
        self.functions.pop();
        Some(Kind::Function { arguments, body })
    }

    /// Reads the functions that nobody calls, for their faults; they get no lasting numbers.
    pub(super) fn uncalled_functions(&mut self) {
        let numbered = self.tasks.len();
        for (name, function) in self.parts("functions") {
            if !self.called.contains(name) {
                self.functions.push(name.to_owned());
                self.task(&function, name, &[]);
                self.functions.pop();
            }
        }
        self.tasks.truncate(numbered);
    }

    fn http(&mut self, at: &At<'a>) -> Option<HttpCall> {
        const KNOWN: [&str; 7] =
            ["method", "endpoint", "headers", "body", "query", "output", "redirect"];
        if !self.object(at, &KNOWN) {
            return None;
        }
        let method = self.required(at, "method", "get, post, put, patch, delete …");
        let method = method.and_then(|m| {
            let text = self.text(&m, "an HTTP method")?;
            let lower = text.to_ascii_lowercase();
            let fits = METHODS.contains(&&*lower);
            if !fits {
                let fix = match nearest(&lower, METHODS.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => list_of(&METHODS),
                };
                self.fault(&m, format!("`{text}` is no HTTP method"), fix);
            }
            fits.then(|| text.to_ascii_uppercase().into())
        });
        let endpoint = self.required(at, "endpoint", "the address to call");
        let endpoint = endpoint.and_then(|e| self.endpoint(&e));
        let headers = at.get("headers").and_then(|h| self.pairs(&h, "headers"));
        let query = at.get("query").and_then(|q| self.pairs(&q, "query parameters"));
        let body = at.get("body").map(|b| self.template(&b, scope::CALL));
        Some(HttpCall {
            headers,
            query,
            body,
            output: self.word(at.get("output"), &OUTPUTS, OutputFormat::Content),
            redirect: self.boolean(at.get("redirect"), false),
            method: method?,
            endpoint: endpoint?,
        })
    }

    /// Names and values, or an expression that gives them.
    fn pairs(&mut self, at: &At<'a>, what: &str) -> Option<Template> {
        let expression = at.as_text().and_then(strict).is_some();
        if !expression && !matches!(at.node.content, Content::Map(_)) {
            let found = at.node.kind();
            let fix = "names and values, or an expression in ${ }";
            self.fault(at, format!("expected {what}, found {found}"), fix);
            return None;
        }
        Some(self.template(at, scope::CALL))
    }

    fn openapi(&mut self, at: &At<'a>) -> Option<OpenApiCall> {
        const KNOWN: [&str; 6] =
            ["document", "operationId", "parameters", "authentication", "output", "redirect"];
        if !self.object(at, &KNOWN) {
            return None;
        }
        let document = self.required(at, "document", "where the OpenAPI document is");
        let document = document.and_then(|d| {
            self.object(&d, &["name", "endpoint"]);
            let endpoint = self.required(&d, "endpoint", "the address of the document")?;
            self.endpoint(&endpoint)
        });
        let operation = self.required(at, "operationId", "the operation to call");
        let operation = operation.and_then(|o| self.text(&o, "the operation's id"));
        let parameters = at.get("parameters").and_then(|p| self.pairs(&p, "parameters"));
        let auth = at.get("authentication").and_then(|a| self.policy_or_name(&a));
        Some(OpenApiCall {
            document: document?,
            operation: operation?.into(),
            parameters,
            auth,
            output: self.word(at.get("output"), &OUTPUTS, OutputFormat::Content),
            redirect: self.boolean(at.get("redirect"), false),
        })
    }

    fn policy_or_name(&mut self, at: &At<'a>) -> Option<Auth> {
        match at.as_text() {
            Some(name) => {
                let policy = self.part(at, "authentications", name)?;
                self.auth(&policy)
            }
            None => self.referenceable_auth(at),
        }
    }

    /// An address, alone or with how to authenticate.
    fn endpoint(&mut self, at: &At<'a>) -> Option<Endpoint> {
        if at.as_text().is_some() {
            let uri: Option<Uri> = self.uri(at, scope::BODY);
            return Some(Endpoint { uri: uri?, auth: None });
        }
        if !self.object(at, &["uri", "authentication"]) {
            return None;
        }
        let uri = self.required(at, "uri", "the address");
        let uri = uri.and_then(|u| self.uri(&u, scope::BODY));
        let auth = at.get("authentication");
        let auth = auth.and_then(|a| self.policy_or_name(&a));
        Some(Endpoint { uri: uri?, auth })
    }

    fn email(&mut self, at: &At<'a>) -> Option<Template> {
        const KNOWN: [&str; 8] =
            ["to", "cc", "replyTo", "subject", "text", "html", "data", "attachments"];
        if at.as_text().and_then(strict).is_none() {
            if !self.object(at, &KNOWN) {
                return None;
            }
            self.required(at, "to", "an address");
            self.required(at, "subject", "a text");
            self.required(at, "text", "a text");
            for key in ["subject", "text", "html"] {
                if let Some(text) = at.get(key)
                    && let Some(source) = text.as_text().filter(|t| strict(t).is_none())
                    && let Err(detail) = crate::domain::mail::check_text(source)
                {
                    self.refuse(&text, detail, "mend the template (minijinja)");
                }
            }
        }
        Some(self.mail(at))
    }

    /// A mail's fields; its texts are templates of another kind, in which `${` means nothing.
    fn mail(&mut self, at: &At<'a>) -> Template {
        if !matches!(at.node.content, Content::Map(_)) {
            return self.template(at, scope::CALL);
        }
        let mut fields = Vec::new();
        for entry in at.entries() {
            let value = at.step(&entry.key, &entry.value);
            let own = matches!(entry.key.as_str(), "subject" | "text" | "html");
            let value = match value.as_text() {
                Some(text) if own && strict(text).is_none() => self.literal(&value),
                _ => self.template(&value, scope::CALL),
            };
            fields.push((entry.key.clone(), value));
        }
        Template::Map(fields)
    }
}
