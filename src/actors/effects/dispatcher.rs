//! Executes the effects that leave the process: requests, mails, documents and tokens to be fetched.
//!
//! Each kind of effect has a bounded pool; who finds it full waits for its turn, until the time by
//! which the effect has to leave has passed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::actors::effects::call_resources::CallResources;
use crate::actors::effects::composer::Composer;
use crate::actors::services::handle::CallPermit;
use crate::actors::services::registry::Services;
use crate::clock::Clock;
use crate::domain::call::http::{Answer, judge};
use crate::domain::call::oauth2::token_in;
use crate::domain::call::openapi::{self, DOCUMENT_MAX};
use crate::domain::case::command::{Fetched, Health, Outcome};
use crate::domain::case::effect::{HttpRequest, Preparation};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::mail::{Attachment, Mail, Named};
use crate::domain::service::permit::Reply;
use crate::domain::staff::notice::letter::Sender;
use crate::domain::workflow::expr::json::SIZE_MAX;
use crate::effects::SendBy;
use crate::effects::email::{Post, Posted};
use crate::effects::http::{Http, Sent, Way};
use crate::store::documents::{DocumentError, Documents};

/// Bytes of the documents of one mail.
const ATTACHED_BYTES: usize = 20 << 20;

/// Mails under way at the most.
const MAILS: usize = 32;

/// Own doings (events to store, children to start) under way at the most.
const OWN: usize = 256;

/// Sends effects.
pub struct Dispatcher {
    clock: Clock,
    services: Arc<Services>,
    resources: Arc<CallResources>,
    http: Http,
    post: Option<Post>,
    requests: Semaphore,
    mails: Semaphore,
    composer: Composer,
    documents: Documents,
    own: Semaphore,
}

/// Why documents do not come with a mail.
enum Unattached {
    Never(String),
    NotNow(String),
}

impl Dispatcher {
    /// A dispatcher with these hands; without a mail server, mails fail. `requests` may be under way
    /// at the same time, over all services.
    pub fn new(
        clock: Clock,
        services: Arc<Services>,
        resources: Arc<CallResources>,
        (http, post): (Http, Option<Post>),
        requests: usize,
        documents: Documents,
    ) -> Self {
        let pool = Semaphore::new;
        let (requests, mails, own) = (pool(requests), pool(MAILS), pool(OWN));
        let composer = Composer::default();
        Self { clock, services, resources, http, post, requests, mails, composer, documents, own }
    }

    /// The hand for HTTP.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// What Message-IDs end with; none where there is no mail server.
    pub fn mail_domain(&self) -> Option<&str> {
        self.post.as_ref().map(Post::domain)
    }

    /// Who mails come from; none where there is no mail server.
    pub fn sender(&self) -> Option<Sender> {
        let post = self.post.as_ref()?;
        Some(Sender { email: post.sender(), domain: post.domain().to_owned() })
    }

