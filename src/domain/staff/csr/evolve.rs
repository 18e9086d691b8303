//! What an event makes of a CSR.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;

use super::event::{Displaced, Event};
use super::{CLOSED_KEPT, Closed, Csr, DONE_KEPT, Refusal, Reservation, Slot, Standing};
use crate::domain::ids::BookingId;
use crate::domain::staff::civil::Moment;
use crate::domain::staff::intervals::Span;
use crate::domain::staff::profile::Profile;
use crate::domain::time::Timestamp;

/// An event that the state cannot have led to: the history is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history of the CSR does not fit: {0}")]
pub struct CorruptCsr(pub &'static str);

/// The CSR that a first event makes.
///
/// # Errors
/// When it is no first event.
pub fn begin(event: &Event) -> Result<Csr, CorruptCsr> {
    let Event::Added { id, profile } = event else {
        return Err(CorruptCsr("it begins with something else than a CSR"));
    };
    Ok(Csr {
        id: id.clone(),
        revision: 1,
        profile: profile.clone(),
        calendar: None,
        leaves: None,
        reservations: BTreeMap::new(),
        closed: BTreeMap::new(),
        busy: Vec::new(),
        minutes: BTreeMap::new(),
        worked: BTreeMap::new(),
        given_at: None,
        feed: None,
    })
}

/// Folds an event that happened at an instant.
///
/// # Errors
/// When it does not fit.
pub fn evolve(csr: &mut Csr, event: &Event, at: Timestamp) -> Result<(), CorruptCsr> {
    csr.revision += 1;
    match event {
        Event::Added { .. } => return Err(CorruptCsr("they are added twice")),
        Event::Changed { profile, displaced } => {
            let zone = csr.profile.zone != profile.zone;
            csr.profile = profile.clone();
            if profile.until.is_none() {
                csr.leaves = None;
            }
            if zone {
                csr.count_anew();
                csr.take_offsets();
            }
            csr.displace(displaced);
        }
        Event::Holidays { calendar, displaced } => {
            csr.calendar = calendar.clone();
            csr.displace(displaced);
        }
        Event::Away { off, displaced } => {
            csr.change(|profile| {
                profile.time_off.retain(|known| known.id != off.id);
                profile.time_off.push(off.clone());
            });
            csr.displace(displaced);
        }
        Event::Back { id } => csr.change(|profile| profile.time_off.retain(|off| off.id != *id)),
        Event::Feed { token } => csr.feed = *token,
        Event::Left { at, reason, displaced } => {
            csr.change(|profile| profile.until = Some(Moment::Instant(*at)));
            csr.leaves = Some(reason.clone());
            csr.displace(displaced);
        }
        Event::Reserved { booking, reservation, .. } => {
            csr.remove(*booking);
            csr.given_at = Some(at);
            csr.insert(*booking, reservation.clone());
        }
        Event::Refused { booking, number, why, .. } => csr.close(*booking, *number, Some(*why), at),
        Event::Released { booking, number } => {
            if csr.reservations.get(booking).is_some_and(|known| known.number <= *number) {
                csr.remove(*booking);
            }
            csr.close(*booking, *number, None, at);
        }
        Event::Kept { booking, number } => csr.stands(*booking, *number, Standing::Kept)?,
        Event::Done { booking, number } => {
            csr.stands(*booking, *number, Standing::Done)?;
            csr.free_rest(*booking, at);
            // the same proposal may still come once more, when this is forgotten
            csr.close(*booking, *number, None, at);
        }
    }
    csr.forget(at);
    Ok(())
}

impl Csr {
    fn change(&mut self, change: impl FnOnce(&mut Profile)) {
        change(Arc::make_mut(&mut self.profile));
    }

    /// They have moved to another zone: what is reserved stays at its instants.
    fn take_offsets(&mut self) {
        for one in self.reservations.values_mut() {
            one.offset = one.slot.map(|slot| self.profile.zone.offset(slot.start));
        }
    }

    fn displace(&mut self, displaced: &Displaced) {
        for (booking, why) in displaced {
            if let Some(known) = self.reservations.get_mut(booking) {
                known.standing = Standing::Displaced(*why);
            }
        }
    }

    fn stands(
        &mut self,
        booking: BookingId,
        number: u32,
        standing: Standing,
    ) -> Result<(), CorruptCsr> {
        let known = self.reservations.get_mut(&booking).filter(|known| known.number == number);
        let Some(known) = known else {
            return Err(CorruptCsr("something is done or kept that is not reserved"));
        };
        known.standing = standing;
        Ok(())
    }

    fn close(&mut self, booking: BookingId, number: u32, refused: Option<Refusal>, at: Timestamp) {
        // one that is closed stays closed, whatever is released after it
        match self.closed.get_mut(&booking).filter(|known| known.number > number) {
            Some(known) => known.at = at,
            None => drop(self.closed.insert(booking, Closed { number, at, refused })),
        }
    }

    /// Takes time for something that is only about to be reserved: for whoever looks for more.
    pub fn hold(&mut self, booking: BookingId, reservation: Reservation) {
        self.remove(booking);
        self.insert(booking, reservation);
    }

    /// Gives the time of a reservation back for whoever looks for more.
    pub fn let_go(&mut self, booking: BookingId) {
        self.remove(booking);
    }

    fn insert(&mut self, booking: BookingId, reservation: Reservation) {
        if let Some(slot) = reservation.slot {
            let taken = (slot.taken(), booking);
            let place = self.busy.partition_point(|known| *known < taken);
            self.busy.insert(place, taken);
            for (date, minutes) in self.days_of(slot.span()) {
                *self.minutes.entry(date).or_default() += minutes;
            }
        }
        self.reservations.insert(booking, reservation);
    }

    fn remove(&mut self, booking: BookingId) -> Option<Reservation> {
        let known = self.reservations.remove(&booking)?;
        if let Some(slot) = known.slot {
            self.busy.retain(|(_, of)| *of != booking);
            for (date, minutes) in self.days_of(slot.span()) {
                take_from(&mut self.minutes, date, minutes);
            }
        }
        Some(known)
    }

    /// What is done early leaves the rest of its time free. Its minutes stay counted.
    fn free_rest(&mut self, booking: BookingId, at: Timestamp) {
        let slot = self.reservations.get(&booking).and_then(|known| known.slot);
        let Some(slot) = slot.filter(|slot| at < slot.buffer_end) else { return };
        self.busy.retain(|(_, of)| *of != booking);
        if let Some(taken) = Span::new(slot.start, slot.end.min(at)) {
            let taken = (taken, booking);
            let place = self.busy.partition_point(|known| *known < taken);
            self.busy.insert(place, taken);
        }
    }

    /// Counts the minutes of each day anew, in another zone.
    fn count_anew(&mut self) {
        let spans = self.reservations.values().filter_map(|known| known.slot);
        let spans: Vec<Slot> = spans.collect();
        self.minutes.clear();
        for slot in spans {
            for (date, minutes) in self.days_of(slot.span()) {
                *self.minutes.entry(date).or_default() += minutes;
            }
        }
    }

    /// What lies so far back that nobody asks for it.
    fn forget(&mut self, now: Timestamp) {
        self.closed.retain(|_, closed| now.since(closed.at) < CLOSED_KEPT);
        let is_old = |known: &Reservation| {
            let over = known.slot.is_none_or(|slot| now.since(slot.end) > DONE_KEPT);
            known.standing == Standing::Done && over
        };
        let old = self.reservations.iter().filter(|(_, known)| is_old(known));
        for booking in old.map(|(booking, _)| *booking).collect::<Vec<_>>() {
            let days = self.reservations.get(&booking).and_then(|known| known.slot);
            let days = days.map(|slot| self.days_of(slot.span())).unwrap_or_default();
            for (date, minutes) in days {
                *self.worked.entry(date).or_default() += minutes;
            }
            self.remove(booking);
        }
        let oldest = self.profile.zone.local(now.plus(-2 * DONE_KEPT)).date();
        if self.worked.first_key_value().is_some_and(|(first, _)| *first < oldest) {
            self.worked = self.worked.split_off(&oldest);
        }
    }
}

fn take_from(days: &mut BTreeMap<Date, u32>, date: Date, minutes: u32) {
    if let Some(known) = days.get_mut(&date) {
        *known = known.saturating_sub(minutes);
        if *known == 0 {
            days.remove(&date);
        }
    }
}
