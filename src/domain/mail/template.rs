//! Texts of mails: minijinja over data, with what bounds its time, and its memory.
//!
//! minijinja counts steps but not bytes. So a template has no way to make a text longer and longer:
//! no macros, blocks, captured text or namespaces, whose texts would grow from turn to turn; few
//! places where texts are put together; filters whose results are no longer than what went in, or
//! bounded here; an output that is cut off.

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use minijinja::{filters, tests as checks};
use serde_json::Value as Json;

/// Steps that rendering one text may take.
const FUEL: u64 = 100_000;

/// Bytes that one rendered text may have.
const TEXT_MAX: usize = 256 * 1024;

/// Places of one template where texts are put together: each may double what there is.
const JOINTS: usize = 8;

/// Numbers that `range` gives at the most.
const RANGE_MAX: i64 = 10_000;

/// Statements that keep text, and what would be made of it, from turn to turn.
const REFUSED: [&str; 9] =
    ["macro", "call", "filter", "block", "extends", "include", "import", "from", "autoescape"];

/// Whether a text is a template, before there is data for it.
///
/// # Errors
/// What is wrong with it.
pub fn check(source: &str) -> Result<(), String> {
    bounded(source)?;
    let mut env = Environment::empty();
    env.add_template("text", source).map_err(|e| format!("this is no template: {}", say(&e)))
}

/// Renders a text.
///
/// # Errors
/// What is wrong with it, or too much.
pub fn render(source: &str, data: &Json, escape: AutoEscape) -> Result<String, String> {
    let failed = |what: String| format!("the mail's text cannot be made: {what}");
    bounded(source).map_err(failed)?;
    let env = environment(escape);
    let template = env.template_from_str(source).map_err(|e| failed(say(&e)))?;
    let mut out = Bounded { text: Vec::new(), full: false };
    let rendered = template.render_captured_to(Serde(data), &mut out).map(drop);
    if out.full {
        return Err(format!("a text of the mail is longer than {} KiB", TEXT_MAX / 1024));
    }
    rendered.map_err(|e| failed(say(&e)))?;
    String::from_utf8(out.text).map_err(|_| failed("it is no text".to_owned()))
}

/// A text while it is written, as long as there is room.
struct Bounded {
    text: Vec<u8>,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > TEXT_MAX {
            self.full = true;
            return Err(io::Error::other("too long"));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment(escape: AutoEscape) -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_fuel(Some(FUEL));
    // a customer must not get a mail with a hole in it
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    env.set_syntax(syntax.expect("only the newline differs from the default"));
    env.set_auto_escape_callback(move |_| escape.clone());
    env.add_filter("safe", filters::safe);
    env.add_filter("escape", filters::escape);
    env.add_filter("e", filters::escape);
    env.add_filter("lower", filters::lower);
    env.add_filter("upper", filters::upper);
    env.add_filter("title", filters::title);
    env.add_filter("capitalize", filters::capitalize);
    env.add_filter("trim", filters::trim);
    env.add_filter("length", filters::length);
    env.add_filter("count", filters::length);
    env.add_filter("items", filters::items);
    env.add_filter("reverse", filters::reverse);
    env.add_filter("default", filters::default);
    env.add_filter("d", filters::default);
    env.add_filter("round", filters::round);
    env.add_filter("abs", filters::abs);
    env.add_filter("int", filters::int);
    env.add_filter("float", filters::float);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("min", filters::min);
    env.add_filter("max", filters::max);
    env.add_filter("join", join);
    env.add_filter("replace", replace);
    env.add_test("defined", checks::is_defined);
    env.add_test("undefined", checks::is_undefined);
    env.add_test("none", checks::is_none);
    env.add_test("number", checks::is_number);
    env.add_test("string", checks::is_string);
    env.add_test("sequence", checks::is_sequence);
    env.add_test("mapping", checks::is_mapping);
    env.add_test("odd", checks::is_odd);
    env.add_test("even", checks::is_even);
    env.add_function("range", range);
    env
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, "a text is too long")
}

fn join(value: Value, joint: Option<String>, _: Kwargs) -> Result<String, Error> {
    let joint = joint.unwrap_or_default();
    let mut out = String::new();
    for (place, item) in value.try_iter()?.enumerate() {
        if place > 0 {
            out.push_str(&joint);
        }
        match item.kind() {
            ValueKind::String => out.push_str(item.as_str().unwrap_or_default()),
            _ => out.push_str(&item.to_string()),
        }
        if out.len() > TEXT_MAX {
            return Err(too_long());
        }
    }
    Ok(out)
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let found = if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
    match found.checked_mul(to.len()) {
        Some(more) if text.len() + more <= TEXT_MAX => Ok(text.replace(from, to)),
        _ => Err(too_long()),
    }
}

fn range(from: i64, to: Option<i64>) -> Result<Vec<i64>, Error> {
    let (from, to) = to.map_or((0, from), |to| (from, to));
    match to.saturating_sub(from) {
        length if length <= RANGE_MAX => Ok((from..to).collect()),
        _ => Err(Error::new(ErrorKind::InvalidOperation, "a range is too long")),
    }
}

