//! Places for the tasks of a plan, in order, each after the one before it.

use std::collections::HashMap;
use std::sync::Arc;

use super::choose::{Seeking, choose};
use super::wanted::Sticky;
use super::{Item, Phase, Plan, Verdicts};
use crate::domain::ids::{BookingId, CsrId};
use crate::domain::staff::csr::{Csr, MINUTE, Reservation, Slot, Standing};
use crate::domain::staff::settings::Settings;
use crate::domain::time::Timestamp;

/// Tasks of a plan that are looked for at once.
const CHOICES_MAX: usize = 32;

/// Bytes that they may take with their verdicts, near enough: half of what a decision has.
const CHOICES_BYTES: usize = 48 * 1024;

/// Bytes of a choice, and of each verdict in it.
const CHOICE: usize = 500;
const VERDICT: usize = 100;

/// What is looked for: the plan as its case has it, and whom its customer knows.
pub struct Request<'a> {
    pub plan: &'a Plan,
    pub owner: Option<CsrId>,
    pub now: Timestamp,
}

/// What was found for one task.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    pub booking: BookingId,
    /// The task's last number when it was looked for: another one means that it has moved on.
    pub number: u32,
    /// None: nobody.
    pub place: Option<Chosen>,
    /// It gives its time back, and is looked for once those before it have theirs.
    pub gives_way: bool,
    pub why: Arc<str>,
    pub verdicts: Arc<Verdicts>,
}

/// Who was found, and when.
#[derive(Clone, PartialEq, Debug)]
pub struct Chosen {
    pub csr: super::Person,
    pub slot: Option<Slot>,
}

/// Looks for a place for each task that has none or has one too early, up to the first for which there is
/// nobody. Where one that moves does not fit before those behind it, they give way and are looked at anew.
pub fn place(request: &Request<'_>, staff: &mut [Arc<Csr>], settings: &Settings) -> Vec<Choice> {
    let Request { plan, owner, now } = request;
    let mut choices = Vec::new();
    let mut end = Timestamp::MIN;
    let mut of_case = plan.items.iter().rev().find_map(|item| Some(item.csr()?.id.clone()));
    let (mut gives_way, mut short) = (false, false);
    let mut bytes = 0;
    for (n, item) in plan.items.iter().enumerate() {
        let after = if end > Timestamp::MIN { end.plus(gap(item)) } else { end };
        if !item.phase.is_open() {
            end = item.ended_at.filter(|_| item.phase == Phase::Done).map_or(end, |at| end.max(at));
            continue;
        }
        let slot = item.slot().filter(|_| item.phase == Phase::Planned);
        // while others are looked for still, nobody was told of it: one that has passed is planned anew
        let passed = |slot: Slot| plan.performer.is_none() && slot.start < *now;
        let early = slot.is_some_and(|slot| slot.start < after || passed(slot));
        let has_to_move = item.phase == Phase::Unplaced || early;
        let looked_at = has_to_move || gives_way && slot.is_some();
        if short && slot.is_none() {
            continue;
        }
        if !looked_at {
            if item.holds_up() {
                break;
            }
            end = item.ends().map_or(end, |ends| end.max(ends));
            continue;
        }
        let sticky = match plan.sticky {
            Sticky::None => None,
            Sticky::Case => of_case.as_ref(),
            Sticky::Customer => of_case.as_ref().or(owner.as_ref()),
        };
        let seeking = seeking(plan, item, after, sticky, (*now, settings.notice));
        let behind = &plan.items[n + 1..];
        if !gives_way && !fits_before(&seeking, behind, staff, settings) {
            give_way(staff, behind);
            gives_way = true;
        }
        let found = choose(&seeking, staff, settings);
        let chosen = found.chosen.map(|(csr, slot)| (csr.clone(), slot));
        let (why, verdicts) = (found.why.into(), Arc::new(found.verdicts));
        let stays = chosen.as_ref().is_some_and(|(csr, slot)| {
            item.made.as_ref().is_some_and(|made| (&made.csr.id, made.slot) == (&csr.id, *slot))
        });
        let place = chosen.map(|(csr, slot)| {
            take(staff, item, &csr.id, slot);
            end = slot.map_or(end, |slot| end.max(slot.end));
            of_case = Some(csr.id.clone());
            Chosen { csr: super::Person::of(&csr), slot }
        });
        if stays {
            continue;
        }
        let nobody = place.is_none();
        bytes += CHOICE + verdicts.list.len() * VERDICT;
        let (booking, number) = (item.booking, item.number);
        choices.push(Choice { booking, number, place, gives_way: false, why, verdicts });
        if nobody && !gives_way {
            break;
        }
        // so many go into one record of a case; the rest is looked for once these are answered
        if choices.len() == CHOICES_MAX || bytes > CHOICES_BYTES {
            if gives_way {
                let mut first = given_back(&plan.items[n + 1..]);
                first.append(&mut choices);
                choices = first;
            }
            break;
        }
        // those behind that gave way have to find another place all the same
        short |= nobody;
    }
    choices
}

