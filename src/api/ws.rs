//! `/v1/ws`: what changes, live, over a WebSocket with subscriptions of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, interval_at};

use super::Api;
use super::origin::is_of_another_site;
use super::problem::Problem;
use super::query::{CASE_FILTERS, Query};
use super::told::told;
use crate::actors::handles::{FeedCursor, RecordCursor, Since};
use crate::store::views::lists::CaseFilter;

/// What this speaks.
const PROTOCOL: &str = "caseworker.v1";

/// Bytes of a frame that comes in.
const FRAME_MAX: usize = 16 * 1024;

/// Subscriptions of one connection.
const SUBSCRIPTIONS: usize = 32;

/// Characters of a subscription's id.
const ID_MAX: usize = 64;

/// Changes, and bytes of them, that a slow reader may have before it: then it reads its lists again.
const UNREAD: usize = 256;
const UNREAD_BYTES: usize = 1 << 20;

/// Between two pings, and how many may stay without an answer.
const PING: Duration = Duration::from_secs(15);
const UNANSWERED: u32 = 2;

/// How long a reader may take for one frame.
const SEND: Duration = Duration::from_secs(30);

/// Messages in a row that are none of ours.
const ERRORS: u32 = 3;

/// What may be followed.
const ENTITIES: [&str; 6] = ["case", "assignment", "service", "queue", "schedule", "dead-letter"];

/// Opens a connection.
pub async fn open(
    State(api): State<Api>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    if is_of_another_site(&api, &headers) {
        let detail = "a page of another site may not follow what happens here";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let place = api.limits.stream()?;
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(FRAME_MAX);
    Ok(upgrade
        .on_upgrade(move |socket| async move {
            let connection = Connection {
                api,
                socket,
                subscriptions: Vec::new(),
                errors: 0,
                unanswered: 0,
                _place: place,
            };
            // whoever is gone needs no answer
            let _ = connection.serve().await;
        })
        .into_response())
}

/// What comes in.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Said {
    Subscribe {
        id: String,
        #[serde(default)]
        filter: Map<String, Json>,
        /// The place of the last change that was seen.
        #[serde(default)]
        after: Option<u64>,
    },
    Unsubscribe {
        id: String,
    },
    Ping,
}

struct Subscription {
    id: String,
    entity: Option<String>,
    filter: CaseFilter,
    place: FeedCursor,
}

struct Connection {
    api: Api,
    socket: WebSocket,
    subscriptions: Vec<Subscription>,
    /// Messages in a row that were none of ours.
    errors: u32,
    /// Pings without an answer.
    unanswered: u32,
    _place: OwnedSemaphorePermit,
}

/// The connection is over.
struct Over;

