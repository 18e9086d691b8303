//! The examples of the specification, where its repository lies beside this one: each registers, or
//! is refused because something is not supported yet, and for nothing else.

use std::path::Path;

use caseworker::actors::definitions::compile_apart;
use caseworker::domain::workflow::source::Format;

#[test]
fn every_example_registers_or_is_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/examples");
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    let mut registered = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        match compile_apart(&text, Format::Yaml, &|_| true, &|_| true).unwrap() {
            Ok(_) => registered += 1,
            Err(faults) => {
                let other: Vec<_> =
                    faults.iter().filter(|f| !f.detail.contains("not supported yet")).collect();
                assert!(other.is_empty(), "{}: {other:#?}", path.display());
            }
        }
    }
    assert!(registered >= 54, "{registered}");
}

#[test]
fn shipped_definitions_have_no_faults_and_no_warnings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/workflows");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let compiled = compile_apart(&text, Format::Yaml, &|_| true, &|_| true).unwrap().unwrap();
        assert!(compiled.warnings.is_empty(), "{}: {:#?}", path.display(), compiled.warnings);
    }
}
