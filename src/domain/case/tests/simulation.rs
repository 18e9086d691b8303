//! One case among third parties that act without answering, answer late or twice, refuse and come
//! back, while the process dies and persons come at the worst moment. The parties' books are the
//! oracle: no key is acted upon twice unless that was asked for, what was done is undone once where
//! the case was unwound, nothing stands still, no secret is told, and what is kept stays bounded.
//!
//! `make simulate SEEDS=…` runs as many as one likes; a failing one shrinks and prints itself.

mod books;
mod oracles;
mod workers;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value as Json, json};

use self::books::{Books, output};
use self::workers::{InHand, Worker};
use super::generated::definition;
use super::world;
use super::world::{World, done, failed, not_done, unknown};
use crate::domain::case::command::{ChildOutcome, Command, Fetched, Health, Outcome, Verdict};
use crate::domain::case::derive;
use crate::domain::case::effect::{Ask, Effect, Preparation};
use crate::domain::case::event::WaitKind;
use crate::domain::case::ledger::{Kept, Knowledge};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::{Activation, Stage};

/// What no event may ever hold.
const CANARY: &str = "c4n4ry";

/// Entries that a ledger of so small a definition may have.
const LEDGER_MAX: usize = 200;

/// Events that so small a case may have.
const EVENTS_MAX: usize = 20_000;

/// How a party behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Well,
    ActsAndIsSilent,
    IsSilent,
    /// It hears of nothing: the call never left us.
    IsNotAsked,
    Refuses,
    Errs(i64),
    ActsAndErrs,
    AnswersLate,
    AnswersTwice,
    /// It acts, and nobody can read its answer.
    ActsUnreadably,
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Send(Manner),
    Late,
    NextInstant,
    Pass(i64),
    Event(u64),
    Open,
    Close,
    Suspend,
    Resume,
    Cancel,
    Person,
    Crash(bool),
    Child(bool),
    /// A worker does something with a job, or takes one more.
    Work(Worker),
    TakeJob,
}

fn happening() -> impl Strategy<Value = Happening> {
    let manner = prop_oneof![
        8 => Just(Manner::Well),
        2 => Just(Manner::ActsAndIsSilent),
        2 => Just(Manner::IsSilent),
        1 => Just(Manner::IsNotAsked),
        2 => Just(Manner::Refuses),
        1 => Just(Manner::Errs(418)),
        1 => Just(Manner::Errs(500)),
        1 => Just(Manner::ActsAndErrs),
        2 => Just(Manner::AnswersLate),
        1 => Just(Manner::AnswersTwice),
        1 => Just(Manner::ActsUnreadably),
    ];
    let worker = prop_oneof![
        5 => Just(Worker::Does),
        1 => Just(Worker::SaysTwice),
        2 => Just(Worker::DoesAndIsLost),
        1 => Just(Worker::Dies),
        1 => Just(Worker::FailsForNow),
        1 => Just(Worker::Fails),
        1 => Just(Worker::GivesBack),
    ];
    prop_oneof![
        12 => manner.prop_map(Happening::Send),
        3 => Just(Happening::Late),
        4 => Just(Happening::NextInstant),
        1 => (0i64..40_000).prop_map(Happening::Pass),
        1 => (1u64..20).prop_map(Happening::Event),
        1 => Just(Happening::Open),
        2 => Just(Happening::Close),
        1 => Just(Happening::Suspend),
        2 => Just(Happening::Resume),
        1 => Just(Happening::Cancel),
        2 => Just(Happening::Person),
        2 => any::<bool>().prop_map(Happening::Crash),
        2 => any::<bool>().prop_map(Happening::Child),
        4 => worker.prop_map(Happening::Work),
        1 => Just(Happening::TakeJob),
    ]
}

/// A case, the parties, and answers that are on their way.
struct Run {
    world: World,
    books: Books,
    late: Vec<(Effect, Outcome)>,
    /// Jobs that workers have, or believe they have.
    in_hand: Vec<InHand>,
    leases: u32,
}

