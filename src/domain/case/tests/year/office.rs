//! The office of that year: an agenda of what happens when, and everybody's answers in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::super::world::{World, done, not_done, unknown, world};
use super::people::{everybody, profile};
use crate::domain::case::command::Command;
use crate::domain::case::effect::Ask;
use crate::domain::case::{derive, notices, staff};
use crate::domain::ids::{Bits, BookingId, CaseId, CsrId};
use crate::domain::staff::csr::command::{Answer, Command as Told};
use crate::domain::staff::csr::decide::{Decided, Facts, decide};
use crate::domain::staff::csr::event::Event;
use crate::domain::staff::csr::{Csr, MINUTE, begin, evolve};
use crate::domain::staff::notice::{Notices, Seen, Who};
use crate::domain::staff::plan::Phase;
use crate::domain::staff::plan::place::{Request, place};
use crate::domain::staff::settings::Settings;
use crate::domain::time::{DAY, Timestamp};

pub const HOUR: i64 = 60 * MINUTE;

/// The 1st of January 2026 in UTC.
const NEW_YEAR: Timestamp = Timestamp(1_767_225_600_000);

const ONBOARDING: &str = "
do:
  - plan: { call: book, with: { tasks: '${ .tasks }', customer: '${ .customer }', sticky: customer } }
  - perform: { call: perform, with: { plan: '${ .plan }' } }
";

/// Something on the agenda.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Turn {
    Submit(usize),
    /// An instant that a case waits for.
    Due(usize),
    /// Somebody does something with a task of theirs.
    Act(usize, BookingId, u64),
    /// Somebody has something else to do.
    Away(usize, u64),
    Leave(usize),
    Join(usize),
    /// An admin changes the plan of a case.
    Change(usize, u64),
    Kill,
    /// The oracle has a look.
    Look,
}

/// Chance, from a seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

pub struct Year {
    pub seed: u64,
    pub chance: Chance,
    pub now: Timestamp,
    agenda: BTreeSet<(Timestamp, Turn)>,
    pub cases: Vec<World>,
    pub csrs: BTreeMap<CsrId, Arc<Csr>>,
    histories: BTreeMap<CsrId, Vec<(Event, Timestamp)>>,
    /// Those who are alike, by where they are.
    pub equal: BTreeMap<usize, Vec<CsrId>>,
    /// Those who may be away, and leave.
    pub others: Vec<CsrId>,
    pub settings: Settings,
    /// Cases for which nobody was found.
    waiting: BTreeSet<usize>,
    /// Somebody has time who had none before.
    freed: bool,
    /// Whose next act is on the agenda.
    pub acting: BTreeSet<BookingId>,
    /// What each CSR was at until they were done, in minutes.
    pub worked: BTreeMap<CsrId, i64>,
    /// Until when the mail server is away, and calls to it are held back.
    mail_is_down: Option<Timestamp>,
    /// What readers believe of a task, by the mails that have arrived.
    pub believed: BTreeMap<(usize, BookingId, Who), Seen>,
    /// Mails that have arrived in each case.
    pub mails: BTreeMap<usize, usize>,
}

