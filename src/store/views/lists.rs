//! Lists of cases: filters, read off the index that narrows most, newest first.

use std::ops::Bound;

use super::{TableError, Views, keys};
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::Summary;
use crate::domain::time::Timestamp;

/// Rows looked at for one page at the most; a page may be shorter than asked for then.
const LOOKED_AT: usize = 10_000;

/// What is asked of a list; each filter holds any of its values, an empty one all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaseFilter {
    pub workflow: Vec<String>,
    pub phase: Vec<Phase>,
    pub status: Vec<String>,
    pub subject: Vec<String>,
    /// Services behind which a call of the case is parked.
    pub service: Vec<String>,
    /// CSRs who have something to do in it.
    pub csr: Vec<String>,
    /// Kinds of the wait that is shown, and what it is for.
    pub wait: Vec<(WaitKind, Option<String>)>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct Page {
    pub items: Vec<Summary>,
    /// Where the next page begins; none: there is none.
    pub next: Option<Vec<u8>>,
}

impl CaseFilter {
    /// Whether a case fits.
    pub fn accepts(&self, case: &Summary) -> bool {
        fn any<T>(wanted: &[T], fits: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(fits)
        }
        any(&self.workflow, |w| names(w, case))
            && any(&self.phase, |p| *p == case.phase)
            && any(&self.status, |s| case.status.as_deref() == Some(s))
            && any(&self.subject, |s| case.subject.as_deref() == Some(s))
            && any(&self.service, |s| {
                case.parked.iter().chain(&case.repeating).any(|p| *p.service == **s)
            })
            && any(&self.csr, |csr| case.csrs.iter().any(|known| **known == **csr))
            && any(&self.wait, |(kind, on)| {
                case.wait.as_ref().is_some_and(|wait| {
                    wait.kind == *kind && (on.is_none() || wait.on.as_deref() == on.as_deref())
                })
            })
            && self.since.is_none_or(|since| case.created_at >= since)
            && self.until.is_none_or(|until| case.created_at < until)
    }

    /// The indexes to read, any of which holds what fits.
    fn indexes(&self) -> Vec<Vec<u8>> {
        if !self.subject.is_empty() {
            return self.subject.iter().map(|s| keys::subject(s)).collect();
        }
        if !self.service.is_empty() {
            return self.service.iter().map(|s| keys::at_service(s)).collect();
        }
        if !self.csr.is_empty() {
            return self.csr.iter().map(|csr| keys::at_csr(csr)).collect();
        }
        if !self.wait.is_empty() {
            let index = |(kind, on): &(WaitKind, Option<String>)| match on {
                Some(on) => keys::wait_on(*kind, on),
                None => keys::wait(*kind),
            };
            return self.wait.iter().map(index).collect();
        }
        let open = !self.phase.is_empty() && !self.phase.contains(&Phase::Completed);
        if open {
            return self.phase.iter().map(|p| keys::phase(*p)).collect();
        }
        if !self.status.is_empty() {
            return self.status.iter().map(|s| keys::status(s)).collect();
        }
        if !self.workflow.is_empty() {
            return self.workflow.iter().map(|w| keys::workflow(name_of(w))).collect();
        }
        if !self.phase.is_empty() {
            return self.phase.iter().map(|p| keys::phase(*p)).collect();
        }
        vec![vec![keys::ALL]]
    }
}

/// `namespace/name` of a filter's `namespace/name[/version]`.
fn name_of(wanted: &str) -> &str {
    match wanted.match_indices('/').nth(1) {
        Some((place, _)) => &wanted[..place],
        None => wanted,
    }
}

fn names(wanted: &str, case: &Summary) -> bool {
    let workflow = case.definition.workflow();
    match wanted.strip_prefix(&workflow) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('/') == Some(&*case.definition.version),
        None => false,
    }
}

type Entries<'a> = std::iter::Peekable<Box<dyn Iterator<Item = Result<Vec<u8>, TableError>> + 'a>>;

impl Views {
    /// A page of cases that fit, newest first, from where the last page ended.
    ///
    /// # Errors
    /// When sled fails.
    pub fn cases(
        &self,
        filter: &CaseFilter,
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Page, TableError> {
        let mut indexes = filter.indexes();
        indexes.sort_unstable();
        indexes.dedup();
        let mut streams: Vec<Entries> =
            indexes.iter().map(|index| self.places(index, filter, after)).collect();
        let mut page = Page::default();
        let mut looked_at = 0;
        let mut last: Option<Vec<u8>> = None;
        while let Some(place) = next_place(&mut streams)? {
            if last.as_ref() == Some(&place) {
                continue;
            }
            looked_at += 1;
            let case = keys::case_at_end(&place).map(|case| self.case(case)).transpose()?;
            if let Some(case) = case.flatten() {
                if filter.since.is_some_and(|since| case.created_at < since) {
                    return Ok(page);
                }
                if filter.accepts(&case) {
                    page.items.push(case);
                }
            }
            if page.items.len() == most || looked_at == LOOKED_AT {
                page.next = Some(place);
                return Ok(page);
            }
            last = Some(place);
        }
        Ok(page)
    }

    /// The places of an index (time and case), newest first.
    fn places<'a>(
        &'a self,
        index: &[u8],
        filter: &CaseFilter,
        after: Option<&[u8]>,
    ) -> Entries<'a> {
        let begin = match (after, filter.until) {
            (Some(after), _) => Some([index, after].concat()),
            // places of cases created at `until` come before this one
            (None, Some(until)) => {
                let before = keys::newest_first(until.plus(-1));
                Some([index, &before].concat())
            }
            (None, None) => None,
        };
        let start = match (&begin, after) {
            (Some(begin), Some(_)) => Bound::Excluded(&begin[..]),
            (Some(begin), None) => Bound::Included(&begin[..]),
            (None, _) => Bound::Unbounded,
        };
        let length = index.len();
        let place = move |entry: Result<(Vec<u8>, Vec<u8>), TableError>| {
            entry.map(|(key, _)| key[length..].to_vec())
        };
        let places: Box<dyn Iterator<Item = _>> =
            Box::new(self.table.scan(index, start).map(place));
        places.peekable()
    }
}

/// The newest of what the streams hold.
fn next_place(streams: &mut [Entries]) -> Result<Option<Vec<u8>>, TableError> {
    let mut newest: Option<(usize, Vec<u8>)> = None;
    for (n, stream) in streams.iter_mut().enumerate() {
        match stream.peek() {
            None => {}
            Some(Err(error)) => return Err(error.clone()),
            Some(Ok(place)) if newest.as_ref().is_none_or(|(_, known)| place < known) => {
                newest = Some((n, place.clone()));
            }
            Some(Ok(_)) => {}
        }
    }
    let Some((n, place)) = newest else { return Ok(None) };
    streams[n].next();
    Ok(Some(place))
}
