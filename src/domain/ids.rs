//! Ids: 128 bits, shown as a prefix and 26 lower-case Crockford base32 characters.
//!
//! An id is safe as part of a URL, as a NATS token and as a file name. Ids of submissions derive
//! from workflow, client and key, so that the same submission finds the same case for ever.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::time::Timestamp;

mod entity;

pub use entity::{Entity, EntityKind, EventCursor};

/// The digits, Crockford's in lower case.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of an id behind its prefix: 26 × 5 bits hold 128.
const TEXT_LEN: usize = 26;

/// 128 bits, the value of every id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Bits(pub [u8; 16]);

impl Bits {
    /// Derives bits from named parts, so that the same parts always give the same id.
    /// Each part is preceded by its length: `("ab", "c")` and `("a", "bc")` differ.
    pub fn derived(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut bits = [0; 16];
        bits.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bits)
    }

    /// Joins a time (48 bits of milliseconds) and randomness, so that new ids sort by age and
    /// an index by id grows at its end.
    pub fn timed(millis: i64, random: [u8; 16]) -> Self {
        let mut bits = random;
        bits[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        Self(bits)
    }

    fn write(self, out: &mut impl fmt::Write) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0u8; TEXT_LEN];
        for (place, byte) in text.iter_mut().enumerate() {
            let shift = 5 * (TEXT_LEN - 1 - place);
            *byte = ALPHABET[(value >> shift) as usize & 31];
        }
        out.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LEN {
            return None;
        }
        let mut value: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&a| a == byte)? as u128;
            if place == 0 && digit > 7 {
                return None;
            }
            value = value << 5 | digit;
        }
        Some(Self(value.to_be_bytes()))
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// A text that is no id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected `{prefix}` and 26 characters of 0-9 and a-z without i, l, o, u")]
pub struct NotAnId {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub Bits);

        /// As text where people may read it, as bytes where they cannot.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    Bits::deserialize(deserializer).map(Self)
                }
            }
        }

        impl $name {
            /// What the text of such an id begins with.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                self.0.write(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix($prefix)
                    .and_then(Bits::parse)
                    .map(Self)
                    .ok_or(NotAnId { prefix: $prefix })
            }
        }
    };
}

id!(
    /// A case: one run of a workflow.
    CaseId,
    "case_"
);
id!(
    /// A dead letter: a task or a message that cannot go on without a person.
    DeadId,
    "dead_"
);
id!(
    /// A command, the unit of deduplication within one entity.
    CommandId,
    "cmd_"
);
id!(
    /// What a submission said, so that a repeated one is told from another under its key.
    Fingerprint,
    "fp_"
);
id!(
    /// A stored CloudEvent, derived from its `source` and `id`.
    EventId,
    "evt_"
);

id!(
    /// The slot, or place in a queue, that is reserved for a human task.
    BookingId,
    "book_"
);
id!(
    /// A human task in somebody's hands, or on the way there. Its characters are those of its booking.
    AssignmentId,
    "assign_"
);
id!(
    /// The ordered human tasks of a case, booked together.
    PlanId,
    "plan_"
);

id!(
    /// A template of documents, by the content of its files.
    TemplateHash,
    "tpl_"
);
id!(
    /// What is kept of the token that a worker holds while it has a job.
    LeaseDigest,
    "lease_"
);

impl CaseId {
    /// The id of a submission with an idempotency key. The version is not part of it: the same
    /// key means the same case whatever version is the latest by then.
    pub fn of_submission(namespace: &str, name: &str, client: &str, key: &str) -> Self {
        let parts = [b"submission", namespace.as_bytes(), name.as_bytes(), client.as_bytes()];
        let mut all: Vec<&[u8]> = parts.iter().map(|p| &p[..]).collect();
        all.push(key.as_bytes());
        Self(Bits::derived(&all))
    }

    /// The id of a child started by `run: workflow`: the same place and generation of the same
    /// parent always start the same child.
    pub fn of_child(parent: CaseId, reference: &str, iteration: u32, generation: u32) -> Self {
        let (iteration, generation_bytes) = (iteration.to_le_bytes(), generation.to_le_bytes());
        let mut parts: Vec<&[u8]> = vec![b"child", &parent.0.0, reference.as_bytes(), &iteration];
        if generation > 0 {
            parts.push(&generation_bytes);
        }
        Self(Bits::derived(&parts))
    }

