//! `/v1/assignments`: human tasks, there from their booking on, and what people do with them.

use std::collections::HashSet;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{JsonBody, OptionalBody, Reason};
use super::cases::{case_id, etag, if_match};
use super::csrs::{is_dry, show_difference};
use super::problem::Problem;
use super::query::{Query, bad, cursor};
use crate::actors::handles::{Case, CommandMeta};
use crate::domain::case::assignments::Assigned;
use crate::domain::case::command::{Command, PlanChange, PlannedTask, Verb};
use crate::domain::case::interpret::allowed;
use crate::domain::case::notices::Unreached;
use crate::domain::case::staff;
use crate::domain::case::state::State as CaseState;
use crate::domain::data::Data;
use crate::domain::ids::{AssignmentId, CaseId, CsrId, PlanId};
use crate::domain::staff::plan::wanted::Customer;
use crate::domain::staff::plan::{Attention, Person, Phase};
use crate::domain::time::Timestamp;
use crate::store::views::assignments::AssignmentFilter;

const FILTERS: [&str; 11] = [
    "csr",
    "phase",
    "case",
    "skill",
    "from",
    "to",
    "overdue",
    "attention",
    "sort",
    "limit",
    "cursor",
];

/// How often, and after how long each, it is looked whether a CSR has answered.
const ANSWER_LOOKS: usize = 100;
const ANSWER_LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// Characters of a reason at the most.
const REASON_MAX: usize = 1000;

/// Lists assignments.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let query = Query::read(query.as_deref(), &FILTERS)?;
    let (limit, after) = (query.limit()?, query.cursor()?);
    let now = api.handle.clock().wall();
    let mut filter = filter(&query, now)?;
    if filter.attention.contains(&Attention::Zone) {
        filter.moved = api.handle.moved_by_rules();
    }
    let views = api.views()?;
    let read = move || views.assignments(&filter, after.as_deref(), limit);
    let page = super::blocking(read).await??;
    let items: Vec<Json_> = page.items.iter().map(|one| show(&api, one, now)).collect();
    Ok(Json(json!({"items": items, "next": cursor(page.next.as_deref())})))
}

fn filter(query: &Query, now: Timestamp) -> Result<AssignmentFilter, Problem> {
    let phase = |name: &String| {
        let names: Vec<&str> = Phase::ALL.into_iter().map(Phase::name).collect();
        Phase::of(name).ok_or_else(|| bad("phase", format!("one of {}", names.join(", "))))
    };
    let attention = |name: &String| {
        let names: Vec<&str> = Attention::ALL.into_iter().map(Attention::name).collect();
        let wrong = || bad("attention", format!("one of {}", names.join(", ")));
        Attention::of(name).ok_or_else(wrong)
    };
    let case =
        |id: &String| id.parse::<CaseId>().map_err(|_| bad("case", "the id of a case".to_owned()));
    let overdue = match query.get("overdue") {
        None => None,
        Some("true") => Some((true, now)),
        Some("false") => Some((false, now)),
        Some(_) => return Err(bad("overdue", "true or false".to_owned())),
    };
    let by_start = match query.get("sort") {
        None => false,
        Some("start") => true,
        Some(_) => return Err(bad("sort", "start".to_owned())),
    };
    Ok(AssignmentFilter {
        csr: query.all("csr"),
        phase: query.all("phase").iter().map(phase).collect::<Result<_, _>>()?,
        case: query.all("case").iter().map(case).collect::<Result<_, _>>()?,
        skill: query.all("skill"),
        attention: query.all("attention").iter().map(attention).collect::<Result<_, _>>()?,
        moved: HashSet::new(),
        overdue,
        from: query.time("from")?,
        to: query.time("to")?,
        by_start,
    })
}

