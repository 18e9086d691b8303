//! The world around one case: its clock, its services, its effects in flight.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::domain::case::command::{
    Command, Facts, Health, Incoming, Listener, Outcome, Rejection,
};
use crate::domain::case::decide::decide;
use crate::domain::case::decision_context::{DecisionContext, PermitAnswer, Queue, Service};
use crate::domain::case::effect::{Ask, Effect, HttpRequest};
use crate::domain::case::event::{Change, Event, Submission, Wait, WaitKind};
use crate::domain::case::evolve::{blank, evolve};
use crate::domain::case::interpret::{Decided, Halt, event_size};
use crate::domain::case::job::GivenJob;
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::State;
use crate::domain::case::summary::{Listened, Summary};
use crate::domain::case::{derive, invariants};
use crate::domain::data::Data;
use crate::domain::ids::{Bits, CaseId, EventCursor, TemplateHash};
use crate::domain::staff::business::Business;
use crate::domain::staff::notice::Notices;
use crate::domain::staff::settings::Settings;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::workflow::expr::meter::Limits;
use crate::domain::workflow::expr::{Expr, Failure, Used};
use crate::domain::workflow::model::{Definition, TaskId};
use crate::domain::workflow::read::{Surroundings, compile};
use crate::domain::workflow::source::Format;

/// Where all tests begin.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// A context that answers what the test has put on it.
#[derive(Default, Clone)]
pub struct TestDesk {
    pub open: HashSet<String>,
    pub full: HashSet<String>,
    /// Services that have asked for a pause.
    pub paused: HashSet<String>,
    /// Services that an operator holds.
    pub held: HashSet<String>,
    pub honours_key: bool,
    /// Who can be told of plans.
    pub notices: Notices,
    /// There is no mail server.
    pub mailless: bool,
    /// Hosts that no service names.
    pub unknown: HashSet<String>,
    pub secrets: HashMap<String, Arc<Json>>,
    pub documents: HashMap<String, Arc<Json>>,
    pub tokens: HashMap<[u8; 16], Arc<str>>,
    /// When the queues were purged.
    pub purged: Option<Timestamp>,
    /// Attempts that this process has under way, when a case is recovered.
    pub under_way: HashSet<(TaskId, u32, u32)>,
    /// Expressions whose results are known in a decision where they run apart; none: all.
    pub known_apart: Option<usize>,
    /// The case's own events.
    history: Arc<Vec<(Timestamp, Event)>>,
}

impl TestDesk {
    fn wait(kind: WaitKind) -> Wait {
        Wait { kind, on: None, until: None, detail: None }
    }
}

impl DecisionContext for TestDesk {
    fn business(&self) -> Arc<Business> {
        Arc::new(Settings::default().business)
    }

    fn notices(&self) -> Notices {
        self.notices
    }

    fn sends_mail(&self) -> bool {
        !self.mailless
    }

    fn service_of(&self, host: &str) -> Service {
        self.service(host)
    }

    fn service(&self, name: &str) -> Service {
        let known = !self.unknown.contains(name);
        Service {
            name: name.into(),
            known,
            timeout: 10_000,
            patience: if known { 30 * DAY } else { 0 },
            honours_key: self.honours_key,
            refused: name == "refused",
        }
    }

    fn queue(&mut self, _: &str) -> Option<Queue> {
        Some(Queue { aging: 600_000, purged: self.purged })
    }

    fn template(&mut self, name: &str) -> Option<TemplateHash> {
        (name == "invoice").then_some(TemplateHash(Bits([5; 16])))
    }

    fn permit(&mut self, service: &Service, _: u8) -> PermitAnswer {
        if self.open.contains(&*service.name) {
            PermitAnswer::Wait(Self::wait(WaitKind::Service))
        } else if self.full.contains(&*service.name) {
            PermitAnswer::Wait(Self::wait(WaitKind::Rate))
        } else {
            PermitAnswer::Granted
        }
    }

    fn has_under_way(&self, task: TaskId, iteration: u32, attempt: u32) -> bool {
        self.under_way.contains(&(task, iteration, attempt))
    }

