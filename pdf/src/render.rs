//! From a template and its data to the bytes of a PDF.

use serde_json::Value as Json;
use typst::diag::SourceDiagnostic;
use typst::{World, WorldExt};
use typst_layout::PagedDocument;
use typst_pdf::PdfOptions;

use crate::template::{Failure, Template};
use crate::world::Sealed;

/// Results of parts that later documents may share are forgotten after so many without use.
const KEPT: usize = 10;

/// Errors that are told.
const TOLD: usize = 5;

/// A document.
pub struct Rendered {
    pub bytes: Vec<u8>,
    pub pages: usize,
}

/// Renders a template with its data.
pub fn render(template: Template, data: &Json) -> Result<Rendered, Failure> {
    let world = Sealed::new(template, data);
    let document = typst::compile::<PagedDocument>(&world).output;
    let rendered = document.and_then(|document| {
        let bytes = typst_pdf::pdf(&document, &PdfOptions::default())?;
        Ok(Rendered { bytes, pages: document.pages().len() })
    });
    comemo::evict(KEPT);
    rendered.map_err(|errors| {
        let told = errors.iter().take(TOLD).map(|error| told(&world, error));
        Failure::for_good(told.collect::<Vec<_>>().join("; "))
    })
}

/// An error with its place: `main.typ:4: …`.
fn told(world: &Sealed, error: &SourceDiagnostic) -> String {
    let place = error.span.id().and_then(|id| {
        let source = world.source(id).ok()?;
        let line = source.lines().byte_to_line(world.range(error.span)?.start)? + 1;
        let path = id.vpath().get_without_slash().to_owned();
        Some(format!("{path}:{line}"))
    });
    let place = place.unwrap_or_else(|| "main.typ".to_owned());
    let hints: String = error.hints.iter().map(|hint| format!(" ({})", hint.v)).collect();
    format!("{place}: {}{hints}", error.message)
}
