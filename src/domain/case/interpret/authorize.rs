//! How a call says who it is: the `Authorization` header, and `$authorization`.

use std::sync::Arc;

use serde_json::Value as Json;

use super::evaluate::Place;
use super::prepare::{Or, Prepared, configuration, lacks};
use super::{Interpreter, Trouble};
use crate::domain::call::http::{self, Parts};
use crate::domain::call::oauth2::{Credentials, by_exchange, by_password};
use crate::domain::case::effect::Preparation;
use crate::domain::data::Data;
use crate::domain::workflow::expr::Arg;
use crate::domain::workflow::model::{Auth, Call, Grant, Kind, OtherToken, Task};

impl Interpreter<'_> {
    /// `$authorization` of a call that was answered, where its output is made of it. A token that
    /// is not at hand any more is null.
    pub(super) fn recall_authorization(
        &mut self,
        task: &Task,
        place: &mut Place,
    ) -> Result<(), Trouble> {
        let Kind::Call(call) = &task.kind else { return Ok(()) };
        let auth = match &**call {
            Call::Http(call) => call.endpoint.auth.as_ref(),
            Call::OpenApi(call) => call.auth.as_ref(),
            _ => None,
        };
        let export = task.export.as_ref().and_then(|export| export.transform.as_ref());
        let made = task.output.transform.iter().chain(export);
        let named = made.flat_map(|t| t.exprs()).any(|e| e.uses(Arg::Authorization));
        if auth.is_none() || !named {
            return Ok(());
        }
        let mut inside = Place { secrets: true, ..place.clone() };
        let input = inside.input.clone().unwrap_or_default();
        self.authorize(auth, &input, &mut inside)?;
        place.authorization = inside.authorization;
        Ok(())
    }

    /// The `Authorization` header's value; `$authorization` is known from here on.
    pub(super) fn authorize(
        &mut self,
        auth: Option<&Auth>,
        input: &Data,
        place: &mut Place,
    ) -> Result<Or<Option<String>>, Trouble> {
        let Some(auth) = auth else { return Ok(Or::Have(None)) };
        let value = match auth {
            Auth::Basic { username, password } => {
                let username = self.render_text(username, input, place)?;
                http::basic(&username, &self.render_text(password, input, place)?)
            }
            Auth::Bearer { token } => {
                format!("Bearer {}", self.render_text(token, input, place)?)
            }
            Auth::BasicSecret(name) => {
                let secret = self.secret(name)?;
                let text = |key: &str| secret.get(key).and_then(Json::as_str);
                match (text("username"), text("password")) {
                    (Some(username), Some(password)) => http::basic(username, password),
                    _ => return Err(lacks(name, "username and password")),
                }
            }
            Auth::BearerSecret(name) => {
                let secret = self.secret(name)?;
                let token = secret.as_str().or_else(|| secret.get("token").and_then(Json::as_str));
                let Some(token) = token else { return Err(lacks(name, "token")) };
                format!("Bearer {token}")
            }
            Auth::OAuth2(oauth2) => {
                let secret = match &oauth2.client_secret {
                    Some(secret) => Some(self.render_text(secret, input, place)?),
                    None => None,
                };
                let assertion = match &oauth2.assertion {
                    Some(assertion) => Some(self.render_text(assertion, input, place)?),
                    None => None,
                };
                let grant = match &oauth2.grant {
                    Grant::ClientCredentials => Vec::new(),
                    Grant::Password { username, password } => by_password(
                        self.render_text(username, input, place)?,
                        self.render_text(password, input, place)?,
                    ),
                    Grant::Exchange { subject, actor } => {
                        let actor = match actor {
                            Some(actor) => Some(self.other_token(actor, input, place)?),
                            None => None,
                        };
                        by_exchange(self.other_token(subject, input, place)?, actor)
                    }
                };
                let credentials = Credentials {
                    assertion,
                    grant,
                    discovers: oauth2.discovers,
                    authority: self.address(&oauth2.authority, input, place)?,
                    token_endpoint: oauth2.token_endpoint.clone(),
                    client_id: self.render_text(&oauth2.client_id, input, place)?,
                    client_secret: secret,
                    authentication: oauth2.authentication,
                    encoding: oauth2.encoding,
                    scopes: oauth2.scopes.clone(),
                    audiences: oauth2.audiences.clone(),
                    issuers: oauth2.issuers.clone(),
                };
                match self.token(credentials)? {
                    Or::Have(token) => format!("Bearer {token}"),
                    Or::Need(first) => return Ok(Or::Need(first)),
                }
            }
            Auth::OAuth2Secret { name, discovers } => {
                let secret = self.secret(name)?;
                let credentials = Credentials::from_secret(&secret).map_err(configuration)?;
                let credentials = Credentials { discovers: *discovers, ..credentials };
                match self.token(credentials)? {
                    Or::Have(token) => format!("Bearer {token}"),
                    Or::Need(first) => return Ok(Or::Need(first)),
                }
            }
        };
        let (scheme, parameter) = value.split_once(' ').unwrap_or((&value, ""));
        let described = serde_json::json!({"scheme": scheme, "parameter": parameter});
        place.authorization = Some(Data::from(described));
        Ok(Or::Have(Some(value)))
    }

    fn other_token(
        &mut self,
        other: &OtherToken,
        input: &Data,
        place: &Place,
    ) -> Result<(String, String), Trouble> {
        let token = self.render_text(&other.token, input, place)?;
        Ok((token, self.render_text(&other.kind, input, place)?))
    }

    fn token(&mut self, mut credentials: Credentials) -> Result<Or<Arc<str>>, Trouble> {
        if credentials.discovers {
            // an authority of OpenID Connect says itself where it gives tokens
            let url = credentials.configuration();
            let Some(configuration) = self.ctx.document(&url) else {
                let service = self.service_at(&url)?;
                let (method, redirect) = ("GET".into(), true);
                let parts = Parts { method, url, redirect, ..Parts::default() };
                let preparation = Box::new(Preparation::Document(http::request(parts, "")));
                return Ok(Or::Need(Prepared::Fetch { service, preparation }));
            };
            let endpoint = configuration.get("token_endpoint").and_then(Json::as_str);
            let missing = || format!("{url} names no token_endpoint");
            let endpoint = endpoint.ok_or_else(missing).map_err(self::configuration)?;
            endpoint.clone_into(&mut credentials.token_endpoint);
        }
        let key = credentials.key();
        if let Some(token) = self.ctx.token(&key) {
            return Ok(Or::Have(token));
        }
        let service = self.service_at(&credentials.url())?;
        let preparation = Preparation::Token {
            key,
            request: credentials.request(),
            issuers: credentials.issuers.clone(),
        };
        let preparation = Box::new(preparation);
        Ok(Or::Need(Prepared::Fetch { service, preparation }))
    }
}
