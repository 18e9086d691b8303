//! Documents: stored before they are named, kept for as long as a case refers to them.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::handles::Handle;
use crate::domain::document::DocumentId;
pub use crate::store::documents::{DocumentError, Kept};

/// How long a document is kept that no case refers to.
const UNNAMED: Duration = Duration::from_secs(24 * 3600);

/// Why documents cannot be named.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NamingError {
    /// The one at this place of those that were named.
    #[error("there is no such document: it has to be stored before")]
    Missing(usize),
    #[error("{0}")]
    Unavailable(String),
}

impl Handle {
    /// Stores a document; answers once it is durable.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn put_document(
        &self,
        media_type: String,
        bytes: bytes::Bytes,
    ) -> Result<DocumentId, String> {
        if let Some(refusal) = self.context.intake.refusal() {
            return Err(refusal.to_owned());
        }
        let documents = self.context.documents.clone();
        let put = tokio::task::spawn_blocking(move || documents.put(&media_type, &bytes));
        put.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// A document; none: there is none.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read.
    pub async fn document(&self, id: DocumentId) -> Result<Option<(Kept, Vec<u8>)>, DocumentError> {
        self.context.read_document(id).await
    }

    /// What is known of a document.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read.
    pub async fn kept_document(&self, id: DocumentId) -> Result<Option<Kept>, DocumentError> {
        let documents = self.context.documents.clone();
        let read = tokio::task::spawn_blocking(move || documents.kept(id)).await;
        read.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }

    /// Documents are about to be named by a result: all of them are there, and stay.
    ///
    /// # Errors
    /// When one is not.
    pub async fn name_documents(&self, ids: Vec<DocumentId>) -> Result<(), NamingError> {
        let documents = self.context.documents.clone();
        let named = tokio::task::spawn_blocking(move || {
            for (place, id) in ids.into_iter().enumerate() {
                match documents.name(id) {
                    Ok(true) => {}
                    Ok(false) => return Err(NamingError::Missing(place)),
                    Err(error) => return Err(NamingError::Unavailable(error.to_string())),
                }
            }
            Ok(())
        });
        named.await.unwrap_or_else(|error| Err(NamingError::Unavailable(error.to_string())))
    }
}

impl Context {
    /// A document; none: there is none.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read.
    pub async fn read_document(
        &self,
        id: DocumentId,
    ) -> Result<Option<(Kept, Vec<u8>)>, DocumentError> {
        let documents = self.documents.clone();
        let read = tokio::task::spawn_blocking(move || documents.get(id)).await;
        read.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }

    /// Removes what nobody refers to. Nothing is concluded from views that are not complete.
    pub fn sweep_documents(self: &Arc<Self>) {
        let context = self.clone();
        self.runtime.spawn_blocking(move || {
            let all = match context.documents.all() {
                Ok(all) => all,
                Err(error) => {
                    tracing::warn!(%error, "documents that nobody refers to cannot be looked for");
                    return;
                }
            };
            let generation = context.views.generation();
            for id in all {
                let referred = context.views.cases_of_document(id, 1);
                let complete =
                    context.views.progress().is_none() && context.views.generation() == generation;
                if !complete {
                    return;
                }
                match referred.map(|cases| cases.is_empty()) {
                    Ok(false) => {}
                    Ok(true) => match context.documents.remove(id, UNNAMED) {
                        Ok(true) => tracing::info!(document = %id, "nobody refers to a document"),
                        Ok(false) => {}
                        Err(error) => {
                            tracing::warn!(document = %id, %error, "a document is not removed");
                        }
                    },
                    Err(_) => return,
                }
            }
        });
    }
}
