//! Invoices: each delivered order has one, each invoice is in one mail, whatever fails and whoever is killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use caseworker::sim::mailbox::{Mail, Mailbox};
use caseworker::sim::ninox::{Books, Ninox};
use caseworker::sim::{FaultsChange, Party};
use reqwest::Method;
use serde_json::{Value, json};

use crate::documents::program;
use crate::server::{Server, free_port, until};

struct World {
    server: Server,
    ninox: Arc<Ninox>,
    mailbox: Arc<Mailbox>,
    parties: [Party; 2],
}

async fn world() -> World {
    caseworker::prepare_process();
    let (books, mail) = (free_port(), free_port());
    let (ninox, mailbox) = (Arc::new(Ninox::default()), Arc::new(Mailbox::default()));
    let parties = [ninox.open(books).await.unwrap(), mailbox.open(mail).await.unwrap()];
    let services = format!(
        "[services.ninox]\nurl = \"http://127.0.0.1:{books}\"\ntimeout = \"1s\"\n\
         breaker = {{ failures = 5, window = \"30s\", probe_after = \"200ms\", probe_after_max = \"1s\" }}\n"
    );
    let mut server = Server::new(&services)
        .env("CASEWORKER_EMAIL_URL", &format!("smtp://127.0.0.1:{mail}"))
        .env("CASEWORKER_PDF_WORKERS", "1")
        .env("CASEWORKER_PDF_PROGRAM", &program())
        .env("CASEWORKER_PDF_MEMORY", "1GiB");
    server.start().await;
    for (id, price, tax) in [("coffee", 899, 70), ("cup", 1250, 190)] {
        ninox.put_item(json!({
            "id": id, "name": id, "unitPrice": price, "taxPermille": tax, "currency": "EUR",
        }));
    }
    World { server, ninox, mailbox, parties }
}

fn order(number: usize, customer: &str, invoicing: &str, item: &str) -> Value {
    let email = format!("{customer}@example.com");
    json!({
        "id": format!("order-{number:05}"), "state": "delivered", "invoiced": false,
        "deliveredAt": "2026-11-20T10:00:00Z",
        "customer": {
            "id": customer, "name": customer, "email": email, "language": "de", "address": "Weg 1",
            "invoicing": invoicing,
        },
        "items": [{"item": item, "quantity": 3}, {"item": "cup", "quantity": 1}],
    })
}

async fn trigger(server: &Server, schedule: &str, key: &str) -> String {
    let path = format!("/v1/schedules/{schedule}/trigger");
    let body = || Some(("application/json", "{}".to_owned()));
    until("it is triggered", || async {
        let answer = server.send(Method::POST, &path, body(), &[("idempotency-key", key)]).await;
        answer.json["case"].as_str().map(str::to_owned)
    })
    .await
}

/// Waits until no case of billing is under way but these, which wait for a person.
async fn settled(server: &Server, suspended: usize) {
    until("all is settled", || async {
        let mut open = 0;
        for name in ["invoice", "invoice-mail", "invoice-page", "invoice-daily", "invoice-weekly"] {
            let phases = "running,waiting,pending,suspended";
            let path = format!("/v1/cases?workflow=billing/{name}&phase={phases}");
            open += server.list(&path).await.len();
        }
        (open == suspended).then_some(())
    })
    .await;
}

/// Which invoices each mail has, by its files.
fn mailed(mails: &[Mail]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    // a mail that was sent again after an answer that was lost is the same mail
    let mut seen = std::collections::BTreeSet::new();
    for mail in mails.iter().filter(|mail| seen.insert(mail.message_id.clone())) {
        for (name, bytes) in &mail.files {
            assert!(bytes.starts_with(b"%PDF-"), "{name}");
            *counts.entry(name.clone()).or_insert(0) += 1;
        }
    }
    counts
}