    fn holds_back(&self, service: &str, _: u8, _: (Timestamp, Timestamp)) -> Option<Wait> {
        let held = [
            (&self.open, WaitKind::Service),
            (&self.paused, WaitKind::Rate),
            (&self.held, WaitKind::Operator),
        ];
        let held = held.into_iter().find(|(services, _)| services.contains(service));
        held.map(|(_, kind)| Wait { on: Some(service.into()), ..Self::wait(kind) })
    }

    fn secret(&mut self, name: &str) -> Option<Arc<Json>> {
        self.secrets.get(name).cloned()
    }

    fn document(&mut self, url: &str) -> Option<Arc<Json>> {
        self.documents.get(url).cloned()
    }

    fn token(&mut self, key: &[u8; 16]) -> Option<Arc<str>> {
        self.tokens.get(key).cloned()
    }

    fn recorded(&mut self, version: u64) -> Option<Event> {
        Some(self.history[version as usize - 1].1.clone())
    }

    fn evaluate_apart(
        &mut self,
        expr: &Expr,
        input: &Data,
        bound: &[(Used, Arc<Json>)],
    ) -> Option<Result<Json, Failure>> {
        let bind = |wanted: &Used| {
            bound.iter().find(|(used, _)| used == wanted).map(|(_, v)| v.clone()).unwrap()
        };
        if let Some(known) = &mut self.known_apart {
            *known = known.checked_sub(1)?;
        }
        let limits = Limits { fuel: 500_000, ..Limits::INLINE };
        Some(expr.evaluate(input, bind, limits))
    }
}

/// One case and what is around it.
pub struct World {
    pub definition: Arc<Definition>,
    pub id: CaseId,
    pub state: Option<State>,
    pub history: Arc<Vec<(Timestamp, Event)>>,
    pub now: Timestamp,
    /// Since when the process has it.
    pub taken_over: Timestamp,
    pub ctx: TestDesk,
    pub effects: VecDeque<Effect>,
    pub more: bool,
    /// Events that the last decision has dealt with.
    pub heard: usize,
    /// Jobs that were handed to workers.
    pub given: Vec<GivenJob>,
}

/// A world around a definition of this body.
pub fn world(body: &str) -> World {
    let head = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n";
    let text =
        if body.starts_with("document:") { body.to_owned() } else { format!("{head}{body}") };
    let compiled = compile(&text, Format::Yaml, &Surroundings::unknown())
        .unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
    World::around(compiled.definition)
}

/// The same, with the case started and every echo answered until nothing moves.
pub fn echo_world(body: &str, input: Json) -> World {
    let mut world = world(body);
    world.start(input);
    world.settle_echoes();
    world
}

impl World {
    pub fn around(definition: Arc<Definition>) -> Self {
        Self {
            definition,
            id: CaseId(Bits([7; 16])),
            state: None,
            history: Arc::default(),
            now: START,
            taken_over: START,
            ctx: TestDesk::default(),
            effects: VecDeque::new(),
            more: false,
            heard: 0,
            given: Vec::new(),
        }
    }

    pub fn submission(&self, input: Json) -> Box<Submission> {
        Box::new(Submission {
            definition: self.definition.id.clone(),
            input: Data::from(input),
            subject: None,
            tags: Arc::new([]),
            priority: None,
            fingerprint: None,
            parent: None,
        })
    }

    #[track_caller]
    pub fn start(&mut self, input: Json) {
        let submission = self.submission(input);
        self.tell(Command::Start(Some(submission)));
    }

    /// A command that must be allowed, and everything that goes on by itself.
    #[track_caller]
    pub fn tell(&mut self, command: Command) {
        self.try_tell(command).unwrap_or_else(|rejection| panic!("{rejection:?}"));
    }

    #[track_caller]
    pub fn try_tell(&mut self, command: Command) -> Result<(), Rejection> {
        self.tell_once(&command)?;
        for _ in 0..1000 {
            if !self.more {
                return Ok(());
            }
            self.tell_once(&Command::Continue)?;
        }
        panic!("it goes on for ever");
    }

