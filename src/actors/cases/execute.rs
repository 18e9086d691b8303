//! One command, from the state to the answer: decided, committed, then acted upon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::ActorRef;

use crate::actors::cases::case_ref::CaseRef;
use crate::actors::cases::committed::Committed;
use crate::actors::cases::dispatch::{Dispatch, dispatch};
use crate::actors::cases::load::{LoadError, Loaded, load};
use crate::actors::cases::make::{Made, make};
use crate::actors::cases::message::{CaseMsg, CaseReply, CommandError, CommandMeta};
use crate::actors::cases::state::CaseState;
use crate::actors::cases::watches::Reached;
use crate::actors::context::Context;
use crate::actors::effects::attempts::AttemptKey;
use crate::actors::services::handle::CallPermit;
use crate::domain::case::command::{Command, Rejection};
use crate::domain::case::decide::remember;
use crate::domain::case::derive;
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::event::{Event, Submission};
use crate::domain::case::interpret::{Decided, Halt, is_braked};
use crate::domain::case::job;
use crate::domain::case::summary::{Summary, answered};
use crate::domain::case::worked::worked;
use crate::domain::ids::Entity;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::Definition;
use crate::store::commit_note::CommitNote;
use crate::store::events;
use crate::store::journal::{Append, LEFT_OPEN, Refused, Settled, append_until_known};
use crate::store::record::{self, Hash, Header, SCHEMA};
use crate::store::snapshots::Snapshot;

/// Between two decisions of a case that only moves itself. A decision has some 500 steps of one or two
/// events, and 256 KiB.
const BRAKED: Duration = Duration::from_millis(40);

/// Times that a decision is made anew because somebody else wrote first.
const CONFLICTS: usize = 3;

/// Events after which a moving case leaves a snapshot.
const SNAPSHOT_EVERY: u64 = 50;

/// Events after which one that comes to rest does.
const SNAPSHOT_AT_REST: u64 = 16;

/// What became of one try.
enum Tried {
    CaseReply(CaseReply),
    /// Somebody else wrote first.
    Conflict,
}

impl CaseState {
    /// Carries out a command.
    pub(super) async fn carry_out(
        &mut self,
        me: &ActorRef<CaseMsg>,
        command: &Command,
        meta: &CommandMeta,
    ) -> Result<CaseReply, CommandError> {
        for _ in 0..CONFLICTS {
            if let Err(error) = self.ensure_loaded(me).await {
                self.give_back(command, false);
                return Err(error);
            }
            self.hears(command);
            let tried = self.attempt(me, command, meta).await;
            self.give_back(command, tried.is_ok());
            if !matches!(tried, Ok(Tried::Conflict)) {
                self.ask_for_people(command);
            }
            match tried? {
                Tried::CaseReply(told) => return Ok(told),
                Tried::Conflict => {
                    self.case = None;
                    self.asked.clear();
                    self.planning.clear();
                }
            }
        }
        Err(CommandError::Unavailable("the case is being written by somebody else".to_owned()))
    }

    /// A place that a service kept for the case is free again, if the case has not taken it. Where it could
    /// not be asked, its turn comes again after a while.
    fn give_back(&self, command: &Command, asked: bool) {
        if let Command::Admit { service } = command
            && let Some(served) = self.context.services.find(service)
        {
            match asked {
                true => served.decline(self.id),
                false => served.put_off(self.id),
            }
        }
    }

