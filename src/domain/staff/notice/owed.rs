//! What is owed: the difference between what everybody was told last and what is so now, and the marks on the
//! way to a due date.

use super::{
    Kind, Line, Mark, Notice, Notices, Reader, SETTLED_AFTER, Seen, Told, UNPLACED_FOR, Who,
    one_line,
};
use crate::domain::staff::plan::wanted::Customer;
use crate::domain::staff::plan::{Item, Person, Phase, Place, Plan};
use crate::domain::time::Timestamp;

/// What a task should look like to somebody.
enum Expected<'a> {
    /// As they know it: nothing is to be told any more.
    AsTold,
    At(&'a Place),
    Off,
}

/// Until when a reader is left alone, since a mail to them did not get through.
pub type Delayed<'a> = &'a dyn Fn(&Who) -> Option<Timestamp>;

impl Plan {
    /// When the next notice of the plan is owed; an instant of the past means now.
    pub fn notice_due(&self, delayed: Delayed<'_>) -> Option<Timestamp> {
        if self.notices.is_off() {
            return None;
        }
        let later = |who: &Who, at: Timestamp| delayed(who).map_or(at, |until| at.max(until));
        let differences = self.difference_due().into_iter().flat_map(|due| {
            let differing = self.readers().into_iter().filter(|who| self.is_owed(who));
            differing.map(move |who| (who, due))
        });
        let marks = self.items.iter().flat_map(|item| self.marks(item));
        let all = differences.chain(marks.map(|(who, _, at)| (who, at)));
        all.map(|(who, at)| later(&who, at)).min()
    }

    /// The notice that is owed first at this time.
    pub fn notice_at(&self, now: Timestamp, delayed: Delayed<'_>) -> Option<Notice> {
        if self.notices.is_off() {
            return None;
        }
        let free = |who: &Who| delayed(who).is_none_or(|until| until <= now);
        let settled = self.difference_due().is_some_and(|due| due <= now);
        let readers = || self.readers().into_iter().filter(|who| free(who));
        let difference = || readers().find_map(|who| self.difference(&who));
        settled.then(difference).flatten().or_else(|| self.reminder(now, &free))
    }

    /// When what has changed is told: at once for the first time, and some minutes after the last change
    /// from then on.
    fn difference_due(&self) -> Option<Timestamp> {
        if self.told.is_none() && (self.closed || !self.is_placed()) {
            return None;
        }
        let moves = self.items.iter().any(|item| item.proposed.is_some());
        if !self.closed && (moves || self.wants_planning()) {
            return None;
        }
        let changed = self.items.iter().filter(|item| {
            let has = item.csr().map(|csr| Who::Csr(csr.id.clone()));
            let told = item.told.iter().map(|told| told.who.clone());
            let mut readers = has.into_iter().chain(told).chain([Who::Customer]);
            readers.any(|who| self.differs(item, &who))
        });
        let last = changed.map(Item::changed_at).max()?;
        // those who hear of it behind the first one, in their first mail, need not wait either
        let first = self.told.is_none_or(|told| last <= told);
        Some(if first { last } else { last.plus(SETTLED_AFTER) })
    }

    /// Whether somebody knows something else than what is so.
    fn is_owed(&self, who: &Who) -> bool {
        self.items.iter().any(|item| self.differs(item, who))
    }

