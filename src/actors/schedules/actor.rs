//! The actor of one schedule: decides what is due, begins its cases, notes their ends and what operators say.
//!
//! Parent: the root. Its mailbox holds at most one `Look` from the handle and one from its alarm, an `Ended`
//! for each run under way, and the calls of operators. When it crashes it reads the schedule anew.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::handle::ScheduleHandle;
use super::message::{ScheduleError, ScheduleMsg, Triggered};
use crate::actors::alarm::Alarm;
use crate::actors::context::Context;
use crate::domain::ids::{CaseId, EventCursor};
use crate::domain::schedule::decide::Rule;
use crate::domain::schedule::event::{Outcome, ScheduleEvent};
use crate::domain::schedule::hear::Incoming;
use crate::domain::schedule::state::State;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, DefinitionId};
use crate::store::journal::{Journal, ReadError};
use crate::store::record::By;

/// Milliseconds after which it looks again in any case: the wall may have been set.
const LOOK_AGAIN: i64 = 30_000;

/// Milliseconds after which what could not be done is tried again.
const TRY_AGAIN: i64 = 1000;

/// Events looked at in one go.
const HEARD_AT_A_TIME: usize = 100;

/// Places of the journal after which it is worth a record that none of their events began anything.
const WORTH_NOTING: u64 = 10_000;

