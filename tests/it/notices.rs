//! What people are told of what is planned for them, by mail over a real socket.

use std::collections::HashMap;
use std::sync::Arc;

use caseworker::sim::mailbox::{Mail, Mailbox};
use caseworker::sim::{FaultsChange, Party};
use serde_json::{Value, json};

use crate::server::{Server, free_port, types, until};

struct World {
    server: Server,
    mailbox: Arc<Mailbox>,
    party: Party,
}

/// A server with a lead, and a CSR who works around the clock.
async fn world(email: &[(&str, &str)]) -> World {
    caseworker::prepare_process();
    let port = free_port();
    let mailbox = Arc::new(Mailbox::default());
    let party = mailbox.open(port).await.unwrap();
    let mut server = Server::new("")
        .env("CASEWORKER_EMAIL_URL", &format!("smtp://127.0.0.1:{port}"))
        .env("CASEWORKER_EMAIL_DOMAIN", "example.net");
    for (name, value) in email {
        server = server.env(name, value);
    }
    server.start().await;
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let hours = days.map(|day| json!({"day": day, "start": "00:00", "end": "24:00"}));
    let ann = json!({"name": "Ann Müller", "email": "ann@example.com", "timeZone": "Asia/Tokyo",
        "skills": ["identity"], "hours": hours});
    let body = Some(("application/json", ann.to_string()));
    let added = server.send(reqwest::Method::PUT, "/v1/csrs/ann", body, &[]).await;
    assert_eq!(added.status, 201, "{}", added.text);
    World { server, mailbox, party }
}

fn onboarding(name: &str, language: &str) -> Value {
    let task = |name: &str| json!({"name": name, "skill": "identity", "minutes": 30});
    json!({"tasks": [task("Ausweis prüfen"), task("Training")], "customer":
        {"name": name, "email": "ada@example.com", "timeZone": "Europe/Berlin", "language": language}})
}

impl World {
    async fn mails(&self, count: usize) -> Vec<Mail> {
        until("the mails are there", || async {
            Some(self.mailbox.mails()).filter(|mails| mails.len() >= count)
        })
        .await
    }
}

#[tokio::test]
async fn a_plan_is_mailed_to_the_customer_and_the_csr_each_in_their_own_zone_and_language() {
    let world = world(&[]).await;
    let name = "Ada <script>\nBcc: x";
    let id = world.server.submit("customers/onboarding", &onboarding(name, "de")).await;
    let mails = world.mails(2).await;
    assert_eq!(mails.len(), 2);
    let [customer, csr] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!((&customer.to[0], &*customer.subject), (&"ada@example.com".into(), "Ihre Termine"));
    assert!(customer.text.contains("Guten Tag Ada <script> Bcc: x,"), "{}", customer.text);
    assert!(customer.text.contains("Uhr (Europe/Berlin), mit Ann Müller"), "{}", customer.text);
    assert!(customer.html.contains("Ada &lt;script&gt;"), "{}", customer.html);
    assert_eq!(csr.to, ["ann@example.com"]);
    assert!(csr.text.contains("(Asia/Tokyo)") && csr.subject.contains("New appointments"));
    let plan = world.server.get(&format!("/v1/cases/{id}/plan")).await.json;
    let tasks = plan["plans"][0]["tasks"].as_array().unwrap();
    for mail in [customer, csr] {
        assert_eq!(mail.references, format!("<{id}@example.net>"));
        assert_eq!(mail.auto_submitted, "auto-generated");
        for task in tasks {
            let uid =
                format!("UID:{}@example.net\r\nSEQUENCE:2\r\n", task["booking"].as_str().unwrap());
            assert!(mail.calendar.contains(&uid), "{}", mail.calendar);
        }
    }
    let history = until("it is recorded", || async {
        let history = world.server.history(&id).await;
        let sent = types(&history).into_iter().filter(|kind| *kind == "notice.sent").count();
        (sent == 2).then_some(history)
    })
    .await;
    let sent: Vec<&Value> =
        history.iter().filter(|event| event["type"] == "notice.sent").map(|e| &e["data"]).collect();
    assert_eq!((&sent[0]["to"], &sent[0]["notice"]), (&json!("customer"), &json!("planned")));
    assert_eq!(sent[1]["to"], "ann");
}

