//! Children under a key: begun or joined, never cancelled by who joined them. And documents that workers name.

use serde_json::json;

use super::world::{World, done, world};
use crate::domain::case::command::{ChildOutcome, Command};
use crate::domain::case::derive;
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::phase::Phase;
use crate::domain::ids::CaseId;

const JOINS: &str =
    "{run: {workflow: {namespace: a, name: b, version: latest}}, metadata: {key: '${ .order }'}}";

fn begun(world: &mut World, order: &str) -> (Effect, CaseId) {
    world.start(json!({"order": order}));
    let effect = world.effect();
    let Ask::Run(child) = &effect.ask else { panic!("{effect:?}") };
    let id = child.id;
    (effect, id)
}

fn told(child: CaseId) -> serde_json::Value {
    json!({"case": child.to_string(), "begun": true, "sameInput": true})
}

#[test]
fn the_same_key_is_the_same_child() {
    let child = |order: &str| begun(&mut world(&format!("do: [{{sub: {JOINS}}}]\n")), order).1;
    assert_eq!(child("4711"), child("4711"));
    assert_ne!(child("4711"), child("4712"));
    assert_eq!(child("4711"), CaseId::of_key("a", "b", "4711"));
}

#[test]
fn one_that_is_not_awaited_says_which_case_it_is() {
    let body = format!("do: [{{sub: {}}}]\n", JOINS.replace("run: {", "run: {await: false, "));
    let mut world = world(&body);
    let (effect, child) = begun(&mut world, "4711");
    world.answer(&effect, done(told(child)));
    assert_eq!(world.output(), told(child));
}

#[test]
fn a_key_that_is_no_text_is_an_error() {
    let mut world = world(&format!("do: [{{sub: {JOINS}}}]\n"));
    world.start(json!({"order": 4711}));
    assert!(world.error().detail.unwrap().contains("`key` has to be a text"));
}

#[test]
fn a_branch_that_leaves_takes_no_other_along() {
    let mut world = world(&format!(
        "do:\n  - both:\n      fork:\n        branches:\n          - patient: {JOINS}\n          \
         - hasty: {{try: [{{sub: {}}}], catch: {{do: []}}}}\n",
        JOINS.replace("{run:", "{timeout: {after: PT1S}, run:")
    ));
    world.start(json!({"order": "4711"}));
    let (first, second) = (world.effects.pop_front().unwrap(), world.effects.pop_front().unwrap());
    let child = CaseId::of_key("a", "b", "4711");
    world.answer(&first, done(told(child)));
    world.answer(&second, done(told(child)));
    world.pass(1000);
    let left = world.effect();
    assert!(matches!(left.ask, Ask::LeaveChild), "{left:?}");
    world.tell(Command::ChildLeft { task: left.task, iteration: left.iteration });
    assert_eq!(world.phase(), Phase::Waiting, "the other waits still\n{}", world.told());
    let outcome = ChildOutcome::Completed(json!({"m": 2}).into());
    world.tell(Command::ChildEnded { child, outcome });
    assert_eq!(world.phase(), Phase::Completed, "{}", world.told());
    assert_eq!(world.output()[0], json!({"m": 2}));
    assert!(!derive::owes(world.state()));
}

#[test]
fn a_cancelled_case_leaves_its_child_alone() {
    let mut world = world(&format!("do: [{{sub: {JOINS}}}]\n"));
    let (effect, child) = begun(&mut world, "4711");
    world.answer(&effect, done(told(child)));
    world.tell(Command::Cancel { reason: "no".into() });
    let left = world.effect();
    assert!(matches!(left.ask, Ask::LeaveChild), "{left:?}");
    world.tell(Command::ChildLeft { task: left.task, iteration: left.iteration });
    assert_eq!(world.phase(), Phase::Cancelled);
    assert!(!derive::owes(world.state()));
}

#[test]
fn a_cancel_overtakes_a_child_that_is_being_joined() {
    let mut world = world(&format!("do: [{{sub: {JOINS}}}]\n"));
    let (effect, child) = begun(&mut world, "4711");
    world.tell(Command::Cancel { reason: "no".into() });
    world.answer(&effect, done(told(child)));
    while world.phase() != Phase::Cancelled {
        let left = world.effect();
        assert!(matches!(left.ask, Ask::LeaveChild), "{left:?}");
        world.tell(Command::ChildLeft { task: left.task, iteration: left.iteration });
    }
    assert!(!derive::owes(world.state()));
}
