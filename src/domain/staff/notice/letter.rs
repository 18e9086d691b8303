//! A notice as a mail: its texts, made of templates in the reader's language, and its calendar file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value as Json, json};

use super::dates::Language;
use super::ics::{self, Entry};
use super::{Kind, Line, Mark, Notice, Reader, Seen, one_line};
use crate::domain::ids::CaseId;
use crate::domain::mail::{Attachment, Mail};
use crate::domain::staff::civil::Zone;
use crate::domain::time::Timestamp;

/// Steps that a template may take.
const FUEL: u64 = 200_000;

/// Bytes of a template.
pub const TEMPLATE_MAX: usize = 64 * 1024;

macro_rules! shipped {
    ($($language:ident $tag:literal),* ; $kinds:tt) => {
        [$(shipped!(@one $language $tag $kinds)),*]
    };
    (@one $language:ident $tag:literal [$($kind:ident $name:literal),*]) => {
        [$((
            Language::$language,
            Kind::$kind,
            include_str!(concat!("../../../../config/mails/", $tag, "/", $name, ".txt")),
            include_str!(concat!("../../../../config/mails/", $tag, "/", $name, ".html")),
        )),*]
    };
}

/// The templates that are built in.
const SHIPPED: [[(Language, Kind, &str, &str); 6]; 2] = shipped!(
    English "en", German "de";
    [
        Planned "planned", Changed "changed", Cancelled "cancelled",
        Assigned "assigned", Reminder "reminder", Escalation "escalation"
    ]
);

/// The two texts of a kind of notice in one language. The first line of the plain one is `Subject: …`.
#[derive(Clone, Debug)]
struct Texts {
    text: Arc<str>,
    html: Arc<str>,
}

/// The templates of all notices.
#[derive(Clone, Debug)]
pub struct Templates {
    all: BTreeMap<(Language, Kind), Texts>,
}

/// For whom a notice is written, as they are when it is.
#[derive(Clone, Debug)]
pub struct Address {
    pub name: String,
    pub email: String,
    pub zone: Zone,
    pub language: Option<String>,
}

/// Who writes it.
#[derive(Clone, Debug)]
pub struct Sender {
    pub email: String,
    /// What UIDs and Message-IDs end with.
    pub domain: String,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", file.display())]
pub struct Faulty {
    pub file: PathBuf,
    pub detail: String,
}

impl Default for Templates {
    fn default() -> Self {
        let all = SHIPPED.iter().flatten().map(|(language, kind, text, html)| {
            ((*language, *kind), Texts { text: (*text).into(), html: (*html).into() })
        });
        Self { all: all.collect() }
    }
}

impl Templates {
    /// The built-in templates, with those files of a folder in their place that it has:
    /// `<language>/<kind>.txt` and `.html`.
    ///
    /// # Errors
    /// Every file that is no template, or does not render; `read` gives a file's text, none where there is
    /// none.
    pub fn with(
        folder: &Path,
        read: impl Fn(&Path) -> Option<Result<String, String>>,
    ) -> Result<Self, Vec<Faulty>> {
        let (mut templates, mut faults) = (Self::default(), Vec::new());
        for ((language, kind), texts) in &mut templates.all {
            for (ending, text) in [("txt", &mut texts.text), ("html", &mut texts.html)] {
                let file = folder.join(language.tag()).join(format!("{}.{ending}", kind.name()));
                let fault = |detail: String| Faulty { file: file.clone(), detail };
                match read(&file) {
                    None => {}
                    Some(Ok(own)) if own.len() > TEMPLATE_MAX => {
                        faults.push(fault(format!("larger than {} KiB", TEMPLATE_MAX / 1024)));
                    }
                    Some(Ok(own)) => match try_out((*language, *kind), ending == "html", &own) {
                        Ok(()) => *text = own.into(),
                        Err(detail) => faults.push(fault(detail)),
                    },
                    Some(Err(detail)) => faults.push(fault(detail)),
                }
            }
        }
        if faults.is_empty() { Ok(templates) } else { Err(faults) }
    }

    /// Whether a folder may hold a file of this path: `en/planned.txt`.
    pub fn knows(file: &Path) -> bool {
        let language = |language: &Language| file.parent() == Some(Path::new(language.tag()));
        let kind = |kind: &Kind| {
            let named = |ending: &str| format!("{}.{ending}", kind.name());
            let name = file.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name == named("txt") || name == named("html"))
        };
        Language::ALL.iter().any(language) && Kind::ALL.iter().any(kind)
    }

