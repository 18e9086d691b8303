//! Documents, each a file named by the hash of its bytes. It is on the disk before anybody is told its name.
//!
//! ```text
//! documents/3k/doc_3k…   `caseworker document 1 application/pdf`, a line feed, then the bytes
//! documents/new/…        what is being written; gone at the next start
//! ```

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::document::{DocumentId, is_media_type};
use crate::domain::time::Timestamp;

/// What the first line of a file begins with.
const HEAD: &str = "caseworker document 1 ";

/// Bytes of the first line at the most.
const HEAD_MAX: u64 = 256;

/// Where files lie while they are written.
const NEW: &str = "new";

/// The documents. Cheap to clone.
#[derive(Clone)]
pub struct Documents(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    next: AtomicU64,
    /// Whoever removes one has this, and whoever names one that is there.
    naming: Mutex<()>,
}

/// What is known of a document without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub id: DocumentId,
    pub media_type: String,
    pub bytes: u64,
    /// When it was stored last.
    pub stored_at: Timestamp,
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Its bytes are not those that it was named by.
    #[error("the document {0} is damaged")]
    Damaged(DocumentId),
    #[error("the documents cannot be read: {0}")]
    Disk(#[from] io::Error),
}

impl Documents {
    /// The documents of a folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let new = folder.join(NEW);
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        fs::create_dir_all(&new)?;
        sync(folder)?;
        let (next, naming) = (AtomicU64::new(0), Mutex::default());
        Ok(Self(Arc::new(Inner { folder: folder.to_owned(), next, naming })))
    }

    /// Stores a document; answers once it is on the disk. The same bytes are the same document.
    ///
    /// # Errors
    /// When it is not there.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> io::Result<DocumentId> {
        if !is_media_type(media_type) {
            return Err(io::Error::other(format!("`{media_type}` is no media type")));
        }
        let id = DocumentId::of(bytes);
        // whoever was first has said what it is
        if matches!(self.get(id), Ok(Some(_))) && self.name(id)? {
            return Ok(id);
        }
        let path = self.path(id);
        let folder = path.parent().unwrap_or(&self.0.folder);
        fs::create_dir_all(folder)?;
        sync(&self.0.folder)?;
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let new = self.0.folder.join(NEW).join(format!("{number}"));
        let written = write_new(&new, media_type, bytes).and_then(|()| {
            let _naming = self.0.naming.lock().unwrap_or_else(PoisonError::into_inner);
            fs::rename(&new, &path)?;
            sync(folder)
        });
        if written.is_err() {
            // the disk may be full of just that
            let _ = fs::remove_file(&new);
        }
        written.map(|()| id)
    }

    /// Documents whose bytes are not those that they were named by.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn damaged(&self) -> io::Result<Vec<DocumentId>> {
        let mut damaged = self.all()?;
        damaged.retain(|id| matches!(self.get(*id), Err(DocumentError::Damaged(_))));
        Ok(damaged)
    }

    /// The documents of a folder that somebody else may have open, to be looked at.
    pub fn look_at(folder: &Path) -> Self {
        let (next, naming) = (AtomicU64::new(0), Mutex::default());
        Self(Arc::new(Inner { folder: folder.to_owned(), next, naming }))
    }

    /// A document's media type and bytes.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn get(&self, id: DocumentId) -> Result<Option<(Kept, Vec<u8>)>, DocumentError> {
        let Some((kept, mut rest)) = self.open_one(id)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(usize::try_from(kept.bytes).unwrap_or(0));
        rest.read_to_end(&mut bytes)?;
        match DocumentId::of(&bytes) == id {
            true => Ok(Some((kept, bytes))),
            false => Err(DocumentError::Damaged(id)),
        }
    }

    /// What is known of a document.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&self, id: DocumentId) -> Result<Option<Kept>, DocumentError> {
        Ok(self.open_one(id)?.map(|(kept, _)| kept))
    }

    fn open_one(&self, id: DocumentId) -> Result<Option<(Kept, impl Read)>, DocumentError> {
        let file = match File::open(self.path(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let about = file.metadata()?;
        let mut rest = BufReader::new(file);
        let mut head = Vec::new();
        (&mut rest).take(HEAD_MAX).read_until(b'\n', &mut head)?;
        let text = std::str::from_utf8(&head).ok().and_then(|head| head.strip_suffix('\n'));
        let media_type = text.and_then(|text| text.strip_prefix(HEAD));
        let media_type = media_type.filter(|text| is_media_type(text));
        let Some(media_type) = media_type else { return Err(DocumentError::Damaged(id)) };
        let kept = Kept {
            id,
            media_type: media_type.to_owned(),
            bytes: about.len().saturating_sub(head.len() as u64),
            stored_at: instant(about.modified()?),
        };
        Ok(Some((kept, rest)))
    }

    /// A document is about to be named: it stays for as long as one that was stored just now. False: it is
    /// not there.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn name(&self, id: DocumentId) -> io::Result<bool> {
        let _naming = self.0.naming.lock().unwrap_or_else(PoisonError::into_inner);
        match File::options().append(true).open(self.path(id)) {
            Ok(file) => {
                #[expect(clippy::disallowed_methods, reason = "the files' times are the disk's")]
                file.set_modified(SystemTime::now())?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a document unless it was stored or named in so long. False: it stays.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, id: DocumentId, unnamed_for: Duration) -> io::Result<bool> {
        let _naming = self.0.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(id);
        let age = fs::metadata(&path)?.modified()?.elapsed().unwrap_or_default();
        if age < unnamed_for {
            return Ok(false);
        }
        fs::remove_file(path)?;
        Ok(true)
    }

    /// All documents, in no order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> io::Result<Vec<DocumentId>> {
        let mut all = Vec::new();
        for folder in fs::read_dir(&self.0.folder)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() || folder.file_name() == NEW {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let name = file?.file_name();
                let id = name.to_str().and_then(|name| name.parse::<DocumentId>().ok());
                all.extend(id);
            }
        }
        Ok(all)
    }

    fn path(&self, id: DocumentId) -> PathBuf {
        let name = id.to_string();
        self.0.folder.join(&name[4..6]).join(name)
    }
}

