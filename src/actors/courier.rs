//! Hands effects to the hands and brings back what came of them.
//!
//! Each kind of effect has a bounded pool; who finds it full waits for its turn, until the time by
//! which the effect has to leave has passed. A hand that panics is an attempt without a result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::Semaphore;

use super::case::CaseRef;
use super::office::Office;
use super::services::Permit;
use crate::domain::call::http::{Answer, judge};
use crate::domain::call::oauth2::token_in;
use crate::domain::call::openapi::{self, DOCUMENT_MAX};
use crate::domain::case::command::{Health, Outcome};
use crate::domain::case::effect::{Ask, Effect, HttpRequest, Preparation};
use crate::domain::case::interpret::SEND_WITHIN;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::mail::Mail;
use crate::domain::service::gate::Reply;
use crate::domain::workflow::expr::json::SIZE_MAX;
use crate::effects::SendBy;
use crate::effects::email::{Post, Posted};
use crate::effects::http::{Http, Sent, Way};

/// Mails under way at the most.
const MAILS: usize = 32;

/// Own doings (events to store, children to start) under way at the most.
const OWN: usize = 256;

/// Who sends effects.
pub struct Courier {
    http: Http,
    post: Option<Post>,
    requests: Semaphore,
    mails: Semaphore,
    own: Semaphore,
}

/// An effect on its way.
pub struct Parcel {
    pub effect: Effect,
    /// The permit of its service, where it goes to one.
    pub permit: Option<Permit>,
    /// When the events that ask for it were committed.
    pub committed: Instant,
    /// Where the result goes.
    pub to: CaseRef,
}

impl Courier {
    /// A courier with these hands; without a mail server, mails fail. `requests` may be under way
    /// at the same time, over all services.
    pub fn new(http: Http, post: Option<Post>, requests: usize) -> Self {
        let pool = Semaphore::new;
        Self { http, post, requests: pool(requests), mails: pool(MAILS), own: pool(OWN) }
    }

    /// The hand for HTTP.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Sends an effect on its way.
    pub fn dispatch(office: &Arc<Office>, parcel: Parcel) {
        let Parcel { effect, permit, committed, to } = parcel;
        if let Ask::Echo(data) = effect.ask {
            // nothing leaves the process, so there is nothing to wait for
            let outcome = Outcome::Done(data);
            to.result(effect.task, effect.iteration, effect.attempt, outcome);
            return;
        }
        let office = office.clone();
        tokio::spawn(async move {
            let (task, iteration, attempt) = (effect.task, effect.iteration, effect.attempt);
            let by = SendBy(committed + Duration::from_millis(SEND_WITHIN.unsigned_abs()));
            let carried = carry(&office, effect, permit, by);
            if let Some(outcome) =
                AssertUnwindSafe(carried).catch_unwind().await.unwrap_or_else(|_| {
                    let error = Problem::new(Standard::Communication, "the attempt broke off");
                    Some(Outcome::Unknown { error, health: Health::default() })
                })
            {
                to.result(task, iteration, attempt, outcome);
            }
        });
    }
}

/// Carries out one effect. None: nobody waits for a result.
async fn carry(
    office: &Arc<Office>,
    effect: Effect,
    permit: Option<Permit>,
    by: SendBy,
) -> Option<Outcome> {
    let courier = &office.courier;
    let health = Health { others_answered: permit.as_ref().is_some_and(Permit::others_answered) };
    // what cannot be sent at all says nothing of the service
    let mut left = true;
    let outcome = match effect.ask {
        Ask::Echo(data) => Outcome::Done(data),
        Ask::Http(request) => {
            let _turn = courier.requests.acquire().await;
            // boxed, so that those who wait for their turn hold no room for it
            let sent = Box::pin(send(office, &request, permit.as_ref(), SIZE_MAX, by)).await;
            left = !matches!(sent, Sent::Unsendable(_));
            outcome_of(sent, health, |answer| judge(&request, answer, health))
        }
        Ask::Email(mail) => {
            let _turn = courier.mails.acquire().await;
            Box::pin(post(office, &mail, &effect.key, health, by)).await
        }
        Ask::Prepare(preparation) => {
            let _turn = courier.requests.acquire().await;
            Box::pin(prepare(office, *preparation, permit.as_ref(), health, by)).await
        }
        Ask::Emit(event) => {
            let _turn = courier.own.acquire().await;
            Box::pin(office.emit(&event)).await
        }
        Ask::Run(child) => {
            let _turn = courier.own.acquire().await;
            Box::pin(office.start_child(*child)).await
        }
        Ask::CancelChild(child) => {
            let _turn = courier.own.acquire().await;
            Box::pin(office.cancel_child(effect.case, child)).await;
            return None;
        }
    };
    if let Some(permit) = permit {
        permit.settle(&if left { reply_of(&outcome) } else { Reply::NotSent });
    }
    Some(outcome)
}

