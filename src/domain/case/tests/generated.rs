//! Definitions for the simulation: every construct, calls that are safe or not, with and without a
//! compensation and a question, and what fails in the paths of errors.

use proptest::prelude::*;

/// A call of a generated definition: how safe it is, and what is known to undo and to ask.
fn call() -> impl Strategy<Value = String> {
    let method = prop_oneof![4 => Just("post"), 1 => Just("put"), 1 => Just("get")];
    let undo = prop_oneof![
        3 => Just("compensate: {call: http, with: {method: delete, endpoint: 'http://bob/undo/{id}'}}"),
        1 => Just("compensate: {do: [{u: {call: http, with: {method: delete, endpoint: 'http://bob/undo/{id}'}}}]}"),
    ];
    let ask = "reconcile: {call: http, with: {method: get, endpoint: 'http://bob/asked'}, found: .found, output: .act}";
    let more = prop_oneof![
        4 => Just(""),
        1 => Just(", timeout: {after: PT20S}"),
        1 => Just(", output: {as: '.id | ltrimstr(1)'}"),
    ];
    let known = "{uri: 'http://bob/act', authentication: {oauth2: {authority: 'http://idp', grant: client_credentials, client: {id: me, secret: s}}}}";
    let to = prop_oneof![6 => Just("'http://bob/act'"), 1 => Just(known)];
    (method, undo, any::<(bool, bool, bool)>(), more, to).prop_map(
        move |(method, undo, (undone, asked, idempotent), more, to)| {
            let mut metadata = Vec::new();
            if undone {
                metadata.push(undo);
            }
            if asked {
                metadata.push(ask);
            }
            if idempotent && method == "post" && !asked {
                metadata.push("idempotent: true");
            }
            // an output of another shape cannot be undone by it
            let more = if undone && more.contains("output") { "" } else { more };
            format!(
                "{{call: http, with: {{method: {method}, endpoint: {to}, headers: {{x: '${{ $secrets.shop.token }}'}}}}, metadata: {{{}}}{more}}}",
                metadata.join(", ")
            )
        },
    )
}

/// The calls of a loop's body are asked for with its variable.
fn with_variable(list: &str) -> String {
    if list.contains("query:") || list.contains("body:") {
        return list.to_owned();
    }
    let asked = "endpoint: 'http://bob/asked'";
    let mut list = list.replace(asked, &format!("{asked}, query: {{e: '${{ $e }}'}}"));
    for method in ["post", "put"] {
        let act = format!("method: {method}, endpoint: 'http://bob/act'");
        list = list.replace(&act, &format!("{act}, body: {{e: '${{ $e }}'}}"));
    }
    list
}

/// Tasks with one compensation for all of them.
fn undone_together(list: &str) -> String {
    format!(
        "{{do: {list}, metadata: {{compensate: {{call: http, with: {{method: delete, endpoint: 'http://bob/undo-all'}}}}}}}}"
    )
}

/// A catch that fails itself.
fn failing_catch() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("when: '.title | ltrimstr(1) | tonumber'"),
        Just("exceptWhen: '.title | error'"),
        Just("retry: {when: '.title | error', delay: PT1S, limit: {attempt: {count: 2}}}"),
    ]
}

/// A job of a generated definition.
fn job() -> impl Strategy<Value = String> {
    let undo = "metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://bob/undo/{id}'}}}";
    let more = prop_oneof![
        4 => Just(""),
        1 => Just(", timeout: {after: PT20S}"),
    ];
    let with = prop_oneof![
        3 => Just("queue: q, input: {n: 1}"),
        1 => Just("queue: q, ttl: PT30S"),
        1 => Just("queue: '${ \"q\" }', attempts: 2, priority: 8"),
    ];
    (with, any::<bool>(), more).prop_map(move |(with, undone, more)| {
        let undo = if undone { format!(", {undo}") } else { String::new() };
        format!("{{call: work, with: {{{with}}}{undo}{more}}}")
    })
}

/// A command of a generated definition, which must not be run twice.
fn process() -> impl Strategy<Value = String> {
    let undo = ", metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://bob/undo/{id}'}}}";
    let rest = prop_oneof![
        3 => Just(String::new()),
        3 => Just(undo.to_owned()),
        1 => Just(", metadata: {idempotent: true}".to_owned()),
        1 => Just(", timeout: {after: PT20S}".to_owned()),
    ];
    rest.prop_map(|rest| format!("{{run: {{shell: {{command: ls}}, return: all}}{rest}}}"))
}