    /// A turn for something that stays in the process.
    pub async fn turn_of_our_own(&self) -> Option<SemaphorePermit<'_>> {
        self.own.acquire().await.ok()
    }

    /// Makes a call.
    pub async fn request(
        &self,
        request: &HttpRequest,
        permit: Option<CallPermit>,
        by: SendBy,
    ) -> Outcome {
        let health = health(permit.as_ref());
        let _turn = self.requests.acquire().await;
        // boxed, so that those who wait for their turn hold no room for it
        let sent = Box::pin(self.send(request, permit.as_ref(), SIZE_MAX, by)).await;
        // what cannot be sent at all says nothing of the service
        let left = !matches!(sent, Sent::Unsendable(_));
        let outcome = outcome_of(sent, health, |answer| judge(request, answer, health));
        if let Some(permit) = permit {
            permit.settle(&if left { reply_of(&outcome) } else { Reply::NotSent });
        }
        outcome
    }

    /// Makes a mail of its arguments, and sends it.
    pub async fn email(
        &self,
        arguments: &Data,
        key: &str,
        permit: Option<CallPermit>,
        by: SendBy,
    ) -> Outcome {
        let _turn = self.mails.acquire().await;
        let composed = match self.composer.compose(arguments, by).await {
            Ok(Some(mail)) => match self.attach(mail).await {
                Ok(mail) => Ok(Some(mail)),
                Err(Unattached::Never(detail)) => Err(detail),
                Err(Unattached::NotNow(detail)) => {
                    tracing::warn!(detail, "a mail's documents cannot be read now");
                    Ok(None)
                }
            },
            other => other,
        };
        self.send_mail(composed, key, permit, by).await
    }

    /// Sends a mail that is written already, or was to be.
    pub async fn written(
        &self,
        mail: Result<Mail, String>,
        key: &str,
        permit: Option<CallPermit>,
        by: SendBy,
    ) -> Outcome {
        let _turn = self.mails.acquire().await;
        self.send_mail(mail.map(Some), key, permit, by).await
    }

    /// Reads the documents that come with a mail.
    async fn attach(&self, mut mail: Mail) -> Result<Mail, Unattached> {
        let named = std::mem::take(&mut mail.documents);
        let documents = self.documents.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = 0;
            for Named { name, media_type, document } in named {
                let found = documents.get(document).map_err(|error| match error {
                    DocumentError::Damaged(_) => Unattached::Never(error.to_string()),
                    DocumentError::Disk(_) => Unattached::NotNow(error.to_string()),
                })?;
                let Some((_, content)) = found else {
                    return Err(Unattached::Never(format!("there is no document {document}")));
                };
                bytes += content.len();
                if bytes > ATTACHED_BYTES {
                    let most = ATTACHED_BYTES >> 20;
                    let detail = format!("its documents are larger than {most} MiB together");
                    return Err(Unattached::Never(detail));
                }
                mail.attachments.push(Attachment { name, media_type, content });
            }
            Ok(mail)
        });
        read.await.unwrap_or_else(|error| Err(Unattached::NotNow(error.to_string())))
    }

    async fn send_mail(
        &self,
        mail: Result<Option<Mail>, String>,
        key: &str,
        permit: Option<CallPermit>,
        by: SendBy,
    ) -> Outcome {
        let outcome = match mail {
            Ok(None) => Outcome::NotSent,
            Ok(Some(mail)) => Box::pin(self.post(&mail, key, health(permit.as_ref()), by)).await,
            Err(detail) => {
                let error = Problem::new(Standard::Validation, detail);
                Outcome::Failed { error, server: false }
            }
        };
        // what cannot be sent at all says nothing of the mail server
        let unsendable = matches!(&outcome, Outcome::Failed { error, .. } if error.is_of_ours());
        match permit {
            Some(permit) if unsendable => permit.settle(&Reply::NotSent),
            permit => settle(permit, &outcome),
        }
        outcome
    }

    /// Fetches a document or a token, and keeps it for the call that needs it.
    pub async fn prepare(
        &self,
        preparation: &Preparation,
        permit: Option<CallPermit>,
        by: SendBy,
    ) -> Fetched {
        let _turn = self.requests.acquire().await;
        let fetched = Box::pin(self.fetch(preparation, permit.as_ref(), by)).await;
        if let Some(permit) = permit {
            permit.settle(&fetched.as_ref().err().map_or(Reply::Answered, reply_of));
        }
        fetched.map_or_else(not_fetched, |()| Fetched::Here)
    }

    async fn send(
        &self,
        request: &HttpRequest,
        permit: Option<&CallPermit>,
        most: usize,
        by: SendBy,
    ) -> Sent {
        let settings = permit.map(|permit| &permit.served().settings);
        let timeout = settings.map_or(30_000, |settings| settings.timeout);
        let timeout = Duration::from_millis(timeout.unsigned_abs());
        let base = settings.and_then(|settings| settings.url.as_deref());
        let may_call = |url: &Url| {
            url.host_str()
                .is_some_and(|host| self.services.may_call(host, url.port_or_known_default()))
        };
        let way = Way { base, timeout, most, by, may_call: &may_call };
        let sent = self.http.send(request, &way).await;
        if matches!(&sent, Sent::Answer(answer) if answer.status == 401) {
            // a token may have been withdrawn before its time
            let sent_with = request.headers.iter().find(|(name, _)| name == "authorization");
            if let Some((_, value)) = sent_with {
                self.resources.forget_token_of(value);
            }
        }
        sent
    }

    async fn post(&self, mail: &Mail, key: &str, health: Health, by: SendBy) -> Outcome {
        let failed = |standard, detail: String| Outcome::Failed {
            error: Problem::new(standard, detail),
            server: false,
        };
        let Some(post) = &self.post else {
            return failed(Standard::Configuration, "no mail server is configured".to_owned());
        };
        match post.send(mail, key, by).await {
            Posted::Accepted { message_id } => {
                let at = self.clock.now().to_string();
                let accepted: Vec<&String> = mail.to.iter().chain(&mail.cc).collect();
                let output = json!({"messageId": message_id, "accepted": accepted, "at": at});
                Outcome::Done(Data::from(output))
            }
            Posted::Refused { status: None, detail } => failed(Standard::Validation, detail),
            Posted::Refused { status: Some(status), detail } => {
                let error = Problem::new(Standard::Communication, format!("{detail} ({status})"));
                Outcome::Failed { error, server: false }
            }
            Posted::PutOff { status, detail } => {
                let error = Problem::new(Standard::Communication, detail);
                let error = error.with_status(i64::from(status));
                Outcome::NotDone { error, retry_after: None, health }
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

    async fn fetch(
        &self,
        preparation: &Preparation,
        permit: Option<&CallPermit>,
        by: SendBy,
    ) -> Result<(), Outcome> {
        let failed = |detail: String| Outcome::Failed {
            error: Problem::new(Standard::Communication, detail),
            server: false,
        };
        let health = health(permit);
        match preparation {
            Preparation::Document(request) => {
                let sent = self.send(request, permit, DOCUMENT_MAX, by).await;
                let answer = match sent {
                    Sent::Answer(answer) if (200..=299).contains(&answer.status) => answer,
                    sent => {
                        return Err(outcome_of(sent, health, |answer| {
                            judge(request, answer, health)
                        }));
                    }
                };
                let document = openapi::read(&answer.body).map_err(failed)?;
                self.resources.keep_document(&request.url, document);
                Ok(())
            }
            Preparation::Token { key, request, issuers } => {
                let sent = self.send(request, permit, SIZE_MAX, by).await;
                let outcome = outcome_of(sent, health, |answer| judge(request, answer, health));
                let Outcome::Done(content) = outcome else { return Err(outcome) };
                match token_in(&content, issuers) {
                    Ok((token, life)) => {
                        self.resources.keep_token(*key, token, life);
                        Ok(())
                    }
                    Err(detail) => Err(Outcome::Failed {
                        error: Problem::new(Standard::Authentication, detail),
                        server: false,
                    }),
                }
            }
        }
    }
}

/// What was not fetched, as the call that needs it is told.
fn not_fetched(outcome: Outcome) -> Fetched {
    match outcome {
        Outcome::NotSent => Fetched::NotSent,
        Outcome::NotDone { error, retry_after, health } => {
            Fetched::Missed { error, retry_after, health }
        }
        Outcome::Unknown { error, health } => Fetched::Missed { error, retry_after: None, health },
        Outcome::Failed { error, .. } | Outcome::Unusable { error } => Fetched::Useless { error },
        Outcome::Done(_) | Outcome::Fetched(_) => {
            let detail = "what was fetched for the call cannot be used";
            Fetched::Useless { error: Problem::new(Standard::Communication, detail) }
        }
    }
}

/// What a service's other calls say of it.
fn health(permit: Option<&CallPermit>) -> Health {
    Health { others_answered: permit.is_some_and(CallPermit::others_answered) }
}

/// The gate of the service learns what a call came to.
fn settle(permit: Option<CallPermit>, outcome: &Outcome) {
    if let Some(permit) = permit {
        permit.settle(&reply_of(outcome));
    }
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
        | Outcome::Fetched(_) => Reply::Answered,
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
