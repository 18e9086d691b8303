//! Outages: what waits, what is repeated, what is asked for, and what is left to a person.

use serde_json::json;

use super::world;
use super::world::{START, World, done, failed, not_done, unknown};
use crate::domain::case::command::{Command, Health, Outcome};
use crate::domain::case::derive;
use crate::domain::case::event::{Change, Event, WaitKind};
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::time::DAY;

const POST: &str =
    "do: [{send: {call: http, with: {method: post, endpoint: 'http://bob/', body: {a: 1}}}}]\n";
const GET: &str = "do: [{ask: {call: http, with: {method: get, endpoint: 'http://bob/'}}}]\n";
const RECONCILED: &str = "do:
  - send:
      call: http
      with: {method: post, endpoint: 'http://bob/', body: {a: 1}}
      metadata:
        reconcile:
          call: http
          with: {method: get, endpoint: 'http://bob/', query: {reference: '${ $workflow.id }'}}
          found: .items | length > 0
          output: .items[0]
";

fn started(body: &str) -> World {
    let mut world = world(body);
    world.start(json!({}));
    world
}

fn attempts(world: &World) -> usize {
    let started = |event: &Event| matches!(event, Event::Task(t) if matches!(t.change, Change::Started { attempt: 1.., .. }));
    world.history.iter().filter(|(_, event)| started(event)).count()
}

#[test]
fn a_call_that_was_told_to_pause_waits_in_line_and_its_patience_ends() {
    let mut world = started(POST);
    world.ctx.paused.insert("bob".into());
    for _ in 0..2 {
        world.answer_next(not_done());
        let wait = world.shown_wait().unwrap();
        assert_eq!((wait.kind, wait.on.as_deref()), (WaitKind::Rate, Some("bob")));
        assert_eq!(derive::next_due(world.state()), None, "the line says when");
        world.now = world.now.plus(15 * DAY);
        world.tell(Command::Admit { service: "bob".into() });
    }
    world.answer_next(not_done());
    assert_eq!(world.error().status, 503);
}

#[test]
fn what_was_not_done_is_repeated_after_a_growing_delay() {
    let mut world = started(POST);
    world.answer_next(not_done());
    assert_eq!(world.phase(), Phase::Waiting);
    let wait = world.shown_wait().unwrap();
    assert_eq!((wait.kind, wait.on.as_deref()), (WaitKind::Service, Some("bob")));
    assert_eq!(wait.until, Some(START.plus(30 * DAY)));
    assert!(derive::next_due(world.state()).unwrap() <= START.plus(200));
    for _ in 0..8 {
        world.pass_to_next();
        world.answer_next(not_done());
    }
    let delay = derive::next_due(world.state()).unwrap().since(world.now);
    assert!((15_000..=30_000).contains(&delay), "{delay}");
    world.pass_to_next();
    world.answer_next(done(json!({"ok": true})));
    assert_eq!(world.output(), json!({"ok": true}));
}

