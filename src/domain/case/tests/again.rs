//! Entered again, undone again, answered late: each effect keeps to its own key and its own answer.

use serde_json::{Value as Json, json};

use super::ledger::{ASK, UNDO, cancel, method, retry, started, suspending};
use super::world::{World, done, failed, not_done, unknown};
use crate::domain::case::command::{Command, Fetched, Outcome, Verdict};
use crate::domain::case::derive;
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};

fn url(effect: &Effect) -> String {
    match &effect.ask {
        Ask::Http(request) => format!("{} {}", request.method, request.url),
        other => format!("{other:?}"),
    }
}

/// Takes the effect that is in flight to this address.
#[track_caller]
fn to(world: &mut World, wanted: &str) -> Effect {
    let place = world.effects.iter().position(|effect| url(effect) == wanted);
    let all: Vec<String> = world.effects.iter().map(url).collect();
    let place = place.unwrap_or_else(|| panic!("{wanted} is not among {all:?}\n{}", world.told()));
    world.effects.remove(place).unwrap()
}

const RACED: &str = "do:
  - t:
      try:
        - race:
            fork:
              compete: true
              branches:
                - lose: {do: [{book: {call: http, with: {method: post, endpoint: 'http://a/book'}, metadata: {UNDO}}}, {gate: {call: http, with: {method: get, endpoint: 'http://a/gate'}}}]}
                - win: {call: http, with: {method: get, endpoint: 'http://a/win'}}
        - flaky: {call: http, with: {method: get, endpoint: 'http://a/flaky'}}
      catch: {retry: {delay: PT1S}}
";

/// The branch that books has lost, its booking is being undone, and what follows has failed, so that
/// all begins again. The booking, and its undo.
#[track_caller]
fn booked_and_lost(world: &mut World) -> (Effect, Effect) {
    let book = to(world, "POST http://a/book");
    world.answer(&book, done(json!({"id": 7})));
    let win = to(world, "GET http://a/win");
    world.answer(&win, done(json!(1)));
    let undo = to(world, "DELETE http://a/7");
    let flaky = to(world, "GET http://a/flaky");
    world.answer(&flaky, failed(400));
    world.pass(1000);
    (book, undo)
}

#[test]
fn what_is_being_undone_is_not_recalled() {
    let mut world = started(&RACED.replace("UNDO", UNDO));
    let (book, undo) = booked_and_lost(&mut world);
    // the race begins again while the booking is still being taken back
    assert!(world.effects.iter().all(|effect| url(effect) != "POST http://a/book"));
    let shown = world.shown_wait().map(|wait| wait.detail);
    assert!(world.phase() == Phase::Running || shown.is_some(), "{shown:?}");
    world.answer(&undo, done(json!(null)));
    let again = to(&mut world, "POST http://a/book");
    assert_ne!(again.key, book.key, "another booking");
}

#[test]
fn a_group_that_is_being_undone_waits_and_does_its_work_anew() {
    let body = "do:
  - t:
      try:
        - race:
            fork:
              compete: true
              branches:
                - lose: {do: [{group: {do: [{book: {call: http, with: {method: post, endpoint: 'http://a/book'}}}], metadata: {UNDO}}}, {gate: {call: http, with: {method: get, endpoint: 'http://a/gate'}}}]}
                - win: {call: http, with: {method: get, endpoint: 'http://a/win'}}
        - flaky: {call: http, with: {method: get, endpoint: 'http://a/flaky'}}
      catch: {retry: {delay: PT1S}}
";
    let mut world = started(&body.replace("UNDO", UNDO));
    let (book, undo) = booked_and_lost(&mut world);
    world.answer(&undo, done(json!(null)));
    let again = to(&mut world, "POST http://a/book");
    assert_ne!(again.key, book.key, "what the group's compensation undid is done anew");
}

