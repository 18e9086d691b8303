//! Does the jobs of `run: shell`, `script` and `container`: commands that a definition names, which a worker
//! runs only where it was started to allow them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::child::{self, Files, How, about, run};
use super::group;
use super::job::{Job, Outcome, Stop, Why};
use super::said::Said;
use super::{Allowed, Settings};

/// Bytes of stderr that are part of what a process leaves; its log has more.
const STDERR_MAX: usize = 64 * 1024;

/// What runs containers, in the order in which it is looked for.
const ENGINES: [&str; 2] = ["podman", "docker"];

/// What a definition asks for, of all three kinds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    /// Of a shell or a container.
    command: Option<String>,
    /// Of a script.
    language: Option<String>,
    code: Option<String>,
    /// Of a container.
    image: Option<String>,
    name: Option<String>,
    #[serde(default)]
    ports: BTreeMap<String, Json>,
    #[serde(default)]
    volumes: BTreeMap<String, Json>,
    #[serde(default)]
    lifetime: Lifetime,
    pull_policy: Option<String>,
    /// Of each of them.
    #[serde(default)]
    arguments: Vec<Json>,
    #[serde(default)]
    environment: BTreeMap<String, Json>,
    #[serde(default)]
    stdin: Json,
}

/// What becomes of a container that has ended.
#[derive(Default, Deserialize)]
struct Lifetime {
    cleanup: Option<String>,
}

/// A program to run.
#[derive(Debug, PartialEq)]
struct Program {
    words: Vec<String>,
    /// What the process itself is given; a container's stand in its words.
    environment: Vec<(String, String)>,
}

/// Does such a job, unless it is told to stop.
pub async fn work(
    settings: &Settings,
    kind: Allowed,
    job: &Job,
    said: &Said,
    stop: Stop,
) -> Outcome {
    let files = match Files::new() {
        Ok(files) => files,
        Err(error) => return Outcome::failed(format!("no folder for its files: {error}"), true),
    };
    let asked: Asked = match serde_json::from_value(job.told["input"].clone()) {
        Ok(asked) => asked,
        Err(error) => return Outcome::failed(format!("what it asks for: {error}"), false),
    };
    let told = text(&asked.stdin).into_bytes();
    let program = match kind {
        Allowed::Shell => shell(&asked),
        Allowed::Script => script(&asked, files.folder()),
        Allowed::Container => match engine() {
            Some(engine) => container(&asked, engine, settings, files.folder()),
            None => return Outcome::failed("neither podman nor docker is here", true),
        },
        Allowed::Network => Err("the network is no queue".to_owned()),
    };
    let program = match program {
        Ok(program) => program,
        Err(detail) => return Outcome::failed(detail, false),
    };
    let mut command = group::command(settings, &program.words);
    command.envs(program.environment);
    about(&mut command, job).current_dir(files.folder());
    let ended = run(command, told, said, STDERR_MAX, stop).await;
    if kind == Allowed::Container {
        clean_up(&asked, files.folder()).await;
    }
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            return Outcome::failed(
                format!("`{}` cannot be started: {error}", program.words[0]),
                true,
            );
        }
    };
    // a command that was ended halfway may have done anything: that is not known, and never "not done"
    let status = match ended.how {
        How::Exited(status) => status,
        How::Stopped(Why::NotWanted) => return Outcome::Dropped,
        How::Stopped(Why::Timeout) => {
            let seconds = settings.timeout.as_secs();
            return Outcome::crashed(format!("it was ended after {seconds} s"));
        }
        How::Stopped(Why::Ending) => return Outcome::crashed("its worker has ended"),
        How::TooMuch => return Outcome::crashed(child::too_much()),
        How::Unknown => return Outcome::crashed("how it ended is not known"),
    };
    let Some(code) = status.code() else {
        return Outcome::crashed("it was killed by a signal");
    };
    let written = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome::done(json!({
        "code": code,
        "stdout": written(&ended.stdout),
        "stderr": written(&ended.stderr),
    }))
}

/// A value as a process gets it: text as it is, nothing for null, else JSON.
fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn environment(asked: &Asked) -> Vec<(String, String)> {
    let variables = asked.environment.iter();
    variables.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn shell(asked: &Asked) -> Result<Program, String> {
    let command = asked.command.clone().ok_or("a shell lacks its `command`")?;
    let mut words = vec!["/bin/sh".to_owned(), "-c".to_owned(), command, "sh".to_owned()];
    words.extend(asked.arguments.iter().map(text));
    Ok(Program { words, environment: environment(asked) })
}

fn script(asked: &Asked, files: &Path) -> Result<Program, String> {
    let code = asked.code.as_deref().ok_or("a script lacks its `code`")?;
    let (program, file) = match asked.language.as_deref() {
        Some("python" | "python3") => ("python3", "script.py"),
        Some("js" | "javascript") => ("node", "script.mjs"),
        other => return Err(format!("no script can be run in `{}`", other.unwrap_or_default())),
    };
    let path = files.join(file);
    std::fs::write(&path, code)
        .map_err(|error| format!("the script cannot be written: {error}"))?;
    let mut words = vec![program.to_owned(), path.to_string_lossy().into_owned()];
    words.extend(asked.arguments.iter().map(text));
    Ok(Program { words, environment: environment(asked) })
}

/// The first engine that PATH has.
fn engine() -> Option<&'static str> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    ENGINES.into_iter().find(|name| folders.iter().any(|folder| folder.join(name).is_file()))
}

