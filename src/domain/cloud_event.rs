//! CloudEvents 1.0 as they come in: which attributes they need, and what shapes these have.

use serde_json::{Map, Value as Json};

use super::data::Data;
use super::ids::EventId;
use super::workflow::schema::Violation;

/// An event that is what CloudEvents 1.0 asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudEvent {
    /// Its identity: one for each `source` and `id`.
    pub id: EventId,
    /// All attributes, `data` among them.
    pub attributes: Data,
}

/// Attributes that every event has.
const NEEDED: [&str; 4] = ["specversion", "id", "source", "type"];

/// Texts that it may have.
const TEXTS: [&str; 4] = ["datacontenttype", "dataschema", "subject", "time"];

impl CloudEvent {
    /// Checks an event in the JSON format.
    ///
    /// # Errors
    /// Every attribute that is not as it should be.
    pub fn check(event: Json) -> Result<Self, Vec<Violation>> {
        let Json::Object(attributes) = event else {
            let detail = "a CloudEvent is an object".to_owned();
            return Err(vec![Violation { pointer: String::new(), detail }]);
        };
        let violations = violations(&attributes);
        if !violations.is_empty() {
            return Err(violations);
        }
        let text = |name: &str| attributes.get(name).and_then(Json::as_str).unwrap_or_default();
        let id = EventId::of(text("source"), text("id"));
        Ok(Self { id, attributes: Data::from(Json::Object(attributes)) })
    }

    /// An attribute that is a text.
    pub fn text(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(Json::as_str).unwrap_or_default()
    }
}

fn violations(attributes: &Map<String, Json>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |name: &str, detail: &str| {
        found.push(Violation { pointer: format!("/{name}"), detail: detail.to_owned() });
    };
    for name in NEEDED {
        match attributes.get(name).and_then(Json::as_str) {
            Some("") | None => wrong(name, "a text that is not empty is needed"),
            Some(version) if name == "specversion" && version != "1.0" => {
                wrong(name, "only version 1.0 is known");
            }
            Some(text) if text.len() > 1024 => wrong(name, "it is longer than 1024 bytes"),
            Some(_) => {}
        }
    }
    if attributes.contains_key("data") && attributes.contains_key("data_base64") {
        wrong("data_base64", "an event has data in one form alone");
    }
    for (name, value) in attributes {
        if NEEDED.contains(&name.as_str()) || name == "data" {
            continue;
        }
        if name == "data_base64" || TEXTS.contains(&name.as_str()) {
            if !value.is_string() {
                wrong(name, "a text is needed");
            } else if name == "time"
                && value.as_str().is_some_and(|t| t.parse::<super::time::Timestamp>().is_err())
            {
                wrong(name, "a time as in RFC 3339 is needed");
            }
            continue;
        }
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !plain || name.is_empty() {
            wrong(name, "names of attributes are made of a-z and 0-9");
        } else if value.is_object() || value.is_array() {
            wrong(name, "an extension attribute is a text, a number or a truth value");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_is_named() {
        let event = json!({
            "specversion": "0.3", "id": "", "type": "t", "time": "yesterday", "Upper": 1,
            "extension": {}, "subject": 4, "data": {"any": "thing"}
        });
        let mut pointers: Vec<_> =
            CloudEvent::check(event).unwrap_err().into_iter().map(|v| v.pointer).collect();
        pointers.sort();
        let expected =
            ["/Upper", "/extension", "/id", "/source", "/specversion", "/subject", "/time"];
        assert_eq!(pointers, expected);
        assert!(CloudEvent::check(json!([])).is_err());
    }

    #[test]
    fn identity_is_source_and_id() {
        let event = |data: u32| {
            json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": data,
                   "traceparent": "00-1"})
        };
        let one = CloudEvent::check(event(1)).unwrap();
        let two = CloudEvent::check(event(2)).unwrap();
        assert_eq!(one.id, two.id);
        assert_eq!(one.text("type"), "t");
    }
}
