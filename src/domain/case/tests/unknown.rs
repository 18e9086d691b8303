//! What is not known of a call: it did not leave, it is still under way, or nobody can say.

use serde_json::json;

use super::ledger::{UNDO, cancel, method, started};
use super::world;
use super::world::{START, done, not_done, unknown};
use crate::domain::case::command::{Command, Outcome, Verdict};
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;

#[test]
fn what_did_not_leave_counts_for_nothing() {
    let mut world = started(
        "do: [{p: {call: http, with: {method: post, endpoint: 'http://nobody/'}, timeout: {after: PT5S}}}]\n",
    );
    world.ctx.unknown.insert("nobody".into());
    for _ in 0..50 {
        world.answer_next(Outcome::NotSent);
        assert_eq!(world.phase(), Phase::Waiting);
        world.pass_to_next();
    }
    let mut misses = None;
    world.state().walk(&mut |a| misses = a.call().map(|call| call.misses));
    assert_eq!(misses, Some(0));
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn attempts_that_are_under_way_here_are_not_lost() {
    let mut world =
        started("do: [{p: {call: http, with: {method: post, endpoint: 'http://a/'}}}]\n");
    let post = world.effect();
    world.ctx.under_way.insert((post.task, post.iteration, post.attempt));
    world.tell(Command::Recover);
    world.tell(Command::Recover);
    assert_eq!(world.phase(), Phase::Running);
    world.answer(&post, done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn unknown_stays_unknown_whatever_comes_later() {
    let mut world = started(&format!(
        "do: [{{p: {{call: http, with: {{method: put, endpoint: 'http://a/'}}, metadata: {{{UNDO}}}}}}}]\n"
    ));
    world.answer_next(unknown());
    world.pass_to_next();
    world.answer_next(not_done());
    world.tell(cancel());
    // a PUT is safe: it is repeated until it is known, then undone
    assert_eq!(method(&world), "PUT");
    world.answer_next(done(json!({"id": 1})));
    assert_eq!(method(&world), "DELETE");
    world.answer_next(done(json!(null)));
    assert_eq!(world.phase(), Phase::Cancelled);
}

#[test]
fn a_silent_call_without_a_question_is_a_persons_when_the_case_is_undone() {
    let mut world = world("do: [{p: {call: http, with: {method: post, endpoint: 'http://a/'}}}]\n");
    world.start(json!({}));
    let post = world.effect();
    world.tell(cancel());
    world.answer(&post, unknown());
    assert_eq!(world.shown_wait().map(|wait| wait.kind), Some(WaitKind::Person));
    world.tell(Command::Retry {
        reason: "seen".into(),
        task: None,
        outcome: Some(Verdict::Repeat),
        output: None,
    });
    assert_eq!(world.phase(), Phase::Cancelled);
    assert!(world.now >= START);
}