fn task(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        10 => call(),
        3 => job(),
        2 => process(),
        1 => Just("{set: {n: '${ .nowhere.at.all }'}}".to_owned()),
        1 => Just("{set: {n: '${ \"x\" | ltrimstr(1) | tonumber }'}}".to_owned()),
        1 => Just("{call: echo, with: {n: 1}}".to_owned()),
        1 => Just("{wait: PT5S}".to_owned()),
        1 => Just("{listen: {to: {one: {with: {type: t}}}}}".to_owned()),
        1 => Just("{raise: {error: {type: 'https://x/y', status: 400}}}".to_owned()),
        1 => Just("{emit: {event: {with: {source: 'https://x', type: e}}}}".to_owned()),
        1 => Just("{run: {workflow: {namespace: a, name: b, version: latest}}}".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let list = || {
        prop::collection::vec(task(depth - 1), 1..4).prop_map(|tasks| {
            let named = tasks.iter().enumerate().map(|(n, t)| format!("{{t{n}: {t}}}"));
            format!("[{}]", named.collect::<Vec<_>>().join(", "))
        })
    };
    let retry = prop_oneof![
        Just("delay: PT1S, limit: {attempt: {count: 2}}"),
        Just("delay: PT1S, limit: {duration: PT10S}"),
        Just("delay: PT1S, limit: {attempt: {count: 3, duration: PT15S}}"),
        Just("backoff: {exponential: {factor: 1.5}}, delay: PT2S, limit: {attempt: {count: 2}}"),
    ];
    prop_oneof![
        4 => leaf,
        1 => list().prop_map(|l| format!("{{do: {l}}}")),
        1 => list().prop_map(|l| format!("{{do: {l}, timeout: {{after: PT30S}}}}")),
        1 => list().prop_map(|l| undone_together(&l)),
        // what was undone with others is entered again
        1 => (list(), call(), call(), retry.clone()).prop_map(|(l, last, other, r)| format!(
            "{{try: [{{race: {{fork: {{compete: true, branches: [{{a: {{do: [{{c: {}}}, {{l: {last}}}]}}}}, {{b: {other}}}]}}}}}}], catch: {{retry: {{{r}}}}}}}",
            undone_together(&l)
        )),
        1 => (list(), any::<bool>())
            .prop_map(|(l, c)| format!("{{fork: {{compete: {c}, branches: {l}}}}}")),
        1 => list().prop_map(|l| {
            format!("{{for: {{each: e, in: '[(.id? // 1), 2]'}}, do: {}}}", with_variable(&l))
        }),
        1 => (list(), list()).prop_map(|(a, b)| format!("{{try: {a}, catch: {{do: {b}}}}}")),
        1 => list().prop_map(|l| format!(
            "{{try: {l}, catch: {{errors: {{with: {{status: 418}}}}, do: [{{x: {{set: {{n: 1}}}}}}]}}}}"
        )),
        1 => (list(), failing_catch())
            .prop_map(|(l, c)| format!("{{try: {l}, catch: {{{c}, do: [{{x: {{set: {{n: 1}}}}}}]}}}}")),
        2 => (list(), retry)
            .prop_map(|(l, r)| format!("{{try: {l}, catch: {{retry: {{{r}}}}}}}")),
    ]
    .boxed()
}

pub(super) fn definition() -> impl Strategy<Value = String> {
    let tasks = prop::collection::vec(task(2), 1..5);
    (tasks, any::<(bool, bool)>()).prop_map(|(tasks, (suspend, hurried))| {
        let on_error = if suspend { "suspend" } else { "fault" };
        let timeout = if hurried { "timeout: {after: PT2M}\n" } else { "" };
        let tasks = tasks.iter().enumerate().map(|(n, t)| format!("  - r{n}: {t}\n"));
        format!(
            "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{onError: {on_error}}}}}\nuse: {{secrets: [shop]}}\n{timeout}do:\n{}",
            tasks.collect::<String>()
        )
    })
}
