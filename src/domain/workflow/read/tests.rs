//! Definitions from outside: what they compile to, and what their authors are told.

use proptest::prelude::*;

use super::{Compiled, Surroundings, compile};
use crate::domain::workflow::fault::Fault;
use crate::domain::workflow::model::{Kind, OnError, Priority, Then};
use crate::domain::workflow::source::Format;

const HEAD: &str = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n";

fn read(body: &str) -> Result<Compiled, Vec<Fault>> {
    let compiled = compile(&format!("{HEAD}{body}"), Format::Yaml, &Surroundings::unknown());
    compiled.and_then(Compiled::registered_now)
}

#[test]
fn a_mail_that_an_earlier_version_took_is_still_read() {
    let text = format!(
        "{HEAD}do: [{{m: {{call: email, with: {{to: a@b.c, subject: s, text: '{{% macro m() %}}{{% endmacro %}}'}}}}}}]\n"
    );
    let compiled = compile(&text, Format::Yaml, &Surroundings::unknown()).unwrap();
    assert!(compiled.registered_now().is_err());
}

fn good(body: &str) -> Compiled {
    read(body).unwrap_or_else(|faults| panic!("{body}: {faults:#?}"))
}

/// Each expected fault: its line, a part of what is wrong and a part of what would be right.
#[track_caller]
fn faults(body: &str, expected: &[(usize, &str, &str)]) {
    let found = read(body).expect_err(body);
    let found_lines: Vec<usize> = found.iter().map(|f| f.line - 1).collect();
    assert_eq!(found_lines, expected.iter().map(|e| e.0).collect::<Vec<_>>(), "{found:#?}");
    for (fault, (_, detail, fix)) in found.iter().zip(expected) {
        assert!(fault.detail.contains(detail), "{fault:#?}");
        assert!(fault.fix.contains(fix), "{fault:#?}");
    }
}

#[test]
fn numbers_and_references_follow_the_text() {
    let compiled = good(
        "do:
  - first:
      try:
        - inner/task: {set: {a: 1}}
      catch:
        do:
          - mend: {set: {b: 1}}
  - second:
      call: echo
      metadata: {compensate: {set: {undone: true}}}
  - third:
      fork: {branches: [{left: {set: {l: 1}}}, {right: {set: {r: 1}}}]}
",
    );
    let references: Vec<_> =
        compiled.definition.tasks.iter().map(|t| t.reference.to_string()).collect();
    assert_eq!(
        references,
        [
            "/do/0/first",
            "/do/0/first/try/0/inner~1task",
            "/do/0/first/catch/do/0/mend",
            "/do/1/second",
            "/do/1/second/metadata/compensate",
            "/do/2/third",
            "/do/2/third/fork/branches/0/left",
            "/do/2/third/fork/branches/1/right",
        ]
    );
    assert!(compiled.warnings.is_empty(), "{:#?}", compiled.warnings);
}

#[test]
fn directives_and_extensions() {
    let text = "document:
  dsl: '1.0.3'
  namespace: orders
  name: order
  version: '1.0.0'
  metadata: {status: Placed, onError: suspend, priority: 7}
do:
  - a: {set: {x: 1}, then: c}
  - b: {wait: PT1S, then: end, metadata: {patience: P3D, deadline: wall, idempotent: true}}
  - c: {switch: [{one: {when: .x == 1, then: b}}, {other: {then: exit}}]}
";
    let compiled = compile(text, Format::Yaml, &Surroundings::unknown()).unwrap();
    let definition = compiled.definition;
    assert_eq!(definition.on_error, OnError::Suspend);
    assert!(matches!(definition.priority, Priority::Fixed(7)));
    assert_eq!(definition.tasks[0].then, Then::To(2));
    assert_eq!(definition.tasks[1].then, Then::End);
    let metadata = &definition.tasks[1].metadata;
    assert!(metadata.wall_deadline && metadata.idempotent);
    assert_eq!(metadata.patience.map(|p| p.millis), Some(3 * 86_400_000));
    let Kind::Switch(cases) = &definition.tasks[2].kind else { panic!() };
    assert_eq!((cases[0].then, cases[1].then), (Then::To(1), Then::Exit));
}

