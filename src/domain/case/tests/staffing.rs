//! Several cases that want the same people: proposals that are made of old boards, late, doubled, refused
//! and cut off by crashes; people who are away, leave and do their tasks; persons who suspend, retry and
//! cancel. In the end everything is brought to rest, and the calendars are the oracle: one reservation for
//! each placed task and none beside, no two at a time, nothing for a case that has ended, and nobody waits
//! while somebody free has the skill.

mod calendars;
mod mailbox;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value as Json, json};

use self::mailbox::Mailbox;
use super::world::{World, world};
use crate::domain::case::command::{Command, PlanChange, PlannedTask, Verb};
use crate::domain::case::effect::Effect;
use crate::domain::case::staff;
use crate::domain::data::Data;
use crate::domain::ids::{Bits, CaseId, CsrId};
use crate::domain::staff::csr::command::Command as Told;
use crate::domain::staff::csr::decide::{Decided, Facts, decide};
use crate::domain::staff::csr::event::Event;
use crate::domain::staff::csr::{Csr, MINUTE, begin, evolve};
use crate::domain::staff::notice::Notices;
use crate::domain::staff::plan::owed::Asked;
use crate::domain::staff::plan::place::{Request, place};
use crate::domain::staff::plan::wanted::Customer;
use crate::domain::staff::plan::{Item, Person, Plan};
use crate::domain::staff::profile::{Profile, TimeOff};
use crate::domain::staff::settings::Settings;
use crate::domain::time::{DAY, Timestamp};

const HOUR: i64 = 60 * MINUTE;

const NAMES: [&str; 3] = ["ann", "ben", "cai"];

/// What the cases do.
const BODIES: [&str; 6] = [
    "do:
  - plan: { call: book, with: { tasks: [{skill: a, minutes: 60}, {skill: b, minutes: 30, gapMinutes: 30}, {skill: a, minutes: 90, bufferMinutes: 30}], customer: {name: Ada, email: ada@example.com, timeZone: Europe/Paris} } }
  - perform: { call: perform, with: { plan: '${ .plan }' } }
",
    "do:
  - book: { call: book, with: { skill: a, minutes: 120, due: PT12H } }
  - perform: { call: perform, with: { booking: '${ .booking }' } }
",
    "do:
  - review: { call: perform, with: { skill: b, minutes: 20, due: PT8H } }
  - again: { call: perform, with: { skill: a, minutes: 20 } }
",
    "do:
  - race:
      fork:
        compete: true
        branches:
          - a: { do: [{book: {call: book, with: {skill: a, minutes: 60}}}, {late: {wait: PT2H}}] }
          - b: { wait: PT1H }
",
    "document: { dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: { onError: suspend } }
do:
  - plan: { call: book, with: { tasks: [{skill: b, minutes: 60}, {skill: b, minutes: 60}], sticky: case, customer: {name: Ben, email: ben@example.com, timeZone: UTC} } }
  - perform: { call: perform, with: { plan: '${ .plan }' }, timeout: { after: PT30H } }
",
    "do:
  - try:
      try:
        - book: { call: book, with: { skill: a, minutes: 60 } }
        - perform: { call: perform, with: { booking: '${ .booking }' }, timeout: { after: PT20H } }
      catch: { retry: { delay: PT1H, limit: { attempt: { count: 2 } } } }
",
];

/// Something on its way.
#[derive(Clone, Debug)]
enum Message {
    /// A plan that somebody looks for.
    Look(usize, Box<Plan>),
    /// Something has come free for a case that waits.
    LookAgain(usize),
    Ask(usize, Box<Asked>),
    /// To a case.
    Tell(usize, Box<Command>),
    /// A mail that leaves a case.
    Mail(usize, Box<Effect>),
}

struct Run {
    cases: Vec<World>,
    csrs: Vec<Csr>,
    /// What was committed of each, to be folded again.
    histories: Vec<Vec<(Event, Timestamp)>>,
    bag: Vec<Message>,
    /// Cases for which nobody was found a moment ago, and those that look again once they have heard.
    fresh: Vec<bool>,
    again: Vec<bool>,
    now: Timestamp,
    settings: Settings,
    mailbox: Mailbox,
}

fn profile(more: &Json) -> Arc<Profile> {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let hours = days.map(|day| json!({"day": day, "start": "08:00", "end": "16:00"}));
    let mut all = json!({"name": "x", "email": "x@example.com", "timeZone": "Europe/Berlin",
        "skills": ["a", "b"], "hours": hours});
    all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Arc::new(serde_json::from_value(all).unwrap())
}

