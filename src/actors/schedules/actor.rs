//! The actor of one schedule: decides what is due, begins its cases, notes their ends and what operators say.
//!
//! Parent: the root. Its mailbox holds at most one `Look` from the handle and one from its alarm, an `Ended`
//! for each run under way, and the calls of operators. When it crashes it reads the schedule anew.

use std::collections::HashSet;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::handle::{ScheduleHandle, Seen};
use super::message::{ScheduleError, ScheduleMsg, Triggered};
use crate::actors::alarm::Alarm;
use crate::actors::context::Context;
use crate::domain::ids::{CaseId, EventCursor};
use crate::domain::schedule::decide::Rule;
use crate::domain::schedule::event::ScheduleEvent;
use crate::domain::schedule::hear::Incoming;
use crate::domain::schedule::state::State;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Timing};
use crate::store::journal::Journal;
use crate::store::record::By;

/// Milliseconds after which it looks again in any case: the wall may have been set.
const LOOK_AGAIN: i64 = 30_000;

/// Milliseconds after which what could not be done is tried again.
const TRY_AGAIN: i64 = 1000;

/// Events looked at in one go.
const HEARD_AT_A_TIME: usize = 100;

/// Places of the journal after which it is worth a record that none of their events began anything.
const WORTH_NOTING: u64 = 10_000;

/// Decisions in one go; then whoever else asks has a turn.
const DECISIONS: usize = 20;

/// The actor.
pub struct ScheduleActor;

/// What it lives on.
pub struct Live {
    pub(super) context: Arc<Context>,
    pub(super) schedule: Arc<ScheduleHandle>,
    pub(super) alarm: Alarm,
    /// Version of the last event with the state written down.
    pub(super) base: u64,
    /// Cases that are there.
    pub(super) begun: HashSet<CaseId>,
    /// Runs that may have ended.
    pub(super) ended: Vec<CaseId>,
    /// Events up to there were looked at since the start.
    heard: EventCursor,
    /// The journal knows more of it.
    pub(super) is_behind: bool,
}

impl Actor for ScheduleActor {
    type Msg = ScheduleMsg;
    type State = Live;
    type Arguments = (Arc<Context>, Arc<ScheduleHandle>);

