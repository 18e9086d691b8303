//! Sets of instants, as ordered spans that neither meet nor overlap: what free time is computed from.

use crate::domain::time::Timestamp;

/// From one instant up to another, that one left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Span {
    /// A span; none where it would hold nothing.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// What it has in common with another.
    pub fn common(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Milliseconds.
    pub fn length(self) -> i64 {
        self.end.since(self.start)
    }
}

/// A set of instants.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Intervals(Vec<Span>);

impl FromIterator<Span> for Intervals {
    /// All that any of the spans holds, in whatever order they come.
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut all: Vec<Span> = spans.into_iter().filter(|span| span.start < span.end).collect();
        all.sort_unstable();
        let mut joined: Vec<Span> = Vec::with_capacity(all.len());
        for span in all {
            match joined.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => joined.push(span),
            }
        }
        Self(joined)
    }
}

impl Intervals {
    /// The spans in order.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// Milliseconds of all spans together.
    pub fn length(&self) -> i64 {
        self.0.iter().map(|span| span.length()).sum()
    }

    /// Whether it holds all of a span.
    pub fn has(&self, span: Span) -> bool {
        // the last that begins no later is the only one that can
        let place = self.0.partition_point(|known| known.start <= span.start);
        place.checked_sub(1).is_some_and(|place| span.end <= self.0[place].end)
    }

    /// What either holds.
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// What both hold.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut common, mut ours, mut theirs) = (Vec::new(), &self.0[..], &other.0[..]);
        while let ([our, our_rest @ ..], [their, their_rest @ ..]) = (ours, theirs) {
            common.extend(our.common(*their));
            // the one that ends first has nothing in common with what comes later
            if our.end <= their.end { ours = our_rest } else { theirs = their_rest }
        }
        Self(common)
    }

    /// What this holds and the other does not.
    pub fn without(&self, other: &Self) -> Self {
        let (mut left, mut theirs) = (Vec::new(), &other.0[..]);
        for span in &self.0 {
            let mut start = span.start;
            // those that end before this one begins take nothing of later ones either
            while let [their, rest @ ..] = theirs
                && their.end <= start
            {
                theirs = rest;
            }
            for their in theirs.iter().take_while(|their| their.start < span.end) {
                left.extend(Span::new(start, their.start));
                start = start.max(their.end);
            }
            left.extend(Span::new(start, span.end));
        }
        Self(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 40;

    fn span(start: i64, end: i64) -> Span {
        Span { start: Timestamp(start), end: Timestamp(end) }
    }

    /// Each instant by itself.
    fn instants(set: &Intervals) -> Vec<bool> {
        let has = |at: i64| set.0.iter().any(|s| s.start.0 <= at && at < s.end.0);
        (0..WIDTH as i64).map(has).collect()
    }

    fn any_set() -> impl Strategy<Value = Intervals> {
        let spans = prop::collection::vec((0..WIDTH as i64, 0..10i64), 0..8);
        spans.prop_map(|spans| {
            spans
                .into_iter()
                .map(|(start, length)| span(start, (start + length).min(WIDTH as i64)))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn sets_are_what_their_instants_say(a in any_set(), b in any_set(), at in 0..WIDTH as i64, length in 1..8i64) {
            let (ours, theirs) = (instants(&a), instants(&b));
            let each = |op: fn(bool, bool) -> bool| -> Vec<bool> {
                ours.iter().zip(&theirs).map(|(a, b)| op(*a, *b)).collect()
            };
            prop_assert_eq!(instants(&a.union(&b)), each(|a, b| a || b));
            prop_assert_eq!(instants(&a.intersection(&b)), each(|a, b| a && b));
            prop_assert_eq!(instants(&a.without(&b)), each(|a, b| a && !b));
            for set in [a.union(&b), a.intersection(&b), a.without(&b)] {
                prop_assert!(set.0.windows(2).all(|two| two[0].end < two[1].start), "{:?}", set);
                prop_assert!(set.0.iter().all(|span| span.start < span.end), "{:?}", set);
            }
            prop_assert_eq!(a.length(), ours.iter().filter(|has| **has).count() as i64);
            let wanted = span(at, (at + length).min(WIDTH as i64));
            let whole = (wanted.start.0..wanted.end.0).all(|at| ours[at as usize]);
            prop_assert_eq!(a.has(wanted), whole);
        }
    }
}
