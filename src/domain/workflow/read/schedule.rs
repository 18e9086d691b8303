//! `schedule`: when cases begin by themselves, with what the document's metadata says of it.

use super::{At, Reader};
use crate::domain::cron::Cron;
use crate::domain::data::canonical;
use crate::domain::ids::{Bits, Fingerprint};
use crate::domain::staff::civil::Zone;
use crate::domain::time::Duration;
use crate::domain::workflow::model::{
    EventFilter, Listen, Missed, Overlap, ReadAs, Schedule, Template, Timing,
};

/// Milliseconds of a period at the least, and of a jitter at the most.
const PERIOD_MIN: i64 = 1000;
const JITTER_MAX: i64 = 24 * 3600 * 1000;

/// Events that begin a case together, and correlations of each.
const FILTERS_MAX: usize = 16;
const CORRELATIONS_MAX: usize = 8;

/// What of the document's metadata is about its schedule.
pub(super) const METADATA: [&str; 4] = ["timeZone", "missed", "overlap", "jitter"];

impl<'a> Reader<'a> {
    pub(super) fn schedule(&mut self, at: &At<'a>, metadata: Option<&At<'a>>) -> Option<Schedule> {
        const KINDS: [&str; 4] = ["cron", "every", "after", "on"];
        if !self.object(at, &KINDS) {
            return None;
        }
        let said: Vec<At<'a>> = KINDS.iter().filter_map(|kind| at.get(kind)).collect();
        let [_] = &said[..] else {
            self.fault(at, "when it runs is not clear", "name one of cron, every, after and on");
            return None;
        };
        let timing = if let Some(cron) = at.get("cron") {
            self.cron(&cron).map(|cron| Timing::Cron(Box::new(cron)))
        } else if let Some(every) = at.get("every") {
            self.period(&every).map(Timing::Every)
        } else if let Some(after) = at.get("after") {
            self.period(&after).map(Timing::After)
        } else {
            at.get("on").and_then(|on| self.events_awaited(&on))
        };
        let said = |key| metadata.and_then(|metadata: &At<'a>| metadata.get(key));
        let zone = said("timeZone").and_then(|zone| self.zone(&zone));
        let missed = self.word(said("missed"), &Missed::WORDS, Missed::default());
        let overlap = self.word(said("overlap"), &Overlap::WORDS, Overlap::default());
        let jitter = said("jitter").and_then(|jitter| self.jitter(&jitter)).unwrap_or(0);
        let zone = zone.unwrap_or_else(Zone::utc);
        let timing = timing?;
        let closest = match &timing {
            Timing::Cron(cron) => cron.closest(&zone),
            Timing::Every(period) | Timing::After(period) => period.nominal_millis(),
            Timing::On(..) => i64::MAX,
        };
        if jitter > closest {
            let at = said("jitter").unwrap_or_else(|| at.clone());
            let detail = "this jitter is longer than the time between two runs";
            self.fault(&at, detail, format!("{} at the most", Duration::millis(closest)));
        }
        if let Timing::On(..) = timing {
            for key in METADATA {
                if let Some(unused) = said(key) {
                    let detail = format!("`{key}` says nothing where events begin cases");
                    self.warn(&unused, detail, "leave it out");
                }
            }
        }
        Some(Schedule { timing, zone, missed, overlap, jitter })
    }

    fn cron(&mut self, at: &At<'a>) -> Option<Cron> {
        let text = self.text(at, "a cron expression such as 0 6 * * *")?;
        match Cron::read(text) {
            Ok(cron) => Some(cron),
            Err(why) => {
                let detail = format!("`{text}` is no cron expression: {why}");
                self.fault(at, detail, "minute, hour, day, month, weekday: 0 6 * * MON");
                None
            }
        }
    }

    fn period(&mut self, at: &At<'a>) -> Option<Duration> {
        let period = self.duration(at)?;
        if period.nominal_millis() < PERIOD_MIN {
            self.fault(at, format!("{period} is too short"), "a second at the least");
            return None;
        }
        Some(period)
    }

    fn zone(&mut self, at: &At<'a>) -> Option<Zone> {
        let name = self.text(at, "a time zone such as Europe/Berlin")?;
        match name.parse() {
            Ok(zone) => Some(zone),
            Err(error) => {
                let error: crate::domain::staff::civil::NoZone = error;
                self.fault(
                    at,
                    error.to_string(),
                    "write it as the IANA does, or leave it out for UTC",
                );
                None
            }
        }
    }

    fn jitter(&mut self, at: &At<'a>) -> Option<i64> {
        let jitter = self.duration(at)?.nominal_millis();
        if !(0..=JITTER_MAX).contains(&jitter) {
            self.fault(at, "this jitter is too long", "a day at the most");
            return None;
        }
        Some(jitter)
    }

    /// The events of `on`: each run's input has them whole.
    fn events_awaited(&mut self, at: &At<'a>) -> Option<Timing> {
        if let Some(until) = at.get("until") {
            self.fault(&until, "a schedule has no end", "leave `until` out");
            return None;
        }
        let (strategy, filters) = self.strategy(at, &[])?;
        let many = |filter: &EventFilter| filter.correlate.len() > CORRELATIONS_MAX;
        if filters.len() > FILTERS_MAX || filters.iter().any(many) {
            let fix = format!("{FILTERS_MAX} events, each with {CORRELATIONS_MAX} correlations");
            self.fault(at, "it waits for too much", fix);
            return None;
        }
        let expected = filters.iter().flat_map(|filter| &filter.correlate);
        let expected = expected.filter_map(|correlation| correlation.expect.as_ref());
        if expected.into_iter().any(|expect| !matches!(expect, Template::Literal(_))) {
            self.fault(at, "what is expected before there is a case is fixed", "write the value");
            return None;
        }
        let said = Fingerprint(Bits::derived(&[canonical(&at.node.to_json()).as_bytes()]));
        Some(Timing::On(Listen { strategy, filters, read: ReadAs::Envelope }, said))
    }
}
