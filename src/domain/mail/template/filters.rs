//! The filters, tests and functions of the texts of mails, and how much each may make of what it
//! is given.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja::{filters, tests as checks};

use super::{RANGE_MAX, TEXT_MAX};

/// How large a filter's result is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// It is a number, or an error.
    Number,
    /// It is a part of what went in.
    Part,
    /// It is at most so many times what went in.
    Times(u64),
    /// It is cut off at what a text may have.
    Text,
}

/// Every filter that there is.
const FILTERS: [(&str, Growth); 33] = [
    ("length", Growth::Number),
    ("count", Growth::Number),
    ("round", Growth::Number),
    ("abs", Growth::Number),
    ("int", Growth::Number),
    ("float", Growth::Number),
    ("sum", Growth::Number),
    ("default", Growth::Part),
    ("d", Growth::Part),
    ("first", Growth::Part),
    ("last", Growth::Part),
    ("min", Growth::Part),
    ("max", Growth::Part),
    ("safe", Growth::Times(1)),
    ("string", Growth::Times(1)),
    ("trim", Growth::Times(1)),
    // a list of small parts takes a place for each
    ("items", Growth::Times(32)),
    ("reverse", Growth::Times(32)),
    ("list", Growth::Times(32)),
    ("sort", Growth::Times(32)),
    ("dictsort", Growth::Times(32)),
    ("unique", Growth::Times(32)),
    ("map", Growth::Times(32)),
    ("lines", Growth::Times(32)),
    ("split", Growth::Times(32)),
    // one character may become three, or six when it is escaped
    ("lower", Growth::Times(3)),
    ("upper", Growth::Times(3)),
    ("title", Growth::Times(3)),
    ("capitalize", Growth::Times(3)),
    ("escape", Growth::Times(6)),
    ("e", Growth::Times(6)),
    ("join", Growth::Text),
    ("replace", Growth::Text),
];

const TESTS: [&str; 9] =
    ["defined", "undefined", "none", "number", "string", "sequence", "mapping", "odd", "even"];

/// How much a filter makes, if there is one of this name.
pub fn growth(name: &str) -> Option<Growth> {
    FILTERS.iter().find(|(known, _)| *known == name).map(|(_, growth)| *growth)
}

/// What to say about a filter that there is not.
pub fn unknown(name: &str) -> String {
    let known: Vec<&str> = FILTERS.iter().map(|(known, _)| *known).collect();
    format!("there is no filter `{name}`: there are {}", known.join(", "))
}

/// Whether there is a test of this name.
pub fn is_test(name: &str) -> bool {
    TESTS.contains(&name)
}

/// Adds all of them.
pub fn add_to(env: &mut Environment<'_>) {
    env.add_filter("length", filters::length);
    env.add_filter("count", filters::length);
    env.add_filter("round", filters::round);
    env.add_filter("abs", filters::abs);
    env.add_filter("int", filters::int);
    env.add_filter("float", filters::float);
    env.add_filter("sum", filters::sum);
    env.add_filter("default", filters::default);
    env.add_filter("d", filters::default);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("min", filters::min);
    env.add_filter("max", filters::max);
    env.add_filter("safe", filters::safe);
    env.add_filter("string", filters::string);
    env.add_filter("trim", filters::trim);
    env.add_filter("items", filters::items);
    env.add_filter("reverse", filters::reverse);
    env.add_filter("list", filters::list);
    env.add_filter("sort", filters::sort);
    env.add_filter("dictsort", filters::dictsort);
    env.add_filter("unique", filters::unique);
    env.add_filter("map", filters::map);
    env.add_filter("lines", filters::lines);
    env.add_filter("split", filters::split);
    env.add_filter("lower", filters::lower);
    env.add_filter("upper", filters::upper);
    env.add_filter("title", filters::title);
    env.add_filter("capitalize", filters::capitalize);
    env.add_filter("escape", filters::escape);
    env.add_filter("e", filters::escape);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_and_test_that_is_named_is_there() {
        let mut env = Environment::empty();
        add_to(&mut env);
        let there = |text: &str| {
            let said = match env.render_str(text, ()) {
                Ok(_) => return,
                Err(error) => error.kind(),
            };
            assert!(!matches!(said, ErrorKind::UnknownFilter | ErrorKind::UnknownTest), "{text}");
        };
        for (name, _) in FILTERS {
            there(&format!("{{{{ 'a'|{name} }}}}"));
        }
        for name in TESTS {
            there(&format!("{{{{ 'a' is {name} }}}}"));
        }
    }
}
