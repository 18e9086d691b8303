//! A job's id: it finds its case, and in it the task, without an index.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::ids::{ALPHABET, Bits, CaseId};

/// Characters of a key: 13 × 5 bits hold 64.
const KEY_LEN: usize = 13;

/// Which job of a case it is: derived from the task's reference, iteration and generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub u64);

/// A job, shown as `job_`, the 26 characters of its case, `-`, and 13 of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    pub case: CaseId,
    pub key: JobKey,
}

/// A text that is no id of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of a job: expected `job_`, 26 characters, `-` and 13 characters")]
pub struct NotAJob;

impl JobKey {
    /// The key of a task's entry.
    pub fn of(reference: &str, iteration: u32, generation: u32) -> Self {
        let (iteration, generation) = (iteration.to_le_bytes(), generation.to_le_bytes());
        let bits = Bits::derived(&[b"job", reference.as_bytes(), &iteration, &generation]);
        let first = bits.0.first_chunk::<8>().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..KEY_LEN).rev() {
            let digit = ALPHABET[(self.0 >> (5 * place)) as usize & 31];
            write!(f, "{}", char::from(digit))?;
        }
        Ok(())
    }
}

impl fmt::Debug for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobKey {
    type Err = NotAJob;

    fn from_str(text: &str) -> Result<Self, NotAJob> {
        if text.len() != KEY_LEN {
            return Err(NotAJob);
        }
        let mut key = 0u64;
        for (place, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&known| known == byte).ok_or(NotAJob)?;
            // the first character holds the four bits that are left
            if place == 0 && digit > 15 {
                return Err(NotAJob);
            }
            key = key << 5 | digit as u64;
        }
        Ok(Self(key))
    }
}

/// As text where people may read it, as a number where they cannot.
impl Serialize for JobKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for JobKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?.parse().map_err(D::Error::custom),
            false => u64::deserialize(deserializer).map(Self),
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = self.case.to_string();
        write!(f, "job_{}-{}", case.strip_prefix(CaseId::PREFIX).unwrap_or(&case), self.key)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = NotAJob;

    fn from_str(text: &str) -> Result<Self, NotAJob> {
        let (case, key) =
            text.strip_prefix("job_").and_then(|text| text.split_once('-')).ok_or(NotAJob)?;
        let case = format!("{}{case}", CaseId::PREFIX).parse().map_err(|_| NotAJob)?;
        Ok(Self { case, key: key.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_is_its_text(case in any::<[u8; 16]>(), key in any::<u64>()) {
            let id = JobId { case: CaseId(Bits(case)), key: JobKey(key) };
            let text = id.to_string();
            prop_assert_eq!(text.len(), 4 + 26 + 1 + 13);
            prop_assert_eq!(text.parse(), Ok(id));
        }

        #[test]
        fn no_text_panics(text in "(job_)?[0-9a-z-]{0,45}") {
            let _ = text.parse::<JobId>();
        }
    }

    #[test]
    fn another_generation_is_another_job() {
        assert_ne!(JobKey::of("/do/0/a", 1, 0), JobKey::of("/do/0/a", 1, 1));
        assert_ne!(JobKey::of("/do/0/a", 1, 0), JobKey::of("/do/0/a", 2, 0));
        assert!("job_00000000000000000000000000-z000000000000".parse::<JobId>().is_err());
    }
}
