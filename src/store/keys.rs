//! The only place that knows the bytes of keys. Numbers are big-endian, so that keys sort as the
//! numbers do.

use crate::domain::ids::{Bits, Entity, EntityKind};

/// Key of a record by its position.
pub fn position(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

/// The position that a key stands for.
pub fn position_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Bytes of an entity: its kind and its id.
pub const ENTITY_LEN: usize = 17;

/// An entity as the beginning of a key.
pub fn entity(entity: Entity) -> [u8; ENTITY_LEN] {
    let mut key = [0; ENTITY_LEN];
    key[0] = entity.kind as u8;
    key[1..].copy_from_slice(&entity.bits.0);
    key
}

/// The entity that a key begins with; none for a kind that a later version wrote.
pub fn entity_of(key: &[u8]) -> Option<Entity> {
    let kind = EntityKind::of(*key.first()?)?;
    let bits = key.get(1..ENTITY_LEN)?.try_into().ok()?;
    Some(Entity { kind, bits: Bits(bits) })
}

/// Key of a record by its entity and the version of its first event.
pub fn entity_version(of: Entity, first: u64) -> [u8; ENTITY_LEN + 8] {
    let mut key = [0; ENTITY_LEN + 8];
    key[..ENTITY_LEN].copy_from_slice(&entity(of));
    key[ENTITY_LEN..].copy_from_slice(&first.to_be_bytes());
    key
}

/// The version that such a key ends with.
pub fn version_of(key: &[u8]) -> Option<u64> {
    position_of(key.get(ENTITY_LEN..)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_as_versions_do(bits in any::<[u8; 16]>(), a in any::<u64>(), b in any::<u64>()) {
            let of = Entity { kind: EntityKind::Case, bits: Bits(bits) };
            prop_assert_eq!(entity_version(of, a).cmp(&entity_version(of, b)), a.cmp(&b));
            prop_assert_eq!(entity_of(&entity_version(of, a)), Some(of));
            prop_assert_eq!(version_of(&entity_version(of, a)), Some(a));
            prop_assert_eq!(position_of(&position(a)), Some(a));
        }
    }
}
