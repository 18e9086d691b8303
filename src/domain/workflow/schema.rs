//! JSON Schema of inputs and outputs, compiled once; nothing is ever fetched.

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value as Json;

/// Violations reported for one value; a list of thousands helps nobody.
const VIOLATIONS_MAX: usize = 20;

/// A compiled schema.
#[derive(Clone)]
pub struct Schema {
    validator: Arc<Validator>,
}

/// One way in which a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer into the value.
    pub pointer: String,
    pub detail: String,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

impl Schema {
    /// Compiles a schema document. Patterns are matched in linear time, formats are checked.
    ///
    /// # Errors
    /// Why this is no schema that can be used without fetching anything.
    pub fn compile(document: &Json) -> Result<Self, String> {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
            .build(document)
            .map_err(|e| e.to_string())?;
        Ok(Self { validator: Arc::new(validator) })
    }

    /// The ways in which `value` does not fit; none if it does.
    pub fn violations(&self, value: &Json) -> Vec<Violation> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(value).take(VIOLATIONS_MAX);
        let violation = |e: jsonschema::ValidationError<'_>| Violation {
            pointer: e.instance_path().to_string(),
            // the masked form names the fault without quoting the data, which may be personal
            detail: e.masked_with("the value").to_string(),
        };
        errors.map(violation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn says_where_and_what_without_quoting_the_data() {
        let schema = Schema::compile(&json!({
            "type": "object", "required": ["id"],
            "properties": {"id": {"type": "string"}, "items": {"type": "array", "items": {"type": "integer"}}}
        }))
        .unwrap();
        assert_eq!(schema.violations(&json!({"id": "x"})), []);
        let found = schema.violations(&json!({"id": 7, "items": [1, "secret"]}));
        let pointers: Vec<_> = found.iter().map(|v| v.pointer.as_str()).collect();
        assert_eq!(pointers, ["/id", "/items/1"]);
        assert!(found.iter().all(|v| !v.detail.contains("secret")), "{found:?}");
    }

    #[test]
    fn fetches_nothing() {
        assert!(Schema::compile(&json!({"$ref": "https://example.com/a.json"})).is_err());
        assert!(Schema::compile(&json!({"type": "strng"})).is_err());
    }

    #[test]
    fn patterns_take_linear_time() {
        let schema = Schema::compile(&json!({"pattern": "^(a+)+$"})).unwrap();
        assert_eq!(schema.violations(&json!(format!("{}b", "a".repeat(5000)))).len(), 1);
    }
}