impl Run {
    fn begin(body: &str, honours_key: bool) -> Self {
        let mut world = world(body);
        world.ctx.honours_key = honours_key;
        world.ctx.secrets.insert("shop".into(), Arc::new(json!({"token": CANARY})));
        world.start(json!({"n": 0}));
        let (books, late, in_hand) = (Books::default(), Vec::new(), Vec::new());
        Self { world, books, late, in_hand, leases: 0 }
    }

    fn answer(&mut self, effect: &Effect, outcome: Outcome) {
        let (task, iteration, attempt) = (effect.task, effect.iteration, effect.attempt);
        let _ = self.world.try_tell(Command::Result { task, iteration, attempt, outcome });
    }

    /// What a party does with a request, as it sees it.
    fn done_by_party(&mut self, effect: &Effect) -> Option<Json> {
        let Ask::Http(request) = &effect.ask else { return Some(json!({"n": 1})) };
        if request.url.ends_with("/act") {
            let key = (effect.task, effect.iteration);
            self.books.keys.insert(key, effect.key.clone());
            return Some(self.books.act(&self.world, effect, request));
        }
        if request.url.contains("/asked") {
            let known = self.books.standing(&effect.key);
            return Some(json!({"found": known.is_some(), "act": known.map(output)}));
        }
        match request.url.ends_with("/undo-all") {
            true => self.books.undo_all(effect, &self.world),
            false => self.books.undo(effect, &request.url, &self.world),
        }
        None
    }

    fn send(&mut self, manner: Manner) {
        let Some(effect) = self.world.effects.pop_front() else { return };
        if let Ask::Http(request) = &effect.ask
            && request.url.ends_with("/act")
        {
            self.books.keys.insert((effect.task, effect.iteration), effect.key.clone());
        }
        if matches!(effect.ask, Ask::Prepare(_)) {
            return self.fetch(effect, manner);
        }
        let outside = matches!(effect.ask, Ask::Http(_));
        let manner = if outside { manner } else { Manner::Well };
        let acts = !matches!(
            manner,
            Manner::IsSilent | Manner::IsNotAsked | Manner::Refuses | Manner::Errs(_)
        );
        let answer =
            if acts { self.done_by_party(&effect).unwrap_or_default() } else { json!(null) };
        let outcome = match manner {
            Manner::Well | Manner::AnswersLate | Manner::AnswersTwice => done(answer),
            Manner::ActsAndIsSilent | Manner::IsSilent => unknown(),
            Manner::IsNotAsked => Outcome::NotSent,
            Manner::Refuses => not_done(),
            Manner::Errs(status) => failed(status),
            Manner::ActsAndErrs => failed(500),
            Manner::ActsUnreadably => unusable(),
        };
        if matches!(manner, Manner::ActsAndErrs | Manner::Errs(500)) {
            self.books.erred.insert(effect.key.clone());
        }
        match manner {
            Manner::AnswersLate => self.late.push((effect, outcome)),
            Manner::AnswersTwice => {
                self.answer(&effect, outcome.clone());
                let asks = matches!(&effect.ask, Ask::Http(http) if http.url.contains("/asked"));
                match asks {
                    // the number of an answered question may be given to a call later on
                    true => self.answer(&effect, outcome),
                    false => self.late.push((effect, outcome)),
                }
            }
            _ => self.answer(&effect, outcome),
        }
    }

    /// What a call needs first comes or not; a late answer comes when another case has brought it.
    fn fetch(&mut self, effect: Effect, manner: Manner) {
        let error = || Problem::new(Standard::Communication, "no token").with_status(503);
        let health = Health::default();
        let missed = Fetched::Missed { error: error(), retry_after: None, health };
        let fetched = match manner {
            Manner::Well | Manner::AnswersTwice => Fetched::Here,
            Manner::IsNotAsked => Fetched::NotSent,
            Manner::Errs(_) | Manner::ActsUnreadably => Fetched::Useless { error: error() },
            _ => missed.clone(),
        };
        let comes = matches!(manner, Manner::Well | Manner::AnswersTwice | Manner::AnswersLate);
        if let Ask::Prepare(preparation) = &effect.ask
            && let Preparation::Token { key, .. } = &**preparation
            && comes
        {
            self.world.ctx.tokens.insert(*key, "t0ken".into());
        }
        if matches!(manner, Manner::AnswersLate | Manner::AnswersTwice) {
            self.late.push((effect.clone(), Outcome::Fetched(missed)));
        }
        if manner != Manner::AnswersLate {
            self.answer(&effect, Outcome::Fetched(fetched));
        }
    }

