//! The functions of jq that are code: jaq's own, without those that reach outside of the
//! evaluation, and the few that jaq offers only for its own value type.

use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{RunPtr, ValR};
use jaq_json::Val;

use super::compare::{equal, order, print, walk};
use super::guard::{CHAIN, TICK};
use super::json;
use super::meter::{chain, grow, now, tick};
use super::value::Value;

/// What our filters run on: metered values and nothing else.
pub type Kind = jaq_core::data::JustLut<Value>;

type Error = jaq_core::Error<Value>;

/// Taken out by name: they read the environment or the clock, end the process or write to the
/// log. A definition that names one is refused as if it were unknown.
const TAKEN_OUT: [&str; 6] =
    ["env", "now", "halt", "debug_empty", "stderr_empty", "get_search_list"];

/// Every native function that an expression may use.
pub fn natives() -> impl Iterator<Item = Fun<Kind>> {
    jaq_core::funs::<Kind>()
        .chain(jaq_std::funs::<Kind>().filter(|(name, ..)| !TAKEN_OUT.contains(name)))
        .chain(over_json().into_iter().map(|filter| run::<Kind>(filter)))
}

fn over_json() -> [Filter<RunPtr<Kind>>; 10] {
    [
        (TICK, v(0), |cv| {
            tick(1);
            bome(Ok(cv.1))
        }),
        (CHAIN, v(0), |cv| {
            chain();
            bome(Ok(cv.1))
        }),
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("tojson", v(0), |cv| {
            print(&cv.1.0);
            bome(Ok(Value(Val::utf8_str(cv.1.0.to_string().into_bytes()))))
        }),
        ("now", v(0), |_| bome(Ok(Value::from(now() as f64 / 1000.0)))),
        ("length", v(0), |cv| bome(length(&cv.1))),
        ("contains", v(1), |cv| unary(cv, |a, b| Ok(Value::from(contains(&a.0, &b.0))))),
        ("has", v(1), |cv| unary(cv, |value, key| has(&value, &key))),
        ("indices", v(1), |cv| unary(cv, |value, part| indices(&value, &part))),
        ("bsearch", v(1), |cv| {
            unary(cv, |value, wanted| match &value.0 {
                Val::Arr(items) => {
                    Ok(Value::from(match items.binary_search_by(|item| order(item, &wanted.0)) {
                        Ok(found) => found as isize,
                        Err(place) => -1 - place as isize,
                    }))
                }
                _ => Err(Error::typ(value, "array")),
            })
        }),
    ]
}

fn from_json(value: &Value) -> ValR<Value> {
    let Val::TStr(text) = &value.0 else {
        return Err(Error::typ(value.clone(), "string"));
    };
    tick(text.len() / 8);
    grow(text.len() * 4);
    let parsed: serde_json::Value = serde_json::from_slice(text)
        .map_err(|e| Error::str(format!("cannot parse as JSON: {e}")))?;
    Ok(Value(json::to_jq(&parsed)))
}

fn length(value: &Value) -> ValR<Value> {
    Ok(match &value.0 {
        Val::Null => Value::from(0usize),
        Val::Bool(_) => return Err(Error::str(format!("{value} has no length"))),
        Val::Num(_) if value.clone() < Value::from(0usize) => return -value.clone(),
        Val::Num(_) => value.clone(),
        Val::TStr(text) => Value::from(String::from_utf8_lossy(text).chars().count()),
        Val::BStr(bytes) => Value::from(bytes.len()),
        Val::Arr(items) => Value::from(items.len()),
        Val::Obj(fields) => Value::from(fields.len()),
    })
}

fn contains(a: &Val, b: &Val) -> bool {
    tick(1);
    match (a, b) {
        (Val::TStr(a), Val::TStr(b)) => {
            tick(a.len().saturating_mul(b.len().clamp(1, 64)) / 64);
            b.is_empty() || a.windows(b.len()).any(|part| part == &b[..])
        }
        (Val::Arr(a), Val::Arr(b)) => b.iter().all(|b| a.iter().any(|a| contains(a, b))),
        (Val::Obj(a), Val::Obj(b)) => {
            b.iter().all(|(key, b)| a.get(key).is_some_and(|a| contains(a, b)))
        }
        _ => equal(a, b),
    }
}

fn has(value: &Value, key: &Value) -> ValR<Value> {
    walk(&key.0);
    match (&value.0, &key.0) {
        (Val::Obj(fields), key) => Ok(Value::from(fields.contains_key(key))),
        (Val::Arr(items), Val::Num(number)) => {
            let place = number.as_isize().unwrap_or(-1);
            Ok(Value::from(usize::try_from(place).is_ok_and(|at| at < items.len())))
        }
        _ => Err(Error::index(value.clone(), key.clone())),
    }
}

fn indices(value: &Value, part: &Value) -> ValR<Value> {
    let places: Vec<usize> = match (&value.0, &part.0) {
        (Val::Null, _) => return Ok(Value(Val::Null)),
        (Val::TStr(text), Val::TStr(part)) => {
            tick(text.len().saturating_mul(part.len().clamp(1, 64)) / 16);
            let text = String::from_utf8_lossy(text);
            let part = String::from_utf8_lossy(part);
            let starts = text.char_indices().enumerate();
            let matching = starts.filter(|(_, (at, _))| text[*at..].starts_with(&*part));
            matching.filter(|_| !part.is_empty()).map(|(place, _)| place).collect()
        }
        (Val::Arr(items), Val::Arr(part)) => {
            tick(items.len().saturating_mul(part.len()));
            let windows = items.windows(part.len().max(1)).enumerate();
            let same = |window: &[Val]| window.iter().zip(part.iter()).all(|(a, b)| equal(a, b));
            let matching = windows.filter(|(_, window)| !part.is_empty() && same(window));
            matching.map(|(place, _)| place).collect()
        }
        (Val::Arr(items), part) => {
            tick(items.len());
            let matching = items.iter().enumerate().filter(|(_, item)| equal(item, part));
            matching.map(|(place, _)| place).collect()
        }
        _ => return Err(Error::index(value.clone(), part.clone())),
    };
    Ok(places.into_iter().map(Value::from).collect())
}
