//! Calls as they go out: requests, keys, credentials, documents, and what their answers become.

use std::sync::Arc;

use serde_json::json;

use super::world;
use super::world::{done, failed};
use crate::domain::case::command::{ChildOutcome, Command, Fetched, Outcome};
use crate::domain::case::effect::{Ask, HttpBody, Preparation};
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::ids::CaseId;
use crate::domain::mail::Mail;

#[test]
fn a_request_is_made_of_its_arguments() {
    let mut world = world(
        "do:
  - place:
      call: http
      with:
        method: post
        endpoint: http://shop/orders/{id}
        query: {q: '${ .q }', n: '5'}
        headers: {x-trace: '${ $workflow.id }'}
        body: {order: '${ .id }', at: '${ $task.name }'}
      output: {as: .number}
",
    );
    world.start(json!({"id": "a b", "q": "x&y"}));
    let request = world.request(0);
    assert_eq!(&*request.method, "POST");
    assert_eq!(request.url, "http://shop/orders/a%20b?q=x%26y&n=5");
    let body = HttpBody::Json(Data::from(json!({"order": "a b", "at": "place"})));
    assert_eq!(request.body, Some(body));
    let key = format!("{}/do/0/place/1", world.id);
    assert!(request.headers.contains(&("idempotency-key".into(), key)));
    assert_eq!(world.started(), ["place"]);
    world.answer_next(done(json!({"number": 7})));
    assert_eq!(world.output(), json!(7));
}

#[test]
fn the_key_counts_entries_and_not_attempts() {
    let mut world = world(
        "do:
  - again: {call: echo, with: {n: '${ (.n // 0) + 1 }'}}
  - more: {switch: [{yes: {when: .n < 3, then: again}}]}
",
    );
    world.start(json!({}));
    let mut keys = Vec::new();
    while let Some(effect) = world.effects.pop_front() {
        keys.push(effect.key.clone());
        let Ask::Echo(data) = &effect.ask else { panic!() };
        world.answer(&effect, Outcome::Done(data.clone()));
    }
    let expected: Vec<_> = (1..=3).map(|n| format!("{}/do/0/again/{n}", world.id)).collect();
    assert_eq!(keys, expected);
    assert_eq!(world.output(), json!({"n": 3}));
}

#[test]
fn late_and_doubled_results_change_nothing() {
    let mut world = world("do: [{a: {call: echo}}, {b: {call: echo}}]\n");
    world.start(json!({"n": 1}));
    let effect = world.effect();
    world.answer(&effect, done(json!({"n": 2})));
    let version = world.state().version;
    world.answer(&effect, done(json!({"n": 3})));
    world.answer(&effect, failed(500));
    assert_eq!(world.state().version, version);
    world.settle_echoes();
    assert_eq!(world.output(), json!({"n": 2}));
}

#[test]
fn secrets_go_out_and_nowhere_else() {
    let mut world = world(
        "use: {secrets: [shop]}
do:
  - a:
      call: http
      with:
        method: get
        endpoint:
          uri: http://shop/
          authentication: {basic: {username: me, password: '${ $secrets.shop.password }'}}
        headers: {x-key: '${ $secrets.shop.key }', x-scheme: '${ $authorization.scheme }'}
        output: response
",
    );
    world.ctx.secrets.insert("shop".into(), Arc::new(json!({"password": "hush", "key": "k1"})));
    world.start(json!({}));
    let request = world.request(0);
    let header =
        |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(header("x-key").as_deref(), Some("k1"));
    assert_eq!(header("x-scheme").as_deref(), Some("Basic"));
    assert_eq!(header("authorization").as_deref(), Some("Basic bWU6aHVzaA=="));
    assert_eq!(request.shown["headers"], json!({}));
    let history = format!("{:?}", world.history);
    assert!(!history.contains("hush") && !history.contains("k1"));
}

#[test]
fn a_missing_secret_is_an_authorization_error() {
    let mut world = world(
        "use: {secrets: [shop]}
do: [{a: {call: http, with: {method: get, endpoint: 'http://shop/', headers: {k: '${ $secrets.shop }'}}}}]
",
    );
    world.start(json!({}));
    assert_eq!(world.phase(), Phase::Faulted);
    let error = world.error();
    assert_eq!(error.status, 403);
    assert!(error.kind.ends_with("errors/authorization"));
}

#[test]
fn a_token_is_fetched_once_and_used() {
    let mut world = world(
        "do:
  - a:
      call: http
      with:
        method: get
        endpoint:
          uri: http://shop/
          authentication:
            oauth2: {authority: 'http://idp/', grant: client_credentials, client: {id: me, secret: s}}
",
    );
    world.start(json!({}));
    let effect = world.effect();
    let Ask::Prepare(preparation) = &effect.ask else { panic!() };
    let Preparation::Token { key, request, .. } = &**preparation else { panic!() };
    assert_eq!(request.url, "http://idp/oauth2/token");
    assert_eq!(effect.service.as_deref(), Some("idp"));
    assert_eq!(world.phase(), Phase::Running);
    world.ctx.tokens.insert(*key, "t0ken".into());
    world.answer(&effect, Outcome::Fetched(Fetched::Here));
    let request = world.request(0);
    assert!(request.headers.contains(&("authorization".into(), "Bearer t0ken".into())));
    world.answer_next(done(json!(1)));
    assert_eq!(world.output(), json!(1));
}