    #[track_caller]
    pub fn tell_once(&mut self, command: &Command) -> Result<(), Rejection> {
        let facts = Facts { now: self.now, seed: 42, taken_over: self.taken_over };
        let state = self.state.as_ref();
        let mut ctx = TestDesk { history: self.history.clone(), ..self.ctx.clone() };
        let decided = decide(&self.definition, self.id, state, command, facts, &mut ctx);
        drop(ctx);
        match decided {
            Ok(decided) => self.commit(decided),
            Err(Halt::Rejected(rejection)) => return Err(rejection),
            Err(halt) => panic!("{command:?}: {halt:?}"),
        }
        Ok(())
    }

    /// Takes the decision over, once it is seen that its events lead to its state.
    #[track_caller]
    fn commit(&mut self, decided: Decided) {
        let Decided { state, events, effects, more, heard, given } = decided;
        let at = self.now.max(self.state.as_ref().map_or(self.now, |s| s.updated_at));
        let mut folded = self.state.clone();
        for event in &events {
            let state = folded.get_or_insert_with(|| first_blank(self.id, event, at));
            evolve(&self.definition, state, event, at).unwrap_or_else(|e| panic!("{e}: {event:?}"));
        }
        if !events.is_empty() {
            assert_eq!(folded.as_ref(), Some(&state), "replay differs from live");
        }
        // and there is room for what frames it
        let size: usize = events.iter().map(event_size).sum();
        assert!(size < 700 * 1024, "a decision of {size} bytes is no record");
        let told = events.into_iter().map(|event| (at, event));
        Arc::make_mut(&mut self.history).extend(told);
        invariants::check(&self.definition, &state)
            .unwrap_or_else(|e| panic!("{e}\n{}{state:#?}", self.told()));
        self.state = Some(state);
        self.effects.extend(effects);
        self.more = more;
        self.heard = heard;
        self.given.extend(given.map(|job| *job));
    }

    /// The history, a line for each event.
    pub fn told(&self) -> String {
        let line = |(at, event): &(Timestamp, Event)| format!("{:>7} {event:?}\n", at.since(START));
        self.history.iter().map(line).collect()
    }

    /// Forgets what is in memory and folds the first `length` events again, as after a crash.
    pub fn replayed(&self, length: usize) -> World {
        let mut world = World::around(self.definition.clone());
        world.id = self.id;
        world.ctx = self.ctx.clone();
        world.now = self.now;
        for (at, event) in &self.history[..length] {
            let state = world.state.get_or_insert_with(|| first_blank(self.id, event, *at));
            evolve(&self.definition, state, event, *at).unwrap_or_else(|e| panic!("{e}"));
        }
        world.history = Arc::new(self.history[..length].to_vec());
        world
    }

    #[track_caller]
    pub fn state(&self) -> &State {
        self.state.as_ref().expect("the case exists")
    }

    pub fn phase(&self) -> Phase {
        self.state().phase
    }

    #[track_caller]
    pub fn output(&self) -> Json {
        let state = self.state();
        assert_eq!(state.phase, Phase::Completed, "{:?} {:#?}", state.error, self.shown_wait());
        state.output.as_deref().cloned().unwrap_or_default()
    }

    #[track_caller]
    pub fn error(&self) -> Problem {
        self.state().error.clone().unwrap_or_else(|| panic!("{:#?}", self.state()))
    }

    pub fn shown_wait(&self) -> Option<Wait> {
        derive::shown(derive::waits(&self.definition, self.state())).map(|w| w.wait)
    }

    /// Moves the clock and tells the case.
    #[track_caller]
    pub fn pass(&mut self, millis: i64) {
        self.now = self.now.plus(millis);
        self.tell(Command::Timer);
    }

    /// Moves the clock to the next instant that the case waits for.
    #[track_caller]
    pub fn pass_to_next(&mut self) {
        let due = derive::next_due(self.state()).expect("it waits for an instant");
        self.now = self.now.max(due);
        self.tell(Command::Timer);
    }

