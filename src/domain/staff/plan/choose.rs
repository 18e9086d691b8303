//! Who gets a task: the same facts always give the same person, and every candidate's verdict is kept.

use std::sync::Arc;

use super::{VERDICTS_KEPT, Verdict, Verdicts};
use crate::domain::ids::{BookingId, CsrId};
use crate::domain::staff::civil::weekly;
use crate::domain::staff::csr::fit::{Contact, Wish};
use crate::domain::staff::csr::{Csr, MINUTE, RESERVATIONS_MAX, Refusal, Slot};
use crate::domain::staff::intervals::Span;
use crate::domain::staff::settings::Settings;
use crate::domain::time::{DAY, Timestamp};

/// Days that fairness looks back over, the slot's own day among them.
const FAIR_DAYS: i64 = 28;

/// A task that a person is looked for.
#[derive(Clone, Debug)]
pub struct Seeking<'a> {
    pub booking: BookingId,
    pub skill: &'a str,
    pub minutes: u32,
    pub buffer: u32,
    pub earliest: Timestamp,
    pub due: Option<Timestamp>,
    pub contact: Option<&'a Contact>,
    /// Without a time.
    pub queued: bool,
    /// Whoever should have it, other things being nearly equal.
    pub owner: Option<&'a CsrId>,
    /// Those who handed it back.
    pub not: &'a [CsrId],
    /// Those who did not begin with it.
    pub silent: &'a [CsrId],
    /// What it had: the person and the time are kept where they are still right.
    pub had: Option<(&'a CsrId, Option<Slot>)>,
    pub now: Timestamp,
}

/// Who was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Found<'a> {
    /// None: nobody.
    pub chosen: Option<(&'a Arc<Csr>, Option<Slot>)>,
    pub why: String,
    pub verdicts: Verdicts,
}

/// One who could have it.
struct Candidate<'a> {
    csr: &'a Arc<Csr>,
    slot: Slot,
    /// Parts in a million of their time that would be booked.
    load: i64,
}

/// Looks for somebody.
pub fn choose<'a>(seeking: &Seeking<'_>, staff: &'a [Arc<Csr>], settings: &Settings) -> Found<'a> {
    let mut verdicts = Verdicts::default();
    let staff: Vec<&Arc<Csr>> =
        staff.iter().filter(|csr| csr.profile.there().end > seeking.now).collect();
    let skilled: Vec<&Arc<Csr>> =
        staff.iter().copied().filter(|csr| has(csr, seeking.skill)).collect();
    if skilled.is_empty() {
        let why = format!("0 of {} have the skill {}", staff.len(), seeking.skill);
        return Found { chosen: None, why, verdicts };
    }
    let within = window(seeking, settings);
    let mut candidates: Vec<(&Arc<Csr>, Slot)> = Vec::new();
    let mut full = 0;
    for csr in &skilled {
        match first(csr, seeking, within, settings) {
            Ok(slot) => candidates.push((csr, slot)),
            Err(_) if seeking.not.contains(&csr.id) => {
                note(&mut verdicts, csr, "handed it back", None, None);
            }
            Err(why) => {
                full += usize::from(why == Refusal::Bound);
                note(&mut verdicts, csr, why.name(), None, None);
            }
        }
    }
    // whoever was silent gets it again only where nobody else can
    if candidates.iter().any(|(csr, _)| !seeking.silent.contains(&csr.id)) {
        candidates.retain(|(csr, _)| !seeking.silent.contains(&csr.id));
    }
    let earliest = candidates.iter().min_by_key(|(csr, slot)| (slot.start, &csr.id)).copied();
    let Some((_, best)) = earliest else {
        let count = skilled.len();
        let skill = seeking.skill;
        let until = match seeking.due.filter(|due| *due == within.end) {
            Some(due) => format!("before {due}"),
            None => format!("within {} days", settings.horizon / DAY),
        };
        let back = skilled.iter().filter(|csr| seeking.not.contains(&csr.id)).count();
        let why = match back {
            0 if full == count => {
                format!(
                    "each of the {count} with the skill {skill} has {RESERVATIONS_MAX} open tasks, and \
                     may have no more"
                )
            }
            0 => format!("none of the {count} with the skill {skill} has time {until}"),
            back if back == count => format!("all {count} with the skill {skill} handed it back"),
            back => format!(
                "of the {count} with the skill {skill} {back} handed it back, and the others have no \
                 time {until}"
            ),
        };
        return Found { chosen: None, why, verdicts };
    };
    if let Some((csr, slot)) = kept(seeking, &candidates, best.start, settings) {
        let why = format!("{} had it before, and can still do it", csr.profile.name);
        return found(csr, slot, why, seeking, &candidates, verdicts);
    }
    let mut owner_waits = false;
    if let Some(owner) = seeking.owner
        && let Some((csr, slot)) = candidates.iter().find(|(csr, _)| csr.id == *owner)
    {
        let patience = settings.business.days_after(best.start, settings.patience);
        if patience.is_some_and(|until| slot.start <= until) || slot.start == best.start {
            let why = format!("{} has other tasks of this customer or case", csr.profile.name);
            return found(csr, *slot, why, seeking, &candidates, verdicts);
        }
        owner_waits = true;
    }
    let latest = match seeking.queued {
        true => best.start,
        false => settings.business.after(best.start, settings.tolerance).unwrap_or(best.start),
    };
    let (near, late): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|(_, slot)| slot.start <= latest.max(best.start));
    for (csr, slot) in late {
        let owner = owner_waits && seeking.owner == Some(&csr.id);
        let verdict = if owner { "owner beyond patience" } else { "later" };
        note(&mut verdicts, csr, verdict, Some(slot.start), None);
    }
    let day = near.first().map_or(best.start, |(_, slot)| slot.start);
    let mean = mean_load(&skilled, day);
    let loaded = near.into_iter().map(|(csr, slot)| {
        let load = load(csr, slot.start, mean, seeking.minutes);
        Candidate { csr, slot, load }
    });
    let mut loaded: Vec<Candidate> = loaded.collect();
    loaded.sort_by_cached_key(|one| rank(one, seeking));
    let Some(first) = loaded.first() else {
        return Found { chosen: None, why: "nobody".to_owned(), verdicts };
    };
    let why = sentence(first, &loaded, seeking, owner_waits);
    note_first(&mut verdicts, first.csr, "chosen", &first.slot, seeking, Some(first.load));
    for other in &loaded[1..] {
        let verdict = match () {
            () if seeking.queued && other.csr.open() > first.csr.open() => "more open tasks",
            () if other.load > first.load => "less fair",
            () => "next in turn",
        };
        note(&mut verdicts, other.csr, verdict, Some(other.slot.start), Some(other.load));
    }
    let slot = (!seeking.queued).then_some(first.slot);
    Found { chosen: Some((first.csr, slot)), why, verdicts }
}

