//! What holds for any definition, any commands and any order of answers: replay equals live (seen
//! at every commit), no command breaks an invariant, any prefix of a history goes on, and a
//! history grows with what happens and with nothing else.

use proptest::prelude::*;
use serde_json::json;

use super::world;
use super::world::{World, done, event, failed, not_done, unknown};
use crate::domain::case::command::{Command, Verdict};
use crate::domain::case::derive;
use crate::domain::case::phase::Phase;

/// A task of a generated definition, as flow YAML.
fn task(depth: u32) -> BoxedStrategy<String> {
    let call = |method: &str, more: &str| {
        format!("{{call: http, with: {{method: {method}, endpoint: 'http://bob/x'}}{more}}}")
    };
    let reconcile = "reconcile: {call: http, with: {method: get, endpoint: 'http://bob/y'}, found: .found, output: .}";
    let undo = "compensate: {call: http, with: {method: delete, endpoint: 'http://bob/u'}}";
    let leaf = prop_oneof![
        Just("{set: {n: '${ (.n? // 0) + 1 }'}}".to_owned()),
        Just("{call: echo, with: {n: 1}}".to_owned()),
        Just(call("get", "")),
        Just(call("post", "")),
        Just(call("post", &format!(", metadata: {{{undo}}}"))),
        Just(call("post", &format!(", metadata: {{{undo}, {reconcile}}}"))),
        Just(call("get", ", timeout: {after: PT20S}")),
        Just("{wait: PT5S}".to_owned()),
        Just("{listen: {to: {one: {with: {type: t}}}}}".to_owned()),
        Just("{raise: {error: {type: 'https://x/y', status: 400}}}".to_owned()),
        Just("{if: '(.n? // 0) > 1', set: {m: 1}}".to_owned()),
        Just("{emit: {event: {with: {source: 'https://x', type: e}}}}".to_owned()),
        Just("{run: {workflow: {namespace: a, name: b, version: latest}}}".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let list = || {
        prop::collection::vec(task(depth - 1), 1..3).prop_map(|tasks| {
            let named = tasks.iter().enumerate().map(|(n, t)| format!("{{t{n}: {t}}}"));
            format!("[{}]", named.collect::<Vec<_>>().join(", "))
        })
    };
    prop_oneof![
        3 => leaf,
        1 => list().prop_map(|l| format!("{{do: {l}}}")),
        1 => list().prop_map(|l| format!("{{do: {l}, timeout: {{after: PT30S}}}}")),
        1 => (list(), any::<bool>())
            .prop_map(|(l, c)| format!("{{fork: {{compete: {c}, branches: {l}}}}}")),
        1 => list().prop_map(|l| format!("{{for: {{in: '[1, 2]'}}, do: {l}}}")),
        1 => (list(), list()).prop_map(|(a, b)| format!(
            "{{try: {a}, catch: {{do: {b}}}}}"
        )),
        1 => list().prop_map(|l| format!(
            "{{try: {l}, catch: {{retry: {{delay: PT1S, limit: {{attempt: {{count: 2}}}}}}}}}}"
        )),
    ]
    .boxed()
}

fn definition() -> impl Strategy<Value = String> {
    let tasks = prop::collection::vec(task(2), 1..4);
    (tasks, any::<bool>()).prop_map(|(tasks, suspend)| {
        let on_error = if suspend { "suspend" } else { "fault" };
        let tasks = tasks.iter().enumerate().map(|(n, t)| format!("  - r{n}: {t}\n"));
        format!(
            "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{onError: {on_error}}}}}\ndo:\n{}",
            tasks.collect::<String>()
        )
    })
}

/// Something that happens to a case.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Done,
    Found,
    Failed(i64),
    NotDone,
    Unknown,
    Pass(i64),
    NextInstant,
    Event(u64),
    Open,
    Close,
    Suspend,
    Resume,
    Cancel,
    Retry(bool),
    Crash,
    ChildEnds,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => Just(Happening::Done),
        2 => Just(Happening::Found),
        1 => Just(Happening::Failed(404)),
        1 => Just(Happening::Failed(500)),
        2 => Just(Happening::NotDone),
        2 => Just(Happening::Unknown),
        1 => (0i64..40_000).prop_map(Happening::Pass),
        4 => Just(Happening::NextInstant),
        2 => (1u64..20).prop_map(Happening::Event),
        1 => Just(Happening::Open),
        2 => Just(Happening::Close),
        1 => Just(Happening::Suspend),
        2 => Just(Happening::Resume),
        1 => Just(Happening::Cancel),
        2 => any::<bool>().prop_map(Happening::Retry),
        1 => Just(Happening::Crash),
        2 => Just(Happening::ChildEnds),
    ]
}