impl Year {
    pub fn begin(seed: u64, cases: usize) -> Self {
        let mut year = Self {
            seed,
            chance: Chance(seed),
            now: NEW_YEAR,
            agenda: BTreeSet::new(),
            cases: Vec::new(),
            csrs: BTreeMap::new(),
            histories: BTreeMap::new(),
            equal: BTreeMap::new(),
            others: Vec::new(),
            settings: Settings::default(),
            waiting: BTreeSet::new(),
            freed: false,
            acting: BTreeSet::new(),
            worked: BTreeMap::new(),
            mail_is_down: None,
            believed: BTreeMap::new(),
            mails: BTreeMap::new(),
        };
        for hired in everybody() {
            match hired.equal {
                Some(place) => year.equal.entry(place).or_default().push(hired.id.clone()),
                None => year.others.push(hired.id.clone()),
            }
            year.hire(hired.id, hired.profile);
        }
        let definition = world(ONBOARDING).definition;
        for n in 0..cases {
            let mut case = World::around(definition.clone());
            let number = (n as u64 + 1).to_be_bytes();
            let mut bits = [0; 16];
            bits[8..].copy_from_slice(&number);
            case.id = CaseId(Bits(bits));
            case.ctx.notices = Notices::All;
            year.cases.push(case);
            // more in some weeks than in others
            let day = (n as i64 * 340 / cases.max(1) as i64) + year.chance.next(7) as i64;
            let at = NEW_YEAR.plus(day * DAY + year.hour());
            year.at(at, Turn::Submit(n));
        }
        for day in 0..360 {
            let at = NEW_YEAR.plus(day * DAY);
            year.at(at.plus(23 * HOUR), Turn::Look);
            if year.chance.next(3) == 0 {
                let (n, seed) = (year.some_other(), year.chance.next(1 << 40));
                let from = at.plus(year.hour());
                year.at(from, Turn::Away(n, seed));
            }
            if year.chance.next(10) == 0 {
                let when = at.plus(year.hour());
                year.at(when, Turn::Kill);
            }
            if day % 60 == 45 {
                let n = year.some_other();
                year.at(at.plus(9 * HOUR), Turn::Leave(n));
                year.at(at.plus(20 * DAY), Turn::Join(n));
            }
        }
        year
    }

    fn some_other(&mut self) -> usize {
        self.chance.next(self.others.len() as u64) as usize
    }

    /// Milliseconds into a day.
    fn hour(&mut self) -> i64 {
        self.chance.next(24 * 60) as i64 * MINUTE
    }

    pub fn at(&mut self, at: Timestamp, turn: Turn) {
        self.agenda.insert((at, turn));
    }

    fn hire(&mut self, id: CsrId, profile: Arc<crate::domain::staff::profile::Profile>) {
        let event = Event::Added { id: id.clone(), profile };
        self.csrs.insert(id.clone(), Arc::new(begin(&event).unwrap()));
        self.histories.insert(id, vec![(event, self.now)]);
        self.freed = true;
    }