#[test]
fn an_openapi_document_is_fetched_before_the_call() {
    let mut world = world(
        "do:
  - find:
      call: openapi
      with:
        document: {endpoint: 'http://docs/openapi.json'}
        operationId: get
        parameters: {id: '${ .id }'}
",
    );
    world.start(json!({"id": 5}));
    let effect = world.effect();
    assert!(matches!(&effect.ask, Ask::Prepare(_)));
    let document = json!({
        "openapi": "3.0.0", "servers": [{"url": "http://api/v1"}],
        "paths": {"/things/{id}": {"get": {"operationId": "get", "parameters": [
            {"name": "id", "in": "path", "required": true, "schema": {}}]}}}
    });
    world.ctx.documents.insert("http://docs/openapi.json".into(), Arc::new(document));
    world.answer(&effect, Outcome::Fetched(Fetched::Here));
    assert_eq!(world.request(0).url, "http://api/v1/things/5");
    world.answer_next(done(json!({"id": 5})));
    assert_eq!(world.output(), json!({"id": 5}));
}

#[test]
fn a_refused_host_is_a_configuration_error() {
    let mut world =
        world("do: [{a: {call: http, with: {method: get, endpoint: 'http://refused/'}}}]\n");
    world.start(json!({}));
    assert!(world.error().kind.ends_with("errors/configuration"));
}

#[test]
fn a_mail_is_composed_and_goes_through_the_mail_service() {
    let mut world = world(
        "do:
  - tell: {call: email, with: {to: '${ .to }', subject: Hi, text: 'Dear {{ name }}', data: {name: '${ .name }'}}}
",
    );
    world.start(json!({"to": "ann@example.com", "name": "Ann"}));
    let effect = world.effect();
    assert_eq!(effect.service.as_deref(), Some("mail"));
    let Ask::Email(arguments) = &effect.ask else { panic!() };
    let mail = Mail::compose(arguments).unwrap();
    assert_eq!((mail.to[0].as_str(), mail.text.as_str()), ("ann@example.com", "Dear Ann"));
    world.answer(&effect, done(json!({"messageId": "m"})));
    assert_eq!(world.output(), json!({"messageId": "m"}));
}

#[test]
fn emitted_events_have_a_stable_id_and_become_the_output() {
    let mut world = world(
        "do: [{tell: {emit: {event: {with: {source: 'https://x', type: t, data: {n: '${ .n }'}}}}}}]\n",
    );
    world.start(json!({"n": 1}));
    let effect = world.effect();
    let Ask::Emit(event) = effect.ask.clone() else { panic!() };
    assert_eq!(event["id"], json!(format!("{}/do/0/tell/1", world.id)));
    assert_eq!(event["data"], json!({"n": 1}));
    assert_eq!(event["specversion"], json!("1.0"));
    world.answer(&effect, Outcome::Done(event.clone()));
    assert_eq!(world.output(), *event);
}

const CHILD: &str = "do: [{sub: {run: {workflow: {namespace: a, name: b, version: '1.0.0', input: {n: '${ .n }'}}}}}]\n";

#[test]
fn a_child_is_waited_for() {
    let mut world = world(CHILD);
    world.start(json!({"n": 1}));
    let effect = world.effect();
    let Ask::Run(child) = &effect.ask else { panic!() };
    assert_eq!(child.id, CaseId::of_child(world.id, "/do/0/sub", 1, 0));
    assert_eq!(*child.submission.input, json!({"n": 1}));
    let id = child.id;
    world.answer(&effect, done(json!(id.to_string())));
    assert_eq!(world.phase(), Phase::Waiting);
    assert_eq!(world.shown_wait().unwrap().kind, WaitKind::Case);
    let outcome = ChildOutcome::Completed(Data::from(json!({"m": 2})));
    world.tell(Command::ChildEnded { child: id, outcome });
    assert_eq!(world.output(), json!({"m": 2}));
}

#[test]
fn a_child_that_fails_fails_its_task() {
    for (outcome, kind) in [
        (ChildOutcome::Faulted(Problem::new(Standard::Timeout, "late")), "errors/timeout"),
        (ChildOutcome::Cancelled, "errors/runtime"),
        (
            ChildOutcome::Refused(Problem::new(Standard::Configuration, "no")),
            "errors/configuration",
        ),
    ] {
        let mut world = world(CHILD);
        world.start(json!({"n": 1}));
        let effect = world.effect();
        let Ask::Run(child) = &effect.ask else { panic!() };
        let child = child.id;
        if !matches!(outcome, ChildOutcome::Refused(_)) {
            world.answer(&effect, done(json!(child.to_string())));
        }
        world.tell(Command::ChildEnded { child, outcome });
        assert!(world.error().kind.ends_with(kind), "{:?}", world.error());
        assert_eq!(world.error().instance.as_deref(), Some("/do/0/sub"));
    }
}

#[test]
fn a_child_nobody_waits_for_hands_the_input_on() {
    let mut world = world(
        "do: [{sub: {run: {await: false, workflow: {namespace: a, name: b, version: latest}}}}]\n",
    );
    world.start(json!({"n": 1}));
    let effect = world.effect();
    world.answer(&effect, done(json!("case_x")));
    assert_eq!(world.output(), json!({"n": 1}));
}

#[test]
fn a_repeat_sees_the_context_of_the_first_attempt() {
    let mut world = world(
        "do:
  - both:
      fork:
        branches:
          - slow: {call: http, with: {method: put, endpoint: 'http://a/', body: '${ $context }'}}
          - quick: {do: [{w: {wait: PT1S}}, {s: {set: {x: 1}, export: {as: '{ changed: true }'}}}]}
",
    );
    world.start(json!({"first": 1}));
    let first = world.request(0).body;
    let effect = world.effect();
    world.pass(1000);
    world.answer(&effect, super::world::not_done());
    world.pass(40_000);
    assert_eq!(world.request(0).body, first);
    assert_eq!(*world.state().context, json!({"changed": true}));
}
