//! OAuth2 and OpenID Connect: the token request, and the token in its answer.

use std::sync::Arc;

use serde_json::Value as Json;

use super::http::basic;
use crate::domain::case::effect::{HttpBody, HttpRequest};
use crate::domain::data::Data;
use crate::domain::workflow::model::{ClientAuthentication, OutputFormat, TokenEncoding};

/// Seconds before its end at which a token counts as over, so that it does not end on its way.
const MARGIN: i64 = 5;

/// Seconds that a token is used for when the authority does not say.
const DEFAULT_LIFE: i64 = 60;

/// What a token is given for, where nothing else is said.
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// The grant that gives a token for another.
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

const BY_JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Everything that a token depends on, all expressions evaluated.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    pub authority: String,
    pub token_endpoint: String,
    pub client_id: String,
    pub client_secret: Option<String>,
    /// The client's credentials as a signed JWT.
    pub assertion: Option<String>,
    /// What the token is given for: the fields of the request that say so; none: the client's own credentials.
    pub grant: Vec<(String, String)>,
    /// The authority itself says where its token endpoint is.
    pub discovers: bool,
    pub authentication: ClientAuthentication,
    pub encoding: TokenEncoding,
    pub scopes: Vec<String>,
    pub audiences: Vec<String>,
    /// Who may have issued the token; none: anybody.
    pub issuers: Vec<String>,
}