#[test]
fn an_open_breaker_costs_a_case_nothing() {
    let mut world = world(POST);
    world.ctx.open.insert("bob".into());
    world.start(json!({}));
    assert_eq!(world.phase(), Phase::Waiting);
    let wait = world.shown_wait().unwrap();
    assert_eq!(wait.kind, WaitKind::Service);
    assert_eq!(wait.until, Some(START.plus(30 * DAY)));
    let version = world.state().version;
    world.pass(20 * DAY);
    world.tell(Command::Admit { service: "bob".into() });
    assert_eq!(world.state().version, version);
    assert!(world.effects.is_empty());
    world.ctx.open.clear();
    world.tell(Command::Admit { service: "bob".into() });
    assert_eq!(attempts(&world), 1);
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn patience_ends_and_the_error_is_the_workflows() {
    let mut world = world(
        "do: [{send: {call: http, with: {method: post, endpoint: 'http://bob/'}, metadata: {patience: P1D}}}]\n",
    );
    world.start(json!({}));
    world.ctx.open.insert("bob".into());
    world.answer_next(not_done());
    assert_eq!(world.shown_wait().unwrap().until, Some(START.plus(DAY)));
    world.pass(DAY);
    assert_eq!(world.phase(), Phase::Faulted);
    assert_eq!(world.error().status, 503);
}

#[test]
fn without_patience_an_outage_is_an_error_at_once() {
    let mut world = world(POST);
    world.ctx.unknown.insert("bob".into());
    world.start(json!({}));
    world.answer_next(not_done());
    assert_eq!(world.error().status, 503);
}

#[test]
fn safe_calls_with_unknown_outcome_are_repeated() {
    let mut world = started(GET);
    world.answer_next(unknown());
    world.pass_to_next();
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn a_receiver_that_honours_keys_makes_calls_safe() {
    let mut world = world(POST);
    world.ctx.honours_key = true;
    world.start(json!({}));
    let first = world.request(0).headers;
    world.answer_next(unknown());
    world.pass_to_next();
    assert_eq!(world.request(0).headers, first);
}

#[test]
fn unsafe_calls_with_unknown_outcome_are_shown_to_a_person() {
    let mut world = started(POST);
    world.answer_next(unknown());
    assert_eq!(world.phase(), Phase::Suspended);
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Person);
    assert!(world.state().alert.is_some());
    let retry =
        |outcome| Command::Retry { reason: "seen".into(), task: None, outcome, output: None };
    assert!(world.try_tell(retry(None)).is_err());
    world.tell(retry(Some(crate::domain::case::command::Verdict::Repeat)));
    assert_eq!(attempts(&world), 2);
    assert!(world.state().alert.is_none());
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn a_person_may_say_that_it_was_done() {
    let mut world = started(POST);
    world.answer_next(unknown());
    world.tell(Command::Retry {
        reason: "seen in their portal".into(),
        task: Some("/do/0/send".into()),
        outcome: Some(crate::domain::case::command::Verdict::Done),
        output: Some(json!({"id": "s1"}).into()),
    });
    assert_eq!(world.output(), json!({"id": "s1"}));
    assert_eq!(attempts(&world), 1);
}

#[test]
fn an_unknown_outcome_is_asked_for_and_found() {
    let mut world = started(RECONCILED);
    world.answer_next(unknown());
    let question = world.request(0);
    assert_eq!(&*question.method, "GET");
    assert!(question.url.contains("reference=case_"));
    world.answer_next(done(json!({"items": [{"id": "s1"}]})));
    assert_eq!(world.output(), json!({"id": "s1"}));
}

#[test]
fn not_found_is_believed_only_when_nothing_can_be_under_way() {
    let mut world = started(RECONCILED);
    world.pass(100);
    world.answer_next(unknown());
    world.answer_next(done(json!({"items": []})));
    // attempt + 2 s + timeout of 10 s + 1 s
    assert_eq!(world.shown_wait().unwrap().until, Some(START.plus(13_000)));
    world.pass_to_next();
    assert_eq!(&*world.request(0).method, "GET");
    world.answer_next(done(json!({"items": []})));
    assert_eq!(&*world.request(0).method, "POST");
    world.answer_next(done(json!({"id": "s2"})));
    assert_eq!(world.output(), json!({"id": "s2"}));
}

#[test]
fn the_question_waits_through_an_outage_of_its_own() {
    let mut world = started(RECONCILED);
    world.answer_next(unknown());
    world.ctx.open.insert("bob".into());
    world.answer_next(not_done());
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Service);
    world.pass(DAY);
    world.ctx.open.clear();
    world.tell(Command::Admit { service: "bob".into() });
    world.answer_next(done(json!({"items": [{"id": "s1"}]})));
    assert_eq!(world.output(), json!({"id": "s1"}));
}

#[test]
fn a_question_that_fails_leaves_it_to_a_person() {
    let mut world = started(RECONCILED);
    world.answer_next(unknown());
    world.answer_next(failed(404));
    assert_eq!(world.phase(), Phase::Suspended);
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Person);
}

#[test]
fn a_question_that_meets_a_servers_error_is_asked_again_for_a_while() {
    let mut world = started(RECONCILED);
    world.answer_next(unknown());
    for _ in 0..3 {
        world.answer_next(failed(500));
        assert_eq!(world.phase(), Phase::Waiting);
        world.pass_to_next();
    }
    world.answer_next(done(json!({"items": [{"id": "s1"}]})));
    assert_eq!(world.output(), json!({"id": "s1"}));

    let mut world = started(RECONCILED);
    world.answer_next(unknown());
    while world.phase() != Phase::Suspended {
        world.answer_next(failed(500));
        if world.phase() == Phase::Waiting {
            world.pass_to_next();
        }
    }
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Person);
    let spent = world.state().updated_at.since(world.state().created_at);
    assert!(spent < 5 * 60_000, "{spent}");
}

