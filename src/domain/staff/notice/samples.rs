//! Notices of every kind, as templates may meet them: what is written by hand is tried with all of them before
//! it is used.

use super::letter::Address;
use super::{Kind, Line, Mark, Notice, Reader, Seen};
use crate::domain::ids::{Bits, BookingId, PlanId};
use crate::domain::staff::plan::Person;
use crate::domain::staff::plan::wanted::Customer;
use crate::domain::time::{DAY, Timestamp};

/// Somebody whose name tries what a name can.
pub fn address() -> Address {
    Address {
        name: "Ada <b>\r\nBcc: x".to_owned(),
        email: "ada@example.com".to_owned(),
        zone: "UTC".parse().expect("it is built in"),
        language: None,
    }
}

/// All notices of a kind.
pub fn of(kind: Kind) -> Vec<Notice> {
    let zone = "UTC".parse().expect("it is built in");
    let (name, email) = ("Ada".to_owned(), "ada@example.com".to_owned());
    let customer = Reader::Customer(Customer { name, email, zone, language: None });
    let csr = Reader::Csr(Person {
        id: "mia".parse().expect("a plain word"),
        name: "Mia".into(),
        email: "mia@example.com".into(),
    });
    let notices = |reader: &Reader, lines: Vec<Line>| {
        [None, Some("Ada".into())].map(|customer| {
            let plan = PlanId(Bits([0; 16]));
            Notice { kind, plan, reader: reader.clone(), customer, lines: lines.clone() }
        })
    };
    let marked = |reader: &Reader, marks: &[Mark]| -> Vec<Notice> {
        let of_mark = |mark: &Mark| {
            let why = (*mark == Mark::Unplaced).then(|| "nobody has the skill".into());
            let placed = Line { mark: Some(*mark), ..line(None, Some(seen(1))) };
            let unplaced = Line { mark: Some(*mark), due: None, why, ..line(None, None) };
            notices(reader, vec![placed, unplaced])
        };
        marks.iter().flat_map(of_mark).collect()
    };
    match kind {
        Kind::Planned => [&customer, &csr]
            .into_iter()
            .flat_map(|reader| notices(reader, vec![line(None, Some(seen(1)))]))
            .collect(),
        Kind::Changed => [&customer, &csr]
            .into_iter()
            .flat_map(|reader| {
                let moved = line(Some(seen(1)), Some(seen(2)));
                let off = line(Some(seen(1)), None);
                let ended = Line { ended: true, ..off.clone() };
                notices(reader, vec![moved, line(None, Some(seen(3))), off, ended])
            })
            .collect(),
        Kind::Cancelled => [&customer, &csr]
            .into_iter()
            .flat_map(|reader| {
                let off = line(Some(seen(1)), None);
                let ended = Line { ended: true, ..off.clone() };
                notices(reader, vec![off, ended, line(None, None)])
            })
            .collect(),
        Kind::Assigned => {
            let queued = Seen { time: None, ..seen(1) };
            notices(&csr, vec![line(None, Some(queued.clone())), line(None, Some(queued))]).into()
        }
        Kind::Reminder => marked(&csr, &[Mark::Half, Mark::Most, Mark::Due, Mark::Silent]),
        Kind::Escalation => {
            marked(&Reader::Lead, &[Mark::Half, Mark::Due, Mark::Silent, Mark::Unplaced])
        }
    }
}

fn seen(day: i64) -> Seen {
    let start = Timestamp(1_700_000_000_000).plus(day * DAY);
    let csr = "mia".parse().expect("a plain word");
    Seen { csr, name: "Mia".into(), time: Some((start, start.plus(3_600_000))) }
}

fn line(was: Option<Seen>, now: Option<Seen>) -> Line {
    Line {
        booking: BookingId(Bits([1; 16])),
        title: "First training".into(),
        was,
        now,
        sequence: 2,
        mark: None,
        due: Some(Timestamp(1_701_000_000_000)),
        why: None,
        ended: false,
    }
}
