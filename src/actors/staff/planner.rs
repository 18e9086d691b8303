//! The planner: looks for people and times, one plan after the other, and proposes. What it has proposed
//! it holds for a while, so that the next one does not get the same; the CSR's actor decides.
//!
//! Parent: the root. Its mailbox holds one message for each plan that is looked for, and one for each task
//! that waits because nobody was found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::waiting::Waiting;
use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::domain::ids::{BookingId, CaseId, CsrId};
use crate::domain::staff::csr::{Csr, Reservation, Standing};
use crate::domain::staff::plan::Plan;
use crate::domain::staff::plan::place::{Choice, Request, owners, place};
use crate::domain::time::Timestamp;

/// Milliseconds for which a proposal is held, at the longest.
const HELD: i64 = 10_000;

/// The actor.
pub struct PlannerActor;

/// What it is told.
pub enum PlannerMsg {
    /// A plan of a case is looked for.
    Plan { case: CaseId, wanted: Box<Wanted>, reply: oneshot::Sender<Vec<Choice>> },
}

/// A plan to look for.
#[derive(Clone)]
pub struct Wanted {
    pub customer: Option<Arc<str>>,
    pub plan: Plan,
}

/// After which a planner that begins again is asked again.
const AGAIN: Duration = Duration::from_secs(1);

impl Context {
    /// Looks for people for a case, and tells it whom it has found.
    pub async fn look_for_people(self: Arc<Self>, case: CaseId, wanted: Wanted) {
        let plan = wanted.plan.id;
        let choices = loop {
            match self.staff.planner.plan(case, wanted.clone()).await {
                Some(choices) => break choices,
                None => tokio::time::sleep(AGAIN).await,
            }
        };
        self.tell_until_heard(case, Command::Propose { plan, choices }).await;
    }
}

/// The planner as others know it.
#[derive(Default)]
pub struct Planner {
    actor: Mutex<Option<ActorRef<PlannerMsg>>>,
    pub waiting: Waiting,
}

impl Planner {
    /// Has somebody look for a plan. None: the planner begins again.
    async fn plan(&self, case: CaseId, wanted: Wanted) -> Option<Vec<Choice>> {
        let (reply, answer) = oneshot::channel();
        let actor = self.lock().clone()?;
        actor.cast(PlannerMsg::Plan { case, wanted: Box::new(wanted), reply }).ok()?;
        answer.await.ok()
    }

    /// A CSR has time, or skills, that they did not have.
    pub fn freed(&self, csr: &Csr) {
        self.waiting.freed(&csr.profile.skills);
    }

    fn lock(&self) -> MutexGuard<'_, Option<ActorRef<PlannerMsg>>> {
        self.actor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it lives on. All of it can be lost.
pub struct PlannerState {
    context: Arc<Context>,
    /// Proposals that were made and are not on the board yet.
    held: HashMap<BookingId, Held>,
    /// CSRs with what is held of them, and the revision that they are made of.
    known: HashMap<CsrId, (u64, Arc<Csr>)>,
    /// Whoever was last booked for each customer.
    owners: HashMap<Arc<str>, CsrId>,
}

struct Held {
    csr: CsrId,
    reservation: Reservation,
    until: Timestamp,
}

impl Actor for PlannerActor {
    type Msg = PlannerMsg;
    type State = PlannerState;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<PlannerMsg>,
        context: Arc<Context>,
    ) -> Result<PlannerState, ActorProcessingErr> {
        *context.staff.planner.lock() = Some(myself);
        let owners = owners(&context.staff.all());
        let (held, known) = (HashMap::new(), HashMap::new());
        Ok(PlannerState { context, held, known, owners })
    }

    async fn handle(
        &self,
        _: ActorRef<PlannerMsg>,
        PlannerMsg::Plan { case, wanted, reply }: PlannerMsg,
        live: &mut PlannerState,
    ) -> Result<(), ActorProcessingErr> {
        let Wanted { customer, plan } = *wanted;
        // what has come free by now may help those who find nobody
        let seen = live.context.staff.planner.waiting.seen();
        let choices = live.choose(&plan, customer.as_ref()).await?;
        let nobody = choices.iter().find(|choice| choice.place.is_none() && !choice.gives_way);
        if let Some(item) = nobody.and_then(|choice| plan.item(choice.booking)) {
            live.context.staff.planner.waiting.waits(case, item.wanted.skill.clone(), seen);
        }
        // whoever asked has gone, and asks again
        let _ = reply.send(choices);
        live.context.staff.planner.waiting.has_looked(case);
        Ok(())
    }
}

impl PlannerState {
    async fn choose(
        &mut self,
        plan: &Plan,
        customer: Option<&Arc<str>>,
    ) -> Result<Vec<Choice>, ActorProcessingErr> {
        let mut staff = self.staff();
        let now = self.context.clock.wall();
        let owner = customer.and_then(|customer| self.owners.get(customer)).cloned();
        let settings = self.context.staff.settings().clone();
        let looked_for = plan.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let request = Request { plan: &looked_for, owner, now };
            let choices = place(&request, &mut staff, &settings);
            (choices, staff)
        });
        let (choices, staff) = looking.await?;
        for choice in &choices {
            let Some(chosen) = &choice.place else { continue };
            let Some(item) = plan.item(choice.booking) else { continue };
            let reservation = Reservation {
                offset: None,
                number: choice.number + 1,
                case: CaseId::default(),
                customer: None,
                title: item.wanted.title(),
                slot: chosen.slot,
                standing: Standing::Live,
            };
            let (csr, until) = (chosen.csr.id.clone(), self.context.clock.now().plus(HELD));
            if let Some(customer) = customer {
                self.owners.insert(customer.clone(), csr.clone());
            }
            if let Some(known) = self.known.get_mut(&csr)
                && let Some(taken) = staff.iter().find(|one| one.id == csr)
            {
                known.1 = taken.clone();
            }
            self.held.insert(choice.booking, Held { csr, reservation, until });
        }
        Ok(choices)
    }

    /// Everybody, with what is held of them taken.
    fn staff(&mut self) -> Vec<Arc<Csr>> {
        let now = self.context.clock.now();
        let board = self.context.staff.all();
        let by_id: HashMap<&CsrId, &Arc<Csr>> = board.iter().map(|csr| (&csr.id, csr)).collect();
        let known = &mut self.known;
        self.held.retain(|booking, held| {
            let stays = by_id.get(&held.csr).is_some_and(|csr| {
                let number = held.reservation.number;
                let there = csr.reservations.get(booking).is_some_and(|one| one.number >= number);
                let closed = csr.closed.get(booking).is_some_and(|closed| closed.number >= number);
                !there && !closed && now < held.until
            });
            if !stays {
                known.remove(&held.csr);
            }
            stays
        });
        let held = &self.held;
        known.retain(|id, _| by_id.contains_key(id));
        board
            .iter()
            .map(|csr| match known.get(&csr.id) {
                Some((revision, with_held)) if *revision == csr.revision => with_held.clone(),
                _ => {
                    let mut with_held = csr.clone();
                    for (booking, one) in held.iter().filter(|(_, held)| held.csr == csr.id) {
                        Arc::make_mut(&mut with_held).hold(*booking, one.reservation.clone());
                    }
                    known.insert(csr.id.clone(), (csr.revision, with_held.clone()));
                    with_held
                }
            })
            .collect()
    }
}
