//! Tasks without an effect: do, set, switch, for, fork, wait, data flow, directives.

use serde_json::json;

use super::{echo_world, world};
use crate::domain::case::command::Command;
use crate::domain::case::event::{Submission, WaitKind};
use crate::domain::case::phase::Phase;

#[test]
fn a_sequence_hands_its_data_on() {
    let world = echo_world(
        "do:
  - setRed: {set: {colors: '${ .colors + [\"red\"] }'}}
  - nested:
      do:
        - setGreen: {set: {colors: '${ .colors + [\"green\"] }'}}
        - setBlue: {set: {colors: '${ .colors + [\"blue\"] }'}}
",
        json!({}),
    );
    assert_eq!(world.output(), json!({"colors": ["red", "green", "blue"]}));
    assert_eq!(world.started(), ["setRed", "nested", "setGreen", "setBlue"]);
}

#[test]
fn directives_lead_where_they_say() {
    let world = echo_world(
        "do:
  - a: {set: {t: [a]}, then: c}
  - b: {set: {t: '${ .t + [\"b\"] }'}, then: end}
  - c: {set: {t: '${ .t + [\"c\"] }'}, then: b}
",
        json!({}),
    );
    assert_eq!(world.output(), json!({"t": ["a", "c", "b"]}));
}

#[test]
fn exit_leaves_the_nearest_list_and_end_the_workflow() {
    let exits = echo_world(
        "do:
  - inner:
      do: [{a: {set: {n: 1}, then: exit}}, {b: {set: {n: 2}}}]
  - after: {set: {n: '${ .n + 10 }'}}
",
        json!({}),
    );
    assert_eq!(exits.output(), json!({"n": 11}));
    let ends = echo_world(
        "do:
  - inner:
      fork:
        branches:
          - slow: {wait: PT1H}
          - quick: {do: [{a: {set: {n: 1}, then: end}}]}
  - after: {set: {n: 2}}
output: {as: '{ said: .n }'}
",
        json!({}),
    );
    assert_eq!(ends.output(), json!({"said": 1}));
}

#[test]
fn conditions_skip_and_hand_the_input_on() {
    let world = echo_world(
        "do:
  - a: {if: .x > 5, set: {x: 0}, then: end}
  - b: {if: .x > 1, set: {x: '${ .x * 2 }'}}
",
        json!({"x": 3}),
    );
    assert_eq!(world.output(), json!({"x": 6}));
    assert_eq!(world.started(), ["b"]);
}

#[test]
fn switch_takes_the_first_match_else_the_default_else_goes_on() {
    let body = "do:
  - choose:
      switch:
        - one: {when: .n == 1, then: first}
        - other: {then: second}
  - first: {set: {is: first}, then: end}
  - second: {set: {is: second}}
";
    assert_eq!(echo_world(body, json!({"n": 1})).output(), json!({"is": "first"}));
    assert_eq!(echo_world(body, json!({"n": 2})).output(), json!({"is": "second"}));
    let without = "do:
  - choose: {switch: [{one: {when: .n == 1, then: first}}], then: end}
  - first: {set: {is: first}}
";
    assert_eq!(echo_world(without, json!({"n": 2})).output(), json!({"n": 2}));
}

#[test]
fn loops_go_over_lists_and_carry_data() {
    let world = echo_world(
        "do:
  - loop:
      for: {each: color, in: .colors}
      do:
        - mark:
            set: {seen: '${ (.seen // []) + [{c: $color, i: $index}] }'}
",
        json!({"colors": ["red", "green"]}),
    );
    let seen = json!([{"c": "red", "i": 0}, {"c": "green", "i": 1}]);
    assert_eq!(world.output(), json!({"seen": seen}));
}