async fn send(
    office: &Office,
    request: &HttpRequest,
    permit: Option<&Permit>,
    most: usize,
    by: SendBy,
) -> Sent {
    let settings = permit.map(|permit| &permit.served().settings);
    let timeout = settings.map_or(30_000, |settings| settings.timeout);
    let timeout = Duration::from_millis(timeout.unsigned_abs());
    let base = settings.and_then(|settings| settings.url.as_deref());
    let may_call = |host: &str| office.services.may_call(host);
    let way = Way { base, timeout, most, by, may_call: &may_call };
    let sent = office.courier.http.send(request, &way).await;
    if matches!(&sent, Sent::Answer(answer) if answer.status == 401) {
        // a token may have been withdrawn before its time
        let sent_with = request.headers.iter().find(|(name, _)| name == "authorization");
        if let Some((_, value)) = sent_with {
            office.cabinet.forget_token_of(value);
        }
    }
    sent
}

/// What a request came to, its answer judged by whoever knows what was asked.
fn outcome_of(sent: Sent, health: Health, judge: impl FnOnce(Answer) -> Outcome) -> Outcome {
    let error = |standard, detail: String| Problem::new(standard, detail);
    match sent {
        Sent::Answer(answer) => judge(answer),
        Sent::Unsendable(detail) => {
            Outcome::Failed { error: error(Standard::Configuration, detail), server: false }
        }
        Sent::TooLate => Outcome::NotSent,
        Sent::NoConnection(detail) => {
            let error = error(Standard::Communication, detail).with_status(503);
            Outcome::NotDone { error, retry_after: None, health }
        }
        Sent::NoAnswer(detail, true) => {
            Outcome::Unknown { error: error(Standard::Timeout, detail), health }
        }
        Sent::NoAnswer(detail, false) => {
            let error = error(Standard::Communication, detail).with_status(502);
            Outcome::Unknown { error, health }
        }
    }
}

/// What the gate of a service learns from an outcome.
fn reply_of(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Done(_)
        | Outcome::Unusable { .. }
        | Outcome::Failed { .. }
        | Outcome::Prepared => Reply::Answered,
        Outcome::NotSent => Reply::NotSent,
        Outcome::NotDone { error, retry_after, .. } if error.status == 429 => {
            Reply::Throttled(*retry_after)
        }
        Outcome::NotDone { error, .. } | Outcome::Unknown { error, .. } => Reply::Outage {
            status: error.status,
            detail: error.detail.clone().unwrap_or_else(|| "no answer".into()),
        },
    }
}

async fn post(office: &Office, mail: &Mail, key: &str, health: Health, by: SendBy) -> Outcome {
    let failed = |standard, detail: String| Outcome::Failed {
        error: Problem::new(standard, detail),
        server: false,
    };
    let Some(post) = &office.courier.post else {
        return failed(Standard::Configuration, "no mail server is configured".to_owned());
    };
    match post.send(mail, key, by).await {
        Posted::Accepted { message_id } => {
            let at = office.clock.now().to_string();
            let accepted: Vec<&String> = mail.to.iter().chain(&mail.cc).collect();
            let output = json!({"messageId": message_id, "accepted": accepted, "at": at});
            Outcome::Done(Data::from(output))
        }
        Posted::Refused { status: None, detail } => failed(Standard::Validation, detail),
        Posted::Refused { status: Some(status), detail } => {
            let error = Problem::new(Standard::Communication, format!("{detail} ({status})"));
            Outcome::Failed { error, server: false }
        }
        Posted::NotNow(detail) => {
            let error = Problem::new(Standard::Communication, detail).with_status(503);
            Outcome::NotDone { error, retry_after: None, health }
        }
        Posted::NoAnswer(detail) => {
            Outcome::Unknown { error: Problem::new(Standard::Timeout, detail), health }
        }
        Posted::TooLate => Outcome::NotSent,
    }
}

/// Fetches a document or a token into the cabinet.
async fn prepare(
    office: &Office,
    preparation: Preparation,
    permit: Option<&Permit>,
    health: Health,
    by: SendBy,
) -> Outcome {
    let failed = |detail: String| Outcome::Failed {
        error: Problem::new(Standard::Communication, detail),
        server: false,
    };
    match &preparation {
        Preparation::Document(request) => {
            let sent = send(office, request, permit, DOCUMENT_MAX, by).await;
            outcome_of(sent, health, |answer| match answer.status {
                200..=299 => match openapi::read(&answer.body) {
                    Ok(document) => {
                        office.cabinet.keep_document(&request.url, document);
                        Outcome::Prepared
                    }
                    Err(detail) => failed(detail),
                },
                _ => judge(request, answer, health),
            })
        }
        Preparation::Token { key, request, issuers } => {
            let sent = send(office, request, permit, SIZE_MAX, by).await;
            let outcome = outcome_of(sent, health, |answer| judge(request, answer, health));
            let Outcome::Done(content) = outcome else { return outcome };
            match token_in(&content, issuers) {
                Ok((token, life)) => {
                    office.cabinet.keep_token(*key, token, life);
                    Outcome::Prepared
                }
                Err(detail) => Outcome::Failed {
                    error: Problem::new(Standard::Authentication, detail),
                    server: false,
                },
            }
        }
    }
}
