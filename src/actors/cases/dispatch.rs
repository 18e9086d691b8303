//! Sends the effects of a case on their way and brings back what came of them. One that panics is an
//! attempt without a result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::case_ref::CaseRef;
use crate::actors::context::Context;
use crate::actors::services::handle::CallPermit;
use crate::domain::case::command::{Fetched, Health, Outcome};
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::interpret::SEND_WITHIN;
use crate::domain::case::problem::{Problem, Standard};
use crate::effects::SendBy;

/// An effect on its way.
pub struct Dispatch {
    pub effect: Effect,
    /// The permit of its service, where it goes to one.
    pub permit: Option<CallPermit>,
    /// When the events that ask for it were committed.
    pub committed: Instant,
    /// Where the result goes.
    pub to: CaseRef,
}

/// Sends an effect on its way.
pub fn dispatch(context: &Arc<Context>, dispatch: Dispatch) {
    let Dispatch { effect, permit, committed, to } = dispatch;
    if let Ask::Echo(data) = effect.ask {
        // nothing leaves the process, so there is nothing to wait for
        let outcome = Outcome::Done(data);
        to.result(effect.task, effect.iteration, effect.attempt, outcome);
        return;
    }
    let context = context.clone();
    if let Ask::CancelChild(child) = effect.ask {
        tokio::spawn(context.cancel_child(effect.case, child));
        return;
    }
    if let Ask::LeaveChild = effect.ask {
        tokio::spawn(async move { context.leave_child(&effect).await });
        return;
    }
    tokio::spawn(async move {
        let (task, iteration, attempt) = (effect.task, effect.iteration, effect.attempt);
        let by = SendBy(committed + Duration::from_millis(SEND_WITHIN.unsigned_abs()));
        let fetches = matches!(effect.ask, Ask::Prepare(_));
        let carried = carry(&context, effect, permit, by);
        if let Some(outcome) = AssertUnwindSafe(carried).catch_unwind().await.unwrap_or_else(|_| {
            let error = Problem::new(Standard::Communication, "the attempt broke off");
            let health = Health::default();
            Some(match fetches {
                true => Outcome::Fetched(Fetched::Missed { error, retry_after: None, health }),
                false => Outcome::Unknown { error, health },
            })
        }) {
            to.result(task, iteration, attempt, outcome);
        }
    });
}

/// Carries out one effect. None: nobody waits for a result.
async fn carry(
    context: &Arc<Context>,
    effect: Effect,
    permit: Option<CallPermit>,
    by: SendBy,
) -> Option<Outcome> {
    let dispatcher = &context.dispatcher;
    Some(match effect.ask {
        Ask::Echo(data) => Outcome::Done(data),
        Ask::Http(request) => dispatcher.request(&request, permit, by).await,
        Ask::Email(mail) => dispatcher.email(&mail, &effect.key, permit, by).await,
        Ask::Notice(notice) => {
            let mail = context.write_notice(effect.case, &notice);
            dispatcher.written(mail, &effect.key, permit, by).await
        }
        Ask::Prepare(preparation) => {
            Outcome::Fetched(dispatcher.prepare(&preparation, permit, by).await)
        }
        Ask::Emit(event) => {
            let _turn = dispatcher.turn_of_our_own().await;
            Box::pin(context.emit(&event)).await
        }
        Ask::Run(child) => {
            let _turn = dispatcher.turn_of_our_own().await;
            Box::pin(context.start_child(*child)).await
        }
        // nobody waits for what comes of it
        Ask::CancelChild(_) | Ask::LeaveChild => return None,
    })
}
