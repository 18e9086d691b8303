//! Listening: one, any, all, correlation, and events that are taken once.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::world;
use super::world::{World, event};
use crate::domain::case::command::{Command, Rejection};
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;

#[track_caller]
fn deliver(world: &mut World, position: u64, event: Json) {
    let incoming = world.incoming(position, event);
    world.tell(Command::Deliver(incoming));
}

fn listening(to: &str, more: &str) -> World {
    let mut world = world(&format!("do:\n  - hear: {{listen: {{to: {to}{more}}}}}\n"));
    world.start(json!({"id": "s1"}));
    world
}

#[test]
fn one_event_of_the_type_ends_it() {
    let mut world = listening("{one: {with: {type: shipped}}}", "");
    assert_eq!(world.phase(), Phase::Waiting);
    let wait = world.shown_wait().unwrap();
    assert_eq!((wait.kind, wait.on.as_deref()), (WaitKind::Event, Some("shipped")));
    // what nothing listens for now is kept for the case, until it does or has ended
    let other = world.incoming(1, event("other", "", json!(1)));
    let told = world.try_tell(Command::Deliver(other.clone()));
    assert_eq!((told, world.phase()), (Err(Rejection::NotListening), Phase::Waiting));
    deliver(&mut world, 2, event("shipped", "", json!({"t": 1})));
    assert_eq!(world.output(), json!([{"t": 1}]));
    world.tell(Command::Deliver(other));
}

#[test]
fn filters_look_at_attributes_and_data() {
    let mut world = listening(
        "{any: [{with: {type: temp, data: '${ .c > 38 }'}}, {with: {type: bpm, source: nurse}}]}",
        ", read: envelope",
    );
    deliver(&mut world, 1, event("temp", "", json!({"c": 37})));
    deliver(&mut world, 2, event("bpm", "", json!(90)));
    deliver(&mut world, 3, event("temp", "", json!("hot")));
    assert_eq!(world.phase(), Phase::Waiting);
    deliver(&mut world, 4, event("temp", "", json!({"c": 39})));
    assert_eq!(world.output()[0]["data"], json!({"c": 39}));
    assert_eq!(world.output()[0]["type"], json!("temp"));
}

#[test]
fn anything_will_do() {
    let mut world = listening("{any: []}", "");
    deliver(&mut world, 1, event("whatever", "", json!(1)));
    assert_eq!(world.output(), json!([1]));
}

#[test]
fn all_are_collected_in_the_order_in_which_they_came() {
    let mut world = listening("{all: [{with: {type: a}}, {with: {type: b}}]}", "");
    deliver(&mut world, 5, event("b", "", json!("b")));
    assert_eq!(world.phase(), Phase::Waiting);
    // it has one already; another stays noted for a listener to come
    let again = world.incoming(6, event("b", "", json!("again")));
    assert_eq!(world.try_tell(Command::Deliver(again)), Err(Rejection::NotListening));
    deliver(&mut world, 7, event("a", "", json!("a")));
    assert_eq!(world.output(), json!(["b", "a"]));
}

const CORRELATED: &str = "{one: {with: {type: shipped}, correlate: {shipment: {from: .subject, expect: '${ $input.id }'}}}}";

#[test]
fn correlation_ties_an_event_to_a_case() {
    let mut world = listening(CORRELATED, "");
    deliver(&mut world, 1, event("shipped", "s2", json!(2)));
    assert_eq!(world.phase(), Phase::Waiting);
    deliver(&mut world, 2, event("shipped", "s1", json!(1)));
    assert_eq!(world.output(), json!([1]));
}

#[test]
fn an_event_addressed_to_the_case_is_for_it() {
    let mut world = listening(CORRELATED, "");
    let id = world.id.to_string();
    deliver(&mut world, 1, event("shipped", &id, json!(1)));
    assert_eq!(world.output(), json!([1]));
}

#[test]
fn without_an_expectation_the_first_value_is_expected() {
    let filters = "{all: [{with: {type: t}, correlate: {room: {from: .room}}}, {with: {type: h}, correlate: {room: {from: .room}}}]}";
    let mut world = listening(filters, "");
    let reading = |kind: &str, room: u64| {
        let mut event = event(kind, "", json!({"r": room}));
        event["room"] = json!(room);
        event
    };
    deliver(&mut world, 1, reading("t", 1));
    deliver(&mut world, 2, reading("h", 2));
    assert_eq!(world.phase(), Phase::Waiting);
    deliver(&mut world, 3, reading("h", 1));
    assert_eq!(world.output(), json!([{"r": 1}, {"r": 1}]));
}

#[test]
fn an_event_is_taken_once() {
    let mut world = world(
        "do:
  - first: {listen: {to: {one: {with: {type: a}}}}, export: {as: .}}
  - second: {listen: {to: {one: {with: {type: a}}}}}
output: {as: '[$context[0], .[0]]'}
",
    );
    world.start(json!({}));
    deliver(&mut world, 1, event("a", "", json!(1)));
    deliver(&mut world, 1, event("a", "", json!(1)));
    assert_eq!(world.phase(), Phase::Waiting);
    deliver(&mut world, 2, event("a", "", json!(2)));
    assert_eq!(world.output(), json!([1, 2]));
}

#[test]
fn an_event_ends_a_race_against_a_timer() {
    let mut world = world(
        "do:
  - race:
      fork:
        compete: true
        branches:
          - told: {listen: {to: {one: {with: {type: a}}}}, output: {as: '{ by: \"event\" }'}}
          - asked: {do: [{pause: {wait: PT1H}}], output: {as: '{ by: \"timer\" }'}}
",
    );
    world.start(json!({}));
    deliver(&mut world, 1, event("a", "", json!(1)));
    assert_eq!(world.output(), json!({"by": "event"}));
}

#[test]
fn many_events_are_heard_in_one_go_up_to_the_first_that_is_taken() {
    let mut world = world(
        "do: [{one: {listen: {to: {one: {with: {type: t, data: '${ .n >= 3 }'}}}}}}, {two: {listen: {to: {one: {with: {type: u}}}}}}]\n",
    );
    world.start(json!({}));
    let events = |world: &World, from: u64, to: u64| {
        let event = |n| world::event("t", "", json!({"n": n}));
        let all = (from..=to).flat_map(|n| (*world.incoming(n, event(n))).clone());
        Command::Deliver(Arc::new(all.collect()))
    };
    let told = events(&world, 1, 2);
    world.tell_once(&told).unwrap();
    assert_eq!((world.heard, world.state().version), (2, 3), "nobody wants them");
    let told = events(&world, 1, 5);
    world.tell_once(&told).unwrap();
    assert_eq!(world.heard, 3, "what comes behind it meets another state");
    assert_eq!(world.try_tell(told), Err(Rejection::NotListening));
}

#[test]
fn filters_that_run_apart_are_heard_one_at_a_time() {
    let filter = "${ ([range(10)] | length) > 0 and .n >= 3 }";
    let mut world = listening(&format!("{{one: {{with: {{type: t, data: '{filter}'}}}}}}"), "");
    let event = |n| world::event("t", "", json!({"n": n}));
    let all = (1..=3).flat_map(|n| (*world.incoming(n, event(n))).clone()).collect();
    // the context has fetched one result, and has none of the second event's yet
    world.ctx.known_apart = Some(1);
    world.tell_once(&Command::Deliver(Arc::new(all))).unwrap();
    assert_eq!(world.heard, 1, "others may come in between");
}