#[test]
fn functions_run_where_they_are_called() {
    let compiled = good(
        "use:
  functions:
    twice: {set: '${ . * 2 }'}
    unused: {set: {a: 1}}
do:
  - one: {call: twice, with: {n: 1}}
  - two: {call: twice}
",
    );
    let references: Vec<_> =
        compiled.definition.tasks.iter().map(|t| t.reference.to_string()).collect();
    assert_eq!(
        references,
        ["/do/0/one", "/do/0/one/call/twice", "/do/1/two", "/do/1/two/call/twice"]
    );
}

#[test]
fn every_fault_at_once() {
    faults(
        "do:
  - a:
      cal: http
  - b:
      set: {x: 1}
      then: nowhere
  - c:
      set: {x: '${ .a | lenght }'}
  - d:
      try: [{x: {wait: PT1S}}]
      catch: {retry: unknown}
  - e: {set: {a: 1}}
    f: {set: {a: 1}}
  - g: {wait: 30 seconds}
",
        &[
            (3, "`cal` is no type of task", "`call`"),
            (6, "`nowhere` names no task", "continue, exit, end"),
            (8, "`lenght` is not known", "`length`"),
            (11, "`unknown` is not defined", "use.retries"),
            (12, "two tasks in one list item: e, f", "- f:"),
            (14, "no ISO 8601 duration", "PT30S"),
        ],
    );
}

#[test]
fn columns_point_into_expressions() {
    let found = read("do:\n  - a: {if: .x | nott, set: {a: 1}}\n").unwrap_err();
    assert_eq!((found[0].line, found[0].column), (3, 18), "{found:#?}");
    assert_eq!(found[0].pointer, "/do/0/a/if");
}

#[test]
fn the_head_is_checked() {
    let check = |text: &str, expected: &str| {
        let found = compile(text, Format::Yaml, &Surroundings::unknown()).unwrap_err();
        assert!(found.iter().any(|f| f.detail.contains(expected)), "{text}: {found:#?}");
    };
    check("do: []", "`document` is missing");
    check("document: {dsl: '2.0.0', namespace: a, name: b, version: '1.0.0'}\ndo: []", "2.0.0");
    check("document: {dsl: '1.0.3', namespace: a_b, name: b, version: '1.0.0'}\ndo: []", "a_b");
    check("document: {dsl: '1.0.3', namespace: a, name: b, version: 1.0}\ndo: []", "a string");
    check("document: {dsl: '1.0.3', namespace: a, name: b, version: '1'}\ndo: []", "semantic");
    check("document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}", "`do` is missing");
    check("[]", "expected an object");
}

#[test]
fn what_is_not_run_yet_is_refused_by_name() {
    for (body, what) in [
        ("do: [{a: {call: grpc, with: {}}}]\n", "`call: grpc`"),
        (
            "do: [{a: {run: {script: {language: js, source: {endpoint: 'http://x/'}}}}}]\n",
            "the source of a script",
        ),
        (
            "do: [{a: {run: {shell: {command: ls}, await: false}}}]\n",
            "a process that is not awaited",
        ),
        ("do: [{a: {call: 'https://x/f.yaml'}}]\n", "catalogued"),
        ("use: {extensions: []}\ndo: []\n", "`use.extensions`"),
        ("do: [{a: {listen: {to: {any: [], until: '.x'}}}}]\n", "`until`"),
        ("do: [{a: {listen: {to: {any: []}}, foreach: {}}}]\n", "`foreach`"),
        ("evaluate: {mode: loose}\ndo: []\n", "loose"),
        ("input: {schema: {resource: {endpoint: 'http://x/s'}}}\ndo: []\n", "remote schema"),
        (
            "do: [{a: {call: http, with: {method: get, endpoint: {uri: 'http://x/', authentication: {digest: {username: a, password: b}}}}}}]\n",
            "`digest`",
        ),
    ] {
        let found = read(body).unwrap_err();
        assert_eq!(found.len(), 1, "{body}: {found:#?}");
        assert!(found[0].detail.contains(what), "{found:#?}");
        assert!(found[0].detail.contains("not supported yet"), "{found:#?}");
    }
}

