//! The values that jq works on: jaq's, with every operation metered.
//!
//! [`Val`] does the work; this wrapper counts it, and refuses what would grow without bound
//! (text multiplied by a number).

use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::sync::Arc;

use jaq_core::path::Opt;
use jaq_core::{Exn, ValR, ValX};
use jaq_json::{Map, Val};

use super::compare::{equal, order, print, walk};
use super::meter::{build, grow, tick};

/// Bytes that one element of an array takes, near enough.
const ELEMENT: usize = 24;

/// Text that multiplication may produce, in bytes; an expression's result is far smaller.
const TEXT_MAX: usize = 1 << 20;

/// A metered jq value.
#[derive(Debug)]
pub struct Value(pub Val);

type Range<V> = std::ops::Range<Option<V>>;
type Error = jaq_core::Error<Value>;

/// jaq's error over its own values, as one over ours.
pub fn lift(error: jaq_core::Error<Val>) -> Error {
    Error::new(Value(error.into_val()))
}

fn lifted(result: Result<Val, jaq_core::Error<Val>>) -> ValR<Value> {
    result.map(Value).map_err(lift)
}

/// What copying a value costs beyond one step.
fn weight(value: &Val) -> usize {
    match value {
        Val::TStr(b) | Val::BStr(b) => b.len() / 64,
        Val::Arr(a) => a.len(),
        Val::Obj(o) => o.len(),
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
    }
}

/// Bytes that a copy of a value's outermost part takes.
fn bytes(value: &Val) -> usize {
    match value {
        Val::TStr(b) | Val::BStr(b) => b.len(),
        Val::Arr(a) => a.len() * ELEMENT,
        Val::Obj(o) => o.len() * 2 * ELEMENT,
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
    }
}

/// Operations over two arrays, or objects by keys that are no text, look into all of them.
fn count_the_parts(a: &Val, b: &Val) {
    if matches!(b, Val::Arr(_) | Val::Obj(_)) {
        walk(b);
        if matches!(a, Val::Arr(_)) {
            walk(a);
        }
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        tick(1);
        Self(self.0.clone())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(&self.0);
        self.0.fmt(f)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        order(&self.0, &other.0)
    }
}

macro_rules! from {
    ($($from:ty),*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                tick(1);
                Self(value.into())
            }
        })*
    };
}

from!(bool, isize, usize, f64, String);

impl From<Range<Value>> for Value {
    fn from(range: Range<Value>) -> Self {
        Self(Val::from(range.start.map(|v| v.0)..range.end.map(|v| v.0)))
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<T: IntoIterator<Item = Value>>(values: T) -> Self {
        build();
        let counted = values.into_iter().map(|v| {
            tick(1);
            grow(ELEMENT);
            v.0
        });
        Self(counted.collect())
    }
}

macro_rules! operator {
    ($($trait:ident $function:ident),*) => {
        $(impl $trait for Value {
            type Output = ValR<Self>;
            fn $function(self, other: Self) -> ValR<Self> {
                tick(1 + weight(&self.0) + weight(&other.0));
                grow(bytes(&self.0) + bytes(&other.0));
                count_the_parts(&self.0, &other.0);
                lifted(self.0.$function(other.0))
            }
        })*
    };
}

operator!(Add add, Sub sub, Div div, Rem rem);

impl Mul for Value {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> ValR<Self> {
        if let (Val::TStr(text) | Val::BStr(text), Val::Num(times))
        | (Val::Num(times), Val::TStr(text) | Val::BStr(text)) = (&self.0, &other.0)
        {
            let times = times.as_isize().unwrap_or(isize::MAX).max(0) as usize;
            let length = text.len().saturating_mul(times);
            if length > TEXT_MAX {
                return Err(Error::str(format!(
                    "text of {length} bytes is longer than {TEXT_MAX}"
                )));
            }
            tick(length / 64);
            grow(length);
        }
        tick(1 + weight(&self.0) + weight(&other.0));
        lifted(self.0 * other.0)
    }
}

impl Neg for Value {
    type Output = ValR<Self>;

