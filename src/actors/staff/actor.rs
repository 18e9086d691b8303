//! The availability actor of one CSR: decides whether a proposal has its time, commits, answers, in this
//! order.
//!
//! Parent: their supervisor. Its mailbox is bounded by those who write to it: 64 clients, and one message
//! for each proposal and each thing that a case owes.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime};

use super::kind::{CsrKey, CsrRegistry, Csrs};
use super::message::{CsrError, CsrMsg, CsrReply, CsrRequest};
use crate::actors::context::Context;
use crate::actors::registry::Spawner;
use crate::actors::registry::supervisor::Supervised;
use crate::domain::ids::CsrId;
use crate::domain::staff::csr::command::Command;

/// The actor.
pub struct CsrActor;

/// What it lives on: the CSR themself is on the board.
pub struct CsrState {
    context: Arc<Context>,
    key: CsrKey,
    /// What was committed before it began is on the board.
    loaded: bool,
}

impl std::fmt::Display for CsrKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Supervised for Csrs {
    const NAME: &'static str = "csr";

    fn registry(context: &Context) -> &Arc<CsrRegistry> {
        &context.staff.registry
    }

    fn spawner(context: &Arc<Context>, parent: ActorCell) -> Spawner<Self> {
        // the context holds the registry, which holds this
        let context = Arc::downgrade(context);
        Box::new(move |key, _| {
            let context = context.upgrade()?;
            // whoever asks may be of another runtime
            let _engine = context.runtime.enter();
            let args = (context.clone(), key);
            match ActorRuntime::spawn_linked_instant(None, CsrActor, args, parent.clone()) {
                Ok((actor, _starting)) => Some(actor),
                Err(error) => {
                    tracing::error!(%error, "no actor for a CSR");
                    None
                }
            }
        })
    }

    async fn quarantine(context: &Context, key: CsrKey, reason: Arc<str>) {
        let known = context.staff.all().into_iter().find(|csr| CsrKey::from(&csr.id) == key);
        if let Some(csr) = known {
            tracing::error!(csr = %csr.id, %reason, "a CSR is taken out of service");
            context.staff.remove(&csr.id);
        }
        metrics::counter!("caseworker_alerts_total").increment(1);
        context.staff.registry.quarantine(key, reason);
    }
}

impl Actor for CsrActor {
    type Msg = CsrMsg;
    type State = CsrState;
    type Arguments = (Arc<Context>, CsrKey);

    async fn pre_start(
        &self,
        _: ActorRef<CsrMsg>,
        (context, key): (Arc<Context>, CsrKey),
    ) -> Result<CsrState, ActorProcessingErr> {
        Ok(CsrState { context, key, loaded: false })
    }

    async fn handle(
        &self,
        _: ActorRef<CsrMsg>,
        message: CsrMsg,
        live: &mut CsrState,
    ) -> Result<(), ActorProcessingErr> {
        let request = match message {
            CsrMsg::Request(request) => request,
            CsrMsg::Recover => {
                live.recover().await;
                return Ok(());
            }
        };
        let told = live.on(&request).await;
        if let Err(CsrError::Quarantined(reason)) = &told {
            Csrs::quarantine(&live.context, live.key, reason.clone()).await;
        }
        // nobody who waits is no fault: who asks has gone, or asks again
        let _ = request.reply.send(told);
        Ok(())
    }
}

impl CsrState {
    async fn on(&mut self, request: &CsrRequest) -> Result<CsrReply, CsrError> {
        if let Some(reason) = self.context.staff.registry.quarantined(self.key) {
            return Err(CsrError::Quarantined(reason));
        }
        if !self.loaded {
            self.load(&request.id).await?;
        }
        let before = self.context.staff.csr(&request.id);
        let told = self.context.carry_out_csr(request).await;
        if matches!(told, Err(CsrError::Unavailable(_) | CsrError::Unknown(_))) {
            self.loaded = false;
        }
        let frees = match &request.command {
            // a move within their time frees what it was at before
            Command::Reserve(proposal) => {
                before.as_ref().is_some_and(|csr| csr.reservations.contains_key(&proposal.booking))
            }
            Command::Keep { .. } => false,
            _ => true,
        };
        if self.revision(&request.id) != before.map_or(0, |csr| csr.revision) {
            self.context.csr_has_changed(&request.id, frees);
        }
        told
    }

    /// A predecessor that crashed may have committed more than it has shown, and told.
    async fn load(&mut self, id: &CsrId) -> Result<(), CsrError> {
        let before = self.revision(id);
        self.context.reload(id).await?;
        self.loaded = true;
        if self.revision(id) != before {
            self.context.csr_has_changed(id, true);
        }
        Ok(())
    }

    async fn recover(&mut self) {
        let key = self.key;
        let known = self.context.staff.all().into_iter().find(|csr| CsrKey::from(&csr.id) == key);
        // whoever asks next loads them otherwise
        if let Some(csr) = known
            && let Err(error) = self.load(&csr.id).await
        {
            tracing::warn!(csr = %csr.id, %error, "a CSR cannot be read now");
        }
    }

    fn revision(&self, id: &CsrId) -> u64 {
        self.context.staff.csr(id).map_or(0, |csr| csr.revision)
    }
}
