//! Expressions and templates of a case: the DSL's arguments, each built only where it is named.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json, json};

use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::event::{Answer, Change, Entry, Event};
use crate::domain::case::notices::NoticeEvent;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::json::{size_of, size_of_text};
use crate::domain::workflow::expr::meter::{Limits, take_spent};
use crate::domain::workflow::expr::{Arg, Expr, Failure, Used, Var, truthy};
use crate::domain::workflow::model::{Span, Task, TaskId, Template};
use crate::domain::workflow::schema::Schema;

/// Where an expression stands: what it may look at beside its input.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The task that it belongs to.
    pub task: Option<TaskId>,
    /// The task whose variables it sees: itself, or the one around it before it is entered.
    pub around: Option<TaskId>,
    pub context: Option<Data>,
    pub input: Option<Data>,
    pub raw: Option<Data>,
    /// The transformed output.
    pub output: Option<Data>,
    pub raw_output: Option<Data>,
    pub started_at: Option<Timestamp>,
    /// Variables that are not in the state yet: a loop's next item, an error about to be caught.
    pub locals: Vec<(Arc<str>, Data)>,
    pub authorization: Option<Data>,
    /// Secrets may be used here.
    pub secrets: bool,
}

impl Interpreter<'_> {
    /// The place of an open task's own definition.
    pub(super) fn place(&self, key: Key) -> Result<Place, Halt> {
        let activation = self.open(key)?;
        // what is around a call beside the flow has gone on, or was left
        let around = (!self.is_detached(key)).then_some(key.0);
        Ok(Place {
            task: Some(key.0),
            around,
            locals: self.pinned_variables(key),
            context: activation.context.clone(),
            input: Some(activation.input.clone()),
            raw: Some(activation.raw.clone()),
            started_at: Some(activation.started_at),
            ..Place::default()
        })
    }

    pub(super) fn evaluate(
        &mut self,
        expr: &Expr,
        input: &Data,
        place: &Place,
    ) -> Result<Json, Trouble> {
        if expr.is_identity() {
            return Ok((**input).clone());
        }
        let mut bound = Vec::with_capacity(expr.used.len());
        for used in expr.used.iter() {
            bound.push((used.clone(), self.value_of(used, place)?));
        }
        let evaluated = if expr.runs_apart() {
            self.ctx.evaluate_apart(expr, input, &bound)
        } else {
            let bind = |wanted: &Used| {
                let found = bound.iter().find(|(used, _)| used == wanted);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            take_spent();
            let evaluated = expr.evaluate(input, bind, Limits::INLINE.at(self.now.0));
            self.spent += take_spent();
            match evaluated {
                // too much for a runtime thread, perhaps not for one of its own
                Err(Failure::Overrun(_)) => self.ctx.evaluate_apart(expr, input, &bound),
                evaluated => Some(evaluated),
            }
        };
        match evaluated {
            None => Err(Halt::Evaluating.into()),
            Some(Ok(value)) => Ok(value),
            Some(Err(failure)) => {
                // what a failure says may quote the value that it failed over
                let secret = expr.uses(Arg::Secrets) || expr.uses(Arg::Authorization);
                let source = shortened(&expr.source);
                let detail = match (&failure, secret) {
                    (Failure::Error(_), true) => {
                        format!("`{source}` failed; why is not said, since it works on a secret")
                    }
                    (failure, _) => format!("`{source}`: {failure}"),
                };
                Err(Problem::new(Standard::Expression, detail).into())
            }
        }
    }

    /// Whether an expression holds.
    pub(super) fn holds(
        &mut self,
        expr: &Expr,
        input: &Data,
        place: &Place,
    ) -> Result<bool, Trouble> {
        self.evaluate(expr, input, place).map(|value| truthy(&value))
    }

    pub(super) fn render(
        &mut self,
        template: &Template,
        input: &Data,
        place: &Place,
    ) -> Result<Data, Trouble> {
        if let Template::Literal(json) = template {
            return Ok(Data::from(json.clone()));
        }
        template.render(&mut |expr| self.evaluate(expr, input, place)).map(Data::from)
    }

    /// A text from a template; other plain values are written out.
    pub(super) fn render_text(
        &mut self,
        template: &Template,
        input: &Data,
        place: &Place,
    ) -> Result<String, Trouble> {
        let value = self.render(template, input, place)?;
        let text = crate::domain::call::uri::scalar(&value);
        text.ok_or_else(|| {
            Problem::new(Standard::Expression, "a text was expected, not a list or object").into()
        })
    }

    /// A duration in milliseconds from now, as a delay.
    pub(super) fn span(
        &mut self,
        span: &Span,
        input: &Data,
        place: &Place,
    ) -> Result<crate::domain::time::Duration, Trouble> {
        let expr = match span {
            Span::Fixed(duration) => return Ok(*duration),
            Span::Expr(expr) => expr,
        };
        let value = self.evaluate(expr, input, place)?;
        let parsed = value.as_str().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| {
            let detail = format!("`{}` gave no ISO 8601 duration", shortened(&expr.source));
            Problem::new(Standard::Expression, detail).into()
        })
    }

    /// Checks data against a schema.
    pub(super) fn check(&self, schema: Option<&Schema>, data: &Json) -> Result<(), Problem> {
        let Some(schema) = schema else { return Ok(()) };
        let violations = schema.violations(data);
        let Some(first) = violations.first() else { return Ok(()) };
        let place = if first.pointer.is_empty() { "the value" } else { &first.pointer };
        let more = match violations.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let detail = format!("{place}: {}{more}", first.detail);
        Err(Problem::new(Standard::Validation, detail))
    }

    fn value_of(&mut self, used: &Used, place: &Place) -> Result<Arc<Json>, Trouble> {
        let shared = |data: &Option<Data>| data.clone().unwrap_or_default().shared();
        Ok(match &used.var {
            Var::Arg(Arg::Context) => match &place.context {
                Some(context) => context.shared(),
                None => self.state.context.shared(),
            },
            Var::Arg(Arg::Input) => shared(&place.input),
            Var::Arg(Arg::Output) => shared(&place.output),
            Var::Arg(Arg::Authorization) => shared(&place.authorization),
            Var::Arg(Arg::Runtime) => runtime_argument(),
            Var::Arg(Arg::Workflow) => self.workflow_argument(used),
            Var::Arg(Arg::Task) => self.task_argument(used, place),
            Var::Arg(Arg::Secrets) if place.secrets => self.secrets_argument(used)?,
            Var::Arg(Arg::Secrets) => Arc::new(Json::Null),
            // a call beside the flow is made of what the flow was at no more: better not at all
            Var::Local(name) => match self.local(name, place) {
                Some(value) => value.shared(),
                None => return Err(no_variable(name).into()),
            },
        })
    }

    fn workflow_argument(&self, used: &Used) -> Arc<Json> {
        let mut map = Map::new();
        if used.wants("id") {
            map.insert("id".to_owned(), Json::from(self.state.id.to_string()));
        }
        if used.wants("definition") {
            map.insert("definition".to_owned(), (*self.definition.source).clone());
        }
        if used.wants("input") {
            map.insert("input".to_owned(), (*self.state.input).clone());
        }
        if used.wants("startedAt") {
            let started = self.state.started_at.unwrap_or(self.now);
            map.insert("startedAt".to_owned(), instant(started));
        }
        Arc::new(Json::Object(map))
    }

    fn task_argument(&self, used: &Used, place: &Place) -> Arc<Json> {
        let Some(id) = place.task else { return Arc::new(Json::Null) };
        let task = self.task(id);
        let mut map = Map::new();
        let mut put = |field: &str, value: &dyn Fn() -> Json| {
            if used.wants(field) {
                map.insert(field.to_owned(), value());
            }
        };
        put("name", &|| Json::from(&*task.name));
        put("reference", &|| Json::from(&*task.reference));
        put("definition", &|| {
            self.definition.source.pointer(&task.pointer).cloned().unwrap_or_default()
        });
        put("input", &|| (*place.raw.clone().unwrap_or_default()).clone());
        put("output", &|| (*place.raw_output.clone().unwrap_or_default()).clone());
        put("startedAt", &|| instant(place.started_at.unwrap_or(self.now)));
        Arc::new(Json::Object(map))
    }

    /// Secrets by name: those that the expression asks for, else all that the definition lists.
    fn secrets_argument(&mut self, used: &Used) -> Result<Arc<Json>, Trouble> {
        let mut map = Map::new();
        let names = self.definition.secrets.iter().filter(|name| used.wants(name));
        for name in names.cloned().collect::<Vec<_>>() {
            let secret = self.secret(&name)?;
            map.insert(name.to_string(), (*secret).clone());
        }
        if let Some(fields) = &used.fields
            && let Some(missing) = fields.iter().find(|f| !map.contains_key(&***f))
        {
            return Err(no_secret(missing).into());
        }
        Ok(Arc::new(Json::Object(map)))
    }

    pub(super) fn secret(&mut self, name: &str) -> Result<Arc<Json>, Problem> {
        self.ctx.secret(name).ok_or_else(|| no_secret(name))
    }

    /// A variable of the author, from the innermost task around that has it.
    fn local(&self, name: &str, place: &Place) -> Option<Data> {
        if let Some((_, value)) = place.locals.iter().rev().find(|(known, _)| &**known == name) {
            return Some(value.clone());
        }
        self.state.variable(self.definition, place.around?, name)
    }

    /// The place of a task that is about to be entered below `around`.
    pub(super) fn place_before(&self, task: &Task, around: Option<TaskId>, raw: &Data) -> Place {
        Place { task: Some(task.id), around, raw: Some(raw.clone()), ..Place::default() }
    }

    /// The variables that a call was begun with, where it is beside the flow, or may have been done and is
    /// repeated as it was.
    fn pinned_variables(&self, key: Key) -> Vec<(Arc<str>, Data)> {
        let as_it_was = self.is_detached(key) || self.is_unknown(key);
        let entry = self.state.ledger.get(key).filter(|_| as_it_was);
        let pinned = entry.and_then(|entry| entry.pinned.as_ref());
        pinned.map(|pinned| pinned.variables.clone()).unwrap_or_default()
    }
}

