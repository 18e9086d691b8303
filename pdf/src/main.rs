//! Renders documents: a worker of the queue `pdf`, run by `caseworker worker --loop`. A line on stdin is a job, a
//! line on stdout its answer; the PDF is a file in `$CASEWORKER_OUT`.
//!
//! It reads the templates' folder and nothing else: no network, no clock, no fonts of the system, so that the
//! same template and data give the same bytes.

mod render;
mod template;
mod world;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use template::{Failure, Template};

/// A job, as far as it matters here.
#[derive(Deserialize)]
struct Job {
    id: String,
    template: Named,
    input: Input,
}

/// Which template, with which content.
#[derive(Deserialize)]
struct Named {
    name: String,
    hash: String,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    data: Json,
    name: String,
}

/// Bytes of a document's name without its ending.
const NAME_MAX: usize = 200;

/// Characters of what is said of a failure.
const DETAIL_MAX: usize = 2000;

fn main() -> ExitCode {
    end_with_parent();
    let mut args = std::env::args_os().skip(1);
    let (Some(templates), None) = (args.next(), args.next()) else {
        eprintln!("usage: caseworker-pdf TEMPLATES");
        return ExitCode::from(2);
    };
    let Some(out) = std::env::var_os("CASEWORKER_OUT") else {
        eprintln!("CASEWORKER_OUT names no folder: it is run by `caseworker worker --loop`");
        return ExitCode::from(2);
    };
    let (templates, out) = (PathBuf::from(templates), PathBuf::from(out));
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let answer = answer(&line, &templates, &out);
        let mut stdout = std::io::stdout().lock();
        if writeln!(stdout, "{answer}").and_then(|()| stdout.flush()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Whoever has started us may be killed in the middle of a document, which nobody wants then.
fn end_with_parent() {
    let parent = std::os::unix::process::parent_id();
    std::thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        std::process::exit(1);
    });
}

fn answer(line: &str, templates: &Path, out: &Path) -> Json {
    let job: Job = match serde_json::from_str(line) {
        Ok(job) => job,
        Err(error) => return failed(&json!(null), &Failure::for_good(error.to_string())),
    };
    match document(&job, templates, out) {
        Ok(output) => json!({"job": job.id, "output": output}),
        Err(failure) => failed(&json!(job.id), &failure),
    }
}

fn failed(job: &Json, failure: &Failure) -> Json {
    let detail: String = failure.detail.chars().take(DETAIL_MAX).collect();
    let error = json!({"title": "The document cannot be made", "detail": detail});
    json!({"job": job, "error": error, "retryable": failure.retryable})
}

fn document(job: &Job, templates: &Path, out: &Path) -> Result<Json, Failure> {
    let template = Template::read(&templates.join(&job.template.hash))
        .map_err(|failure| failure.of(&job.template.name))?;
    let rendered = render::render(template, &job.input.data)
        .map_err(|failure| failure.of(&job.template.name))?;
    let name = file_name(&job.input.name);
    std::fs::write(out.join(&name), &rendered.bytes)
        .map_err(|error| Failure::for_now(format!("{}: {error}", out.display())))?;
    Ok(json!({"name": name, "pages": rendered.pages}))
}

/// A name that any system takes, with its ending.
fn file_name(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    let mut name: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    while name.len() > NAME_MAX {
        name.pop();
    }
    let name = name.trim_start_matches('.').trim();
    let stem = name.strip_suffix(".pdf").unwrap_or(name);
    format!("{}.pdf", if stem.is_empty() { "document" } else { stem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates() -> (tempdir::Folder, String) {
        let folder = tempdir::Folder::new("templates");
        let one = folder.path().join("abc");
        std::fs::create_dir_all(&one).unwrap();
        let main = "#let data = json(\"/data.json\")\n#set document(title: data.title)\n= #data.title\nGröße: #data.size\n";
        std::fs::write(one.join("main.typ"), main).unwrap();
        (folder, "abc".to_owned())
    }

    fn job(hash: &str, data: &Json) -> String {
        let template = json!({"name": "letter", "hash": hash});
        json!({"id": "job_1", "template": template, "input": {"data": data, "name": "a/b"}})
            .to_string()
    }

    #[test]
    fn the_same_data_give_the_same_bytes() {
        let (folder, hash) = templates();
        let out = tempdir::Folder::new("out");
        let data = json!({"title": "Hello", "size": 3});
        let mut all = Vec::new();
        for _ in 0..2 {
            let said = answer(&job(&hash, &data), folder.path(), out.path());
            assert_eq!(said, json!({"job": "job_1", "output": {"name": "a_b.pdf", "pages": 1}}));
            all.push(std::fs::read(out.path().join("a_b.pdf")).unwrap());
        }
        assert!(all[0].starts_with(b"%PDF-"));
        assert_eq!(all[0], all[1]);
    }

    #[test]
    fn what_cannot_be_rendered_says_why_and_where() {
        let (folder, hash) = templates();
        let out = tempdir::Folder::new("out");
        let of = |line: &str| answer(line, folder.path(), out.path());
        let said = of(&job(&hash, &json!({"title": "Hello"})));
        assert_eq!(said["retryable"], false);
        let detail = said["error"]["detail"].as_str().unwrap();
        assert!(detail.contains("letter/main.typ:4") && detail.contains("size"), "{detail}");
        assert_eq!(of(&job("other", &json!({})))["retryable"], true);
        assert_eq!(of("nonsense")["retryable"], false);
    }

    #[test]
    fn a_template_reads_its_own_folder_alone() {
        let (folder, hash) = templates();
        let out = tempdir::Folder::new("out");
        for (text, why) in [
            ("#read(\"/../../etc/passwd\")", ""),
            ("#read(\"../other/main.typ\")", ""),
            ("#import \"@preview/cetz:0.3.0\"", "package"),
            ("#datetime.today()", "date"),
        ] {
            std::fs::write(folder.path().join(&hash).join("main.typ"), text).unwrap();
            let said = answer(&job(&hash, &json!({})), folder.path(), out.path());
            let detail = said["error"]["detail"].as_str().unwrap_or_default();
            assert!(!detail.is_empty() && detail.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn names_are_safe_everywhere() {
        assert_eq!(file_name("../../etc/passwd"), "_.._etc_passwd.pdf");
        assert_eq!(file_name("Rechnung 7.pdf"), "Rechnung 7.pdf");
        assert_eq!(file_name(""), "document.pdf");
        assert!(file_name(&"漢".repeat(100)).len() < 210);
    }

    /// A folder that goes with its test.
    mod tempdir {
        use std::path::{Path, PathBuf};
        use std::sync::atomic::{AtomicU32, Ordering};

        pub struct Folder(PathBuf);

        impl Folder {
            pub fn new(name: &str) -> Self {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let name = format!("caseworker-pdf-{}-{number}-{name}", std::process::id());
                let folder = std::env::temp_dir().join(name);
                std::fs::create_dir_all(&folder).unwrap();
                Self(folder)
            }

            pub fn path(&self) -> &Path {
                &self.0
            }
        }

        impl Drop for Folder {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }
}
