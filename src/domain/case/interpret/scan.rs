//! What comes next, read off the state alone. This is the only place that decides it, so that a
//! case goes on from any prefix of its history.

use super::{Halt, Interpreter, Key};
use crate::domain::case::derive;
use crate::domain::case::event::WaitKind;
use crate::domain::case::notices;
use crate::domain::case::staff::{self, Due, Next};
use crate::domain::case::state::{Activation, Body, Branch, Stage, State, TryStage};
use crate::domain::ids::BookingId;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Kind, Strategy};

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The next task of the outermost list, or the workflow's end.
    EnterNextOfRoot,
    /// The next task of the list that this one works through, or its end.
    EnterNext(Key),
    /// A branch of a fork that has not begun.
    EnterBranch(Key, usize),
    /// A fork that is over.
    EndFork(Key),
    /// A task without anything to wait for.
    Execute(Key),
    /// A listening task that has what it listened for.
    EndListen(Key),
    /// A call that may start, start again, or ask for a permit again.
    Attempt(Key),
    /// A call that has waited for its service long enough.
    GiveUp(Key),
    WaitOver(Key),
    TaskTimeout(Key),
    /// A try's attempt took longer than the retry policy allows.
    AttemptTimeout(Key),
    /// An error that left a task and has not been dealt with.
    Propagate(Key),
    WorkflowTimeout,
    /// `then: end` was reached.
    Finish,
    /// The latest thing that is to be undone.
    Undo,
    EndUnwinding,
    /// A job that has stood in its queue as long as it may.
    Expire(Key),
    /// A call of the flow of which nobody knows whether it was done.
    SuspendUnknown(Key),
    /// Something waits for a person, and no person was told.
    Alert,
    /// The turn of a human task has come.
    Ready(BookingId),
    /// Something of a plan is due.
    PlanDue(Due),
    /// A task has the people or the outcomes that it waited for.
    EndStaff(Key),
    /// Somebody has to be told something.
    Notify,
}

impl Interpreter<'_> {
    pub(super) fn next_step(&self) -> Option<Step> {
        next_step(self.definition, &self.state, self.now)
    }

    /// Whether a limit of the task, or around it, is over.
    pub(super) fn is_out_of_time(&self, key: Key) -> bool {
        let around = self.state.ancestry(self.definition, key.0);
        let own = around.iter().any(|around| {
            around.clock.is_some_and(|clock| clock.is_over(self.now))
                || attempt_is_over(around, self.now)
        });
        let of_flow = self.task(key.0).undoing.is_none();
        let all = || of_flow && self.state.clock.is_some_and(|clock| clock.is_over(self.now));
        !self.is_detached(key) && (own || all())
    }

    pub(super) fn perform(&mut self, step: Step) -> Result<(), Halt> {
        match step {
            Step::EnterNextOfRoot => self.enter_next_of_root(),
            Step::EnterNext(key) => self.enter_next(key),
            Step::EnterBranch(key, place) => self.enter_branch(key, place),
            Step::EndFork(key) => self.end_fork(key),
            Step::Execute(key) => self.execute(key),
            Step::EndListen(key) => self.end_listen(key),
            Step::Attempt(key) => self.attempt(key),
            Step::GiveUp(key) => self.give_up(key),
            Step::WaitOver(key) => self.end_wait(key),
            Step::TaskTimeout(key) => self.task_timeout(key),
            Step::AttemptTimeout(key) => self.attempt_timeout(key),
            Step::Propagate(key) => self.propagate(key),
            Step::WorkflowTimeout => self.workflow_timeout(),
            Step::Finish => self.finish_early(),
            Step::Undo => self.undo_latest(),
            Step::EndUnwinding => self.end_unwinding(),
            Step::Expire(key) => self.expire(key),
            Step::SuspendUnknown(key) => self.suspend_unknown(key),
            Step::Alert => self.alert(),
            Step::Ready(booking) => self.ready(booking),
            Step::PlanDue(due) => self.plan_due(due),
            Step::EndStaff(key) => self.end_staff(key),
            Step::Notify => self.notify(),
        }
    }
}