/// An assignment as lists show it.
fn show(api: &Api, one: &Assigned, now: Timestamp) -> Json_ {
    let booking = one.id.booking();
    let moved = one.attention.is_none()
        && one.csr.as_deref().is_some_and(|csr| api.handle.is_moved_by_rules(csr, booking));
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": one.id.to_string(),
        "case": one.case.to_string(),
        "workflow": one.workflow,
        "task": one.task,
        "title": one.title,
        "phase": one.phase.name(),
        "csr": one.csr,
        "start": text(one.start),
        "end": text(one.end),
        "minutes": one.minutes,
        "due": text(one.due),
        "overdue": one.phase.is_open() && one.due.is_some_and(|due| due < now),
        "attention": one.attention.or(moved.then_some(Attention::Zone)).map(Attention::name),
        "customer": one.customer,
        "after": one.after.map(|after| after.to_string()),
        "booking": booking.to_string(),
        "number": one.number,
        "why": one.why,
        "revision": one.revision,
        "since": one.since.to_string(),
    })
}

/// Shows an assignment as its case has it now.
pub async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (id, case) = find(&api, &id)?;
    let case = api.handle.case(case).await?;
    shown(&api, &case, id)
}

fn shown(api: &Api, case: &Case, id: AssignmentId) -> Result<Response, Problem> {
    let rows = Assigned::of(&case.definition, &case.state);
    let row = rows.iter().find(|row| row.id == id);
    let (Some(row), Some((_, item))) = (row, staff::assignment(&case.state, id)) else {
        return Err(Problem::not_found("assignment"));
    };
    let mut shown = show(api, row, api.handle.clock().wall());
    let verdicts: Vec<Json_> = item
        .verdicts
        .list
        .iter()
        .map(|one| {
            let start = one.start.map(|at| at.to_string());
            json!({"csr": one.csr, "verdict": one.verdict, "start": start, "load": one.load})
        })
        .collect();
    shown["instructions"] = json!(item.wanted.instructions);
    shown["form"] = json!(item.wanted.form);
    shown["outcome"] = json!(item.outcome);
    shown["verdicts"] = json!(verdicts);
    Ok(([(ETAG, etag(row.revision))], Json(shown)).into_response())
}

/// The case that an assignment is of.
fn find(api: &Api, id: &str) -> Result<(AssignmentId, CaseId), Problem> {
    let none = || Problem::not_found("assignment");
    let id: AssignmentId = id.parse().map_err(|_| none())?;
    let row = api.views()?.assignment(id)?.ok_or_else(none)?;
    Ok((id, row.case))
}

/// `POST …/complete`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    #[serde(default)]
    outcome: Data,
}

/// `POST …/reassign`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Reassign {
    #[serde(default)]
    csr: Option<CsrId>,
    #[serde(default)]
    reason: String,
}

/// `POST …/move`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    start: String,
    #[serde(default)]
    csr: Option<CsrId>,
    #[serde(default)]
    reason: String,
}

/// What every verb comes with.
type Asked = (State<Api>, Extension<Client>, Path<String>, HeaderMap);

/// Somebody begins with it.
pub async fn start(asked: Asked, OptionalBody(_): OptionalBody<NoBody>) -> Answered {
    tell(asked, |_| Ok(Verb::Start)).await
}

/// A body without anything in it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct NoBody {}

/// It is done.
pub async fn complete(asked: Asked, OptionalBody(body): OptionalBody<Complete>) -> Answered {
    tell(asked, |_| Ok(Verb::Complete { outcome: body.outcome })).await
}

/// Somebody gives it back.
pub async fn hand_back(asked: Asked, OptionalBody(body): OptionalBody<Reason>) -> Answered {
    tell(asked, |_| Ok(Verb::HandBack { reason: reason(&body.reason)? })).await
}

/// Somebody else gets it.
pub async fn reassign(asked: Asked, OptionalBody(body): OptionalBody<Reassign>) -> Answered {
    tell(asked, |api| {
        let to = body.csr.as_ref().map(|csr| person(api, csr)).transpose()?;
        Ok(Verb::Reassign { to, reason: optional_reason(&body.reason)? })
    })
    .await
}

