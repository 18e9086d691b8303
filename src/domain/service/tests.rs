//! The gate as its callers see it.

mod pauses;

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::circuit::{Circuit, Transition};
use super::gate::{ADMITTED_LATELY, Gate};
use super::line::{KEPT, QueueEntry, WaitQueue};
use super::permit::{Act, Denied, Reply};
use super::settings::{Rate, Settings};
use crate::domain::ids::{Bits, CaseId};
use crate::domain::time::Timestamp;

const START: Timestamp = Timestamp(1_000_000);

fn case(n: u64) -> CaseId {
    let mut bits = [0; 16];
    bits[8..].copy_from_slice(&n.to_be_bytes());
    CaseId(Bits(bits))
}

fn ticket(n: u64) -> QueueEntry {
    QueueEntry::new(5, START.plus(n as i64), case(n))
}

fn gate(settings: Settings) -> Gate {
    Gate::new(settings, Circuit::Closed)
}

fn outage() -> Reply {
    Reply::Outage { status: 503, detail: "no connection".into() }
}

/// A gate whose breaker has just opened.
fn opened(settings: Settings) -> Gate {
    let mut gate = gate(settings);
    for n in 0..5 {
        gate.ask(ticket(n), START).unwrap();
        let transition = gate.settle(case(n), &outage(), START);
        assert_eq!(transition.is_some(), n == 4);
    }
    gate
}

fn admitted(acts: &[Act]) -> Vec<CaseId> {
    acts.iter()
        .filter_map(|act| if let Act::Admit(case) = act { Some(*case) } else { None })
        .collect()
}

#[test]
fn opens_at_failures_that_are_at_least_half() {
    let mut gate = gate(Settings::named("x"));
    for n in 0..6 {
        gate.ask(ticket(n), START).unwrap();
        gate.settle(case(n), &Reply::Answered, START);
    }
    for n in 0..5 {
        gate.ask(ticket(n), START).unwrap();
        assert_eq!(gate.settle(case(n), &outage(), START), None, "5 of 11 are less than half");
    }
    gate.ask(ticket(9), START).unwrap();
    assert!(matches!(gate.settle(case(9), &outage(), START), Some(Transition::Opened { .. })));
    assert!(matches!(gate.ask(ticket(10), START), Err(Denied::Outage(Some(_)))));
}

#[test]
fn failures_long_ago_do_not_count() {
    let mut gate = gate(Settings::named("x"));
    for n in 0..20 {
        let now = START.plus(n as i64 * 10_000);
        gate.ask(ticket(n), now).unwrap();
        assert_eq!(gate.settle(case(n), &outage(), now), None);
    }
}

#[test]
fn too_much_is_no_outage() {
    let mut gate = gate(Settings::named("x"));
    for n in 0..20 {
        let now = START.plus(n as i64 * 5000);
        gate.ask(ticket(n), now).unwrap();
        assert_eq!(gate.settle(case(n), &Reply::Throttled(Some(3000)), now), None);
        assert_eq!(gate.ask(ticket(99), now.plus(2999)), Err(Denied::Full("it asked for a pause")));
        let acts = gate.due(now.plus(3000));
        assert_eq!(admitted(&acts), [case(99)]);
        gate.decline(case(99));
    }
    assert_eq!(gate.circuit(), &Circuit::Closed);
}

#[test]
fn hosts_that_nobody_named_never_trip() {
    let mut gate = gate(Settings::unknown("x"));
    for n in 0..50 {
        gate.ask(ticket(n), START).unwrap();
        assert_eq!(gate.settle(case(n), &outage(), START), None);
    }
}