fn container(
    asked: &Asked,
    engine: &str,
    settings: &Settings,
    files: &Path,
) -> Result<Program, String> {
    let image = asked.image.clone().ok_or("a container lacks its `image`")?;
    // what begins with a dash would be an option of the engine
    let option = [Some(&image), asked.name.as_ref()].into_iter().flatten();
    if let Some(name) = option.into_iter().find(|name| name.starts_with('-')) {
        return Err(format!("`{name}` is neither an image nor a name"));
    }
    let mut words: Vec<String> =
        [engine, "run", "--interactive", "--cidfile"].map(str::to_owned).into();
    words.push(files.join("container").to_string_lossy().into_owned());
    let has_network = settings.allow.contains(&Allowed::Network);
    if !has_network {
        if !asked.ports.is_empty() {
            return Err("a container has no ports where its worker allows no network".to_owned());
        }
        words.extend(["--network", "none"].map(str::to_owned));
    }
    let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    if let Some(bytes) = settings.memory {
        option("memory", bytes.to_string());
    }
    if let Some(name) = &asked.name {
        option("name", name.clone());
    }
    match asked.pull_policy.as_deref() {
        None | Some("ifNotPresent") => {}
        Some(policy @ ("always" | "never")) => option("pull", policy.to_owned()),
        Some(policy) => return Err(format!("`{policy}` is no pull policy")),
    }
    for (outer, inner) in &asked.ports {
        option("publish", format!("{outer}:{}", text(inner)));
    }
    for (outer, inner) in &asked.volumes {
        option("volume", format!("{outer}:{}", text(inner)));
    }
    for (name, value) in environment(asked) {
        option("env", format!("{name}={value}"));
    }
    match &asked.command {
        Some(command) => {
            option("entrypoint", "/bin/sh".to_owned());
            words.extend([image, "-c".to_owned(), command.clone(), "sh".to_owned()]);
        }
        None => words.push(image),
    }
    words.extend(asked.arguments.iter().map(text));
    Ok(Program { words, environment: Vec::new() })
}

/// Ends and removes a container, unless it is to be kept. Its engine's client may be gone while it runs.
async fn clean_up(asked: &Asked, files: &Path) {
    let Ok(id) = std::fs::read_to_string(files.join("container")) else { return };
    let Some(engine) = engine() else { return };
    let words: &[&str] = match asked.lifetime.cleanup.as_deref() {
        Some("never") => &["kill"],
        _ => &["rm", "--force"],
    };
    let mut command = tokio::process::Command::new(engine);
    let command = command.args(words).arg(id.trim());
    match command.output().await {
        Ok(_) => {}
        Err(error) => tracing::warn!(id = id.trim(), %error, "a container could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(allow: &[Allowed]) -> Settings {
        Settings {
            queues: vec!["container".to_owned()],
            concurrency: 1,
            name: "w".to_owned(),
            host: "h".to_owned(),
            lease: None,
            timeout: Duration::from_secs(1),
            memory: Some(1024),
            grace: Duration::from_secs(1),
            env: Vec::new(),
            health: None,
            looping: false,
            allow: allow.to_vec(),
            command: Vec::new(),
        }
    }

    fn words(asked: Json, allow: &[Allowed]) -> Result<String, String> {
        let asked: Asked = serde_json::from_value(asked).unwrap();
        let program = container(&asked, "podman", &settings(allow), Path::new("/tmp/x"))?;
        Ok(program.words.join(" "))
    }

    #[test]
    fn a_container_has_no_network_unless_its_worker_allows_it() {
        let asked = json!({"image": "alpine", "command": "echo $1", "arguments": ["a", 1],
            "environment": {"A": "b"}, "volumes": {"/data": "/d"}, "pullPolicy": "always"});
        assert_eq!(
            words(asked.clone(), &[Allowed::Container]).unwrap(),
            "podman run --interactive --cidfile /tmp/x/container --network none --memory 1024 --pull always \
             --volume /data:/d --env A=b --entrypoint /bin/sh alpine -c echo $1 sh a 1"
        );
        let open = words(asked, &[Allowed::Container, Allowed::Network]).unwrap();
        assert!(!open.contains("--network"), "{open}");
        let ports = json!({"image": "alpine", "ports": {"80": 8080}});
        assert!(words(ports.clone(), &[Allowed::Container]).unwrap_err().contains("no network"));
        assert!(words(ports, &[Allowed::Network]).unwrap().contains("--publish 80:8080"));
        let option = json!({"image": "--privileged"});
        assert!(words(option, &[Allowed::Container]).unwrap_err().contains("neither an image"));
    }
}
