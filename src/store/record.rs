//! The journal's record: a small envelope around JSON, read for years.
//!
//! ```text
//! byte  0      format of the envelope, 1
//!       1      flags: 1 a command id follows, 2 a `by` follows
//!       2..6   CRC-32 of everything from byte 6 on, little-endian
//!       6      schema of the events, 9 (each later one adds facts)
//!       7      kind of the entity
//!       8..24  its id
//!      24..    version of the first event (varint), number of events (varint),
//!              time in milliseconds since 1970 (6 bytes, big-endian),
//!              hash of the entity's previous record (16 bytes, zeros before the first),
//!              [command id, 16 bytes], [length of `by` (varint) and its JSON],
//!              then to the end a JSON array with one entry for each event
//! ```
//!
//! Without a command id, the command is one of our own, whose id derives from entity and version.
//! Without `by`, it was the engine. A record's hash is the first half of BLAKE3 over all its bytes.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{Bits, CommandId, Entity, EntityKind};
use crate::domain::time::Timestamp;

/// Format of the envelope that this version writes.
const FORMAT: u8 = 1;

/// Schema of the events that this version writes.
pub const SCHEMA: u8 = 9;

const HAS_COMMAND: u8 = 1;
const HAS_BY: u8 = 2;

/// Bytes that one append may take.
pub const RECORD_MAX: usize = 768 * 1024;

/// Hash of a record, which the entity's next one repeats.
pub type Hash = [u8; 16];

/// Who asked for what was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct By {
    /// The client: the name of an API key, `local`, or `engine`.
    pub who: String,
    /// Where it came in: `http`, `cli`, `timer` …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The reason that a person gave.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl By {
    /// The engine itself.
    pub fn engine() -> Self {
        Self { who: "engine".to_owned(), from: String::new(), why: String::new() }
    }

    fn is_engine(&self) -> bool {
        self.who == "engine" && self.from.is_empty() && self.why.is_empty()
    }
}

/// A record, apart from the bytes of its events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub schema: u8,
    pub entity: Entity,
    /// Version of the first event.
    pub version: u64,
    /// Events in it, at least one.
    pub count: u64,
    pub at: Timestamp,
    pub previous: Hash,
    /// None: a command of our own.
    pub command: Option<CommandId>,
    pub by: By,
}

impl Header {
    /// The header of a record of one event that follows an entity's last record, if it has any.
    ///
    /// # Errors
    /// When that one cannot be read.
    pub fn following(
        last: Option<&[u8]>,
        entity: Entity,
        at: Timestamp,
        by: By,
    ) -> Result<Self, BadRecord> {
        let (version, previous) = match last {
            Some(bytes) => (decode(bytes)?.0.last_version() + 1, hash(bytes)),
            None => (1, [0; 16]),
        };
        Ok(Self { schema: SCHEMA, entity, version, count: 1, at, previous, command: None, by })
    }

    /// Version of the last event.
    pub fn last_version(&self) -> u64 {
        self.version + self.count - 1
    }
}

/// Why bytes are no record that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is written in format {0}, which this version does not know")]
    Format(u8),
    #[error("it belongs to an entity of kind {0}, which this version does not know")]
    Kind(u8),
    #[error("it is cut off or garbled")]
    Garbled,
    #[error("it does not follow the record before it")]
    Chain,
    #[error("its events cannot be read: {0}")]
    Events(String),
}

/// Writes a record.
pub fn encode(header: &Header, events: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(80 + events.len());
    let by = (!header.by.is_engine()).then(|| serde_json::to_vec(&header.by).unwrap_or_default());
    let flags = u8::from(header.command.is_some()) * HAS_COMMAND + u8::from(by.is_some()) * HAS_BY;
    out.extend([FORMAT, flags, 0, 0, 0, 0, header.schema, header.entity.kind as u8]);
    out.extend(header.entity.bits.0);
    put_varint(&mut out, header.version);
    put_varint(&mut out, header.count);
    out.extend(&header.at.0.max(0).to_be_bytes()[2..]);
    out.extend(header.previous);
    if let Some(command) = header.command {
        out.extend(command.0.0);
    }
    if let Some(by) = by {
        put_varint(&mut out, by.len() as u64);
        out.extend(by);
    }
    out.extend(events);
    let crc = crc32fast::hash(&out[6..]);
    out[2..6].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a record: its header and the bytes of its events.
///
/// # Errors
/// When it is damaged, or written by a version that this one does not understand.
pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), BadRecord> {
    let (&[format, flags, a, b, c, d], rest) =
        bytes.split_first_chunk::<6>().ok_or(BadRecord::Garbled)?;
    if crc32fast::hash(rest) != u32::from_le_bytes([a, b, c, d]) {
        return Err(BadRecord::Checksum);
    }
    if format != FORMAT {
        return Err(BadRecord::Format(format));
    }
    let mut input = Input(rest);
    let [schema, kind] = input.take()?;
    let kind = EntityKind::of(kind).ok_or(BadRecord::Kind(kind))?;
    let entity = Entity { kind, bits: Bits(input.take()?) };
    let version = input.varint()?;
    let count = input.varint()?;
    let mut at = [0; 8];
    at[2..].copy_from_slice(&input.take::<6>()?);
    let previous = input.take()?;
    let command = match flags & HAS_COMMAND {
        0 => None,
        _ => Some(CommandId(Bits(input.take()?))),
    };
    let by = match flags & HAS_BY {
        0 => By::engine(),
        _ => {
            let length = input.varint()? as usize;
            let text = input.0.get(..length).ok_or(BadRecord::Garbled)?;
            input.0 = &input.0[length..];
            serde_json::from_slice(text).map_err(|_| BadRecord::Garbled)?
        }
    };
    if version == 0 || count == 0 || version.checked_add(count).is_none() {
        return Err(BadRecord::Garbled);
    }
    let at = Timestamp(i64::from_be_bytes(at));
    let header = Header { schema, entity, version, count, at, previous, command, by };
    Ok((header, input.0))
}

/// The hash that the next record of the entity has to repeat.
pub fn hash(record: &[u8]) -> Hash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(record).as_bytes()[..16]);
    hash
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(BadRecord::Garbled)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u64, BadRecord> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BadRecord::Garbled)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = Header> {
        (
            any::<[u8; 16]>(),
            1u64..1 << 40,
            1u64..1000,
            0i64..1 << 47,
            any::<[u8; 16]>(),
            any::<Option<[u8; 16]>>(),
            any::<Option<(String, String, String)>>(),
        )
            .prop_map(|(bits, version, count, at, previous, command, by)| Header {
                schema: SCHEMA,
                entity: Entity { kind: EntityKind::Case, bits: Bits(bits) },
                version,
                count,
                at: Timestamp(at),
                previous,
                command: command.map(|c| CommandId(Bits(c))),
                by: by.map_or_else(By::engine, |(who, from, why)| By { who, from, why }),
            })
    }

    proptest! {
        #[test]
        fn there_and_back(header in header(), events in "\\PC{0,100}") {
            let bytes = encode(&header, events.as_bytes());
            let (read, rest) = decode(&bytes).unwrap();
            prop_assert_eq!(read, header);
            prop_assert_eq!(rest, events.as_bytes());
        }

        #[test]
        fn a_flipped_bit_is_seen(header in header(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = encode(&header, b"[]");
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            // flags and format are outside of the checksum: they change what is read, or are refused
            if place >= 2 {
                prop_assert!(decode(&bytes).is_err());
            } else {
                let _ = decode(&bytes);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}
