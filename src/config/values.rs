//! Values of keys: each says what would be right when it is not. A variable of the environment
//! gives every one of them as text, so all are read from text too.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::domain::service::settings::Rate;

/// Reads a value from text or a number.
struct Either<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = String>> Visitor<'_> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<T, E> {
        flag.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

macro_rules! value {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $expected:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name(pub $inner);

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let parse: fn(&str) -> Option<$inner> = $parse;
                let wrong = || format!("`{text}` is not {}", $expected);
                parse(text).map(Self).ok_or_else(wrong)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Either(std::marker::PhantomData, $expected))
            }
        }
    };
}

value!(
    /// Bytes.
    Size, u64, "a number of bytes, such as 65536 or \"1GiB\"", size
);
value!(
    /// Milliseconds.
    Span, i64, "a span of time, such as \"500ms\", \"10s\", \"5m\", \"2h\" or \"30d\"", span
);
value!(
    /// A number of things.
    Count, usize, "a whole number", |text| text.parse().ok()
);
value!(
    /// A text that is not empty.
    Text, String, "a text", |text| (!text.is_empty()).then(|| text.to_owned())
);
value!(
    /// A name that may be part of ids and metrics.
    Name, String, "a name of a-z, 0-9 and `-`, at most 60 characters", name
);
value!(
    /// Address and port.
    Listen, SocketAddr, "an address and a port, such as 127.0.0.1:7700", |text| text.parse().ok()
);
value!(
    /// A SHA-256 in hex.
    Digest, [u8; 32], "a SHA-256 of 64 hexadecimal digits", digest
);
value!(
    /// An address of the web.
    WebAddress, String, "an address that begins with http:// or https://", web_address
);
value!(
    /// A truth value.
    Flag, bool, "true or false", |text| text.parse().ok()
);

/// `50/s`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerTime(pub Rate);

impl<'de> Deserialize<'de> for PerTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let rate = || {
            let (calls, per) = text.split_once('/')?;
            let per = match per {
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return None,
            };
            let calls = calls.parse().ok().filter(|calls| *calls > 0)?;
            Some(Self(Rate { calls, per }))
        };
        let wrong =
            || D::Error::custom(format!("`{text}` is not a rate, such as \"50/s\" or \"10/m\""));
        rate().ok_or_else(wrong)
    }
}

fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        // as limits of memory are written elsewhere
        "KiB" | "k" => 1 << 10,
        "MiB" | "m" => 1 << 20,
        "GiB" | "g" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn span(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: i64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == "0" => 1,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

fn name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (!text.is_empty() && text.len() <= 60 && text.chars().all(plain)).then(|| text.to_owned())
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

fn web_address(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    web.then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!("1GiB".parse(), Ok(Size(1 << 30)));
        assert_eq!("512m".parse(), Ok(Size(512 << 20)));
        assert_eq!("12".parse(), Ok(Size(12)));
        assert!("1GB".parse::<Size>().is_err());
        assert_eq!("250ms".parse(), Ok(Span(250)));
        assert_eq!("30d".parse(), Ok(Span(2_592_000_000)));
        assert_eq!("0".parse(), Ok(Span(0)));
        assert!("5".parse::<Span>().is_err());
        assert!("ftp://x".parse::<WebAddress>().is_err());
        assert!("zz".repeat(32).parse::<Digest>().is_err());
    }
}

/// Names of hosts: a list, or a text with commas in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Hosts(pub Vec<String>);

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            List(Vec<String>),
            Text(String),
        }
        let names = match Form::deserialize(deserializer) {
            Ok(Form::List(names)) => names,
            Ok(Form::Text(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
            Err(_) => return Err(D::Error::custom("a list of names is needed: [\"example.com\"]")),
        };
        let plain = |name: &String| !name.is_empty() && !name.contains(['/', ' ', '*']);
        match names.iter().find(|name| !plain(name)) {
            None => Ok(Self(names)),
            Some(wrong) => Err(D::Error::custom(format!("`{wrong}` is no name of a host"))),
        }
    }
}
