//! The configuration: what it is by default, and how what is wrong with it is said.

use super::services::Services;
use super::*;

fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    pairs.into_iter()
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/caseworker.toml");
    let shipped = Config::load(Some(&file), env(&[]), Flags::default()).unwrap();
    assert_eq!(shipped, Config::default());
}

#[test]
fn the_shipped_services_can_be_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/services.toml");
    let services = Services::load(Some(&file)).unwrap();
    let names: Vec<&str> = services.named.iter().map(|s| &*s.name).collect();
    for name in ["bobs-post", "crm", "verifier", "cards", "cloud", "mail"] {
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn queues_have_settings() {
    let config = |text: &str| Config::parse(text, "c.toml").map_err(|error| error.to_string());
    let text = "[queues.scoring]\nconcurrency = 4\nrate = \"10/s\"\nlease = \"30s\"\n";
    let queues = config(text).unwrap().queues.0;
    assert_eq!((queues["scoring"].concurrency, queues["scoring"].lease), (Some(4), 30_000));
    for (text, word) in [
        ("[queues.\"No Name\"]\n", "No Name"),
        ("[queues.a]\nconcurrency = 0\n", "concurrency"),
        ("[queues.a]\nlease = \"1s\"\n", "lease"),
        ("[queues.a]\nlength = 5\n", "length"),
    ] {
        let wrong = config(text).unwrap_err();
        assert!(wrong.contains(word), "{wrong}");
    }
}

#[test]
fn flags_over_environment_over_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[data]\ndir = \"/file\"\nmin_free = \"2GiB\"\n").unwrap();
    let vars = [("CASEWORKER_DATA_DIR", "/env"), ("CASEWORKER_CASES_LIVE_MAX", "7")];
    let config = Config::load(Some(&file), env(&vars), Flags::default()).unwrap();
    assert_eq!(config.data.dir, Path::new("/env"));
    assert_eq!(config.data.min_free, Size(2 << 30));
    assert_eq!(config.cases.live_max, Count(7));
    let flags = Flags { data: Some("/flag".into()), ..Flags::default() };
    let config = Config::load(Some(&file), env(&vars), flags).unwrap();
    assert_eq!(config.data.dir, Path::new("/flag"));
}

fn fault(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, text).unwrap();
    let error = Config::load(Some(&file), env(&[]), Flags::default()).unwrap_err().to_string();
    error.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn a_fault_names_file_line_key_and_what_would_be_right() {
    let wrong = fault("[data]\nmin_free = \"lots\"\n");
    assert!(wrong.starts_with("c.toml:2:12: min_free: `lots` is not a number of bytes"), "{wrong}");
    let wrong = fault("\n[server]\nlisten = \"7700\"\n");
    assert!(wrong.starts_with("c.toml:3:10: listen:"), "{wrong}");
    let wrong = fault("[server]\nport = 1\n");
    assert!(wrong.starts_with("c.toml:2:1: unknown field `port`"), "{wrong}");
    let error = Config::load(None, env(&[("CASEWORKER_DATA_MIN_FREE", "x")]), Flags::default());
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("CASEWORKER_DATA_MIN_FREE: `x` is not a number"), "{error}");
    let error = Config::load(None, env(&[("CASEWORKER_DATA_SIZE", "x")]), Flags::default());
    assert!(error.unwrap_err().to_string().contains("unknown field `size`"));
}

#[test]
fn another_address_than_loopback_needs_keys() {
    let wrong = fault("[server]\nlisten = \"0.0.0.0:80\"\n");
    assert!(wrong.contains("API keys are needed"), "{wrong}");
}

#[test]
fn faults_of_services_name_their_line() {
    let error = |text: &str| Services::parse(text, "s.toml").unwrap_err().to_string();
    let two = "[services.a]\nhosts = [\"x\"]\n[services.b]\nhosts = [\"X\"]\n";
    assert!(
        error(two).starts_with("s.toml:4:10: services.b.hosts: the host `X`"),
        "{}",
        error(two)
    );
    let wrong = error("[services.a]\nrate = \"fast\"\n");
    assert!(wrong.starts_with("s.toml:2:8: rate: `fast` is not a rate"), "{wrong}");
    let wrong = error("[services.a]\nurl = \"bobs\"\n");
    assert!(wrong.starts_with("s.toml:2:7: url: `bobs`"), "{wrong}");
    let wrong = error("[services.a]\nmax = 1\n");
    assert!(wrong.starts_with("s.toml:2:1: unknown field `max`"), "{wrong}");
    let wrong = error("[services.A_B]\n");
    assert!(wrong.contains("`A_B` is not a name"), "{wrong}");
}
