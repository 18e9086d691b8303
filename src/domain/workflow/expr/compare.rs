//! Comparing and walking over jq values, metered: jaq's own comparison does not count, and a value
//! whose parts are shared may be far larger than what was built.

use std::cmp::Ordering;
use std::sync::Arc;

use jaq_json::Val;

use super::meter::{grow, tick};

/// Whether two values are equal.
pub fn equal(a: &Val, b: &Val) -> bool {
    tick(1);
    match (a, b) {
        (Val::Arr(a), Val::Arr(b)) => {
            Arc::ptr_eq(a, b)
                || (a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b)))
        }
        (Val::Obj(a), Val::Obj(b)) => {
            Arc::ptr_eq(a, b)
                || (a.len() == b.len()
                    && a.iter().all(|(key, a)| {
                        walk(key);
                        b.get(key).is_some_and(|b| equal(a, b))
                    }))
        }
        (Val::TStr(a) | Val::BStr(a), Val::TStr(b) | Val::BStr(b)) => {
            tick(a.len().min(b.len()) / 64);
            a == b
        }
        (a, b) => a == b,
    }
}

/// jq's order of values: as jaq has it.
pub fn order(a: &Val, b: &Val) -> Ordering {
    tick(1);
    match (a, b) {
        (Val::Arr(a), Val::Arr(b)) => {
            if Arc::ptr_eq(a, b) {
                return Ordering::Equal;
            }
            let parts = a.iter().zip(b.iter()).map(|(a, b)| order(a, b));
            parts.into_iter().find(|o| o.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Val::Obj(a), Val::Obj(b)) => {
            if Arc::ptr_eq(a, b) {
                return Ordering::Equal;
            }
            match (a.len(), b.len()) {
                (0, 0) => return Ordering::Equal,
                (0, _) => return Ordering::Less,
                (_, 0) => return Ordering::Greater,
                _ => {}
            }
            let sorted = |pairs: &jaq_json::Map| {
                let mut pairs: Vec<(Val, Val)> =
                    pairs.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                tick(pairs.len());
                pairs.sort_by(|(a, _), (b, _)| order(a, b));
                pairs
            };
            let (a, b) = (sorted(a), sorted(b));
            let keys = a.iter().zip(&b).map(|((a, _), (b, _))| order(a, b));
            let keys = keys.into_iter().find(|o| o.is_ne());
            keys.unwrap_or_else(|| a.len().cmp(&b.len())).then_with(|| {
                let values = a.iter().zip(&b).map(|((_, a), (_, b))| order(a, b));
                values.into_iter().find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
            })
        }
        (Val::TStr(a) | Val::BStr(a), Val::TStr(b) | Val::BStr(b)) => {
            tick(a.len().min(b.len()) / 64);
            a.cmp(b)
        }
        (a, b) => a.cmp(b),
    }
}

/// Counts what it costs to go over all of a value once.
pub fn walk(value: &Val) {
    match value {
        Val::Null | Val::Bool(_) | Val::Num(_) => tick(1),
        Val::TStr(text) | Val::BStr(text) => tick(1 + text.len() / 64),
        Val::Arr(items) => {
            tick(1);
            items.iter().for_each(walk);
        }
        Val::Obj(pairs) => {
            tick(1);
            for (key, value) in pairs.iter() {
                walk(key);
                walk(value);
            }
        }
    }
}

/// Counts what it costs to write a value out as text, and the bytes of that text.
pub fn print(value: &Val) {
    match value {
        Val::Null | Val::Bool(_) => grow(5),
        Val::Num(_) => grow(20),
        Val::TStr(text) | Val::BStr(text) => {
            tick(text.len() / 64);
            grow(text.len() + 3);
        }
        Val::Arr(items) => {
            grow(items.len() + 2);
            items.iter().for_each(print);
        }
        Val::Obj(pairs) => {
            grow(2 * pairs.len() + 2);
            for (key, value) in pairs.iter() {
                print(key);
                print(value);
            }
        }
    }
    tick(1);
}
