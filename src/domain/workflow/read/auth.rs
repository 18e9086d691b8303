//! Authentication policies, inline or by name.

use super::value::scope;
use super::{At, Reader};
use crate::domain::call::oauth2::EXCHANGE;
use crate::domain::workflow::model::{
    Auth, ClientAuthentication, Grant, OAuth2, OtherToken, Template, TokenEncoding,
};

impl<'a> Reader<'a> {
    /// A policy, or `use: name` of one in `use.authentications`.
    pub(super) fn referenceable_auth(&mut self, at: &At<'a>) -> Option<Auth> {
        if let Some(name) = at.get("use") {
            self.object(at, &["use"]);
            let text = self.text(&name, "the name of a policy")?;
            let policy = self.part(&name, "authentications", text)?;
            return self.auth(&policy);
        }
        self.auth(at)
    }

    pub(super) fn auth(&mut self, at: &At<'a>) -> Option<Auth> {
        const KNOWN: [&str; 6] = ["basic", "bearer", "digest", "oauth2", "oidc", "certificate"];
        if !self.object(at, &KNOWN) {
            return None;
        }
        let present: Vec<&str> =
            KNOWN.iter().copied().filter(|kind| at.get(kind).is_some()).collect();
        let &[kind] = &present[..] else {
            self.fault(at, "an authentication is of one kind", super::list_of(&KNOWN));
            return None;
        };
        let policy = at.get(kind)?;
        match kind {
            "basic" => {
                if let Some(name) = self.secret_name(&policy) {
                    return Some(Auth::BasicSecret(name));
                }
                self.object(&policy, &["username", "password", "use"]);
                let username = self.credential(&policy, "username");
                let password = self.credential(&policy, "password");
                Some(Auth::Basic { username: username?, password: password? })
            }
            "bearer" => {
                if let Some(name) = self.secret_name(&policy) {
                    return Some(Auth::BearerSecret(name));
                }
                self.object(&policy, &["token", "use"]);
                self.credential(&policy, "token").map(|token| Auth::Bearer { token })
            }
            "oauth2" | "oidc" => {
                let discovers = kind == "oidc";
                if let Some(name) = self.secret_name(&policy) {
                    return Some(Auth::OAuth2Secret { name, discovers });
                }
                let oauth2 = self.oauth2(&policy)?;
                Some(Auth::OAuth2(Box::new(OAuth2 { discovers, ..oauth2 })))
            }
            other => {
                self.unsupported(&policy, &format!("the authentication `{other}`"));
                None
            }
        }
    }

    /// `use: name` inside of a policy: its properties come from a secret.
    fn secret_name(&mut self, at: &At<'a>) -> Option<std::sync::Arc<str>> {
        let name = at.get("use")?;
        let text = self.text(&name, "the name of a secret")?;
        let known = self.reusable.as_ref().and_then(|r| r.get("secrets"));
        let listed = known.iter().flat_map(At::items).any(|item| item.as_text() == Some(text));
        if !listed {
            let detail = format!("`{text}` is not listed in `use.secrets`");
            self.fault(&name, detail, "list every secret that the workflow may use");
        }
        Some(text.into())
    }

    fn credential(&mut self, at: &At<'a>, key: &str) -> Option<Template> {
        let value = self.required(at, key, "a text or an expression in ${ }")?;
        self.text(&value, "a text or an expression in ${ }")?;
        Some(self.template(&value, scope::AUTHENTICATION))
    }

