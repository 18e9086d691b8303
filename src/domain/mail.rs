//! A mail as a value: arguments checked, texts rendered. Sending it is an effect's business.

mod template;

use minijinja::AutoEscape;
use serde::Deserialize;
use serde_json::Value as Json;

pub use template::check as check_text;
use template::render;

use crate::domain::document::DocumentId;

/// Documents of one mail.
const ATTACHED_MAX: usize = 20;

/// A mail ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub reply_to: Option<String>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    /// What it belongs to: mails of the same are shown as one conversation.
    pub thread: Option<String>,
    pub attachments: Vec<Attachment>,
    /// Stored documents that come with it, to be read when it leaves.
    pub documents: Vec<Named>,
}

/// A stored document that comes with a mail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    pub name: String,
    pub media_type: String,
    pub document: DocumentId,
}

/// A file that comes with a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    /// As its Content-Type says it, with parameters.
    pub media_type: String,
    pub content: Vec<u8>,
}

impl Mail {
    /// Makes a mail of the arguments of `call: email`: `{to, cc?, replyTo?, subject, text, html?,
    /// data?, attachments?}`, the texts being minijinja templates over `data`.
    ///
    /// # Errors
    /// What is wrong with the arguments, without quoting them.
    pub fn compose(arguments: &Json) -> Result<Self, String> {
        let Json::Object(fields) = arguments else {
            return Err("the arguments of a mail are an object".to_owned());
        };
        let known = ["to", "cc", "replyTo", "subject", "text", "html", "data", "attachments"];
        if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("`{key}` is no argument of a mail"));
        }
        let nothing = Json::Object(serde_json::Map::new());
        let data = fields.get("data").unwrap_or(&nothing);
        let text = |key: &str| match fields.get(key) {
            Some(Json::String(text)) => Ok(Some(text.as_str())),
            None | Some(Json::Null) => Ok(None),
            Some(_) => Err(format!("`{key}` of the mail is no text")),
        };
        let needed =
            |key: &str| text(key)?.ok_or_else(|| format!("`{key}` of the mail is missing"));
        let subject = render(needed("subject")?, data, AutoEscape::None)?;
        let to = addresses(fields.get("to"), "to")?;
        if to.is_empty() {
            return Err("`to` of the mail is missing".to_owned());
        }
        Ok(Self {
            to,
            cc: addresses(fields.get("cc"), "cc")?,
            reply_to: text("replyTo")?.map(str::to_owned),
            subject: subject.split_whitespace().collect::<Vec<_>>().join(" "),
            text: render(needed("text")?, data, AutoEscape::None)?,
            html: text("html")?.map(|html| render(html, data, AutoEscape::Html)).transpose()?,
            thread: None,
            attachments: Vec::new(),
            documents: documents(fields.get("attachments"))?,
        })
    }
}

/// The documents of a mail.
fn documents(value: Option<&Json>) -> Result<Vec<Named>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let named = Vec::<Named>::deserialize(value);
    let named = named.map_err(|error| format!("`attachments` of the mail: {error}"))?;
    match named.len() > ATTACHED_MAX {
        true => Err(format!("`attachments` of the mail: {ATTACHED_MAX} at the most")),
        false => Ok(named),
    }
}

/// One address or a list of them.
fn addresses(value: Option<&Json>, key: &str) -> Result<Vec<String>, String> {
    match value {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(one)) => Ok(vec![one.clone()]),
        Some(Json::Array(all)) => {
            let text = |v: &Json| v.as_str().map(str::to_owned);
            let all: Option<Vec<String>> = all.iter().map(text).collect();
            all.ok_or_else(|| format!("`{key}` of the mail holds something that is no text"))
        }
        Some(_) => Err(format!("`{key}` of the mail is neither an address nor a list of them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn renders_text_and_html() {
        let mail = Mail::compose(&json!({
            "to": "ann@example.com", "subject": "Hello\n{{ name }}",
            "text": "Dear {{ name }},{% if tracking %} {{ tracking }}{% endif %}\n",
            "html": "<p>{{ name }}</p>", "data": {"name": "Ann & Bob", "tracking": null}
        }))
        .unwrap();
        assert_eq!(mail.subject, "Hello Ann & Bob");
        assert_eq!(mail.text, "Dear Ann & Bob,\n");
        assert_eq!(mail.html.as_deref(), Some("<p>Ann &amp; Bob</p>"));
    }

    #[test]
    fn refuses_what_is_no_mail() {
        let check = |arguments: Json, expected: &str| {
            let error = Mail::compose(&arguments).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        };
        check(json!([]), "an object");
        check(json!({"subject": "s", "text": "t"}), "`to` of the mail is missing");
        check(json!({"to": 1, "subject": "s", "text": "t"}), "neither an address");
        check(json!({"to": "a@b.c", "text": "t"}), "`subject`");
        check(json!({"to": "a@b.c", "subject": "s", "text": "{{ name }}"}), "undefined");
        check(json!({"to": "a@b.c", "subject": "s", "text": "{% for %}"}), "syntax");
        check(json!({"to": "a@b.c", "subject": "s", "text": "t", "bcc": "x"}), "`bcc`");
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        check(json!({"to": "a@b.c", "subject": "s", "text": endless}), "fuel");
    }

    #[test]
    fn templates_are_checked_before_there_is_data() {
        assert!(check_text("Hello {{ name }}").is_ok());
        assert!(check_text("Hello {{ name }").unwrap_err().contains("line 1"));
    }
}