/// The next step, if there is one at this time.
pub fn next_step(definition: &Definition, state: &State, now: Timestamp) -> Option<Step> {
    state.started_at?;
    flow_step(definition, state, now).or_else(|| {
        // what is told is what is so once nothing of the case moves by itself
        notices::next_due(state).is_some_and(|due| due <= now).then_some(Step::Notify)
    })
}

fn flow_step(definition: &Definition, state: &State, now: Timestamp) -> Option<Step> {
    let scan = Scan { definition, state, now, held: derive::holds(state), flow: true };
    // beside the flow, effects are settled while nothing holds the case; while it undoes what it did,
    // an error does not hold that up
    let stuck = state.stuck && state.unwinding.is_none();
    let free = Scan { definition, state, now, held: state.hold.is_some() || stuck, flow: false };
    if state.alert.is_none() && derive::cause_for_a_person(state).is_some() {
        // whom a person is told of has failed for good: an error of a compensation that may still be
        // caught goes on first
        let undoing = state.undoing.as_deref().filter(|_| state.unwinding.is_none());
        let goes_on = undoing.and_then(|undoing| free.activation(undoing));
        let goes_on = goes_on.filter(|step| matches!(step, Step::Propagate(_)));
        return goes_on.or(Some(Step::Alert));
    }
    let settling = state.detached.iter().find_map(|a| free.activation(a));
    if settling.is_some() {
        return settling;
    }
    // beside the flow, what has to be undone is undone whatever the flow waits for
    let beside = state.unwinding.is_none();
    let undo = if beside { &free } else { &scan };
    if let Some(undoing) = &state.undoing {
        return undo.activation(undoing).or_else(|| scan.flow(state));
    }
    let settled = beside || state.detached.is_empty();
    if settled && !undo.held && state.undo_due().is_some() {
        return Some(Step::Undo);
    }
    scan.flow(state)
}

struct Scan<'a> {
    definition: &'a Definition,
    state: &'a State,
    now: Timestamp,
    /// Nothing new starts: a person holds the case, or has to act.
    held: bool,
    /// What is scanned is part of the flow or of a compensation, not merely settled.
    flow: bool,
}

