//! Calls beside the flow: of branches that lost, of turns that began again with another item, of
//! loops that were left.

use serde_json::json;

use super::ledger::{cancel, started};
use super::world::{World, done, failed, unknown};
use crate::domain::case::command::{Command, Outcome, Verdict};
use crate::domain::case::effect::HttpBody;
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};

/// Answers the oldest request, which must go there.
fn answer(world: &mut World, url: &str, outcome: Outcome) {
    assert_eq!(world.request(0).url, url);
    world.answer_next(outcome);
}

#[test]
fn a_loser_that_was_never_let_out_stays_in() {
    let body = "do:
  - race: {fork: {compete: true, branches: [{loser: {call: http, with: {method: post, endpoint: 'http://busy/x'}}}, {winner: {wait: PT1S}}]}}
  - rest: {wait: PT30S}
";
    let mut world = super::world(body);
    world.ctx.full.insert("busy".into());
    world.start(json!({}));
    assert!(world.effects.is_empty());
    world.pass(1000);
    world.ctx.full.clear();
    world.tell(Command::Admit { service: "busy".into() });
    assert!(world.effects.is_empty(), "{:#?}", world.effects);
    world.tell(cancel());
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn a_turn_with_another_item_is_another_effect() {
    for safe in ["", "idempotent: true, "] {
        let mut world = started(&format!(
            "do:
  - again:
      try:
        - items: {{call: http, with: {{method: get, endpoint: 'http://a/items'}}}}
        - each:
            for: {{in: .items}}
            do: [{{make: {{call: http, with: {{method: post, endpoint: 'http://b/'}}, metadata: {{{safe}compensate: {{call: http, with: {{method: delete, endpoint: 'http://b/{{id}}'}}}}}}}}}}]
        - flaky: {{call: http, with: {{method: get, endpoint: 'http://c/'}}}}
      catch: {{retry: {{delay: PT1S, limit: {{attempt: {{count: 3}}}}}}}}
"
        ));
        answer(&mut world, "http://a/items", done(json!({"items": ["A", "B"]})));
        let mut keys = vec![world.effects[0].key.clone()];
        answer(&mut world, "http://b/", done(json!({"id": "A"})));
        keys.push(world.effects[0].key.clone());
        answer(&mut world, "http://b/", done(json!({"id": "B"})));
        answer(&mut world, "http://c/", failed(400));
        world.pass_to_next();
        answer(&mut world, "http://a/items", done(json!({"items": ["C", "B"]})));
        keys.push(world.effects[0].key.clone());
        answer(&mut world, "http://b/", done(json!({"id": "C"})));
        keys.dedup();
        assert_eq!(keys.len(), 3, "{keys:?}");
        world.tell(cancel());
        let mut undone = Vec::new();
        while let Some(effect) = world.effects.front() {
            if let crate::domain::case::effect::Ask::Http(request) = &effect.ask {
                undone.push(request.url.clone());
            }
            world.answer_next(done(json!(null)));
        }
        undone.retain(|url| url.starts_with("http://b/") && url.len() > "http://b/".len());
        undone.sort();
        assert_eq!(undone, ["http://b/A", "http://b/B", "http://b/C"]);
        assert_eq!(world.phase(), Phase::Cancelled);
    }
}

#[test]
fn a_question_is_made_of_the_item_that_the_call_was_made_of() {
    let mut world = started(
        "do:
  - each:
      for: {each: e, in: '[1, 2]'}
      do: [{make: {call: http, with: {method: post, endpoint: 'http://a/'}, metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/{id}'}}, reconcile: {call: http, with: {method: get, endpoint: '${ \"http://a/\\($e)\" }'}, found: .found, output: .}}}}]
",
    );
    world.answer_next(unknown());
    assert_eq!(world.request(0).url, "http://a/1");
    world.effects.clear();
    world.tell(cancel());
    world.tell(Command::Recover);
    assert_eq!(world.request(0).url, "http://a/1", "the loop was left long ago");
    world.answer_next(done(json!({"found": true, "id": "A"})));
    assert_eq!(world.request(0).url, "http://a/A");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn an_undo_is_not_made_of_nothing() {
    let mut world = started(
        "do: [{p: {call: http, with: {method: post, endpoint: 'http://a/'}, metadata: {compensate: {call: http, with: {method: post, endpoint: 'http://a/undo', body: '${ .id }'}}}}}, {w: {wait: PT1H}}]\n",
    );
    world
        .answer_next(Outcome::Unusable { error: Problem::new(Standard::Communication, "no JSON") });
    if !world.phase().ended() {
        let _ = world.try_tell(cancel());
    }
    assert!(world.effects.is_empty(), "{:#?}", world.effects);
    let wait = world.shown_wait().map(|wait| wait.kind);
    assert_eq!((wait, world.state().alert.is_some()), (Some(WaitKind::Person), true));
    world.tell(Command::Retry {
        reason: "looked it up".to_owned(),
        task: None,
        outcome: Some(Verdict::Done),
        output: Some(json!({"id": 7}).into()),
    });
    let request = world.request(0);
    assert_eq!(request.url, "http://a/undo");
    assert_eq!(request.body, Some(HttpBody::Json(json!(7).into())));
    world.answer_next(done(json!(null)));
    assert!(world.phase().ended() && world.state().ledger.is_empty());
}

#[test]
fn what_a_person_says_was_not_done_is_not_undone() {
    let mut world = started(
        "do: [{p: {call: http, with: {method: post, endpoint: 'http://a/'}, metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/{id}'}}, reconcile: {call: http, with: {method: get, endpoint: 'http://a/find'}, found: .found, output: .}}}}]\n",
    );
    world.tell(cancel());
    world
        .answer_next(Outcome::Unusable { error: Problem::new(Standard::Communication, "no JSON") });
    assert_eq!(world.request(0).url, "http://a/find", "the undo needs its answer");
    world.answer_next(done(json!({"found": false})));
    let wait = world.shown_wait().map(|wait| wait.kind);
    assert_eq!(wait, Some(WaitKind::Person), "{}", world.told());
    world.tell(Command::Retry {
        reason: "it is not there".to_owned(),
        task: Some("/do/0/p".to_owned()),
        outcome: Some(Verdict::Repeat),
        output: None,
    });
    assert!(world.effects.is_empty(), "{:#?}", world.effects);
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn what_may_have_been_done_is_repeated_with_the_variables_that_it_had() {
    let mut world = started(
        "do:
  - t:
      try:
        - inner:
            try: [{a: {call: http, with: {method: get, endpoint: 'http://a/'}}}]
            catch: {do: [{b: {call: http, with: {method: post, endpoint: 'http://b/', body: {s: '${ $error.status }'}}}}]}
      catch: {errors: {with: {status: 500}}, retry: {delay: PT1S, limit: {attempt: {count: 3}}}}
",
    );
    world.answer_next(failed(418));
    let first = world.request(0);
    let key = world.effects[0].key.clone();
    world.answer_next(failed(500));
    world.pass_to_next();
    assert_eq!(world.request(0).url, "http://a/", "{}", world.told());
    world.answer_next(failed(419));
    let again = world.request(0);
    assert_eq!((&again.url, &world.effects[0].key), (&first.url, &key));
    assert_eq!(again.body, first.body, "one key is one body");
}
