//! What a case keeps and says is bounded: its ledger, its decisions, its status, its events.

use serde_json::{Value as Json, json};

use super::world::{World, done, echo_world, event, failed, unknown, world};
use crate::domain::case::command::{Command, Rejection, Verdict};
use crate::domain::case::ledger::{Entry, Fate, Kept, Knowledge};
use crate::domain::case::phase::Phase;
use crate::domain::data::Data;
use crate::domain::workflow::expr::json::size_of;

fn large(world: &World, entries: impl Fn(&Entry) -> usize) -> usize {
    world.state().ledger.iter().map(entries).sum()
}

#[test]
fn what_a_list_has_left_is_read_back_to_undo_it() {
    let mut world = world(
        "do:
  - each:
      for: {each: n, in: '${ [range(12)] }'}
      do:
        - both:
            do:
              - post: {call: http, with: {method: post, endpoint: 'http://a/parcels', body: {n: '${ $n }'}}}
            metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/parcels/{id}'}}}
  - rest: {wait: PT1H}
",
    );
    world.start(json!({}));
    for n in 0..12 {
        world.answer_next(done(json!({"id": n, "label": "x".repeat(60)})));
    }
    world.tell(Command::Cancel { reason: "changed my mind".into() });
    for n in (0..12).rev() {
        assert_eq!(world.request(0).url, format!("http://a/parcels/{n}"));
        world.answer_next(done(json!(null)));
    }
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn what_unknown_calls_were_asked_with_is_kept_for_the_latest_alone() {
    let mut world = world(
        "do:
  - each:
      for: {each: n, in: '${ [range(40)] }'}
      do:
        - caught:
            try:
              - post:
                  call: http
                  with: {method: post, endpoint: 'http://a/parcels', body: '${ .text }'}
                  metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/parcels/{id}'}}}
            catch: {as: e}
  - rest: {wait: PT1H}
",
    );
    world.start(json!({"text": "x".repeat(20_000)}));
    for _ in 0..40 {
        world.answer_next(failed(500));
    }
    let pinned = |entry: &Entry| entry.pinned.as_ref().map_or(0, |pinned| pinned.size());
    assert!(world.state().ledger.len() == 40 && large(&world, pinned) <= 256 * 1024);
    world.tell(Command::Cancel { reason: "changed my mind".into() });
    // a server's error at an unsafe call counts as not done
    assert_eq!((world.phase(), world.effects.len()), (Phase::Cancelled, 0));
}

#[test]
fn a_decision_fits_into_a_record_whatever_its_tasks_leave() {
    // the world looks at every decision
    let numbers: Vec<f64> = (0..13_000).map(|n| f64::from(n) + 0.123_456_789_012_3).collect();
    let mut world = world(
        "do:
  - get: {call: http, with: {method: get, endpoint: 'http://a/numbers'}}
  - first: {set: {list: '${ .list[:9000] }', more: '${ .list[:3000] }'}, export: {as: '${ . }'}}
  - second: {set: {list: '${ .list }'}, export: {as: '${ . }'}}
  - third: {set: {list: '${ .list }'}, export: {as: '${ . }'}}
",
    );
    world.start(json!({}));
    world.answer_next(done(json!({"list": numbers})));
    assert_eq!(world.phase(), Phase::Completed, "{:?}", world.state().error);
}

#[test]
fn a_status_and_an_event_that_are_too_large_are_errors_of_their_task() {
    let long = "${ [range(3000)] | map(\"xxxxxxxxxx\") | join(\"\") }";
    for task in [
        format!("{{set: {{a: 1}}, metadata: {{status: '{long}'}}}}"),
        format!(
            "{{emit: {{event: {{with: {{source: /x, type: t, subject: '{long}', data: {{a: '${{ .x }}'}}}}}}}}}}"
        ),
    ] {
        let world = echo_world(
            &format!(
                "do: [{{t: {{try: [{{a: {task}}}], catch: {{do: [{{m: {{set: {{caught: true}}}}}}]}}}}}}]\n"
            ),
            json!({"x": "x".repeat(250 * 1024)}),
        );
        assert_eq!(world.output(), json!({"caught": true}), "{task}");
    }
}

#[test]
fn what_was_undone_keeps_nothing() {
    let mut world = world(
        "do:
  - again:
      try:
        - race:
            fork:
              compete: true
              branches:
                - slow:
                    do:
                      - post:
                          call: http
                          with: {method: post, endpoint: 'http://a/parcels'}
                          metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/parcels/{id}'}}}
                      - rest: {wait: PT1H}
                - fast: {listen: {to: {one: {with: {type: a}}}}}
        - later: {wait: PT2H}
      catch: {retry: {delay: PT1S}}
",
    );
    world.start(json!({}));
    world.answer_next(done(json!({"id": 1, "label": "x".repeat(90)})));
    let told = world.incoming(1, event("a", "", json!(1)));
    world.tell(Command::Deliver(told));
    assert_eq!(world.request(0).url, "http://a/parcels/1");
    world.answer_next(done(json!(null)));
    let kept = |entry: &Entry| match &entry.knowledge {
        Knowledge::Done(Kept::Output(data)) => size_of(data),
        _ => 0,
    };
    assert!(world.state().ledger.iter().any(|entry| entry.fate == Fate::Undone));
    assert!(large(&world, kept) < 20, "{:#?}", world.state().ledger);
}

#[test]
fn what_a_person_says_was_done_fits_into_a_record() {
    let branch =
        |n: u32| format!("{{b{n}: {{call: http, with: {{method: post, endpoint: 'http://a/'}}}}}}");
    let branches: Vec<String> = (0..6).map(branch).collect();
    let mut world =
        world(&format!("do: [{{all: {{fork: {{branches: [{}]}}}}}}]\n", branches.join(", ")));
    world.start(json!({}));
    for _ in 0..6 {
        world.answer_next(unknown());
    }
    let say = |task: Option<&str>, output: Json| Command::Retry {
        reason: "seen there".into(),
        task: task.map(str::to_owned),
        outcome: Some(Verdict::Done),
        output: Some(Data::from(output)),
    };
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    let told = world.try_tell(say(None, deep));
    assert!(matches!(&told, Err(Rejection::Invalid(v)) if v[0].pointer == "/output"), "{told:?}");
    let told =
        world.try_tell(say(Some("/do/0/all/fork/branches/0/b0"), json!("x".repeat(300_000))));
    assert!(matches!(told, Err(Rejection::TooLarge(_))), "{told:?}");
    let told = world.try_tell(say(None, json!("x".repeat(100_000))));
    assert!(matches!(&told, Err(Rejection::TooLarge(d)) if d.contains("6 tasks")), "{told:?}");
    world.tell(say(Some("/do/0/all/fork/branches/0/b0"), json!("x".repeat(100_000))));
    world.tell(say(None, json!("x".repeat(20_000))));
    assert_eq!(world.phase(), Phase::Completed);
}
