//! What a plan still wants of others, read off its state alone: after a crash the same is asked again.

use std::sync::Arc;

use super::{Debt, Item, Owed, Phase, Place, Plan};
use crate::domain::ids::{BookingId, CaseId, CsrId};
use crate::domain::staff::csr::MINUTE;
use crate::domain::staff::csr::command::{Command, Proposal};
use crate::domain::time::Timestamp;

/// Something that a CSR's actor is asked, until it has answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    pub csr: CsrId,
    pub booking: BookingId,
    pub number: u32,
    /// None: the number is proposed.
    pub what: Option<Debt>,
    pub command: Command,
}

impl Plan {
    /// What CSRs are asked now.
    pub fn asks(&self, case: CaseId, customer: Option<&Arc<str>>) -> Vec<Asked> {
        let mut all = Vec::new();
        for item in &self.items {
            let booking = item.booking;
            if let Some(place) =
                item.proposed.as_ref().filter(|place| !self.is_in_the_way(item, place))
            {
                let command = Command::Reserve(Proposal {
                    booking,
                    number: place.number,
                    case,
                    customer: customer.cloned(),
                    title: item.wanted.title(),
                    skill: item.wanted.skill.clone(),
                    slot: place.slot,
                    proposed_at: place.at,
                    by_person: place.by_person,
                });
                let (csr, number) = (place.csr.id.clone(), place.number);
                all.push(Asked { csr, booking, number, what: None, command });
            }
            for owed in &item.owed {
                let number = owed.number;
                let command = match owed.what {
                    Debt::Release => Command::Release { booking, number },
                    Debt::Keep => Command::Keep { booking, number },
                    Debt::Done => Command::Done { booking, number },
                };
                let (csr, what) = (owed.csr.clone(), Some(owed.what));
                all.push(Asked { csr, booking, number, what, command });
            }
        }
        all
    }

    /// Whether a task behind this one still has the time that is proposed, and is about to move, or to give
    /// it back: that goes first.
    fn is_in_the_way(&self, item: &Item, place: &Place) -> bool {
        let Some(slot) = place.slot else { return false };
        let behind = self.items.iter().skip_while(|other| other.booking != item.booking).skip(1);
        behind.filter(|other| other.proposed.is_some() || !other.owed.is_empty()).any(|other| {
            let moves = other.made.as_ref().filter(|_| other.proposed.is_some());
            let gives_back = |had: &&Place| {
                let back = |owed: &Owed| {
                    (&owed.csr, owed.number, owed.what) == (&had.csr.id, had.number, Debt::Release)
                };
                other.owed.iter().any(back)
            };
            let had = moves.or_else(|| other.had.as_ref().filter(gives_back));
            let had = had.filter(|had| had.csr.id == place.csr.id);
            let taken = had.and_then(|had| had.slot).map(|slot| slot.taken());
            taken.is_some_and(|taken| taken.common(slot.taken()).is_some())
        })
    }

    /// Whether somebody has to be looked for. One for whom nobody was found waits for a change, and with it
    /// those behind it.
    pub fn wants_planning(&self) -> bool {
        let proposed = || self.items.iter().any(|item| item.proposed.is_some());
        !proposed() && self.next_to_place().is_some_and(|item| item.nobody.is_none())
    }

    /// The task that waits because nobody was found.
    pub fn waits(&self) -> Option<&Item> {
        self.next_to_place().filter(|item| item.nobody.is_some() && item.proposed.is_none())
    }

    /// The first task that has no place, or has one before the task that comes before it ends.
    fn next_to_place(&self) -> Option<&Item> {
        if self.closed {
            return None;
        }
        let mut end = Timestamp::MIN;
        for item in self.items.iter().filter(|item| item.phase.is_open()) {
            let slot = item.made.as_ref().and_then(|made| made.slot);
            let gap = i64::from(item.wanted.gap_minutes) * MINUTE;
            let early = slot.is_some_and(|slot| slot.start < end.plus(gap) && end > Timestamp::MIN);
            if item.phase == Phase::Unplaced || (early && item.phase == Phase::Planned) {
                return Some(item);
            }
            if item.holds_up() {
                return None;
            }
            end = item.ends().map_or(end, |ends| end.max(ends));
        }
        None
    }
}