    fn oauth2(&mut self, at: &At<'a>) -> Option<OAuth2> {
        const KNOWN: [&str; 12] = [
            "authority",
            "endpoints",
            "grant",
            "client",
            "request",
            "issuers",
            "scopes",
            "audiences",
            "username",
            "password",
            "subject",
            "actor",
        ];
        if !self.object(at, &KNOWN) {
            return None;
        }
        let grant = self.grant(at)?;
        let authority = self.required(at, "authority", "the address of the authority");
        let authority = authority.and_then(|a| self.uri(&a, scope::AUTHENTICATION));
        // whoever shows a name and a password may need no client
        let client = match (&grant, at.get("client")) {
            (Grant::Password { .. }, None) => None,
            _ => Some(self.required(at, "client", "id and secret")?),
        };
        if let Some(client) = &client {
            self.object(client, &["id", "secret", "assertion", "authentication"]);
        }
        let methods = [
            ("client_secret_post", Some(ClientAuthentication::Post)),
            ("client_secret_basic", Some(ClientAuthentication::Basic)),
            ("none", Some(ClientAuthentication::None)),
            ("client_secret_jwt", Some(ClientAuthentication::Assertion)),
            ("private_key_jwt", Some(ClientAuthentication::Assertion)),
        ];
        let of_client = |key: &str| client.as_ref().and_then(|client| client.get(key));
        let method = of_client("authentication");
        let authentication = self.word(method, &methods, Some(ClientAuthentication::Post));
        let authentication = match &client {
            Some(_) => authentication,
            None => Some(ClientAuthentication::None),
        };
        if authentication == Some(ClientAuthentication::Assertion)
            && let Some(client) = &client
        {
            self.required(client, "assertion", "the signed JWT, such as one of a secret");
        }
        let assertion = of_client("assertion").map(|a| self.template(&a, scope::AUTHENTICATION));
        let encodings = [
            ("application/x-www-form-urlencoded", TokenEncoding::Form),
            ("application/json", TokenEncoding::Json),
        ];
        let request = at.get("request");
        let encoding = request.and_then(|r| r.get("encoding"));
        let encoding = self.word(encoding, &encodings, TokenEncoding::Form);
        let token = at.get("endpoints").and_then(|e| e.get("token"));
        let token = token.and_then(|t| self.text(&t, "a path").map(str::to_owned));
        let secret = of_client("secret").map(|s| self.template(&s, scope::AUTHENTICATION));
        let id = match &client {
            Some(client) => self.credential(client, "id")?,
            None => Template::Literal(std::sync::Arc::new("".into())),
        };
        Some(OAuth2 {
            authority: authority?,
            discovers: false,
            grant,
            assertion,
            token_endpoint: token.unwrap_or_else(|| "/oauth2/token".to_owned()),
            client_id: id,
            client_secret: secret,
            authentication: authentication?,
            encoding,
            scopes: self.texts(at.get("scopes")),
            audiences: self.texts(at.get("audiences")),
            issuers: self.texts(at.get("issuers")),
        })
    }

    /// What a token is given for.
    fn grant(&mut self, at: &At<'a>) -> Option<Grant> {
        let Some(said) = at.get("grant") else { return Some(Grant::ClientCredentials) };
        match self.text(&said, "client_credentials")? {
            "client_credentials" => Some(Grant::ClientCredentials),
            "password" => {
                let username = self.credential(at, "username");
                let password = self.credential(at, "password");
                Some(Grant::Password { username: username?, password: password? })
            }
            EXCHANGE => {
                let subject = self.required(at, "subject", "token and type")?;
                let subject = self.other_token(&subject);
                let actor = at.get("actor").map(|actor| self.other_token(&actor));
                let actor = match actor {
                    Some(actor) => Some(actor?),
                    None => None,
                };
                Some(Grant::Exchange { subject: subject?, actor })
            }
            other => {
                let detail = format!("nobody is there to be asked for the grant `{other}`");
                self.fault(&said, detail, "client_credentials, password or token-exchange");
                None
            }
        }
    }

    fn other_token(&mut self, at: &At<'a>) -> Option<OtherToken> {
        self.object(at, &["token", "type"]);
        let (token, kind) = (self.credential(at, "token"), self.credential(at, "type"));
        Some(OtherToken { token: token?, kind: kind? })
    }

    fn texts(&mut self, at: Option<At<'a>>) -> Vec<String> {
        let items = at.iter().flat_map(At::items).collect::<Vec<_>>();
        items.iter().filter_map(|item| self.text(item, "a text").map(str::to_owned)).collect()
    }
}
