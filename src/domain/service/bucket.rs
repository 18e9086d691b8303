//! A rate, as a generic cell rate algorithm: calls are let through evenly, with a small burst.

use super::settings::Rate;
use crate::domain::time::Timestamp;

/// The part of a second's calls that may go out at once.
const BURST_MILLIS: f64 = 100.0;

/// What the rate is cut to at the lowest.
const FACTOR_MIN: f64 = 1.0 / 64.0;

/// What one answered call gives back of a rate that was cut.
const RECOVERY: f64 = 0.02;

/// A rate and how much of it is used.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Milliseconds from one call to the next.
    interval: f64,
    /// When the next call would be due if all went out evenly.
    next: f64,
    /// 1, or less after the service said that it is too much.
    factor: f64,
}

impl Bucket {
    /// A bucket of which nothing is used.
    pub fn new(rate: Rate) -> Self {
        let interval = rate.per as f64 / f64::from(rate.calls.max(1));
        Self { interval, next: 0.0, factor: 1.0 }
    }

    /// Takes one call, or says when there is one to take.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let at = now.0 as f64;
        let interval = self.interval / self.factor;
        let tolerance = BURST_MILLIS.max(interval) - interval;
        if self.next - tolerance > at {
            return Err(Timestamp((self.next - tolerance).ceil() as i64));
        }
        self.next = self.next.max(at) + interval;
        Ok(())
    }

    /// The service said that it is too much.
    pub fn cut(&mut self) {
        self.factor = (self.factor / 2.0).max(FACTOR_MIN);
    }

    /// A call was answered.
    pub fn recover(&mut self) {
        self.factor = (self.factor + RECOVERY).min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_in(bucket: &mut Bucket, from: i64, to: i64) -> usize {
        (from..to).filter(|at| bucket.take(Timestamp(*at)).is_ok()).count()
    }

    #[test]
    fn lets_through_what_the_rate_says() {
        let mut bucket = Bucket::new(Rate { calls: 50, per: 1000 });
        let first = taken_in(&mut bucket, 1000, 2000);
        assert!((50..=56).contains(&first), "{first}");
        assert_eq!(taken_in(&mut bucket, 2000, 12_000), 500);
    }

    #[test]
    fn slow_rates_have_no_burst() {
        let mut bucket = Bucket::new(Rate { calls: 1, per: 60_000 });
        assert!(bucket.take(Timestamp(1000)).is_ok());
        assert_eq!(bucket.take(Timestamp(1001)), Err(Timestamp(61_000)));
    }

    #[test]
    fn a_cut_rate_comes_back() {
        let mut bucket = Bucket::new(Rate { calls: 100, per: 1000 });
        taken_in(&mut bucket, 0, 1000);
        bucket.cut();
        assert_eq!(taken_in(&mut bucket, 1000, 3000), 100);
        (0..100).for_each(|_| bucket.recover());
        assert!(taken_in(&mut bucket, 3000, 5000) >= 199);
    }
}
