//! A template: the files of one folder, `main.typ` first of all.

use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of a template's files, all together.
const BYTES_MAX: u64 = 16 << 20;

/// Why a document cannot be made.
#[derive(Debug)]
pub struct Failure {
    pub detail: String,
    /// It may go well another time.
    pub retryable: bool,
}

impl Failure {
    /// It is of no use to try again.
    pub fn for_good(detail: String) -> Self {
        Self { detail, retryable: false }
    }

    /// It may go well another time.
    pub fn for_now(detail: String) -> Self {
        Self { detail, retryable: true }
    }

    /// The same, with the template's name before it.
    pub fn of(self, template: &str) -> Self {
        Self { detail: format!("{template}/{}", self.detail), ..self }
    }
}

/// A template's files by their paths in it, such as `/main.typ`.
#[derive(Debug)]
pub struct Template {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Template {
    /// Reads a template's folder and those in it.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let mut template = Self { files: BTreeMap::new() };
        let mut bytes = 0;
        template.read_into(folder, "", &mut bytes).map_err(|error| {
            // another version of the server may not have put it there yet
            Failure::for_now(format!(": {}: {error}", folder.display()))
        })?;
        Ok(template)
    }

    fn read_into(&mut self, folder: &Path, path: &str, bytes: &mut u64) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.read_into(&entry.path(), &path, bytes)?;
                continue;
            }
            *bytes += entry.metadata()?.len();
            if *bytes > BYTES_MAX {
                return Err(std::io::Error::other("the template is too large"));
            }
            self.files.insert(path, std::fs::read(entry.path())?);
        }
        Ok(())
    }
}
