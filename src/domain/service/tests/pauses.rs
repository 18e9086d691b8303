//! A service that asks for a pause is heeded, over holds and restarts, until a person ends it.

use super::*;
use crate::domain::service::circuit::Standing;

#[test]
fn a_person_ends_a_pause() {
    let mut gate = gate(Settings::named("x"));
    gate.ask(ticket(1), START).unwrap();
    gate.settle(case(1), &Reply::Throttled(Some(600_000)), START);
    assert_eq!(gate.paused_until(START), Some(START.plus(600_000)));
    assert!(gate.ask(ticket(2), START).is_err());
    // and so does whoever met it, or misses otherwise meanwhile
    assert_eq!(
        gate.holds_back(ticket(1), (START, START.plus(600_001))),
        Some(Denied::Full("it asked for a pause"))
    );
    // unless it would wait longer by itself, or loses its patience before
    assert_eq!(gate.holds_back(ticket(3), (START.plus(600_001), START.plus(900_000))), None);
    assert_eq!(gate.holds_back(ticket(3), (START, START.plus(600_000))), None);
    let now = START.plus(1000);
    // a restart has to know of it
    let noted = Transition::Paused { until: START.plus(600_000) };
    assert_eq!(gate.due(now), [Act::Note(noted.clone())]);
    let standing = Standing::of(&noted, None, (START, now.plus(-5000)), &gate.settings().breaker);
    assert_eq!(standing.paused_until, now.plus(-5000 + 600_000), "no longer than it was");
    assert_eq!(gate.due(now), []);
    assert_eq!(gate.probe_now(now), (true, Some(Transition::Paused { until: now })));
    assert_eq!(gate.paused_until(now), None);
    assert_eq!(admitted(&gate.due(now)), [case(1)], "a ramp begins");
    assert_eq!(gate.probe_now(now), (false, None), "there is nothing to end");
}

#[test]
fn the_end_of_a_hold_is_not_the_end_of_a_pause() {
    let mut gate = gate(Settings::named("x"));
    gate.pauses_still(START.plus(60_000));
    assert!(gate.ask(ticket(1), START).is_err());
    gate.isolate("maintenance".into(), START.plus(1000), START);
    let now = START.plus(1000);
    assert_eq!(gate.due(now), [Act::Note(Transition::Released)]);
    assert!(gate.ask(ticket(2), now).is_err());
    assert_eq!(gate.next_due(now), Some(START.plus(60_000)));
    assert_eq!(admitted(&gate.due(START.plus(60_000))), [case(1)], "one call tries");
}