fn write_new(path: &Path, media_type: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(format!("{HEAD}{media_type}\n").as_bytes())?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn instant(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What was renamed into a folder is there after a power cut.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_read_and_named_by_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::open(folder.path()).unwrap();
        let id = documents.put("application/pdf", b"%PDF").unwrap();
        assert_eq!(id, documents.put("application/pdf", b"%PDF").unwrap());
        let (kept, bytes) = documents.get(id).unwrap().unwrap();
        assert_eq!(
            (kept.media_type.as_str(), kept.bytes, &bytes[..]),
            ("application/pdf", 4, &b"%PDF"[..])
        );
        // whoever was first has said what it is
        assert_eq!(id, documents.put("text/html", b"%PDF").unwrap());
        assert_eq!(documents.kept(id).unwrap().unwrap().media_type, "application/pdf");
        assert_eq!(documents.all().unwrap(), [id]);
        assert!(documents.get(DocumentId::of(b"other")).unwrap().is_none());
        assert!(documents.put("text/html; charset=x", b"").is_err());
    }

    #[test]
    fn one_that_is_cut_short_or_changed_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::open(folder.path()).unwrap();
        let id = documents.put("text/plain", b"a long text").unwrap();
        let path = documents.path(id);
        for bytes in
            [&b"caseworker document 1 text/plain\na long"[..], b"", b"caseworker document 9"]
        {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(documents.get(id), Err(DocumentError::Damaged(_))));
        }
        assert_eq!(documents.damaged().unwrap(), [id]);
        // stored again it is whole
        documents.put("text/plain", b"a long text").unwrap();
        assert!(documents.get(id).unwrap().is_some());
    }

    #[test]
    fn what_was_named_lately_stays() {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::open(folder.path()).unwrap();
        let id = documents.put("text/plain", b"x").unwrap();
        let hour = Duration::from_secs(3600);
        assert!(!documents.remove(id, hour).unwrap());
        let file = File::options().append(true).open(documents.path(id)).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        assert!(documents.name(id).unwrap());
        assert!(!documents.remove(id, hour).unwrap());
        file.set_modified(UNIX_EPOCH).unwrap();
        assert!(documents.remove(id, hour).unwrap());
        assert!(!documents.name(id).unwrap());
    }
}
