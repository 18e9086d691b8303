//! JSON to jq's values and back, with the size and depth that a result may have.

use std::fmt::Write;
use std::sync::Arc;

use jaq_json::{Map, Num, Val};
use serde_json::{Number, Value as Json};

/// Levels of arrays and objects that a value may nest.
pub const DEPTH_MAX: usize = 64;

/// Bytes of JSON that a value may take: an input, an answer, an output, a result.
pub const SIZE_MAX: usize = 256 * 1024;

/// Why a jq value is no JSON that may be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    #[error("the result nests deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("the result is larger than {} KiB", SIZE_MAX / 1024)]
    TooLarge,
    #[error("an object key of the result is {0}, not a string")]
    Key(String),
}

/// JSON as jq sees it.
pub fn to_jq(json: &Json) -> Val {
    match json {
        Json::Null => Val::Null,
        Json::Bool(b) => Val::Bool(*b),
        Json::Number(n) => Val::Num(number_to_jq(n)),
        Json::String(s) => Val::utf8_str(s.as_bytes().to_vec()),
        Json::Array(items) => Val::Arr(Arc::new(items.iter().map(to_jq).collect())),
        Json::Object(fields) => {
            let mut map = Map::with_capacity_and_hasher(fields.len(), Default::default());
            for (key, value) in fields {
                map.insert(Val::utf8_str(key.as_bytes().to_vec()), to_jq(value));
            }
            Val::obj(map)
        }
    }
}

fn number_to_jq(number: &Number) -> Num {
    if let Some(int) = number.as_i64() {
        Num::from_integral(int)
    } else if let Some(int) = number.as_u64() {
        Num::from_integral(int)
    } else {
        Num::Float(number.as_f64().unwrap_or(0.0))
    }
}

/// A jq value as JSON.
///
/// # Errors
/// When it is deeper or larger than a value may be, or has a key that is no string.
pub fn to_json(value: &Val) -> Result<Json, NotJson> {
    let mut room = SIZE_MAX;
    convert(value, 0, &mut room)
}

fn spend(room: &mut usize, bytes: usize) -> Result<(), NotJson> {
    *room = room.checked_sub(bytes).ok_or(NotJson::TooLarge)?;
    Ok(())
}

fn convert(value: &Val, depth: usize, room: &mut usize) -> Result<Json, NotJson> {
    if depth > DEPTH_MAX {
        return Err(NotJson::TooDeep);
    }
    Ok(match value {
        Val::Null => {
            spend(room, 4)?;
            Json::Null
        }
        Val::Bool(b) => {
            spend(room, 4)?;
            Json::Bool(*b)
        }
        Val::Num(n) => {
            spend(room, 1)?;
            number_to_json(n)
        }
        Val::TStr(bytes) | Val::BStr(bytes) => {
            spend(room, bytes.len() + 2)?;
            Json::String(String::from_utf8_lossy(bytes).into_owned())
        }
        Val::Arr(items) => {
            spend(room, 2 + items.len())?;
            let all: Result<_, _> = items.iter().map(|v| convert(v, depth + 1, room)).collect();
            Json::Array(all?)
        }
        Val::Obj(fields) => {
            spend(room, 2)?;
            let mut map = serde_json::Map::new();
            for (key, value) in fields.iter() {
                let Val::TStr(name) = key else {
                    return Err(NotJson::Key(key.to_string()));
                };
                spend(room, name.len() + 4)?;
                let name = String::from_utf8_lossy(name).into_owned();
                map.insert(name, convert(value, depth + 1, room)?);
            }
            Json::Object(map)
        }
    })
}

/// Numbers with an integral value are written as integers, since jq's division makes floats of
/// them; what JSON cannot write (infinite, not a number) is null, as in jq.
fn number_to_json(number: &Num) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: below it every integer is exact
    let float = |f: f64| {
        if f.fract() == 0.0 && f.abs() < EXACT {
            Json::from(f as i64)
        } else {
            Number::from_f64(f).map_or(Json::Null, Json::Number)
        }
    };
    match number {
        Num::Int(i) => Json::from(*i as i64),
        Num::Float(f) => float(*f),
        Num::BigInt(_) | Num::Dec(_) => {
            let text = Val::Num(number.clone()).to_string();
            match text.parse::<u64>() {
                Ok(int) => Json::from(int),
                Err(_) => text.parse::<f64>().map_or(Json::Null, float),
            }
        }
    }
}

/// Bytes that a text takes in JSON: control characters take six, others that are escaped two.
pub fn size_of_text(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    3 + text.len() + text.bytes().map(more).sum::<usize>()
}

/// Bytes that a value takes as JSON, near enough.
pub fn size_of(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) => 5,
        Json::Number(number) => size_of_number(number),
        Json::String(text) => size_of_text(text),
        Json::Array(items) => 2 + items.iter().map(|item| size_of(item) + 1).sum::<usize>(),
        Json::Object(fields) => {
            2 + fields
                .iter()
                .map(|(key, value)| size_of_text(key) + 1 + size_of(value))
                .sum::<usize>()
        }
    }
}

fn size_of_number(number: &Number) -> usize {
    if number.is_f64() {
        let mut width = Width(0);
        // it cannot fail
        let _ = write!(width, "{number}");
        return width.0;
    }
    let negative = usize::from(number.as_i64().is_some_and(i64::is_negative));
    let absolute = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    negative + absolute.unwrap_or(0).checked_ilog10().unwrap_or(0) as usize + 1
}

/// Counts what is written.
struct Width(usize);

impl Write for Width {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Whether a value keeps to [`DEPTH_MAX`]; for what comes from outside.
pub fn shallow_enough(json: &Json) -> bool {
    fn within(json: &Json, room: usize) -> bool {
        match json {
            Json::Array(items) => room > 0 && items.iter().all(|v| within(v, room - 1)),
            Json::Object(fields) => room > 0 && fields.values().all(|v| within(v, room - 1)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
        }
    }
    within(json, DEPTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            "\\PC{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|m| Json::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn sizes_are_those_of_the_text(json in any_json(), float in any::<f64>(), int in any::<i64>()) {
            for json in [json, Json::from(float), Json::from(int), json!([int as u64, float])] {
                let (size, text) = (size_of(&json), json.to_string().len());
                prop_assert!((text..=2 * text + 8).contains(&size), "{} for {}", size, json);
            }
        }

        #[test]
        fn there_and_back(json in any_json()) {
            prop_assert_eq!(to_json(&to_jq(&json)).unwrap(), json);
        }
    }

    #[test]
    fn integral_floats_become_integers() {
        assert_eq!(to_json(&Val::from(2.0)).unwrap(), json!(2));
        assert_eq!(to_json(&Val::from(0.1)).unwrap(), json!(0.1));
        assert_eq!(to_json(&Val::from(f64::NAN)).unwrap(), Json::Null);
    }

    #[test]
    fn refuses_what_is_too_deep_or_too_large() {
        let mut deep = Val::Null;
        for _ in 0..=DEPTH_MAX {
            deep = Val::Arr(Arc::new(vec![deep]));
        }
        assert_eq!(to_json(&deep), Err(NotJson::TooDeep));
        let large = Val::utf8_str(vec![b'x'; SIZE_MAX]);
        assert_eq!(to_json(&large), Err(NotJson::TooLarge));
    }
}