#[test]
fn one_probe_at_a_time_and_not_the_same_case_twice() {
    let mut gate = opened(Settings::named("x"));
    for n in 10..13 {
        assert!(gate.ask(ticket(n), START).is_err());
    }
    assert_eq!(gate.due(START.plus(4999)), []);
    let mut now = START.plus(5000);
    assert_eq!(admitted(&gate.due(now)), [case(10)]);
    assert_eq!(admitted(&gate.due(now)), [], "one probe is under way");
    gate.ask(ticket(10), now).unwrap();
    assert!(gate.ask(ticket(11), now).is_err());
    assert_eq!(gate.settle(case(10), &outage(), now), None);
    // it waits again, and is the oldest, but another goes first; the delay has doubled
    assert!(gate.ask(ticket(10), now).is_err());
    assert_eq!(gate.due(now.plus(9999)), []);
    now = now.plus(10_000);
    assert_eq!(admitted(&gate.due(now)), [case(11)]);
    gate.ask(ticket(11), now).unwrap();
    assert_eq!(gate.settle(case(11), &Reply::Answered, now), Some(Transition::Closed));
    // the ramp begins with one
    assert_eq!(admitted(&gate.due(now)), [case(10)]);
    assert_eq!(gate.ramp_limit(), Some(1));
}

#[test]
fn who_waits_alone_probes_again() {
    let mut gate = opened(Settings::named("x"));
    let mut now = START;
    for wait in [5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
        assert!(gate.ask(ticket(10), now).is_err());
        assert_eq!(gate.due(now.plus(wait - 1)), []);
        now = now.plus(wait);
        assert_eq!(admitted(&gate.due(now)), [case(10)]);
        gate.ask(ticket(10), now).unwrap();
        gate.settle(case(10), &outage(), now);
    }
}

#[test]
fn a_configured_probe_goes_instead_of_cases() {
    let probe = super::settings::Probe { method: "GET".into(), path: "/health".into() };
    let mut gate = opened(Settings { probe: Some(probe), ..Settings::named("x") });
    assert!(gate.ask(ticket(10), START).is_err());
    let now = START.plus(5000);
    assert_eq!(gate.due(now), [Act::AskHealth]);
    assert!(gate.ask(ticket(11), now).is_err());
    assert_eq!(gate.health(&Reply::Answered, now), Some(Transition::Closed));
    assert_eq!(admitted(&gate.due(now)), [case(10)]);
}

#[test]
fn a_place_that_is_not_taken_goes_to_the_next() {
    let mut gate = gate(Settings { max_concurrent: 1, ..Settings::named("x") });
    gate.ask(ticket(0), START).unwrap();
    assert!(gate.ask(ticket(1), START).is_err());
    assert!(gate.ask(ticket(2), START).is_err());
    gate.settle(case(0), &Reply::Answered, START);
    assert!(gate.ask(ticket(3), START).is_err(), "nobody overtakes");
    assert_eq!(admitted(&gate.due(START)), [case(1)]);
    gate.decline(case(1));
    assert_eq!(admitted(&gate.due(START)), [case(2)]);
    // one that never answers loses its place in the end
    let later = START.plus(31_000);
    assert_eq!(admitted(&gate.due(later)), [case(3)]);
}

#[test]
fn priority_goes_before_age() {
    let mut gate = gate(Settings { max_concurrent: 1, ..Settings::named("x") });
    gate.ask(ticket(0), START).unwrap();
    for (n, priority) in [(1, 0), (2, 5), (3, 9), (4, 5)] {
        assert!(gate.ask(QueueEntry::new(priority, START.plus(n as i64), case(n)), START).is_err());
    }
    let mut order = Vec::new();
    let mut current = case(0);
    for _ in 0..4 {
        gate.settle(current, &Reply::Answered, START);
        current = admitted(&gate.due(START))[0];
        gate.ask(QueueEntry::new(5, START, current), START).unwrap();
        order.push(current);
    }
    assert_eq!(order, [case(3), case(2), case(4), case(1)]);
}

#[test]
fn an_isolation_ends_by_itself() {
    let mut gate = gate(Settings::named("x"));
    gate.isolate("maintenance".into(), START.plus(60_000), START);
    assert_eq!(gate.ask(ticket(1), START), Err(Denied::Operator("maintenance".into())));
    assert_eq!(gate.next_due(START), Some(START.plus(60_000)));
    let acts = gate.due(START.plus(60_000));
    assert_eq!(acts, [Act::Note(Transition::Released), Act::Admit(case(1))]);
    assert_eq!(gate.circuit().name(), "half-open", "one call tries first");
}

