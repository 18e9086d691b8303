//! A case, its people and their mail, on a moved clock: the people are a board that the test keeps.

use std::sync::Arc;

use serde_json::json;

use super::world::{World, done, failed, not_done, unknown, world};
use crate::domain::case::command::{Command, Health, Outcome, Rejection, Verb};
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::staff;
use crate::domain::data::Data;
use crate::domain::staff::csr::decide::{Facts, decide};
use crate::domain::staff::csr::event::Event;
use crate::domain::staff::csr::{Csr, MINUTE, begin};
use crate::domain::staff::notice::{Notice, Notices, Who};
use crate::domain::staff::plan::place::{Request, place};
use crate::domain::staff::plan::{Item, Plan};
use crate::domain::staff::settings::Settings;
use crate::domain::time::Timestamp;

pub const HOUR: i64 = 60 * MINUTE;

/// What the mail server does with a mail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MailServer {
    Up,
    Down,
    /// It takes mails, and says nothing.
    Silent,
    Refuses,
    /// It takes nothing for the customer now.
    Picky,
}

/// A case and its people.
pub struct Office {
    pub world: World,
    pub csrs: Vec<Csr>,
    /// Mails that have arrived, each with the key of its Message-ID.
    pub mails: Vec<(Notice, String)>,
    /// What becomes of mails.
    pub mail_server: MailServer,
}

impl Office {
    /// People who work around the clock.
    pub fn begin(body: &str, names: &[&str]) -> Self {
        let mut office = Self::begin_unanswered(body, names);
        office.settle();
        office
    }

    /// The same, where nobody has looked or answered yet.
    pub fn begin_unanswered(body: &str, names: &[&str]) -> Self {
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let hours = days.map(|day| json!({"day": day, "start": "00:00", "end": "24:00"}));
        let csr = |name: &&str| {
            let profile = json!({"name": name, "email": "x@example.com", "timeZone": "UTC",
                "skills": ["a"], "hours": hours});
            let profile = Arc::new(serde_json::from_value(profile).unwrap());
            begin(&Event::Added { id: name.parse().unwrap(), profile }).unwrap()
        };
        let csrs = names.iter().map(csr).collect();
        let (mails, mail_server) = (Vec::new(), MailServer::Up);
        let mut office = Self { world: world(body), csrs, mails, mail_server };
        office.world.ctx.notices = Notices::All;
        office.world.start(json!({}));
        office
    }

    /// Somebody looks for people, for the first plan that wants them.
    pub fn look(&mut self) {
        let state = self.world.state().clone();
        let Some(plan) = staff::to_plan(&state).next() else { return };
        let mut board: Vec<Arc<Csr>> = self.csrs.iter().cloned().map(Arc::new).collect();
        let request = Request { plan, owner: None, now: self.world.now };
        let settings = Settings { notice: 0, ..Settings::default() };
        let choices = place(&request, &mut board, &settings);
        self.world.tell(Command::Propose { plan: plan.id, choices });
    }

    /// Everybody answers until nobody is asked any more.
    pub fn settle(&mut self) {
        for _ in 0..2000 {
            let state = self.world.state().clone();
            let now = self.world.now;
            if let Some(effect) = self.world.effects.pop_front() {
                self.post(&effect);
            } else if let Some(asked) = staff::asks(&state).into_iter().next() {
                let csr = self.csrs.iter_mut().find(|csr| csr.id == asked.csr).unwrap();
                let facts = Facts { now, wall: now };
                let decided = decide(Some(csr), &asked.csr, &asked.command, facts).unwrap();
                *csr = decided.csr.unwrap();
                let (booking, number, what) = (asked.booking, asked.number, asked.what);
                let (csr, answer) = (asked.csr, decided.answer);
                self.world.tell(Command::Answered { csr, booking, number, what, answer });
            } else if staff::to_plan(&state).next().is_some() {
                self.look();
            } else {
                return;
            }
        }
        panic!("it goes on for ever\n{}", self.world.told());
    }

    /// The first of them is told something, and their cases what follows from it.
    pub fn tell_csr(&mut self, command: &crate::domain::staff::csr::command::Command) {
        let (csr, now) = (&mut self.csrs[0], self.world.now);
        let facts = Facts { now, wall: now };
        let decided = decide(Some(csr), &csr.id.clone(), command, facts).unwrap();
        *csr = decided.csr.unwrap();
        let news = csr.owes().map(|(booking, one, why)| Command::Displaced {
            booking,
            number: one.number,
            why,
        });
        news.collect::<Vec<_>>().into_iter().for_each(|news| self.world.tell(news));
    }

    /// A mail comes to the mail server.
    fn post(&mut self, effect: &Effect) {
        let Ask::Notice(notice) = &effect.ask else { panic!("{effect:?}") };
        let customer = notice.reader.who() == Who::Customer;
        let arrives = match self.mail_server {
            MailServer::Up | MailServer::Silent => true,
            MailServer::Down | MailServer::Refuses => false,
            MailServer::Picky => !customer,
        };
        if arrives {
            self.mails.push(((**notice).clone(), effect.key.clone()));
        }
        let outcome = match self.mail_server {
            MailServer::Picky if customer => {
                let error = Problem::new(Standard::Communication, "come back").with_status(452);
                Outcome::NotDone { error, retry_after: None, health: Health::default() }
            }
            MailServer::Picky => done(json!({})),
            MailServer::Up => done(json!({})),
            MailServer::Down => not_done(),
            MailServer::Silent => unknown(),
            MailServer::Refuses => failed(550),
        };
        self.world.answer(effect, outcome);
    }

    /// To whom mails went since the last look, and what they were.
    pub fn told(&mut self) -> Vec<String> {
        let mails = std::mem::take(&mut self.mails);
        let told = mails
            .iter()
            .map(|(notice, _)| format!("{} {}", notice.reader.who().name(), notice.kind.name()));
        told.collect()
    }

    pub fn plan(&self) -> &Plan {
        self.world.state().plans.last().unwrap()
    }

    pub fn item(&self, n: usize) -> &Item {
        &self.plan().items[n]
    }

    pub fn start_of(&self, n: usize) -> Timestamp {
        self.item(n).made.as_ref().unwrap().slot.unwrap().start
    }

    pub fn act(&mut self, n: usize, verb: Verb) -> Result<(), Rejection> {
        let assignment = self.item(n).booking.assignment();
        let acted = self.world.try_tell(Command::Assignment { assignment, verb, if_match: None });
        self.settle();
        acted
    }

    pub fn complete(&mut self, n: usize) {
        self.act(n, Verb::Complete { outcome: Data::from(json!({"n": n})) }).unwrap();
    }

    /// The clock moves to an instant, by way of all that comes due until then.
    pub fn pass_until(&mut self, at: Timestamp) {
        while let Some(due) = crate::domain::case::derive::next_due(self.world.state()) {
            if due > at {
                break;
            }
            self.world.now = self.world.now.max(due);
            self.world.tell(Command::Timer);
            self.settle();
        }
        self.world.now = at;
        self.world.tell(Command::Timer);
        self.settle();
    }
}
