//! raise, try, catch, retry, timeouts.

use serde_json::json;

use super::ledger::{retry, suspending};
use super::world;
use super::world::{World, done, echo_world, failed, not_done};
use crate::domain::case::phase::Phase;

const TRY: &str = "do:
  - attempt:
      try:
        - get: {call: http, with: {method: get, endpoint: 'http://a/{id}'}}
      catch:
        errors: {with: {type: 'https://serverlessworkflow.io/dsl/errors/types/communication', status: 404}}
        as: err
        do:
          - mend: {set: {error: '${ $err }', was: '${ . }'}}
";

fn tried(status: i64) -> World {
    let mut world = world(TRY);
    world.start(json!({"id": 1}));
    world.answer_next(failed(status));
    world
}

#[test]
fn a_caught_error_is_handled_where_it_is_caught() {
    let world = tried(404);
    let output = world.output();
    assert_eq!(output["error"]["instance"], "/do/0/attempt/try/0/get");
    assert_eq!(output["error"]["status"], 404);
    assert_eq!(output["was"], json!({"id": 1}));
}

#[test]
fn an_error_of_another_kind_goes_on() {
    let world = tried(503 - 3);
    assert_eq!(world.phase(), Phase::Faulted);
    assert_eq!(world.error().status, 500);
    assert_eq!(world.error().instance.as_deref(), Some("/do/0/attempt/try/0/get"));
}

#[test]
fn raised_errors_keep_what_they_say() {
    let world = echo_world(
        "do:
  - fail:
      raise:
        error:
          type: https://example.com/errors/compliance
          status: 400
          title: Compliance Error
          detail: '${ \"no \\(.what) in \\($workflow.definition.document.name)\" }'
",
        json!({"what": "way"}),
    );
    let error = world.error();
    assert_eq!(&*error.kind, "https://example.com/errors/compliance");
    assert_eq!(error.detail.as_deref(), Some("no way in test"));
    assert_eq!(error.instance.as_deref(), Some("/do/0/fail"));
}

#[test]
fn conditions_choose_what_is_caught() {
    let body = |when: &str| {
        let body = format!(
            "do:
  - attempt:
      try: [{{fail: {{raise: {{error: {{type: 'https://x/y', status: 418}}}}}}}}]
      catch: {{{when}, do: [{{mend: {{set: {{caught: true}}}}}}]}}
"
        );
        echo_world(&body, json!({"on": 1}))
    };
    assert_eq!(body("when: .status == 418").output(), json!({"caught": true}));
    assert_eq!(
        body("when: $error.status == 418 and $input.on == 1").output(),
        json!({"caught": true})
    );
    assert_eq!(body("when: .status == 404").phase(), Phase::Faulted);
    assert_eq!(body("exceptWhen: .status == 418").phase(), Phase::Faulted);
}

#[test]
fn without_retry_and_without_tasks_an_error_is_swallowed() {
    let world = echo_world(
        "do:
  - attempt:
      try: [{fail: {raise: {error: {type: 'https://x/y', status: 418}}}}]
      catch: {errors: {with: {status: 418}}}
  - after: {set: {n: '${ .n + 1 }'}}
",
        json!({"n": 1}),
    );
    assert_eq!(world.output(), json!({"n": 2}));
}

fn retrying(policy: &str, tasks: &str) -> World {
    let mut world = world(&format!(
        "do:
  - attempt:
      try:
        - before: {{set: {{x: 1}}}}
        - get: {{call: http, with: {{method: get, endpoint: 'http://a/'}}}}
      catch: {{retry: {policy}{tasks}}}
"
    ));
    world.start(json!({}));
    world
}

#[test]
fn retries_wait_as_their_policy_says() {
    let mut world =
        retrying("{delay: PT2S, backoff: {exponential: {}}, limit: {attempt: {count: 3}}}", "");
    for wait in [2000, 4000, 8000] {
        world.answer_next(failed(500));
        assert_eq!(world.phase(), Phase::Waiting);
        assert!(world.effects.is_empty());
        world.pass(wait - 1);
        assert!(world.effects.is_empty());
        world.pass(1);
        assert_eq!(world.effects.len(), 1);
    }
    let keys = world.effect();
    assert!(keys.key.ends_with("/do/0/attempt/try/1/get/1"), "{}", keys.key);
    world.answer(&keys, failed(500));
    assert_eq!(world.phase(), Phase::Faulted);
}

#[test]
fn retries_can_succeed_and_exhausted_ones_fall_back() {
    let mut succeeds = retrying("{delay: PT1S}", "");
    succeeds.answer_next(failed(500));
    succeeds.pass(1000);
    succeeds.answer_next(done(json!({"ok": true})));
    assert_eq!(succeeds.output(), json!({"ok": true}));
    let mut falls = retrying("{limit: {attempt: {count: 0}}}", ", do: [{m: {set: {fell: back}}}]");
    falls.answer_next(failed(500));
    assert_eq!(falls.output(), json!({"fell": "back"}));
}

