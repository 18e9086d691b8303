//! The ledger: what is known of an effect decides whether it is sent, recalled, asked for or undone.

use serde_json::json;

use super::world;
use super::world::{World, done, failed, unknown};
use crate::domain::case::command::{ChildOutcome, Command, Outcome};
use crate::domain::case::derive;
use crate::domain::case::effect::Ask;
use crate::domain::case::event::{Change, Event};
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::time::DAY;

pub(super) const UNDO: &str =
    "compensate: {call: http, with: {method: delete, endpoint: 'http://a/{id}'}}";
pub(super) const ASK: &str = "reconcile: {call: http, with: {method: get, endpoint: 'http://a/asked'}, found: '.items | length > 0', output: '.items[0]'}";

pub(super) fn started(body: &str) -> World {
    let mut world = world(body);
    world.start(json!({}));
    world
}

pub(super) fn suspending(body: &str) -> World {
    started(&format!(
        "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{onError: suspend}}}}\n{body}"
    ))
}

pub(super) fn cancel() -> Command {
    Command::Cancel { reason: "no more".into() }
}

pub(super) fn retry() -> Command {
    Command::Retry { reason: "again".into(), task: None, outcome: None, output: None }
}

pub(super) fn method(world: &World) -> String {
    world.request(0).method.to_string()
}

fn count(world: &World, wanted: impl Fn(&Change) -> bool) -> usize {
    let is = |event: &Event| matches!(event, Event::Task(task) if wanted(&task.change));
    world.history.iter().filter(|(_, event)| is(event)).count()
}

#[test]
fn a_call_in_flight_that_can_be_undone_is_undone_however_safe_it_is() {
    for safe in ["", "idempotent: true, "] {
        let mut world = started(&format!(
            "do: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{safe}{UNDO}}}}}}}]\n"
        ));
        let post = world.effect();
        world.tell(cancel());
        assert_eq!(world.phase(), Phase::Running, "its answer is waited for");
        world.answer(&post, done(json!({"id": 7})));
        assert_eq!(world.request(0).url, "http://a/7");
        world.answer_next(done(json!(null)));
        assert_eq!(world.phase(), Phase::Cancelled);
    }
}