    /// A person who has asked the parties says of each unknown attempt whether it was done, and has
    /// all else tried again.
    fn person(&mut self) {
        let mut unknown = Vec::new();
        self.world.state().walk(&mut |activation: &Activation| {
            if activation.call().is_some_and(|call| matches!(call.stage, Stage::Person { .. })) {
                unknown.push((activation.task, activation.iteration));
            }
        });
        self.undo_by_hand();
        let reason = || "asked".to_owned();
        for place in unknown {
            let key = self.books.keys.get(&place);
            let known = key.and_then(|key| self.books.standing(key));
            let (outcome, output) = match known {
                Some(act) => (Verdict::Done, Some(output(act).into())),
                None => (Verdict::Repeat, None),
            };
            let task = Some(self.world.definition.task(place.0).reference.to_string());
            let _ = self.world.try_tell(Command::Retry {
                reason: reason(),
                task,
                outcome: Some(outcome),
                output,
            });
        }
        let (task, outcome, output) = (None, None, None);
        let _ = self.world.try_tell(Command::Retry { reason: reason(), task, outcome, output });
    }

    /// A person undoes what cannot be undone from here, since the answer that says what it was is gone.
    fn undo_by_hand(&mut self) {
        let state = self.world.state();
        let Some(undoing) = state.undoing.as_deref() else { return };
        let task = self.world.definition.task(undoing.task);
        let key = task.parent().map(|undone| (undone, undoing.iteration));
        let entry = key.and_then(|key| state.ledger.get(key));
        let gone = entry.is_some_and(|e| e.knowledge == Knowledge::Done(Kept::Gone));
        let mut failing = None;
        undoing.walk(&mut |activation| {
            if activation.failed.as_ref().is_some_and(|failed| failed.uncaught) {
                failing = Some(activation.task);
            }
        });
        let Some(failing) = failing.filter(|_| gone) else { return };
        let reference = self.world.definition.task(failing).reference.to_string();
        let key = key.and_then(|key| self.books.keys.get(&key));
        if let Some(act) = key.and_then(|key| self.books.standing(key)) {
            self.books.acts[act].undone.insert("by hand".to_owned());
        }
        let _ = self.world.try_tell(Command::Retry {
            reason: "undone by hand".to_owned(),
            task: Some(reference),
            outcome: Some(Verdict::Done),
            output: None,
        });
    }