impl Scan<'_> {
    fn flow(&self, state: &State) -> Option<Step> {
        if state.ended_at.is_some() {
            return None;
        }
        if state.unwinding.is_some() {
            let over =
                state.detached.is_empty() && state.undoing.is_none() && state.undo_due().is_none();
            let over = over && staff::is_settled(state);
            return (over && !self.held).then_some(Step::EndUnwinding);
        }
        if staff::gives_back(state) {
            return None;
        }
        if !self.held && state.clock.is_some_and(|clock| clock.is_over(self.now)) {
            return Some(Step::WorkflowTimeout);
        }
        if let Some((_, due)) =
            staff::next_due(state).filter(|(at, _)| *at <= self.now && !self.held)
        {
            return Some(Step::PlanDue(due));
        }
        if state.flow.ending.is_some() {
            return (!self.held).then_some(Step::Finish);
        }
        match &state.flow.seq.child {
            Some(child) => self.activation(child),
            None => (!self.held).then_some(Step::EnterNextOfRoot),
        }
    }

    fn due(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }

    fn activation(&self, activation: &Activation) -> Option<Step> {
        let key = (activation.task, activation.iteration);
        // the error stands at the outermost failed task: what is below it has been dealt with
        if let Some(failed) = &activation.failed {
            return (!failed.uncaught && !self.held).then_some(Step::Propagate(key));
        }
        if !self.held && activation.clock.is_some_and(|clock| clock.is_over(self.now)) {
            return Some(Step::TaskTimeout(key));
        }
        if !self.held && attempt_is_over(activation, self.now) {
            return Some(Step::AttemptTimeout(key));
        }
        if derive::waits_for_undo(self.state, activation) {
            return None;
        }
        let below = || activation.children().into_iter().find_map(|child| self.activation(child));
        match &activation.body {
            Body::Fork(branches) if !self.held => self.fork(activation, branches, key),
            _ => below().or_else(|| self.own(activation, key)),
        }
    }

    fn own(&self, activation: &Activation, key: Key) -> Option<Step> {
        let free = !self.held;
        match &activation.body {
            Body::Instant => free.then_some(Step::Execute(key)),
            Body::List(seq) | Body::For { seq, .. } => {
                (free && seq.child.is_none()).then_some(Step::EnterNext(key))
            }
            Body::Try(inner) => match &inner.stage {
                TryStage::Pause { until } => {
                    (free && *until <= self.now).then_some(Step::EnterNext(key))
                }
                TryStage::Body(seq) | TryStage::Catch { seq, .. } => {
                    (free && seq.child.is_none()).then_some(Step::EnterNext(key))
                }
            },
            Body::Fork(_) => None,
            Body::Wait { until: None } => Some(Step::Execute(key)),
            Body::Wait { until } => self.due(*until).then_some(Step::WaitOver(key)),
            Body::Listen { expected, .. } if expected.is_null() => Some(Step::Execute(key)),
            Body::Listen { taken, .. } => {
                let complete = match &self.definition.task(key.0).kind {
                    Kind::Listen(listen) if listen.strategy == Strategy::All => {
                        taken.iter().all(Option::is_some)
                    }
                    _ => taken.iter().any(Option::is_some),
                };
                complete.then_some(Step::EndListen(key))
            }
            Body::Call(call) if free => match &call.stage {
                Stage::Ready => Some(Step::Attempt(key)),
                Stage::Pausing { until } => (*until <= self.now).then_some(Step::Attempt(key)),
                Stage::Parked { wait, .. } if self.due(wait.until) => match wait.kind {
                    WaitKind::Service => Some(Step::GiveUp(key)),
                    _ => Some(Step::Attempt(key)),
                },
                Stage::Person { .. } if self.flow => Some(Step::SuspendUnknown(key)),
                Stage::Queued { .. } => {
                    self.due(derive::expires(call)).then_some(Step::Expire(key))
                }
                Stage::Leased { .. }
                | Stage::Parked { .. }
                | Stage::Preparing { .. }
                | Stage::InFlight { .. }
                | Stage::Child { .. }
                | Stage::Person { .. } => None,
            },
            Body::Call(_) => None,
            Body::Staff { plan: None } => free.then_some(Step::Execute(key)),
            Body::Staff { .. } => match staff::next(self.state, activation) {
                Next::Ready(booking) => free.then_some(Step::Ready(booking)),
                Next::End => free.then_some(Step::EndStaff(key)),
                Next::Wait => None,
            },
        }
    }

    fn fork(&self, activation: &Activation, branches: &[Branch], key: Key) -> Option<Step> {
        let compete =
            matches!(&self.definition.task(activation.task).kind, Kind::Fork { compete: true, .. });
        let done = |branch: &Branch| matches!(branch, Branch::Done(_));
        let over = |branch: &Branch| matches!(branch, Branch::Done(_) | Branch::Dropped);
        if branches.iter().all(over) || (compete && branches.iter().any(done)) {
            return Some(Step::EndFork(key));
        }
        // branches that run go first, so that one that ends at once wins before others begin
        let below = activation.children().into_iter().find_map(|child| self.activation(child));
        if below.is_some() {
            return below;
        }
        let ready = branches.iter().position(|branch| matches!(branch, Branch::Ready));
        ready.map(|place| Step::EnterBranch(key, place))
    }
}

/// Whether the attempt of a try takes longer than its retry policy allows.
fn attempt_is_over(activation: &Activation, now: Timestamp) -> bool {
    let Body::Try(inner) = &activation.body else { return false };
    let TryStage::Body(seq) = &inner.stage else { return false };
    let fails = seq.child.as_ref().is_some_and(|child| child.failed.is_some());
    !fails && inner.clock.is_some_and(|clock| clock.is_over(now))
}