fn has(csr: &Csr, skill: &str) -> bool {
    csr.profile.skills.iter().any(|known| **known == *skill)
}

/// Between when and when the task may lie.
fn window(seeking: &Seeking<'_>, settings: &Settings) -> Span {
    let length = i64::from(seeking.minutes) * MINUTE;
    let start = seeking.earliest;
    let horizon = seeking.now.plus(settings.horizon);
    // one that cannot be in time any more is better late than never
    let due = seeking.due.filter(|due| *due >= start.plus(length));
    Span { start, end: due.map_or(horizon, |due| due.min(horizon)) }
}

/// The first time of a candidate; of queued work, now.
fn first(
    csr: &Csr,
    seeking: &Seeking<'_>,
    within: Span,
    settings: &Settings,
) -> Result<Slot, Refusal> {
    if seeking.not.contains(&csr.id) {
        return Err(Refusal::Released);
    }
    if seeking.queued {
        let soon = Span { start: seeking.now, end: seeking.now.plus(1) };
        csr.may_have(seeking.booking, seeking.skill, soon)?;
        if !csr.profile.has_skill(seeking.skill, soon) {
            return Err(Refusal::Skill);
        }
        let day = Span { start: seeking.now, end: seeking.now.plus(DAY) };
        if !csr.works_soon(seeking.now) {
            return Err(Refusal::Away);
        }
        let absent = csr.profile.working(csr.calendar.as_deref(), day).spans().is_empty();
        // whoever is not there today is asked last
        let start = if absent { seeking.now.plus(DAY) } else { seeking.now };
        return Ok(Slot { start, end: start, buffer_end: start });
    }
    csr.first_fit(&Wish {
        booking: seeking.booking,
        skill: seeking.skill,
        within,
        length: i64::from(seeking.minutes) * MINUTE,
        buffer: i64::from(seeking.buffer) * MINUTE,
        grid: settings.grid,
        contact: seeking.contact,
    })
}

