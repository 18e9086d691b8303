//! `run: shell`, `script` and `container`: jobs whose end is a code, and whose loss is an unknown outcome.

use serde_json::{Value, json};

use super::jobs::{end, lease, lost, queued, the_job};
use super::world::World;
use crate::domain::case::job::{self, JobOutcome};
use crate::domain::case::phase::Phase;

fn shell(rest: &str) -> String {
    format!(
        "do: [{{a: {{run: {{shell: {{command: 'echo ${{ .n }}', stdin: '${{ .n }}'}}{rest}}}}}}}, {{b: {{set: {{then: '${{ . }}'}}}}}}]"
    )
}

fn ended(code: i64) -> JobOutcome {
    let output = json!({"code": code, "stdout": "out\n", "stderr": "err\n"}).into();
    JobOutcome::Done { output, documents: Vec::new() }
}

fn ran(rest: &str, code: i64) -> World {
    let mut world = queued(&shell(rest));
    let row = the_job(&world);
    assert_eq!(&*row.queue, "shell");
    lease(&mut world, 1).unwrap();
    end(&mut world, &row, 1, ended(code)).unwrap();
    world
}

#[test]
fn what_it_returns_is_what_the_definition_asks_for() {
    for (rest, code, output) in [
        ("", 0, json!("out\n")),
        (", return: stderr", 0, json!("err\n")),
        (", return: code", 3, json!(3)),
        (", return: all", 3, json!({"code": 3, "stdout": "out\n", "stderr": "err\n"})),
        (", return: none", 0, Value::Null),
    ] {
        let world = ran(rest, code);
        assert_eq!(world.phase(), Phase::Completed, "{rest}");
        let left =
            world.state().output.as_ref().map(|output| serde_json::to_value(output).unwrap());
        assert_eq!(left, Some(json!({"then": output})), "{rest}");
    }
    let world = ran("", 3);
    assert_eq!(world.phase(), Phase::Faulted);
    let error = world.state().error.as_ref().unwrap();
    assert!(error.detail.as_deref().unwrap_or_default().contains("code 3"), "{error:?}");
}

#[test]
fn a_lost_lease_is_an_unknown_outcome_and_never_a_repeat() {
    let mut world = queued(&shell(""));
    let row = the_job(&world);
    lease(&mut world, 1).unwrap();
    end(&mut world, &row, 1, lost()).unwrap();
    assert_eq!(world.phase(), Phase::Suspended, "a person says what became of it");
    assert_eq!(job::rows(world.state()), []);
    let late = end(&mut world, &row, 1, ended(0));
    assert!(late.is_err(), "{late:?}");
}