fn no_variable(name: &str) -> Problem {
    let detail = format!("`${name}` is not known any more: the task that has it was left");
    Problem::new(Standard::Expression, detail)
}

fn no_secret(name: &str) -> Problem {
    Problem::new(Standard::Authorization, format!("the secret `{name}` is not available"))
}

/// `$runtime`: who runs the workflow.
pub fn runtime_argument() -> Arc<Json> {
    static RUNTIME: OnceLock<Arc<Json>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            let version = env!("CARGO_PKG_VERSION");
            Arc::new(json!({"name": "caseworker", "version": version, "metadata": {}}))
        })
        .clone()
}

/// The DSL's descriptor of an instant.
fn instant(at: Timestamp) -> Json {
    json!({
        "iso8601": at.to_string(),
        "epoch": {"seconds": at.seconds(), "milliseconds": at.0},
    })
}

/// Bytes of an event of a plan, as it is written.
pub fn plan_size(event: &PlanEvent) -> usize {
    serde_json::to_vec(event).map_or(0, |text| text.len())
}

/// Bytes of an event of notices, as it is written.
fn notice_size(event: &NoticeEvent) -> usize {
    serde_json::to_vec(event).map_or(0, |text| text.len())
}

fn shortened(source: &str) -> &str {
    &source[..source.floor_char_boundary(80)]
}