#[test]
fn a_repeat_after_a_server_error_is_asked_for_first() {
    let mut world = world(&RECONCILED.replace("do:\n  - send:", "do:\n  - t:\n      try:\n        - send:").replace(
        "      call: http\n      with: {method: post",
        "            call: http\n            with: {method: post",
    ).replace("      metadata:\n        reconcile:\n          call: http\n          with: {method: get", "            metadata:\n              reconcile:\n                call: http\n                with: {method: get")
     .replace("          found:", "                found:").replace("          output:", "                output:")
     .replace("output: .items[0]\n", "output: .items[0]\n      catch: {retry: {delay: PT1S}}\n"));
    world.start(json!({}));
    world.answer_next(failed(500));
    world.pass(1000);
    assert_eq!(&*world.request(0).method, "GET");
    world.answer_next(done(json!({"items": [{"id": "s1"}]})));
    assert_eq!(world.output(), json!({"id": "s1"}));
}

#[test]
fn a_crash_repeats_what_is_safe_and_asks_for_the_rest() {
    let mut safe = started(GET);
    safe.effects.clear();
    safe.tell(Command::Recover);
    assert_eq!(attempts(&safe), 2);
    let mut asked = started(RECONCILED);
    asked.effects.clear();
    asked.tell(Command::Recover);
    assert_eq!(&*asked.request(0).method, "GET");
    let mut left = started(POST);
    left.effects.clear();
    left.tell(Command::Recover);
    assert_eq!(left.phase(), Phase::Suspended);
}

#[test]
fn a_case_that_fails_by_itself_stops_waiting() {
    let mut world = started(GET);
    let poisoned = || Outcome::NotDone {
        error: Problem::new(Standard::Communication, "no").with_status(503),
        retry_after: None,
        health: Health { others_answered: true },
    };
    for _ in 0..30 {
        if world.phase() != Phase::Waiting && world.effects.is_empty() {
            break;
        }
        world.answer_next(poisoned());
        if world.phase() == Phase::Waiting {
            world.pass_to_next();
        }
    }
    assert_eq!(world.phase(), Phase::Faulted);
    assert!(world.now.since(START) >= 60_000);
}

#[test]
fn timeouts_stand_still_while_a_call_is_parked() {
    let mut world = world(
        "do:
  - outer:
      timeout: {after: PT1M}
      do:
        - send: {call: http, with: {method: post, endpoint: 'http://bob/'}, timeout: {after: PT30S}}
",
    );
    world.ctx.open.insert("bob".into());
    world.start(json!({}));
    world.pass(DAY);
    assert_eq!(world.phase(), Phase::Waiting);
    world.ctx.open.clear();
    world.tell(Command::Admit { service: "bob".into() });
    world.effects.clear();
    world.pass(29_999);
    assert_eq!(world.phase(), Phase::Running);
    world.pass(1);
    assert!(world.error().kind.ends_with("errors/timeout"));
    assert_eq!(world.error().instance.as_deref(), Some("/do/0/outer/do/0/send"));
}

#[test]
fn wall_deadlines_and_the_workflows_timeout_count_always() {
    let mut wall = world(
        "do: [{send: {call: http, with: {method: post, endpoint: 'http://bob/'}, timeout: {after: PT30S}, metadata: {deadline: wall}}}]\n",
    );
    wall.ctx.open.insert("bob".into());
    wall.start(json!({}));
    wall.pass(30_000);
    assert!(wall.error().kind.ends_with("errors/timeout"));
    let mut whole = world(&format!("timeout: {{after: PT1M}}\n{POST}"));
    whole.ctx.open.insert("bob".into());
    whole.start(json!({}));
    whole.pass(60_000);
    assert!(whole.error().kind.ends_with("errors/timeout"));
}

#[test]
fn a_full_service_makes_a_case_wait_its_turn() {
    let mut world = world(GET);
    world.ctx.full.insert("bob".into());
    world.start(json!({}));
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Rate);
    world.ctx.full.clear();
    world.tell(Command::Admit { service: "bob".into() });
    assert_eq!(world.effects.len(), 1);
}

#[test]
fn patience_does_not_begin_where_an_operator_holds_the_service() {
    let mut world = started(POST);
    world.ctx.held.insert("bob".into());
    world.answer_next(not_done());
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Operator);
    world.ctx.held.clear();
    world.now = world.now.plus(40 * DAY);
    world.tell(Command::Admit { service: "bob".into() });
    world.answer_next(not_done());
    assert_eq!(world.phase(), Phase::Waiting, "it has missed for the first time just now");
}
