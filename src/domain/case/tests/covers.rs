//! What the compensation of a task with others below it stands for.

use serde_json::json;

use super::ledger::started;
use super::rounds::answer;
use super::world::{done, failed};

#[test]
fn a_task_that_completes_again_stands_for_what_was_done_since_too() {
    let mut world = started(
        "do:
  - outer:
      try:
        - race:
            fork:
              compete: true
              branches:
                - a:
                    do:
                      - turn:
                          try:
                            - n: {call: http, with: {method: get, endpoint: 'http://a/n'}}
                            - cover:
                                do:
                                  - each:
                                      for: {in: '[range(.)]'}
                                      do: [{inner: {call: http, with: {method: post, endpoint: 'http://a/inner'}}}]
                                metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/cover'}}}
                            - gate: {call: http, with: {method: get, endpoint: 'http://a/gate'}}
                          catch: {retry: {delay: PT1S, limit: {attempt: {count: 1}}}}
                      - last: {call: http, with: {method: get, endpoint: 'http://a/last'}}
                - b: {call: http, with: {method: get, endpoint: 'http://a/b'}}
      catch: {retry: {delay: PT1S, limit: {attempt: {count: 1}}}}
",
    );
    answer(&mut world, "http://a/n", done(json!(1)));
    let first = answer(&mut world, "http://a/inner", done(json!(1)));
    answer(&mut world, "http://a/gate", failed(400));
    world.pass(1000);
    answer(&mut world, "http://a/n", done(json!(2)));
    // the first item was done and is recalled, the second is new
    let second = answer(&mut world, "http://a/inner", done(json!(2)));
    assert_ne!(first.key, second.key);
    answer(&mut world, "http://a/gate", done(json!(1)));
    answer(&mut world, "http://a/last", failed(400));
    answer(&mut world, "http://a/b", failed(400));
    answer(&mut world, "http://a/cover", done(json!(null)));
    world.pass(1000);
    // both were undone, so both are done again, under keys of their own
    answer(&mut world, "http://a/n", done(json!(2)));
    let again = answer(&mut world, "http://a/inner", done(json!(1)));
    let other = answer(&mut world, "http://a/inner", done(json!(2)));
    assert_eq!(again.key, format!("{}/1", first.key));
    assert_eq!(other.key, format!("{}/1", second.key));
}

#[test]
fn what_is_called_anew_gets_another_key_after_it_was_undone_with_others() {
    let mut world = started(
        "do:
  - outer:
      try:
        - race:
            fork:
              compete: true
              branches:
                - a:
                    do:
                      - cover:
                          do: [{inner: {call: http, with: {method: post, endpoint: 'http://a/inner'}, metadata: {idempotent: true}}}]
                          metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://a/cover'}}}
                      - last: {call: http, with: {method: get, endpoint: 'http://a/last'}}
                - b: {call: http, with: {method: get, endpoint: 'http://a/b'}}
      catch: {retry: {delay: PT1S, limit: {attempt: {count: 1}}}}
",
    );
    let first = answer(&mut world, "http://a/inner", done(json!(1)));
    answer(&mut world, "http://a/last", failed(400));
    answer(&mut world, "http://a/b", failed(400));
    answer(&mut world, "http://a/cover", done(json!(null)));
    world.pass(1000);
    let again = answer(&mut world, "http://a/inner", done(json!(1)));
    assert_eq!(again.key, format!("{}/1", first.key));
}
