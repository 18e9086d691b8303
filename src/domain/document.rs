//! Documents: files that workers make, named by their bytes.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::ALPHABET;

/// Characters of an id behind its prefix: 52 × 5 bits hold 256.
const TEXT_LEN: usize = 52;

const PREFIX: &str = "doc_";

/// Documents that a worker may name with one result.
pub const OF_A_RESULT: usize = 20;

/// Documents that a case may refer to.
pub const OF_A_CASE: usize = 1000;

/// A document: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(pub [u8; 32]);

/// A text that is no id of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an id of a document: expected `doc_` and {TEXT_LEN} characters of 0-9 and a-z without i, l, o, u"
)]
pub struct NotADocument;

impl DocumentId {
    /// The id of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        let bit = |n: usize| self.0.get(n / 8).is_some_and(|byte| byte >> (7 - n % 8) & 1 == 1);
        for place in 0..TEXT_LEN {
            let digit = (0..5).fold(0, |digit, n| digit << 1 | usize::from(bit(5 * place + n)));
            write!(f, "{}", char::from(ALPHABET[digit]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DocumentId {
    type Err = NotADocument;

    fn from_str(text: &str) -> Result<Self, NotADocument> {
        let text = text.strip_prefix(PREFIX).ok_or(NotADocument)?;
        if text.len() != TEXT_LEN {
            return Err(NotADocument);
        }
        let mut bytes = [0u8; 32];
        for (place, char) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|known| *known == char).ok_or(NotADocument)?;
            for n in 0..5 {
                let (at, set) = (5 * place + n, digit >> (4 - n) & 1 == 1);
                match bytes.get_mut(at / 8) {
                    Some(byte) => *byte |= u8::from(set) << (7 - at % 8),
                    // what is left of the last character is nothing
                    None if set => return Err(NotADocument),
                    None => {}
                }
            }
        }
        Ok(Self(bytes))
    }
}

/// As text where people may read it, as bytes where they cannot.
impl Serialize for DocumentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DocumentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?.parse().map_err(D::Error::custom),
            false => <[u8; 32]>::deserialize(deserializer).map(Self),
        }
    }
}

/// Whether a text is a media type such as `application/pdf`, and no more.
pub fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c);
        (1..=64).contains(&part.len()) && part.chars().all(fits)
    };
    text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back(bytes in any::<[u8; 32]>()) {
            let text = DocumentId(bytes).to_string();
            prop_assert_eq!(text.len(), 56);
            prop_assert_eq!(text.parse(), Ok(DocumentId(bytes)));
        }

        #[test]
        fn no_text_panics(text in "(doc_)?[0-9a-z]{0,60}") {
            let _ = text.parse::<DocumentId>();
        }
    }

    #[test]
    fn media_types_are_plain() {
        assert!(is_media_type("application/pdf") && is_media_type("image/svg+xml"));
        for text in ["pdf", "text/html; charset=utf-8", "a/b/c", "text/ht ml", "/", "text/\r\n"] {
            assert!(!is_media_type(text), "{text}");
        }
    }
}
