//! When a retry policy begins a try's body again.

use super::evaluate::Place;
use super::{Interpreter, Trouble};
use crate::domain::case::state::Try;
use crate::domain::data::Data;
use crate::domain::retry::delay;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::RetryPolicy;

impl Interpreter<'_> {
    /// When the body begins again and when that attempt has to be done; none: it does not.
    pub(super) fn next_retry(
        &mut self,
        policy: &RetryPolicy,
        inner: &Try,
        error: &Data,
        input: &Data,
        place: &Place,
    ) -> Result<Option<(Timestamp, Option<Timestamp>)>, Trouble> {
        if let Some(when) = &policy.when
            && !self.holds(when, error, place)?
        {
            return Ok(None);
        }
        if let Some(except) = &policy.except_when
            && self.holds(except, error, place)?
        {
            return Ok(None);
        }
        if policy.attempts.is_some_and(|most| inner.retries >= most) {
            return Ok(None);
        }
        let base = match &policy.delay {
            Some(span) => self.span(span, input, place)?.nominal_millis(),
            None => 0,
        };
        let mut wait = delay(policy.backoff, base, inner.retries);
        if let Some((from, to)) = &policy.jitter {
            let from = self.span(from, input, place)?.nominal_millis();
            let to = self.span(to, input, place)?.nominal_millis();
            let room = to.saturating_sub(from).max(0) as u64;
            wait = wait.saturating_add(from + (self.random() % (room + 1)) as i64);
        }
        let at = self.now.plus(wait);
        if let Some(limit) = &policy.duration {
            // only the time counts in which the case could get on
            let used = inner.lasting.map_or(0, |clock| clock.used_at(self.now));
            let limit = self.span(limit, input, place)?.after(self.now).since(self.now);
            if used.saturating_add(wait) > limit {
                return Ok(None);
            }
        }
        let deadline = match &policy.attempt_duration {
            Some(limit) => Some(self.span(limit, input, place)?.after(at)),
            None => None,
        };
        Ok(Some((at, deadline)))
    }
}
