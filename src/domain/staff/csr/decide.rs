//! What a command to a CSR comes to: events, and an answer. The same command again gets the same answer.

use super::command::{Answer, Command, Proposal, Rejection};
use super::event::{Displaced, Event};
use super::{
    Csr, Displacement, PROPOSAL_MAX_AGE, Refusal, Reservation, Slot, Standing, begin, evolve,
};
use crate::domain::ids::{BookingId, CsrId};
use crate::domain::staff::intervals::Span;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::workflow::schema::Violation;

/// How far into the future something is reserved at the most.
const FUTURE_MAX: i64 = 3 * 366 * DAY;

/// Circumstances of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Engine time: the age of a proposal goes by it.
    pub now: Timestamp,
    /// What the wall shows: slots and hours go by it.
    pub wall: Timestamp,
}

/// What a decision came to.
#[derive(Debug)]
pub struct Decided {
    /// None: there is no such CSR, and nothing was asked that makes one.
    pub csr: Option<Csr>,
    pub events: Vec<Event>,
    pub answer: Answer,
}

/// Decides a command to a CSR; none: there is none of this id yet.
///
/// # Errors
/// Why a person's command is not carried out. Cases always get an answer.
pub fn decide(
    csr: Option<&Csr>,
    id: &CsrId,
    command: &Command,
    facts: Facts,
) -> Result<Decided, Rejection> {
    let mut one = Decision { csr: csr.cloned(), events: Vec::new(), facts };
    let answer = match command {
        Command::Put { profile, calendar } => {
            let violations = profile.violations();
            if !violations.is_empty() {
                return Err(Rejection::Invalid(violations));
            }
            if one.csr.is_none() {
                one.emit(Event::Added { id: id.clone(), profile: profile.clone() });
            }
            let before = one.known()?.clone();
            if before.profile != *profile {
                let change = |displaced| Event::Changed { profile: profile.clone(), displaced };
                one.displacing(Displacement::Hours, change)?;
            }
            if before.calendar != *calendar {
                let calendar = calendar.clone();
                let change = |displaced| Event::Holidays { calendar, displaced };
                one.displacing(Displacement::Holiday, change)?;
            }
            one.changed(&before)?
        }
        Command::Holidays { calendar } => {
            let before = one.known()?.clone();
            if before.calendar != *calendar {
                let calendar = calendar.clone();
                let change = |displaced| Event::Holidays { calendar, displaced };
                one.displacing(Displacement::Holiday, change)?;
            }
            one.changed(&before)?
        }
        Command::Away { off } => {
            let before = one.known()?.clone();
            if !before.profile.time_off.contains(off) {
                let mut after = (*before.profile).clone();
                after.time_off.push(off.clone());
                let violations = after.violations();
                if !violations.is_empty() {
                    return Err(Rejection::Invalid(violations));
                }
                let off = off.clone();
                let change = |displaced| Event::Away { off, displaced };
                one.displacing(Displacement::Absent, change)?;
            }
            one.changed(&before)?
        }
        Command::Back { id } => {
            let before = one.known()?.clone();
            if !before.profile.time_off.iter().any(|off| off.id == *id) {
                return Err(Rejection::NoSuchAbsence);
            }
            one.emit(Event::Back { id: id.clone() });
            one.changed(&before)?
        }
        Command::Feed { token } => {
            let before = one.known()?.clone();
            if before.feed != *token {
                one.emit(Event::Feed { token: *token });
            }
            one.changed(&before)?
        }
        Command::Leave { on, reason } => {
            let before = one.known()?.clone();
            let at = on.ends(&before.profile.zone);
            let end = before.profile.there().end;
            // who has left has left; a day that was said before can be corrected, to a later one as well
            let gone = end <= facts.wall && before.leaves.is_some();
            if gone && at > facts.wall {
                return Err(Rejection::HasLeft);
            }
            if at < facts.wall.plus(-2 * DAY) && end > facts.wall {
                let detail = "a day that is over: say today, or a later one".to_owned();
                let pointer = "/on".to_owned();
                return Err(Rejection::Invalid(vec![Violation { pointer, detail }]));
            }
            if !gone && (end != at || before.leaves.is_none()) {
                let reason = reason.clone();
                let change = |displaced| Event::Left { at, reason, displaced };
                one.displacing(Displacement::Left, change)?;
            }
            one.changed(&before)?
        }
        Command::Depart => {
            let before = one.known()?.clone();
            let at = before.profile.there().end;
            let live = |one: &Reservation| one.standing == Standing::Live;
            if at <= facts.wall && before.reservations.values().any(live) {
                let reason = before.leaves.clone().unwrap_or_else(|| "their time is over".into());
                let change = |displaced| Event::Left { at, reason, displaced };
                one.displacing(Displacement::Left, change)?;
            }
            one.changed(&before)?
        }
        Command::Reserve(proposal) => one.reserve(proposal),
        Command::Release { booking, number } => one.release(*booking, *number),
        Command::Keep { booking, number } => {
            let standing = one.standing(*booking, *number);
            if matches!(standing, Some(Standing::Displaced(_))) {
                one.emit(Event::Kept { booking: *booking, number: *number });
            }
            Answer::Noted
        }
        Command::Done { booking, number } => {
            if one.standing(*booking, *number).is_some_and(Standing::is_open) {
                one.emit(Event::Done { booking: *booking, number: *number });
            }
            Answer::Noted
        }
    };
    let Decision { csr, events, .. } = one;
    Ok(Decided { csr, events, answer })
}

