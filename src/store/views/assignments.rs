//! Rows of human tasks, and the keys under which they are found.

use std::collections::HashSet;
use std::ops::Bound;

use super::keys::{self, ASSIGNMENT, ASSIGNMENT_BY};
use super::{TableError, Views};
use crate::domain::case::assignments::Assigned;
use crate::domain::ids::{AssignmentId, Bits, BookingId, CaseId};
use crate::domain::staff::plan::{Attention, Phase};
use crate::domain::time::Timestamp;
use crate::store::codec;

/// Rows looked at for one page at the most; a page may be shorter than asked for then.
const LOOKED_AT: usize = 10_000;

/// What is asked of a list; each filter holds any of its values, an empty one all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssignmentFilter {
    pub csr: Vec<String>,
    pub phase: Vec<Phase>,
    pub case: Vec<CaseId>,
    pub skill: Vec<String>,
    pub attention: Vec<Attention>,
    /// Bookings that stand out because the rules of their time zone have changed.
    pub moved: HashSet<BookingId>,
    /// Those that are late at this time, or those that are not.
    pub overdue: Option<(bool, Timestamp)>,
    /// With a time that begins at or after, and before.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// By their start, the first one first; else the newest first.
    pub by_start: bool,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct AssignmentPage {
    pub items: Vec<Assigned>,
    /// Where the next page begins; none: there is none.
    pub next: Option<Vec<u8>>,
}

impl AssignmentFilter {
    fn accepts(&self, one: &Assigned) -> bool {
        fn any<T>(wanted: &[T], fits: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(fits)
        }
        let overdue = |at: Timestamp| one.phase.is_open() && one.due.is_some_and(|due| due < at);
        any(&self.csr, |csr| one.csr.as_deref() == Some(csr))
            && any(&self.phase, |phase| *phase == one.phase)
            && any(&self.case, |case| *case == one.case)
            && any(&self.skill, |skill| *one.skill == **skill)
            && any(&self.attention, |attention| {
                let moved = one.attention.is_none() && self.moved.contains(&one.id.booking());
                one.attention == Some(*attention) || (*attention == Attention::Zone && moved)
            })
            && self.overdue.is_none_or(|(wanted, at)| overdue(at) == wanted)
            && self.from.is_none_or(|from| one.start.is_some_and(|start| start >= from))
            && self.to.is_none_or(|to| one.start.is_some_and(|start| start < to))
    }

    /// The index that narrows most.
    fn index(&self) -> Vec<u8> {
        let order = Order::of(self.by_start);
        match (&self.case[..], &self.csr[..], &self.phase[..]) {
            ([case], ..) => order.by_case(*case),
            (_, [csr], _) => order.by_csr(csr),
            (_, _, [phase]) => order.by_phase(*phase),
            _ => order.all(),
        }
    }
}

/// In what order an index lists.
#[derive(Clone, Copy)]
enum Order {
    Newest = 0,
    Start = 1,
}

impl Order {
    fn of(by_start: bool) -> Self {
        if by_start { Self::Start } else { Self::Newest }
    }

    fn all(self) -> Vec<u8> {
        keys::key(ASSIGNMENT_BY, &[&[self as u8, 0]])
    }

    fn by_csr(self, csr: &str) -> Vec<u8> {
        keys::key(ASSIGNMENT_BY, &[&[self as u8, 1], &keys::short(&[csr.as_bytes()])])
    }

    fn by_phase(self, phase: Phase) -> Vec<u8> {
        keys::key(ASSIGNMENT_BY, &[&[self as u8, 2], &[phase as u8]])
    }

    fn by_case(self, case: CaseId) -> Vec<u8> {
        keys::key(ASSIGNMENT_BY, &[&[self as u8, 3], &case.0.0])
    }

    fn place(self, one: &Assigned) -> [u8; 8] {
        match self {
            Self::Newest => keys::newest_first(one.since),
            Self::Start => keys::time(one.start.unwrap_or(Timestamp::MAX)),
        }
    }
}

/// Keys under which an assignment is found.
fn keys_of(one: &Assigned) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for order in [Order::Newest, Order::Start] {
        let mut prefixes = vec![order.all(), order.by_phase(one.phase), order.by_case(one.case)];
        prefixes.extend(one.csr.as_deref().map(|csr| order.by_csr(csr)));
        found.extend(prefixes.into_iter().map(|mut key| {
            key.extend(order.place(one));
            key.extend(one.place.to_be_bytes());
            key.extend(one.id.0.0);
            key
        }));
    }
    found
}

fn row_key(id: AssignmentId) -> Vec<u8> {
    keys::key(ASSIGNMENT, &[&id.0.0])
}

impl Views {
    /// An assignment's row.
    ///
    /// # Errors
    /// When it cannot be read; so for all below.
    pub fn assignment(&self, id: AssignmentId) -> Result<Option<Assigned>, TableError> {
        self.decoded(self.table.get(&row_key(id))?)
    }

    /// Writes the rows of a case's assignments that have changed, and the keys under which they are
    /// found. Those that have.
    pub fn put_assignments(&self, all: &[Assigned]) -> Result<Vec<Assigned>, TableError> {
        let mut changed = Vec::new();
        for one in all {
            let before = self.assignment(one.id)?;
            if before.as_ref() == Some(one) {
                continue;
            }
            let (old, new) = (before.as_ref().map(keys_of).unwrap_or_default(), keys_of(one));
            for key in old.iter().filter(|key| !new.contains(key)) {
                self.table.remove(key)?;
            }
            for key in new.iter().filter(|key| !old.contains(key)) {
                self.table.put(key, &[])?;
            }
            self.table.put(&row_key(one.id), &codec::encode(one))?;
            changed.push(one.clone());
        }
        Ok(changed)
    }

    /// A page of assignments that fit, from where the last page ended.
    pub fn assignments(
        &self,
        filter: &AssignmentFilter,
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<AssignmentPage, TableError> {
        let index = filter.index();
        let begin = after.map(|after| [&index[..], after].concat());
        let start = begin.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = AssignmentPage::default();
        for (looked_at, entry) in self.table.scan(&index, start).enumerate() {
            let (key, _) = entry?;
            let id = key.last_chunk::<16>().map(|bits| AssignmentId(Bits(*bits)));
            let row = id.map(|id| self.assignment(id)).transpose()?.flatten();
            page.items.extend(row.filter(|row| filter.accepts(row)));
            if page.items.len() == most || looked_at + 1 == LOOKED_AT {
                page.next = Some(key[index.len()..].to_vec());
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// Cases that look for somebody with a skill, in the order of priority, due and age.
    pub fn seeking(&self, skill: &str, most: usize) -> Result<Vec<CaseId>, TableError> {
        let found = self.table.scan(&keys::seeking(skill), Bound::Unbounded).take(most);
        found.filter_map(|e| e.map(|(key, _)| keys::case_at_end(&key)).transpose()).collect()
    }
}
