//! Texts of mails: minijinja over data, with what bounds its time, and its memory.
//!
//! minijinja counts steps but not bytes. So what a template may make is told from its syntax before
//! it is compiled (`price`), the filters are those whose results are known to be small enough
//! (`filters`), and the output is cut off.

mod filters;
mod price;

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value, escape_formatter};
use serde_json::Value as Json;

use price::price;

/// Steps that rendering one text may take.
const FUEL: u64 = 100_000;

/// Steps that it may take however large its values are.
const FUEL_MIN: u64 = 2_000;

/// Bytes that its operators may copy or look through, all together: some seconds.
const TOUCHED_MAX: u64 = 64 << 30;

/// Bytes that one rendered text may have.
const TEXT_MAX: usize = 256 * 1024;

/// Numbers that `range` gives at the most.
const RANGE_MAX: i64 = 10_000;

/// Bytes of the data that a template is weighed with while there is none yet.
const SMALL_DATA: usize = 1024;

/// Whether a text is a template, before there is data for it.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn check(source: &str) -> Result<(), String> {
    price(source, SMALL_DATA)?;
    let mut env = Environment::empty();
    env.set_syntax(syntax());
    env.add_template("text", source).map_err(|e| format!("this is no template: {}", say(&e)))
}

/// Renders a text.
///
/// # Errors
/// What is wrong with it, or too much.
pub fn render(source: &str, data: &Json, escape: AutoEscape) -> Result<String, String> {
    let failed = |what: String| format!("the mail's text cannot be made: {what}");
    let price = price(source, data.to_string().len()).map_err(failed)?;
    let mut env = environment(escape);
    env.set_fuel(Some((TOUCHED_MAX / price.largest.max(1)).clamp(FUEL_MIN, FUEL)));
    let template = env.template_from_str(source).map_err(|e| failed(say(&e)))?;
    let mut out = Bounded::default();
    let rendered = template.render_captured_to(Serde(data), &mut out).map(drop);
    if out.full {
        return Err(format!("a text of the mail is longer than {} KiB", TEXT_MAX / 1024));
    }
    rendered.map_err(|e| failed(say(&e)))?;
    String::from_utf8(out.text).map_err(|_| failed("it is no text".to_owned()))
}

/// A text while it is written, as long as there is room.
#[derive(Default)]
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
    // a customer must not get a mail with a hole in it
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    env.set_syntax(syntax());
    env.set_auto_escape_callback(move |_| escape.clone());
    filters::add_to(&mut env);
    // a list is written as a text that is bounded before it is escaped
    env.set_formatter(|out, state, value| match filters::is_scalar(value) {
        true => escape_formatter(out, state, value),
        false => escape_formatter(out, state, &Value::from(filters::text_of(value)?)),
    });
    env
}

fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    syntax.expect("only the newline differs from the default")
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
    fn a_bill_can_be_summed_up() {
        let source = "{% for i in items|sort(attribute='n') %}{{ i.name }} {{ (i.n|int) * \
                      (i.price|float) }}\n{% endfor %}{{ items|map(attribute='price')|sum }} \
                      {{ 2 * 3 * loops|length }} {{ total * 2 if total is string else '' }}";
        let refused = text(source, json!({})).unwrap_err();
        assert!(refused.contains("line 2: `*` could repeat a text"), "{refused}");
        let source = source.replace("total * 2", "total");
        let items =
            json!([{"n": 3, "name": "nut", "price": 0.5}, {"n": 2, "name": "bolt", "price": 2}]);
        let data = json!({"items": items, "loops": [1], "total": "7.5"});
        assert_eq!(text(&source, data).unwrap(), "bolt 4.0\nnut 1.5\n2.5 6 7.5");
    }

    #[test]
    fn what_is_nested_without_end_is_refused_before_anything_recurses() {
        let many = 100_000;
        for source in [
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(many)),
            format!("{{{{ a{} }}}}", "|upper".repeat(many)),
            format!("{{{{ a{} }}}}", "-a".repeat(many)),
            format!("{{{{ a{} }}}}", ".a".repeat(many)),
            format!("{{{{ {}a }}}}", "not ".repeat(many)),
            format!("{{{{ {}a }}}}", "-".repeat(many)),
            format!("{{{{ {}a }}}}", "(".repeat(many)),
            format!("{{{{ {}a{} }}}}", "(".repeat(40), ")".repeat(40)),
            "{% if a %}".repeat(many),
            "{% for a in a %}".repeat(many),
        ] {
            // a stack that overflows would end the process
            let small = source.len() < 1000;
            assert_eq!(check(&source).is_ok(), small, "{}", &source[..20]);
            assert_eq!(text(&source, json!({"a": 1})).is_ok(), small, "{}", &source[..20]);
        }
    }

    #[test]
    fn what_is_not_there_is_said_when_it_is_registered() {
        for (source, expected) in [
            ("a\n{{ x|uper }}", "line 2: there is no filter `uper`"),
            ("{{ x is fine }}", "there is no test `fine`"),
            ("{{ now() }}", "there is no function `now`"),
            ("{{ x.keys() }}", "there is no `keys` to call"),
        ] {
            let said = check(source).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn large_data_leaves_less_time() {
        let data = json!({"x": "a".repeat(250_000)});
        let slow = "{% for i in range(9999) %}{% if (x ~ x)|length > 1 %}{% endif %}{% endfor %}";
        assert!(text(slow, data.clone()).unwrap_err().contains("fuel"));
        assert_eq!(text("{{ x[:3] }}{{ x|length }}", data).unwrap(), "aaa250000");
    }

    #[test]
    fn a_long_bill_is_a_mail_like_any_other() {
        let item = |n: usize| json!({"n": n, "name": format!("part number {n}"), "price": 0.25});
        let items: Vec<Json> = (0..2000).map(item).collect();
        let source = "{% for i in items|sort(attribute='n', reverse=true) %}{{ loop.index }}. {{ i.name ~ ': ' \
                      ~ i.n }}/{{ items|length }} {{ i.price|round(2) }} {{ i.name|upper }}{{ ' !' if i.n == 7 else '' }}\n{% endfor %}\
                      Total {{ items|map(attribute='price')|sum }} of {{ items|sort(attribute='n')|map(attribute='name')\
                      |unique|list|length }}: {{ items|join(', ', 'n')|truncate(10) }} {{ items|sum('n') }}";
        let bill = text(source, json!({"items": items})).unwrap();
        assert!(
            bill.starts_with("1. part number 1999: 1999/2000 0.25 PART NUMBER 1999\n"),
            "{bill}"
        );
        assert!(
            bill.ends_with("Total 500.0 of 2000: 0, 1, 2... 1999000"),
            "{}",
            &bill[bill.len() - 60..]
        );
        assert_eq!(text("{% set n = 1 %}{% set n = n + 1 %}{{ n }}", json!({})).unwrap(), "2");
    }

    #[test]
    fn nothing_makes_a_text_longer_and_longer() {
        let letters = vec!["abc"; 28_000];
        let x = json!({"x": "x".repeat(100_000), "a": "a".repeat(100_000), "letters": letters});
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
            "{% for i in range(60) %}{% set x = x ~ x %}{% endfor %}",
            "{% for i in range(60) %}{% set a = b|default(x) ~ x %}{% set b = a ~ a %}{% endfor %}",
            "{% set a=[x,x,x,x,x,x,x,x,x,x] %}{% set b=[a,a,a,a,a,a,a,a,a,a] %}{% set d=[b,b,b,b,b] %}{{ d|upper|length }}",
            "{# {{ #}{% macro m(s) %}{{ m(s ~ s) }}{% endmacro %}{{ m(x) }}",
            "{{ '}}' ~ (x * 2000000000) }}",
            "{{ '}}' * 2000000000 }}",
            "{% set s|trim(q='b') %}{% for i in range(9999) %}{{ x }}{% endfor %}{% endset %}",
            "{{ [x]|map('replace', 'a', x)|list }}",
            "{{ (range(9999)|map(attribute='q', default=x))|sum(start='')|length }}",
            "{{ (range(9999)|map(attribute='q', default=x))|string|length }}",
            "{{ loop.index * 9000000 }}",
            "{% for i in [x] %}{% set loop = {'index': x} %}{{ loop.index * 900 }}{% endfor %}",
            "{{ ([]|sum(start=x)) * 900 }}",
            "{{ [x, x, x, x] }}",
            "{% set a = x ~ x ~ x ~ x %}{% set b = a|string %}{{ (b ~ b)|length }}",
            "{% set a = x ~ x ~ x ~ x %}{% set b = a|truncate(9999999) %}{{ (b ~ b)|length }}",
            "{{ [x]|map('upper') }}",
            "{% for i in range(9999) %}{% if letters|sort %}{% endif %}{% endfor %}",
            "{% for i in range(9999) %}{% if letters|unique %}{% endif %}{% endfor %}",
            "{% do range(3) %}",
            "{{ a|replace('a', x) }}",
            "{{ range(9999)|join(x) }}",
            "{{ range(2000000000) }}",
            "{% for i in range(9999) %}{{ x }}{% endfor %}",
            "{% filter upper %}{% for i in range(9999) %}{{ x }}{% endfor %}{% endfilter %}",
        ] {
            let refused = text(source, x.clone()).expect_err(source);
            assert!(!refused.is_empty() && refused.len() < 500, "{refused}");
        }
    }
}
