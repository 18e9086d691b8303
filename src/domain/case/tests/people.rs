//! What persons ask for: suspend, resume, retry, cancel, and the "no" that they may get.

use serde_json::json;

use super::world;
use super::world::{World, done, failed};
use crate::domain::case::command::{Command, Rejection};
use crate::domain::case::phase::Phase;

fn suspend() -> Command {
    Command::Suspend { reason: "wait".into() }
}

fn resume() -> Command {
    Command::Resume { reason: "go".into() }
}

fn cancel() -> Command {
    Command::Cancel { reason: "no more".into() }
}

fn retry() -> Command {
    Command::Retry { reason: "mended".into(), task: None, outcome: None, output: None }
}

#[track_caller]
fn refused(world: &mut World, command: Command, allowed: &[&str]) {
    match world.try_tell(command) {
        Err(Rejection::Conflict { allowed: found, .. }) => assert_eq!(found, allowed),
        other => panic!("{other:?}"),
    }
}

fn suspending(body: &str) -> World {
    world(&format!(
        "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{onError: suspend}}}}\n{body}"
    ))
}

#[test]
fn a_suspended_case_records_results_and_starts_nothing() {
    let mut world = world("do: [{a: {call: echo, with: {n: 1}}}, {b: {call: echo}}]\n");
    world.start(json!({}));
    let effect = world.effect();
    world.tell(suspend());
    assert_eq!(world.phase(), Phase::Suspended);
    world.answer(&effect, done(json!({"n": 1})));
    assert!(world.effects.is_empty());
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(resume());
    world.settle_echoes();
    assert_eq!(world.output(), json!({"n": 1}));
}

#[test]
fn timers_are_recorded_while_suspended() {
    let mut world = world("do: [{a: {wait: PT1S}}, {b: {set: {n: 1}}}]\n");
    world.start(json!({}));
    world.tell(suspend());
    world.pass(5000);
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(resume());
    assert_eq!(world.output(), json!({"n": 1}));
}

#[test]
fn an_uncaught_error_suspends_where_the_definition_says_so() {
    let mut world =
        suspending("do: [{a: {call: http, with: {method: get, endpoint: 'http://x/'}}}]\n");
    world.start(json!({}));
    world.answer_next(failed(404));
    assert_eq!(world.phase(), Phase::Suspended);
    assert_eq!(world.state().alert.as_ref().map(|a| &*a.cause), Some("communication 404"));
    refused(&mut world, resume(), &["retry", "cancel"]);
    let key = format!("{}/do/0/a/1", world.id);
    world.tell(retry());
    assert_eq!(world.phase(), Phase::Running);
    let effect = world.effect();
    assert_eq!(effect.key, key);
    world.answer(&effect, done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn siblings_finish_their_attempt_and_hold() {
    let mut world = suspending(
        "do:
  - split:
      fork:
        branches:
          - bad: {call: http, with: {method: get, endpoint: 'http://x/'}}
          - good: {do: [{g: {call: http, with: {method: get, endpoint: 'http://y/'}}}, {h: {call: echo}}]}
",
    );
    world.start(json!({}));
    let (bad, good) = (world.effects.pop_front().unwrap(), world.effects.pop_front().unwrap());
    world.answer(&bad, failed(404));
    world.answer(&good, done(json!(2)));
    assert!(world.effects.is_empty());
    world.tell(retry());
    assert_eq!(world.effects.len(), 2);
    world.settle_echoes();
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!([1, 2]));
}

#[test]
fn a_faulted_case_may_be_retried() {
    let mut world = world(
        "do:
  - split:
      fork:
        branches:
          - bad: {call: http, with: {method: get, endpoint: 'http://x/'}}
          - waits: {wait: PT1H, output: {as: '\"waited\"'}}
",
    );
    world.start(json!({}));
    world.answer_next(failed(500));
    assert_eq!(world.phase(), Phase::Faulted);
    refused(&mut world, suspend(), &["retry"]);
    world.tell(retry());
    world.answer_next(done(json!(1)));
    world.pass(3_600_000);
    assert_eq!(world.output(), json!([1, "waited"]));
}

#[test]
fn the_end_is_the_end() {
    let mut world = super::echo_world("do: [{a: {set: {n: 1}}}]\n", json!({}));
    for command in [suspend(), resume(), cancel(), retry()] {
        refused(&mut world, command, &[]);
    }
}

#[test]
fn a_case_is_cancelled_with_all_that_is_open() {
    let mut world = world(
        "do: [{a: {fork: {branches: [{x: {wait: PT1H}}, {y: {listen: {to: {any: []}}}}]}}}]\n",
    );
    world.start(json!({}));
    world.tell(cancel());
    assert_eq!(world.phase(), Phase::Cancelled);
    refused(&mut world, cancel(), &[]);
}

#[test]
fn a_case_is_submitted_once() {
    let mut world = super::echo_world("do: [{a: {set: {n: 1}}}]\n", json!({}));
    let again = world.submission(json!({}));
    let refused = world.try_tell(Command::Start(Some(again)));
    assert!(matches!(refused, Err(Rejection::Exists(Phase::Completed))));
}

#[test]
fn an_accepted_case_starts_later() {
    let mut world = world("do: [{a: {set: {n: 1}}}]\n");
    let submission = world.submission(json!({}));
    world.tell(Command::Accept(submission));
    assert_eq!(world.phase(), Phase::Pending);
    world.tell(Command::Timer);
    assert_eq!(world.phase(), Phase::Pending);
    world.tell(Command::Start(None));
    assert_eq!(world.output(), json!({"n": 1}));
    let mut cancelled = super::world("do: [{a: {set: {n: 1}}}]\n");
    let submission = cancelled.submission(json!({}));
    cancelled.tell(Command::Accept(submission));
    cancelled.tell(cancel());
    assert_eq!(cancelled.phase(), Phase::Cancelled);
}

#[test]
fn an_error_of_the_workflow_itself_waits_for_a_person_too() {
    let mut world = suspending("do: [{a: {wait: PT90S}}]\ntimeout: {after: PT1M}\n");
    world.start(json!({}));
    world.pass(60_000);
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(retry());
    assert_eq!(world.phase(), Phase::Waiting);
    world.pass(30_000);
    assert_eq!(world.phase(), Phase::Completed);
}

#[test]
fn only_tasks_that_wait_for_a_person_are_retried() {
    let mut world = suspending(
        "do: [{a: {call: http, with: {method: get, endpoint: 'http://x/'}}}, {b: {set: {n: 1}}}]\n",
    );
    world.start(json!({}));
    world.answer_next(failed(404));
    let named = |task: &str| Command::Retry {
        reason: String::new(),
        task: Some(task.into()),
        outcome: None,
        output: None,
    };
    assert!(matches!(world.try_tell(named("/do/9")), Err(Rejection::NoSuchTask(_))));
    refused(&mut world, named("/do/1/b"), &["retry", "cancel"]);
    world.tell(named("/do/0/a"));
    assert_eq!(world.effects.len(), 1);
}