#[test]
fn every_undo_has_a_key_of_its_own() {
    // two turns of a race; the second loser answers after the case has ended
    let body = "do:
  - loop:
      for: {each: n, in: '${ [1, 2] }'}
      do:
        - race:
            fork:
              compete: true
              branches:
                - lose: {call: http, with: {method: post, endpoint: 'http://a/book'}, metadata: {compensate: {do: [{refund: {call: http, with: {method: post, endpoint: 'http://a/refund'}}}]}}}
                - win: {call: http, with: {method: get, endpoint: 'http://a/win'}}
";
    let mut world = started(body);
    let mut keys = Vec::new();
    let first = to(&mut world, "POST http://a/book");
    let win = to(&mut world, "GET http://a/win");
    world.answer(&win, done(json!(1)));
    world.answer(&first, done(json!({"id": 1})));
    let refund = to(&mut world, "POST http://a/refund");
    keys.push(refund.key.clone());
    world.answer(&refund, done(json!(null)));
    let second = to(&mut world, "POST http://a/book");
    let win = to(&mut world, "GET http://a/win");
    world.answer(&win, done(json!(2)));
    assert_eq!(world.phase(), Phase::Completed);
    world.answer(&second, done(json!({"id": 2})));
    let refund = to(&mut world, "POST http://a/refund");
    assert!(!keys.contains(&refund.key), "{keys:?}");
}

#[test]
fn a_retry_of_a_try_gives_no_undo_an_old_key() {
    let body = "do:
  - t:
      try:
        - race:
            fork:
              compete: true
              branches:
                - lose: {call: http, with: {method: post, endpoint: 'http://a/book'}, metadata: {compensate: {do: [{refund: {call: http, with: {method: post, endpoint: 'http://a/refund'}}}]}}}
                - win: {call: http, with: {method: get, endpoint: 'http://a/win'}}
        - flaky: {call: http, with: {method: get, endpoint: 'http://a/flaky'}}
      catch: {retry: {delay: PT1S}}
";
    let mut world = started(body);
    let mut keys = Vec::new();
    for turn in 0..2 {
        let book = to(&mut world, "POST http://a/book");
        let win = to(&mut world, "GET http://a/win");
        world.answer(&win, done(json!(1)));
        world.answer(&book, done(json!({"id": turn})));
        let refund = to(&mut world, "POST http://a/refund");
        assert!(!keys.contains(&refund.key), "{keys:?}");
        keys.push(refund.key.clone());
        world.answer(&refund, done(json!(null)));
        let flaky = to(&mut world, "GET http://a/flaky");
        world.answer(&flaky, failed(400));
        world.pass(1000);
    }
}

