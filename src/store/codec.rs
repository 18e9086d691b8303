//! What can be thrown away, as bincode under a schema number; the only file that names bincode.
//!
//! Nothing written here outlives a change of its shape: another schema number, another length, a
//! wrong checksum all mean "not there", and it is built again from the journal.

use bincode::config::{Configuration, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Raised whenever anything that is encoded here changes its shape.
const SCHEMA: u16 = 9;

const CONFIG: Configuration = standard();

/// Encodes a value behind its schema number and checksum.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = SCHEMA.to_le_bytes().to_vec();
    out.extend([0; 4]);
    let body = bincode::serde::encode_to_vec(value, CONFIG);
    out.extend(body.expect("derived shapes of plain values always encode"));
    let crc = crc32fast::hash(&out[6..]);
    out[2..6].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Decodes a value; none where it is damaged or of another schema.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (head, body) = bytes.split_first_chunk::<6>()?;
    let [s0, s1, c0, c1, c2, c3] = *head;
    let whole = u16::from_le_bytes([s0, s1]) == SCHEMA
        && u32::from_le_bytes([c0, c1, c2, c3]) == crc32fast::hash(body);
    if !whole {
        return None;
    }
    let (value, used) = bincode::serde::decode_from_slice(body, CONFIG).ok()?;
    (used == body.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    use crate::domain::data::Data;

    #[test]
    fn json_rides_along() {
        let value = (7u32, Data::from(json!({"a": [1, null, "x"]})), Some("text".to_owned()));
        assert_eq!(decode(&encode(&value)), Some(value));
    }

    #[test]
    fn damage_means_not_there() {
        let bytes = encode(&(1u8, "text".to_owned()));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(decode::<(u8, String)>(&damaged), None, "{place}");
        }
        assert_eq!(decode::<(u8, String)>(&bytes[..bytes.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<(u64, String, Vec<Data>)>(&bytes);
        }
    }
}
