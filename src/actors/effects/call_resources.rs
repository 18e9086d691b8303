//! What calls need beside their data: secrets, OpenAPI documents, tokens. Kept in memory only, and
//! bounded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

use crate::clock::Clock;
use crate::domain::time::Timestamp;

/// Documents kept at the most.
const DOCUMENTS: usize = 256;

/// Milliseconds after which a document is fetched again.
const DOCUMENT_LIFE: i64 = 10 * 60 * 1000;

/// Tokens kept at the most.
const TOKENS: usize = 1024;

/// Bytes of a secret's file.
const SECRET_MAX: u64 = 64 * 1024;

struct Kept<T> {
    value: T,
    until: Timestamp,
}

/// The resources.
pub struct CallResources {
    clock: Clock,
    /// The folder with one file for each secret.
    secrets: Option<PathBuf>,
    documents: Mutex<HashMap<String, Kept<Arc<Json>>>>,
    tokens: Mutex<HashMap<[u8; 16], Kept<Arc<str>>>>,
}

impl CallResources {
    /// A resources with the secrets of a folder.
    pub fn new(clock: Clock, secrets: Option<PathBuf>) -> Self {
        let (documents, tokens) = (Mutex::default(), Mutex::default());
        Self { clock, secrets, documents, tokens }
    }

    /// A secret, read anew each time, so that a changed file counts at once: a JSON object, or a
    /// text without its final newline.
    pub fn secret(&self, name: &str) -> Option<Arc<Json>> {
        secret(self.secrets.as_deref()?, name).map(Arc::new)
    }

    /// An OpenAPI document that was fetched.
    pub fn document(&self, url: &str) -> Option<Arc<Json>> {
        get(&self.documents, url, self.clock.now())
    }

    /// Keeps a document.
    pub fn keep_document(&self, url: &str, document: Json) {
        let until = self.clock.now().plus(DOCUMENT_LIFE);
        let kept = Kept { value: Arc::new(document), until };
        keep(&self.documents, url.to_owned(), kept, DOCUMENTS, self.clock.now());
    }

    /// A token that is still good.
    pub fn token(&self, key: &[u8; 16]) -> Option<Arc<str>> {
        get(&self.tokens, key, self.clock.now())
    }

    /// Keeps a token for so many milliseconds.
    pub fn keep_token(&self, key: [u8; 16], token: Arc<str>, life: i64) {
        let kept = Kept { value: token, until: self.clock.now().plus(life) };
        keep(&self.tokens, key, kept, TOKENS, self.clock.now());
    }

    /// A request was refused: the token that it went with is not good any more.
    pub fn forget_token_of(&self, authorization: &str) {
        let Some(token) = authorization.strip_prefix("Bearer ") else { return };
        lock(&self.tokens).retain(|_, kept| &*kept.value != token);
    }
}

/// Reads a secret from a folder.
pub fn secret(folder: &Path, name: &str) -> Option<Json> {
    let plain = !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !plain {
        return None;
    }
    let path = folder.join(name);
    if std::fs::metadata(&path).ok()?.len() > SECRET_MAX {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    match serde_json::from_str::<Json>(&text) {
        Ok(object @ Json::Object(_)) => Some(object),
        _ => Some(Json::from(text.strip_suffix('\n').unwrap_or(&text))),
    }
}

fn lock<K, T>(map: &Mutex<HashMap<K, T>>) -> MutexGuard<'_, HashMap<K, T>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get<K, Q, T>(map: &Mutex<HashMap<K, Kept<T>>>, key: &Q, now: Timestamp) -> Option<T>
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
    T: Clone,
{
    lock(map).get(key).filter(|kept| kept.until > now).map(|kept| kept.value.clone())
}

fn keep<K, T>(map: &Mutex<HashMap<K, Kept<T>>>, key: K, kept: Kept<T>, most: usize, now: Timestamp)
where
    K: std::hash::Hash + Eq,
{
    let mut map = lock(map);
    if map.len() >= most {
        map.retain(|_, kept| kept.until > now);
    }
    if map.len() >= most {
        map.clear();
    }
    map.insert(key, kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plain"), "s3cret\n").unwrap();
        std::fs::write(folder.path().join("object"), r#"{"username": "me"}"#).unwrap();
        std::fs::write(folder.path().join("number"), "42").unwrap();
        assert_eq!(secret(folder.path(), "plain"), Some(json!("s3cret")));
        assert_eq!(secret(folder.path(), "object"), Some(json!({"username": "me"})));
        assert_eq!(secret(folder.path(), "number"), Some(json!("42")));
        for name in ["", "other", "../plain", ".", "a/b"] {
            assert_eq!(secret(folder.path(), name), None, "{name}");
        }
    }

    #[test]
    fn what_is_old_is_not_there() {
        let clock = Clock::simulated(Timestamp(0));
        let resources = CallResources::new(clock.clone(), None);
        resources.keep_token([1; 16], "t".into(), 1000);
        resources.keep_document("http://x", json!({}));
        assert!(resources.token(&[1; 16]).is_some());
        clock.advance(1000);
        assert!(resources.token(&[1; 16]).is_none());
        assert!(resources.document("http://x").is_some());
        clock.advance(DOCUMENT_LIFE);
        assert!(resources.document("http://x").is_none());
    }

    #[test]
    fn there_is_a_bound() {
        let resources = CallResources::new(Clock::simulated(Timestamp(0)), None);
        for n in 0..3000u32 {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&n.to_be_bytes());
            resources.keep_token(key, "t".into(), 1000);
        }
        assert!(lock(&resources.tokens).len() <= TOKENS);
    }
}
