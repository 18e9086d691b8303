//! Keys over rounds and turns: what begins again keeps its keys, what comes later gets others.

use serde_json::json;

use super::ledger::{ASK, UNDO, started};
use super::world::{World, done, failed, unknown};
use crate::domain::case::command::Outcome;
use crate::domain::case::effect::{Ask, Effect};

/// Answers the oldest call to an address, and gives the call.
#[track_caller]
pub(super) fn answer(world: &mut World, url: &str, outcome: Outcome) -> Effect {
    let to = |effect: &Effect| matches!(&effect.ask, Ask::Http(asked) if asked.url == url);
    let place = world.effects.iter().position(to);
    let effect = place.and_then(|place| world.effects.remove(place));
    let effect = effect.unwrap_or_else(|| panic!("no call to {url}: {:#?}", world.effects));
    world.answer(&effect, outcome);
    effect
}

#[test]
fn a_later_turn_gets_no_key_of_a_round_that_came_further() {
    let mut world = started(
        "do:
  - each:
      for: {each: e, in: '[1, 2]'}
      do:
        - t:
            try:
              - race:
                  fork:
                    compete: true
                    branches:
                      - a:
                          do:
                            - first: {call: http, with: {method: get, endpoint: 'http://a/first'}}
                            - act: {call: http, with: {method: post, endpoint: 'http://a/act', body: {e: '${ $e }'}}}
                      - b: {call: http, with: {method: get, endpoint: 'http://a/b'}}
              - last: {call: http, with: {method: get, endpoint: 'http://a/last'}}
            catch: {retry: {delay: PT1S, limit: {attempt: {count: 1}}}}
",
    );
    answer(&mut world, "http://a/first", done(json!(1)));
    let one = answer(&mut world, "http://a/act", done(json!(1)));
    answer(&mut world, "http://a/last", failed(400));
    world.effects.clear();
    world.pass(1000);
    // in this round the other branch wins before that call is reached
    answer(&mut world, "http://a/b", done(json!(1)));
    answer(&mut world, "http://a/last", done(json!(1)));
    world.effects.retain(|effect| effect.iteration > 1);
    answer(&mut world, "http://a/first", done(json!(1)));
    let two = answer(&mut world, "http://a/act", done(json!(2)));
    assert_ne!(one.key, two.key);
}

#[test]
fn a_question_beside_the_flow_keeps_its_key_though_the_loop_goes_on() {
    let mut world = started(&format!(
        "do:
  - each:
      for: {{each: e, in: '[1, 2]'}}
      do:
        - race:
            fork:
              compete: true
              branches:
                - slow: {{call: http, with: {{method: post, endpoint: 'http://a/'}}, metadata: {{{ASK}, {UNDO}}}}}
                - fast: {{call: http, with: {{method: get, endpoint: 'http://a/fast'}}}}
"
    ));
    let slow = world.effects.pop_front().unwrap();
    answer(&mut world, "http://a/fast", done(json!(1)));
    // the second turn is under way when the answer of the first one's loser cannot be read
    let error = crate::domain::case::problem::Problem::new(
        crate::domain::case::problem::Standard::Communication,
        "no JSON",
    );
    world.answer(&slow, Outcome::Unusable { error });
    let asked = answer(&mut world, "http://a/asked", unknown());
    assert_eq!(asked.key, slow.key);
    world.pass_to_next();
    let asked = answer(&mut world, "http://a/asked", done(json!({"items": [{"id": 7}]})));
    assert_eq!(asked.key, slow.key);
    answer(&mut world, "http://a/7", done(json!(null)));
}
