//! Every due instant is counted by somebody else as well.

use proptest::prelude::*;

use super::*;
use crate::domain::schedule::decide::MISSED_AFTER;

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
