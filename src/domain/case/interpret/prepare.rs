//! What a task with an effect asks for, all expressions evaluated. Built anew for every attempt,
//! from data that does not change between attempts.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::evaluate::Place;
use super::finish::bounded;
use super::{Interpreter, Key, Trouble};
use crate::domain::call::http::{self, Parts};
use crate::domain::call::{openapi, uri};
use crate::domain::case::decision_context::Service;
use crate::domain::case::effect::{Ask, Child, ChildSubmission, MAIL, Preparation};
use crate::domain::case::event::Parent;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::repeat::safe_by_definition;
use crate::domain::data::{Data, canonical};
use crate::domain::ids::{Bits, CaseId, Fingerprint};
use crate::domain::workflow::expr::Arg;
use crate::domain::workflow::model::{
    Call, Emit, Endpoint, HttpCall, Kind, OpenApiCall, Run, Template, Uri,
};

/// How deep cases may nest that start each other.
const NESTED_MAX: u8 = 32;

/// Bytes of the key of a child.
const CHILD_KEY_MAX: usize = 256;

/// What an attempt needs.
pub enum Prepared {
    /// It can start: behind this service's breaker, if it has one.
    Ask { service: Option<Service>, ask: Ask },
    /// Something has to be fetched first.
    Fetch { service: Service, preparation: Box<Preparation> },
}

/// Either a value, or what has to be fetched before there is one.
pub(super) enum Or<T> {
    Have(T),
    Need(Prepared),
}

fn expression(detail: String) -> Trouble {
    Problem::new(Standard::Expression, detail).into()
}

pub(super) fn configuration(detail: String) -> Trouble {
    Problem::new(Standard::Configuration, detail).into()
}