    /// The one case of a workflow that other cases name by this key; no submitter's key meets it.
    pub fn of_key(namespace: &str, name: &str, key: &str) -> Self {
        let parts = [b"by key", namespace.as_bytes(), name.as_bytes(), key.as_bytes()];
        Self(Bits::derived(&parts))
    }

    /// The case of a schedule's run that is due at an instant, whichever version rules.
    pub fn of_schedule(schedule: &str, due: Timestamp) -> Self {
        Self(Bits::derived(&[b"scheduled", schedule.as_bytes(), &due.0.to_le_bytes()]))
    }

    /// The case of a schedule's run that an operator has asked for under a key.
    pub fn of_trigger(schedule: &str, client: &str, key: &str) -> Self {
        let parts = [b"triggered", schedule.as_bytes(), client.as_bytes(), key.as_bytes()];
        Self(Bits::derived(&parts))
    }

    /// The case of a schedule's run that these events begin, in whatever order they came.
    pub fn of_events(schedule: &str, events: &[EventId]) -> Self {
        let mut events: Vec<&EventId> = events.iter().collect();
        events.sort_unstable();
        let mut parts: Vec<&[u8]> = vec![b"begun by events", schedule.as_bytes()];
        parts.extend(events.iter().map(|event| &event.0.0[..]));
        Self(Bits::derived(&parts))
    }
}

impl DeadId {
    /// The dead letter that a case's alert at this version stands for.
    pub fn of_case(case: CaseId, version: u64) -> Self {
        Self(Bits::derived(&[b"dead", &case.0.0, &version.to_le_bytes()]))
    }
}

impl PlanId {
    /// The plan of a task's entry. What is planned anew after all was released is another generation.
    pub fn of(case: CaseId, reference: &str, iteration: u32, generation: u32) -> Self {
        let (iteration, generation) = (iteration.to_le_bytes(), generation.to_le_bytes());
        let parts: [&[u8]; 5] = [b"plan", &case.0.0, reference.as_bytes(), &iteration, &generation];
        Self(Bits::derived(&parts))
    }
}

impl BookingId {
    /// The task that came into a plan as the n-th, counted from 0.
    pub fn of(plan: PlanId, place: u32) -> Self {
        Self(Bits::derived(&[b"booking", &plan.0.0, &place.to_le_bytes()]))
    }

    /// The assignment that performs it.
    pub fn assignment(self) -> AssignmentId {
        AssignmentId(self.0)
    }
}

impl AssignmentId {
    /// What it performs.
    pub fn booking(self) -> BookingId {
        BookingId(self.0)
    }
}

/// Letters of a CSR's id at the most.
const CSR_MAX: usize = 40;

/// A CSR, by the name that an admin gave them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CsrId(Arc<str>);

/// A text that is no id of a CSR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id of a CSR: 1 to {CSR_MAX} characters of a-z, 0-9 and -")]
pub struct NoCsrId(String);

impl CsrId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CsrId {
    type Err = NoCsrId;

    fn from_str(text: &str) -> Result<Self, NoCsrId> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match (1..=CSR_MAX).contains(&text.len()) && text.chars().all(fits) {
            true => Ok(Self(text.into())),
            false => Err(NoCsrId(text.chars().take(CSR_MAX).collect())),
        }
    }
}

impl TryFrom<String> for CsrId {
    type Error = NoCsrId;

    fn try_from(text: String) -> Result<Self, NoCsrId> {
        text.parse()
    }
}

impl From<CsrId> for String {
    fn from(id: CsrId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for CsrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EventId {
    /// One id for each `source` + `id`, as CloudEvents defines identity.
    pub fn of(source: &str, id: &str) -> Self {
        Self(Bits::derived(&[b"event", source.as_bytes(), id.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back(bits in any::<[u8; 16]>()) {
            let id = CaseId(Bits(bits));
            let text = id.to_string();
            prop_assert_eq!(text.len(), 31);
            prop_assert_eq!(text.parse::<CaseId>().unwrap(), id);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<CaseId>();
        }
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in
            ["", "case_", "dead_00000000000000000000000000", "case_8zzzzzzzzzzzzzzzzzzzzzzzzz"]
        {
            assert!(text.parse::<CaseId>().is_err(), "{text}");
        }
        assert!("case_7zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<CaseId>().is_ok());
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(
            CaseId::of_submission("a", "bc", "local", "1"),
            CaseId::of_submission("ab", "c", "local", "1")
        );
    }

    #[test]
    fn timed_ids_sort_by_age() {
        assert!(Bits::timed(1, [255; 16]) < Bits::timed(2, [0; 16]));
    }
}
