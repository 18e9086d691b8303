//! How tasks are given to people: the `[business]` and `[staff]` parts of the staff file.

use super::business::Business;
use super::civil::Hours;
use super::csr::MINUTE;
use crate::domain::time::DAY;

/// The settings.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    pub business: Business,
    /// Milliseconds between the decision and the earliest start.
    pub notice: i64,
    /// Milliseconds between two starts that are tried.
    pub grid: i64,
    /// Milliseconds into the future that are looked through.
    pub horizon: i64,
    /// Business time by which a less loaded person may begin later than the first one could.
    pub tolerance: i64,
    /// Business days by which whoever has the customer may begin later.
    pub patience: usize,
    /// The address that is told when something does not go on.
    pub lead: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let time = |hour| jiff::civil::time(hour, 0, 0, 0);
        let days = (0..5).filter_map(|day| jiff::civil::Weekday::from_monday_zero_offset(day).ok());
        let hours = days.map(|day| Hours { day, start: time(9), end: time(17) }).collect();
        let zone = "UTC".parse().expect("it is built in");
        Self {
            business: Business { zone, hours, holidays: None },
            notice: 60 * MINUTE,
            grid: 15 * MINUTE,
            horizon: 90 * DAY,
            tolerance: 4 * 60 * MINUTE,
            patience: 2,
            lead: None,
        }
    }
}