#[test]
fn retries_end_with_their_time_and_their_conditions() {
    let mut short = retrying("{delay: PT1M, limit: {duration: PT90S}}", "");
    short.answer_next(failed(500));
    short.pass(60_000);
    short.answer_next(failed(500));
    assert_eq!(short.phase(), Phase::Faulted);
    let mut picky = retrying("{when: .status == 503, delay: PT1S}", "");
    picky.answer_next(failed(500));
    assert_eq!(picky.phase(), Phase::Faulted);
    let mut jittered = retrying("{delay: PT1S, jitter: {from: PT1S, to: PT3S}}", "");
    jittered.answer_next(failed(500));
    jittered.pass(1999);
    assert!(jittered.effects.is_empty());
    jittered.pass(2001);
    assert_eq!(jittered.effects.len(), 1);
}

#[test]
fn one_attempt_may_be_limited() {
    let mut world = retrying("{delay: PT1S, limit: {attempt: {count: 2, duration: PT5S}}}", "");
    world.answer_next(failed(500));
    world.pass(1000);
    assert_eq!(world.effects.len(), 1);
    world.effects.clear();
    world.pass(5000);
    assert_eq!(world.phase(), Phase::Waiting);
    world.pass(1000);
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn a_task_times_out_with_all_below_it() {
    let mut world = world(
        "do:
  - limited:
      timeout: {after: PT10S}
      do: [{w: {wait: PT1H}}]
",
    );
    world.start(json!({}));
    world.pass(10_000);
    assert_eq!(world.phase(), Phase::Faulted);
    assert!(world.error().kind.ends_with("errors/timeout"));
    assert_eq!(
        (world.error().status, world.error().instance.as_deref()),
        (408, Some("/do/0/limited"))
    );
}

#[test]
fn a_timeout_can_be_caught() {
    let mut world = world(
        "do:
  - attempt:
      try: [{w: {wait: PT1H, timeout: {after: PT1S}}}]
      catch: {errors: {with: {status: 408}}, do: [{m: {set: {late: true}}}]}
",
    );
    world.start(json!({}));
    world.pass(1000);
    assert_eq!(world.output(), json!({"late": true}));
}

#[test]
fn a_workflow_times_out_whatever_it_does() {
    let mut world = world("timeout: {after: PT1M}\ndo: [{w: {listen: {to: {any: []}}}}]\n");
    world.start(json!({}));
    world.pass(60_000);
    assert!(world.error().kind.ends_with("errors/timeout"));
    assert!(world.state().flow.seq.child.is_none());
}

#[test]
fn an_error_in_one_branch_ends_the_fork() {
    let mut world = world(
        "do:
  - attempt:
      try:
        - split:
            fork:
              branches:
                - waits: {wait: PT1H}
                - calls: {call: http, with: {method: get, endpoint: 'http://a/'}}
      catch: {do: [{m: {set: {mended: true}}}]}
",
    );
    world.start(json!({}));
    world.answer_next(failed(500));
    assert_eq!(world.output(), json!({"mended": true}));
}

#[test]
fn errors_inside_of_catch_leave_it() {
    let world = echo_world(
        "do:
  - outer:
      try:
        - inner:
            try: [{f: {raise: {error: {type: 'https://x/1', status: 400}}}}]
            catch: {do: [{g: {raise: {error: {type: 'https://x/2', status: 401}}}}]}
      catch: {as: e, do: [{m: {set: {status: '${ $e.status }'}}}]}
",
        json!({}),
    );
    assert_eq!(world.output(), json!({"status": 401}));
}

#[test]
fn a_loop_inside_of_a_retry_counts_from_where_it_began() {
    let mut world = world(
        "do:
  - attempt:
      try:
        - loop:
            for: {in: '[1, 2]'}
            do: [{get: {call: http, with: {method: get, endpoint: 'http://a/'}}}]
      catch: {retry: {}}
",
    );
    world.start(json!({}));
    let mut keys = Vec::new();
    for outcome in [done(json!({})), failed(500), done(json!({})), done(json!({}))] {
        let effect = world.effect();
        keys.push(effect.key.rsplit('/').next().unwrap().to_owned());
        world.answer(&effect, outcome);
    }
    assert_eq!(keys, ["1", "2", "1", "2"]);
    assert_eq!(world.phase(), Phase::Completed);
}

#[test]
fn nothing_is_sent_into_a_limit_that_is_over() {
    let mut world = suspending(
        "do:
  - both:
      fork:
        branches:
          - one: {call: http, with: {method: post, endpoint: 'http://bob/one'}, timeout: {after: PT20S}}
          - two: {call: http, with: {method: post, endpoint: 'http://bob/two'}, timeout: {after: PT20S}}
",
    );
    let _one = world.effects.pop_front().unwrap();
    let two = world.effect();
    // both limits are reached at the same instant; the first one holds the case
    world.pass(20_000);
    assert_eq!(world.phase(), Phase::Suspended);
    world.ctx.open.insert("bob".into());
    world.answer(&two, not_done());
    world.ctx.open.clear();
    world.tell(retry());
    let sent: Vec<_> = (0..world.effects.len()).map(|n| world.request(n).url).collect();
    assert!(!sent.contains(&"http://bob/two".to_owned()), "{sent:?}");
}