#[test]
fn done_is_done_though_its_output_cannot_be_made() {
    let mut world = suspending(&format!(
        "do: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, output: {{as: '${{ .id + 1 }}'}}, metadata: {{{ASK}, {UNDO}}}}}}}]\n"
    ));
    world.answer_next(done(json!({"id": "x"})));
    assert_eq!(world.phase(), Phase::Suspended);
    // only our evaluation failed: it is evaluated again, and nothing is sent
    world.tell(retry());
    assert_eq!(world.phase(), Phase::Suspended);
    assert!(world.effects.is_empty());
    world.tell(cancel());
    assert_eq!((method(&world), world.request(0).url), ("DELETE".into(), "http://a/x".into()));
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn an_answer_that_is_gone_is_asked_for() {
    let mut world = suspending(&format!(
        "do: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{ASK}}}}}}}]\n"
    ));
    let error = Problem::new(Standard::Communication, "too large");
    world.answer_next(Outcome::Unusable { error });
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(retry());
    world.answer_next(done(json!({"items": []})));
    assert_eq!(world.phase(), Phase::Suspended, "it was answered, whatever its receiver says now");
    let mut found = suspending(&format!(
        "do: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{ASK}}}}}}}]\n"
    ));
    let error = Problem::new(Standard::Communication, "too large");
    found.answer_next(Outcome::Unusable { error });
    found.tell(retry());
    found.answer_next(done(json!({"items": [{"id": 3}]})));
    assert_eq!(found.output(), json!({"id": 3}));
}

#[test]
fn a_try_that_begins_again_recalls_what_was_done() {
    let mut world = started(
        "do:
  - t:
      try:
        - pay: {call: http, with: {method: post, endpoint: 'http://a/pay'}}
        - look: {call: http, with: {method: get, endpoint: 'http://a/look'}}
        - ship: {call: http, with: {method: post, endpoint: 'http://a/ship'}}
      catch: {retry: {delay: PT1S}}
",
    );
    world.answer_next(done(json!({"paid": 1})));
    world.answer_next(done(json!({"seen": 1})));
    world.answer_next(failed(500));
    world.pass(1000);
    assert_eq!(world.request(0).url, "http://a/look", "what only asks is asked anew");
    world.answer_next(done(json!({"seen": 2})));
    world.answer_next(done(json!({"shipped": 1})));
    assert_eq!(world.output(), json!({"shipped": 1}));
    assert_eq!(count(&world, |c| matches!(c, Change::Completed { recalled: true, .. })), 1);
}

#[test]
fn resuming_asks_for_a_permit_again() {
    let mut world =
        world("do: [{p: {call: http, with: {method: post, endpoint: 'http://bob/'}}}]\n");
    world.ctx.open.insert("bob".into());
    world.start(json!({}));
    world.tell(Command::Suspend { reason: "wait".into() });
    world.ctx.open.clear();
    world.tell(Command::Admit { service: "bob".into() });
    assert!(world.effects.is_empty(), "nothing starts while a person holds it");
    world.tell(Command::Resume { reason: "go".into() });
    assert_eq!(world.effects.len(), 1);
}

#[test]
fn an_outage_spends_no_limit_of_a_retry() {
    let mut world = world(
        "do:
  - t:
      try: [{p: {call: http, with: {method: post, endpoint: 'http://bob/'}}}]
      catch: {retry: {delay: PT1S, limit: {duration: PT1M, attempt: {count: 3, duration: PT5S}}}}
",
    );
    world.ctx.open.insert("bob".into());
    world.start(json!({}));
    world.pass(DAY);
    assert_eq!(world.phase(), Phase::Waiting);
    assert_eq!(count(&world, |c| matches!(c, Change::Retried { .. })), 0);
    world.ctx.open.clear();
    world.tell(Command::Admit { service: "bob".into() });
    world.answer_next(failed(500));
    world.ctx.open.insert("bob".into());
    world.pass(1000);
    world.pass(DAY);
    world.ctx.open.clear();
    world.tell(Command::Admit { service: "bob".into() });
    world.answer_next(failed(500));
    assert_eq!(world.phase(), Phase::Waiting, "a day behind a breaker is no time of the policy");
}

#[test]
fn the_first_attempt_of_a_try_is_limited_too() {
    let mut world = started(
        "do:
  - t:
      try: [{p: {call: http, with: {method: get, endpoint: 'http://a/'}}}]
      catch: {retry: {delay: PT1S, limit: {attempt: {count: 1, duration: PT5S}}}}
",
    );
    world.pass(4999);
    assert_eq!(world.phase(), Phase::Running);
    world.pass(1);
    assert_eq!(world.phase(), Phase::Waiting);
}

#[test]
fn a_persons_retry_gives_an_attempt_its_time_again() {
    let mut world = suspending(
        "do:
  - t:
      try: [{p: {call: http, with: {method: post, endpoint: 'http://a/'}}}]
      catch: {retry: {limit: {attempt: {count: 0, duration: PT5S}}}}
",
    );
    let first = world.effect();
    world.pass(5000);
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(retry());
    // the attempt under way is the task's again
    assert!(world.effects.is_empty());
    assert_eq!(world.phase(), Phase::Running);
    world.pass(4000);
    world.answer(&first, done(json!({"ok": 1})));
    assert_eq!(world.output(), json!({"ok": 1}));
}

#[test]
fn a_call_that_timed_out_is_recorded_and_undone_with_the_case() {
    let mut world = started(&format!(
        "do:
  - t:
      try: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, timeout: {{after: PT1S}}, metadata: {{{UNDO}}}}}}}]
      catch: {{do: [{{w: {{wait: PT1H}}}}]}}
