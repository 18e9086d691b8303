//! Who works in that year.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::domain::ids::CsrId;
use crate::domain::staff::profile::Profile;

/// Where people are, how many of them there never are away, and how many are as people are.
const PLACES: [(&str, usize, usize); 4] = [
    ("Europe/Berlin", 4, 3),
    ("Europe/London", 0, 4),
    ("America/New_York", 4, 3),
    ("Asia/Tokyo", 0, 4),
];

/// A CSR at the beginning of the year.
pub struct Hired {
    pub id: CsrId,
    pub profile: Arc<Profile>,
    /// Those who are alike, and never away: they have to get the same.
    pub equal: Option<usize>,
}

/// Everybody.
pub fn everybody() -> Vec<Hired> {
    let mut all = Vec::new();
    for (place, (zone, steady, others)) in PLACES.into_iter().enumerate() {
        for n in 0..steady + others {
            let id: CsrId = format!("p{place}-{n}").parse().unwrap();
            let skills = match (n < steady, n % 3) {
                (true, _) | (false, 0) => json!(["a", "b"]),
                (false, 1) => json!(["a", "c"]),
                (false, _) => json!(["b", "c"]),
            };
            let profile = profile(&id, zone, &json!({"skills": skills}));
            all.push(Hired { id, profile, equal: (n < steady).then_some(place) });
        }
    }
    all
}

/// What is known of one of them.
pub fn profile(id: &CsrId, zone: &str, more: &Json) -> Arc<Profile> {
    let day = |day: &str| json!({"day": day, "start": "08:30", "end": "17:00"});
    let mut hours: Vec<Json> = ["mon", "tue", "wed", "thu", "fri"].map(day).into();
    if zone == "Asia/Tokyo" {
        // the weekend's shift goes over midnight
        hours.push(json!({"day": "sat", "start": "20:00", "end": "02:00"}));
    }
    let mut all = json!({"name": id, "email": format!("{id}@example.com"), "timeZone": zone,
        "hours": hours, "maxMinutesPerDay": 420});
    all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Arc::new(serde_json::from_value(all).unwrap())
}
