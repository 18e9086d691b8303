//! The actor of one service's breaker: sends probes, moves the line on, notes transitions.
//!
//! Parent: the services' supervisor. Its mailbox holds at most one `Look` from the handle, one from
//! its alarm, and the calls of operators. When it crashes it begins again over the same gate.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::actors::alarm::Alarm;
use crate::actors::cases::tell::Woken;
use crate::actors::context::Context;
use crate::actors::services::handle::ServiceHandle;
use crate::actors::services::message::BreakerMsg;
use crate::domain::case::command::Command;
use crate::domain::case::effect::HttpRequest;
use crate::domain::ids::Entity;
use crate::domain::service::circuit::Transition;
use crate::domain::service::line::KEPT;
use crate::domain::service::permit::{Act, Reply};
use crate::domain::service::settings::Probe;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::OutputFormat;
use crate::effects::SendBy;
use crate::effects::http::{Sent, Way};
use crate::store::EngineFence;
use crate::store::journal::{Append, Journal, LEFT_OPEN, Last, Settled, append_until_known};
use crate::store::record::{self, By, Header, SCHEMA};
use crate::store::transitions::{self, Stored};

/// Milliseconds after which it is looked again whether more cases can be woken.
const NO_ROOM: i64 = 100;

/// The actor.
pub struct BreakerActor;

/// What it lives on.
pub struct BreakerState {
    context: Arc<Context>,
    served: Arc<ServiceHandle>,
    last: Noted,
    alarm: Alarm,
}

/// The last record of a service.
#[derive(Default)]
struct Noted {
    /// Its version; 0: there is none.
    version: u64,
    hash: record::Hash,
    fence: Option<EngineFence>,
}

impl Actor for BreakerActor {
    type Msg = BreakerMsg;
    type State = BreakerState;
    type Arguments = (Arc<Context>, Arc<ServiceHandle>);

    async fn pre_start(
        &self,
        myself: ActorRef<BreakerMsg>,
        (context, served): Self::Arguments,
    ) -> Result<BreakerState, ActorProcessingErr> {
        let entity = Entity::service(&served.settings.name);
        let last = match context.journal.last(entity).await? {
            Some(Last { record, fence }) => Noted {
                version: record::decode(&record)?.0.last_version(),
                hash: record::hash(&record),
                fence: Some(fence),
            },
            None => Noted::default(),
        };
        // an answer that was on its way to a predecessor is lost
        let lost = served.gate().health(&Reply::NotSent, context.clock.now());
        debug_assert!(lost.is_none(), "nothing follows from what was not sent");
        served.attach(myself.clone());
        myself.cast(BreakerMsg::Look)?;
        Ok(BreakerState { context, served, last, alarm: Alarm::default() })
    }

    async fn handle(
        &self,
        myself: ActorRef<BreakerMsg>,
        message: BreakerMsg,
        live: &mut BreakerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BreakerMsg::Look => {}
            BreakerMsg::Health(reply) => {
                let now = live.context.clock.now();
                let transition = live.served.gate().health(&reply, now);
                if let Some(transition) = transition {
                    live.served.moved(transition, now);
                }
            }
            BreakerMsg::Isolate { reason, until, by, reply } => {
                let _ = reply.send(live.isolate(reason, until, by).await);
            }
            BreakerMsg::Release { by, reply } => {
                let _ = reply.send(live.release(by).await);
            }
            BreakerMsg::Probe { reply } => {
                let now = live.context.clock.now();
                let (done, ended) = live.served.gate().probe_now(now);
                ended.into_iter().for_each(|ended| live.served.moved(ended, now));
                live.note_moved().await;
                let _ = reply.send(done);
            }
        }
        live.look(&myself).await;
        Ok(())
    }
}

impl BreakerState {
    async fn look(&mut self, myself: &ActorRef<BreakerMsg>) {
        self.served.looked();
        self.note_moved().await;
        if !self.context.wants.has_room() {
            // nobody could be told now that its turn has come
            self.set_alarm(myself, Some(self.context.clock.now().plus(NO_ROOM)));
            return;
        }
        if self.served.gate().wants_line() && self.context.views.progress().is_none() {
            self.read_line().await;
        }
        let now = self.context.clock.now();
        let acts = self.served.gate().due(now);
        for act in acts {
            match act {
                Act::Admit(case) => {
                    let service = self.served.settings.name.clone();
                    match self.context.wake_soon(case, Command::Admit { service }) {
                        Woken::Noted => {}
                        Woken::NoRoom => self.served.gate().put_back(case),
                        // somebody else takes the place
                        Woken::OutOfService => self.served.gate().decline(case),
                    }
                }
                Act::AskHealth => self.ask_health(myself),
                Act::Note(transition) => self.served.moved(transition, now),
            }
        }
        self.note_moved().await;
        let next = self.served.gate().next_due(now);
        self.set_alarm(myself, next);
    }

    /// Who waits, from the index.
    async fn read_line(&mut self) {
        let (views, name) = (self.context.views.clone(), self.served.settings.name.clone());
        let as_of = self.served.gate().reads_line();
        let read = tokio::task::spawn_blocking(move || views.line(&name, KEPT));
        match read.await {
            Ok(Ok(tickets)) => {
                let complete = tickets.len() < KEPT;
                self.served.gate().line_up(as_of, tickets, complete);
            }
            Ok(Err(error)) => tracing::error!(%error, "the line of a service cannot be read"),
            Err(_) => {}
        }
    }