#[test]
fn a_rate_lets_the_line_go_evenly() {
    let rate = Some(Rate { calls: 10, per: 1000 });
    let mut gate = gate(Settings { rate, ..Settings::named("x") });
    let mut out = 0;
    for n in 0..30 {
        out += u32::from(gate.ask(ticket(n), START).is_ok());
    }
    let mut now = START;
    while now < START.plus(1000) {
        now = gate.next_due(now).expect("the line waits");
        out += gate.due(now).len() as u32;
    }
    assert!((10..=12).contains(&out), "{out}");
}

#[test]
fn failures_of_one_case_among_many_are_its_own() {
    let mut gate = gate(Settings::named("x"));
    for n in 0..20 {
        let who = if n % 3 == 0 { 99 } else { n };
        gate.ask(ticket(who), START).unwrap();
        let reply = if who == 99 { outage() } else { Reply::Answered };
        gate.settle(case(who), &reply, START);
    }
    assert!(gate.others_answered(case(99)));
    assert!(!gate.others_answered(case(1)));
}

#[test]
fn the_line_keeps_its_head_and_knows_of_the_rest() {
    let mut line = WaitQueue::default();
    let total = KEPT as u64 + 500;
    for n in (0..total).rev() {
        line.join(ticket(n));
    }
    let mut order = Vec::new();
    let mut index: Vec<QueueEntry> = (0..total).map(ticket).collect();
    while !line.is_empty() {
        if line.wants_more() {
            let page: Vec<QueueEntry> = index.iter().take(300).copied().collect();
            line.refill(line.reads(), page, index.len() <= 300);
        }
        if let Some(case) = line.take(None) {
            index.retain(|t| t.case != case);
            order.push(case);
        }
    }
    assert_eq!(order, (0..total).map(case).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Move {
    Ask(u64),
    Settle(usize, u8),
    GiveBack(usize),
    Due,
    Pass(i64),
    Isolate,
    Release,
    /// A call is held back, for its case has met an outage.
    HoldBack(u64),
    /// The oldest change of who waits gets into the index.
    Commit,
    ReadBegins,
    ReadEnds,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0u64..30).prop_map(Move::Ask),
        4 => (any::<usize>(), 0u8..4).prop_map(|(n, how)| Move::Settle(n, how)),
        1 => any::<usize>().prop_map(Move::GiveBack),
        3 => Just(Move::Due),
        2 => (1i64..20_000).prop_map(Move::Pass),
        1 => Just(Move::Isolate),
        1 => Just(Move::Release),
        2 => (0u64..30).prop_map(Move::HoldBack),
        4 => Just(Move::Commit),
        2 => Just(Move::ReadBegins),
        2 => Just(Move::ReadEnds),
    ]
}

/// A gate with one place, which is kept for the second case.
fn second_admitted() -> Gate {
    let mut gate = gate(Settings { max_concurrent: 1, ..Settings::named("x") });
    gate.ask(ticket(1), START).unwrap();
    gate.ask(ticket(2), START).unwrap_err();
    gate.settle(case(1), &Reply::Answered, START);
    assert_eq!(gate.due(START), [Act::Admit(case(2))]);
    gate
}

#[test]
fn who_could_not_be_told_is_read_again_at_once() {
    let mut gate = second_admitted();
    gate.put_back(case(2));
    assert!(gate.in_flight() == 0 && gate.wants_line());
    gate.line_up(gate.reads_line(), vec![ticket(2)], true);
    assert_eq!(gate.due(START), [Act::Admit(case(2))]);
}

