//! A mail as a value: arguments checked, texts rendered. Sending it is an effect's business.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value as Json;

/// Steps that rendering one text may take.
const FUEL: u64 = 100_000;

/// Bytes that one rendered text may have.
const TEXT_MAX: usize = 256 * 1024;

/// A mail ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub reply_to: Option<String>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
}

impl Mail {
    /// Makes a mail of the arguments of `call: email`: `{to, cc?, replyTo?, subject, text, html?,
    /// data?}`, the texts being minijinja templates over `data`.
    ///
    /// # Errors
    /// What is wrong with the arguments, without quoting them.
    pub fn compose(arguments: &Json) -> Result<Self, String> {
        let Json::Object(fields) = arguments else {
            return Err("the arguments of a mail are an object".to_owned());
        };
        let known = ["to", "cc", "replyTo", "subject", "text", "html", "data"];
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
        })
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

/// Whether a text is a template, before there is data for it.
///
/// # Errors
/// What is wrong with it.
pub fn check_text(source: &str) -> Result<(), String> {
    let mut env = Environment::empty();
    env.add_template("text", source).map_err(|e| format!("this is no template: {}", say(&e)))
}

fn render(source: &str, data: &Json, escape: AutoEscape) -> Result<String, String> {
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL));
    // a customer must not get a mail with a hole in it
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    env.set_syntax(syntax.expect("only the newline differs from the default"));
    env.set_auto_escape_callback(move |_| escape.clone());
    let rendered = env.render_str(source, minijinja::value::Serde(data));
    let text = rendered.map_err(|e| format!("the mail's text cannot be made: {}", say(&e)))?;
    if text.len() > TEXT_MAX {
        return Err(format!("a text of the mail is longer than {} KiB", TEXT_MAX / 1024));
    }
    Ok(text)
}

fn say(error: &minijinja::Error) -> String {
    let kind = error.kind().to_string();
    match (error.detail(), error.line()) {
        (Some(detail), Some(line)) => format!("{kind}: {detail} (line {line})"),
        (Some(detail), None) => format!("{kind}: {detail}"),
        (None, Some(line)) => format!("{kind} (line {line})"),
        (None, None) => kind,
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
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}";
        check(json!({"to": "a@b.c", "subject": "s", "text": endless}), "fuel");
    }

    #[test]
    fn templates_are_checked_before_there_is_data() {
        assert!(check_text("Hello {{ name }}").is_ok());
        assert!(check_text("Hello {{ name }").unwrap_err().contains("line 1"));
    }
}