struct Decision {
    csr: Option<Csr>,
    events: Vec<Event>,
    facts: Facts,
}

impl Decision {
    fn known(&self) -> Result<&Csr, Rejection> {
        self.csr.as_ref().ok_or(Rejection::NotFound)
    }

    fn emit(&mut self, event: Event) {
        let now = self.facts.now;
        // an event that its own decision cannot fold is found by the tests of every event
        match &mut self.csr {
            Some(csr) => drop(evolve(csr, &event, now)),
            None => self.csr = begin(&event).ok(),
        }
        self.events.push(event);
    }

    /// Emits a change that names every reservation that does not fit any more because of it.
    fn displacing(
        &mut self,
        usual: Displacement,
        change: impl FnOnce(Displaced) -> Event,
    ) -> Result<(), Rejection> {
        let event = change(Vec::new());
        let before = self.known()?;
        let mut after = before.clone();
        // the same as when it is folded below
        let _ = evolve(&mut after, &event, self.facts.now);
        let displaced = displaced(before, &after, usual, self.facts.wall);
        self.emit(named(event, displaced));
        Ok(())
    }

    fn changed(&self, before: &Csr) -> Result<Answer, Rejection> {
        let owed = self.known()?.owes();
        let new = owed.filter(|(booking, one, _)| {
            before.reservations.get(booking).map(|known| known.standing) != Some(one.standing)
        });
        Ok(Answer::Changed(new.map(|(booking, _, why)| (booking, why)).collect()))
    }

    fn standing(&self, booking: BookingId, number: u32) -> Option<Standing> {
        let known = self.csr.as_ref()?.reservations.get(&booking)?;
        (known.number == number).then_some(known.standing)
    }

    fn reserve(&mut self, proposal: &Proposal) -> Answer {
        let Some(csr) = &self.csr else { return Answer::Refused(Refusal::NotThere) };
        let (booking, number) = (proposal.booking, proposal.number);
        if let Some(closed) = csr.closed.get(&booking)
            && number <= closed.number
        {
            let same = closed.refused.filter(|_| number == closed.number);
            return Answer::Refused(same.unwrap_or(Refusal::Released));
        }
        match csr.reservations.get(&booking) {
            Some(known) if known.number == number => return Answer::Reserved,
            Some(known) if known.number > number => return Answer::Refused(Refusal::Released),
            Some(_) | None => {}
        }
        if self.facts.now.since(proposal.proposed_at) > PROPOSAL_MAX_AGE {
            // the memory that would give the same answer again may be gone: this one always is the same
            return Answer::Refused(Refusal::Stale);
        }
        if let Err(why) = judge(csr, proposal, self.facts.wall) {
            let case = proposal.case;
            self.emit(Event::Refused { booking, number, case, why });
            return Answer::Refused(why);
        }
        let (case, customer, title) =
            (proposal.case, proposal.customer.clone(), proposal.title.clone());
        let (slot, standing) = (proposal.slot, Standing::Live);
        let offset = slot.map(|slot| csr.profile.zone.offset(slot.start));
        let reservation = Reservation { number, case, customer, title, slot, standing, offset };
        self.emit(Event::Reserved { booking, reservation, by_person: proposal.by_person });
        Answer::Reserved
    }