    async fn ensure_loaded(&mut self, me: &ActorRef<CaseMsg>) -> Result<(), CommandError> {
        if self.case.is_some() {
            return Ok(());
        }
        let context = self.context.clone();
        let snapshot = context.snapshot(self.id);
        let loaded = load(&context.journal, &context.definitions, self.id, snapshot).await;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(LoadError::NotFound) => return Ok(()),
            Err(error) if error.is_of_the_case() => {
                return Err(CommandError::Broken(error.to_string()));
            }
            Err(error) => return Err(CommandError::Unavailable(error.to_string())),
        };
        let owes = derive::owes(&loaded.state);
        self.snapshot = loaded.state.version;
        self.case = Some(loaded);
        if owes {
            // attempts of a process that is gone are lost, and whatever it was about to do is not done
            let recovered = self.attempt(me, &Command::Recover, &CommandMeta::engine()).await;
            if !matches!(recovered, Ok(Tried::CaseReply(_))) {
                // whoever loads it next makes up for it
                self.case = None;
            }
            if let Tried::Conflict = recovered? {
                let detail = "the case is being written by somebody else".to_owned();
                return Err(CommandError::Unavailable(detail));
            }
        }
        // what came for an actor that is gone, or could not be written
        for ((task, iteration, attempt), outcome) in context.attempts.results(self.id) {
            let outcome = Box::new(outcome);
            let _ = me.cast(CaseMsg::Result { task, iteration, attempt, outcome });
        }
        Ok(())
    }

    async fn attempt(
        &mut self,
        me: &ActorRef<CaseMsg>,
        command: &Command,
        meta: &CommandMeta,
    ) -> Result<Tried, CommandError> {
        if let Some(case) = &self.case {
            let known = meta.command.is_some_and(|id| case.state.commands.contains(&id));
            if known {
                let told = self.told(true)?;
                return Ok(Tried::CaseReply(CaseReply { job: self.stands(command), ..told }));
            }
            if meta.if_match.is_some_and(|version| version != case.state.version) {
                return Err(CommandError::Stale(case.state.version));
            }
        } else if submission_of(command).is_none() {
            return Err(CommandError::NotFound);
        }
        let made = match self.make(command).await {
            Ok(made) => made,
            Err(Halt::Rejected(Rejection::Exists(_))) => {
                return self.submitted_before(command).map(Tried::CaseReply);
            }
            Err(Halt::Rejected(rejection)) => return Err(rejection.into()),
            Err(Halt::Corrupt(corrupt)) => return Err(CommandError::Broken(corrupt.to_string())),
            Err(Halt::Evaluating) => {
                let detail = "what the decision needs cannot be read now".to_owned();
                return Err(CommandError::Unavailable(detail));
            }
        };
        let (heard, given) = (made.decided.heard, made.decided.given.clone());
        let tried = if made.decided.events.is_empty() {
            // what was committed long ago and is owed still, as a child to be cancelled
            self.dispatch(me, made.decided.effects, made.permits, Instant::now());
            Tried::CaseReply(self.told(false)?)
        } else {
            self.commit(me, made, meta).await?
        };
        Ok(match tried {
            Tried::CaseReply(told) => {
                let job = self.stands(command);
                Tried::CaseReply(CaseReply { heard, given, job, ..told })
            }
            Tried::Conflict => Tried::Conflict,
        })
    }

    /// Where the job is that a command was about.
    fn stands(&self, command: &Command) -> Option<&'static str> {
        let Command::Job { key, .. } = command else { return None };
        job::stands(&self.case.as_ref()?.state, *key, self.context.clock.now())
    }

    /// A submission that finds its case there: the same one again, or another under its key.
    fn submitted_before(&self, command: &Command) -> Result<CaseReply, CommandError> {
        let known = self.case.as_ref().and_then(|case| case.state.fingerprint);
        let again = submission_of(command).and_then(|submission| submission.fingerprint);
        if known == again { self.told(true) } else { Err(CommandError::Other(known)) }
    }

    fn told(&self, replayed: bool) -> Result<CaseReply, CommandError> {
        let state = &self.case.as_ref().ok_or(CommandError::NotFound)?.state;
        Ok(CaseReply {
            id: state.id,
            version: state.version,
            phase: state.phase,
            status: state.status.clone(),
            replayed,
            heard: 0,
            given: None,
            job: None,
        })
    }

    async fn make(&self, command: &Command) -> Result<Made, Halt> {
        let definition = match (&self.case, submission_of(command)) {
            (Some(case), _) => case.definition.clone(),
            (None, Some(submission)) => {
                let definition =
                    self.context.definitions.get(&submission.definition).await.ok().flatten();
                let Some(definition) = definition else {
                    let detail = "the workflow cannot be read".to_owned();
                    return Err(Rejection::Conflict { detail, allowed: Vec::new() }.into());
                };
                definition
            }
            (None, None) => return Err(Halt::Evaluating),
        };
        let state = self.case.as_ref().map(|case| &case.state);
        make(&self.context, &definition, self.id, state, command).await
    }

    async fn commit(
        &mut self,
        me: &ActorRef<CaseMsg>,
        made: Made,
        meta: &CommandMeta,
    ) -> Result<Tried, CommandError> {
        let definition = match self.case.as_ref() {
            Some(case) => case.definition.clone(),
            None => match self.context.definitions.get(&made.decided.state.definition).await {
                Ok(Some(definition)) => definition,
                Ok(None) | Err(_) => {
                    return Err(CommandError::Unavailable(
                        "the workflow cannot be read".to_owned(),
                    ));
                }
            },
        };
        let before = self.case.as_ref();
        let committed = match commit(&self.context, definition, before, made, meta, self.snapshot)
            .await
        {
            Ok(committed) => committed,
            Err(Uncommitted::Conflict) => return Ok(Tried::Conflict),
            Err(Uncommitted::Refused(Refused::TooLarge)) => {
                return Err(CommandError::Broken("a decision is larger than a record".to_owned()));
            }
            Err(Uncommitted::Refused(Refused::Closed)) => {
                return Err(CommandError::Unavailable("the process is ending".to_owned()));
            }
            Err(Uncommitted::LeftOpen) => return Err(CommandError::Unknown(LEFT_OPEN)),
        };
        self.take_up(me, committed);
        self.told(false).map(Tried::CaseReply)
    }

    /// Goes on from what was committed: the case stands there now, and its effects leave.
    pub(super) fn take_up(&mut self, me: &ActorRef<CaseMsg>, committed: Committed) {
        let Committed { case, effects, permits, more, snapshot, at } = committed;
        if snapshot {
            self.snapshot = case.state.version;
        }
        self.case = Some(case);
        self.dispatch(me, effects, permits, at);
        self.ask_for_people(&Command::Continue);
        if more {
            self.go_on(me);
        }
    }

    /// Goes on after a decision that was cut off; slowly where the case only moves itself.
    fn go_on(&self, me: &ActorRef<CaseMsg>) {
        let braked = self.case.as_ref().is_some_and(|case| is_braked(&case.state));
        if braked {
            me.send_after(BRAKED, || CaseMsg::GoOn);
        } else {
            let _ = me.cast(CaseMsg::GoOn);
        }
    }

    fn dispatch(
        &self,
        me: &ActorRef<CaseMsg>,
        effects: Vec<Effect>,
        mut permits: Vec<CallPermit>,
        committed: Instant,
    ) {
        for effect in effects {
            let place = effect.service.as_ref().and_then(|service| {
                permits.iter().position(|permit| permit.served().settings.name == *service)
            });
            let permit = place.map(|place| permits.swap_remove(place));
            let to = CaseRef::new(self.context.clone(), self.id, me.clone());
            dispatch(&self.context, Dispatch { effect, permit, committed, to });
        }
    }
}