    fn neg(self) -> ValR<Self> {
        tick(1);
        lifted(-self.0)
    }
}

/// An object from pairs, counted as one thing built.
fn object(pairs: impl Iterator<Item = (Val, Val)>) -> Val {
    build();
    let counted = pairs.inspect(|(key, _)| {
        walk(key);
        grow(2 * ELEMENT);
    });
    Val::obj(counted.collect::<Map>())
}

impl jaq_core::ValT for Value {
    fn from_num(number: &str) -> ValR<Self> {
        lifted(<Val as jaq_core::ValT>::from_num(number))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(pairs: I) -> ValR<Self> {
        Ok(Self(object(pairs.into_iter().map(|(k, v)| (k.0, v.0)))))
    }

    fn key_values(self) -> Box<dyn Iterator<Item = ValR<(Self, Self), Self>>> {
        tick(1 + weight(&self.0));
        Box::new(jaq_core::ValT::key_values(self.0).map(|pair| match pair {
            Ok((k, v)) => {
                tick(1);
                Ok((Value(k), Value(v)))
            }
            Err(e) => Err(lift(e)),
        }))
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        tick(1 + weight(&self.0));
        Box::new(jaq_core::ValT::values(self.0).map(|v| {
            tick(1);
            lifted(v)
        }))
    }

    fn index(self, index: &Self) -> ValR<Self> {
        tick(1);
        count_the_parts(&self.0, &index.0);
        lifted(jaq_core::ValT::index(self.0, &index.0))
    }

    fn range(self, range: Range<&Self>) -> ValR<Self> {
        tick(1 + weight(&self.0));
        let range = range.start.map(|v| &v.0)..range.end.map(|v| &v.0);
        lifted(jaq_core::ValT::range(self.0, range))
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match self.0 {
            Val::Arr(items) => {
                build();
                grow(items.len() * ELEMENT);
                let mapped = Arc::unwrap_or_clone(items).into_iter().flat_map(|v| f(Value(v)));
                let all: Result<Vec<Val>, Exn<'a, Self>> = mapped.map(|v| v.map(|v| v.0)).collect();
                Ok(Self(Val::Arr(Arc::new(all?))))
            }
            Val::Obj(pairs) => {
                grow(pairs.len() * 2 * ELEMENT);
                let mapped = Arc::unwrap_or_clone(pairs)
                    .into_iter()
                    .filter_map(|(k, v)| f(Value(v)).next().map(|v| Ok((k, v?.0))));
                let all: Result<Map, Exn<'a, Self>> = mapped.collect();
                Ok(Self(Val::obj(all?)))
            }
            other => opt.fail(Self(other), |v| Error::typ(v, "iterable (array or object)").into()),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        tick(1);
        let old = match jaq_core::ValT::index(self.0.clone(), &index.0) {
            Ok(old) => old,
            Err(e) => return opt.fail(self, |_| lift(e).into()),
        };
        let new = replacement(f(Value(old)))?;
        updated(jaq_core::ValT::map_index(self.0, &index.0, opt, |_| new.clone().into_iter()))
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        tick(1 + weight(&self.0));
        let inner = range.start.map(|v| &v.0)..range.end.map(|v| &v.0);
        let old = match jaq_core::ValT::range(self.0.clone(), inner.clone()) {
            Ok(old) => old,
            Err(e) => return opt.fail(self, |_| lift(e).into()),
        };
        let new = replacement(f(Value(old)))?;
        updated(jaq_core::ValT::map_range(self.0, inner, opt, |_| new.clone().into_iter()))
    }

    fn as_bool(&self) -> bool {
        jaq_core::ValT::as_bool(&self.0)
    }

    fn into_string(self) -> Self {
        print(&self.0);
        Self(jaq_core::ValT::into_string(self.0))
    }
}

/// What an update puts in place of the old value; none removes it. It is known before jaq's own
/// update runs, which therefore runs nothing of the expression.
fn replacement<'a>(
    mut outputs: impl Iterator<Item = ValX<'a, Value>>,
) -> Result<Option<ValX<'a, Val>>, Exn<'a, Value>> {
    Ok(outputs.next().transpose()?.map(|v| Ok(v.0)))
}

fn updated<'a>(result: ValX<'a, Val>) -> ValX<'a, Value> {
    result.map(Value).map_err(|e| match e.get_err() {
        Ok(e) => lift(e).into(),
        Err(_) => Error::str("cannot update").into(),
    })
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self.0 {
            Val::Arr(items) => {
                tick(items.len());
                Ok(Arc::unwrap_or_clone(items).into_iter().map(Value).collect())
            }
            other => Err(Self(other)),
        }
    }

    fn is_int(&self) -> bool {
        jaq_std::ValT::is_int(&self.0)
    }

    fn as_isize(&self) -> Option<isize> {
        jaq_std::ValT::as_isize(&self.0)
    }

    fn as_f64(&self) -> Option<f64> {
        jaq_std::ValT::as_f64(&self.0)
    }

    fn is_utf8_str(&self) -> bool {
        jaq_std::ValT::is_utf8_str(&self.0)
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        jaq_std::ValT::as_bytes(&self.0)
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Self(jaq_std::ValT::as_sub_str(&self.0, part))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        tick(bytes.as_ref().len() / 64);
        grow(bytes.as_ref().len());
        Self(<Val as jaq_std::ValT>::from_utf8_bytes(bytes))
    }
}
