//! The interpreter: finds the next step that a state calls for, and turns it into events. One file
//! for each part of the language; `scan` alone decides what comes next.

mod assignment;
mod attempt;
mod authorize;
mod brake;
mod change_plan;
mod children;
mod enter;
mod evaluate;
mod fail;
mod finish;
mod job;
mod listen;
mod notify;
mod person;
mod prepare;
mod recall;
mod retry;
mod scan;
mod settle;
mod staff;
mod start;
mod timing;
mod unwind;

use super::command::{Command, Facts, Rejection};
use super::decision_context::DecisionContext;
use super::effect::Effect;
use super::event::{Change, Event, Submission, TaskEvent};
use super::evolve::{self, CorruptHistory};
use super::job::GivenJob;
use super::notices;
use super::problem::Problem;
use super::state::{Activation, State, Stretch};
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Task, TaskId};

pub use assignment::allowed;
pub use brake::{EVENTS_BRAKED, is_braked};
pub use evaluate::{event_size, runtime_argument};
pub use settle::SEND_WITHIN;

/// Steps after which a decision ends, commits, and goes on by a command of its own.
const STEPS_MAX: u32 = 500;

/// Bytes of data after which it does. A step may add two values of the largest size, and all of it is one
/// record.
const BYTES_MAX: usize = 128 * 1024;

/// Operations of expressions after which it does: a decision holds up whoever shares its thread.
const SPENT_MAX: u64 = 300_000;

/// Why a decision ended early.
#[derive(Debug)]
pub enum Halt {
    /// An expression is being evaluated elsewhere, or something is read back; the decision is made again with
    /// what that comes to.
    Evaluating,
    /// The business "no".
    Rejected(Rejection),
    /// An event did not fit the state: a fault of ours, never of the definition or the data.
    Corrupt(CorruptHistory),
}

impl From<CorruptHistory> for Halt {
    fn from(corrupt: CorruptHistory) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Why something of a task did not work: an error of the workflow, or the decision has to end.
#[derive(Debug)]
enum Trouble {
    Problem(Problem),
    Halt(Halt),
}

impl From<Halt> for Trouble {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// A task and which entry of it.
type Key = (TaskId, u32);

/// One decision while it is made.
pub struct Interpreter<'a> {
    definition: &'a Definition,
    state: State,
    now: Timestamp,
    seed: u64,
    taken_over: Timestamp,
    /// The stretch before the last event.
    stretch: Stretch,
    ctx: &'a mut dyn DecisionContext,
    events: Vec<Event>,
    effects: Vec<Effect>,
    steps: u32,
    bytes: usize,
    /// Operations of expressions.
    spent: u64,
    /// Events from outside that were dealt with.
    heard: usize,
    /// The job that is handed to a worker.
    given: Option<Box<GivenJob>>,
}

/// What a decision came to.
#[derive(Debug)]
pub struct Decided {
    pub state: State,
    pub events: Vec<Event>,
    pub effects: Vec<Effect>,
    /// It was cut off: a `Continue` has to follow.
    pub more: bool,
    /// Of the events that came: how many need not come again.
    pub heard: usize,
    /// The job that is handed to a worker, once this is committed.
    pub given: Option<Box<GivenJob>>,
}

impl<'a> Interpreter<'a> {
    /// An interpreter over an existing case.
    pub fn over(
        definition: &'a Definition,
        state: State,
        facts: Facts,
        ctx: &'a mut dyn DecisionContext,
    ) -> Self {
        let now = facts.now.max(state.updated_at);
        Self {
            definition,
            stretch: state.stretch,
            state,
            now,
            seed: facts.seed,
            taken_over: facts.taken_over,
            ctx,
            events: Vec::new(),
            effects: Vec::new(),
            steps: 0,
            bytes: 0,
            spent: 0,
            heard: 0,
            given: None,
        }
    }

    /// An interpreter over a case that does not exist yet.
    pub fn blank(
        definition: &'a Definition,
        id: CaseId,
        submission: &Submission,
        facts: Facts,
        ctx: &'a mut dyn DecisionContext,
    ) -> Self {
        Self::over(definition, evolve::blank(id, submission, facts.now), facts, ctx)
    }