fn id(n: usize) -> CsrId {
    NAMES[n].parse().unwrap()
}

impl Run {
    fn begin(bodies: &[usize]) -> Self {
        let mut cases = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            let mut case = world(BODIES[*body]);
            case.id = CaseId(Bits([n as u8 + 1; 16]));
            case.ctx.notices = Notices::All;
            cases.push(case);
        }
        let now = cases[0].now;
        let mut run = Self {
            cases,
            csrs: Vec::new(),
            histories: Vec::new(),
            bag: Vec::new(),
            fresh: vec![false; bodies.len()],
            again: vec![false; bodies.len()],
            now,
            settings: Settings { notice: 0, horizon: 30 * DAY, ..Settings::default() },
            mailbox: Mailbox::default(),
        };
        let skills = [json!({}), json!({"skills": ["a"]}), json!({"skills": ["b"], "maxOpen": 3})];
        for (n, more) in skills.iter().enumerate() {
            let event = Event::Added { id: id(n), profile: profile(more) };
            run.csrs.push(begin(&event).unwrap());
            run.histories.push(vec![(event, now)]);
        }
        for case in 0..run.cases.len() {
            run.cases[case].start(json!({}));
            run.derive(case);
        }
        run
    }

    /// Whatever follows from a case's state is put into the bag.
    fn derive(&mut self, case: usize) {
        while let Some(effect) = self.cases[case].effects.pop_front() {
            self.bag.push(Message::Mail(case, Box::new(effect)));
        }
        let world = &self.cases[case];
        let Some(state) = &world.state else { return };
        let asks = staff::asks(state);
        let plans: Vec<Plan> = staff::to_plan(state).cloned().collect();
        for asked in asks {
            let known = |message: &Message| matches!(message, Message::Ask(of, known) if *of == case && **known == asked);
            if !self.bag.iter().any(known) {
                self.bag.push(Message::Ask(case, Box::new(asked)));
            }
        }
        for plan in plans {
            let known = |message: &Message| matches!(message, Message::Look(of, known) if *of == case && **known == plan);
            if !self.bag.iter().any(known) {
                self.bag.push(Message::Look(case, Box::new(plan)));
            }
        }
        let state = self.cases[case].state();
        if self.again[case] && !staff::is_asking(state) && !self.is_looked_for(case) {
            self.look_again(case);
        }
    }

    /// Plans of a case that wait are looked for again.
    fn look_again(&mut self, case: usize) {
        self.again[case] = false;
        let waiting = self.cases[case].state.iter().flat_map(staff::waiting);
        let plans: Vec<Plan> = waiting.map(|(plan, _)| plan.clone()).collect();
        self.bag.extend(plans.into_iter().map(|plan| Message::Look(case, Box::new(plan))));
    }

    /// Whether somebody looks for people for a case now.
    fn is_looked_for(&self, case: usize) -> bool {
        self.bag.iter().any(|message| match message {
            Message::Look(of, _) => *of == case,
            Message::Tell(of, command) => {
                *of == case && matches!(**command, Command::Propose { .. })
            }
            Message::Ask(..) | Message::LookAgain(_) | Message::Mail(..) => false,
        })
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Look(case, plan) => {
                let mut board: Vec<Arc<Csr>> = self.csrs.iter().cloned().map(Arc::new).collect();
                let request = Request { plan: &plan, owner: None, now: self.now };
                let choices = place(&request, &mut board, &self.settings);
                self.fresh[case] |= choices.iter().any(|choice| choice.place.is_none());
                let command = Command::Propose { plan: plan.id, choices };
                self.bag.push(Message::Tell(case, Box::new(command)));
            }
            Message::LookAgain(case) => {
                self.again[case] = true;
                self.derive(case);
            }
            Message::Ask(case, asked) => {
                let n = NAMES.iter().position(|name| *name == asked.csr.as_str()).unwrap();
                let answer = self.tell_csr(n, &asked.command).unwrap();
                let Asked { csr, booking, number, what, .. } = *asked;
                let command = Command::Answered { csr, booking, number, what, answer };
                self.bag.push(Message::Tell(case, Box::new(command)));
            }
            Message::Tell(case, command) => {
                self.tell(case, *command);
            }
            Message::Mail(case, effect) => self.post(case, &effect, 0),
        }
    }

    fn tell(&mut self, case: usize, command: Command) {
        self.cases[case].now = self.now;
        self.again[case] |= matches!(command, Command::Resume { .. } | Command::Retry { .. });
        // a "no" is an answer, too
        let _ = self.cases[case].try_tell(command);
        self.derive(case);
    }

    /// A CSR decides; what was displaced is told to the cases, perhaps late.
    fn tell_csr(
        &mut self,
        n: usize,
        command: &Told,
    ) -> Result<crate::domain::staff::csr::command::Answer, ()> {
        let facts = Facts { now: self.now, wall: self.now };
        let decided = decide(Some(&self.csrs[n]), &id(n), command, facts).map_err(drop)?;
        let Decided { csr, events, answer } = decided;
        self.csrs[n] = csr.unwrap();
        let frees = !matches!(command, Told::Reserve(_) | Told::Keep { .. }) && !events.is_empty();
        for case in (0..self.cases.len()).filter(|_| frees) {
            let waits = self.cases[case].state.iter().flat_map(staff::waiting).next().is_some();
            if waits || self.fresh[case] {
                self.fresh[case] = false;
                self.bag.push(Message::LookAgain(case));
            }
        }
        self.histories[n].extend(events.into_iter().map(|event| (event, self.now)));
        Ok(answer)
    }

    fn news(&mut self, n: usize) {
        let owed: Vec<_> = self.csrs[n].owes().map(|(b, one, why)| (b, one.clone(), why)).collect();
        for (booking, one, why) in owed {
            let case = self.cases.iter().position(|world| world.id == one.case).unwrap();
            let command = Command::Displaced { booking, number: one.number, why };
            self.bag.push(Message::Tell(case, Box::new(command)));
        }
    }

    /// What the process had in memory is gone; what was committed is folded again.
    fn crash(&mut self) {
        let bag = std::mem::take(&mut self.bag);
        self.lose_mails(bag);
        self.fresh.fill(false);
        self.again.fill(false);
        for case in 0..self.cases.len() {
            let length = self.cases[case].history.len();
            let folded = self.cases[case].replayed(length);
            assert_eq!(folded.state, self.cases[case].state, "replay differs from live");
            self.tell(case, Command::Recover);
            // a start has all who wait look again
            self.bag.push(Message::LookAgain(case));
        }
        for n in 0..self.csrs.len() {
            let ((first, _), rest) = self.histories[n].split_first().unwrap();
            let mut folded = begin(first).unwrap();
            for (event, at) in rest {
                evolve(&mut folded, event, *at).unwrap();
            }
            assert_eq!(folded, self.csrs[n], "replay differs from live");
            self.news(n);
        }
    }

    fn person(&mut self, case: usize, choice: u32) {
        let Some(state) = &self.cases[case].state else { return };
        let items: Vec<_> = state.plans.iter().flat_map(|plan| &plan.items).collect();
        let Some(item) = items.get(choice as usize % items.len().max(1)) else { return };
        let assignment = item.booking.assignment();
        let to = || Some(Person::of(&self.csrs[choice as usize / 7 % 3]));
        let reason: Arc<str> = "so it is".into();
        let verb = match choice / 11 % 12 {
            0..=2 => Verb::Start,
            3..=5 => Verb::Complete { outcome: Data::from(json!({"n": choice % 3})) },
            6 => Verb::HandBack { reason },
            7 => Verb::Reassign { to: None, reason },
            8 => Verb::Reassign { to: to(), reason },
            9 => {
                Verb::Move { start: self.now.plus(i64::from(choice % 40) * HOUR), to: None, reason }
            }
            10 => Verb::Block { reason },
            _ => Verb::Skip { reason },
        };
        self.tell(case, Command::Assignment { assignment, verb, if_match: None });
    }

    fn happen(&mut self, choice: u32) {
        let (kind, rest) = (choice % 32, choice / 32);
        let case = rest as usize % self.cases.len();
        let n = rest as usize % self.csrs.len();
        match kind {
            0..=15 if !self.bag.is_empty() => {
                let place = rest as usize % self.bag.len();
                let message = self.bag.swap_remove(place);
                if let Message::Mail(case, effect) = &message {
                    return self.post(*case, effect, rest);
                }
                if rest % 5 == 0 {
                    // it comes once more, whenever
                    self.bag.push(message.clone());
                }
                self.deliver(message);
            }
            16..=20 => self.person(case, rest),
            21 => {
                let from = self.now.plus(i64::from(rest % 30) * HOUR);
                let to = from.plus(i64::from(rest % 50) * HOUR);
                let day = |at: Timestamp| at.to_string()[..10].parse().unwrap();
                let off = TimeOff {
                    id: format!("off{}", rest % 3),
                    from: day(from),
                    to: day(to),
                    reason: String::new(),
                };
                let _ = self.tell_csr(n, &Told::Away { off });
                self.news(n);
            }
            22 => {
                let _ = self.tell_csr(n, &Told::Back { id: format!("off{}", rest % 3) });
            }
            23 => {
                let more = [
                    json!({}),
                    json!({"paused": true}),
                    json!({"skills": ["a"]}),
                    json!({"maxMinutesPerDay": 90}),
                    json!({"hours": [{"day": "thu", "start": "20:00", "end": "04:00"}]}),
                    json!({"until": "2023-11-16"}),
                ];
                let profile = profile(&more[rest as usize / 3 % more.len()]);
                let _ = self.tell_csr(n, &Told::Put { profile, calendar: None });
                self.news(n);
            }
            24 => self.tell(case, Command::Suspend { reason: "a look".into() }),
            25 => self.tell(case, Command::Resume { reason: "on".into() }),
            26 if rest % 3 == 0 => self.tell(case, Command::Cancel { reason: "off".into() }),
            27 => self.retry(case),
            28 => self.crash(),
            29 => self.change_plan(case, rest),
            _ => {
                self.now = self.now.plus(i64::from(rest % 9) * HOUR);
                for case in 0..self.cases.len() {
                    self.tell(case, Command::Timer);
                }
            }
        }
    }

    /// An admin turns what is left around, skips one, or adds one.
    fn change_plan(&mut self, case: usize, choice: u32) {
        let Some(state) = &self.cases[case].state else { return };
        let Some(plan) = state.plans.last() else { return };
        let open = |item: &&Item| item.phase.is_open() && !item.phase.has_begun();
        let open = plan.items.iter().filter(open).map(|item| PlannedTask::Kept(item.booking));
        let mut tasks: Vec<PlannedTask> = open.collect();
        tasks.reverse();
        match choice / 3 % 3 {
            0 => drop(tasks.pop()),
            1 => tasks.push(PlannedTask::New(plan.items[0].wanted.clone())),
            _ => {}
        }
        let customer = plan.customer.clone().filter(|_| choice.is_multiple_of(5));
        let customer =
            customer.map(|customer| Customer { email: "ada@example.org".into(), ..customer });
        let (plan, reason) = (Some(plan.id), "so it is".into());
        let change = PlanChange { plan, tasks, customer, reason };
        self.tell(case, Command::ChangePlan(Box::new(change)));
    }

    fn retry(&mut self, case: usize) {
        let (reason, task, outcome, output) = ("again".to_owned(), None, None, None);
        self.tell(case, Command::Retry { reason, task, outcome, output });
    }

    /// Everything is delivered until nothing moves.
    fn settle(&mut self) {
        for case in 0..self.cases.len() {
            self.tell(case, Command::Resume { reason: "on".into() });
        }
        for _ in 0..5000 {
            match self.bag.pop() {
                Some(message) => self.deliver(message),
                None => (0..self.csrs.len()).for_each(|n| self.news(n)),
            }
            let told = self.csrs.iter().all(|csr| csr.owes().count() == 0);
            if self.bag.is_empty() && told && !self.lets_settle() {
                return;
            }
        }
        panic!("it goes on for ever\n{}", self.told());
    }

    fn told(&self) -> String {
        let cases = self.cases.iter().map(|world| world.told());
        let csrs = self.histories.iter().map(|history| {
            history
                .iter()
                .skip(1)
                .map(|(event, at)| format!("{at} {event:?}\n"))
                .collect::<String>()
        });
        cases.chain(csrs).collect::<Vec<_>>().join("----\n")
    }
}

fn seeds() -> u32 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(400)
}

#[test]
fn the_calendars_agree() {
    let config = ProptestConfig {
        cases: seeds(),
        rng_seed: match std::env::var("SEEDS") {
            Ok(_) => RngSeed::Random,
            Err(_) => RngSeed::Fixed(7),
        },
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    };
    let bodies = prop::collection::vec(0..BODIES.len(), 1..4);
    let tape = prop::collection::vec(any::<u32>(), 0..160);
    proptest!(config, |(bodies in bodies, tape in tape)| {
        let mut run = Run::begin(&bodies);
        for choice in tape {
            run.happen(choice);
        }
        run.settle();
        run.check();
        run.check_mails();
    });
}
