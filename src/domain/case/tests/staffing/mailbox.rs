//! What people know by the mails that they have got: the oracle of notices.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::super::world::{World, done, not_done, unknown};
use super::{HOUR, Message, Run};
use crate::domain::case::command::Command;
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::notices;
use crate::domain::case::phase::Phase as CasePhase;
use crate::domain::ids::BookingId;
use crate::domain::staff::notice::{Mark, Notice, Seen, Who};
use crate::domain::staff::plan::Phase;

/// How long a mail may be in doubt before it is sent again.
const DOUBTED_FOR: i64 = 4 * HOUR;

/// Whoever reads mails of a case: by address.
type Inbox = (usize, Who, String);

#[derive(Default)]
pub struct Mailbox {
    /// What a reader believes of a task.
    known: HashMap<(Inbox, BookingId), Option<Seen>>,
    reminded: HashMap<(Inbox, BookingId, Mark), usize>,
    keys: HashSet<String>,
    /// Readers to whom a mail was under way of which nobody knew what became of it.
    pub doubted: HashSet<(usize, Who)>,
}

impl Mailbox {
    /// A mail arrives. False: it says nothing new, and nothing was in doubt.
    pub fn take(&mut self, case: usize, notice: &Notice, key: &str) -> bool {
        let who = notice.reader.who();
        let inbox = (case, who.clone(), notice.reader.email().to_owned());
        let again = !self.keys.insert(key.to_owned());
        let mut news = again || self.doubted.contains(&(case, who));
        for line in &notice.lines {
            let booking = line.booking;
            if let Some(mark) = line.mark {
                let count = self.reminded.entry((inbox.clone(), booking, mark)).or_default();
                *count += 1;
                // another turn may be silent as well, and another absence leave nobody
                news |= *count == 1 || mark > Mark::Due;
                continue;
            }
            let before = self.known.insert((inbox.clone(), booking), line.now.clone());
            // at a corrected address, what is off was never known
            news |= before.is_none() && line.was.is_some();
            news |= before.unwrap_or_default() != line.now;
        }
        news
    }

    fn believes(&self, inbox: &Inbox, booking: BookingId) -> Option<&Seen> {
        self.known.get(&(inbox.clone(), booking)).and_then(Option::as_ref)
    }
}

impl Run {
    /// A mail comes to the mail server: it is taken, or not, or nobody knows.
    pub(super) fn post(&mut self, case: usize, effect: &Effect, fate: u32) {
        let Ask::Notice(notice) = &effect.ask else { panic!("{effect:?}") };
        let outcome = match fate % 6 {
            3 => not_done(),
            4 | 5 => unknown(),
            _ => done(json!({})),
        };
        if fate % 6 != 3 && fate % 6 != 4 {
            let same = self.mailbox.take(case, notice, &effect.key);
            assert!(same, "somebody is told the same again: {notice:?}\n{}", self.told());
        }
        if fate % 6 > 3 {
            self.mailbox.doubted.insert((case, notice.reader.who()));
        }
        let Effect { task, iteration, attempt, .. } = *effect;
        self.tell(case, Command::Result { task, iteration, attempt, outcome });
    }

    /// A crash: mails that were under way have arrived, some of them.
    pub(super) fn lose_mails(&mut self, bag: Vec<Message>) {
        for (n, message) in bag.into_iter().enumerate() {
            let Message::Mail(case, effect) = message else { continue };
            let Ask::Notice(notice) = &effect.ask else { continue };
            self.mailbox.doubted.insert((case, notice.reader.who()));
            if n % 2 == 0 {
                self.mailbox.take(case, notice, &effect.key);
            }
        }
    }

    /// Time goes by until what has changed last is told. False: nothing is.
    pub(super) fn lets_settle(&mut self) -> bool {
        let states = self.cases.iter().map(World::state);
        let due = states.filter_map(notices::next_due).min();
        let Some(due) = due.filter(|due| due.since(self.now) <= DOUBTED_FOR) else { return false };
        self.now = self.now.max(due);
        for case in 0..self.cases.len() {
            self.tell(case, Command::Timer);
            // a new day may have come into the horizon
            self.bag.push(Message::LookAgain(case));
        }
        true
    }

    /// What people believe in the end has to be so.
    pub(super) fn check_mails(&self) {
        for (case, world) in self.cases.iter().enumerate() {
            let state = world.state();
            if state.phase == CasePhase::Suspended {
                continue;
            }
            assert!(!state.desk.is_sending(), "{}", self.told());
            for plan in &state.plans {
                for item in plan.items.iter().filter(|item| item.phase != Phase::Done) {
                    let made =
                        item.made.as_ref().filter(|_| item.phase.is_open() && plan.told.is_some());
                    for csr in &self.csrs {
                        let inbox = (case, Who::Csr(csr.id.clone()), csr.profile.email.clone());
                        let so = made.filter(|made| made.csr.id == csr.id).map(Seen::of);
                        let known = self.mailbox.believes(&inbox, item.booking);
                        let wrong = format!("{} believes {known:?}, it is {so:?}", csr.id);
                        assert!(known == so.as_ref(), "{wrong}\n{}", self.told());
                    }
                    let Some(customer) = &plan.customer else { continue };
                    let inbox = (case, Who::Customer, customer.email.clone());
                    // whoever was given it without a time has it, and the customer has no appointment
                    let so = made.filter(|made| made.slot.is_some()).map(Seen::of);
                    let known = self.mailbox.believes(&inbox, item.booking);
                    let wrong = format!("the customer believes {known:?}, it is {so:?}");
                    assert!(known == so.as_ref(), "{wrong}\n{}", self.told());
                }
            }
        }
    }
}