    /// Carries out a command and everything that follows from it.
    pub fn carry_out(mut self, command: &Command) -> Result<Decided, Halt> {
        let held = self.is_held();
        self.command(command)?;
        self.advance(held)
    }

    /// Goes on until nothing more can be done now. `held`: a person or a fault has held the case.
    fn advance(mut self, mut held: bool) -> Result<Decided, Halt> {
        let mut more = false;
        loop {
            if held && !self.is_held() {
                held = false;
                // what was let in meanwhile has not asked, and stands in no line
                self.ask_for_permits(None)?;
                self.admit_notices(None)?;
            }
            let Some(step) = self.next_step() else { break };
            let long = self.steps >= STEPS_MAX || self.spent >= SPENT_MAX;
            if long || self.bytes >= BYTES_MAX {
                more = true;
                break;
            }
            self.steps += 1;
            self.perform(step)?;
            self.brake()?;
            held |= self.is_held();
        }
        if let Some(through) = self.state.ledger.too_much() {
            self.emit(Event::Trimmed { through: Some(through) })?;
        }
        let Self { state, events, effects, heard, given, .. } = self;
        Ok(Decided { state, events, effects, more, heard, given })
    }

    fn command(&mut self, command: &Command) -> Result<(), Halt> {
        match command {
            Command::Accept(submission) => self.accept(submission),
            Command::Start(Some(submission)) => self.start_new(submission),
            Command::Start(None) => self.start_pending(),
            Command::Continue | Command::Timer => Ok(()),
            Command::Result { task, iteration, attempt, outcome } => match (*task, *iteration) {
                notices::KEY => self.notice_came(*attempt, outcome),
                key => self.settle(key, *attempt, outcome),
            },
            Command::Admit { service } => self.admit(service),
            Command::Deliver(incoming) => self.deliver(incoming),
            Command::ChildLeft { task, iteration } => self.child_left((*task, *iteration)),
            Command::ChildEnded { child, outcome } => self.child_ended(*child, outcome),
            Command::Job { key, act } => self.job(*key, act),
            Command::Recover => self.recover(),
            Command::Propose { plan, choices } => self.propose(*plan, choices),
            Command::Answered { csr, booking, number, what, answer } => {
                self.answered(csr, (*booking, *number), *what, answer)
            }
            Command::Displaced { booking, number, why } => self.displaced(*booking, *number, *why),
            Command::LookAgain => Ok(()),
            Command::ChangePlan(change) => self.change_plan(change),
            Command::Assignment { assignment, verb, if_match } => {
                self.assignment(*assignment, verb, *if_match)
            }
            Command::Suspend { reason } => self.suspend(reason),
            Command::Resume { reason } => self.resume(reason),
            Command::Cancel { reason } => self.cancel(reason),
            Command::Retry { reason, task, outcome, output } => {
                self.retry_by_person(reason, task.as_deref(), *outcome, output.as_ref())
            }
        }
    }

    fn emit(&mut self, event: Event) -> Result<(), Halt> {
        self.bytes += evaluate::event_size(&event);
        self.stretch = self.state.stretch;
        evolve::evolve(self.definition, &mut self.state, &event, self.now)?;
        self.events.push(event);
        Ok(())
    }

    fn emit_task(&mut self, (task, iteration): Key, change: Change) -> Result<(), Halt> {
        self.emit(Event::Task(TaskEvent { task, iteration, change }))
    }

    fn task(&self, id: TaskId) -> &'a Task {
        self.definition.task(id)
    }

    /// An activation that a step was found for; it is there, since nothing happened in between.
    fn open(&self, (task, iteration): Key) -> Result<&Activation, Halt> {
        let found = self.state.find(self.definition, task, iteration);
        found.ok_or_else(|| {
            let reference = &self.definition.task(task).reference;
            Halt::Corrupt(CorruptHistory(format!("{reference} is gone")))
        })
    }

    /// The next random number of this decision.
    fn random(&mut self) -> u64 {
        // splitmix64: good enough to spread delays
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
