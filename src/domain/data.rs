//! JSON that is shared instead of copied: inputs, outputs, contexts.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

/// The text of a value whatever the order of its keys: equal values have equal texts.
pub fn canonical(json: &Json) -> String {
    fn sorted(json: &Json) -> Json {
        match json {
            Json::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(key, _)| *key);
                fields.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect()
            }
            Json::Array(items) => items.iter().map(sorted).collect(),
            plain => plain.clone(),
        }
    }
    match json {
        Json::Object(_) | Json::Array(_) => sorted(json).to_string(),
        plain => plain.to_string(),
    }
}

/// A JSON value that many may hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Data(Arc<Json>);

impl Data {
    /// JSON's null.
    pub fn null() -> Self {
        static NULL: OnceLock<Data> = OnceLock::new();
        NULL.get_or_init(|| Data(Arc::new(Json::Null))).clone()
    }

    /// The shared value itself.
    pub fn shared(&self) -> Arc<Json> {
        self.0.clone()
    }

    /// Whether both hold the same allocation, which is cheaper than comparing.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::null()
    }
}

impl Deref for Data {
    type Target = Json;

    fn deref(&self) -> &Json {
        &self.0
    }
}

impl From<Json> for Data {
    fn from(json: Json) -> Self {
        Self(Arc::new(json))
    }
}

impl From<Arc<Json>> for Data {
    fn from(json: Arc<Json>) -> Self {
        Self(json)
    }
}

/// As itself in JSON; as the text of the JSON in binary formats, which could not read it back
/// otherwise.
impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.serialize(serializer)
        } else {
            let text = serde_json::to_string(&*self.0).map_err(S::Error::custom)?;
            serializer.serialize_str(&text)
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Json::deserialize(deserializer).map(Self::from)
        } else {
            let text = String::deserialize(deserializer)?;
            serde_json::from_str::<Json>(&text).map(Self::from).map_err(D::Error::custom)
        }
    }
}