/// How long a version that takes over waits for the views to show what came before it.
const SHOWN_WITHIN: Duration = Duration::from_secs(4);

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
    /// Who waits until the latest version rules.
    ruled: Vec<oneshot::Sender<()>>,
    /// Why what is owed cannot begin, as far as that was said.
    pub(super) held_up: Option<String>,
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
        let (state, base) = match context.load_schedule(&schedule.id).await {
            Ok(loaded) => loaded,
            Err(error) => {
                let now = context.clock.now();
                schedule.with(|seen| seen.cannot_be_read(error.to_string(), now));
                return Err(error.into());
            }
        };
        let heard = state.heard;
        // how they ended may have been missed
        let ended: Vec<CaseId> = state.open.keys().copied().collect();
        for case in &ended {
            context.schedules.waits_for(*case, schedule.clone());
        }
        schedule.with(|seen| (seen.state, seen.unreadable) = (state, None));
        schedule.attach(myself.clone());
        myself.cast(ScheduleMsg::Look)?;
        let (alarm, begun) = (Alarm::default(), HashSet::new());
        Ok(Live {
            context,
            schedule,
            alarm,
            base,
            begun,
            ended,
            heard,
            is_behind: false,
            ruled: Vec::new(),
            held_up: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ScheduleMsg>,
        message: ScheduleMsg,
        live: &mut Live,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ScheduleMsg::Look => {}
            ScheduleMsg::Rule { reply } => live.ruled.push(reply),
            ScheduleMsg::Ended(case) => live.ended.push(case),
            ScheduleMsg::Pause { reason, by, reply } => {
                let _ = reply.send(live.pause(reason, by).await);
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
        live.alarm.set(&live.context.clock, &myself, Some(next), || ScheduleMsg::Look);
        Ok(())
    }
}

impl Live {
    /// Does what there is to do. When to look again, in engine time.
    async fn look(&mut self) -> Timestamp {
        self.schedule.looked();
        let (now, engine_now) =
            (self.context.schedules.now(&self.context.clock), self.context.clock.now());
        let done = self.do_all(now).await;
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
        for reply in std::mem::take(&mut self.ruled) {
            // an error means that nobody waits for it any more
            let _ = reply.send(());
        }
        let mut done = self.settle().await;
        for _ in 0..DECISIONS {
            let state = self.state();
            let Ok(ran) = self.ran_already(&state, now).await else { return false };
            let events = self.with_rule(|rule| rule.decide(&state, now, &ran)).unwrap_or_default();
            if events.is_empty() {
                // what the last events began has to be there before others begin more
                return done && self.hear(now).await;
            }
            if let Err(error) = self.commit(events, By::engine()).await {
                tracing::error!(schedule = %self.schedule.id, %error, "what is due cannot be stored");
                return false;
            }
            done &= self.settle().await;
        }
        self.schedule.poke();
        done
    }

    /// Begins what is owed, and sees off what has ended. False: something has to be tried again.
    async fn settle(&mut self) -> bool {
        let ended = std::mem::take(&mut self.ended);
        let seen_off = self.see_off(ended).await;
        let begun = self.begin_owed().await;
        // those that had ended before they were begun once more
        let ended = std::mem::take(&mut self.ended);
        self.see_off(ended).await && begun && seen_off
    }

    /// Of what is decided again: which cases are there.
    async fn ran_already(
        &self,
        state: &State,
        now: Timestamp,
    ) -> Result<BTreeSet<CaseId>, ReadError> {
        let cases = self.with_rule(|rule| rule.decided_again(state, now)).unwrap_or_default();
        let mut ran = BTreeSet::new();
        for case in cases {
            if self.context.journal.last(case.into()).await?.is_some() {
                ran.insert(case);
            }
        }
        Ok(ran)
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
        // records have engine time, and what is due goes by the wall
        let at = registered.plus(now.since(self.context.clock.now())).min(now);
        if !is_set && !has_ended && !self.take_over(&definition, at).await {
            return false;
        }
        self.schedule.with(|seen| seen.ruling = Some(definition));
        true
    }

    /// Another version takes over: first the one before decides what was due, and what came, until then.
    async fn take_over(&mut self, next: &Definition, at: Timestamp) -> bool {
        let Ok(end) = self.context.journal.end().await else { return false };
        let mut end = EventCursor(end.0);
        if let Some(since) = self.schedule.with(|seen| seen.registered_at) {
            end = end.min(since);
        }
        if let Some(version) = self.state().version {
            let before = DefinitionId { version, ..next.id.clone() };
            match self.context.definitions.get(&before).await {
                Ok(Some(before)) => {
                    if !self.hand_over(&before, next, (at, end)).await {
                        return false;
                    }
                }
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        let state = self.state();
        let event = match rule_of(&self.schedule.id, next) {
            Some(rule) => rule.set(&state, at, end),
            None if state.version.is_some() => {
                ScheduleEvent::Ended { version: next.id.version.clone() }
            }
            // it never had one
            None => return true,
        };
        match self.commit(vec![event], By::engine()).await {
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

    async fn hand_over(
        &mut self,
        before: &Arc<Definition>,
        next: &Definition,
        (at, end): (Timestamp, EventCursor),
    ) -> bool {
        loop {
            let state = self.state();
            let rule = rule_of(&self.schedule.id, before);
            let events = rule.map(|rule| rule.hand_over(&state, at, next.schedule.as_ref()));
            let events = events.unwrap_or_default();
            if events.is_empty() {
                break;
            }
            if self.commit(events, By::engine()).await.is_err() {
                return false;
            }
            self.settle().await;
        }
        if rule_of(&self.schedule.id, before).and_then(|rule| rule.hears()).is_none() {
            return true;
        }
        // what came before is the other version's, as soon as the views have it
        let mut projected = self.context.projected.subscribe();
        let shown = projected.wait_for(|place| place.0 >= end.0);
        if tokio::time::timeout(SHOWN_WITHIN, shown).await.is_err() {
            return false;
        }
        while self.heard < end {
            match self.hear_some(before, at).await {
                Some(Heard::More) => {}
                Some(Heard::All) => break,
                None => return false,
            }
        }
        true
    }

    /// Looks at what came, where events begin cases. False: it has to be tried again.
    async fn hear(&mut self, now: Timestamp) -> bool {
        let Some(ruling) = self.schedule.with(|seen| seen.ruling.clone()) else { return true };
        for _ in 0..DECISIONS {
            match self.hear_some(&ruling, now).await {
                Some(Heard::More) => {}
                Some(Heard::All) => return true,
                None => return false,
            }
        }
        // whoever else asks has a turn
        self.schedule.poke();
        true
    }

    /// Looks at some of what came. None: it has to be tried again.
    async fn hear_some(&mut self, ruling: &Arc<Definition>, now: Timestamp) -> Option<Heard> {
        let types = rule_of(&self.schedule.id, ruling).and_then(|rule| rule.hears());
        let Some(types) = types else { return Some(Heard::All) };
        if self.context.views.progress().is_some() {
            // what the views do not have yet is told when they have it
            return Some(Heard::All);
        }
        let (views, after) = (self.context.views.clone(), self.heard);
        let read = tokio::task::spawn_blocking(move || {
            views.events_behind(after, &types, HEARD_AT_A_TIME)
        });
        let (places, through) = read.await.ok()?.ok()?;
        if through == after {
            return Some(Heard::All);
        }
        let mut incoming = Vec::new();
        for place in places {
            if let Some((at, id, event)) = self.context.stored_event(place).await.ok()? {
                incoming.push(Incoming { place, at, id, event });
            }
        }
        let (state, ruling, id) = (self.state(), ruling.clone(), self.schedule.id.clone());
        let known = state.heard;
        // expressions of whoever wrote the definition may take long
        let deciding = tokio::task::spawn_blocking(move || {
            let rule = rule_of(&id, &ruling)?;
            Some(rule.hear(&state, &incoming, through, now))
        });
        let heard = deciding.await.ok()?.unwrap_or_default();
        let is_news = !matches!(heard[..], [] | [ScheduleEvent::Heard { .. }]);
        if is_news || through.0 > known.0 + WORTH_NOTING {
            if let Err(error) = self.commit(heard, By::engine()).await {
                tracing::error!(schedule = %self.schedule.id, %error, "events cannot be taken");
                return None;
            }
            let open = self.schedule.with(|seen| seen.state.open.clone());
            self.begun.retain(|case| open.contains_key(case));
            if !self.begin_owed().await {
                return None;
            }
        }
        self.heard = through;
        Some(Heard::More)
    }

    /// Since when it owes something that should have begun.
    fn note_lateness(&self, done: bool, state: &State, now: Timestamp) {
        let owes = state.open.keys().chain(state.owed.iter().map(|run| &run.case));
        let late = !done || owes.into_iter().any(|case| !self.begun.contains(case));
        self.schedule.with(|seen| {
            seen.late_since = late.then(|| seen.late_since.unwrap_or(now));
        });
    }

    async fn pause(&mut self, reason: String, by: By) -> Result<(), ScheduleError> {
        let events = self.end().await?;
        let said = (reason.as_str().into(), by.who.as_str().into());
        let event = ScheduleEvent::Paused { reason: said.0, by: said.1, events };
        self.commit(vec![event], By { why: reason, ..by }).await
    }

    /// The journal's end: events that came before are judged as things stood.
    async fn end(&self) -> Result<EventCursor, ScheduleError> {
        let end = self.context.journal.end().await;
        let end = end.map_err(|error| ScheduleError::Unavailable(error.to_string()))?;
        Ok(EventCursor(end.0))
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
        let events = self.end().await?;
        self.commit(vec![ScheduleEvent::Resumed { from, at: now, events }], by).await
    }

    async fn trigger(&mut self, case: CaseId, by: By) -> Result<Triggered, ScheduleError> {
        if let Some(refusal) = self.context.intake.refusal() {
            return Err(ScheduleError::Unavailable(refusal.to_owned()));
        }
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
        let decided = self.state().last.into_iter().find(|decided| decided.case == Some(case));
        match decided.and_then(|decided| decided.outcome) {
            Some(Outcome::Refused(why)) => Err(ScheduleError::Refused(why.to_string())),
            _ => Ok(Triggered { new: true }),
        }
    }

    async fn is_there(&self, case: CaseId) -> Result<bool, ScheduleError> {
        let last = self.context.journal.last(case.into()).await;
        let last = last.map_err(|error| ScheduleError::Unavailable(error.to_string()))?;
        Ok(last.is_some())
    }
}

/// How much of what came was looked at.
enum Heard {
    All,
    More,
}

/// The rules of a definition; none: it has no schedule.
fn rule_of<'a>(id: &'a str, definition: &'a Definition) -> Option<Rule<'a>> {
    let schedule = definition.schedule.as_ref()?;
    Some(Rule { id, version: &definition.id.version, schedule })
}
