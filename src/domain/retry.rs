//! Delays between attempts: policies of workflows, and our own while a service fails.

use super::time::DAY;
use super::workflow::model::Backoff;

/// The first delay after an outage-like failure under a closed breaker, in milliseconds.
const OUTAGE_FIRST: i64 = 200;

/// The longest such delay.
const OUTAGE_MAX: i64 = 30_000;

/// The first delay of a job that has failed, and the longest.
const JOB_FIRST: i64 = 1000;
const JOB_MAX: i64 = 300_000;

/// The delay of a retry policy before repeat `n` (counted from 0), in milliseconds: constant,
/// `base + increment · n` (by default `base · (n + 1)`) or `base · factorⁿ`, never more than a day.
pub fn delay(backoff: Backoff, base: i64, n: u32) -> i64 {
    let grown = match backoff {
        Backoff::Constant => base,
        Backoff::Linear { increment } => {
            let step = increment.unwrap_or(base);
            base.saturating_add(step.saturating_mul(i64::from(n)))
        }
        Backoff::Exponential { factor } => {
            // at least a millisecond grows; a float reaches the day long before it overflows
            (base as f64 * factor.powf(f64::from(n))).min(DAY as f64) as i64
        }
    };
    grown.clamp(0, DAY)
}

/// The delay after `misses` outage-like failures in a row: 0.2 s, doubling to 30 s, of which up to
/// a half is left to chance.
pub fn outage_delay(misses: u32, random: u64) -> i64 {
    let full = OUTAGE_FIRST.saturating_mul(1 << misses.min(20)).min(OUTAGE_MAX);
    let half = full / 2;
    half + (random % (half as u64 + 1)) as i64
}

/// The delay before a job is given to a worker again that has failed `misses` times before: 1 s, doubling to
/// 5 min, of which up to a half is left to chance.
pub fn job_delay(misses: u32, random: u64) -> i64 {
    let full = JOB_FIRST.saturating_mul(1 << misses.min(20)).min(JOB_MAX);
    let half = full / 2;
    half + (random % (half as u64 + 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_grow_as_the_language_says() {
        let three = |backoff| [0, 1, 2].map(|n| delay(backoff, 100, n));
        assert_eq!(three(Backoff::Constant), [100, 100, 100]);
        assert_eq!(three(Backoff::Linear { increment: None }), [100, 200, 300]);
        let increment = Some(30);
        assert_eq!(three(Backoff::Linear { increment }), [100, 130, 160]);
        assert_eq!(three(Backoff::Exponential { factor: 2.0 }), [100, 200, 400]);
        assert_eq!(three(Backoff::Exponential { factor: 1.5 }), [100, 150, 225]);
        assert_eq!(delay(Backoff::Exponential { factor: 2.0 }, 1000, 200), DAY);
    }

    #[test]
    fn outages_are_asked_after_less_and_less() {
        assert!((100..=200).contains(&outage_delay(0, 12345)));
        assert!((15_000..=30_000).contains(&outage_delay(30, 999)));
    }
}
