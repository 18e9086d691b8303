//! Errors in the paths of errors, cases that only move themselves, and bounds.

use serde_json::json;

use super::ledger::{cancel, retry, started, suspending};
use super::world;
use super::world::{World, done, failed};
use crate::domain::case::command::{Command, Outcome, Rejection};
use crate::domain::case::effect::Ask;
use crate::domain::case::phase::Phase;

#[test]
fn swallowed_errors_leave_nothing_behind() {
    let size = |turns: usize| {
        let mut world = started(
            "do:
  - loop:
      for: {in: '[range(200)]'}
      do:
        - t: {try: [{p: {call: http, with: {method: post, endpoint: 'http://a/', body: {a: '${ . }'}}}}], catch: {}}
        - w: {wait: PT1S}
",
        );
        for _ in 0..turns {
            world.answer_next(failed(500));
            world.pass_to_next();
        }
        serde_json::to_string(world.state()).unwrap().len()
    };
    assert!(size(100) <= size(5) + 60, "{} {}", size(100), size(5));
}

#[test]
fn failing_expressions_in_an_error_path_go_outwards_and_end() {
    for catch in [
        "when: '.title | startswith(\"x\")'",
        "exceptWhen: '.title | startswith(\"x\")'",
        "retry: {when: '.title | startswith(\"x\")'}",
        "retry: {exceptWhen: '.title | startswith(\"x\")'}",
        "retry: {delay: '${ .nothing }'}",
        "errors: {with: {status: 418}}}, output: {as: '${ .a + {} + 1 }'",
        "do: [{a: {if: '.x | startswith(1)', set: {b: 1}}}]",
    ] {
        let mut world = world(&format!(
            "do: [{{t: {{try: [{{f: {{raise: {{error: {{type: 'https://x/y', status: 418}}}}}}}}], catch: {{{catch}}}}}}}]\n"
        ));
        world.start(json!({"a": 1}));
        assert_eq!(world.phase(), Phase::Faulted, "{catch}");
        assert_eq!(world.error().status, 400, "{catch}");
        assert!(world.history.len() < 12, "{catch}: {}", world.history.len());
    }
}

#[test]
fn an_error_of_an_error_path_can_be_retried_by_a_person() {
    let mut world = suspending(
        "do: [{t: {try: [{p: {call: http, with: {method: get, endpoint: 'http://a/'}}}], catch: {when: '.detail | test(1)'}}}]\n",
    );
    world.answer_next(failed(404));
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(retry());
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn a_case_that_only_moves_itself_is_stopped() {
    for body in [
        "do: [{a: {set: {n: 1}}}, {b: {set: {n: 2}, then: a}}]\n",
        "do: [{t: {try: [{f: {raise: {error: {type: 'https://x/y', status: 418}}}}], catch: {retry: {}}}}]\n",
    ] {
        let mut world = world(body);
        world.start(json!({}));
        assert_eq!(world.phase(), Phase::Suspended);
        assert_eq!(world.state().alert.as_ref().map(|a| &*a.cause), Some("runaway"));
        assert!(world.history.len() < 60_000, "{}", world.history.len());
        world.tell(retry());
        assert_eq!(world.phase(), Phase::Suspended, "it runs away again");
        world.tell(cancel());
        assert_eq!(world.phase(), Phase::Cancelled);
    }
}

#[test]
fn a_case_that_lives_on_its_own_events_is_stopped() {
    let mut world = world(
        "do:
  - tell: {emit: {event: {with: {source: 'https://x', type: t}}}}
  - hear: {listen: {to: {one: {with: {type: t}}}}, then: tell}
",
    );
    world.start(json!({}));
    for turn in 1..=12_000 {
        if world.phase() == Phase::Suspended {
            break;
        }
        let effect = world.effect();
        let Ask::Emit(event) = effect.ask.clone() else { panic!() };
        world.answer(&effect, Outcome::Done(event.clone()));
        let incoming = world.incoming(turn, (*event).clone());
        world.tell(Command::Deliver(incoming));
    }
    assert_eq!(world.state().alert.as_ref().map(|a| &*a.cause), Some("runaway"));
}

#[test]
fn a_loop_over_a_long_list_is_no_runaway() {
    let mut world = world("do: [{l: {for: {in: '[range(12000)]'}, do: [{s: {set: {n: 1}}}]}}]\n");
    world.start(json!({}));
    assert_eq!(world.phase(), Phase::Completed);
}

#[test]
fn an_oversized_input_or_text_is_an_error_of_its_task() {
    let large = "[range(40000)] | map(\"xxxxxxxxxx\") | join(\"\")";
    for task in [
        format!("{{set: {{a: 1}}, input: {{from: {{a: '${{ {large} }}', b: '${{ {large} }}'}}}}}}"),
        format!(
            "{{raise: {{error: {{type: 'https://x/y', status: 400, detail: '${{ {large} }}'}}}}}}"
        ),
    ] {
        let mut world = world(&format!(
            "do: [{{t: {{try: [{{a: {task}}}], catch: {{do: [{{m: {{set: {{caught: true}}}}}}]}}}}}}]\n"
        ));
        world.start(json!({}));
        assert_eq!(world.output(), json!({"caught": true}), "{task}");
    }
}

#[test]
fn secrets_stay_out_of_the_errors_of_expressions() {
    let mut world = world(
        "use: {secrets: [shop]}\ndo: [{p: {call: http, with: {method: get, endpoint: 'http://a/', headers: {x: '${ $secrets.shop.token }'}}}}]\n",
    );
    world.ctx.secrets.insert("shop".into(), std::sync::Arc::new(json!("s3cr3t")));
    world.start(json!({}));
    let error = world.error();
    assert!(!error.detail.as_deref().unwrap_or_default().contains("s3cr3t"), "{error:?}");
}

#[test]
fn early_events_are_not_lost_behind_many_others() {
    let mut world = started(
        "do:
  - ticks:
      for: {in: '[range(400)]'}
      do: [{tick: {listen: {to: {one: {with: {type: tick}}}}}}]
  - last: {listen: {to: {one: {with: {type: early}}}}}
",
    );
    let deliver = |world: &mut World, kind: &str, position: u64| {
        let event = super::world::event(kind, "", json!({"n": position}));
        let incoming = world.incoming(position, event);
        world.try_tell(Command::Deliver(incoming))
    };
    assert_eq!(deliver(&mut world, "early", 1), Err(Rejection::NotListening));
    for position in 2..402 {
        deliver(&mut world, "tick", position).unwrap();
    }
    deliver(&mut world, "early", 1).unwrap();
    assert_eq!(world.output(), json!([{"n": 1}]));
}
