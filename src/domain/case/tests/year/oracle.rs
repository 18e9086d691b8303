//! What has to be so on every day of that year, and at its end.

use std::sync::Arc;

use super::office::Year;
use crate::domain::case::event::Event as CaseEvent;
use crate::domain::case::notices;
use crate::domain::case::phase::Phase as CasePhase;
use crate::domain::ids::BookingId;
use crate::domain::staff::csr::command::Proposal;
use crate::domain::staff::csr::{Csr, Standing};
use crate::domain::staff::plan::Phase;
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::staff::plan::place::{Request, place};
use crate::domain::time::{DAY, Timestamp};

/// Minutes that each has worked, from which on it can be said whether that is fair.
const ENOUGH: i64 = 3000;

/// Parts in a hundred by which those who are alike may differ from what each should have.
const FAIR: i64 = 15;

/// What was just reserved lies in working time, and within what a day may hold, unless a person wanted it so.
pub fn fits(csr: &Csr, proposal: &Proposal) {
    let Some(slot) = proposal.slot.filter(|_| !proposal.by_person) else { return };
    let around = crate::domain::staff::intervals::Span {
        start: slot.start.plus(-2 * DAY),
        end: slot.end.plus(2 * DAY),
    };
    let works = csr.profile.working(csr.calendar.as_deref(), around);
    assert!(works.has(slot.span()), "{} is booked outside of hours: {slot:?}", csr.id);
    for (date, _) in csr.days_of(slot.span()) {
        let minutes = csr.minutes_on(date);
        assert!(csr.profile.max_minutes_per_day.is_none_or(|most| minutes <= most), "{}", csr.id);
    }
    assert!(csr.profile.skills.contains(&proposal.skill), "{}", csr.id);
}

impl Year {
    /// Every evening.
    pub fn look(&self) {
        let seed = self.seed;
        for csr in self.csrs.values() {
            let mut last = Timestamp::MIN;
            for (span, booking) in &csr.busy {
                assert!(last <= span.start, "YEAR_SEED={seed}: {booking} overlaps");
                last = span.end;
            }
            for (booking, one) in &csr.reservations {
                let bits: [u8; 8] = one.case.0.0[8..].try_into().unwrap();
                let state = self.cases[u64::from_be_bytes(bits) as usize - 1].state();
                let item = state.plans.iter().find_map(|plan| plan.item(*booking)).unwrap();
                let made = item.made.as_ref();
                let same =
                    made.is_some_and(|made| (&made.csr.id, made.number) == (&csr.id, one.number));
                assert!(same, "YEAR_SEED={seed}: {booking} is reserved and not its case's");
                let open = one.standing != Standing::Done;
                assert!(open == item.phase.is_open(), "YEAR_SEED={seed}: {booking}");
                assert!(
                    !open || !state.phase.ended(),
                    "YEAR_SEED={seed}: {booking} of an ended case"
                );
            }
        }
        let mut board: Vec<Arc<Csr>> = self.csrs.values().cloned().collect();
        for world in self.waiting() {
            for (plan, item) in crate::domain::case::staff::waiting(world.state()) {
                let request = Request { plan, owner: None, now: self.now };
                let found = place(&request, &mut board, &self.settings);
                let nobody = found.iter().all(|choice| choice.place.is_none());
                assert!(nobody, "YEAR_SEED={seed}: {} waits, and somebody is free", item.booking);
            }
        }
    }

    /// On the last day.
    pub fn check_the_end(&self) {
        let seed = self.seed;
        let mut ends = [0; 3];
        for (n, world) in self.cases.iter().enumerate() {
            let state = world.state();
            match state.phase {
                CasePhase::Completed => ends[0] += 1,
                CasePhase::Cancelled => ends[1] += 1,
                phase => panic!("YEAR_SEED={seed}: {} is {phase:?}\n{}", world.id, world.told()),
            }
            let owes = notices::owed(state, Timestamp::MAX);
            assert!(
                owes.is_none(),
                "YEAR_SEED={seed}: {} owes {owes:?}\n{}",
                world.id,
                world.told()
            );
            let told = state.plans.iter().any(|plan| plan.told.is_some());
            let mails = self.mails.get(&n).copied().unwrap_or(0);
            assert!(!told || mails > 0, "YEAR_SEED={seed}: nobody has heard of {}", world.id);
            self.every_move_is_explained(world);
        }
        let heard = self.mails.values().filter(|mails| **mails > 0).count();
        let all = ends[0];
        assert!(heard * 20 >= all * 19, "YEAR_SEED={seed}: of {all} cases {heard} were heard of");
        // nobody believes in an appointment that did not take place
        for ((n, booking, who), seen) in &self.believed {
            let state = self.cases[*n].state();
            let item = state.plans.iter().find_map(|plan| plan.item(*booking)).unwrap();
            let wrong = item.phase != Phase::Done;
            assert!(!wrong, "YEAR_SEED={seed}: {who:?} believes {seen:?} of {booking}");
        }
        let open = self.csrs.values().flat_map(|csr| csr.reservations.values());
        let open = open.filter(|one| one.standing != Standing::Done).count();
        assert_eq!(open, 0, "YEAR_SEED={seed}: something is reserved for nobody");
        for group in self.equal.values() {
            let minutes: Vec<i64> =
                group.iter().map(|id| self.worked.get(id).copied().unwrap_or(0)).collect();
            let even = minutes.iter().sum::<i64>() / group.len() as i64;
            eprintln!("those who are alike: {minutes:?} minutes, {even} each would be even");
            // of a few tasks nobody can give everybody the same
            let enough = even >= ENOUGH;
            for one in minutes.iter().filter(|_| enough) {
                let off = (one - even).abs() * 100;
                assert!(off <= FAIR * even, "YEAR_SEED={seed}: {minutes:?} is not fair");
            }
        }
        eprintln!("{} completed, {} cancelled", ends[0], ends[1]);
    }

    /// A task moves only after something has happened that moves it, and says why whoever has it does.
    fn every_move_is_explained(&self, world: &super::super::world::World) {
        let seed = self.seed;
        let mut placed: Vec<BookingId> = Vec::new();
        // planning takes no time; who finds nobody says so once a day
        let mut cause = Timestamp::MIN;
        for (at, event) in world.history.iter() {
            match event {
                CaseEvent::Plan(event) => match event {
                    PlanEvent::Proposed { booking, place, .. } => {
                        assert!(!place.why.is_empty(), "YEAR_SEED={seed}: {booking}");
                        let moves = placed.contains(booking);
                        let wrong = moves && at.since(cause) > DAY;
                        let told = || world.told();
                        assert!(
                            !wrong,
                            "YEAR_SEED={seed}: {booking} moves for nothing\n{}",
                            told()
                        );
                    }
                    PlanEvent::Made { booking, .. } => placed.push(*booking),
                    PlanEvent::Displaced { .. }
                    | PlanEvent::Overrun { .. }
                    | PlanEvent::HandedBack { .. }
                    | PlanEvent::TakenBack { .. }
                    | PlanEvent::Reassigned { .. }
                    | PlanEvent::Changed(_)
                    | PlanEvent::Refused { .. }
                    | PlanEvent::GaveWay { .. }
                    | PlanEvent::Unplaced { .. } => cause = *at,
                    _ => {}
                },
                CaseEvent::Resumed { .. } => cause = *at,
                _ => {}
            }
        }
    }
}
