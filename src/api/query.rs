//! Parameters of lists: known ones are read, others are refused by name.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::problem::Problem;
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::time::Timestamp;
use crate::store::views::lists::CaseFilter;

/// Items of a page at the most.
const LIMIT_MAX: usize = 500;

/// Items of a page where nothing else is asked for.
const LIMIT: usize = 50;

/// The parameters of one request.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string; `known` are the names that this request understands.
    ///
    /// # Errors
    /// 400, naming what is not known.
    pub fn read(raw: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let pairs = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        let pairs: Vec<(String, String)> = pairs.into_owned().collect();
        let wrong: Vec<_> = pairs
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .map(|(name, _)| {
                let detail = match name.as_str() {
                    "q" | "tag" => "this filter is not supported yet".to_owned(),
                    _ => format!("known here: {}", known.join(", ")),
                };
                json!({"pointer": format!("?{name}"), "detail": detail})
            })
            .collect();
        if wrong.is_empty() {
            return Ok(Self(pairs));
        }
        let detail = "the query holds a parameter that is not known";
        Err(Problem::new(StatusCode::BAD_REQUEST, detail).with_errors(wrong))
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The values of a parameter, split at commas.
    pub fn all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(known, _)| known == name);
        let values = values.flat_map(|(_, value)| value.split(',').map(str::to_owned));
        values.filter(|value| !value.is_empty()).collect()
    }

    /// Whether something is wanted; not where nothing is said.
    ///
    /// # Errors
    /// 400 where it is neither `true` nor `false`.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        if self.0.iter().filter(|(known, _)| known == name).count() > 1 {
            return Err(bad(name, "once".to_owned()));
        }
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(bad(name, "true or false".to_owned())),
        }
    }

    /// How many items are wanted.
    ///
    /// # Errors
    /// 400 where it is no number from 1 to 500.
    pub fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else { return Ok(LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.ok_or_else(|| bad("limit", format!("a number from 1 to {LIMIT_MAX}")))
    }

    /// Where the last page ended.
    ///
    /// # Errors
    /// 400 where it is no cursor of ours.
    pub fn cursor(&self) -> Result<Option<Vec<u8>>, Problem> {
        let Some(text) = self.get("cursor") else { return Ok(None) };
        let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| {
            let (place, sum) = bytes.split_last_chunk()?;
            let ours = !place.is_empty() && crc32fast::hash(place).to_le_bytes() == *sum;
            ours.then(|| place.to_vec())
        });
        decoded.map(Some).ok_or_else(|| bad("cursor", "what `next` of a list said".to_owned()))
    }

    /// A time.
    ///
    /// # Errors
    /// 400 where it is none.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let parse = |text: &str| {
            let wrong = |_| bad(name, "a time such as 2026-01-31T12:00:00Z".to_owned());
            text.parse().map_err(wrong)
        };
        self.get(name).map(parse).transpose()
    }

    /// The filter of a list of cases.
    ///
    /// # Errors
    /// 400 where a value is not one that there is.
    pub fn cases(&self) -> Result<CaseFilter, Problem> {
        let phase = |text: &String| {
            let names: Vec<&str> = Phase::ALL.into_iter().map(Phase::name).collect();
            Phase::of(text).ok_or_else(|| bad("phase", format!("one of {}", names.join(", "))))
        };
        let wait = |text: &String| {
            let (kind, on) = match text.split_once(':') {
                Some((kind, on)) => (kind, Some(on.to_owned())),
                None => (text.as_str(), None),
            };
            let names: Vec<&str> = WaitKind::ALL.into_iter().map(WaitKind::name).collect();
            let kind = WaitKind::of(kind);
            let kind = kind.ok_or_else(|| bad("wait", format!("one of {}", names.join(", "))))?;
            Ok::<_, Problem>((kind, on))
        };
        Ok(CaseFilter {
            workflow: self.all("workflow"),
            phase: self.all("phase").iter().map(phase).collect::<Result<_, _>>()?,
            status: self.all("status"),
            subject: self.all("subject"),
            service: self.all("service"),
            csr: self.all("csr"),
            wait: self.all("wait").iter().map(wait).collect::<Result<_, _>>()?,
            since: self.time("since")?,
            until: self.time("until")?,
        })
    }
}

/// The names of the filters of a list of cases.
pub const CASE_FILTERS: [&str; 11] = [
    "workflow", "phase", "status", "subject", "service", "csr", "wait", "since", "until", "limit",
    "cursor",
];

/// What a list by name may be asked.
pub const BY_NAME: [&str; 2] = ["limit", "cursor"];

/// A page of what is listed by name, and where to go on from.
///
/// # Errors
/// 400 for anything else than limit and cursor.
pub fn page_by_name<T>(
    query: Option<&str>,
    all: impl Iterator<Item = (Arc<str>, T)>,
) -> Result<(Vec<T>, Option<String>), Problem> {
    let query = Query::read(query, &BY_NAME)?;
    let (limit, after) = (query.limit()?, query.cursor()?.unwrap_or_default());
    let behind = all.filter(|(name, _)| name.as_bytes() > &after[..]);
    let mut page: Vec<(Arc<str>, T)> = behind.take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).and_then(|(name, _)| cursor(Some(name.as_bytes())));
    Ok((page.into_iter().map(|(_, one)| one).collect(), next))
}

/// A cursor as text, with a sum that one which was made up or cut off does not have.
pub fn cursor(next: Option<&[u8]>) -> Option<String> {
    next.map(|next| {
        let sum = crc32fast::hash(next).to_le_bytes();
        URL_SAFE_NO_PAD.encode([next, &sum].concat())
    })
}

/// A parameter that is not as it should be.
pub fn bad(name: &str, detail: String) -> Problem {
    let error = json!({"pointer": format!("?{name}"), "detail": detail});
    let detail = format!("the parameter `{name}` is not as it should be");
    Problem::new(StatusCode::BAD_REQUEST, detail).with_errors(vec![error])
}