#[test]
fn who_comes_while_the_line_is_read_is_read_again() {
    let mut gate = gate(Settings { max_concurrent: 1, ..Settings::named("x") });
    gate.expect_line();
    let read = gate.reads_line();
    // it is left to the index, which was read before it was in there
    gate.shown(case(3));
    gate.line_up(read, Vec::new(), true);
    assert!(gate.wants_line());
    gate.line_up(gate.reads_line(), vec![ticket(3)], true);
    assert_eq!(gate.due(START), [Act::Admit(case(3))]);
}

#[test]
fn who_was_admitted_and_waits_again_is_no_remnant_of_the_index() {
    let mut gate = second_admitted();
    // one of its two calls goes out, the other one waits on; others are known to the index alone
    gate.ask(ticket(2), START).unwrap();
    gate.expect_line();
    gate.ask(ticket(2), START).unwrap_err();
    gate.settle(case(2), &Reply::Answered, START);
    gate.line_up(gate.reads_line(), vec![ticket(2)], true);
    assert_eq!(gate.due(START), [Act::Admit(case(2))]);
}

#[test]
fn who_was_told_and_never_came_is_read_again() {
    let mut gate = second_admitted();
    gate.due(START.plus(60_000));
    assert!(gate.wants_line() && gate.in_flight() == 0);
}

#[test]
fn a_place_kept_from_before_an_outage_is_no_second_probe() {
    let mut gate = gate(Settings { max_concurrent: 8, ..Settings::named("x") });
    for n in 1..=8 {
        gate.ask(ticket(n), START).unwrap();
    }
    for n in 11..=13 {
        gate.ask(ticket(n), START).unwrap_err();
    }
    for n in 1..=3 {
        gate.settle(case(n), &Reply::Answered, START);
    }
    assert_eq!(gate.due(START).len(), 3, "places are kept");
    for n in 4..=8 {
        gate.settle(case(n), &outage(), START);
        gate.ask(ticket(n), START).ok();
    }
    while gate.circuit().name() == "closed" {
        for n in 4..=8 {
            gate.settle(case(n), &outage(), START);
        }
    }
    let later = START.plus(20_000);
    let acts = gate.due(later);
    assert!(matches!(acts[..], [Act::Admit(_)]), "{acts:?}");
    let Act::Admit(probe) = acts[0] else { panic!() };
    for n in 11..=13 {
        assert_eq!(gate.ask(ticket(n), later).is_ok(), case(n) == probe, "{n}");
    }
}