/// The customer has to do something first.
pub async fn block(asked: Asked, OptionalBody(body): OptionalBody<Reason>) -> Answered {
    tell(asked, |_| Ok(Verb::Block { reason: reason(&body.reason)? })).await
}

/// The customer has done it.
pub async fn unblock(asked: Asked, OptionalBody(_): OptionalBody<Reason>) -> Answered {
    tell(asked, |_| Ok(Verb::Unblock)).await
}

/// It is done at another time, or by somebody else.
pub async fn move_to(asked: Asked, JsonBody(body): JsonBody<Move>) -> Answered {
    tell(asked, |api| {
        let start = body.start.parse::<Timestamp>();
        let start = start.map_err(|error| Problem::at("/start", error.to_string()))?;
        let to = body.csr.as_ref().map(|csr| person(api, csr)).transpose()?;
        Ok(Verb::Move { start, to, reason: reason(&body.reason)? })
    })
    .await
}

/// It need not be done.
pub async fn skip(asked: Asked, OptionalBody(body): OptionalBody<Reason>) -> Answered {
    tell(asked, |_| Ok(Verb::Skip { reason: reason(&body.reason)? })).await
}

/// How an assignment stands after a verb.
type Answered = Result<Response, Problem>;

fn reason(text: &str) -> Result<std::sync::Arc<str>, Problem> {
    match text.trim().is_empty() {
        true => Err(Problem::at("/reason", "say why, in 1 to 1000 characters")),
        false => optional_reason(text),
    }
}

fn optional_reason(text: &str) -> Result<std::sync::Arc<str>, Problem> {
    match text.chars().count() > REASON_MAX {
        true => Err(Problem::at("/reason", format!("at most {REASON_MAX} characters"))),
        false => Ok(text.into()),
    }
}

fn person(api: &Api, csr: &CsrId) -> Result<Person, Problem> {
    let csr = api.handle.csr(csr).ok_or_else(|| Problem::at("/csr", "there is no such CSR"))?;
    if csr.profile.there().end <= api.handle.clock().wall() {
        return Err(Problem::at("/csr", "they have left"));
    }
    Ok(Person::of(&csr))
}

async fn tell(
    (State(api), Extension(client), Path(id), headers): Asked,
    verb: impl FnOnce(&Api) -> Result<Verb, Problem>,
) -> Answered {
    let (assignment, case) = find(&api, &id)?;
    let (verb, if_match) = (verb(&api)?, if_match(&headers)?);
    let meta = CommandMeta { command: None, by: client.by(""), if_match: None };
    let command = Command::Assignment { assignment, verb, if_match };
    let asks = matches!(
        &command,
        Command::Assignment { verb: Verb::Move { .. } | Verb::Reassign { to: Some(_), .. }, .. }
    );
    api.handle.command(case, command, meta).await?;
    match asks {
        true => answered(&api, case, assignment).await,
        false => shown(&api, &api.handle.case(case).await?, assignment),
    }
}

/// The assignment once the CSR has answered, or as it is when that takes long.
async fn answered(api: &Api, id: CaseId, assignment: AssignmentId) -> Answered {
    for _ in 0..ANSWER_LOOKS {
        let case = api.handle.case(id).await?;
        let item = staff::assignment(&case.state, assignment).map(|(_, item)| item);
        let Some(item) = item.filter(|item| item.proposed.is_none()) else {
            tokio::time::sleep(ANSWER_LOOK).await;
            continue;
        };
        let by_person =
            item.made.as_ref().is_some_and(|made| made.by_person && made.number == item.number);
        if !by_person {
            let detail = "the CSR cannot have it then: they have something else, or are not there";
            return Err(Problem::conflict(detail, &allowed(item)).of_kind("not-free"));
        }
        return shown(api, &case, assignment);
    }
    shown(api, &api.handle.case(id).await?, assignment)
}