impl Interpreter<'_> {
    /// What the task asks for, or (`asking`) the question of its reconciliation.
    pub(super) fn prepare(&mut self, key: Key, asking: bool) -> Result<Prepared, Trouble> {
        let task = self.task(key.0);
        let mut place = self.place(key)?;
        place.secrets = true;
        let input = place.input.clone().unwrap_or_default();
        let idempotency = self.idempotency_key(key)?;
        if asking {
            let Some(reconcile) = &task.metadata.reconcile else {
                return Err(configuration("the task does not say how to reconcile it".to_owned()));
            };
            return self.prepare_call(&reconcile.call, &input, place, &idempotency);
        }
        match &task.kind {
            Kind::Call(call) => self.prepare_call(call, &input, place, &idempotency),
            Kind::Emit(emit) => self.prepare_emit(emit, &input, &place, &idempotency),
            Kind::Run(run) => self.prepare_run(key, run, &input, &place),
            _ => Err(configuration("the task has no effect".to_owned())),
        }
    }

    fn prepare_call(
        &mut self,
        call: &Call,
        input: &Data,
        place: Place,
        key: &str,
    ) -> Result<Prepared, Trouble> {
        match call {
            Call::Http(http) => self.prepare_http(http, input, place, key),
            Call::OpenApi(openapi) => self.prepare_openapi(openapi, input, place, key),
            Call::Echo(with) => {
                let value = match with {
                    Some(with) => self.render(with, input, &place)?,
                    None => input.clone(),
                };
                Ok(Prepared::Ask { service: None, ask: Ask::Echo(value) })
            }
            Call::Email(with) => {
                let arguments = self.render(with, input, &place)?;
                let service = Some(self.ctx.service(MAIL));
                Ok(Prepared::Ask { service, ask: Ask::Email(arguments) })
            }
            Call::Work(_) | Call::Pdf(_) | Call::Process(_) => {
                Err(configuration("a job is queued, not called".to_owned()))
            }
        }
    }

    fn prepare_http(
        &mut self,
        call: &HttpCall,
        input: &Data,
        mut place: Place,
        key: &str,
    ) -> Result<Prepared, Trouble> {
        let url = self.endpoint(&call.endpoint, input, &place)?;
        let service = self.service_at(&url)?;
        let authorization = match self.authorize(call.endpoint.auth.as_ref(), input, &mut place)? {
            Or::Have(authorization) => authorization,
            Or::Need(first) => return Ok(first),
        };
        let mut parts = Parts {
            method: call.method.clone(),
            url,
            authorization,
            output: call.output,
            redirect: call.redirect,
            ..Parts::default()
        };
        if let Some(headers) = &call.headers {
            let value = self.render(headers, input, &place)?;
            parts.headers = http::pairs(&value, "headers").map_err(expression)?;
            parts.hidden = hidden(headers, &parts.headers);
        }
        if let Some(query) = &call.query {
            let value = self.render(query, input, &place)?;
            parts.query = http::pairs(&value, "query").map_err(expression)?;
            parts.hides_query = is_secret(query);
        }
        if let Some(body) = &call.body {
            parts.body = Some((*self.render(body, input, &place)?).clone());
        }
        let request = http::request(parts, key);
        Ok(Prepared::Ask { service: Some(service), ask: Ask::Http(Box::new(request)) })
    }

    fn prepare_openapi(
        &mut self,
        call: &OpenApiCall,
        input: &Data,
        mut place: Place,
        key: &str,
    ) -> Result<Prepared, Trouble> {
        let document_url = self.endpoint(&call.document, input, &place)?;
        let document = match self.document_at(&document_url, call, input, &mut place)? {
            Or::Have(document) => document,
            Or::Need(first) => return Ok(first),
        };
        let authorization = match self.authorize(call.auth.as_ref(), input, &mut place)? {
            Or::Have(authorization) => authorization,
            Or::Need(first) => return Ok(first),
        };
        let arguments = match &call.parameters {
            Some(parameters) => self.render(parameters, input, &place)?,
            None => Data::null(),
        };
        let mut parts = openapi::request(&document, &document_url, &call.operation, &arguments)
            .map_err(configuration)?;
        parts.hidden = call.parameters.as_ref().map_or(Vec::new(), |p| hidden(p, &parts.headers));
        parts.authorization = authorization;
        parts.output = call.output;
        parts.redirect = call.redirect;
        let service = self.service_at(&parts.url)?;
        let request = http::request(parts, key);
        Ok(Prepared::Ask { service: Some(service), ask: Ask::Http(Box::new(request)) })
    }

    fn document_at(
        &mut self,
        url: &str,
        call: &OpenApiCall,
        input: &Data,
        place: &mut Place,
    ) -> Result<Or<Arc<Json>>, Trouble> {
        if let Some(document) = self.ctx.document(url) {
            return Ok(Or::Have(document));
        }
        let service = self.service_at(url)?;
        let auth = call.document.auth.as_ref();
        let authorization = match self.authorize(auth, input, place)? {
            Or::Have(authorization) => authorization,
            Or::Need(first) => return Ok(Or::Need(first)),
        };
        let parts = Parts {
            method: "GET".into(),
            url: url.to_owned(),
            authorization,
            redirect: true,
            ..Parts::default()
        };
        let preparation = Preparation::Document(http::request(parts, ""));
        let preparation = Box::new(preparation);
        Ok(Or::Need(Prepared::Fetch { service, preparation }))
    }

    fn prepare_emit(
        &mut self,
        emit: &Emit,
        input: &Data,
        place: &Place,
        key: &str,
    ) -> Result<Prepared, Trouble> {
        let mut event = Map::new();
        event.insert("specversion".to_owned(), Json::from("1.0"));
        event.insert("id".to_owned(), Json::from(key));
        let at = place.started_at.unwrap_or(self.now);
        event.insert("time".to_owned(), Json::from(at.to_string()));
        for (name, template) in &emit.attributes {
            let value = self.render(template, input, place)?;
            let text = || uri::scalar(&value).filter(|text| !text.is_empty());
            let value = match name.as_str() {
                "data" => (*value).clone(),
                _ => match text() {
                    Some(text) => Json::from(text),
                    None if value.is_null() => continue,
                    None => {
                        let detail = format!("the attribute `{name}` of the event is no text");
                        return Err(expression(detail));
                    }
                },
            };
            event.insert(name.clone(), value);
        }
        if event.contains_key("data") && !event.contains_key("datacontenttype") {
            event.insert("datacontenttype".to_owned(), Json::from("application/json"));
        }
        for needed in ["source", "type"] {
            if !event.contains_key(needed) {
                return Err(expression(format!("the event has no `{needed}`")));
            }
        }
        let event = Data::from(Json::Object(event));
        // one that is larger could not be the task's output, nor be sent to us from outside
        bounded(&event, "the event")?;
        Ok(Prepared::Ask { service: None, ask: Ask::Emit(event) })
    }

    fn prepare_run(
        &mut self,
        key: Key,
        run: &Run,
        input: &Data,
        place: &Place,
    ) -> Result<Prepared, Trouble> {
        let input = match &run.input {
            Some(template) => self.render(template, input, place)?,
            None => input.clone(),
        };
        let depth = self.state.parent.as_ref().map_or(0, |parent| parent.depth) + 1;
        if depth > NESTED_MAX {
            let detail = format!("cases nest {NESTED_MAX} deep at most");
            return Err(Problem::new(Standard::Runtime, detail).into());
        }
        let (id, fingerprint) = match &self.task(key.0).metadata.key {
            None => (self.child_id(key), None),
            Some(template) => {
                let child_key =
                    self.render(template, place.input.as_ref().unwrap_or(&input), place)?;
                let child_key = child_key.as_str().unwrap_or_default();
                if !(1..=CHILD_KEY_MAX).contains(&child_key.len()) {
                    let detail = format!("`key` has to be a text of 1 to {CHILD_KEY_MAX} bytes");
                    return Err(Problem::new(Standard::Validation, detail).into());
                }
                let id = CaseId::of_key(&run.namespace, &run.name, child_key);
                if id == self.state.id {
                    let detail = "a case cannot join itself";
                    return Err(Problem::new(Standard::Validation, detail).into());
                }
                let said = Bits::derived(&[canonical(&input).as_bytes()]);
                (id, Some(Fingerprint(said)))
            }
        };
        let child = Child {
            id,
            joins: fingerprint.is_some(),
            namespace: run.namespace.clone(),
            name: run.name.clone(),
            version: run.version.clone(),
            submission: ChildSubmission {
                input,
                priority: self.state.priority,
                parent: Parent {
                    case: self.state.id,
                    task: key.0,
                    iteration: key.1,
                    awaits: run.awaits && fingerprint.is_none(),
                    depth,
                },
                fingerprint,
            },
        };
        Ok(Prepared::Ask { service: None, ask: Ask::Run(Box::new(child)) })
    }

    fn endpoint(
        &mut self,
        endpoint: &Endpoint,
        input: &Data,
        place: &Place,
    ) -> Result<String, Trouble> {
        self.address(&endpoint.uri, input, place)
    }

    pub(super) fn address(
        &mut self,
        uri: &Uri,
        input: &Data,
        place: &Place,
    ) -> Result<String, Trouble> {
        match uri {
            Uri::Template(parts) => uri::expand(parts, input).map_err(expression),
            Uri::Expr(expr) => {
                let value = self.evaluate(expr, input, place)?;
                let text = value.as_str().map(str::to_owned);
                text.ok_or_else(|| expression(format!("`{}` gave no address", expr.source)))
            }
        }
    }

    pub(super) fn service_at(&mut self, url: &str) -> Result<Service, Trouble> {
        let host = uri::host_of(url).map_err(configuration)?;
        let service = self.ctx.service_of(&host);
        if service.refused {
            let detail = format!(
                "no service is configured for the host `{host}`, and others may not be called"
            );
            return Err(configuration(detail));
        }
        Ok(service)
    }

    /// `<case>/<reference>/<iteration>[/<generation>]`, the same for every attempt.
    pub(super) fn idempotency_key(&self, key: Key) -> Result<String, super::Halt> {
        let reference = &self.task(key.0).reference;
        let generation = self.generation(key);
        let base = format!("{}{reference}/{}", self.state.id, key.1);
        Ok(if generation == 0 { base } else { format!("{base}/{generation}") })
    }

    /// Whether the task's call can be repeated without harm: by its method, by its receiver, or
    /// because its author says so.
    pub(super) fn repeatable(&mut self, key: Key) -> Result<bool, super::Halt> {
        let task = self.task(key.0);
        if task.metadata.idempotent {
            return Ok(true);
        }
        let known = self.state.ledger.get(key);
        let known_safe = known.is_some_and(|entry| entry.safe);
        let service = match known.and_then(|entry| entry.service.clone()) {
            Some(service) => Some(service),
            None => self.open(key)?.call().and_then(|call| call.service.clone()),
        };
        let honours = service.is_some_and(|service| self.ctx.service(&service).honours_key);
        Ok(match &task.kind {
            Kind::Call(call) if matches!(**call, Call::OpenApi(_)) => {
                honours || known_safe || self.openapi_repeatable(key)
            }
            Kind::Call(_) => honours || safe_by_definition(task),
            // a stored event is known by its id, a child by its place
            Kind::Emit(_) | Kind::Run(_) => true,
            Kind::Do(_)
            | Kind::For { .. }
            | Kind::Fork { .. }
            | Kind::Try { .. }
            | Kind::Set(_)
            | Kind::Switch(_)
            | Kind::Raise(_)
            | Kind::Wait(_)
            | Kind::Listen(_)
            | Kind::Book(_)
            | Kind::Perform(_)
            | Kind::Function { .. } => false,
        })
    }

    /// Whether the request is an OpenAPI operation that can be repeated without harm.
    pub(super) fn is_safe_openapi(&self, key: Key, ask: &Ask) -> bool {
        let Kind::Call(call) = &self.task(key.0).kind else { return false };
        match (&**call, ask) {
            (Call::OpenApi(_), Ask::Http(request)) => http::repeatable(&request.method),
            _ => false,
        }
    }

    /// Whether the task's call takes something away, so that "not there" means that it was done.
    pub(super) fn is_delete(&mut self, key: Key) -> bool {
        let Kind::Call(call) = &self.task(key.0).kind else { return false };
        match &**call {
            Call::Http(http) => &*http.method == "DELETE",
            Call::OpenApi(_) => match self.prepare(key, false) {
                Ok(Prepared::Ask { ask: Ask::Http(request), .. }) => &*request.method == "DELETE",
                Ok(_) | Err(_) => false,
            },
            Call::Email(_) | Call::Echo(_) | Call::Work(_) | Call::Pdf(_) | Call::Process(_) => {
                false
            }
        }
    }

    /// An operation's method is known from its document; without it, nothing is taken for granted.
    fn openapi_repeatable(&mut self, key: Key) -> bool {
        match self.prepare(key, false) {
            Ok(Prepared::Ask { ask: Ask::Http(request), .. }) => http::repeatable(&request.method),
            Ok(_) | Err(_) => false,
        }
    }
}

/// Names of headers whose values may not be shown: those made with secrets or credentials.
fn hidden(template: &Template, headers: &[(String, String)]) -> Vec<String> {
    match template {
        Template::Map(fields) => {
            let fields = fields.iter().filter(|(_, value)| is_secret(value));
            fields.map(|(name, _)| name.to_ascii_lowercase()).collect()
        }
        other if is_secret(other) => headers.iter().map(|(n, _)| n.to_ascii_lowercase()).collect(),
        _ => Vec::new(),
    }
}

/// Whether what the template gives may not be shown.
fn is_secret(template: &Template) -> bool {
    template.exprs().iter().any(|e| e.uses(Arg::Secrets) || e.uses(Arg::Authorization))
}

pub(super) fn lacks(name: &str, what: &str) -> Trouble {
    Problem::new(Standard::Authorization, format!("the secret `{name}` holds no {what}")).into()
}