proptest! {
    /// Whatever happens: never more calls than configured, never a count that runs away, at most
    /// one call while the breaker is half-open, and when the service is back everybody is served.
    #[test]
    fn limits_hold_and_nobody_is_forgotten(all in prop::collection::vec(moves(), 1..200), max in 1u32..6) {
        let mut gate = gate(Settings { max_concurrent: max, ..Settings::named("x") });
        // cases may wait from before
        gate.expect_line();
        let mut now = START;
        let mut out: Vec<CaseId> = Vec::new();
        let mut places: Vec<CaseId> = Vec::new();
        let mut waiting: BTreeSet<CaseId> = Default::default();
        // who waits gets into the index later, and it is read while that goes on
        let (mut index, mut uncommitted) = (BTreeSet::new(), VecDeque::new());
        let mut read = None;
        let rows = |index: &BTreeSet<CaseId>| index.iter().map(|who| QueueEntry::new(5, START, *who)).collect::<Vec<_>>();
        let ask = |gate: &mut Gate, n: CaseId, now, out: &mut Vec<CaseId>, waiting: &mut BTreeSet<CaseId>, uncommitted: &mut VecDeque<(CaseId, bool)>| {
            if out.contains(&n) { return }
            match gate.ask(QueueEntry::new(5, START, n), now) {
                Ok(()) => { out.push(n); if waiting.remove(&n) { uncommitted.push_back((n, false)); } }
                Err(_) => if waiting.insert(n) { uncommitted.push_back((n, true)); }
            }
        };
        let commit = |gate: &mut Gate, index: &mut BTreeSet<CaseId>, uncommitted: &mut VecDeque<(CaseId, bool)>| {
            match uncommitted.pop_front() {
                Some((who, true)) => { index.insert(who); gate.shown(who); }
                Some((who, false)) => { index.remove(&who); }
                None => {}
            }
        };
        for one in all {
            match one {
                Move::Ask(n) => {
                    places.retain(|c| *c != case(n));
                    ask(&mut gate, case(n), now, &mut out, &mut waiting, &mut uncommitted);
                }
                Move::Settle(n, how) if !out.is_empty() => {
                    let who = out.remove(n % out.len());
                    let reply = match how {
                        0 => outage(),
                        1 => Reply::Throttled(None),
                        2 => Reply::NotSent,
                        _ => Reply::Answered,
                    };
                    gate.settle(who, &reply, now);
                }
                Move::GiveBack(n) if !out.is_empty() => gate.give_back(out.remove(n % out.len())),
                Move::Settle(..) | Move::GiveBack(_) => {}
                Move::Due => {
                    for act in gate.due(now) {
                        if let Act::Admit(who) = act { places.push(who); }
                    }
                }
                Move::Pass(millis) => now = now.plus(millis),
                Move::Isolate => { gate.isolate("x".into(), now.plus(5000), now); }
                Move::Release => { gate.release(now); }
                Move::HoldBack(n) => if !out.contains(&case(n)) && gate.holds_back(QueueEntry::new(5, START, case(n)), (now, now.plus(1000))).is_some() && waiting.insert(case(n)) {
                    uncommitted.push_back((case(n), true));
                },
                Move::Commit => commit(&mut gate, &mut index, &mut uncommitted),
                Move::ReadBegins if read.is_none() && gate.wants_line() => read = Some((gate.reads_line(), rows(&index))),
                Move::ReadEnds => if let Some((read, rows)) = read.take() { gate.line_up(read, rows, true) },
                Move::ReadBegins => {}
            }
            prop_assert!(out.len() <= gate.in_flight() as usize);
            prop_assert!(gate.in_flight() <= max.max(1), "{} of {}", gate.in_flight(), max);
        }
        // the service is back for good
        let mut rounds = 0;
        while !(waiting.is_empty() && out.is_empty()) {
            rounds += 1;
            prop_assert!(rounds < 2000, "{waiting:?} are left in {:?}", gate.circuit());
            commit(&mut gate, &mut index, &mut uncommitted);
            if let Some((read, rows)) = read.take() {
                gate.line_up(read, rows, true);
            }
            for who in std::mem::take(&mut out) {
                gate.settle(who, &Reply::Answered, now);
            }
            if gate.wants_line() {
                gate.line_up(gate.reads_line(), rows(&index), true);
            }
            for act in gate.due(now) {
                if let Act::Admit(who) = act { places.push(who); }
            }
            for who in std::mem::take(&mut places) {
                if waiting.contains(&who) {
                    ask(&mut gate, who, now, &mut out, &mut waiting, &mut uncommitted);
                } else {
                    gate.decline(who);
                }
            }
            now = gate.next_due(now).unwrap_or(now.plus(1000)).max(now.plus(1));
        }
    }
}

#[test]
fn who_could_not_be_asked_leaves_its_place_to_others_for_a_while() {
    let mut gate = gate(Settings { max_concurrent: 1, ..Settings::named("x") });
    let now = START.plus(100);
    gate.line_up(gate.reads_line(), vec![ticket(2)], true);
    assert_eq!(gate.due(now), [Act::Admit(case(2))]);
    gate.put_off(case(2));
    assert!(gate.in_flight() == 0 && gate.wants_line());
    gate.line_up(gate.reads_line(), vec![ticket(2), ticket(3)], true);
    assert_eq!(gate.due(now), [Act::Admit(case(3))]);
    gate.decline(case(3));
    let later = now.plus(ADMITTED_LATELY + 1);
    gate.due(later);
    gate.line_up(gate.reads_line(), vec![ticket(2)], true);
    assert_eq!(gate.due(later), [Act::Admit(case(2))]);
}