    fn release(&mut self, booking: BookingId, number: u32) -> Answer {
        if let Some(csr) = &self.csr {
            let reserved = csr.reservations.get(&booking).is_some_and(|one| one.number <= number);
            let closed = csr.closed.get(&booking).is_some_and(|closed| number <= closed.number);
            if reserved || !closed {
                self.emit(Event::Released { booking, number });
            }
        }
        Answer::Released
    }
}

/// Whether a proposal can be reserved.
fn judge(csr: &Csr, proposal: &Proposal, wall: Timestamp) -> Result<(), Refusal> {
    let Proposal { booking, skill, by_person, .. } = proposal;
    let Some(slot) = proposal.slot else {
        let soon = Span { start: wall, end: wall.plus(1) };
        if *by_person {
            let there = csr.profile.there().common(soon).is_some();
            csr.has_room(*booking)?;
            return if there { Ok(()) } else { Err(Refusal::NotThere) };
        }
        if !csr.profile.has_skill(skill, soon) {
            return Err(Refusal::Skill);
        }
        return csr.may_have(*booking, skill, soon);
    };
    if slot.start < wall {
        return Err(Refusal::Past);
    }
    // what a reservation may last is bounded, so that only so much is looked at
    let lasts = slot.buffer_end.since(slot.start);
    let far = slot.start.since(wall) > FUTURE_MAX;
    if slot.end <= slot.start || lasts > 2 * DAY || far {
        return Err(Refusal::Bound);
    }
    match by_person {
        true => {
            csr.has_room(*booking)?;
            csr.is_free(*booking, slot)?;
            let there = csr.profile.there().common(slot.span()) == Some(slot.span());
            if there { Ok(()) } else { Err(Refusal::NotThere) }
        }
        false => csr.fits(*booking, skill, slot),
    }
}

/// The live reservations that fitted before a change and do not fit after it.
fn displaced(before: &Csr, after: &Csr, usual: Displacement, wall: Timestamp) -> Displaced {
    let there = after.profile.there();
    let mut found = Vec::new();
    for (booking, one) in &before.reservations {
        if one.standing != Standing::Live {
            continue;
        }
        if there.end <= wall {
            // whatever they have goes when they go
            found.push((*booking, Displacement::Left));
            continue;
        }
        if one.slot.is_none() && before.works_soon(wall) && !after.works_soon(wall) {
            found.push((*booking, usual));
        }
        let Some(slot) = one.slot.filter(|slot| slot.end > wall) else { continue };
        if there.common(slot.span()) != Some(slot.span()) {
            found.push((*booking, Displacement::Left));
        } else if works(before, slot) && !works(after, slot) {
            found.push((*booking, usual));
        }
    }
    found
}

fn works(csr: &Csr, slot: Slot) -> bool {
    let around = Span { start: slot.start.plus(-DAY), end: slot.end.plus(DAY) };
    csr.profile.working(csr.calendar.as_deref(), around).has(slot.span())
}

fn named(event: Event, displaced: Displaced) -> Event {
    match event {
        Event::Changed { profile, .. } => Event::Changed { profile, displaced },
        Event::Holidays { calendar, .. } => Event::Holidays { calendar, displaced },
        Event::Away { off, .. } => Event::Away { off, displaced },
        Event::Left { at, reason, .. } => Event::Left { at, reason, displaced },
        event => event,
    }
}