/// Those behind, which have their times still, give them back: they are in the way of those before them.
fn given_back(behind: &[Item]) -> Vec<Choice> {
    let timed = behind.iter().filter(|item| item.phase == Phase::Planned && item.slot().is_some());
    let one = |item: &Item| Choice {
        booking: item.booking,
        number: item.number,
        place: None,
        gives_way: true,
        why: "those before it move".into(),
        verdicts: Arc::default(),
    };
    timed.map(one).collect()
}

fn gap(item: &Item) -> i64 {
    i64::from(item.wanted.gap_minutes) * MINUTE
}

/// Whether a task finds a place that ends before those behind it begin.
fn fits_before(
    seeking: &Seeking<'_>,
    behind: &[Item],
    staff: &[Arc<Csr>],
    settings: &Settings,
) -> bool {
    let planned = behind.iter().filter(|item| item.phase == Phase::Planned);
    let next = planned.filter_map(|item| Some(item.slot()?.start.plus(-gap(item)))).min();
    let Some(next) = next else { return true };
    let slot = choose(seeking, staff, settings).chosen.and_then(|(_, slot)| slot);
    slot.is_some_and(|slot| slot.end <= next)
}

/// Those behind a task that moves are in its way no longer than until they are looked at themselves.
fn give_way(staff: &mut [Arc<Csr>], behind: &[Item]) {
    for other in behind.iter().filter(|other| other.phase == Phase::Planned) {
        let Some(made) = other.made.as_ref().filter(|made| made.slot.is_some()) else { continue };
        if let Some(csr) = staff.iter_mut().find(|csr| csr.id == made.csr.id) {
            Arc::make_mut(csr).let_go(other.booking);
        }
    }
}

fn seeking<'a>(
    plan: &'a Plan,
    item: &'a Item,
    after: Timestamp,
    owner: Option<&'a CsrId>,
    (now, notice): (Timestamp, i64),
) -> Seeking<'a> {
    let wanted = &item.wanted;
    let earliest = now.plus(notice).max(after).max(wanted.not_before.unwrap_or(Timestamp::MIN));
    let had = item.made.as_ref().or(item.had.as_ref()).map(|made| (&made.csr.id, made.slot));
    Seeking {
        booking: item.booking,
        skill: &wanted.skill,
        minutes: wanted.minutes,
        buffer: wanted.buffer_minutes,
        earliest,
        due: item.due,
        contact: plan.contact.as_ref(),
        queued: plan.queued,
        owner,
        not: &item.handed_back,
        silent: &item.silent_ones,
        had,
        now,
    }
}

/// What is found for one task is taken for the next.
fn take(staff: &mut [Arc<Csr>], item: &Item, id: &CsrId, slot: Option<Slot>) {
    if let Some(csr) = staff.iter_mut().find(|csr| csr.id == *id) {
        let reservation = Reservation {
            offset: None,
            number: item.number + 1,
            case: Default::default(),
            customer: None,
            title: item.wanted.title(),
            slot,
            standing: Standing::Live,
        };
        Arc::make_mut(csr).hold(item.booking, reservation);
    }
}

/// Whoever was last booked for each customer.
pub fn owners(staff: &[Arc<Csr>]) -> HashMap<Arc<str>, CsrId> {
    let mut latest: HashMap<Arc<str>, (Timestamp, CsrId)> = HashMap::new();
    for csr in staff {
        for one in csr.reservations.values() {
            let (Some(customer), Some(slot)) = (&one.customer, one.slot) else { continue };
            let known = latest.get(customer).is_some_and(|(at, _)| *at >= slot.start);
            if !known {
                latest.insert(customer.clone(), (slot.start, csr.id.clone()));
            }
        }
    }
    latest.into_iter().map(|(customer, (_, csr))| (customer, csr)).collect()
}
