//! Authentication policies, inline or by name.

use super::value::scope;
use super::{At, Reader};
use crate::domain::workflow::model::{Auth, ClientAuthentication, OAuth2, Template, TokenEncoding};

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
            "oauth2" => {
                if let Some(name) = self.secret_name(&policy) {
                    return Some(Auth::OAuth2Secret(name));
                }
                self.oauth2(&policy).map(|oauth2| Auth::OAuth2(Box::new(oauth2)))
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
        if let Some(grant) = at.get("grant")
            && grant.as_text() != Some("client_credentials")
        {
            self.unsupported(&grant, "an OAuth2 grant other than client_credentials");
            return None;
        }
        let authority = self.required(at, "authority", "the address of the authority");
        let authority = authority.and_then(|a| self.uri(&a, scope::AUTHENTICATION));
        let client = self.required(at, "client", "id and secret")?;
        self.object(&client, &["id", "secret", "assertion", "authentication"]);
        let methods = [
            ("client_secret_post", Some(ClientAuthentication::Post)),
            ("client_secret_basic", Some(ClientAuthentication::Basic)),
            ("none", Some(ClientAuthentication::None)),
            ("client_secret_jwt", None),
            ("private_key_jwt", None),
        ];
        let method = client.get("authentication");
        let authentication = self.word(method.clone(), &methods, Some(ClientAuthentication::Post));
        if let (None, Some(method)) = (authentication, method) {
            self.unsupported(&method, "client authentication by JWT");
        }
        let encodings = [
            ("application/x-www-form-urlencoded", TokenEncoding::Form),
            ("application/json", TokenEncoding::Json),
        ];
        let request = at.get("request");
        let encoding = request.and_then(|r| r.get("encoding"));
        let encoding = self.word(encoding, &encodings, TokenEncoding::Form);
        let token = at.get("endpoints").and_then(|e| e.get("token"));
        let token = token.and_then(|t| self.text(&t, "a path").map(str::to_owned));
        let id = self.credential(&client, "id");
        let secret = client.get("secret").map(|s| self.template(&s, scope::AUTHENTICATION));
        Some(OAuth2 {
            authority: authority?,
            token_endpoint: token.unwrap_or_else(|| "/oauth2/token".to_owned()),
            client_id: id?,
            client_secret: secret,
            authentication: authentication?,
            encoding,
            scopes: self.texts(at.get("scopes")),
            audiences: self.texts(at.get("audiences")),
            issuers: self.texts(at.get("issuers")),
        })
    }

    fn texts(&mut self, at: Option<At<'a>>) -> Vec<String> {
        let items = at.iter().flat_map(At::items).collect::<Vec<_>>();
        items.iter().filter_map(|item| self.text(item, "a text").map(str::to_owned)).collect()
    }
}
