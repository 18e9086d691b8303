//! Undoing: what was done is undone once, latest first, after every attempt is settled.

use std::sync::Arc;

use serde_json::json;

use super::world;
use super::world::{World, done, failed, unknown};
use crate::domain::case::command::Command;
use crate::domain::case::effect::Ask;
use crate::domain::case::event::{Change, Event};
use crate::domain::case::ledger::{Entry, Kept, Knowledge};
use crate::domain::case::phase::Phase;

const TWO: &str = "do:
  - one:
      call: http
      with: {method: post, endpoint: 'http://a/one'}
      metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/one/{id}'}}}
  - two:
      call: http
      with: {method: post, endpoint: 'http://a/two'}
      metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/two/{id}'}}}
  - rest: {wait: PT1H}
";

fn cancel() -> Command {
    Command::Cancel { reason: "changed my mind".into() }
}

fn url(world: &World) -> String {
    world.request(0).url
}

fn both_done() -> World {
    let mut world = world(TWO);
    world.start(json!({}));
    world.answer_next(done(json!({"id": 1})));
    world.answer_next(done(json!({"id": 2})));
    world
}

#[test]
fn cancel_undoes_latest_first() {
    let mut world = both_done();
    world.tell(cancel());
    assert_eq!(world.phase(), Phase::Running);
    assert!(world.state().unwinding.is_some());
    assert_eq!(url(&world), "http://a/two/2");
    world.answer_next(done(json!(null)));
    assert_eq!(url(&world), "http://a/one/1");
    let key = world.effects[0].key.clone();
    assert!(key.ends_with("/do/0/one/metadata/compensate/1"), "{key}");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn an_uncaught_error_undoes_too() {
    let mut world = world(&TWO.replace(
        "- rest: {wait: PT1H}",
        "- rest: {raise: {error: {type: 'https://x/y', status: 400}}}",
    ));
    world.start(json!({}));
    world.answer_next(done(json!({"id": 1})));
    world.answer_next(done(json!({"id": 2})));
    assert!(world.state().unwinding.is_some());
    world.answer_next(done(json!(null)));
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Faulted);
    assert_eq!(world.error().status, 400);
    let retry = Command::Retry { reason: String::new(), task: None, outcome: None, output: None };
    assert!(world.try_tell(retry).is_err());
}