impl Credentials {
    /// Reads credentials out of a secret that holds them in the DSL's own shape.
    ///
    /// # Errors
    /// What the secret lacks.
    pub fn from_secret(secret: &Json) -> Result<Self, String> {
        let text =
            |pointer: &str| secret.pointer(pointer).and_then(Json::as_str).map(str::to_owned);
        let needed = |pointer: &str| text(pointer).ok_or(format!("the secret lacks `{pointer}`"));
        let texts = |pointer: &str| match secret.pointer(pointer) {
            Some(Json::Array(items)) => {
                items.iter().filter_map(Json::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let authentication = match text("/client/authentication").as_deref() {
            None | Some("client_secret_post") => ClientAuthentication::Post,
            Some("client_secret_basic") => ClientAuthentication::Basic,
            Some("client_secret_jwt" | "private_key_jwt") => ClientAuthentication::Assertion,
            Some("none") => ClientAuthentication::None,
            Some(_) => return Err("the secret's client authentication is not supported".into()),
        };
        let grant = match text("/grant").as_deref() {
            None | Some(CLIENT_CREDENTIALS) => Vec::new(),
            Some("password") => by_password(needed("/username")?, needed("/password")?),
            Some(EXCHANGE) => {
                let other = |of: &str| -> Result<(String, String), String> {
                    Ok((needed(&format!("/{of}/token"))?, needed(&format!("/{of}/type"))?))
                };
                let actor = secret.get("actor").map(|_| other("actor")).transpose()?;
                by_exchange(other("subject")?, actor)
            }
            Some(_) => return Err("the secret's grant is not supported".into()),
        };
        let encoding = match text("/request/encoding").as_deref() {
            Some("application/json") => TokenEncoding::Json,
            _ => TokenEncoding::Form,
        };
        Ok(Self {
            authority: needed("/authority")?,
            token_endpoint: text("/endpoints/token").unwrap_or_else(|| "/oauth2/token".into()),
            client_id: needed("/client/id")?,
            client_secret: text("/client/secret"),
            assertion: text("/client/assertion"),
            grant,
            discovers: false,
            authentication,
            encoding,
            scopes: texts("/scopes"),
            audiences: texts("/audiences"),
            issuers: texts("/issuers"),
        })
    }

    /// Tells apart tokens for different clients, authorities, scopes and audiences.
    pub fn key(&self) -> [u8; 16] {
        let mut parts = vec![
            self.authority.as_str(),
            &self.token_endpoint,
            &self.client_id,
            self.client_secret.as_deref().unwrap_or_default(),
            self.assertion.as_deref().unwrap_or_default(),
        ];
        parts.extend(self.grant.iter().flat_map(|(name, value)| [name.as_str(), value]));
        parts.push("|");
        parts.extend(self.scopes.iter().map(String::as_str));
        parts.push("|");
        parts.extend(self.audiences.iter().map(String::as_str));
        parts.push("|");
        parts.extend(self.issuers.iter().map(String::as_str));
        let parts: Vec<&[u8]> = parts.iter().map(|p| p.as_bytes()).collect();
        crate::domain::ids::Bits::derived(&parts).0
    }

    /// Where an authority of OpenID Connect says what it has.
    pub fn configuration(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.authority.trim_end_matches('/'))
    }

    /// The address of the token endpoint.
    pub fn url(&self) -> String {
        if self.token_endpoint.contains("://") {
            return self.token_endpoint.clone();
        }
        let base = self.authority.trim_end_matches('/');
        format!("{base}/{}", self.token_endpoint.trim_start_matches('/'))
    }

    /// The request that asks for a token.
    pub fn request(&self) -> HttpRequest {
        let mut fields = match self.grant.is_empty() {
            true => vec![("grant_type".to_owned(), CLIENT_CREDENTIALS.to_owned())],
            false => self.grant.clone(),
        };
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        match (self.authentication, &self.client_secret) {
            (ClientAuthentication::Basic, secret) => {
                let secret = secret.as_deref().unwrap_or_default();
                headers.push(("authorization".to_owned(), basic(&self.client_id, secret)));
            }
            (ClientAuthentication::Post, Some(secret)) => {
                fields.push(("client_id".to_owned(), self.client_id.clone()));
                fields.push(("client_secret".to_owned(), secret.clone()));
            }
            (ClientAuthentication::Assertion, _) => {
                fields.push(("client_id".to_owned(), self.client_id.clone()));
                fields.push(("client_assertion_type".to_owned(), BY_JWT.to_owned()));
                let assertion = self.assertion.clone().unwrap_or_default();
                fields.push(("client_assertion".to_owned(), assertion));
            }
            (ClientAuthentication::None, _) if self.client_id.is_empty() => {}
            (ClientAuthentication::Post | ClientAuthentication::None, _) => {
                fields.push(("client_id".to_owned(), self.client_id.clone()));
            }
        }
        if !self.scopes.is_empty() {
            fields.push(("scope".to_owned(), self.scopes.join(" ")));
        }
        if !self.audiences.is_empty() {
            fields.push(("audience".to_owned(), self.audiences.join(" ")));
        }
        let body = match self.encoding {
            TokenEncoding::Form => {
                let kind = "application/x-www-form-urlencoded".to_owned();
                headers.push(("content-type".to_owned(), kind));
                HttpBody::Form(fields)
            }
            TokenEncoding::Json => {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
                let map = fields.into_iter().map(|(k, v)| (k, Json::from(v))).collect();
                HttpBody::Json(Data::from(Json::Object(map)))
            }
        };
        HttpRequest {
            method: "POST".into(),
            url: self.url(),
            headers,
            body: Some(body),
            follow_redirects: false,
            output: OutputFormat::Content,
            shown: Json::Null,
        }
    }
}

/// A token for a person's name and password.
pub fn by_password(username: String, password: String) -> Vec<(String, String)> {
    let field = |name: &str, value: String| (name.to_owned(), value);
    vec![
        field("grant_type", "password".to_owned()),
        field("username", username),
        field("password", password),
    ]
}

/// A token for another: each with its type, of whoever it is asked for and perhaps of whoever asks.
pub fn by_exchange(
    subject: (String, String),
    actor: Option<(String, String)>,
) -> Vec<(String, String)> {
    let mut fields = vec![("grant_type".to_owned(), EXCHANGE.to_owned())];
    for (of, (token, kind)) in [("subject", Some(subject)), ("actor", actor)]
        .into_iter()
        .filter_map(|(of, token)| Some((of, token?)))
    {
        fields.push((format!("{of}_token"), token));
        fields.push((format!("{of}_token_type"), kind));
    }
    fields
}

/// Seconds that a token is kept at the most.
const LIFE_MAX: i64 = 7 * 24 * 60 * 60;

/// A token and how long it is good for, in milliseconds.
///
/// # Errors
/// When the answer holds none, or one of an issuer that is not among these (none: all are).
pub fn token_in(answer: &Json, issuers: &[String]) -> Result<(Arc<str>, i64), String> {
    let token = answer.get("access_token").and_then(Json::as_str);
    let token = token.ok_or("the authority's answer holds no access_token")?;
    if !issuers.is_empty() {
        let issuer = issuer_of(token).or_else(|| answer.get("iss")?.as_str().map(str::to_owned));
        let issuer =
            issuer.ok_or("the token does not say who issued it, but `issuers` are named")?;
        if !issuers.contains(&issuer) {
            return Err(format!("the token's issuer `{issuer}` is not among the `issuers`"));
        }
    }
    let life = answer.get("expires_in").and_then(Json::as_i64).unwrap_or(DEFAULT_LIFE);
    // the longest life is as good as any that is longer
    Ok((token.into(), life.saturating_sub(MARGIN).clamp(1, LIFE_MAX) * 1000))
}

/// The `iss` claim of a JWT. Its signature is the business of whom the token is shown to.
fn issuer_of(token: &str) -> Option<String> {
    use base64::Engine as _;
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Json = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("iss")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn credentials() -> Credentials {
        Credentials {
            authority: "http://idp/realm/".into(),
            token_endpoint: "/oauth2/token".into(),
            client_id: "me".into(),
            client_secret: Some("s".into()),
            scopes: vec!["a".into(), "b".into()],
            ..Credentials::default()
        }
    }

    #[test]
    fn asks_at_the_token_endpoint() {
        let request = credentials().request();
        assert_eq!(request.url, "http://idp/realm/oauth2/token");
        let Some(HttpBody::Form(fields)) = request.body else { panic!() };
        assert!(fields.contains(&("scope".into(), "a b".into())));
        assert!(fields.contains(&("client_secret".into(), "s".into())));
    }

    #[test]
    fn basic_authentication_keeps_the_secret_out_of_the_body() {
        let request =
            Credentials { authentication: ClientAuthentication::Basic, ..credentials() }.request();
        let Some(HttpBody::Form(fields)) = request.body else { panic!() };
        assert_eq!(fields.len(), 2);
        assert!(request.headers.iter().any(|(n, v)| n == "authorization" && v == "Basic bWU6cw=="));
    }

    #[test]
    fn a_token_is_asked_for_with_a_password_another_token_or_an_assertion() {
        let fields = |credentials: Credentials| {
            let Some(HttpBody::Form(fields)) = credentials.request().body else { panic!() };
            fields
        };
        let has = |fields: &[(String, String)], name: &str, value: &str| {
            fields.iter().any(|(known, said)| known == name && said == value)
        };
        let grant = by_password("ada".into(), "pw".into());
        let asked = fields(Credentials { grant, ..credentials() });
        assert!(has(&asked, "grant_type", "password") && has(&asked, "username", "ada"));
        let grant = by_exchange(("t1".into(), "jwt".into()), Some(("t2".into(), "jwt".into())));
        let asked = fields(Credentials { grant: grant.clone(), ..credentials() });
        assert!(has(&asked, "grant_type", EXCHANGE) && has(&asked, "actor_token", "t2"));
        assert_ne!(Credentials { grant, ..credentials() }.key(), credentials().key());
        let (authentication, assertion) = (ClientAuthentication::Assertion, Some("e30".into()));
        let asked = fields(Credentials { authentication, assertion, ..credentials() });
        assert!(has(&asked, "client_assertion", "e30") && !has(&asked, "client_secret", "s"));
    }

    #[test]
    fn secrets_hold_the_same_shape() {
        let secret = json!({"authority": "http://idp", "client": {"id": "me", "secret": "s"}});
        let credentials = Credentials::from_secret(&secret).unwrap();
        assert_eq!(credentials.url(), "http://idp/oauth2/token");
        assert!(Credentials::from_secret(&json!("x")).is_err());
    }

    #[test]
    fn tokens_differ_by_what_they_are_for() {
        let other = Credentials { scopes: vec!["a".into()], ..credentials() };
        assert_ne!(credentials().key(), other.key());
    }

    #[test]
    fn reads_the_answer() {
        let (token, life) = token_in(&json!({"access_token": "t", "expires_in": 65}), &[]).unwrap();
        assert_eq!((&*token, life), ("t", 60_000));
        assert!(token_in(&json!({}), &[]).is_err());
        // {"iss":"https://idp"}
        let signed = json!({"access_token": "e30.eyJpc3MiOiJodHRwczovL2lkcCJ9.x"});
        assert!(token_in(&signed, &["https://idp".to_owned()]).is_ok());
        for answer in [&signed, &json!({"access_token": "opaque"})] {
            assert!(token_in(answer, &["https://other".to_owned()]).is_err());
        }
    }
}