#[test]
fn loops_stop_at_their_condition_and_take_nothing_for_an_answer() {
    let body = |input| {
        echo_world(
            "do:
  - loop:
      for: {in: .list}
      while: (.n // 0) < 2
      do: [{count: {set: {n: '${ (.n // 0) + 1 }'}}}]
",
            input,
        )
    };
    assert_eq!(body(json!({"list": [1, 2, 3, 4]})).output(), json!({"n": 2}));
    assert_eq!(body(json!({"list": []})).output(), json!({"list": []}));
    let wrong = body(json!({"list": "abc"}));
    assert_eq!(wrong.phase(), Phase::Faulted);
    assert!(wrong.error().kind.ends_with("errors/expression"));
}

#[test]
fn nested_loops_see_their_own_variables() {
    let world = echo_world(
        "do:
  - outer:
      for: {each: row, in: .rows, at: i}
      do:
        - inner:
            for: {each: cell, in: $row, at: j}
            do:
              - add: {set: {t: '${ (.t // []) + [[$i, $j, $cell]] }'}}
",
        json!({"rows": [["a", "b"], ["c"]]}),
    );
    assert_eq!(world.output(), json!({"t": [[0, 0, "a"], [0, 1, "b"], [1, 0, "c"]]}));
}

#[test]
fn skipped_turns_still_pass() {
    let world = echo_world(
        "do:
  - loop:
      for: {in: '[1, 2, 3, 4]'}
      do: [{odd: {if: $item % 2 == 1, set: {n: '${ (.n // []) + [$item] }'}}}]
",
        json!({}),
    );
    assert_eq!(world.output(), json!({"n": [1, 3]}));
}

#[test]
fn forks_collect_in_declared_order() {
    let mut world = world(
        "do:
  - split:
      fork:
        branches:
          - slow: {wait: PT10S, output: {as: '\"slow\"'}}
          - quick: {set: {q: 1}}
          - skipped: {if: 'false', set: {s: 1}}
",
    );
    world.start(json!({"in": 1}));
    assert_eq!(world.phase(), Phase::Waiting);
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Timer);
    world.pass(10_000);
    assert_eq!(world.output(), json!(["slow", {"q": 1}, {"in": 1}]));
}

#[test]
fn the_first_of_competing_branches_wins() {
    let instant = echo_world(
        "do:
  - race:
      fork:
        compete: true
        branches: [{r: {set: {c: [red]}}}, {g: {set: {c: [green]}}}]
",
        json!({}),
    );
    assert_eq!(instant.output(), json!({"c": ["red"]}));
    assert_eq!(instant.started(), ["race", "r"]);
    let mut timed = world(
        "do:
  - race:
      fork:
        compete: true
        branches: [{slow: {wait: PT10S}}, {quick: {do: [{w: {wait: PT1S}}, {s: {set: {won: true}}}]}}]
",
    );
    timed.start(json!({}));
    timed.pass(1000);
    assert_eq!(timed.output(), json!({"won": true}));
}

#[test]
fn waits_last_as_long_as_they_say() {
    let mut world = world("do:\n  - month: {wait: '${ \"P\\(.days)D\" }'}\n");
    world.start(json!({"days": 30}));
    assert_eq!(world.shown_wait().unwrap().until, Some(world.now.plus(30 * 86_400_000)));
    world.pass(30 * 86_400_000 - 1);
    assert_eq!(world.phase(), Phase::Waiting);
    world.pass(1);
    assert_eq!(world.output(), json!({"days": 30}));
    let mut wrong = super::world("do:\n  - w: {wait: '${ .x }'}\n");
    wrong.start(json!({"x": 5}));
    assert!(wrong.error().kind.ends_with("errors/expression"));
}

#[test]
fn data_flows_through_every_stage() {
    let world = echo_world(
        "input: {from: .order}
output: {as: '{ total: .total, seen: $context.seen, from: $workflow.input.order.a }'}
do:
  - first:
      input: {from: '{ a: .a, ctx: $context }'}
      set: {sum: '${ .a + $input.a + .ctx.a }'}
      output: {as: '{ total: .sum, name: $task.name, ref: $task.reference, raw: $task.input }'}
      export: {as: '{ seen: [.name, $output.ref, $input.a] }'}
  - second: {call: echo, with: {total: '${ .total }'}}
",
        json!({"order": {"a": 2}}),
    );
    assert_eq!(world.output(), json!({"total": 6, "seen": ["first", "/do/0/first", 2], "from": 2}));
}