    fn happen(&mut self, happening: Happening) {
        let reason = "because".to_owned();
        let command = match happening {
            Happening::Send(manner) => return self.send(manner),
            Happening::Late => {
                if let Some((effect, outcome)) = self.late.pop() {
                    self.answer(&effect, outcome);
                }
                return;
            }
            Happening::Person => return self.person(),
            Happening::Work(how) => return self.work(how),
            Happening::TakeJob => return self.take_job(),
            Happening::NextInstant => {
                let Some(due) = derive::next_due(self.world.state()) else { return };
                self.world.now = self.world.now.max(due);
                let _ = self.world.try_tell(Command::Timer);
                // one that came to nothing would hide those behind it
                let next = derive::next_due(self.world.state());
                assert!(
                    next.is_none_or(|next| next > self.world.now),
                    "{next:?} is over\n{}",
                    self.world.told()
                );
                return;
            }
            Happening::Pass(millis) => {
                self.world.now = self.world.now.plus(millis);
                Command::Timer
            }
            Happening::Event(position) => {
                let event = world::event("t", "", json!({"n": 3}));
                Command::Deliver(self.world.incoming(position, event))
            }
            Happening::Open => {
                self.world.ctx.open.insert("bob".into());
                return;
            }
            Happening::Close => {
                self.world.ctx.open.clear();
                Command::Admit { service: "bob".into() }
            }
            Happening::Suspend => Command::Suspend { reason },
            Happening::Resume => Command::Resume { reason },
            Happening::Cancel => Command::Cancel { reason },
            Happening::Crash(acted) => {
                // what was on its way has arrived or not, and no answer comes any more
                for effect in std::mem::take(&mut self.world.effects) {
                    if acted && matches!(effect.ask, Ask::Http(_)) {
                        self.done_by_party(&effect);
                    }
                }
                self.late.clear();
                let length = self.world.history.len();
                self.world = self.world.replayed(length);
                Command::Recover
            }
            Happening::Child(well) => {
                let mut child = None;
                self.world.state().walk(&mut |activation: &Activation| {
                    if let Some(Stage::Child { case, .. }) = activation.call().map(|c| &c.stage) {
                        child = Some(*case);
                    }
                });
                let Some(child) = child else { return };
                let outcome = match well {
                    true => ChildOutcome::Completed(json!({"n": 4}).into()),
                    false => ChildOutcome::Cancelled,
                };
                Command::ChildEnded { child, outcome }
            }
        };
        let _ = self.world.try_tell(command);
        self.nobody_waits_for_nothing();
    }

    /// What nothing holds back has gone on.
    fn nobody_waits_for_nothing(&self) {
        let state = self.world.state();
        if derive::holds(state) || !self.world.ctx.open.is_empty() {
            return;
        }
        state.walk(&mut |activation| {
            let stage = activation.call().map(|call| &call.stage);
            if let Some(Stage::Parked { wait, .. }) = stage {
                let held = wait.kind == WaitKind::Service && activation.failed.is_none();
                assert!(
                    !held,
                    "{} waits for a service that is there\n{}",
                    activation.task.0,
                    self.world.told()
                );
            }
        });
    }

    /// All is healed, and every person does their part, until the case has come to its end.
    fn finish(&mut self) {
        self.world.ctx.open.clear();
        for round in 0..500 {
            let state = self.world.state();
            let nothing_beside = state.undoing.is_none() && state.detached.is_empty();
            let still = derive::next_due(state).is_none() && nothing_beside;
            let through = !derive::owes(state) && state.alert.is_none() && still;
            if state.phase.ended() && through && self.world.effects.is_empty() {
                return;
            }
            for happening in [
                Happening::Close,
                Happening::Send(Manner::Well),
                Happening::Late,
                Happening::NextInstant,
                Happening::Resume,
                Happening::Person,
                Happening::Child(true),
                Happening::Work(Worker::Does),
            ] {
                self.happen(happening);
            }
            if round == 100 {
                // what fails whatever one does is cancelled
                self.happen(Happening::Cancel);
            }
            self.world.now = self.world.now.plus(60_000);
            let position = self.world.state().version + 1000;
            self.happen(Happening::Event(position));
        }
        panic!("it never ends: {:#?}\n{}", self.world.state(), self.world.told());
    }
}

/// There was an answer, which nobody can read.
fn unusable() -> Outcome {
    Outcome::Unusable { error: Problem::new(Standard::Communication, "it is no JSON") }
}

fn seeds() -> Option<u32> {
    std::env::var("SEEDS").ok()?.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig {
        // `make simulate SEEDS=…` says how many, and each run looks elsewhere
        cases: seeds().unwrap_or(2000),
        rng_seed: seeds().map_or(RngSeed::Fixed(6), |_| RngSeed::Random),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_books_agree(
        body in definition(),
        honours_key in prop::bool::weighted(0.2),
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let mut run = Run::begin(&body, honours_key);
        for happening in happenings {
            run.happen(happening);
        }
        run.finish();
        run.check();
    }
}
