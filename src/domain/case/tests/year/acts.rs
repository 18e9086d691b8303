//! What people do in that year.

use serde_json::json;

use super::office::{Turn, Year};
use crate::domain::case::command::{Command, PlanChange, PlannedTask, Verb};
use crate::domain::data::Data;
use crate::domain::ids::BookingId;
use crate::domain::staff::csr::MINUTE;
use crate::domain::staff::csr::command::Command as Told;
use crate::domain::staff::plan::{Item, Phase};
use crate::domain::staff::profile::TimeOff;
use crate::domain::time::{DAY, Timestamp};

impl Year {
    /// Whoever has the task does the next thing with it.
    pub fn act(&mut self, n: usize, booking: BookingId, chance: u64) {
        self.acting.remove(&booking);
        let Some(state) = &self.cases[n].state else { return };
        let Some(item) = state.plans.iter().find_map(|plan| plan.item(booking)).cloned() else {
            return;
        };
        let chance = chance / 5;
        let verb = match (item.phase, chance % 100) {
            (Phase::Ready, 0..=3) => {
                Verb::HandBack { reason: format!("no time {}", chance % 1000).into() }
            }
            // the lease takes it back
            (Phase::Ready, 4..=5) => return,
            (Phase::Ready, 6..=8) => Verb::Skip { reason: "not needed".into() },
            (Phase::Ready, _) => Verb::Start,
            (Phase::Started, 0..=4) => Verb::Block { reason: "a paper is missing".into() },
            (Phase::Started, _) => Verb::Complete { outcome: Data::from(json!({"fine": true})) },
            (Phase::Blocked, _) => Verb::Unblock,
            _ => return,
        };
        let completes = matches!(verb, Verb::Complete { .. });
        if completes && let Some(csr) = item.csr() {
            *self.worked.entry(csr.id.clone()).or_default() += i64::from(item.wanted.minutes);
        }
        let begins = matches!(verb, Verb::Start | Verb::Unblock | Verb::Block { .. });
        let assignment = booking.assignment();
        if begins {
            // it takes as long as it should, or longer
            self.acting.insert(booking);
            let share = [60, 90, 100, 100, 130, 220][(chance >> 8) as usize % 6];
            let takes = i64::from(item.wanted.minutes) * MINUTE * share / 100;
            let next = self.chance.next(1 << 40);
            self.at(self.now.plus(takes), Turn::Act(n, booking, next));
        }
        self.tell(n, Command::Assignment { assignment, verb, if_match: None });
    }

    pub fn away(&mut self, n: usize, chance: u64) {
        let id = self.others[n].clone();
        let from = self.now.plus((chance % 10) as i64 * DAY);
        let to = from.plus((chance / 10 % 12) as i64 * DAY);
        let day = |at: Timestamp| at.to_string()[..10].parse().unwrap();
        let off = TimeOff {
            id: format!("off{}", chance % 100_000),
            from: if chance.is_multiple_of(4) {
                from.to_string().parse().unwrap()
            } else {
                day(from)
            },
            to: day(to.plus(DAY)),
            reason: "ill".into(),
        };
        self.tell_csr(&id, &Told::Away { off });
        // what nobody needs any more is forgotten
        let over: Vec<String> = self.csrs[&id]
            .profile
            .time_off
            .iter()
            .filter(|off| off.to.ends(&self.csrs[&id].profile.zone) < self.now)
            .map(|off| off.id.clone())
            .collect();
        for absence in over {
            self.tell_csr(&id, &Told::Back { id: absence });
        }
    }

    pub fn change(&mut self, n: usize, chance: u64) {
        let Some(state) = &self.cases[n].state else { return };
        let Some(plan) = state.plans.last() else { return };
        let open = |item: &&Item| item.phase.is_open() && !item.phase.has_begun();
        let open = plan.items.iter().filter(open).map(|item| PlannedTask::Kept(item.booking));
        let mut tasks: Vec<PlannedTask> = open.collect();
        tasks.reverse();
        if chance.is_multiple_of(3) {
            tasks.push(PlannedTask::New(plan.items[0].wanted.clone()));
        }
        let (plan, customer, reason) = (Some(plan.id), None, "in another order".into());
        let change = PlanChange { plan, tasks, customer, reason };
        match chance % 5 {
            0 => self.tell(n, Command::Cancel { reason: "they do not want it".into() }),
            _ => self.tell(n, Command::ChangePlan(Box::new(change))),
        }
    }
}