#[tokio::test]
async fn planning_goes_on_while_mail_is_down_and_each_is_told_once() {
    let mut world = world(&[]).await;
    let down = |down| FaultsChange { down: Some(down), ..FaultsChange::default() };
    world.party.change(&down(true));
    let mut cases = Vec::new();
    for n in 0..10 {
        let name = format!("Customer {n}");
        cases.push(world.server.submit("customers/onboarding", &onboarding(&name, "en")).await);
    }
    for case in &cases {
        world.server.case_when(case, |case| case["status"] == "Planned").await;
    }
    world.server.kill().await;
    world.server.start().await;
    let service = until("they wait for the mail server", || async {
        let service = world.server.get("/v1/services/mail").await.json;
        (service["waiting"] == 10).then_some(service)
    });
    service.await;
    // what they are shown to wait for is what their flow waits for
    let case = world.server.case(&cases[0]).await;
    assert_eq!(case["wait"]["on"], "csr:ann", "{case:#}");
    world.party.change(&down(false));
    let mails = world.mails(20).await;
    let mut count: HashMap<&str, usize> = HashMap::new();
    for mail in &mails {
        *count.entry(&mail.message_id).or_default() += 1;
    }
    assert!(count.len() == 20 && count.values().all(|count| *count == 1), "{count:?}");
}

#[tokio::test]
async fn templates_of_a_folder_take_the_place_of_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let english = folder.path().join("en");
    std::fs::create_dir(&english).unwrap();
    let text = "Subject: Welcome, {{ name }}\n{{ tasks|length }} steps are ahead of you.\n";
    std::fs::write(english.join("planned.txt"), text).unwrap();
    let path = folder.path().to_str().unwrap();
    let mut world = world(&[("CASEWORKER_EMAIL_TEMPLATES", path)]).await;
    world.server.submit("customers/onboarding", &onboarding("Ada", "en")).await;
    let mails = world.mails(2).await;
    assert_eq!(mails[0].subject, "Welcome, Ada");
    assert!(mails[0].text.contains("2 steps"), "{}", mails[0].text);
    world.server.kill().await;
    std::fs::write(english.join("planned.txt"), "Subject: {{ nobody.knows }}\n").unwrap();
    let (code, said) = world.server.refusal().await;
    assert_ne!(code, 0);
    assert!(said.contains("planned.txt") && said.contains("line 1"), "{said}");
}

#[tokio::test]
async fn a_definition_can_turn_its_notices_off() {
    let world = world(&[]).await;
    let quiet = "
document: { dsl: '1.0.3', namespace: test, name: quiet, version: '1.0.0', metadata: { notices: false } }
do:
  - plan: { call: book, with: { tasks: [{skill: identity, minutes: 30}], customer: '${ .customer }' } }
  - perform: { call: perform, with: { plan: '${ .plan }' } }
";
    let loud = quiet.replace("quiet", "loud").replace("notices: false", "notices: true");
    assert_eq!(world.server.define(quiet).await.status, 201);
    assert_eq!(world.server.define(&loud).await.status, 201);
    let customer = json!({"customer": onboarding("Ada", "en")["customer"]});
    let silent = world.server.submit("test/quiet", &customer).await;
    world.server.case_when(&silent, |case| case["wait"]["on"] == "csr:ann").await;
    world.server.submit("test/loud", &customer).await;
    let mails = world.mails(2).await;
    assert!(mails.iter().all(|mail| !mail.references.contains(&silent)), "{mails:?}");
}

#[tokio::test]
async fn what_changes_while_the_mail_server_is_away_is_told_and_what_ends_takes_no_place() {
    let world = world(&[]).await;
    let server = &world.server;
    let down = |down| FaultsChange { down: Some(down), ..FaultsChange::default() };
    world.party.change(&down(true));
    let mut cases = Vec::new();
    for n in 0..6 {
        let name = format!("Customer {n}");
        cases.push(server.submit("customers/onboarding", &onboarding(&name, "en")).await);
    }
    let waiting = async |count: usize| {
        until("so many wait for the mail server", || async {
            let service = server.get("/v1/services/mail").await.json;
            (service["waiting"] == count).then_some(())
        })
        .await;
    };
    waiting(6).await;
    for case in &cases[1..] {
        let (path, reason) = (format!("/v1/cases/{case}/cancel"), json!({"reason": "off"}));
        assert_eq!(server.post(&path, &reason).await.status, 200);
    }
    waiting(1).await;
    let path = format!("/v1/cases/{}/plan", cases[0]);
    let plan = server.get(&path).await.json;
    let booking = plan["plans"][0]["tasks"][1]["booking"].clone();
    let change = json!({"tasks": [{"booking": booking}], "reason": "one is enough"});
    let body = Some(("application/json", change.to_string()));
    let changed = server.send(reqwest::Method::PUT, &path, body, &[]).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    world.party.change(&down(false));
    let mails = world.mails(2).await;
    for mail in &mails {
        assert!(mail.text.contains("Training") && !mail.text.contains("Ausweis"), "{}", mail.text);
    }
    waiting(0).await;
    until("the breaker is closed", || async {
        (server.get("/v1/services/mail").await.json["state"] == "closed").then_some(())
    })
    .await;
    assert_eq!(world.mailbox.mails().len(), 2, "nobody else was ever told anything");
}