/// Why a decision was not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncommitted {
    /// Somebody else wrote first.
    Conflict,
    Refused(Refused),
    /// The process ends, and it is not known.
    LeftOpen,
}

/// Commits a decision over a case as it was before; `snapshot` is the version of its last one.
///
/// # Errors
/// When it was not committed.
pub async fn commit(
    context: &Arc<Context>,
    definition: Arc<Definition>,
    before: Option<&Loaded>,
    made: Made,
    meta: &CommandMeta,
    snapshot: u64,
) -> Result<Committed, Uncommitted> {
    let Made { mut decided, permits, at } = made;
    if let Some(command) = meta.command {
        remember(&mut decided.state, command);
    }
    let (record, hash) = compose(&decided, before.map_or([0; 16], |case| case.hash), at, meta);
    let Decided { state, events, effects, more, heard: _, given: _ } = decided;
    let fence = before.and_then(|case| case.fence);
    let before = before.map(|case| &case.state);
    let jobs_before = before.map(job::rows).unwrap_or_default();
    let count = events.len() as u64;
    let summary = Summary::of(&definition, &state);
    let since = state.version - snapshot.min(state.version);
    let rests = derive::rests(&state);
    let enough = if rests { SNAPSHOT_AT_REST } else { SNAPSHOT_EVERY };
    let snapshot = (since >= enough && !state.phase.ended())
        .then(|| Snapshot { state: state.clone(), hash }.encode());
    let snapshot_taken = snapshot.is_some();
    let due = summary.due;
    let jobs = (jobs_before, summary.jobs.clone());
    let alerted = events.iter().any(|event| matches!(event, Event::Alerted { .. }));
    let alerted = alerted.then(|| summary.clone());
    let answered = answered(&definition, before, &events);
    let service = answered.last().map(|(service, _)| service.clone());
    let worked = worked(&definition, before, &events, at);
    let note = CommitNote { rests, answered, worked, summary: Box::new(summary), snapshot };
    let append = Append {
        entity: Entity::from(state.id),
        fence,
        first: state.version - count + 1,
        record: record.into(),
        note: Some(note),
    };
    let attempts = effects.iter().filter_map(attempt_of);
    let attempts: Vec<AttemptKey> =
        attempts.filter(|attempt| context.attempts.begin(*attempt)).collect();
    // what is sent late counts from before it was written
    let at = Instant::now();
    let settled = append_until_known(&context.journal, append).await;
    let Settled::Committed(fence) = settled else {
        attempts.iter().for_each(|attempt| context.attempts.end(*attempt));
        return Err(match settled {
            Settled::Refused(refused) => Uncommitted::Refused(refused),
            Settled::LeftOpen => Uncommitted::LeftOpen,
            Settled::Conflict | Settled::Committed(_) => Uncommitted::Conflict,
        });
    };
    let reached = Reached { version: state.version, ended: state.phase.ended() };
    context.count_phase(before.map(|s| s.phase), state.phase);
    if let Some(alerted) = &alerted {
        context.tell_of_alerts(alerted, service.as_deref(), &events);
    }
    context.watches.reached(state.id, reached);
    context.jobs_committed(state.id, (&jobs.0, &jobs.1));
    if state.phase.ended() {
        context.schedules.case_ended(state.id);
    }
    if let Some(due) = due {
        context.timers.note(due, state.id);
    }
    let case = Loaded { definition, state, hash, fence: Some(fence) };
    Ok(Committed { case, effects, permits, more, snapshot: snapshot_taken, at })
}

/// The attempt that an effect is, if it is one.
fn attempt_of(effect: &Effect) -> Option<AttemptKey> {
    let is_attempt = !matches!(effect.ask, Ask::CancelChild(_) | Ask::LeaveChild | Ask::Prepare(_));
    is_attempt.then_some((effect.case, effect.task, effect.iteration, effect.attempt))
}

/// The record of a decision, and its hash.
fn compose(
    decided: &Decided,
    previous: Hash,
    at: Timestamp,
    meta: &CommandMeta,
) -> (Vec<u8>, Hash) {
    let count = decided.events.len() as u64;
    let header = Header {
        schema: SCHEMA,
        entity: Entity::from(decided.state.id),
        version: decided.state.version - count + 1,
        count,
        at,
        previous,
        command: meta.command,
        by: meta.by.clone(),
    };
    let record = record::encode(&header, &events::encode(&decided.events));
    let hash = record::hash(&record);
    (record, hash)
}

/// What a command submits, if it does.
pub fn submission_of(command: &Command) -> Option<&Submission> {
    match command {
        Command::Accept(submission) | Command::Start(Some(submission)) => Some(submission),
        _ => None,
    }
}