    /// The one effect in flight.
    #[track_caller]
    pub fn effect(&mut self) -> Effect {
        assert_eq!(self.effects.len(), 1, "{:#?}", self.effects);
        self.effects.pop_front().unwrap()
    }

    #[track_caller]
    pub fn request(&self, place: usize) -> HttpRequest {
        match &self.effects[place].ask {
            Ask::Http(request) => (**request).clone(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn answer(&mut self, effect: &Effect, outcome: Outcome) {
        let (task, iteration, attempt) = (effect.task, effect.iteration, effect.attempt);
        self.tell(Command::Result { task, iteration, attempt, outcome });
    }

    /// An event, as it comes for the first that listens for its type.
    pub fn incoming(&self, position: u64, event: Json) -> Arc<Vec<Incoming>> {
        let nobody = Listener { task: TaskId(u32::MAX), filter: 0, expected: None };
        let summary = Summary::of(&self.definition, self.state());
        let kind = event["type"].as_str();
        let wanted_by = summary.listening.iter().find_map(|listening| {
            let fits = |on: &&Listened| on.event_type.is_none() || on.event_type.as_deref() == kind;
            let Listened { filter, expected, .. } = *listening.on.iter().find(fits)?;
            Some(Listener { task: listening.task, filter, expected })
        });
        let wanted_by = wanted_by.unwrap_or(nobody);
        let position = EventCursor(position);
        Arc::new(vec![Incoming { event: event.into(), position, wanted_by }])
    }

    /// Answers the oldest effect in flight.
    #[track_caller]
    pub fn answer_next(&mut self, outcome: Outcome) {
        let effect = self.effects.pop_front().expect("an effect is in flight");
        self.answer(&effect, outcome);
    }

    /// Answers every echo with itself until none is left.
    #[track_caller]
    pub fn settle_echoes(&mut self) {
        let mut others = VecDeque::new();
        while let Some(effect) = self.effects.pop_front() {
            match &effect.ask {
                Ask::Echo(data) | Ask::Emit(data) => {
                    let outcome = Outcome::Done(data.clone());
                    self.answer(&effect, outcome);
                }
                _ => others.push_back(effect),
            }
        }
        self.effects = others;
    }

    /// The names of tasks in the order in which they started.
    pub fn started(&self) -> Vec<String> {
        let name = |event: &Event| match event {
            Event::Task(task) => match &task.change {
                Change::Started { .. } => Some(self.definition.task(task.task).name.to_string()),
                _ => None,
            },
            _ => None,
        };
        self.history.iter().filter_map(|(_, event)| name(event)).collect()
    }

    pub fn statuses(&self) -> Vec<String> {
        let status = |event: &Event| match event {
            Event::Status { status } => Some(status.to_string()),
            _ => None,
        };
        self.history.iter().filter_map(|(_, event)| status(event)).collect()
    }
}

fn first_blank(id: CaseId, event: &Event, at: Timestamp) -> State {
    let submission = match event {
        Event::Accepted(submission) => &**submission,
        Event::Started(start) => start.submission.as_ref().expect("a submission"),
        other => panic!("{other:?} is no first event"),
    };
    blank(id, submission, at)
}

pub fn done(value: Json) -> Outcome {
    Outcome::Done(Data::from(value))
}

pub fn failed(status: i64) -> Outcome {
    let error = Problem::new(Standard::Communication, "no").with_status(status);
    Outcome::Failed { error, server: status >= 500 }
}

pub fn not_done() -> Outcome {
    let error = Problem::new(Standard::Communication, "no connection").with_status(503);
    Outcome::NotDone { error, retry_after: None, health: Health::default() }
}

pub fn unknown() -> Outcome {
    let error = Problem::new(Standard::Communication, "no answer").with_status(504);
    Outcome::Unknown { error, health: Health::default() }
}

/// A CloudEvent of a type, with data.
pub fn event(kind: &str, subject: &str, data: Json) -> Json {
    json!({"specversion": "1.0", "id": "1", "source": "test", "type": kind, "subject": subject, "data": data})
}