#[test]
fn what_is_asked_of_people_is_checked_where_it_is_constant() {
    for (with, what) in [
        ("{call: book, with: {}}", "skill"),
        ("{call: book, with: {skill: id, minutes: 0}}", "minutes"),
        ("{call: book, with: {skill: id, minutes: 5, form: {type: strng}}}", "form"),
        ("{call: perform, with: {}}", "one of"),
        ("{call: perform, with: {skill: id, colour: red}}", "colour"),
        ("{call: perform}", "`with`"),
    ] {
        let found = read(&format!("do: [{{a: {with}}}]\n")).unwrap_err();
        assert!(found[0].detail.contains(what), "{with}: {found:#?}");
    }
    read("do: [{a: {call: book, with: {skill: id, minutes: '${ .m }'}}}]\n").unwrap();
}

#[test]
fn secrets_stay_in_calls() {
    faults(
        "do:\n  - a: {set: {password: '${ $secrets.db.password }'}}\n",
        &[(2, "`$secrets` is not known here", "call arguments and authentication only")],
    );
    good(
        "use: {secrets: [db]}
do:
  - a:
      call: http
      with:
        method: get
        endpoint:
          uri: http://db/
          authentication: {basic: {username: u, password: '${ $secrets.db.password }'}}
        headers: {x-key: '${ $secrets.db.key }'}
",
    );
}

#[test]
fn scopes_end_where_the_language_says() {
    good(
        "do: [{a: {for: {each: pet, in: .pets}, do: [{b: {set: {p: '${ [$pet, $index] }'}}}]}}]\n",
    );
    faults(
        "do:
  - a: {for: {each: pet, in: .pets}, do: [{b: {set: {p: 1}}}]}
  - c: {set: {p: '${ $pet }'}}
  - d: {try: [{x: {set: {e: '${ $err }'}}}], catch: {as: err, do: [{y: {set: {e: '${ $err }'}}}]}}
  - e: {if: $input.x, set: {a: 1}}
",
        &[
            (3, "`$pet` is not known", "known here"),
            (4, "`$err` is not known", "known here"),
            (5, "`$input` is not known", "$context"),
        ],
    );
}

#[test]
fn warnings_do_not_refuse() {
    let around = Surroundings { serves: &|host| host == "crm", has_secret: &|_| false };
    let text = format!(
        "{HEAD}use: {{secrets: [db]}}
do:
  - a: {{call: http, with: {{method: get, endpoint: 'http://crm/customers/{{id}}'}}, then: end}}
  - b: {{call: http, with: {{method: get, endpoint: 'https://Other.example:8443/x'}}}}
"
    );
    let compiled = compile(&text, Format::Yaml, &around).unwrap();
    let details: Vec<_> = compiled.warnings.iter().map(|w| w.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            "there is no secret `db`",
            "`b` is never reached",
            "no service is configured for the host `other.example`",
        ]
    );
    assert_eq!(compiled.definition.hosts, ["crm", "other.example"]);
}

#[test]
fn a_function_may_not_call_itself() {
    faults(
        "use:\n  functions:\n    f: {call: f}\ndo: [{a: {call: f}}]\n",
        &[(3, "calls itself", "loop")],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn mangled_definitions_are_refused_not_fatal(
        cut in 0usize..600, insert in "[a-z{}\\[\\]:$ \n'-]{0,6}",
    ) {
        let text = format!("{HEAD}{}", "do:
  - a: {if: .x > 1, set: {x: '${ .a + 1 }'}, then: c}
  - b: {fork: {compete: true, branches: [{l: {wait: PT1S}}, {r: {listen: {to: {one: {with: {type: t}}}}}}]}}
  - c:
      try: [{d: {call: http, with: {method: get, endpoint: 'http://x/{id}'}}}]
      catch: {errors: {with: {status: 503}}, retry: {delay: PT1S, backoff: {exponential: {}}}}
  - e: {switch: [{one: {when: .x, then: a}}]}
");
        let at = cut.min(text.len());
        let at = text.floor_char_boundary(at);
        let mangled = format!("{}{insert}{}", &text[..at], &text[at..]);
        let _ = compile(&mangled, Format::Yaml, &Surroundings::unknown());
    }
}
