//! What schedules decide: by example, and against books that count every due instant for themselves.

mod books;
mod events;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decide::{OPEN_MAX, Rule};
use super::event::{Outcome, Run, ScheduleEvent, Skip};
use super::state::State;
use crate::domain::ids::{Bits, CaseId, EventCursor};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::Schedule;
use crate::domain::workflow::read::{Surroundings, compile};
use crate::domain::workflow::source::Format;

const ID: &str = "billing.daily";
const MINUTE: i64 = 60_000;

/// A schedule, as a definition says it.
fn schedule(says: &str, metadata: &str) -> Schedule {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: billing, name: daily, version: '1.0.0', metadata: {{{metadata}}}}}\n\
         schedule: {{{says}}}\ndo: []\n"
    );
    let compiled = compile(&text, Format::Yaml, &Surroundings::unknown());
    let compiled = compiled.unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
    let definition = Arc::into_inner(compiled.definition).expect("nobody else has it");
    definition.schedule.expect("it has one")
}

/// A schedule and its clock.
struct World {
    schedule: Schedule,
    version: Arc<str>,
    state: State,
    now: Timestamp,
    told: Vec<ScheduleEvent>,
    /// Cases that are there, of what is decided again.
    ran: BTreeSet<CaseId>,
}

impl World {
    /// Registered at midnight, some day.
    fn new(says: &str, metadata: &str) -> Self {
        let now: Timestamp = "2026-11-02T00:00:00Z".parse().unwrap();
        let (schedule, version) = (schedule(says, metadata), Arc::from("1.0.0"));
        let (told, ran) = (Vec::new(), BTreeSet::new());
        let mut world = Self { schedule, version, state: State::default(), now, told, ran };
        let set = world.rule().set(&world.state, now, EventCursor(10));
        world.commit(vec![set]);
        world.told.clear();
        world
    }

    fn rule(&self) -> Rule<'_> {
        Rule { id: ID, version: &self.version, schedule: &self.schedule }
    }

    fn commit(&mut self, events: Vec<ScheduleEvent>) {
        for event in events {
            self.state.evolve(&event);
            self.told.push(event);
        }
    }

    fn decide(&mut self) {
        loop {
            let events = self.rule().decide(&self.state, self.now, &self.ran);
            if events.is_empty() {
                return;
            }
            self.commit(events);
        }
    }

    /// So many minutes go by, and it decides in each.
    fn pass(&mut self, minutes: i64) {
        for _ in 0..minutes {
            self.now = self.now.plus(MINUTE);
            self.decide();
        }
    }

    /// So many minutes go by in which it cannot decide.
    fn miss(&mut self, minutes: i64) {
        self.now = self.now.plus(minutes * MINUTE);
        self.decide();
    }

    /// An operator lets it go on.
    fn resumed(&self, from: Option<Timestamp>) -> ScheduleEvent {
        ScheduleEvent::Resumed { from, at: self.now, events: EventCursor(self.state.heard.0) }
    }

    fn end(&mut self, case: CaseId) {
        let outcome = Outcome::Completed;
        self.commit(vec![ScheduleEvent::Closed { case, at: self.now, outcome }]);
    }

    fn end_all(&mut self) {
        let open: Vec<CaseId> = self.state.open.keys().copied().collect();
        open.into_iter().for_each(|case| self.end(case));
    }

    /// What was told, in short: `02:00` of a run that was due then.
    fn told(&mut self) -> Vec<String> {
        let at = |due: Timestamp| due.to_string()[11..16].to_owned();
        let short = |event: &ScheduleEvent| match event {
            ScheduleEvent::Fired(run) => at(run.due),
            ScheduleEvent::Skipped { due, why, count } => {
                format!("{count} {} until {}", why.name(), at(*due))
            }
            ScheduleEvent::Waits { due } => format!("{} waits", at(*due)),
            other => format!("{other:?}"),
        };
        std::mem::take(&mut self.told).iter().map(short).collect()
    }
}

fn paused() -> ScheduleEvent {
    ScheduleEvent::Paused { reason: "".into(), by: "".into(), events: EventCursor(10) }
}

#[test]
fn runs_begin_when_they_are_due() {
    let mut world = World::new("cron: 0 */2 * * *", "");
    world.pass(300);
    assert_eq!(world.told(), ["02:00", "04:00"]);
    let rule = Rule { id: ID, version: &world.version, schedule: &world.schedule };
    let next = rule.next_look(&world.state, world.now).unwrap();
    assert_eq!(next.to_string(), "2026-11-02T06:00:00.000Z");
}

#[test]
fn of_what_was_missed_the_latest_runs() {
    let mut world = World::new("every: PT10M", "");
    world.miss(65);
    assert_eq!(world.told(), ["5 missed until 00:50", "01:00"]);
    // what is late by less is not missed
    let mut world = World::new("every: PT30S", "");
    world.miss(2);
    assert_eq!(world.told(), ["00:00", "00:01", "00:01", "00:02"]);
}