fn happen(world: &mut World, happening: Happening) {
    let outcome = match happening {
        Happening::Done => Some(done(json!({"n": 1}))),
        Happening::Found => Some(done(json!({"found": true, "n": 2}))),
        Happening::Failed(status) => Some(failed(status)),
        Happening::NotDone => Some(not_done()),
        Happening::Unknown => Some(unknown()),
        _ => None,
    };
    if let Some(outcome) = outcome {
        if let Some(effect) = world.effects.pop_front() {
            let (task, iteration, attempt) = (effect.task, effect.iteration, effect.attempt);
            let _ = world.try_tell(Command::Result { task, iteration, attempt, outcome });
        }
        return;
    }
    let reason = "because".to_owned();
    let command = match happening {
        Happening::Pass(millis) => {
            world.now = world.now.plus(millis);
            Command::Timer
        }
        Happening::NextInstant => {
            let Some(due) = derive::next_due(world.state()) else { return };
            world.now = world.now.max(due);
            Command::Timer
        }
        Happening::Event(position) => {
            let event = event("t", "", json!({"n": 3}));
            Command::Deliver(world.incoming(position, event))
        }
        Happening::Open => {
            world.ctx.open.insert("bob".into());
            return;
        }
        Happening::Close => {
            world.ctx.open.clear();
            Command::Admit { service: "bob".into() }
        }
        Happening::Suspend => Command::Suspend { reason },
        Happening::Resume => Command::Resume { reason },
        Happening::Cancel => Command::Cancel { reason },
        Happening::Retry(was_done) => {
            let verdict = if was_done { Verdict::Done } else { Verdict::Repeat };
            Command::Retry { reason, task: None, outcome: Some(verdict), output: None }
        }
        Happening::Crash => {
            world.effects.clear();
            Command::Recover
        }
        Happening::ChildEnds => {
            let mut child = None;
            world.state().walk(&mut |a| {
                if let Some(call) = a.call()
                    && let crate::domain::case::state::Stage::Child { case, .. } = call.stage
                {
                    child = Some(case);
                }
            });
            let Some(child) = child else { return };
            let outcome = crate::domain::case::command::ChildOutcome::Cancelled;
            Command::ChildEnded { child, outcome }
        }
        _ => return,
    };
    let _ = world.try_tell(command);
}

/// Brings a case to its end, whatever it takes.
fn finish(world: &mut World) {
    world.ctx.open.clear();
    for _ in 0..500 {
        if world.phase().ended() && !derive::owes(world.state()) {
            return;
        }
        for happening in [
            Happening::Close,
            Happening::Found,
            Happening::NextInstant,
            Happening::Resume,
            Happening::Retry(true),
            Happening::ChildEnds,
        ] {
            happen(world, happening);
        }
        world.now = world.now.plus(60_000);
        let position = world.state().version + 1000;
        happen(world, Happening::Event(position));
    }
    panic!("it never ends: {:#?}", world.state());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 500 } else { 3000 }))]

    #[test]
    fn whatever_happens(
        body in definition(),
        happenings in prop::collection::vec(happening(), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut world = world(&body);
        world.start(json!({"n": 0}));
        for happening in happenings {
            happen(&mut world, happening);
        }
        // any prefix of the history goes on, and comes to an end
        let length = cut.index(world.history.len()) + 1;
        let mut resumed = world.replayed(length);
        resumed.now = world.now;
        let _ = resumed.try_tell(Command::Recover);
        let _ = resumed.try_tell(Command::Continue);
        finish(&mut resumed);
        finish(&mut world);
    }
}

#[test]
fn a_history_grows_linearly() {
    let events = |turns: usize| {
        let mut world = world(
            "do:
  - again: {call: echo, with: {n: '${ (.n // 0) + 1 }'}}
  - more: {switch: [{yes: {when: .n < $context.most, then: again}}]}
",
        );
        world.start(json!({"most": turns}));
        world.settle_echoes();
        assert_eq!(world.phase(), Phase::Completed);
        world.history.len()
    };
    assert_eq!(events(300) - events(200), events(200) - events(100));
}

#[test]
fn a_state_does_not_grow_with_its_history() {
    let size = |turns: u64| {
        let mut world = world(
            "do:
  - pause: {wait: PT1M}
  - ask: {call: echo, with: {n: '${ .n }'}}
  - more: {switch: [{yes: {then: pause}}]}
",
        );
        world.start(json!({"n": 1}));
        for _ in 0..turns {
            world.pass_to_next();
            world.settle_echoes();
        }
        serde_json::to_string(world.state()).unwrap().len()
    };
    assert!(size(400) <= size(20) + 20);
}
