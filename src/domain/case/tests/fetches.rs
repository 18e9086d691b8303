//! What a call needs first is fetched, and is never taken for the call; what has to be known is asked
//! until it is, or a person is.

use serde_json::json;

use super::ledger::{UNDO, cancel, started};
use super::world::{World, done, failed, unknown};
use crate::domain::case::command::{Command, Fetched, Health, Outcome};
use crate::domain::case::derive;
use crate::domain::case::effect::{Ask, Effect, Preparation};
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};

const PAY: &str = "do: [{pay: {call: http, with: {method: post, endpoint: {uri: 'http://a/pay', authentication: {oauth2: {authority: 'http://idp', grant: client_credentials, client: {id: me, secret: s}}}}}}}]\n";

/// The token has come, for this case or for another.
fn token_comes(world: &mut World, effect: &Effect) {
    let Ask::Prepare(preparation) = &effect.ask else { panic!("{effect:?}") };
    let Preparation::Token { key, .. } = &**preparation else { panic!() };
    world.ctx.tokens.insert(*key, "t0ken".into());
}

fn missed() -> Outcome {
    let error = Problem::new(Standard::Communication, "no token").with_status(503);
    Outcome::Fetched(Fetched::Missed { error, retry_after: None, health: Health::default() })
}

#[test]
fn a_fetch_that_ends_late_says_nothing_of_the_call() {
    let mut world = started(PAY);
    let fetch = world.effect();
    token_comes(&mut world, &fetch);
    // the process has begun again, and the call goes out by another's token
    world.tell(Command::Recover);
    let pay = world.effects.back().cloned().unwrap();
    assert!(matches!(pay.ask, Ask::Http(_)), "{pay:?}");
    world.effects.clear();
    let error = || Problem::new(Standard::Communication, "no token");
    for late in [missed(), Outcome::Fetched(Fetched::Useless { error: error() })] {
        world.answer(&fetch, late);
        world.pass(60_000);
        assert!(world.effects.is_empty(), "{}", world.told());
    }
    world.answer(&pay, done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn a_case_that_is_held_lets_no_call_out_when_its_token_comes() {
    for crash in [false, true] {
        let mut world = started(PAY);
        let fetch = world.effect();
        token_comes(&mut world, &fetch);
        world.effects.clear();
        world.tell(Command::Suspend { reason: "wait".into() });
        match crash {
            true => world.tell(Command::Recover),
            false => world.answer(&fetch, Outcome::Fetched(Fetched::Here)),
        }
        world.pass(60_000);
        assert!(world.effects.is_empty(), "{}", world.told());
        world.tell(Command::Resume { reason: "go".into() });
        world.pass(60_000);
        assert_eq!(world.request(0).url, "http://a/pay");
    }
}

fn putting(host_known: bool) -> (World, Effect) {
    let body = format!(
        "do: [{{p: {{call: http, with: {{method: put, endpoint: 'http://b/p'}}, metadata: {{{UNDO}}}}}}}]\n"
    );
    let mut world = super::world(&body);
    if !host_known {
        world.ctx.unknown.insert("b".into());
    }
    world.start(json!({}));
    let put = world.effects.pop_front().unwrap();
    world.tell(cancel());
    (world, put)
}

#[test]
fn the_first_miss_of_what_has_to_be_known_loses_it_nowhere() {
    for host_known in [false, true] {
        for first in [unknown(), failed(500)] {
            for opens in [false, true] {
                let (mut world, put) = putting(host_known);
                if opens {
                    world.ctx.open.insert("b".into());
                }
                world.answer(&put, first.clone());
                world.pass(1000);
                assert!(!world.phase().ended(), "{}", world.told());
                world.ctx.open.clear();
                world.tell(Command::Admit { service: "b".into() });
                while world.effects.is_empty() {
                    world.pass_to_next();
                }
                assert_eq!(world.request(0).url, "http://b/p");
                world.answer_next(done(json!({"id": 5})));
                assert_eq!(world.request(0).url, "http://a/5");
                world.answer_next(done(json!(null)));
                assert_eq!(world.phase(), Phase::Cancelled);
            }
        }
    }
}

#[test]
fn what_is_answered_with_errors_for_ever_is_shown_to_a_person() {
    let (mut world, put) = putting(true);
    world.answer(&put, failed(500));
    for _ in 0..20 {
        while world.effects.is_empty() && derive::next_due(world.state()).is_some() {
            world.pass_to_next();
        }
        if world.effects.is_empty() {
            break;
        }
        world.answer_next(failed(500));
    }
    assert!(world.effects.is_empty() && !world.phase().ended(), "{}", world.told());
    assert!(world.state().alert.is_some() || derive::holds(world.state()), "{}", world.told());
}

#[test]
fn an_alert_for_something_else_leaves_an_undo_its_second_plan() {
    let mut world = started(
        "do:
  - s:
      try:
        - slow: {call: http, timeout: {after: PT1S}, with: {method: post, endpoint: 'http://a/slow'}}
      catch: {}
  - r:
      fork:
        compete: true
        branches:
          - lose:
              do:
                - a:
                    call: http
                    with: {method: post, endpoint: 'http://a/a'}
                    metadata:
                      compensate:
                        do:
                          - tr:
                              try: [{u: {call: http, with: {method: post, endpoint: 'http://b/undo'}}}]
                              catch: {do: [{plan: {call: http, with: {method: post, endpoint: 'http://a/plan'}}}]}
                - w: {wait: PT30S}
          - win: {wait: PT2S}
  - end: {wait: PT60S}
",
    );
    world.ctx.unknown.insert("b".into());
    world.effects.clear();
    world.pass(1000);
    let a = world.effects.pop_back().unwrap();
    world.answer(&a, done(json!(1)));
    world.pass(2000);
    assert_eq!(world.request(world.effects.len() - 1).url, "http://b/undo");
    world.effects.clear();
    // the process ends: what was under way is lost
    world.tell(Command::Recover);
    assert!(world.state().alert.is_some(), "{}", world.told());
    assert_eq!(world.request(0).url, "http://a/plan", "{}", world.told());
}