    /// Everybody who has to know of appointments, or was told of some.
    fn readers(&self) -> Vec<Who> {
        let items = &self.items;
        let has = items.iter().filter(|item| item.phase.is_open()).filter_map(Item::csr);
        let told = items.iter().flat_map(|item| &item.told).map(|told| told.who.clone());
        let mut all: Vec<Who> = has.map(|csr| Who::Csr(csr.id.clone())).chain(told).collect();
        all.push(Who::Customer);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What somebody has to be told of the appointments.
    fn difference(&self, who: &Who) -> Option<Notice> {
        let differ = self.items.iter().filter(|item| self.differs(item, who));
        let lines: Vec<Line> = differ.map(|item| self.line(item, who)).collect();
        let kind = kind_of(&lines)?;
        let reader = match who {
            Who::Customer => {
                let customer = self.customer.clone()?;
                Reader::Customer(Customer { name: one_line(&customer.name), ..customer })
            }
            Who::Csr(_) => Reader::Csr(self.person(who)?),
            Who::Lead => return None,
        };
        Some(self.notice(kind, reader, lines))
    }

    fn notice(&self, kind: Kind, reader: Reader, lines: Vec<Line>) -> Notice {
        let customer = self.customer.as_ref().map(|customer| one_line(&customer.name).into());
        Notice { kind, plan: self.id, reader, customer, lines }
    }

    /// A CSR as the plan knows them.
    fn person(&self, who: &Who) -> Option<Person> {
        let Who::Csr(id) = who else { return None };
        let has = self.items.iter().filter_map(Item::csr).find(|csr| csr.id == *id);
        has.cloned().or_else(|| {
            let mut told = self.items.iter().flat_map(|item| &item.told);
            let told = told.find(|told| told.who == *who)?;
            let name = told.seen.as_ref().map(|seen| seen.name.clone());
            let name = name.unwrap_or_else(|| id.as_str().into());
            Some(Person { id: id.clone(), name, email: told.email.clone() })
        })
    }

    /// Whether somebody knows something else of a task than what is so.
    fn differs(&self, item: &Item, who: &Who) -> bool {
        let told = item.told_to(who);
        let seen = told.and_then(|told| told.seen.as_ref());
        match self.expected(item, who) {
            Expected::AsTold => false,
            // whoever was promised another time is told that there is none
            Expected::Off => told.is_some_and(|told| {
                let in_vain = told.promised && !item.phase.is_open();
                told.seen.is_some() || told.doubt || in_vain
            }),
            Expected::At(place) => {
                let same = seen.is_some_and(|seen| seen.is_as(place));
                !same || told.is_some_and(|told| told.doubt || self.was_elsewhere(told))
            }
        }
    }

    /// Whether the customer was told at an address, or in a time zone, that was corrected since.
    fn was_elsewhere(&self, told: &Told) -> bool {
        let customer = self.customer.as_ref().filter(|_| told.who == Who::Customer);
        customer.is_some_and(|customer| {
            *customer.email != *told.email || told.zone.as_ref() != Some(&customer.zone)
        })
    }

    /// What somebody has to be told of one task.
    fn line(&self, item: &Item, who: &Who) -> Line {
        let now = match self.expected(item, who) {
            Expected::At(place) => Some(place),
            Expected::AsTold | Expected::Off => None,
        };
        let told = item.told_to(who);
        // to a corrected address an appointment is new; what is off may be known there by other ways
        let was = told.filter(|told| now.is_none() || !self.was_elsewhere(told));
        let was = was.and_then(|told| told.seen.clone());
        // what may have reached them is called off, too
        let perhaps = told.filter(|_| now.is_none()).and_then(|told| told.perhaps.clone());
        // a place that is off comes behind the one that was told, and before any later one
        let sequence = now.map_or(2 * item.number + 1, |place| 2 * place.number);
        Line {
            booking: item.booking,
            title: one_line(&item.wanted.title()).into(),
            was: perhaps.or(was),
            now: now.map(Seen::of),
            sequence,
            mark: None,
            due: item.due,
            why: None,
            ended: !item.phase.is_open(),
        }
    }

    fn expected<'a>(&'a self, item: &'a Item, who: &Who) -> Expected<'a> {
        let made = match item.phase {
            Phase::Done => return Expected::AsTold,
            Phase::Skipped | Phase::Cancelled | Phase::Unplaced => None,
            Phase::Planned | Phase::Ready | Phase::Started | Phase::Blocked => item.made.as_ref(),
        };
        match (made, who) {
            (Some(made), Who::Csr(csr)) if made.csr.id == *csr => Expected::At(made),
            (Some(made), Who::Customer) if made.slot.is_some() && self.customer.is_some() => {
                Expected::At(made)
            }
            _ => Expected::Off,
        }
    }

    /// The marks that somebody has not heard of, each with its time.
    fn marks(&self, item: &Item) -> Vec<(Who, Mark, Timestamp)> {
        let mut all = Vec::new();
        if !item.phase.is_open() || item.phase == Phase::Blocked {
            return all;
        }
        let heard = |who: &Who, mark: Mark| {
            let stands_for = |said: &Mark| match mark {
                Mark::Half | Mark::Most | Mark::Due => *said >= mark && *said <= Mark::Due,
                Mark::Silent | Mark::Unplaced => *said == mark,
            };
            item.said.iter().any(|(known, said)| known == who && stands_for(said))
        };
        let mut note = |who: &Who, mark: Mark, at: Timestamp| {
            if !heard(who, mark) {
                all.push((who.clone(), mark, at));
            }
        };
        let span = item.due.map(|due| (due, due.since(item.due_from).max(0)));
        let turn = matches!(item.phase, Phase::Ready | Phase::Started);
        if let Some(csr) = item.csr().filter(|_| turn) {
            let who = Who::Csr(csr.id.clone());
            if let Some((due, span)) = span {
                note(&who, Mark::Half, due.plus(-span / 2));
                note(&who, Mark::Most, due.plus(-span / 5));
                note(&who, Mark::Due, due);
            }
            if item.silent && item.phase == Phase::Ready {
                note(&who, Mark::Silent, item.since);
            }
        }
        if self.notices == Notices::All {
            if let Some((due, span)) = span {
                // those behind one for whom nobody was found are not looked for yet
                if item.phase == Phase::Unplaced && item.nobody.is_some() {
                    note(&Who::Lead, Mark::Half, due.plus(-span / 2));
                }
                note(&Who::Lead, Mark::Due, due);
            }
            if item.silent && item.phase == Phase::Ready {
                note(&Who::Lead, Mark::Silent, item.since);
            }
            if item.phase == Phase::Unplaced && item.nobody.is_some() {
                note(&Who::Lead, Mark::Unplaced, item.since.plus(UNPLACED_FOR));
            }
        }
        all
    }

    /// What somebody has to be reminded of, or the lead to hear: all tasks of the same mark at once.
    fn reminder(&self, now: Timestamp, free: &dyn Fn(&Who) -> bool) -> Option<Notice> {
        let reached = self.items.iter().flat_map(|item| {
            let marks = self.marks(item).into_iter();
            let marks = marks.filter(|(who, _, at)| *at <= now && free(who));
            let marks: Vec<(Who, Mark)> = marks.map(|(who, mark, _)| (who, mark)).collect();
            // the latest alone of those on the way to the due date
            let before = |mark: Mark| mark < Mark::Due;
            let later = |who: &Who, mark: Mark| {
                marks.iter().any(|(other, m)| other == who && *m > mark && *m <= Mark::Due)
            };
            let last = marks.iter().filter(|(who, mark)| !before(*mark) || !later(who, *mark));
            last.cloned().map(|(who, mark)| (item, who, mark)).collect::<Vec<_>>()
        });
        let reached: Vec<(&Item, Who, Mark)> = reached.collect();
        let (_, who, mark) = reached.first()?.clone();
        let same = reached.iter().filter(|(_, other, m)| (other, m) == (&who, &mark));
        let lines = same.map(|(item, ..)| Line {
            booking: item.booking,
            title: one_line(&item.wanted.title()).into(),
            was: None,
            now: item.made.as_ref().map(Seen::of),
            sequence: 2 * item.number,
            mark: Some(mark),
            due: item.due,
            why: item.nobody.clone().filter(|_| item.phase == Phase::Unplaced),
            ended: false,
        });
        let lines = lines.collect();
        match &who {
            Who::Lead => Some(self.notice(Kind::Escalation, Reader::Lead, lines)),
            who => Some(self.notice(Kind::Reminder, Reader::Csr(self.person(who)?), lines)),
        }
    }
}

impl Item {
    /// What somebody was told of it last.
    fn told_to(&self, who: &Who) -> Option<&Told> {
        self.told.iter().find(|told| told.who == *who)
    }

    /// When it got the place that it has, or lost the one that it had.
    fn changed_at(&self) -> Timestamp {
        let made = self.made.as_ref().map(|made| made.at);
        made.filter(|_| self.phase.is_open()).unwrap_or(self.since)
    }
}

impl Seen {
    /// Whether it says the same as a place: who, and when.
    fn is_as(&self, place: &Place) -> bool {
        let slot = place.slot.map(|slot| (slot.start, slot.end));
        (&self.csr, self.time) == (&place.csr.id, slot)
    }
}

/// What lines of appointments are about, all together.
fn kind_of(lines: &[Line]) -> Option<Kind> {
    if lines.is_empty() {
        return None;
    }
    let now = || lines.iter().filter_map(|line| line.now.as_ref());
    Some(if now().next().is_none() {
        Kind::Cancelled
    } else if lines.iter().any(|line| line.was.is_some() || line.now.is_none()) {
        Kind::Changed
    } else if now().all(|seen| seen.time.is_none()) {
        Kind::Assigned
    } else {
        Kind::Planned
    })
}