#[test]
fn schemas_are_checked_where_they_stand() {
    let body = "do:
  - a:
      input: {schema: {document: {type: object, required: [n]}}}
      set: {n: '${ .n }'}
      output: {schema: {document: {properties: {n: {type: integer}}}}}
";
    assert_eq!(echo_world(body, json!({"n": 1})).output(), json!({"n": 1}));
    for input in [json!({}), json!({"n": "x"})] {
        let world = echo_world(body, input);
        assert!(world.error().kind.ends_with("errors/validation"), "{:?}", world.error());
        assert_eq!(world.error().instance.as_deref(), Some("/do/0/a"));
    }
}

#[test]
fn a_submission_that_does_not_fit_is_refused() {
    let mut world = world(
        "input: {schema: {document: {type: object, required: [id]}}}\ndo: [{a: {set: {x: 1}}}]\n",
    );
    let submission = world.submission(json!({}));
    let refused = world.try_tell(crate::domain::case::command::Command::Start(Some(submission)));
    assert!(refused.is_err());
    assert!(world.state.is_none());
}

#[test]
fn functions_run_with_their_arguments() {
    let world = echo_world(
        "use:
  functions:
    double: {set: {n: '${ .n * 2 }'}}
do:
  - a: {call: double, with: {n: '${ .x }'}}
  - b: {call: double, with: {n: '${ .n }'}, output: {as: .n}}
",
        json!({"x": 3}),
    );
    assert_eq!(world.output(), json!(12));
}

#[test]
fn statuses_follow_the_tasks() {
    let world = echo_world(
        "document:
  dsl: '1.0.3'
  namespace: test
  name: test
  version: '1.0.0'
  metadata: {status: Placed}
do:
  - a: {set: {n: 1}, metadata: {statusOnStart: Working, status: '${ \"Did \\(.n)\" }'}}
  - b: {set: {n: 1}, metadata: {status: 'Did 1'}}
",
        json!({}),
    );
    assert_eq!(world.statuses(), ["Placed", "Working", "Did 1"]);
}

#[test]
fn a_long_computation_is_cut_into_commits() {
    let mut world = world(
        "do:
  - loop:
      for: {in: '[range(2000)]'}
      do: [{count: {set: {n: '${ (.n // 0) + 1 }'}}}]
",
    );
    let submission = world.submission(json!({}));
    world.tell_once(&crate::domain::case::command::Command::Start(Some(submission))).unwrap();
    assert!(world.more);
    assert!(world.history.len() < 1100);
    world.tell(crate::domain::case::command::Command::Continue);
    assert_eq!(world.output(), json!({"n": 2000}));
}

#[test]
fn an_output_beyond_the_bound_is_an_error_of_the_task() {
    let world = echo_world(
        "do: [{a: {set: {big: '${ .x }', again: '${ .x }'}}}]\n",
        json!({"x": "x".repeat(200 * 1024)}),
    );
    assert_eq!(world.phase(), Phase::Faulted);
    assert!(world.error().detail.unwrap().contains("larger than"));
}

#[test]
fn a_priority_may_be_an_expression_over_the_input() {
    let head = "document: {dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {priority: '${ {low: 1, high: 9}[.tier] }'}}";
    let body = format!("{head}\ndo: [{{a: {{wait: PT1S}}}}]");
    for accepted in [false, true] {
        let mut world = world(&body);
        let submission = world.submission(json!({"tier": "high"}));
        match accepted {
            true => world.tell(Command::Accept(submission)),
            false => world.tell(Command::Start(Some(submission))),
        }
        assert_eq!(world.state().priority, 9);
    }
    let mut said = world(&body);
    let submission = Submission { priority: Some(3), ..*said.submission(json!({"tier": "high"})) };
    said.tell(Command::Start(Some(Box::new(submission))));
    assert_eq!(said.state().priority, 3, "what the submission says comes first");
    let mut wrong = world(&body);
    let submission = wrong.submission(json!({"tier": "royal"}));
    let refused = wrong.try_tell(Command::Start(Some(submission))).unwrap_err();
    assert!(format!("{refused:?}").contains("no number from 0 to 9"), "{refused:?}");
}