    /// The mail of a notice.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write(
        &self,
        (case, notice): (CaseId, &Notice),
        to: &Address,
        from: &Sender,
        now: Timestamp,
    ) -> Result<Mail, String> {
        let language = Language::of(to.language.as_deref());
        let texts = self.all.get(&(language, notice.kind)).ok_or("there is no template")?;
        let data = data(case, notice, to, language);
        let text = render(&texts.text, false, &data)?;
        let (subject, text) = subject_of(&text)?;
        let entries: Vec<Entry> = notice
            .lines
            .iter()
            .filter_map(|line| entry(case, notice, line, &from.domain))
            .collect();
        let calendar = (!entries.is_empty()).then(|| Attachment {
            name: "appointments.ics".to_owned(),
            media_type: "text/calendar; charset=utf-8; method=PUBLISH".to_owned(),
            content: ics::file(&entries, Some(&from.email), now).into_bytes(),
        });
        Ok(Mail {
            to: vec![mailbox(&to.name, &to.email)],
            cc: Vec::new(),
            reply_to: None,
            subject,
            text,
            html: Some(render(&texts.html, true, &data)?),
            thread: Some(case.to_string()),
            attachments: calendar.into_iter().collect(),
            documents: Vec::new(),
        })
    }
}

/// A template is tried with everything that it may meet.
fn try_out((language, kind): (Language, Kind), html: bool, template: &str) -> Result<(), String> {
    for sample in super::samples::of(kind) {
        let (case, address) = (CaseId::default(), super::samples::address());
        let data = data(case, &sample, &address, language);
        let made = render(template, html, &data)?;
        if !html {
            subject_of(&made)?;
        }
    }
    Ok(())
}

/// The first line of a text, and what comes behind it.
fn subject_of(text: &str) -> Result<(String, String), String> {
    let found = text.trim_start().strip_prefix("Subject:").and_then(|rest| rest.split_once('\n'));
    let (subject, rest) = found.ok_or("its first line has to be `Subject: …`")?;
    Ok((one_line(subject), rest.trim_start().to_owned()))
}

fn render(template: &str, html: bool, data: &Json) -> Result<String, String> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.map_err(|error| error.to_string())?);
    env.set_fuel(Some(FUEL));
    let escape = if html { AutoEscape::Html } else { AutoEscape::None };
    env.set_auto_escape_callback(move |_| escape.clone());
    let made = env.render_str(template, Serde(data));
    made.map_err(|error| {
        let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        format!("{}{line}", error.detail().unwrap_or("it is no template"))
    })
}

/// What a template knows.
fn data(case: CaseId, notice: &Notice, to: &Address, language: Language) -> Json {
    let (role, name) = match &notice.reader {
        Reader::Customer(_) => ("customer", &to.name),
        Reader::Csr(_) => ("csr", &to.name),
        Reader::Lead => ("lead", &to.name),
    };
    let seen = |seen: &Seen| {
        let when = seen.time.map(|(start, end)| language.span(&to.zone, start, end));
        json!({"csr": one_line(&seen.name), "when": when})
    };
    let lines = notice.lines.iter().map(|line| {
        json!({
            "title": one_line(&line.title),
            "was": line.was.as_ref().map(seen),
            "now": line.now.as_ref().map(seen),
            "due": line.due.map(|due| language.instant(&to.zone, due)),
            "why": line.why.as_deref().map(one_line),
            "ended": line.ended,
        })
    });
    let lines: Vec<Json> = lines.collect();
    json!({
        "case": case,
        "role": role,
        "name": one_line(name),
        "customer": notice.customer.as_deref().map(one_line),
        "mark": notice.lines.first().and_then(|line| line.mark).map(Mark::name),
        "tasks": lines,
    })
}

/// An appointment of a notice, for the reader's calendar.
fn entry(case: CaseId, notice: &Notice, line: &Line, domain: &str) -> Option<Entry> {
    if line.mark.is_some() {
        return None;
    }
    let seen = line.now.as_ref().or(line.was.as_ref())?;
    let (start, end) = seen.time?;
    let with = match &notice.reader {
        Reader::Customer(_) => Some(one_line(&seen.name)),
        Reader::Csr(_) | Reader::Lead => notice.customer.as_deref().map(one_line),
    };
    let title = one_line(&line.title);
    Some(Entry {
        uid: format!("{}@{domain}", line.booking),
        sequence: line.sequence,
        start,
        end,
        summary: with.map_or(title.clone(), |with| format!("{title} ({with})")),
        description: case.to_string(),
        off: line.now.is_none(),
    })
}

/// A name and an address, as a header has them.
fn mailbox(name: &str, email: &str) -> String {
    let name: String = one_line(name).chars().filter(|c| !"\"\\".contains(*c)).collect();
    format!("\"{name}\" <{email}>")
}

#[cfg(test)]
mod tests;
