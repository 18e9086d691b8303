//! The filters, tests and functions of the texts of mails: how much each may make of what it is
//! given, and what all of them together may look at.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja::{filters, tests as checks};

use super::{Bounded, RANGE_MAX, TEXT_MAX};

/// How large a filter's result is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// It is a number, or an error.
    Number,
    /// It is a part of what went in.
    Part,
    /// It is a text, at most so many times the text that went in.
    Text(u64),
    /// It is a list whose text is at most so many times that of what went in.
    List(u64),
    /// It is a text that is cut off at what a text may have.
    CutOff,
}

/// Every filter that there is.
const FILTERS: [(&str, Growth); 34] = [
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
    ("safe", Growth::Text(1)),
    ("trim", Growth::Text(1)),
    // one character may become three, or six when it is escaped
    ("lower", Growth::Text(3)),
    ("upper", Growth::Text(3)),
    ("title", Growth::Text(3)),
    ("capitalize", Growth::Text(3)),
    ("escape", Growth::Text(6)),
    ("e", Growth::Text(6)),
    ("reverse", Growth::List(1)),
    ("list", Growth::List(5)),
    ("sort", Growth::List(1)),
    ("unique", Growth::List(1)),
    ("map", Growth::List(1)),
    ("items", Growth::List(2)),
    ("dictsort", Growth::List(2)),
    // `a,b` becomes `['a', 'b']`
    ("lines", Growth::List(5)),
    ("split", Growth::List(5)),
    ("string", Growth::CutOff),
    ("join", Growth::CutOff),
    ("replace", Growth::CutOff),
    ("truncate", Growth::CutOff),
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

/// Bytes that the filters of one text may look at, all together: well under a second.
const LOOKED_AT_MAX: u64 = 256 << 20;

/// Bytes of a number, or of a place in a list.
const PLACE: u64 = 16;

/// How often what is sorted is looked at.
const SORTING: u64 = 16;

/// Adds all of them. Each is paid for before it begins.
pub fn add_to(env: &mut Environment<'_>) {
    add_unpaid(env);
    let left = Arc::new(AtomicU64::new(LOOKED_AT_MAX));
    for (name, growth) in FILTERS {
        let (left, inner) = (left.clone(), inner(name));
        env.add_filter(name, move |state: &mut State, arguments: Rest<ValueOrKwargs>| {
            let arguments = arguments.into_values();
            let first = arguments.first();
            if matches!(growth, Growth::Text(_)) && first.is_some_and(|value| !is_scalar(value)) {
                let detail = format!("`{name}` is for texts");
                return Err(Error::new(ErrorKind::InvalidOperation, detail));
            }
            let sorts = matches!(name, "sort" | "dictsort" | "unique" | "min" | "max");
            // of a list they look at a place or two
            let shallow = matches!(name, "length" | "count" | "first" | "last" | "default" | "d");
            let price: u64 = match shallow && first.is_some_and(|value| !is_scalar(value)) {
                true => PLACE,
                false => arguments.iter().map(size).sum(),
            };
            let price = price.saturating_mul(if sorts { SORTING } else { 1 });
            let pay = |left: u64| left.checked_sub(price);
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_err() {
                return Err(Error::new(ErrorKind::OutOfFuel, "its filters look at too much"));
            }
            state.apply_filter(&inner, &arguments)
        });
    }
}

/// The name of a filter that has been paid for. No template can say it.
fn inner(name: &str) -> String {
    format!("{name} ")
}

/// Whether a value is no list and no map.
pub fn is_scalar(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
}

/// About how many bytes there are to look at.
fn size(value: &Value) -> u64 {
    if let Some(text) = value.as_str() {
        return PLACE + text.len() as u64;
    }
    if is_scalar(value) {
        return PLACE;
    }
    let Ok(items) = value.try_iter() else { return PLACE };
    let of_map = value.kind() == ValueKind::Map;
    items
        .map(|item| {
            let below = if of_map { value.get_item(&item).as_ref().map_or(0, size) } else { 0 };
            size(&item).saturating_add(below)
        })
        .fold(PLACE, u64::saturating_add)
}

fn add_unpaid(env: &mut Environment<'_>) {
    env.add_filter(inner("length"), filters::length);
    env.add_filter(inner("count"), filters::length);
    env.add_filter(inner("round"), filters::round);
    env.add_filter(inner("abs"), filters::abs);
    env.add_filter(inner("int"), filters::int);
    env.add_filter(inner("float"), filters::float);
    env.add_filter(inner("sum"), sum);
    env.add_filter(inner("default"), filters::default);
    env.add_filter(inner("d"), filters::default);
    env.add_filter(inner("first"), filters::first);
    env.add_filter(inner("last"), filters::last);
    env.add_filter(inner("min"), filters::min);
    env.add_filter(inner("max"), filters::max);
    env.add_filter(inner("safe"), filters::safe);
    env.add_filter(inner("string"), string);
    env.add_filter(inner("trim"), filters::trim);
    env.add_filter(inner("items"), filters::items);
    env.add_filter(inner("reverse"), filters::reverse);
    env.add_filter(inner("list"), filters::list);
    env.add_filter(inner("sort"), filters::sort);
    env.add_filter(inner("dictsort"), filters::dictsort);
    env.add_filter(inner("unique"), filters::unique);
    env.add_filter(inner("map"), map);
    env.add_filter(inner("lines"), filters::lines);
    env.add_filter(inner("split"), filters::split);
    env.add_filter(inner("lower"), filters::lower);
    env.add_filter(inner("upper"), filters::upper);
    env.add_filter(inner("title"), filters::title);
    env.add_filter(inner("capitalize"), filters::capitalize);
    env.add_filter(inner("escape"), filters::escape);
    env.add_filter(inner("e"), filters::escape);
    env.add_filter(inner("join"), join);
    env.add_filter(inner("replace"), replace);
    env.add_filter(inner("truncate"), truncate);
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

/// The text of a value, as long as there is room for it.
pub fn text_of(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return if text.len() > TEXT_MAX { Err(too_long()) } else { Ok(text.to_owned()) };
    }
    let mut text = Bounded::default();
    write!(text, "{value}").map_err(|_| too_long())?;
    String::from_utf8(text.text).map_err(|_| too_long())
}

fn string(value: Value) -> Result<String, Error> {
    text_of(&value)
}

/// What a path of names leads to.
fn attribute(value: &Value, path: &str) -> Result<Value, Error> {
    path.split('.').try_fold(value.clone(), |value, name| value.get_attr(name))
}

/// The items of a list, or the attribute of each that is named.
fn items(value: &Value, path: Option<String>, kwargs: &Kwargs) -> Result<Vec<Value>, Error> {
    let path =
        path.map_or_else(|| kwargs.get::<Option<String>>("attribute"), |path| Ok(Some(path)))?;
    kwargs.assert_all_used()?;
    let each = |item: Value| path.as_ref().map_or(Ok(item.clone()), |path| attribute(&item, path));
    value.try_iter()?.map(each).collect()
}

fn map(value: Value, kwargs: Kwargs) -> Result<Vec<Value>, Error> {
    items(&value, None, &kwargs)
}

fn sum(value: Value, path: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let (mut whole, mut all) = (Some(0i128), 0.0);
    for item in items(&value, path, &kwargs)? {
        if item.kind() != ValueKind::Number {
            return Err(Error::new(ErrorKind::InvalidOperation, "`sum` is for numbers"));
        }
        let exact = item.is_integer().then(|| i128::try_from(item.clone()).ok()).flatten();
        whole = whole.zip(exact).and_then(|(sum, item)| sum.checked_add(item));
        all += f64::try_from(item)?;
    }
    Ok(whole.map_or_else(|| Value::from(all), Value::from))
}

fn join(
    value: Value,
    joint: Option<String>,
    path: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let joint = joint.unwrap_or_default();
    let mut out = String::new();
    for (place, item) in items(&value, path, &kwargs)?.iter().enumerate() {
        if place > 0 {
            out.push_str(&joint);
        }
        out.push_str(&text_of(item)?);
        if out.len() > TEXT_MAX {
            return Err(too_long());
        }
    }
    Ok(out)
}

/// The beginning of a text, with dots where it was longer.
fn truncate(value: Value, length: Option<usize>) -> Result<String, Error> {
    let (text, length) = (text_of(&value)?, length.unwrap_or(255));
    match text.char_indices().nth(length) {
        None => Ok(text),
        Some(_) => Ok(text.chars().take(length.saturating_sub(3)).chain("...".chars()).collect()),
    }
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
