//! Templates of documents: those that are built in, and those of a folder in their place. Each is laid down in a
//! folder named by its content, where whoever renders finds it, also one that was leased before a change.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::domain::ids::{Bits, TemplateHash};

/// Bytes of a template's files, all together.
const BYTES_MAX: usize = 16 << 20;

/// The file that a template begins with.
const MAIN: &str = "main.typ";

/// A template that is built in: a file is its path and its bytes.
struct BuiltIn {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

const BUILT_IN: [BuiltIn; 1] = [BuiltIn {
    name: "invoice",
    files: &[(MAIN, include_bytes!("../../config/templates/invoice/main.typ"))],
}];

/// The templates by name.
#[derive(Clone, Default, Debug)]
pub struct Templates(Arc<BTreeMap<String, TemplateHash>>);

/// Files by their paths in the template's folder.
type Files = BTreeMap<String, Vec<u8>>;

impl Templates {
    /// The templates, laid down in a folder. `own`: a folder with a folder for each of the user's.
    ///
    /// # Errors
    /// What is wrong with one of them, or why they cannot be laid down.
    pub fn open(own: Option<&Path>, into: &Path) -> Result<Self, String> {
        let built_in = BUILT_IN.iter().map(|BuiltIn { name, files }| {
            let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()));
            ((*name).to_owned(), files.collect::<Files>())
        });
        let mut all: BTreeMap<String, Files> = built_in.collect();
        if let Some(own) = own {
            let wrong = |error: io::Error| format!("{}: {error}", own.display());
            for entry in std::fs::read_dir(own).map_err(wrong)? {
                let folder = entry.map_err(wrong)?.path();
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !folder.is_dir() || name.starts_with('.') {
                    continue;
                }
                let of_one = |error: io::Error| format!("{}: {error}", folder.display());
                let mut files = Files::new();
                read(&folder, "", &mut files, &mut 0).map_err(of_one)?;
                if !files.contains_key(MAIN) {
                    return Err(format!("{}: a template begins with {MAIN}", folder.display()));
                }
                all.insert(name, files);
            }
        }
        let mut hashes = BTreeMap::new();
        for (name, files) in all {
            let hash = hash_of(&files);
            let laid = lay_down(into, hash, &files);
            laid.map_err(|error| format!("{}: {error}", into.display()))?;
            hashes.insert(name, hash);
        }
        Ok(Self(Arc::new(hashes)))
    }

    /// The content of a template; none: there is none of this name.
    pub fn content(&self, name: &str) -> Option<TemplateHash> {
        self.0.get(name).copied()
    }
}

fn hash_of(files: &Files) -> TemplateHash {
    let parts: Vec<&[u8]> =
        files.iter().flat_map(|(path, bytes)| [path.as_bytes(), bytes]).collect();
    TemplateHash(Bits::derived(&parts))
}

fn read(folder: &Path, path: &str, files: &mut Files, bytes: &mut usize) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        // a folder may be a link, as a mounted configuration is
        if entry.path().is_dir() {
            read(&entry.path(), &path, files, bytes)?;
            continue;
        }
        let content = std::fs::read(entry.path())?;
        *bytes += content.len();
        if *bytes > BYTES_MAX {
            let detail = format!("it is larger than {} MiB", BYTES_MAX >> 20);
            return Err(io::Error::other(detail));
        }
        files.insert(path, content);
    }
    Ok(())
}

/// Lays a template down under its content's name, whole or not at all. One that is there is believed when it
/// holds what it should.
fn lay_down(into: &Path, hash: TemplateHash, files: &Files) -> io::Result<()> {
    let folder = into.join(hash.to_string());
    if folder.is_dir() {
        let mut known = Files::new();
        if read(&folder, "", &mut known, &mut 0).is_ok() && known == *files {
            return Ok(());
        }
        std::fs::remove_dir_all(&folder)?;
    }
    let new = into.join("new");
    if new.exists() {
        std::fs::remove_dir_all(&new)?;
    }
    std::fs::create_dir_all(&new)?;
    for (path, bytes) in files {
        let path = new.join(path);
        let parent = path.parent().unwrap_or(&new);
        std::fs::create_dir_all(parent)?;
        let mut file = File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        File::open(parent)?.sync_all()?;
    }
    std::fs::rename(new, folder)?;
    File::open(into)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_ones_own_takes_the_place_of_what_is_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let (own, into) = (folder.path().join("own"), folder.path().join("into"));
        let built_in = Templates::open(None, &into).unwrap();
        let known = built_in.content("invoice").unwrap();
        std::fs::create_dir_all(own.join("invoice/fonts")).unwrap();
        assert!(Templates::open(Some(&own), &into).unwrap_err().contains("main.typ"));
        std::fs::write(own.join("invoice/main.typ"), "= Ours").unwrap();
        std::fs::write(own.join("invoice/fonts/a.txt"), "a").unwrap();
        let ours = Templates::open(Some(&own), &into).unwrap().content("invoice").unwrap();
        assert_ne!(ours, known);
        assert!(into.join(known.to_string()).join("main.typ").exists(), "it may be leased still");
        let file = into.join(ours.to_string()).join("fonts/a.txt");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "a");
        assert!(built_in.content("nothing").is_none());
        // what a power cut has left empty is laid down again
        let main = into.join(known.to_string()).join("main.typ");
        std::fs::write(&main, "").unwrap();
        Templates::open(None, &into).unwrap();
        assert!(std::fs::metadata(main).unwrap().len() > 0);
    }
}