#[test]
fn of_what_was_missed_all_run_or_none() {
    let mut world = World::new("every: PT10M", "missed: all");
    world.miss(35);
    assert_eq!(world.told(), ["00:10", "00:20", "00:30"]);
    let mut world = World::new("every: PT10M", "missed: skip");
    world.miss(35);
    assert_eq!(world.told(), ["3 missed until 00:30"]);
    let mut world = World::new("every: PT1M", "missed: all");
    world.miss(200);
    let told = world.told();
    assert_eq!(told[..2], ["98 missed until 01:38", "01:39"]);
    assert_eq!(told.len(), 1 + 100, "what was not missed waits for room: {told:?}");
    world.end_all();
    world.told.clear();
    world.decide();
    assert_eq!(world.told(), ["03:19", "03:20"]);
}

#[test]
fn runs_do_not_overlap_where_they_must_not() {
    let mut world = World::new("every: PT10M", "overlap: skip");
    world.pass(20);
    assert_eq!(world.told(), ["00:10", "1 overlap until 00:20"]);
    world.end_all();
    world.pass(10);
    assert_eq!(world.told()[1..], ["00:30"]);

    let mut world = World::new("every: PT10M", "overlap: wait");
    world.pass(30);
    assert_eq!(world.told(), ["00:10", "00:20 waits", "1 overlap until 00:20", "00:30 waits"]);
    world.end_all();
    world.pass(1);
    assert_eq!(world.told()[1..], ["00:30"]);
}

#[test]
fn a_hundred_runs_are_under_way_at_the_most() {
    let mut world = World::new("every: PT1M", "");
    world.pass(102);
    assert_eq!(world.state.open.len(), OPEN_MAX);
    // those that may still find room wait for it, as long as they are not missed
    assert_eq!(world.told().len(), 100);
    world.pass(1);
    assert_eq!(world.told(), ["1 bound until 01:41"]);
    world.end_all();
    world.pass(1);
    assert_eq!(world.told().last().unwrap(), "01:44");
}

/// The days and times in Berlin at which a shipped workflow runs in a month.
fn in_berlin(text: &str, month: &str) -> Vec<String> {
    let compiled = compile(text, Format::Yaml, &Surroundings::unknown()).expect("it is shipped");
    let schedule = compiled.definition.schedule.as_ref().expect("it has one");
    let (state, mut due) = (State::default(), Vec::new());
    let mut at: Timestamp = format!("{month}-01T00:00:00Z").parse().unwrap();
    let mut latest = None;
    loop {
        at = schedule.next(&state, at).unwrap();
        // backwards it is the same
        assert_eq!(schedule.latest(&state, at), Some(at));
        assert!(latest.is_none() || schedule.latest(&state, at.plus(-1)) == latest);
        latest = Some(at);
        let local = schedule.zone.local(at).to_string();
        if !local.starts_with(month) {
            return due;
        }
        due.push(local[8..16].to_owned());
    }
}

#[test]
fn invoices_run_each_morning_whatever_the_clocks_do() {
    let daily = include_str!("../../../config/workflows/invoice-daily.yaml");
    let weekly = include_str!("../../../config/workflows/invoice-weekly.yaml");
    for (month, mondays) in [
        ("2026-03", ["02", "09", "16", "23", "30"].as_slice()),
        ("2026-10", ["05", "12", "19", "26"].as_slice()),
    ] {
        let each: Vec<String> = (1..=31).map(|day| format!("{day:02}T06:00")).collect();
        assert_eq!(in_berlin(daily, month), each);
        let each: Vec<String> = mondays.iter().map(|day| format!("{day}T08:00")).collect();
        assert_eq!(in_berlin(weekly, month), each);
    }
}

#[test]
fn a_pause_is_no_run() {
    let mut world = World::new("every: PT10M", "");
    let (reason, by) = (Arc::from("holidays"), Arc::from("ops"));
    world.commit(vec![ScheduleEvent::Paused { reason, by, events: EventCursor(10) }]);
    world.pass(35);
    assert_eq!(world.told().len(), 1);
    let resumed = world.resumed(None);
    world.commit(vec![resumed]);
    world.decide();
    assert_eq!(world.told()[1..], ["2 missed until 00:20", "00:30"]);
}

#[test]
fn after_counts_from_the_end_of_the_last_run() {
    let mut world = World::new("after: PT10M", "");
    world.pass(25);
    assert_eq!(world.told(), ["00:10"]);
    world.end_all();
    world.pass(15);
    assert_eq!(world.told()[1..], ["00:35"]);
    world.end_all();
    let case = CaseId(Bits([7; 16]));
    let triggered = world.rule().trigger(&world.state, case, world.now).unwrap();
    world.commit(vec![triggered]);
    world.pass(10);
    assert_eq!(world.told().last().unwrap(), "00:50", "what was triggered does not count");
}

