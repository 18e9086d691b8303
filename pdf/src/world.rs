//! All that a template can see: its own files, the data, and the fonts that are built in.

use std::sync::LazyLock;

use typst::diag::{FileError, FileResult};
use typst::foundations::{Bytes, Datetime, Duration};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World};

use crate::template::Template;

/// Where the data lie.
const DATA: &str = "/data.json";

/// Where a template begins.
const MAIN: &str = "/main.typ";

/// The fonts, parsed once.
struct Fonts {
    book: LazyHash<FontBook>,
    fonts: Vec<Font>,
}

static FONTS: LazyLock<Fonts> = LazyLock::new(|| {
    let fonts: Vec<Font> =
        typst_assets::fonts().flat_map(|data| Font::iter(Bytes::new(data))).collect();
    Fonts { book: LazyHash::new(FontBook::from_fonts(&fonts)), fonts }
});

static LIBRARY: LazyLock<LazyHash<Library>> =
    LazyLock::new(|| LazyHash::new(<Library as LibraryExt>::default()));

/// A template and its data.
pub struct Sealed {
    template: Template,
    main: FileId,
}

impl Sealed {
    /// The world of one document.
    pub fn new(mut template: Template, data: &serde_json::Value) -> Self {
        template.files.insert(DATA.to_owned(), data.to_string().into_bytes());
        let path = VirtualPath::new(MAIN).expect("it is a path");
        let main = RootedPath::new(VirtualRoot::Project, path).intern();
        Self { template, main }
    }

    fn bytes(&self, id: FileId) -> FileResult<&[u8]> {
        let path = id.vpath().get_with_slash();
        if !matches!(id.root(), VirtualRoot::Project) {
            return Err(FileError::Other(Some("no package is fetched".into())));
        }
        let found = self.template.files.get(path);
        found.map(Vec::as_slice).ok_or_else(|| FileError::NotFound(path.into()))
    }
}

impl World for Sealed {
    fn library(&self) -> &LazyHash<Library> {
        &LIBRARY
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &FONTS.book
    }

    fn main(&self) -> FileId {
        self.main
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        let text = std::str::from_utf8(self.bytes(id)?).map_err(|_| FileError::InvalidUtf8)?;
        Ok(Source::new(id, text.to_owned()))
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        Ok(Bytes::new(self.bytes(id)?.to_vec()))
    }

    fn font(&self, index: usize) -> Option<Font> {
        FONTS.fonts.get(index).cloned()
    }

    /// There is no clock: dates are data.
    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}
