//! Where a task fits into a CSR's time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Csr, KEPT_MAX, RESERVATIONS_MAX, Refusal, Slot};
use crate::domain::ids::BookingId;
use crate::domain::staff::civil::{Hours, Zone, weekly};
use crate::domain::staff::intervals::{Intervals, Span};
use crate::domain::time::{DAY, Timestamp};

/// How much is looked through in one go.
const WINDOW: i64 = 3 * DAY;

/// What is looked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Wish<'a> {
    pub booking: BookingId,
    pub skill: &'a str,
    /// The earliest start and the latest end.
    pub within: Span,
    /// Milliseconds of the work, of the pause behind it, and between two starts that are tried.
    pub length: i64,
    pub buffer: i64,
    pub grid: i64,
    pub contact: Option<&'a Contact>,
}

/// When a customer may be met or called.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    #[serde(rename = "timeZone")]
    pub zone: Zone,
    pub hours: Arc<[Hours]>,
}

impl Csr {
    /// The first time that fits, or why there is none.
    ///
    /// # Errors
    /// What stands in the way everywhere, else at the last place that was looked at.
    pub fn first_fit(&self, wish: &Wish<'_>) -> Result<Slot, Refusal> {
        self.may_have(wish.booking, wish.skill, wish.within)?;
        let there = self.profile.there();
        let within = there.common(wish.within).ok_or(Refusal::NotThere)?;
        let mut why = Refusal::Away;
        let mut start = within.start;
        while start < within.end {
            // what begins in one window may end in the next
            let reach = start.plus(WINDOW + wish.length).min(within.end);
            let window = Span { start, end: reach };
            let working = self.working(window, wish.contact);
            let taken = self.taken(window, wish);
            why = if working.spans().is_empty() { why } else { Refusal::Booked };
            for span in working.without(&taken).spans() {
                match self.fit_into(*span, &taken, wish) {
                    Ok(slot) => return Ok(slot),
                    Err(refusal) => why = refusal,
                }
            }
            start = start.plus(WINDOW);
        }
        Err(why)
    }

    /// Whether they work within a week: else nothing is queued with them.
    pub fn works_soon(&self, now: Timestamp) -> bool {
        let week = Span { start: now, end: now.plus(7 * DAY) };
        !self.profile.working(self.calendar.as_deref(), week).spans().is_empty()
    }

    /// Whether they may have a task at all, whenever it is done.
    ///
    /// # Errors
    /// Why not.
    pub fn may_have(&self, booking: BookingId, skill: &str, when: Span) -> Result<(), Refusal> {
        let profile = &self.profile;
        if !profile.skills.iter().any(|known| **known == *skill) {
            return Err(Refusal::Skill);
        }
        if profile.paused {
            return Err(Refusal::Paused);
        }
        if profile.there().common(when).is_none() {
            return Err(Refusal::NotThere);
        }
        let has = self.reservations.get(&booking).is_some_and(|known| known.standing.is_open());
        let open = self.open() - usize::from(has);
        if profile.max_open.is_some_and(|most| open >= most as usize) {
            return Err(Refusal::Open);
        }
        self.has_room(booking)
    }

    /// Whether there may be another reservation.
    ///
    /// # Errors
    /// When there are too many.
    pub fn has_room(&self, booking: BookingId) -> Result<(), Refusal> {
        let has = self.reservations.contains_key(&booking);
        let full = self.open() >= RESERVATIONS_MAX || self.reservations.len() >= KEPT_MAX;
        if !has && full { Err(Refusal::Bound) } else { Ok(()) }
    }