    async fn pre_start(
        &self,
        myself: ActorRef<ScheduleMsg>,
        (context, schedule): Self::Arguments,
    ) -> Result<Live, ActorProcessingErr> {
        let (state, base) = context.load_schedule(&schedule.id).await?;
        let heard = state.heard;
        // how they ended may have been missed
        let ended: Vec<CaseId> = state.open.keys().copied().collect();
        for case in &ended {
            context.schedules.waits_for(*case, schedule.clone());
        }
        schedule.with(|seen| *seen = Seen { state, ruling: None, late_since: None });
        schedule.attach(myself.clone());
        myself.cast(ScheduleMsg::Look)?;
        let (alarm, begun) = (Alarm::default(), HashSet::new());
        Ok(Live { context, schedule, alarm, base, begun, ended, heard, is_behind: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<ScheduleMsg>,
        message: ScheduleMsg,
        live: &mut Live,
    ) -> Result<(), ActorProcessingErr> {
        let mut answered = None;
        match message {
            ScheduleMsg::Look => {}
            ScheduleMsg::Rule { reply } => answered = Some(reply),
            ScheduleMsg::Ended(case) => live.ended.push(case),
            ScheduleMsg::Pause { reason, by, reply } => {
                let said = (reason.as_str().into(), by.who.as_str().into());
                let event = ScheduleEvent::Paused { reason: said.0, by: said.1 };
                let _ = reply.send(live.commit(vec![event], By { why: reason, ..by }).await);
            }
            ScheduleMsg::Resume { from, by, reply } => {
                let _ = reply.send(live.resume(from, by).await);
            }
            ScheduleMsg::Trigger { case, by, reply } => {
                let _ = reply.send(live.trigger(case, by).await);
            }
        }
        let next = live.look().await;
        if live.is_behind {
            return Err("the journal knows more of the schedule".into());
        }
        if let Some(reply) = answered {
            // an error means that nobody waits for it any more
            let _ = reply.send(());
        }
        live.alarm.set(&live.context.clock, &myself, Some(next), || ScheduleMsg::Look);
        Ok(())
    }
}

impl Live {
    /// Does what there is to do. When to look again, in engine time.
    async fn look(&mut self) -> Timestamp {
        self.schedule.looked();
        let now = self.context.schedules.now(&self.context.clock);
        let done = self.do_all(now).await;
        let engine_now = self.context.clock.now();
        let state = self.state();
        let next = self.with_rule(|rule| rule.next_look(&state, now)).flatten();
        self.note_lateness(done, &state, engine_now);
        let ahead = next.map_or(LOOK_AGAIN, |next| next.since(now).clamp(0, LOOK_AGAIN));
        engine_now.plus(if done { ahead } else { TRY_AGAIN })
    }

    /// False: something has to be tried again.
    async fn do_all(&mut self, now: Timestamp) -> bool {
        if !self.rule_anew(now).await {
            return false;
        }
        let ended = std::mem::take(&mut self.ended);
        let mut done = self.see_off(ended).await;
        done &= self.begin_owed().await;
        for _ in 0..DECISIONS {
            let state = self.state();
            let events = self.with_rule(|rule| rule.decide(&state, now)).unwrap_or_default();
            if events.is_empty() {
                // what the last events began has to be there before others begin more
                return done && self.hear(now).await;
            }
            if let Err(error) = self.commit(events, By::engine()).await {
                tracing::error!(schedule = %self.schedule.id, %error, "what is due cannot be stored");
                return false;
            }
            done &= self.begin_owed().await;
        }
        self.schedule.poke();
        done
    }

    pub(super) fn state(&self) -> State {
        self.schedule.with(|seen| seen.state.clone())
    }

    fn with_rule<T>(&self, ask: impl FnOnce(&Rule<'_>) -> T) -> Option<T> {
        let ruling = self.schedule.with(|seen| seen.ruling.clone())?;
        rule_of(&self.schedule.id, &ruling).map(|rule| ask(&rule))
    }

    /// The latest version rules. False: it could not be found out.
    async fn rule_anew(&mut self, now: Timestamp) -> bool {
        let (namespace, name) = (self.schedule.namespace.clone(), self.schedule.name.clone());
        let definitions = &self.context.definitions;
        let Some(id) = definitions.latest_release(&namespace, &name) else { return true };
        let known = self.schedule.with(|seen| seen.ruling.as_ref().map(|known| known.id.clone()));
        if known.as_ref() == Some(&id) {
            return true;
        }
        let (definition, registered) = match (
            definitions.get(&id).await,
            definitions.registered_at(&id).await,
        ) {
            (Ok(Some(definition)), Ok(Some(registered))) => (definition, registered),
            // one that cannot be used rules nothing
            (Ok(_), Ok(_)) => return true,
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(schedule = %self.schedule.id, %error, "what rules cannot be read");
                return false;
            }
        };
        let state = self.state();
        let is_set = state.version.as_ref() == Some(&id.version);
        let has_ended = state.ended.as_ref() == Some(&id.version);
        if !is_set && !has_ended && !self.take_over(&state, &definition, registered.min(now)).await
        {
            return false;
        }
        self.schedule.with(|seen| seen.ruling = Some(definition));
        true
    }

    /// Another version takes over: first what the one before has to decide.
    async fn take_over(&mut self, state: &State, next: &Definition, at: Timestamp) -> bool {
        let mut events = Vec::new();
        if let Some(version) = &state.version {
            let before = crate::domain::workflow::model::DefinitionId {
                version: version.clone(),
                ..next.id.clone()
            };
            match self.context.definitions.get(&before).await {
                Ok(Some(before)) => {
                    let rule = rule_of(&self.schedule.id, &before);
                    events.extend(rule.iter().flat_map(|rule| rule.hand_over(state, at)));
                }
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        let Ok(end) = self.context.journal.end().await else { return false };
        let mut reached = state.clone();
        events.iter().for_each(|event| reached.evolve(event));
        match rule_of(&self.schedule.id, next) {
            Some(rule) => events.push(rule.set(&reached, at, EventCursor(end.0))),
            None if state.version.is_some() => {
                events.push(ScheduleEvent::Ended { version: next.id.version.clone() });
            }
            // it never had one
            None => return true,
        }
        match self.commit(events, By::engine()).await {
            Ok(()) => {
                self.heard = self.heard.max(self.state().heard);
                true
            }
            Err(error) => {
                tracing::error!(schedule = %self.schedule.id, %error, "a version cannot take over");
                false
            }
        }
    }

    /// Looks at what came, where events begin cases. False: it has to be tried again.
    async fn hear(&mut self, now: Timestamp) -> bool {
        let hears = |rule: &Rule<'_>| match &rule.schedule.timing {
            Timing::On(listen) => {
                let types = listen.filters.iter().map(|filter| filter.event_type.clone());
                Some(types.collect::<Vec<_>>())
            }
            _ => None,
        };
        let Some(types) = self.with_rule(hears).flatten() else { return true };
        // what the views do not have yet is told when they have it
        while self.context.views.progress().is_none() {
            let (views, after, wanted) = (self.context.views.clone(), self.heard, types.clone());
            let read = tokio::task::spawn_blocking(move || {
                views.events_behind(after, &wanted, HEARD_AT_A_TIME)
            });
            let Ok(Ok((places, through))) = read.await else { return false };
            if through == after {
                return true;
            }
            let mut incoming = Vec::new();
            for place in places {
                match self.context.stored_event(place).await {
                    Ok(Some((at, id, event))) => {
                        incoming.push(Incoming { place, at, id, event });
                    }
                    Ok(None) => {}
                    Err(_) => return false,
                }
            }
            let state = self.state();
            let heard = self.with_rule(|rule| rule.hear(&state, &incoming, through, now));
            let heard = heard.unwrap_or_default();
            let is_news = !matches!(heard[..], [ScheduleEvent::Heard { .. }]);
            if is_news || through.0 > state.heard.0 + WORTH_NOTING {
                if let Err(error) = self.commit(heard, By::engine()).await {
                    tracing::error!(schedule = %self.schedule.id, %error, "events cannot be taken");
                    return false;
                }
                self.begun
                    .retain(|case| self.schedule.with(|seen| seen.state.open.contains_key(case)));
                if !self.begin_owed().await {
                    return false;
                }
            }
            self.heard = through;
        }
        true
    }

    /// Since when it owes something that should have begun.
    fn note_lateness(&self, done: bool, state: &State, now: Timestamp) {
        let owes = state.open.keys().chain(state.owed.iter().map(|run| &run.case));
        let late = !done || owes.into_iter().any(|case| !self.begun.contains(case));
        self.schedule.with(|seen| {
            seen.late_since = late.then(|| seen.late_since.unwrap_or(now));
        });
    }

    async fn resume(&mut self, from: Option<Timestamp>, by: By) -> Result<(), ScheduleError> {
        let is_paused = self.state().paused.is_some();
        if !is_paused && from.is_none() {
            return Ok(());
        }
        let now = self.context.schedules.now(&self.context.clock);
        if from.is_some_and(|from| from > now) {
            let detail = "`from` lies ahead: what is due then is decided then";
            return Err(ScheduleError::Conflict(detail.to_owned()));
        }
        self.commit(vec![ScheduleEvent::Resumed { from }], by).await
    }

    async fn trigger(&mut self, case: CaseId, by: By) -> Result<Triggered, ScheduleError> {
        let state = self.state();
        let shown = state.last.iter().any(|decided| decided.case == Some(case));
        if shown || state.open.contains_key(&case) || self.is_there(case).await? {
            return Ok(Triggered { new: false });
        }
        let now = self.context.schedules.now(&self.context.clock);
        let event = self.with_rule(|rule| rule.trigger(&state, case, now));
        let event = event.unwrap_or_else(|| Err("no version of the workflow rules it".to_owned()));
        self.commit(vec![event.map_err(ScheduleError::Conflict)?], by).await?;
        // what cannot begin now is owed
        self.begin_owed().await;
        Ok(Triggered { new: true })
    }

    async fn is_there(&self, case: CaseId) -> Result<bool, ScheduleError> {
        let last = self.context.journal.last(case.into()).await;
        let last = last.map_err(|error| ScheduleError::Unavailable(error.to_string()))?;
        Ok(last.is_some())
    }
}

/// The rules of a definition; none: it has no schedule.
fn rule_of<'a>(id: &'a str, definition: &'a Definition) -> Option<Rule<'a>> {
    let schedule = definition.schedule.as_ref()?;
    Some(Rule { id, version: &definition.id.version, schedule })
}
