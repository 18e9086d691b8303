//! What schedules decide: by example, and against books that count every due instant for themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::decide::{MISSED_AFTER, OPEN_MAX, Rule};
use super::event::{Cause, Outcome, Run, ScheduleEvent, Skip};
use super::hear::Incoming;
use super::state::{KEPT_MAX, State};
use crate::domain::data::Data;
use crate::domain::ids::{Bits, CaseId, EventCursor, EventId};
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

/// An event with this type and this order, in its place.
fn event(place: u64, kind: &str, order: &str) -> Incoming {
    let id = EventId::of("/test", &place.to_string());
    let event = json!({"type": kind, "source": "/test", "data": {"order": order}});
    Incoming { place: EventCursor(place), at: Timestamp(1000), id, event: Data::from(event) }
}

impl World {
    fn hear(&mut self, events: &[Incoming]) -> Vec<Vec<u64>> {
        let through = events.last().map_or(EventCursor(0), |event| event.place);
        let heard = self.rule().hear(&self.state, events, through, self.now);
        self.commit(heard.clone());
        let places = |event: &ScheduleEvent| match event {
            ScheduleEvent::Fired(Run { cause: Cause::Events { places }, .. }) => {
                Some(places.iter().map(|place| place.0).collect())
            }
            _ => None,
        };
        heard.iter().filter_map(places).collect()
    }
}

#[test]
fn each_event_begins_a_case() {
    let mut world = World::new("on: {any: [{with: {type: paid}}, {with: {type: sent}}]}", "");
    let events = [event(11, "paid", "1"), event(12, "other", "1"), event(13, "sent", "1")];
    assert_eq!(world.hear(&events), [[11], [13]]);
    assert_eq!(world.state.heard, EventCursor(13));
    assert_eq!(world.state.owed.len(), 2);
    let first = world.state.owed[0].case;
    assert_eq!(first, CaseId::of_events(ID, &[events[0].id]), "whatever else comes");
    // read once more, it is the same case
    assert_eq!(world.hear(&events[..1]), [[11]]);
    assert_eq!(world.state.owed.len(), 1);
    assert_eq!(world.state.owed[0].case, first);
}

#[test]
fn events_that_belong_together_begin_a_case_together() {
    let correlate = "correlate: {order: {from: .data.order}}";
    let all = format!(
        "on: {{all: [{{with: {{type: paid}}, {correlate}}}, {{with: {{type: sent}}, {correlate}}}]}}"
    );
    let mut world = World::new(&all, "");
    assert!(world.hear(&[event(11, "paid", "1"), event(12, "paid", "2")]).is_empty());
    assert_eq!(world.hear(&[event(13, "sent", "2"), event(14, "paid", "2")]), [[12, 13]]);
    assert_eq!(world.hear(&[event(15, "sent", "1"), event(16, "sent", "2")]), [[11, 15], [14, 16]]);
    assert!(world.state.kept.is_empty());
}

#[test]
fn events_of_another_versions_filters_wait_no_more() {
    let all = |source: &str| {
        format!(
            "on: {{all: [{{with: {{type: paid, source: {source}}}}}, {{with: {{type: sent}}}}]}}"
        )
    };
    let mut world = World::new(&all("/test"), "");
    assert!(world.hear(&[event(11, "paid", "1")]).is_empty());
    assert_eq!(world.state.kept.len(), 1);
    world.schedule = schedule(&all("/other"), "");
    world.version = "1.1.0".into();
    let set = world.rule().set(&world.state, world.now, EventCursor(11));
    world.commit(vec![set]);
    assert!(world.hear(&[event(12, "sent", "1")]).is_empty());
}

#[test]
fn so_many_events_wait_for_others() {
    let mut world = World::new("on: {all: [{with: {type: paid}}, {with: {type: sent}}]}", "");
    let many: Vec<Incoming> = (0..=KEPT_MAX as u64).map(|n| event(11 + n, "paid", "1")).collect();
    assert!(world.hear(&many).is_empty());
    assert_eq!(world.state.kept.len(), KEPT_MAX);
    let last = world.state.last.front().and_then(|last| last.skipped);
    assert_eq!(last, Some((Skip::Bound, 1)));
    assert_eq!(world.hear(&[event(9999, "sent", "1")]), [[12, 9999]], "the oldest that is left");
}

#[test]
fn events_pass_by_while_it_is_paused() {
    let mut world = World::new("on: {one: {with: {type: paid}}}", "");
    world.commit(vec![paused()]);
    world.told.clear();
    assert!(world.hear(&[event(11, "paid", "1"), event(12, "x", "1")]).is_empty());
    assert!(
        world.told.iter().any(|event| matches!(
            event,
            ScheduleEvent::Skipped { why: Skip::Paused, count: 1, .. }
        ))
    );
    assert_eq!(world.state.heard, EventCursor(12));
    let resumed = world.resumed(None);
    world.commit(vec![resumed]);
    assert_eq!(world.hear(&[event(13, "paid", "1")]), [[13]]);
}