    pub fn run(&mut self) {
        while let Some((at, turn)) = self.agenda.pop_first() {
            self.now = self.now.max(at);
            self.take(turn);
            self.settle();
            if self.agenda.is_empty() && self.mail_is_down.is_some() {
                self.mail_comes_back();
            }
        }
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Submit(n) => self.submit(n),
            Turn::Due(n) => self.tell(n, Command::Timer),
            Turn::Act(n, booking, chance) => self.act(n, booking, chance),
            Turn::Away(n, chance) => self.away(n, chance),
            Turn::Leave(n) => {
                let on = crate::domain::staff::civil::Moment::Instant(self.now);
                let reason = "another job".into();
                self.tell_csr(&self.others[n].clone(), &Told::Leave { on, reason });
            }
            Turn::Join(n) => {
                // somebody else sits at the desk of the one who left
                let id: CsrId = format!("n{n}-{}", self.csrs.len()).parse().unwrap();
                let known = self.csrs[&self.others[n]].profile.clone();
                let zone = known.zone.to_string();
                let profile = profile(&id, &zone, &json!({"skills": known.skills}));
                self.others[n] = id.clone();
                self.hire(id, profile);
            }
            Turn::Change(n, chance) => self.change(n, chance),
            Turn::Kill => self.kill(),
            Turn::Look => {
                // the mail server is away for two days now and then
                match self.mail_is_down {
                    Some(until) if until <= self.now => self.mail_comes_back(),
                    Some(_) => {}
                    None if self.chance.next(30) == 0 => {
                        self.mail_is_down = Some(self.now.plus(2 * DAY));
                        for world in &mut self.cases {
                            world.ctx.open.insert("mail".to_owned());
                        }
                    }
                    None => {}
                }
                let waiting: Vec<usize> = self.waiting.iter().copied().collect();
                self.freed |= !waiting.is_empty();
                self.settle();
                self.look();
            }
        }
    }

    fn mail_comes_back(&mut self) {
        self.mail_is_down = None;
        for n in 0..self.cases.len() {
            self.cases[n].ctx.open.clear();
            let state = self.cases[n].state.as_ref();
            if state.is_some_and(|state| notices::parked(state).is_some()) {
                self.tell(n, Command::Admit { service: "mail".into() });
            }
        }
    }

    fn submit(&mut self, n: usize) {
        let chance = self.chance.next(1 << 40);
        let count = 1 + chance % 4;
        let task = |k: u64| {
            let turn = (chance >> (8 + k)) as usize;
            let skill = ["a", "b", "c", "a"][turn % 4];
            let minutes = [30, 45, 60, 90][turn / 4 % 4];
            let (gap, buffer) = ([0, 0, 60][turn / 16 % 3], [0, 15][turn / 3 % 2]);
            json!({"skill": skill, "minutes": minutes, "title": format!("step {k}"),
                "gapMinutes": gap, "bufferMinutes": buffer})
        };
        let tasks: Vec<Json> = (0..count).map(task).collect();
        let (name, email) = (format!("Customer {n}"), format!("c{n}@example.org"));
        let language = ["de", "en"][n % 2];
        let customer = json!({"name": name, "email": email, "timeZone": "Europe/Paris",
            "language": language});
        self.cases[n].now = self.now;
        if self.mail_is_down.is_some() {
            self.cases[n].ctx.open.insert("mail".to_owned());
        }
        self.cases[n].start(json!({"tasks": tasks, "customer": customer}));
        if chance.is_multiple_of(25) {
            let at = self.now.plus(((chance >> 20) % 96) as i64 * HOUR);
            self.at(at, Turn::Change(n, chance));
        }
        self.follow(n);
    }

    pub fn tell(&mut self, n: usize, command: Command) {
        if self.cases[n].state.is_none() {
            return;
        }
        self.cases[n].now = self.now;
        // a "no" is an answer, too
        let _ = self.cases[n].try_tell(command);
        self.follow(n);
    }

    /// Whatever follows from where a case stands.
    fn follow(&mut self, n: usize) {
        for _ in 0..10_000 {
            let world = &mut self.cases[n];
            world.now = self.now;
            if let Some(effect) = world.effects.pop_front() {
                let Ask::Notice(notice) = &effect.ask else { panic!("{effect:?}") };
                let (arrives, outcome) = match self.chance.next(100) {
                    0 => (false, not_done()),
                    1 => (false, unknown()),
                    2 => (true, unknown()),
                    _ => (true, done(json!({}))),
                };
                if arrives {
                    *self.mails.entry(n).or_default() += 1;
                    for line in notice.lines.iter().filter(|line| line.mark.is_none()) {
                        let key = (n, line.booking, notice.reader.who());
                        match &line.now {
                            Some(now) => drop(self.believed.insert(key, now.clone())),
                            None => drop(self.believed.remove(&key)),
                        }
                    }
                }
                if self.chance.next(200) == 0 {
                    // the process ends before it hears of it
                    self.crash(n);
                } else {
                    self.cases[n].answer(&effect, outcome);
                }
                continue;
            }
            let Some(state) = &world.state else { return };
            if let Some(asked) = staff::asks(state).into_iter().next() {
                let answer = self.tell_csr(&asked.csr, &asked.command);
                if self.chance.next(300) == 0 {
                    // the answer is lost
                    self.crash(n);
                    continue;
                }
                let (csr, booking, number, what) =
                    (asked.csr, asked.booking, asked.number, asked.what);
                let command = Command::Answered { csr, booking, number, what, answer };
                self.cases[n].tell(command);
                continue;
            }
            let wanted = staff::to_plan(state).next().cloned();
            if let Some(plan) = wanted {
                let mut board: Vec<Arc<Csr>> = self.csrs.values().cloned().collect();
                let request = Request { plan: &plan, owner: None, now: self.now };
                let choices = place(&request, &mut board, &self.settings);
                self.cases[n].tell(Command::Propose { plan: plan.id, choices });
                continue;
            }
            break;
        }
        self.note(n);
    }

    /// What of a case comes on the agenda.
    fn note(&mut self, n: usize) {
        let Some(state) = &self.cases[n].state else { return };
        let due = derive::next_due(state);
        let turns: Vec<(BookingId, Timestamp)> = state
            .plans
            .iter()
            .filter_map(|plan| plan.current())
            .filter(|item| matches!(item.phase, Phase::Ready | Phase::Started | Phase::Blocked))
            .map(|item| (item.booking, item.slot().map_or(self.now, |slot| slot.start)))
            .collect();
        match staff::waiting(state).next().is_some() {
            true => drop(self.waiting.insert(n)),
            false => drop(self.waiting.remove(&n)),
        }
        if let Some(due) = due {
            self.at(due.max(self.now.plus(1)), Turn::Due(n));
        }
        for (booking, start) in turns {
            if self.acting.insert(booking) {
                let chance = self.chance.next(1 << 40);
                // some begin late, and some never
                let late = [0, 0, 0, 20, 60][chance as usize % 5] * MINUTE;
                let begins = start.max(self.now).plus(late + 1);
                self.at(begins, Turn::Act(n, booking, chance));
            }
        }
    }

    pub fn tell_csr(&mut self, id: &CsrId, command: &Told) -> Answer {
        let facts = Facts { now: self.now, wall: self.now };
        let decided = decide(Some(&self.csrs[id]), id, command, facts);
        let Ok(Decided { csr, events, answer }) = decided else { return Answer::Noted };
        let csr = csr.unwrap();
        if let (Told::Reserve(proposal), Answer::Reserved) = (command, &answer)
            && !events.is_empty()
        {
            super::oracle::fits(&csr, proposal);
        }
        let changes = !matches!(command, Told::Reserve(_) | Told::Keep { .. });
        self.freed |= changes && !events.is_empty();
        self.csrs.insert(id.clone(), Arc::new(csr));
        let history = self.histories.get_mut(id).unwrap();
        history.extend(events.into_iter().map(|event| (event, self.now)));
        answer
    }

    /// Everybody is told what they have to know, until nobody has anything to say.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let owed: Vec<(CaseId, Command)> = self
                .csrs
                .values()
                .flat_map(|csr| csr.owes())
                .map(|(booking, one, why)| {
                    (one.case, Command::Displaced { booking, number: one.number, why })
                })
                .collect();
            let freed = std::mem::take(&mut self.freed);
            if owed.is_empty() && (!freed || self.waiting.is_empty()) {
                return;
            }
            for (case, command) in owed {
                let bits: [u8; 8] = case.0.0[8..].try_into().unwrap();
                self.tell(u64::from_be_bytes(bits) as usize - 1, command);
            }
            if freed {
                self.look_again();
            }
        }
        panic!("YEAR_SEED={}: it goes on for ever", self.seed);
    }

    /// Whoever found nobody looks again.
    fn look_again(&mut self) {
        for n in self.waiting.clone() {
            let plans: Vec<_> = {
                let state = self.cases[n].state();
                staff::waiting(state).map(|(plan, _)| plan.clone()).collect()
            };
            for plan in plans {
                let mut board: Vec<Arc<Csr>> = self.csrs.values().cloned().collect();
                let request = Request { plan: &plan, owner: None, now: self.now };
                let choices = place(&request, &mut board, &self.settings);
                if choices.iter().any(|choice| choice.place.is_some()) {
                    self.tell(n, Command::Propose { plan: plan.id, choices });
                }
            }
        }
    }

    /// What a case's actor had in memory is gone.
    fn crash(&mut self, n: usize) {
        let length = self.cases[n].history.len();
        let folded = self.cases[n].replayed(length);
        assert_eq!(folded.state, self.cases[n].state, "YEAR_SEED={}", self.seed);
        self.cases[n].effects.clear();
        self.cases[n].tell(Command::Recover);
    }

    /// What the process had in memory is gone; what was committed is folded again.
    fn kill(&mut self) {
        for n in 0..self.cases.len() {
            let Some(state) = &self.cases[n].state else { continue };
            if state.phase.ended() && derive::next_due(state).is_none() {
                continue;
            }
            self.crash(n);
            self.follow(n);
        }
        for (id, history) in &self.histories {
            let ((first, _), rest) = history.split_first().unwrap();
            let mut folded = begin(first).unwrap();
            rest.iter().for_each(|(event, at)| evolve(&mut folded, event, *at).unwrap());
            assert_eq!(folded, *self.csrs[id], "YEAR_SEED={}", self.seed);
        }
        self.freed = true;
    }

    /// Cases that wait because nobody was found.
    pub fn waiting(&self) -> impl Iterator<Item = &World> {
        self.waiting.iter().map(|n| &self.cases[*n])
    }
}