#[test]
fn a_jitter_moves_the_start_and_not_what_is_due() {
    let mut world = World::new("cron: 0 * * * *", "jitter: PT30M");
    world.pass(600);
    let mut starts = BTreeSet::new();
    for event in &world.told {
        let ScheduleEvent::Fired(Run { due, at, .. }) = event else { panic!("{event:?}") };
        assert_eq!(due.0 % (60 * MINUTE), 0);
        let late = at.since(*due);
        assert!((0..=31 * MINUTE).contains(&late), "{late}");
        starts.insert(late);
    }
    assert!(world.told.len() >= 9 && starts.len() > 5, "{starts:?}");
}

#[test]
fn a_version_takes_over_without_a_double_or_a_gap() {
    let mut world = World::new("every: PT10M", "");
    world.miss(25);
    // meanwhile the next version was registered at 00:41, and found at 00:55
    world.told.clear();
    let registered = world.now.plus(16 * MINUTE);
    world.now = world.now.plus(30 * MINUTE);
    let events = world.rule().hand_over(&world.state, registered, None);
    world.commit(events);
    world.schedule = schedule("every: PT15M", "missed: all");
    world.version = "1.1.0".into();
    let set = world.rule().set(&world.state, registered, EventCursor(99));
    world.commit(vec![set]);
    world.decide();
    world.pass(20);
    let told: Vec<String> = world.told().into_iter().filter(|one| !one.contains("Set")).collect();
    assert_eq!(told, ["00:30", "00:40", "00:56", "01:11"]);
    assert_eq!(world.state.heard, EventCursor(10).max(EventCursor(99)));
}

#[test]
fn months_differ_in_length() {
    let mut world = World::new("every: P1M", "");
    let mut due = Vec::new();
    for _ in 0..4 {
        let next = world.schedule.next(&world.state, world.state.through).unwrap();
        world.now = next;
        world.decide();
        assert_eq!(world.schedule.latest(&world.state, next), Some(next));
        due.push(next.to_string()[..10].to_owned());
    }
    assert_eq!(due, ["2026-12-02", "2027-01-02", "2027-02-02", "2027-03-02"]);
}

#[test]
fn a_trigger_ignores_a_pause_and_keeps_to_the_overlap() {
    let mut world = World::new("cron: 0 6 * * *", "overlap: skip");
    world.commit(vec![paused()]);
    let case = |n| CaseId(Bits([n; 16]));
    let triggered = world.rule().trigger(&world.state, case(1), world.now).unwrap();
    world.commit(vec![triggered]);
    assert!(world.rule().trigger(&world.state, case(2), world.now).is_err());
    world.end(case(1));
    assert!(world.rule().trigger(&world.state, case(2), world.now).is_ok());
}

#[test]
fn what_is_decided_again_has_its_case_or_gets_one() {
    let mut world = World::new("every: PT10M", "overlap: skip");
    world.pass(20);
    world.end_all();
    assert_eq!(world.told()[..2], ["00:10", "1 overlap until 00:20"]);
    let resumed = world.resumed(Some(world.now.plus(-15 * MINUTE)));
    world.commit(vec![resumed]);
    let again = world.rule().decided_again(&world.state, world.now);
    assert_eq!(again.len(), 2);
    // the first of them has its case
    world.ran.insert(again[0]);
    world.decide();
    assert_eq!(world.told()[1..], ["1 ran until 00:10", "00:20"]);
}

#[test]
fn what_was_counted_from_a_clock_ahead_is_counted_anew() {
    for says in ["every: PT10M", "after: PT10M"] {
        let mut world = World::new(says, "");
        let ahead = world.now.plus(3 * 24 * 60 * MINUTE);
        let set = world.rule().set(&State::default(), ahead, EventCursor(10));
        world.state = State::default();
        world.commit(vec![set]);
        world.now = world.now.plus(20 * MINUTE);
        let resumed = world.resumed(Some(world.now));
        world.commit(vec![resumed]);
        world.told.clear();
        world.pass(10);
        assert_eq!(world.told(), ["00:30"], "{says}");
    }
}

#[test]
fn after_skips_once_however_long_nothing_could_run() {
    let mut world = World::new("after: PT1S", "overlap: skip");
    let case = CaseId(Bits([7; 16]));
    let triggered = world.rule().trigger(&world.state, case, world.now).unwrap();
    world.commit(vec![triggered]);
    world.told.clear();
    world.miss(3 * 24 * 60);
    assert_eq!(world.told(), ["1 overlap until 00:00"]);
}

#[test]
fn what_waits_is_not_forgotten_by_a_version_that_cannot_run_it() {
    let mut world = World::new("every: PT10M", "overlap: wait");
    world.pass(20);
    world.told.clear();
    let events = world.rule().hand_over(&world.state, world.now, None);
    world.commit(events);
    assert_eq!(world.told(), ["1 overlap until 00:20"]);
    assert_eq!(world.state.waiting, None);
}

#[test]
fn a_takeover_decides_all_that_was_due() {
    let mut world = World::new("every: PT1S", "jitter: PT1S, missed: all");
    let at = world.now.plus(10 * MINUTE);
    loop {
        let events = world.rule().hand_over(&world.state, at, None);
        if events.is_empty() {
            break;
        }
        world.commit(events);
        world.end_all();
    }
    assert_eq!(world.state.through, at);
}
