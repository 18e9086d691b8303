//! Expressions from outside: what they give, what they refuse, and that none of them escapes its
//! bounds.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::meter::{Limits, Overrun};
use super::{Arg, Expr, Failure, Scope, Used, Var, truthy};

fn scope() -> Scope {
    Scope {
        args: &[Arg::Context, Arg::Input, Arg::Workflow],
        locals: vec!["item".into(), "error".into()],
    }
}

fn compile(source: &str) -> Expr {
    Expr::compile(source, &scope()).unwrap_or_else(|e| panic!("{source}: {e:?}"))
}

fn bind(used: &Used) -> Arc<Json> {
    Arc::new(match &used.var {
        Var::Arg(Arg::Context) => json!({"customer": {"name": "Ann"}}),
        Var::Arg(Arg::Workflow) => json!({"id": "case_1"}),
        Var::Local(name) => json!(format!("the {name}")),
        Var::Arg(_) => json!({"delay": 2}),
    })
}

fn evaluate(source: &str, input: Json) -> Result<Json, Failure> {
    compile(source).evaluate(&input, bind, Limits::INLINE)
}

fn gives(source: &str, input: Json, expected: Json) {
    assert_eq!(evaluate(source, input), Ok(expected), "{source}");
}

#[test]
fn paths() {
    gives(".", json!({"a": 1}), json!({"a": 1}));
    gives(".a.b", json!({"a": {"b": 2}}), json!(2));
    gives(".a.b", json!({}), json!(null));
    gives(".a?", json!(3), json!(null));
    gives("$context.customer.name", json!(null), json!("Ann"));
    gives("$item", json!(null), json!("the item"));
    assert!(matches!(evaluate(".a", json!("text")), Err(Failure::Error(_))));
}

#[test]
fn filters() {
    gives("{ ids: [ $input.delay, .id ] }", json!({"id": 7}), json!({"ids": [2, 7]}));
    gives("\"PT\\(.delay)S\"", json!({"delay": 4}), json!("PT4S"));
    gives("[.delay * 2, 900] | min", json!({"delay": 600}), json!(900));
    gives(".items | length > 0", json!({"items": [1]}), json!(true));
    gives(".colors + [\"red\"]", json!({}), json!(["red"]));
    gives("[.[] | select(.n > 1) | .n]", json!([{"n": 1}, {"n": 2}]), json!([2]));
    gives(".a |= . + 1", json!({"a": 1}), json!({"a": 2}));
    gives("del(.a)", json!({"a": 1, "b": 2}), json!({"b": 2}));
    gives("with_entries(.value += 1)", json!({"a": 1}), json!({"a": 2}));
    gives("map(.q) | add", json!([{"q": 1}, {"q": 2}]), json!(3));
    gives("\"a,b\" | split(\",\")", json!(null), json!(["a", "b"]));
    gives(". as {a: $x} | $x", json!({"a": 5}), json!(5));
    gives("@base64 \"\\(.)\"", json!("hi"), json!("aGk="));
    gives("empty", json!(1), json!(null));
    gives("tojson | fromjson", json!({"a": [1]}), json!({"a": [1]}));
    gives("[limit(3; range(10))]", json!(null), json!([0, 1, 2]));
    gives("test(\"^a\")", json!("abc"), json!(true));
    gives("reduce .[] as $n (0; . + $n)", json!([1, 2, 3]), json!(6));
    gives("def twice: . * 2; twice", json!(4), json!(8));
    gives("try error(\"no\") catch .", json!(null), json!("no"));
    gives(".[1:]", json!([1, 2, 3]), json!([2, 3]));
    gives("to_entries[0].key", json!({"k": 1}), json!("k"));
    gives("has(\"a\")", json!({"a": null}), json!(true));
    gives("[\"a\", \"b\"] | index(\"b\")", json!(null), json!(1));
    gives("4 / 2", json!(null), json!(2));
}

#[test]
fn only_what_may_run_long_runs_apart() {
    for inline in [".a", ".a + 1", "map(.x) | add", "{a: .b}", "[.[] | select(.n)]", ".x // 1"] {
        assert!(!compile(inline).runs_apart(), "{inline}");
    }
    for apart in ["..", "range(3)", "def f: f; f", "reduce .[] as $x (0; .)", "test(\"a\")"] {
        assert!(compile(apart).runs_apart(), "{apart}");
    }
}

