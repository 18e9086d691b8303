//! The shipped sign-up against its parties: the good way, each business "no", undoing.

use std::sync::Arc;

use caseworker::sim::cards::Cards;
use caseworker::sim::cloud::Cloud;
use caseworker::sim::mailbox::Mailbox;
use caseworker::sim::{FaultsChange, Party, verifier};
use serde_json::{Value, json};

use crate::server::{Server, free_port};

struct World {
    server: Server,
    cards: Arc<Cards>,
    cloud: Arc<Cloud>,
    mailbox: Arc<Mailbox>,
    /// verifier, cards, cloud, mail
    parties: Vec<Party>,
}

async fn world() -> World {
    caseworker::prepare_process();
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let (cards, cloud) = (Arc::new(Cards::default()), Arc::new(Cloud::default()));
    let mailbox = Arc::new(Mailbox::default());
    let parties = vec![
        verifier::open(ports[0]).await.unwrap(),
        cards.open(ports[1]).await.unwrap(),
        cloud.open(ports[2]).await.unwrap(),
        mailbox.open(ports[3]).await.unwrap(),
    ];
    let services: String = ["verifier", "cards", "cloud"]
        .iter()
        .zip(&ports)
        .map(|(name, port)| format!("[services.{name}]\nurl = \"http://127.0.0.1:{port}\"\n"))
        .collect();
    let mut server = Server::new(&services)
        .env("CASEWORKER_EMAIL_URL", &format!("smtp://127.0.0.1:{}", ports[3]));
    server.start().await;
    World { server, cards, cloud, mailbox, parties }
}

fn signup(name: &str, email: &str, token: &str) -> Value {
    json!({"name": name, "email": email, "plan": "pro", "card": {"token": token}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_signs_up() {
    let world = world().await;
    let input = signup("Ada", "ada@example.com", "tok");
    let id = world.server.submit("customers/signup", &input).await;
    let case = world.server.ended(&id).await;
    assert_eq!(
        (&case["phase"], &case["status"]),
        (&json!("completed"), &json!("Active")),
        "{case:#}"
    );
    let history = world.server.history(&id).await;
    let statuses: Vec<&Value> = history
        .iter()
        .filter(|e| e["type"] == "case.status")
        .map(|e| &e["data"]["status"])
        .collect();
    assert_eq!(statuses, ["Pending", "Verified", "Provisioning", "Active"]);
    assert_eq!(world.mailbox.mails()[0].to, ["ada@example.com"]);
    assert_eq!((world.cards.charges()[&id], world.cloud.accounts()[&id]), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_business_no_ends_it_failed() {
    let world = world().await;
    for (input, charges, refunds) in [
        (signup("Eve", "eve@blocked.example", "tok"), 0, 0),
        (signup("Poor", "poor@example.com", "declined-1"), 0, 0),
        (signup("Refused Inc", "no@example.com", "tok"), 1, 1),
    ] {
        let id = world.server.submit("customers/signup", &input).await;
        let case = world.server.ended(&id).await;
        assert_eq!(case["phase"], "completed", "{case:#}");
        assert_eq!(case["status"], "Failed", "{case:#}");
        assert!(case["output"]["reason"].is_string(), "{case:#}");
        assert_eq!(world.cards.charges().get(&id).copied().unwrap_or(0), charges);
        assert_eq!(world.cards.refunds(), refunds);
    }
    assert!(world.mailbox.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_sign_up_is_undone_in_reverse() {
    let world = world().await;
    world.parties[3].change(&FaultsChange { down: Some(true), ..Default::default() });
    let id = world.server.submit("customers/signup", &signup("Ada", "a@example.com", "tok")).await;
    let case = world
        .server
        .case_when(&id, |case| {
            case["wait"]["on"] == "mail" || case["tasks"][0]["reference"] == "/do/6/welcome"
        })
        .await;
    assert_eq!(world.cloud.accounts()[&id], 1, "{case:#}");
    let path = format!("/v1/cases/{id}/cancel");
    let cancelled = world.server.post(&path, &json!({"reason": "changed my mind"})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    let case = world.server.ended(&id).await;
    assert_eq!(case["phase"], "cancelled", "{case:#}");
    assert!(world.cloud.accounts().is_empty());
    assert_eq!(world.cards.refunds(), 1);
    let history = world.server.history(&id).await;
    let undone: Vec<&str> = history
        .iter()
        .filter(|e| e["type"] == "task.completed")
        .filter_map(|e| e["task"].as_str().filter(|t| t.contains("compensate")))
        .collect();
    assert_eq!(undone.len(), 2, "{undone:?}");
    assert!(undone[0].contains("create") && undone[1].contains("take"), "{undone:?}");
}