/// Every delivered order has one invoice, and both say so.
fn agree(books: &Books, left_out: &[&str]) {
    let mut of_order: BTreeMap<&str, usize> = BTreeMap::new();
    for invoice in &books.invoices {
        *of_order.entry(invoice["order"].as_str().unwrap()).or_insert(0) += 1;
    }
    for (id, order) in &books.orders {
        let expected = usize::from(!left_out.contains(&id.as_str()));
        assert_eq!(of_order.get(id.as_str()).copied().unwrap_or(0), expected, "invoices of {id}");
        assert_eq!(order["invoiced"], expected == 1, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_invoiced_and_mailed_each_or_weekly() {
    let World { server, ninox, mailbox, parties: _parties } = world().await;
    ninox.put_order(order(1, "ada", "each", "coffee"));
    ninox.put_order(order(2, "bruno", "weekly", "coffee"));
    ninox.put_order(order(3, "bruno", "weekly", "cup"));
    ninox.put_order(order(4, "bruno", "weekly", "tea"));
    let run = trigger(&server, "billing.invoice-daily", "1").await;
    let ended = server.ended(&run).await;
    assert_eq!(ended["output"], json!({"orders": 4, "begun": 4, "already": 0}), "{ended}");
    settled(&server, 1).await;
    agree(&ninox.books(), &["order-00004"]);
    let failed = server.list("/v1/cases?workflow=billing/invoice&phase=suspended").await;
    let failed = server.case(failed[0]["id"].as_str().unwrap()).await;
    let why = failed["error"]["detail"].as_str().unwrap();
    assert!(why.contains("tea"), "{failed}");
    let books = ninox.books();
    let first = books.invoices.iter().find(|invoice| invoice["order"] == "order-00001").unwrap();
    // 3 × 8.99 at 7 %, 12.50 at 19 %: each rate over the invoice, half up
    assert_eq!((&first["net"], &first["gross"]), (&json!(3947), &json!(3947 + 189 + 238)));
    assert_eq!(first["taxes"][0], json!({"permille": 70, "net": 2697, "tax": 189}));
    assert_eq!((&first["mailed"], &first["batch"]), (&json!(true), &json!("order-00001")));
    let mails = mailbox.mails();
    assert_eq!(mails.len(), 1, "who is billed weekly waits");
    assert_eq!(
        (mails[0].to.clone(), mails[0].files.len()),
        (vec!["ada@example.com".to_owned()], 1)
    );
    assert!(mails[0].subject.starts_with("Ihre Rechnung RE-2026-"), "{}", mails[0].subject);

    let run = trigger(&server, "billing.invoice-weekly", "1").await;
    assert_eq!(server.ended(&run).await["output"]["customers"], 1);
    settled(&server, 1).await;
    let mails = mailbox.mails();
    assert_eq!((mails.len(), mails[1].files.len()), (2, 2), "{mails:?}");
    assert!(ninox.books().invoices.iter().all(|invoice| invoice["mailed"] == true));
    // once more: there is nothing to do
    let run = trigger(&server, "billing.invoice-daily", "2").await;
    assert_eq!(server.ended(&run).await["output"], json!({"orders": 1, "begun": 0, "already": 1}));
    let run = trigger(&server, "billing.invoice-weekly", "2").await;
    assert_eq!(server.ended(&run).await["output"]["customers"], 0);
    settled(&server, 1).await;
    assert_eq!(mailbox.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_order_is_invoiced_and_mailed_once_whatever_is_killed() {
    let World { mut server, ninox, mailbox, parties } = world().await;
    const ORDERS: usize = 130;
    for n in 0..ORDERS {
        let (customer, invoicing) = match n % 4 {
            0 => (format!("each{}", n % 8), "each"),
            _ => (format!("weekly{}", n % 7), "weekly"),
        };
        ninox.put_order(order(n, &customer, invoicing, "coffee"));
    }
    // Ninox acts and does not answer, answers with errors; mails are taken and not said to be
    let faults: FaultsChange =
        serde_json::from_value(json!({"silent": 0.05, "errors": 0.05, "errorStatus": 500}))
            .unwrap();
    parties[0].change(&faults);
    let silent: FaultsChange = serde_json::from_value(json!({"silent": 0.05})).unwrap();
    parties[1].change(&silent);
    // two runs at once
    trigger(&server, "billing.invoice-daily", "1").await;
    trigger(&server, "billing.invoice-daily", "2").await;
    for kills in 1..=4 {
        let goal = ORDERS * kills / 5;
        until("some are recorded", || async {
            (ninox.books().invoices.len() >= goal).then_some(())
        })
        .await;
        server.kill().await;
        server.start().await;
    }
    let whole: FaultsChange =
        serde_json::from_value(json!({"silent": 0.0, "errors": 0.0})).unwrap();
    parties.iter().for_each(|party| party.change(&whole));
    settled(&server, 0).await;
    agree(&ninox.books(), &[]);
    trigger(&server, "billing.invoice-weekly", "1").await;
    trigger(&server, "billing.invoice-weekly", "2").await;
    settled(&server, 0).await;
    let books = ninox.books();
    assert!(books.invoices.iter().all(|invoice| invoice["mailed"] == true));
    let mailed = mailed(&mailbox.mails());
    assert_eq!(mailed.len(), ORDERS, "each invoice is in a mail");
    assert!(mailed.values().all(|times| *times == 1), "and in one only: {mailed:?}");
}