/// What happens around a schedule.
#[derive(Debug, Clone)]
enum Happening {
    /// Minutes go by, and it decides.
    Passes(i64),
    /// The wall is set, forward or back.
    Jumps(i64),
    /// What it decides is lost with the process.
    Crashes,
    /// A run ends.
    Ends,
    Pauses,
    Resumes,
    /// Another version is registered, of the other period or the same.
    Registers(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (1..2000i64).prop_map(Happening::Passes),
        1 => (-9000..9000i64).prop_map(Happening::Jumps),
        1 => prop::sample::select(vec![-525_600i64, 525_600]).prop_map(Happening::Jumps),
        2 => Just(Happening::Crashes),
        6 => Just(Happening::Ends),
        1 => Just(Happening::Pauses),
        2 => Just(Happening::Resumes),
        1 => any::<bool>().prop_map(Happening::Registers),
    ]
}

/// Who counts for itself: what was due, while which version ruled.
struct Books {
    /// From when on, with which period, counted from when.
    ruled: Vec<(Timestamp, i64, Timestamp)>,
}

impl Books {
    /// What was due until an instant, by counting.
    fn due(&self, until: Timestamp) -> BTreeSet<Timestamp> {
        let mut all = BTreeSet::new();
        for (n, (from, period, anchor)) in self.ruled.iter().enumerate() {
            let end = self.ruled.get(n + 1).map_or(until, |(next, ..)| *next).min(until);
            let mut due = *anchor;
            // far jumps make this long, so that the first steps are skipped
            due = due.plus((from.since(*anchor).max(0) / period) * period);
            while due <= end {
                if due > *from {
                    all.insert(due);
                }
                due = due.plus(*period);
            }
        }
        all
    }
}

proptest! {
    #[test]
    fn no_due_instant_is_without_its_run_or_its_reason(
        happenings in prop::collection::vec(happening(), 1..60),
        missed in prop::sample::select(vec!["once", "all", "skip"]),
        overlap in prop::sample::select(vec!["allow", "skip", "wait"]),
    ) {
        let metadata = format!("missed: {missed}, overlap: {overlap}");
        let says = |other: bool| if other { "every: PT611M" } else { "every: PT481M" };
        let mut world = World::new(says(false), &metadata);
        let begun = world.now;
        let mut books = Books { ruled: vec![(begun, 481 * MINUTE, begun)] };
        for happening in happenings {
            match happening {
                Happening::Passes(minutes) => world.miss(minutes),
                Happening::Jumps(minutes) => world.now = world.now.plus(minutes * MINUTE),
                Happening::Crashes => drop(world.rule().decide(&world.state, world.now, &world.ran)),
                Happening::Ends => {
                    if let Some(case) = world.state.open.keys().next().copied() {
                        world.end(case);
                    }
                    world.decide();
                }
                Happening::Pauses => {
                    world.commit(vec![paused()]);
                }
                Happening::Resumes => {
                    let resumed = world.resumed(None);
    world.commit(vec![resumed]);
                    world.decide();
                }
                Happening::Registers(other) => {
                    let at = world.now;
                    let events = world.rule().hand_over(&world.state, at, Some(&schedule(says(other), &metadata)));
                    world.commit(events);
                    world.schedule = schedule(says(other), &metadata);
                    let set = world.rule().set(&world.state, at, EventCursor(10));
                    world.commit(vec![set]);
                    let period = if other { 611 } else { 481 } * MINUTE;
                    books.ruled.push((world.state.through, period, world.state.anchor));
                }
            }
            prop_assert!(world.state.open.len() <= OPEN_MAX);
            prop_assert!(overlap == "allow" || world.state.open.len() <= 1);
        }
        let due = books.due(world.state.through);
        let (mut ran, mut skipped) = (Vec::new(), 0);
        for event in &world.told {
            match event {
                ScheduleEvent::Fired(run) => ran.push(run.due),
                ScheduleEvent::Skipped { count, .. } => skipped += count,
                _ => {}
            }
        }
        let waits = u64::from(world.state.waiting.is_some());
        prop_assert_eq!(ran.len() as u64 + skipped + waits, due.len() as u64);
        let once: BTreeSet<Timestamp> = ran.iter().copied().collect();
        prop_assert_eq!(once.len(), ran.len(), "a run came twice");
        prop_assert!(once.is_subset(&due));
        if world.state.paused.is_none() {
            world.decide();
            let next = world.rule().next_look(&world.state, world.now).expect("it goes on");
            prop_assert!(next > world.now);
            let late = world.now.plus(-MISSED_AFTER);
            prop_assert!(world.state.through >= late || next > late);
        }
    }
}