/// The person that it had: at its time where that fits, else at another one that is near enough.
fn kept<'a>(
    seeking: &Seeking<'_>,
    candidates: &[(&'a Arc<Csr>, Slot)],
    best: Timestamp,
    settings: &Settings,
) -> Option<(&'a Arc<Csr>, Slot)> {
    let (had, slot) = seeking.had?;
    let (csr, first) = candidates.iter().find(|(csr, _)| csr.id == *had)?;
    let same = slot.filter(|slot| {
        let due = seeking.due.is_none_or(|due| slot.end <= due);
        slot.start >= seeking.earliest
            && due
            && csr.fits(seeking.booking, seeking.skill, *slot).is_ok()
    });
    let patience = settings.business.days_after(best, settings.patience);
    let near = patience.is_some_and(|until| first.start <= until) || first.start == best;
    same.or(near.then_some(*first)).map(|slot| (*csr, slot))
}

fn found<'a>(
    csr: &'a Arc<Csr>,
    slot: Slot,
    why: String,
    seeking: &Seeking<'_>,
    candidates: &[(&'a Arc<Csr>, Slot)],
    mut verdicts: Verdicts,
) -> Found<'a> {
    note_first(&mut verdicts, csr, "chosen", &slot, seeking, None);
    for (other, slot) in candidates.iter().filter(|(other, _)| other.id != csr.id) {
        note(&mut verdicts, other, "not the owner", Some(slot.start), None);
    }
    Found { chosen: Some((csr, (!seeking.queued).then_some(slot))), why, verdicts }
}

/// What the candidates are sorted by.
fn rank(one: &Candidate<'_>, seeking: &Seeking<'_>) -> (usize, i64, usize, Timestamp, [u8; 16]) {
    let open = one.csr.open();
    let by_count = if seeking.queued { open } else { 0 };
    let given = one.csr.given_at.unwrap_or(Timestamp::MIN);
    let tie: &[&[u8]] = &[b"tie", &seeking.booking.0.0, one.csr.id.as_str().as_bytes()];
    (by_count, one.load, open, given, crate::domain::ids::Bits::derived(tie).0)
}

fn sentence(
    first: &Candidate<'_>,
    all: &[Candidate<'_>],
    seeking: &Seeking<'_>,
    owner: bool,
) -> String {
    let name = &first.csr.profile.name;
    let others = match all.len() {
        1 => "is the only one who can".to_owned(),
        count if seeking.queued => format!("has the fewest open tasks of the {count} who can"),
        count => format!("has the least load of the {count} who can begin about then"),
    };
    let owner = if owner { "; whoever has the customer could only much later" } else { "" };
    format!("{name} {others}{owner}")
}

fn note(
    verdicts: &mut Verdicts,
    csr: &Csr,
    verdict: &str,
    start: Option<Timestamp>,
    load: Option<i64>,
) {
    if verdicts.list.len() >= VERDICTS_KEPT {
        verdicts.more += 1;
        return;
    }
    let load = load.map(|load| (load / 1000).clamp(0, i64::from(u32::MAX)) as u32);
    verdicts.list.push(Verdict { csr: csr.id.clone(), verdict: verdict.into(), start, load });
}

/// The one who is chosen stands before all others.
fn note_first(
    verdicts: &mut Verdicts,
    csr: &Csr,
    verdict: &str,
    slot: &Slot,
    seeking: &Seeking<'_>,
    load: Option<i64>,
) {
    let start = (!seeking.queued).then_some(slot.start);
    let load = load.map(|load| (load / 1000).clamp(0, i64::from(u32::MAX)) as u32);
    let one = Verdict { csr: csr.id.clone(), verdict: verdict.into(), start, load };
    verdicts.list.insert(0, one);
    if verdicts.list.len() > VERDICTS_KEPT {
        verdicts.list.pop();
        verdicts.more += 1;
    }
}

/// What somebody's last 28 days hold.
struct Month {
    booked: i64,
    /// What their weekly hours come to, and how much of that they were there.
    nominal: i64,
    present: i64,
}

fn month(csr: &Csr, day: Timestamp) -> Month {
    let zone = &csr.profile.zone;
    let last = zone.local(day).date();
    let first = zone.local(day.plus(-(FAIR_DAYS - 1) * DAY)).date();
    let within = Span { start: zone.day(first).start, end: zone.day(last).end };
    let hours = weekly(zone, &csr.profile.hours, within);
    let holidays = csr.calendar.as_ref().map(|calendar| calendar.within(within));
    let hours = hours.without(&holidays.unwrap_or_default());
    let working = csr.profile.working(csr.calendar.as_deref(), within);
    let of = |days: &std::collections::BTreeMap<_, u32>| -> i64 {
        days.range(first..=last).map(|(_, minutes)| i64::from(*minutes)).sum()
    };
    let booked = of(&csr.minutes) + of(&csr.worked);
    let present = working.length() / MINUTE;
    Month { booked, nominal: (hours.length() / MINUTE).max(present), present }
}

/// Parts in a million of the time that those with the skill were there which is booked.
fn mean_load(skilled: &[&Arc<Csr>], day: Timestamp) -> i64 {
    let (mut booked, mut present) = (0, 0);
    for csr in skilled {
        let month = month(csr, day);
        (booked, present) = (booked + month.booked, present + month.present);
    }
    if present == 0 { 0 } else { booked * 1_000_000 / present }
}

/// Parts in a million of somebody's time that would be booked with the task; time that they were away
/// counts as booked like everybody's.
fn load(csr: &Csr, day: Timestamp, mean: i64, minutes: u32) -> i64 {
    let Month { booked, nominal, present } = month(csr, day);
    if nominal == 0 {
        return i64::MAX;
    }
    let absent = mean * (nominal - present);
    ((booked + i64::from(minutes)) * 1_000_000 + absent) / nominal
}