#[test]
fn a_servers_error_at_a_repeat_beside_the_flow_ends_no_doubt() {
    let body = format!(
        "do: [{{p: {{call: http, with: {{method: put, endpoint: 'http://a/p'}}, metadata: {{{UNDO}}}}}}}]\n"
    );
    let mut world = started(&body);
    world.answer_next(unknown());
    world.tell(cancel());
    while world.effects.is_empty() {
        world.pass_to_next();
    }
    world.answer_next(failed(500));
    assert!(!world.phase().ended(), "{}", world.told());
    while world.effects.is_empty() {
        world.pass_to_next();
    }
    world.answer_next(done(json!({"id": 9})));
    assert_eq!(world.request(0).url, "http://a/9");
    world.answer_next(done(Json::Null));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn silence_after_a_servers_error_is_a_persons() {
    let body = format!(
        "do:\n  - t:\n      try: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/p'}}, metadata: {{{UNDO}}}}}}}]\n      catch: {{retry: {{delay: PT1S, limit: {{attempt: {{count: 1}}}}}}}}\n"
    );
    let mut world = super::world(&body);
    world.ctx.unknown.insert("a".into());
    world.start(json!({}));
    world.answer_next(failed(500));
    world.pass(1000);
    world.answer_next(unknown());
    assert!(!world.phase().ended(), "{}", world.told());
    assert!(derive::cause_for_a_person(world.state()).is_some());
}

#[test]
fn what_a_losing_branch_may_have_done_is_settled() {
    let body = "do:
  - race:
      fork:
        compete: true
        branches:
          - lose: {do: [{t: {try: [{p: {call: http, with: {method: put, endpoint: 'http://a/p'}, metadata: {patience: PT0S, UNDO}}}], catch: {}}}, {gate: {call: http, with: {method: get, endpoint: 'http://a/gate'}}}]}
          - win: {call: http, with: {method: get, endpoint: 'http://a/win'}}
";
    let mut world = started(&body.replace("UNDO", UNDO));
    let put = to(&mut world, "PUT http://a/p");
    world.answer(&put, unknown());
    to(&mut world, "GET http://a/gate");
    let win = to(&mut world, "GET http://a/win");
    world.answer(&win, done(json!(1)));
    let repeat = to(&mut world, "PUT http://a/p");
    assert_eq!(repeat.key, put.key);
    world.answer(&repeat, done(json!({"id": 5})));
    to(&mut world, "DELETE http://a/5");
}

#[test]
fn what_is_fetched_first_ends_in_every_way() {
    let body = "do: [{p: {call: http, with: {method: get, endpoint: {uri: 'http://a/p', authentication: {oauth2: {authority: 'http://idp', grant: client_credentials, client: {id: me, secret: s}}}}}}}]\n";
    let error = || Problem::new(Standard::Communication, "no token");
    let mut world = started(body);
    world.answer_next(Outcome::Fetched(Fetched::Useless { error: error() }));
    assert_eq!(world.phase(), Phase::Faulted);
    let mut world = started(body);
    world.answer_next(Outcome::Fetched(Fetched::NotSent));
    world.pass(1000);
    assert!(matches!(world.effect().ask, Ask::Prepare(_)), "it is asked for again");
}

#[test]
fn an_input_that_is_wrong_takes_no_call_back() {
    let body = "do:
  - t:
      try:
        - amount: {call: http, with: {method: get, endpoint: 'http://a/amount'}}
        - pay: {call: http, with: {method: post, endpoint: 'http://a/pay'}, input: {schema: {format: json, document: {type: number}}}, timeout: {after: PT1S}}
      catch: {retry: {delay: PT1S}}
";
    let mut world = started(body);
    world.answer_next(done(json!(1)));
    let pay = to(&mut world, "POST http://a/pay");
    world.pass(1000);
    world.pass(1000);
    world.answer_next(done(json!(null)));
    world.pass(1000);
    world.answer_next(done(json!(2)));
    assert!(world.effects.is_empty(), "the payment is still under way\n{}", world.told());
    world.answer(&pay, done(json!("paid")));
    assert_eq!(world.output(), json!("paid"));
}

#[test]
fn an_answer_that_comes_late_is_not_taken_for_another() {
    let body = "do:
  - t:
      try: [{look: {call: http, with: {method: get, endpoint: 'http://a/look'}, timeout: {after: PT3S}}}]
      catch: {retry: {delay: PT1S}}
";
    let mut world = started(body);
    let first = world.effect();
    world.pass(3000);
    world.pass(1000);
    let second = world.effect();
    world.answer(&first, done(json!("old")));
    assert_eq!(world.phase(), Phase::Running);
    world.answer(&second, done(json!("new")));
    assert_eq!(world.output(), json!("new"));
}

#[test]
fn an_undo_that_goes_on_after_the_end_is_owed() {
    let body = "do:
  - race:
      fork:
        compete: true
        branches:
          - lose: {call: http, with: {method: post, endpoint: 'http://a/book'}, metadata: {compensate: {do: [{loop: {for: {in: '${ [range(600)] }'}, do: [{s: {set: {a: 1}}}]}}, {gone: {call: http, with: {method: delete, endpoint: 'http://a/gone'}}}]}}}
          - win: {call: http, with: {method: get, endpoint: 'http://a/win'}}
";
    let mut world = started(body);
    let book = to(&mut world, "POST http://a/book");
    let win = to(&mut world, "GET http://a/win");
    world.answer(&win, done(json!(1)));
    assert_eq!(world.phase(), Phase::Completed);
    let (task, iteration, attempt) = (book.task, book.iteration, book.attempt);
    let outcome = done(json!({"id": 1}));
    world.tell_once(&Command::Result { task, iteration, attempt, outcome }).unwrap();
    assert!(world.more && derive::moves(world.state()) && derive::owes(world.state()));
    world.tell(Command::Recover);
    to(&mut world, "DELETE http://a/gone");
}

#[test]
fn an_undo_that_runs_away_after_the_end_waits_for_a_person() {
    let body = "do:
  - race:
      fork:
        compete: true
        branches:
          - lose: {call: http, with: {method: post, endpoint: 'http://a/book'}, metadata: {compensate: {do: [{s: {set: {a: 1}, then: s}}]}}}
          - win: {call: http, with: {method: get, endpoint: 'http://a/win'}}
";
    let mut world = started(body);
    let book = to(&mut world, "POST http://a/book");
    let win = to(&mut world, "GET http://a/win");
    world.answer(&win, done(json!(1)));
    world.answer(&book, done(json!({"id": 1})));
    assert_eq!(world.phase(), Phase::Completed);
    assert!(world.state().alert.is_some(), "a person is told");
    assert!(!derive::moves(world.state()));
}

#[test]
fn what_a_losing_branch_recalled_is_undone_as_well() {
    let body = "do:
  - t:
      try:
        - race:
            timeout: {after: PT5S}
            fork:
              compete: true
              branches:
                - one: {do: [{book: {call: http, with: {method: post, endpoint: 'http://a/book'}, metadata: {UNDO}}}, {gate: {call: http, with: {method: get, endpoint: 'http://a/gate'}}}]}
                - two: {call: http, with: {method: get, endpoint: 'http://a/two'}}
      catch: {retry: {delay: PT1S}}
";
    let mut world = started(&body.replace("UNDO", UNDO));
    let book = to(&mut world, "POST http://a/book");
    world.answer(&book, done(json!({"id": 3})));
    world.pass(5000);
    world.effects.clear();
    world.pass(1000);
    let two = to(&mut world, "GET http://a/two");
    world.answer(&two, done(json!(2)));
    assert_eq!(world.phase(), Phase::Completed);
    to(&mut world, "DELETE http://a/3");
}

#[test]
fn another_item_never_gets_the_key_of_the_first() {
    let body = "do:
  - t:
      try:
        - list: {call: http, with: {method: get, endpoint: 'http://a/list'}}
        - loop:
            for: {each: item, in: '${ . }'}
            do: [{p: {call: http, with: {method: post, endpoint: 'http://a/p', body: {item: '${ $item }'}}, metadata: {idempotent: true}}}]
        - flaky: {call: http, with: {method: get, endpoint: 'http://a/flaky'}}
      catch: {retry: {delay: PT1S}}
";
    let mut world = started(body);
    let mut seen = std::collections::HashMap::new();
    for items in [["a", "b"], ["b", "a"]] {
        let list = to(&mut world, "GET http://a/list");
        world.answer(&list, done(json!(items)));
        for item in items {
            let put = to(&mut world, "POST http://a/p");
            let known = seen.entry(put.key.clone()).or_insert_with(|| item.to_owned());
            assert_eq!(known, item, "one key has one body");
            world.answer(&put, done(json!(null)));
        }
        let flaky = to(&mut world, "GET http://a/flaky");
        world.answer(&flaky, failed(400));
        world.pass(1000);
    }
}

#[test]
fn an_ended_case_keeps_no_letter_that_nobody_can_close() {
    let body = "do:
  - t:
      try: [{p: {call: http, with: {method: post, endpoint: 'http://a/p'}, timeout: {after: PT1S}}}]
      catch: {do: [{w: {call: http, with: {method: get, endpoint: 'http://a/w'}}}]}
";
    let mut world = started(body);
    let post = world.effect();
    world.pass(1000);
    world.answer(&post, unknown());
    assert!(world.state().alert.is_some());
    let wait = to(&mut world, "GET http://a/w");
    world.answer(&wait, done(json!(1)));
    assert_eq!((world.phase(), world.state().alert.is_some()), (Phase::Completed, false));
}

#[test]
fn what_a_person_says_was_done_is_undone() {
    let mut world = suspending(&format!(
        "do: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/p', body: '${{ error(\"no\") }}'}}, metadata: {{{UNDO}}}}}}}, {{w: {{wait: PT1H}}}}]\n"
    ));
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(Command::Retry {
        reason: "by hand".into(),
        task: None,
        outcome: Some(Verdict::Done),
        output: Some(json!({"id": 4}).into()),
    });
    world.tell(cancel());
    assert_eq!((method(&world), world.request(0).url), ("DELETE".into(), "http://a/4".into()));
}

#[test]
fn a_case_that_was_cancelled_while_it_waited_does_not_start() {
    let mut world = super::world("do: [{s: {set: {a: 1}}}]\n");
    let submission = world.submission(json!({}));
    world.tell(Command::Accept(submission));
    world.tell(cancel());
    world.tell(Command::Start(None));
    assert_eq!((world.phase(), world.state().started_at), (Phase::Cancelled, None));
}

#[test]
fn a_stuck_undo_does_not_hold_up_what_is_asked() {
    let mut world = started(&format!(
        "do: [{{f: {{fork: {{branches: [{{p: {{call: http, with: {{method: post, endpoint: 'http://a/p'}}, metadata: {{{ASK}, {UNDO}}}}}}}]}}}}}}]\n"
    ));
    world.answer_next(unknown());
    world.answer_next(not_done());
    world.tell(cancel());
    assert!(derive::next_due(world.state()).is_some(), "{}", world.told());
    let _ = retry();
}

#[test]
fn turns_that_are_passed_over_are_steps_of_their_own() {
    let mut world = super::world(
        "do: [{loop: {for: {in: '${ [range(2000)] }'}, do: [{s: {if: '${ false }', set: {a: 1}}}]}}]\n",
    );
    let submission = world.submission(json!({}));
    world.tell_once(&Command::Start(Some(submission))).unwrap();
    assert!(world.more, "others get a word in");
    world.tell(Command::Continue);
    assert_eq!(world.phase(), Phase::Completed);
}

#[test]
fn a_large_error_is_carried_outwards_in_small_decisions() {
    let detail = "x".repeat(16_000);
    let mut body = format!(
        "[{{e: {{raise: {{error: {{type: 'https://x/y', status: 400, title: '{detail}', detail: '{detail}'}}}}}}}}]"
    );
    for depth in 0..14 {
        body = format!("[{{d{depth}: {{do: {body}}}}}]");
    }
    let mut world = super::world(&format!("do: {body}\n"));
    let submission = world.submission(json!({}));
    world.tell_once(&Command::Start(Some(submission))).unwrap();
    assert!(world.more, "each level says it once more");
    world.tell(Command::Continue);
    assert_eq!(world.phase(), Phase::Faulted);
}

#[test]
fn a_call_that_is_made_again_can_be_asked_for() {
    let body = "do:
  - t:
      try: [{p: {call: http, with: {method: post, endpoint: 'http://a/p'}, metadata: {ASK}}}]
      catch: {retry: {delay: PT1S}}
";
    let mut world = started(&body.replace("ASK", ASK));
    for _ in 0..3 {
        let post = to(&mut world, "POST http://a/p");
        world.answer(&post, failed(500));
        let question = to(&mut world, "GET http://a/asked");
        world.answer(&question, done(json!({"items": []})));
        world.pass(1000);
    }
    let post = to(&mut world, "POST http://a/p");
    world.answer(&post, done(json!(1)));
    assert_eq!(world.phase(), Phase::Completed);
}
