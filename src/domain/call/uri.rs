//! Addresses: templates expanded, queries appended, hosts read.

use serde_json::Value as Json;
use url::Url;

use crate::domain::workflow::model::UriPart;

/// Expands a URI template over the top-level properties of `input`; every value is encoded.
///
/// # Errors
/// When a variable is neither text, number, boolean nor null.
pub fn expand(parts: &[UriPart], input: &Json) -> Result<String, String> {
    let mut uri = String::new();
    let mut values = Vec::new();
    for part in parts {
        match part {
            UriPart::Text(text) => uri.push_str(text),
            UriPart::Variable(name) => {
                let value = input.get(name).filter(|value| !value.is_null());
                let value = value.ok_or_else(|| {
                    format!("`{name}` has no value, and the address would be another one without")
                })?;
                let text = scalar(value)
                    .ok_or_else(|| format!("`{name}` is no value that fits into an address"))?;
                let before = uri.len();
                uri.push_str(&encoded(&text));
                // what comes behind the path leads to no other address
                if !uri[..before].contains(['?', '#']) {
                    values.push((name, before, uri.len()));
                }
            }
        }
    }
    for (name, from, to) in values {
        let start = uri[..from].rfind('/').map_or(0, |place| place + 1);
        let end = uri[to..].find(['/', '?', '#']).map_or(uri.len(), |place| to + place);
        if leads_elsewhere(&uri[start..end]) {
            return Err(format!(
                "`{name}` makes a step of the path empty or dots, which is another address"
            ));
        }
    }
    Ok(uri)
}

/// Whether a step of a path is none: it would lead to what is around.
pub fn leads_elsewhere(step: &str) -> bool {
    matches!(step, "" | "." | "..")
}

/// Text, number, boolean or null as text.
pub fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::Null => Some(String::new()),
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) => Some(n.to_string()),
        Json::String(text) => Some(text.clone()),
        Json::Array(_) | Json::Object(_) => None,
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Appends parameters to an address that may have a query already.
pub fn with_query(uri: &str, pairs: &[(String, String)]) -> String {
    if pairs.is_empty() {
        return uri.to_owned();
    }
    let (uri, fragment) = match uri.split_once('#') {
        Some((uri, fragment)) => (uri, Some(fragment)),
        None => (uri, None),
    };
    let mut out = uri.to_owned();
    for (name, value) in pairs {
        let joint = match out.find('?') {
            None => "?",
            Some(place) if place + 1 == out.len() => "",
            Some(_) => "&",
        };
        out.push_str(joint);
        out.push_str(&format!("{}={}", encoded(name), encoded(value)));
    }
    if let Some(fragment) = fragment {
        out.push('#');
        out.push_str(fragment);
    }
    out
}

/// The host of an http or https address, in lower case.
///
/// # Errors
/// Why this is no address that can be called.
pub fn host_of(uri: &str) -> Result<String, String> {
    let url = Url::parse(uri).map_err(|e| format!("the address cannot be called: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme `{}` cannot be called", url.scheme()));
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    host.map(str::to_ascii_lowercase).ok_or_else(|| "the address names no host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::model::UriPart::{Text, Variable};
    use serde_json::json;

    #[test]
    fn values_are_encoded() {
        let parts = [Text("http://crm/customers/".into()), Variable("id".into())];
        let expanded = |input: Json| expand(&parts, &input);
        assert_eq!(expanded(json!({"id": "a/b?c"})).unwrap(), "http://crm/customers/a%2Fb%3Fc");
        assert_eq!(expanded(json!({"id": 7})).unwrap(), "http://crm/customers/7");
        assert!(expanded(json!({})).is_err(), "a DELETE must not meet all customers");
        assert_eq!(expanded(json!({"id": "é"})).unwrap(), "http://crm/customers/%C3%A9");
        assert!(expanded(json!({"id": [1]})).is_err());
        for around in ["", ".", ".."] {
            assert!(expanded(json!({"id": around})).is_err(), "a DELETE must not climb: {around}");
        }
        assert!(expanded(json!({"id": "..."})).is_ok());
        let parts = [Text("http://crm/find?name=".into()), Variable("id".into())];
        assert_eq!(expand(&parts, &json!({"id": ".."})).unwrap(), "http://crm/find?name=..");
        let parts = [Text("http://crm/v".into()), Variable("id".into()), Text("/x".into())];
        assert_eq!(expand(&parts, &json!({"id": "."})).unwrap(), "http://crm/v./x");
    }

    #[test]
    fn queries_are_appended() {
        let pairs = [("a b".to_owned(), "c&d".to_owned()), ("e".to_owned(), "f".to_owned())];
        assert_eq!(with_query("http://x/y", &pairs), "http://x/y?a%20b=c%26d&e=f");
        assert_eq!(with_query("http://x/y?z=1#top", &pairs), "http://x/y?z=1&a%20b=c%26d&e=f#top");
        assert_eq!(with_query("http://x/y", &[]), "http://x/y");
    }

    #[test]
    fn hosts() {
        assert_eq!(host_of("https://Crm.example:8443/x").unwrap(), "crm.example");
        assert!(host_of("ftp://x/").is_err());
        assert!(host_of("nonsense").is_err());
    }
}