#[test]
fn an_attempt_in_flight_is_settled_before_anything_is_undone() {
    let mut world = world(TWO);
    world.start(json!({}));
    world.answer_next(done(json!({"id": 1})));
    let two = world.effect();
    world.tell(cancel());
    assert!(world.effects.is_empty());
    world.answer(&two, done(json!({"id": 2})));
    assert_eq!(url(&world), "http://a/two/2");
    world.answer_next(done(json!(null)));
    assert_eq!(url(&world), "http://a/one/1");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn what_was_not_done_is_not_undone() {
    let mut world = world(TWO);
    world.start(json!({}));
    world.answer_next(done(json!({"id": 1})));
    let two = world.effect();
    world.tell(cancel());
    world.answer(&two, failed(422));
    assert_eq!(url(&world), "http://a/one/1");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn an_unknown_attempt_is_asked_for_before_anything_is_undone() {
    let body = TWO.replace(
        "endpoint: 'http://a/two'}\n      metadata: {",
        "endpoint: 'http://a/two'}\n      metadata: {reconcile: {call: http, with: {method: get, endpoint: 'http://a/asked'}, found: .id, output: .}, ",
    );
    let mut world = world(&body);
    world.start(json!({}));
    world.answer_next(done(json!({"id": 1})));
    let two = world.effect();
    world.tell(cancel());
    world.answer(&two, unknown());
    assert_eq!(url(&world), "http://a/asked");
    world.answer_next(done(json!({"id": 2})));
    assert_eq!(url(&world), "http://a/two/2");
    world.answer_next(done(json!(null)));
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn a_failing_undo_waits_for_a_person() {
    let mut world = both_done();
    world.tell(cancel());
    world.answer_next(failed(409));
    assert_eq!(world.phase(), Phase::Suspended);
    assert!(world.state().alert.is_some());
    let retry = Command::Retry { reason: "mended".into(), task: None, outcome: None, output: None };
    world.tell(retry);
    assert_eq!(url(&world), "http://a/two/2");
    world.answer_next(done(json!(null)));
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn undoing_may_be_several_tasks() {
    let mut world = world(
        "do:
  - one:
      call: echo
      with: {id: 1}
      metadata:
        compensate:
          do:
            - first: {set: {path: '${ \"x\\(.id)\" }'}}
            - second: {call: http, with: {method: delete, endpoint: 'http://a/{path}'}}
  - rest: {wait: PT1H}
",
    );
    world.start(json!({}));
    world.settle_echoes();
    world.tell(cancel());
    assert_eq!(url(&world), "http://a/x1");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn the_loser_of_a_race_is_settled_then_undone() {
    let mut world = world(
        "do:
  - race:
      fork:
        compete: true
        branches:
          - loser:
              call: http
              with: {method: post, endpoint: 'http://a/loser'}
              metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/loser/{id}'}}}
          - winner: {wait: PT1S}
",
    );
    world.start(json!({}));
    let loser = world.effect();
    world.pass(1000);
    assert_eq!(world.phase(), Phase::Completed);
    assert!(crate::domain::case::derive::owes(world.state()));
    world.answer(&loser, done(json!({"id": 9})));
    assert_eq!(url(&world), "http://a/loser/9");
    world.answer_next(done(json!(null)));
    assert!(!crate::domain::case::derive::owes(world.state()));
    assert_eq!(world.phase(), Phase::Completed);
}

#[test]
fn the_same_key_is_undone_once() {
    let mut world = world(
        "do:
  - attempt:
      try:
        - one:
            call: http
            with: {method: post, endpoint: 'http://a/one'}
            metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/one/{id}'}}}
        - two: {call: http, with: {method: get, endpoint: 'http://a/two'}}
      catch: {retry: {delay: PT1S, limit: {attempt: {count: 1}}}}
",
    );
    world.start(json!({}));
    world.answer_next(done(json!({"id": 1})));
    world.answer_next(failed(500));
    world.pass(1000);
    // what was done is recalled, not done again
    assert_eq!(url(&world), "http://a/two");
    world.answer_next(failed(500));
    assert_eq!(url(&world), "http://a/one/1");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Faulted);
}

#[test]
fn a_child_is_cancelled_with_its_parent() {
    let mut world =
        world("do: [{sub: {run: {workflow: {namespace: a, name: b, version: latest}}}}]\n");
    world.start(json!({}));
    let effect = world.effect();
    let Ask::Run(child) = &effect.ask else { panic!() };
    let child = child.id;
    world.answer(&effect, done(json!(child.to_string())));
    world.tell(cancel());
    assert!(matches!(world.effect().ask, Ask::CancelChild(id) if id == child));
    assert_ne!(world.phase(), Phase::Cancelled);
    let outcome = crate::domain::case::command::ChildOutcome::Cancelled;
    world.tell(Command::ChildEnded { child, outcome });
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn a_case_that_waits_for_a_person_can_be_cancelled_and_undone() {
    let body = format!(
        "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{onError: suspend}}}}\n{}",
        TWO.replace(
            "- rest: {wait: PT1H}",
            "- rest: {raise: {error: {type: 'https://x/y', status: 400}}}"
        )
    );
    for held in [false, true] {
        let mut world = world(&body);
        world.start(json!({}));
        world.answer_next(done(json!({"id": 1})));
        world.answer_next(done(json!({"id": 2})));
        assert_eq!(world.phase(), Phase::Suspended);
        if held {
            let suspend = Command::Suspend { reason: "wait".into() };
            assert!(world.try_tell(suspend).is_err(), "an error has suspended it already");
        }
        world.tell(cancel());
        world.answer_next(done(json!(null)));
        world.answer_next(done(json!(null)));
        assert_eq!(world.phase(), Phase::Cancelled);
    }
}

const MANY: &str = "do:
  - each:
      for: {each: n, in: '${ [range(12)] }'}
      do:
        - post:
            call: http
            with: {method: post, endpoint: 'http://a/parcels', body: {n: '${ $n }'}}
            metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/parcels/{id}'}}}
  - rest: {wait: PT1H}
";

/// A parcel with enough in its answer that a ledger keeps only a few of them.
fn parcel(n: usize) -> serde_json::Value {
    json!({"id": n, "label": "x".repeat(40)})
}

#[test]
fn what_a_ledger_does_not_keep_is_read_back_to_undo_it() {
    let mut world = world(MANY);
    world.start(json!({}));
    for n in 0..12 {
        world.answer_next(done(parcel(n)));
    }
    let is_away =
        |entry: &&Entry| matches!(entry.knowledge, Knowledge::Done(Kept::Recorded { .. }));
    assert_eq!(world.state().ledger.len(), 12);
    let away = world.state().ledger.iter().filter(is_away).count();
    assert!((10..12).contains(&away), "{away} of 12");
    let length = world.history.len();
    world = world.replayed(length);
    world.tell(cancel());
    for n in (0..12).rev() {
        assert_eq!(url(&world), format!("http://a/parcels/{n}"));
        world.answer_next(done(json!(null)));
    }
    assert_eq!(world.phase(), Phase::Cancelled);
    assert!(world.state().ledger.is_empty());
}

#[test]
fn what_a_ledger_does_not_keep_is_read_back_to_recall_it() {
    let mut world = world(
        "do:
  - again:
      try:
        - one: {call: http, with: {method: post, endpoint: 'http://a/one'}, output: {as: '${ {one: .} }'}}
        - two: {call: http, with: {method: post, endpoint: 'http://a/two', body: '${ .one.id }'}}
        - bad: {call: http, with: {method: post, endpoint: 'http://a/bad', body: '${ .id }'}}
      catch: {retry: {delay: PT1S, limit: {attempt: {count: 3}}}}
",
    );
    world.start(json!({}));
    world.answer_next(done(parcel(1)));
    world.answer_next(done(parcel(2)));
    world.answer_next(failed(400));
    world.pass_to_next();
    // nothing but what failed is called again, and it gets what was answered then
    let request = world.request(0);
    assert_eq!((&*request.url, request.body.is_some()), ("http://a/bad", true));
    world.answer_next(done(json!("well")));
    assert_eq!(world.output(), json!("well"));
}

#[test]
fn histories_that_undid_without_saying_what_are_folded() {
    let mut world = world(MANY);
    world.start(json!({}));
    for n in 0..12 {
        world.answer_next(done(parcel(n)));
    }
    world.tell(cancel());
    for _ in 0..12 {
        world.answer_next(done(json!(null)));
    }
    // as they were written before a ledger was bounded
    let history = Arc::make_mut(&mut world.history);
    let all = history.len();
    history.retain(|(_, event)| match event {
        Event::Trimmed { .. } => false,
        Event::Task(task) => !matches!(task.change, Change::ReadBack { .. }),
        _ => true,
    });
    let length = history.len();
    assert!(length < all);
    for length in [length / 2, length - 3, length] {
        let old = world.replayed(length);
        assert!(length < world.history.len() || old.phase() == Phase::Cancelled);
    }
}