"
    ));
    let post = world.effect();
    world.pass(1000);
    world.answer(&post, done(json!({"id": 5})));
    assert!(world.effects.is_empty(), "it is kept until the case is undone");
    world.tell(cancel());
    assert_eq!(world.request(0).url, "http://a/5");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn retrying_a_run_starts_a_new_child() {
    let mut world =
        suspending("do: [{sub: {run: {workflow: {namespace: a, name: b, version: latest}}}}]\n");
    let child = |world: &mut World| {
        let effect = world.effect();
        let Ask::Run(child) = &effect.ask else { panic!() };
        let id = child.id;
        world.answer(&effect, done(json!(null)));
        id
    };
    let first = child(&mut world);
    let error = Problem::new(Standard::Runtime, "no");
    world.tell(Command::ChildEnded { child: first, outcome: ChildOutcome::Faulted(error) });
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(retry());
    let second = child(&mut world);
    assert_ne!(first, second);
    world.tell(Command::ChildEnded {
        child: second,
        outcome: ChildOutcome::Completed(json!({"n": 1}).into()),
    });
    assert_eq!(world.output(), json!({"n": 1}));
}

#[test]
fn branches_that_begin_again_keep_their_keys() {
    let mut world = suspending(
        "do:
  - f:
      fork:
        branches:
          - pay: {call: http, with: {method: post, endpoint: 'http://a/pay'}}
          - check: {call: http, with: {method: get, endpoint: 'http://a/check'}}
",
    );
    let pay = world.effects.pop_front().unwrap();
    let check = world.effects.pop_front().unwrap();
    world.answer(&check, failed(404));
    world.answer(&pay, done(json!({"paid": 1})));
    world.tell(retry());
    assert_eq!(world.request(0).url, "http://a/check");
    assert_eq!(world.effect().key, check.key);

    let mut faulted = started(
        "do:
  - f:
      fork:
        branches:
          - pay: {call: http, with: {method: post, endpoint: 'http://a/pay'}}
          - check: {call: http, with: {method: get, endpoint: 'http://a/check'}}
",
    );
    let pay = faulted.effects.pop_front().unwrap();
    faulted.answer_next(failed(404));
    assert_eq!(faulted.phase(), Phase::Faulted);
    faulted.tell(retry());
    // the payment that was under way is taken back, under its key
    assert_eq!(faulted.effects.len(), 1);
    faulted.answer(&pay, done(json!({"paid": 1})));
    faulted.answer_next(done(json!({"ok": 1})));
    assert_eq!(faulted.output(), json!([{"paid": 1}, {"ok": 1}]));
}

#[test]
fn what_was_undone_is_done_again_under_another_key() {
    let mut world = suspending(&format!(
        "do:
  - t:
      try:
        - race:
            fork:
              compete: true
              branches:
                - slow: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{UNDO}}}}}
                - fast: {{wait: PT1S}}
        - next: {{call: http, with: {{method: get, endpoint: 'http://a/next'}}}}
      catch: {{retry: {{delay: PT1S}}}}
"
    ));
    let first = world.effect();
    world.pass(1000);
    world.answer(&first, done(json!({"id": 1})));
    let next = world.effects.pop_front().unwrap();
    assert_eq!(method(&world), "DELETE");
    let undo = world.effects[0].key.clone();
    world.answer_next(done(json!(null)));
    world.answer(&next, failed(500));
    world.pass(1000);
    let second = world.effect();
    assert_eq!(second.key, format!("{}/1", first.key));
    world.pass(1000);
    world.answer(&second, done(json!({"id": 2})));
    let place = world.effects.iter().position(|e| e.key.contains("compensate")).unwrap();
    assert_eq!(world.effects[place].key, format!("{undo}/1"));
}

#[test]
fn end_inside_of_a_compensation_ends_the_compensation_alone() {
    let mut world = started(
        "do:
  - one:
      call: http
      with: {method: post, endpoint: 'http://a/one'}
      metadata:
        compensate:
          do:
            - first: {set: {n: 1}, then: end}
            - never: {call: http, with: {method: get, endpoint: 'http://a/never'}}
  - rest: {wait: PT1H}
",
    );
    world.answer_next(done(json!({})));
    world.tell(cancel());
    assert!(world.effects.is_empty());
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn exit_leaves_the_loop_and_not_just_the_turn() {
    let world = super::world::echo_world(
        "do:
  - loop:
      for: {in: '[1, 2, 3]', each: n}
      do:
        - count: {set: {turns: '${ (.turns // 0) + 1 }'}, then: exit}
  - after: {set: {turns: '${ .turns }', after: true}}
",
        json!({}),
    );
    assert_eq!(world.output(), json!({"turns": 1, "after": true}));
}

#[test]
fn not_found_is_judged_by_the_service_of_the_call_and_at_once_after_an_answer() {
    let body = format!(
        "do:
  - t:
      try: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{ASK}}}}}}}]
      catch: {{retry: {{delay: PT1S}}}}