#[test]
fn names_what_it_uses() {
    let expr = compile("[$workflow.id, $context.a, $context.b]");
    assert!(expr.used[0].wants("id") && !expr.used[0].wants("definition"));
    assert!(expr.used[1].wants("b") && !expr.used[1].wants("c"));
    let whole = compile("[$workflow, $workflow.id]");
    assert!(whole.used[0].wants("definition"));
}

#[test]
fn refusals_say_what_and_where() {
    let check = |source: &str, detail: &str, fix: &str| {
        let no = Expr::compile(source, &scope()).expect_err(source);
        assert!(no.detail.contains(detail), "{source}: {}", no.detail);
        assert!(no.fix.contains(fix), "{source}: {}", no.fix);
        no.offset
    };
    assert_eq!(check(".a | lenght", "`lenght` is not known", "`length`"), 5);
    assert_eq!(check("$wokflow.id", "`$wokflow` is not known", "$workflow"), 0);
    check("$secrets.a", "not known here", "$context");
    check(".a +", "ends too early", "term");
    check("", "ends too early", "term");
    check("{a: }", "no jq", "write a term here");
    check("env.PATH", "`env`", "outside");
    check("halt", "`halt`", "outside");
    check("halt_error", "`halt_error`", "outside");
    check("input", "`input`", "outside");
    check(&"(".repeat(500), "nests too deep", "at most");
    check(&".".repeat(9000), "9000 characters", "below");
}

fn overruns(source: &str, limits: Limits) {
    let outcome = std::thread::Builder::new()
        .stack_size(Limits::APART_STACK)
        .spawn({
            let expr = compile(source);
            move || expr.evaluate(&json!([1, 2, 3]), bind, limits)
        })
        .unwrap()
        .join()
        .unwrap();
    assert!(
        matches!(outcome, Err(Failure::Overrun(_)))
            || matches!(&outcome, Err(Failure::Error(text)) if text.contains("larger") || text.contains("deeper") || text.contains("longer")),
        "{source}: {outcome:?}"
    );
}

#[test]
fn nothing_escapes_its_bounds() {
    for source in [
        "def f(x): f(x + 1); f(1)",
        "def f(x): f(x | .a); f(.)",
        "def f(x): f([x]); f(1)",
        "def f(x): f(x, 1); f(1)",
        "def f(x): def g: f(x + 1); g; f(1)",
        "def f($x): f($x + 1); f(1)",
        "[range(1e12)]",
        "[range(1e12) | select(false)]",
        "last(range(1e12))",
        "reduce range(1e9) as $i (0; . + 1)",
        "reduce range(1e9) as $i (.; [.])",
        "def f: 1 + f; f",
        "def f: [f]; f",
        "until(false; . + [1])",
        "[recurse([.])]",
        "[repeat(.)]",
        "\"x\" * 1e10",
        "\"x\" * 100000 | [., ., ., .]",
        "reduce range(64) as $i (\"xx\"; . + .)",
        "reduce range(64) as $i ([1]; . + .)",
        "[combinations(9)]",
        "[.[] as $a | range(1e9)]",
    ] {
        overruns(source, Limits { fuel: 500_000, ..Limits::APART });
    }
}

#[test]
fn an_inline_overrun_is_told_apart_from_an_error() {
    let expr = compile("[.[] as $a | .[] as $b | .[] as $c | $a + $b + $c] | length");
    let many = Json::from((0..300).collect::<Vec<i32>>());
    assert_eq!(expr.evaluate(&many, bind, Limits::INLINE), Err(Failure::Overrun(Overrun::Fuel)));
}

#[test]
fn truth_is_jqs() {
    assert!(truthy(&json!(0)) && truthy(&json!("")) && truthy(&json!([])));
    assert!(!truthy(&json!(null)) && !truthy(&json!(false)));
}

proptest! {
    #[test]
    fn no_source_panics(source in "[.a-z$|+*(){}\\[\\]\", :0-9?/=<>-]{0,40}") {
        if let Ok(expr) = Expr::compile(&source, &scope()) {
            let limits = Limits { fuel: 20_000, built: 5_000, stack: 512 << 10, ..Limits::INLINE };
            let _ = expr.evaluate(&json!({"a": [1, {"b": "x"}]}), bind, limits);
        }
    }
}