/// Refuses what could make a text longer and longer.
fn bounded(source: &str) -> Result<(), String> {
    let mut joints = 0;
    for tag in tags(source) {
        let mut words = words(tag.inside);
        if tag.statement {
            let word = words.clone().next().unwrap_or_default();
            let captures = word == "set" && !has_outside_of_texts(tag.inside, "=");
            if REFUSED.contains(&word) || captures || words.any(|word| word == "recursive") {
                return Err(format!(
                    "line {}: `{word}` is not for the texts of mails: make the text in an \
                     expression, and put it into `data`",
                    tag.line
                ));
            }
        }
        joints += count_outside_of_texts(tag.inside, &['~', '+']);
        if has_outside_of_texts(tag.inside, "*") {
            return Err(format!("line {}: `*` is not for the texts of mails", tag.line));
        }
    }
    if joints > JOINTS {
        return Err(format!(
            "`~` and `+` stand {joints} times in it, where {JOINTS} may: put texts side by side"
        ));
    }
    Ok(())
}

/// A tag of a template.
struct Tag<'a> {
    inside: &'a str,
    /// `{% … %}` rather than `{{ … }}`.
    statement: bool,
    line: usize,
}

fn tags(source: &str) -> Vec<Tag<'_>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(place) = source[at..].find('{') {
        let start = at + place;
        let (statement, close) = match source.as_bytes().get(start + 1) {
            Some(b'%') => (true, "%}"),
            Some(b'{') => (false, "}}"),
            _ => {
                at = start + 1;
                continue;
            }
        };
        let inside = &source[start + 2..];
        let length = inside.find(close).unwrap_or(inside.len());
        let line = 1 + source[..start].matches('\n').count();
        found.push(Tag { inside: inside[..length].trim_matches(['-', '+']), statement, line });
        at = start + 2 + length;
    }
    found
}

fn words(inside: &str) -> impl Iterator<Item = &str> + Clone {
    inside.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn has_outside_of_texts(inside: &str, wanted: &str) -> bool {
    let mark = wanted.chars().next().unwrap_or_default();
    count_outside_of_texts(inside, &[mark]) > 0
}

/// How often characters stand in a tag, outside of quoted texts.
fn count_outside_of_texts(inside: &str, wanted: &[char]) -> usize {
    let (mut quote, mut escaped, mut count) = (None, false, 0);
    for c in inside.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => count += usize::from(wanted.contains(&c)),
        }
    }
    count
}

fn say(error: &Error) -> String {
    let kind = error.kind().to_string();
    match (error.detail(), error.line()) {
        (Some(detail), Some(line)) => format!("{kind}: {detail} (line {line})"),
        (Some(detail), None) => format!("{kind}: {detail}"),
        (None, Some(line)) => format!("{kind} (line {line})"),
        (None, None) => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(source: &str, data: Json) -> Result<String, String> {
        render(source, &data, AutoEscape::None)
    }

    #[test]
    fn what_mails_need_is_there() {
        let source = "{% set n = 2 %}{% for i in items if i.n > 0 %}{{ loop.index + 1 }}: \
                      {{ i.name|upper|default('-') ~ '!' }}{% if not loop.last %}, {% endif %}\
                      {% endfor %} {{ n }} {{ [1, 2]|join('/') }} {{ 'a-b'|replace('-', ' ') }}";
        let data = json!({"items": [{"n": 1, "name": "a"}, {"n": 0}, {"n": 2, "name": "b*+~"}]});
        assert_eq!(text(source, data).unwrap(), "2: A!, 3: B*+~! 2 1/2 a b");
    }

    #[test]
    fn nothing_makes_a_text_longer_and_longer() {
        let x = json!({"x": "x".repeat(100_000), "a": "a".repeat(100_000)});
        for source in [
            "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "{{ x|indent(2000000000) }}",
            "{{ '%2000000000d'|format(1) }}",
            "{{ x|center(2000000000) }}",
            "{% set s %}{% for i in range(9999) %}{{ x }}{% endfor %}{% endset %}",
            "{% macro m(s) %}{{ m(s ~ s) }}{% endmacro %}{{ m(x) }}",
            "{% for s in [x] recursive %}{{ loop([s ~ s]) }}{% endfor %}",
            "{{ x ~ x ~ x ~ x ~ x ~ x ~ x ~ x ~ x ~ x }}",
            "{{ x * 900 }}",
            "{{ a|replace('a', x) }}",
            "{{ range(9999)|join(x) }}",
            "{{ range(2000000000) }}",
            "{% for i in range(9999) %}{{ x }}{% endfor %}",
            "{% filter upper %}{% for i in range(9999) %}{{ x }}{% endfor %}{% endfilter %}",
        ] {
            let refused = text(source, x.clone()).expect_err(source);
            assert!(!refused.is_empty() && refused.len() < 300, "{refused}");
        }
    }
}