"
    );
    let mut world = started(&body);
    world.answer_next(failed(500));
    // nobody need wait for the retry to ask
    assert_eq!(method(&world), "GET");
    world.answer_next(done(json!({"items": []})));
    assert!(world.effects.is_empty());
    world.pass(1000);
    assert_eq!(method(&world), "POST");
}

#[test]
fn an_answer_to_a_question_beside_the_flow_is_recalled() {
    let body = format!(
        "do:
  - t:
      try: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{ASK}}}}}}}]
      catch: {{retry: {{delay: PT1S}}}}
"
    );
    let mut world = started(&body);
    world.answer_next(failed(500));
    world.answer_next(done(json!({"items": [{"id": 9}]})));
    world.pass(1000);
    assert!(world.effects.is_empty());
    assert_eq!(world.output(), json!({"id": 9}));
}

#[test]
fn what_is_taken_away_already_was_taken_away() {
    let mut world = started(&format!(
        "do: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{UNDO}}}}}}}, {{w: {{wait: PT1H}}}}]\n"
    ));
    world.answer_next(done(json!({"id": 7})));
    world.tell(cancel());
    world.answer_next(unknown());
    world.pass_to_next();
    world.answer_next(failed(404));
    assert_eq!(world.phase(), Phase::Cancelled);
    let mut first = started(&format!(
        "do: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{UNDO}}}}}}}, {{w: {{wait: PT1H}}}}]\n"
    ));
    first.answer_next(done(json!({"id": 7})));
    first.tell(cancel());
    first.answer_next(failed(404));
    assert_eq!(first.phase(), Phase::Suspended, "nothing was known to be taken away");
}

#[test]
fn a_timeout_on_a_run_cancels_the_child_and_waits_for_its_end() {
    let mut world = started(
        "do: [{sub: {timeout: {after: PT1S}, run: {workflow: {namespace: a, name: b, version: latest}}}}]\n",
    );
    let effect = world.effect();
    let Ask::Run(child) = &effect.ask else { panic!() };
    let child = child.id;
    world.answer(&effect, done(json!(null)));
    world.pass(1000);
    assert!(matches!(world.effect().ask, Ask::CancelChild(id) if id == child));
    assert_eq!(world.phase(), Phase::Faulted);
    assert!(derive::owes(world.state()), "until it has ended");
    world.tell(Command::ChildEnded { child, outcome: ChildOutcome::Cancelled });
    assert!(!derive::owes(world.state()));
}

#[test]
fn a_cancel_overtakes_a_child_that_is_being_started() {
    let mut world =
        started("do: [{sub: {run: {workflow: {namespace: a, name: b, version: latest}}}}]\n");
    let effect = world.effect();
    let Ask::Run(child) = &effect.ask else { panic!() };
    let child = child.id;
    world.tell(cancel());
    assert!(matches!(world.effect().ask, Ask::CancelChild(id) if id == child));
    assert_ne!(world.phase(), Phase::Cancelled);
    world.answer(&effect, done(json!(null)));
    assert!(matches!(world.effect().ask, Ask::CancelChild(id) if id == child));
    world.tell(Command::ChildEnded { child, outcome: ChildOutcome::Cancelled });
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn a_workflow_that_timed_out_has_all_its_time_again_when_a_person_retries_it() {
    let mut world = started(
        "timeout: {after: PT10S}\ndo: [{p: {call: http, with: {method: post, endpoint: 'http://a/'}}}]\n",
    );
    let post = world.effect();
    world.pass(10_000);
    assert_eq!(world.phase(), Phase::Faulted);
    world.pass(60_000);
    world.tell(retry());
    assert_eq!(world.phase(), Phase::Running);
    world.answer(&post, done(json!({"ok": 1})));
    assert_eq!(world.output(), json!({"ok": 1}));
}