/// What an admin picks tasks from.
pub async fn task_types(State(api): State<Api>) -> Json<Json_> {
    Json(json!(api.handle.catalogue()))
}

/// `PUT /v1/cases/{id}/plan`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPlan {
    #[serde(default)]
    plan: Option<PlanId>,
    tasks: Vec<Json_>,
    #[serde(default)]
    customer: Option<Customer>,
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

/// An admin changes what is still to be done.
pub async fn change_plan(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    JsonBody(body): JsonBody<NewPlan>,
) -> Result<Json<Json_>, Problem> {
    let case = case_id(&id)?;
    let dry_run = body.dry_run || is_dry(query.as_deref())?;
    let tasks = body.tasks.into_iter().enumerate().map(planned_task);
    let (tasks, reason) = (tasks.collect::<Result<_, _>>()?, reason(&body.reason)?);
    let change = PlanChange { plan: body.plan, tasks, customer: body.customer, reason };
    if dry_run {
        return Ok(Json(show_difference(
            &api.handle.try_plan(case, change, if_match(&headers)?).await?,
        )));
    }
    let by = client.by(&change.reason);
    let meta = CommandMeta { command: None, by, if_match: if_match(&headers)? };
    api.handle.command(case, Command::ChangePlan(Box::new(change)), meta).await?;
    plan(State(api), Path(id)).await
}

fn planned_task((place, task): (usize, Json_)) -> Result<PlannedTask, Problem> {
    let wrong = |detail: String| Problem::at(format!("/tasks/{place}"), detail);
    let Some(booking) = task.get("booking") else {
        let wanted = serde_json::from_value(task).map_err(|error| wrong(error.to_string()))?;
        return Ok(PlannedTask::New(std::sync::Arc::new(wanted)));
    };
    if task.as_object().is_some_and(|fields| fields.len() > 1) {
        return Err(wrong("either `booking` alone, or a task as in `book`".to_owned()));
    }
    let booking = booking.as_str().and_then(|id| id.parse().ok());
    booking.map(PlannedTask::Kept).ok_or_else(|| wrong("`booking` is the id of one".to_owned()))
}

/// Who could not be told of a plan by mail, and why.
fn unreached(state: &CaseState, plan: PlanId) -> Vec<Json_> {
    let of_plan = state.desk.unreached.iter().filter(|one| one.plan == plan);
    let given_up = of_plan.map(|one: &Unreached| {
        json!({"to": one.who.name(), "email": one.email, "error": one.error,
            "since": one.at.to_string(), "nextAttemptAt": null})
    });
    let delays = state.desk.delays.iter().filter(|one| one.plan == plan && one.error.is_some());
    let tried = delays.map(|one| {
        json!({"to": one.who.name(), "email": one.email, "error": one.error, "since": null,
            "nextAttemptAt": one.until.to_string()})
    });
    given_up.chain(tried).collect()
}

/// The plans of a case.
pub async fn plan(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Json_>, Problem> {
    let case = api.handle.case(case_id(&id)?).await?;
    let now = api.handle.clock().wall();
    let rows = Assigned::of(&case.definition, &case.state);
    let plans: Vec<Json_> = case
        .state
        .plans
        .iter()
        .map(|plan| {
            let tasks: Vec<Json_> = rows
                .iter()
                .filter(|row| row.plan == plan.id)
                .map(|row| show(&api, row, now))
                .collect();
            json!({
                "plan": plan.id.to_string(),
                "task": case.definition.task(plan.task.0).reference,
                "customer": plan.customer,
                "queued": plan.queued,
                "closed": plan.closed,
                "tasks": tasks,
                "unreached": unreached(&case.state, plan.id),
            })
        })
        .collect();
    Ok(Json(json!({"case": case.state.id.to_string(), "plans": plans})))
}