/// Bytes that an event will take, near enough to bound a decision.
pub fn event_size(event: &Event) -> usize {
    const FRAME: usize = 40;
    let size = |data: &Option<Data>| data.as_ref().map_or(0, |data| size_of(data));
    let entry = |entry: &Option<Box<Entry>>| {
        entry.as_ref().map_or(0, |entry| size(&entry.input) + size(&entry.work))
    };
    FRAME
        + match event {
            Event::Started(start) => {
                size(&start.data) + start.submission.as_ref().map_or(0, |s| size_of(&s.input))
            }
            Event::Accepted(submission) => size_of(&submission.input),
            Event::Completed { output } => size(output),
            Event::Task(event) => match &event.change {
                Change::Started { entry: e, lease, .. } => {
                    const LEASE: usize = 600;
                    entry(e) + lease.as_ref().map_or(0, |_| LEASE)
                }
                Change::Queued { entry: e, .. } => entry(e) + 300,
                Change::Preparing { entry: e, .. } => entry(e),
                Change::Waiting { entry: e, wait, .. } => {
                    let said = [&wait.on, &wait.detail].into_iter().flatten();
                    entry(e) + said.map(|text| size_of_text(text)).sum::<usize>()
                }
                Change::Completed { output, context, .. } => size(output) + size(context),
                Change::Received { event, .. } => {
                    let found = event.correlated.iter().map(|(_, value)| size_of(value));
                    size_of(&event.value) + found.sum::<usize>()
                }
                Change::Turned { .. } => 0,
                Change::ReadBack { output } => size_of(output),
                Change::Listening { expected, .. } => size_of(expected),
                Change::Faulted { error, answer, .. } => {
                    let kept = match answer {
                        Some(Answer::Kept(answer)) => size_of(answer),
                        Some(Answer::Gone) | None => 0,
                    };
                    kept + error.size()
                }
                Change::Unknown { error } | Change::Retried { error, .. } => error.size(),
                Change::Reconciled { .. } | Change::Cancelled { .. } => 0,
            },
            Event::Status { status } => status.len(),
            Event::Plan(event) => plan_size(event),
            Event::Notice(event) => notice_size(event),
            Event::Closing => 0,
            Event::Faulted { error } => error.size(),
            Event::Suspended { error, .. } | Event::UnwindingStarted { error, .. } => {
                error.as_ref().map_or(0, Problem::size)
            }
            Event::Resumed { .. }
            | Event::Cancelled { .. }
            | Event::Referred { .. }
            | Event::Alerted { .. }
            | Event::UnwindingEnded
            | Event::Trimmed { .. } => 0,
        }
}