    /// Whether a slot fits.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, booking: BookingId, skill: &str, slot: Slot) -> Result<(), Refusal> {
        self.may_have(booking, skill, slot.span())?;
        self.is_free(booking, slot)?;
        if !self.profile.has_skill(skill, slot.span()) {
            return Err(Refusal::Skill);
        }
        let around = Span { start: slot.start.plus(-DAY), end: slot.end.plus(DAY) };
        if !self.working(around, None).has(slot.span()) {
            return Err(Refusal::Away);
        }
        self.has_minutes(booking, slot.span()).map_err(|_| Refusal::Minutes)
    }

    /// Whether nothing else has the time.
    ///
    /// # Errors
    /// When something has.
    pub fn is_free(&self, booking: BookingId, slot: Slot) -> Result<(), Refusal> {
        let taken = slot.taken();
        let mut others = self.busy.iter().filter(|(_, of)| *of != booking);
        match others.any(|(span, _)| span.common(taken).is_some()) {
            true => Err(Refusal::Booked),
            false => Ok(()),
        }
    }

    /// Their hours in which a customer can be met, too.
    fn working(&self, window: Span, contact: Option<&Contact>) -> Intervals {
        let working = self.profile.working(self.calendar.as_deref(), window);
        match contact {
            Some(contact) => working.intersection(&weekly(&contact.zone, &contact.hours, window)),
            None => working,
        }
    }

    /// What others have of a window, and of the pause behind it.
    fn taken(&self, window: Span, wish: &Wish<'_>) -> Intervals {
        let window = Span { end: window.end.plus(wish.buffer), ..window };
        // no reservation lasts longer than this, so what began earlier is over
        let first = self.busy.partition_point(|(span, _)| span.start < window.start.plus(-WINDOW));
        let spans = self.busy[first..].iter().take_while(|(span, _)| span.start < window.end);
        let others = spans.filter(|(_, of)| *of != wish.booking);
        others.filter_map(|(span, _)| span.common(window)).collect()
    }

    /// The first place in a free span.
    fn fit_into(&self, free: Span, taken: &Intervals, wish: &Wish<'_>) -> Result<Slot, Refusal> {
        let mut start = aligned(free.start, wish.grid);
        let mut why = Refusal::Booked;
        while start.plus(wish.length) <= free.end {
            let end = start.plus(wish.length);
            let slot = Slot { start, end, buffer_end: end.plus(wish.buffer) };
            if !is_clear(taken, slot.taken()) {
                // what comes behind comes sooner the later it begins
                return Err(Refusal::Booked);
            }
            if let Err(next) = self.has_minutes(wish.booking, slot.span()) {
                why = Refusal::Minutes;
                start = aligned(next, wish.grid);
                continue;
            }
            if !self.profile.has_skill(wish.skill, slot.span()) {
                return Err(Refusal::Skill);
            }
            return Ok(slot);
        }
        Err(why)
    }

    /// Whether the days of a slot have room for it.
    ///
    /// # Errors
    /// When the next day begins, where a day is full.
    fn has_minutes(&self, booking: BookingId, slot: Span) -> Result<(), Timestamp> {
        let Some(most) = self.profile.max_minutes_per_day else { return Ok(()) };
        let own = self.reservations.get(&booking).and_then(|known| known.slot);
        let own = own.map(|slot| self.days_of(slot.span())).unwrap_or_default();
        for (date, minutes) in self.days_of(slot) {
            let before = own.iter().filter(|(day, _)| *day == date).map(|(_, own)| own);
            let others = self.minutes_on(date).saturating_sub(before.sum());
            if others + minutes > most {
                return Err(self.profile.zone.day(date).end);
            }
        }
        Ok(())
    }
}

fn is_clear(taken: &Intervals, span: Span) -> bool {
    let place = taken.spans().partition_point(|known| known.end <= span.start);
    taken.spans().get(place).is_none_or(|known| span.end <= known.start)
}

/// The next instant on the grid.
fn aligned(at: Timestamp, grid: i64) -> Timestamp {
    let grid = grid.max(1);
    Timestamp(at.0.div_euclid(grid) * grid + if at.0.rem_euclid(grid) == 0 { 0 } else { grid })
}