    fn ask_health(&self, myself: &ActorRef<BreakerMsg>) {
        let Some(probe) = self.served.settings.probe.clone() else { return };
        let (context, served, myself) = (self.context.clone(), self.served.clone(), myself.clone());
        tokio::spawn(async move {
            let asked = AssertUnwindSafe(health(&context, &served, &probe)).catch_unwind().await;
            let reply = asked.unwrap_or(Reply::NotSent);
            // an error means that the process is ending
            let _ = myself.cast(BreakerMsg::Health(reply));
        });
    }

    /// Commits transitions, so that a restart finds the breaker as it was.
    async fn note_moved(&mut self) {
        for (transition, at) in self.served.take_moved() {
            let name = self.served.settings.name.clone();
            let closed = self.served.gate().circuit().name() == "closed";
            if matches!(transition, Transition::Paused { .. }) && !closed {
                // what came meanwhile says more, and that it pauses
                continue;
            }
            match &transition {
                Transition::Opened { cause } => {
                    tracing::warn!(service = %name, status = cause.status, "breaker opened");
                }
                Transition::Closed => tracing::info!(service = %name, "breaker closed"),
                Transition::Isolated { .. } | Transition::Released | Transition::Paused { .. } => {}
            }
            if let Err(error) = self.note(&transition, at, By::engine()).await {
                tracing::error!(service = %name, error, "a transition was not noted");
            }
        }
    }

    async fn note(&mut self, transition: &Transition, at: Timestamp, by: By) -> Result<(), String> {
        let name = &self.served.settings.name;
        let entity = Entity::service(name);
        let header = Header {
            schema: SCHEMA,
            entity,
            version: self.last.version + 1,
            count: 1,
            at,
            previous: self.last.hash,
            command: None,
            by,
        };
        let paused_until = self.served.gate().paused_until(at);
        let (service, transition) = (name.clone(), transition.clone());
        let stored = Stored { service, transition, paused_until };
        let record = record::encode(&header, &transitions::encode(&stored));
        let hash = record::hash(&record);
        let (first, fence) = (header.version, self.last.fence);
        let append = Append { entity, fence, first, record: record.into(), note: None };
        match append_until_known(&self.context.journal, append).await {
            Settled::Committed(fence) => {
                self.last = Noted { version: first, hash, fence: Some(fence) };
                Ok(())
            }
            Settled::Conflict => Err("somebody else wrote of this service".to_owned()),
            Settled::Refused(refused) => Err(refused.to_string()),
            Settled::LeftOpen => Err(LEFT_OPEN.to_owned()),
        }
    }

    async fn isolate(&mut self, reason: String, until: Timestamp, by: By) -> Result<(), String> {
        let now = self.context.clock.now();
        let transition = Transition::Isolated { reason: reason.as_str().into(), until };
        self.note(&transition, now, By { why: reason.clone(), ..by }).await?;
        self.served.gate().isolate(reason.into(), until, now);
        Ok(())
    }

    async fn release(&mut self, by: By) -> Result<bool, String> {
        let now = self.context.clock.now();
        let isolated = self.served.gate().circuit().name() == "isolated";
        if !isolated {
            return Ok(false);
        }
        self.note(&Transition::Released, now, by).await?;
        self.served.gate().release(now);
        Ok(true)
    }

    fn set_alarm(&mut self, myself: &ActorRef<BreakerMsg>, at: Option<Timestamp>) {
        self.alarm.set(&self.context.clock, myself, at, || BreakerMsg::Look);
    }
}

/// Asks whether a service is back: any answer that is no outage says so.
async fn health(context: &Context, served: &ServiceHandle, probe: &Probe) -> Reply {
    let settings = &served.settings;
    let host = settings.hosts.first().map_or(&*settings.name, String::as_str);
    let request = HttpRequest {
        method: probe.method.as_str().into(),
        url: format!("http://{host}{}", probe.path),
        headers: Vec::new(),
        body: None,
        follow_redirects: false,
        output: OutputFormat::Content,
        shown: serde_json::Value::Null,
    };
    let timeout = Duration::from_millis(settings.timeout.unsigned_abs());
    let by = SendBy(Instant::now() + timeout);
    let base = settings.url.as_deref();
    let way = Way { base, timeout, most: 0, by, may_call: &|_| false };
    match context.dispatcher.http().send(&request, &way).await {
        Sent::Answer(answer) if (502..=504).contains(&answer.status) => Reply::Outage {
            status: i64::from(answer.status),
            detail: format!("the probe was answered {}", answer.status).into(),
        },
        Sent::Answer(_) => Reply::Answered,
        Sent::NoConnection(detail) | Sent::Unsendable(detail) => {
            Reply::Outage { status: 503, detail: detail.into() }
        }
        Sent::NoAnswer(detail, _) => Reply::Outage { status: 504, detail: detail.into() },
        Sent::TooLate => Reply::NotSent,
    }
}