impl Connection {
    async fn serve(mut self) -> Result<(), Over> {
        let mut ping = interval_at(Instant::now() + PING, PING);
        loop {
            let feed = self.api.handle.clone();
            let first = self.subscriptions.iter().map(|one| one.place).min();
            let changes = async {
                match first {
                    Some(place) => feed.feed().beyond(place).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                said = self.socket.recv() => match said {
                    Some(Ok(Message::Text(text))) => self.hear(&text).await?,
                    Some(Ok(Message::Pong(_))) => self.unanswered = 0,
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Binary(_))) => self.refuse(None, "text frames only").await?,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Over),
                },
                () = changes => self.tell().await?,
                _ = ping.tick() => {
                    if self.unanswered >= UNANSWERED {
                        return self.close(close_code::POLICY, "no answer to pings").await;
                    }
                    self.unanswered += 1;
                    self.send(Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    async fn hear(&mut self, text: &str) -> Result<(), Over> {
        let said: Result<Said, _> = serde_json::from_str(text);
        match said {
            Ok(Said::Ping) => {
                self.errors = 0;
                self.say(json!({"type": "pong"})).await
            }
            Ok(Said::Unsubscribe { id }) => {
                self.errors = 0;
                self.subscriptions.retain(|one| one.id != id);
                self.say(json!({"type": "unsubscribed", "id": id})).await
            }
            Ok(Said::Subscribe { id, filter, after }) => match self.subscribe(&id, filter, after) {
                Ok(reset) => {
                    self.errors = 0;
                    let position = self.position();
                    self.say(json!({"type": "subscribed", "id": id, "position": position})).await?;
                    match reset {
                        true => self.reset(&id).await,
                        false => Ok(()),
                    }
                }
                Err(detail) => self.refuse(Some(&id), &detail).await,
            },
            Err(error) => self.refuse(None, &error.to_string()).await,
        }
    }

    /// A subscription from now on, or from a place on. True: that is not known any more.
    fn subscribe(
        &mut self,
        id: &str,
        mut filter: Map<String, Json>,
        after: Option<u64>,
    ) -> Result<bool, String> {
        if !(1..=ID_MAX).contains(&id.chars().count()) {
            return Err(format!("`id` has 1 to {ID_MAX} characters"));
        }
        if self.subscriptions.iter().any(|one| one.id == id) {
            return Err(format!("there is a subscription `{id}` already"));
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS {
            return Err(format!("{SUBSCRIPTIONS} subscriptions at the most"));
        }
        let entity = match filter.remove("entity") {
            None | Some(Json::Null) => None,
            Some(Json::String(entity)) if ENTITIES.contains(&entity.as_str()) => Some(entity),
            Some(_) => return Err(format!("`entity` is one of {}", ENTITIES.join(", "))),
        };
        // the rest is what a list may be asked for
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in filter {
            let Json::String(value) = value else { return Err(format!("`{name}` is no text")) };
            query.append_pair(&name, &value);
        }
        let filter = Query::read(Some(&query.finish()), &CASE_FILTERS).and_then(|q| q.cases());
        let filter = filter.map_err(|problem| problem.shown().1.to_string())?;
        let feed = self.api.handle.feed();
        let found = after.map(|position| feed.after(RecordCursor(position)));
        let reset = matches!(found, Some(None));
        let place = found.flatten().unwrap_or_else(|| feed.now());
        self.subscriptions.push(Subscription { id: id.to_owned(), entity, filter, place });
        Ok(reset)
    }

    /// What has come for each subscription; one that has fallen behind is told to read again.
    async fn tell(&mut self) -> Result<(), Over> {
        for place in 0..self.subscriptions.len() {
            let one = &self.subscriptions[place];
            let (changes, next) = match self.api.handle.feed().since(one.place) {
                Since::Changes(changes, next) => (Some(changes), next),
                Since::Reset(next) => (None, next),
            };
            let frames = changes.and_then(|changes| frames_of(one, &changes));
            let id = one.id.clone();
            self.subscriptions[place].place = next;
            match frames {
                None => self.reset(&id).await?,
                Some(frames) => {
                    for frame in frames {
                        self.send(Message::Text(frame.into())).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn reset(&mut self, id: &str) -> Result<(), Over> {
        let position = self.position();
        self.say(json!({"type": "reset", "id": id, "position": position})).await
    }

    /// Up to where what was told, or is read now, is complete.
    fn position(&self) -> u64 {
        self.api.handle.views().position().unwrap_or_default().0
    }

    async fn refuse(&mut self, id: Option<&str>, detail: &str) -> Result<(), Over> {
        self.errors += 1;
        let problem = Problem::at("", detail).shown().1;
        self.say(json!({"type": "error", "id": id, "problem": problem})).await?;
        match self.errors >= ERRORS {
            true => self.close(close_code::POLICY, "too many messages that are none").await,
            false => Ok(()),
        }
    }

    async fn say(&mut self, message: Json) -> Result<(), Over> {
        self.send(Message::Text(message.to_string().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Over> {
        match tokio::time::timeout(SEND, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over),
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Over> {
        let _ = self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
        Err(Over)
    }
}

/// The frames of these changes; none: they are too many.
fn frames_of(
    one: &Subscription,
    changes: &[Arc<crate::actors::handles::FeedChange>],
) -> Option<Vec<String>> {
    let (mut frames, mut bytes) = (Vec::new(), 0);
    for change in changes {
        let Some((entity, data)) = told(&one.filter, change) else { continue };
        if one.entity.as_deref().is_some_and(|wanted| wanted != entity) {
            continue;
        }
        let frame = json!({
            "type": "change", "id": one.id, "position": change.at.0, "entity": entity, "data": data,
        });
        let frame = frame.to_string();
        bytes += frame.len();
        frames.push(frame);
        if frames.len() > UNREAD || bytes > UNREAD_BYTES {
            return None;
        }
    }
    Some(frames)
}
