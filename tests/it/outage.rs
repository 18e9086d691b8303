//! Orders through an outage of Bob's Post, with kills, errors and answers that never come.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use caseworker::sim::bobs_post::BobsPost;
use caseworker::sim::mailbox::Mailbox;
use caseworker::sim::{FaultsChange, Party, crm};
use serde_json::{Value, json};

use crate::server::{PATIENCE, Server, free_port, until, until_within};

const ORDERS: usize = 200;

struct World {
    server: Server,
    post: Arc<BobsPost>,
    bobs_post: Party,
    mailbox: Arc<Mailbox>,
    _others: Vec<Party>,
}

async fn world() -> World {
    caseworker::prepare_process();
    let (post_port, crm_port, mail_port) = (free_port(), free_port(), free_port());
    let post = BobsPost::new(Duration::from_millis(500), None);
    let mailbox = Arc::new(Mailbox::default());
    let bobs_post = post.open(post_port).await.unwrap();
    let others = vec![crm::open(crm_port).await.unwrap(), mailbox.open(mail_port).await.unwrap()];
    let services = format!(
        "[services.crm]\nurl = \"http://127.0.0.1:{crm_port}\"\n\
         [services.bobs-post]\nurl = \"http://127.0.0.1:{post_port}\"\ntimeout = \"500ms\"\n\
         max_concurrent = 32\n\
         breaker = {{ failures = 5, window = \"10s\", probe_after = \"200ms\", \
         probe_after_max = \"1s\" }}\n"
    );
    let server = Server::new(&services)
        .env("CASEWORKER_EMAIL_URL", &format!("smtp://127.0.0.1:{mail_port}"));
    World { server, post, bobs_post, mailbox, _others: others }
}

/// Waits until every order has completed; tells of one that has not.
async fn all_are_through(server: &Server) {
    let open = "/v1/cases?phase=pending,running,waiting,suspended,faulted,cancelled&limit=500";
    let through = until_within(PATIENCE, || async {
        let completed = server.list("/v1/cases?phase=completed&limit=500").await.len();
        (completed == ORDERS).then_some(())
    });
    if through.await.is_some() {
        return;
    }
    let left = server.list(open).await;
    let one = left[0]["id"].as_str().unwrap();
    let service = server.get("/v1/services/bobs-post").await.json;
    let history = server.history(one).await;
    let last = &history[history.len().saturating_sub(8)..];
    panic!("{} are left, such as {:#}\n{service:#}\n{last:#?}", left.len(), server.case(one).await);
}

fn down(down: bool) -> FaultsChange {
    FaultsChange { down: Some(down), ..FaultsChange::default() }
}

async fn orders_through_an_outage(ignores_keys: bool, error_status: u16) {
    let mut world = world().await;
    world.bobs_post.change(&down(true));
    let ignores = FaultsChange { ignores_keys: Some(ignores_keys), ..FaultsChange::default() };
    world.bobs_post.change(&ignores);
    world.server.start().await;
    let mut ids = Vec::new();
    for n in 0..ORDERS {
        let input =
            json!({"customerId": format!("c{n}"), "items": [{"sku": "A-1", "quantity": 1}]});
        ids.push(world.server.submit_surely("orders/order", &input, &format!("order-{n}")).await);
        if n % 70 == 69 {
            world.server.kill().await;
            world.server.start().await;
        }
    }
    let server = &world.server;
    until("every order waits for Bob's Post", || async {
        let waiting = server.list("/v1/cases?wait=service:bobs-post&limit=500").await;
        (waiting.len() == ORDERS).then_some(())
    })
    .await;
    let service = server.get("/v1/services/bobs-post").await.json;
    assert!(["open", "half-open"].contains(&service["state"].as_str().unwrap()), "{service:#}");
    assert_eq!(service["waiting"], ORDERS);
    let case = server.case(&ids[0]).await;
    assert_eq!(case["wait"]["kind"], "service", "{case:#}");
    assert_eq!(case["wait"]["on"], "bobs-post");
    assert!(case["wait"]["since"].is_string());
    assert_eq!(server.list("/v1/dead-letters?limit=500").await, Vec::<Value>::new());

    let faults = FaultsChange {
        errors: Some(0.2),
        error_status: Some(error_status),
        silent: Some(0.1),
        ..down(false)
    };
    world.bobs_post.change(&faults);
    until("some are through", || async {
        let done = server.list("/v1/cases?phase=completed&limit=500").await.len();
        (done > ORDERS / 10).then_some(())
    })
    .await;
    world.server.kill().await;
    world.server.start().await;
    let server = &world.server;
    all_are_through(server).await;

    let shipments = world.post.shipments();
    assert_eq!(shipments.len(), ORDERS);
    let twice: Vec<_> = shipments.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let mails = world.mailbox.mails();
    let known: HashSet<&str> = mails.iter().map(|mail| mail.message_id.as_str()).collect();
    let to: HashSet<&str> =
        mails.iter().flat_map(|mail| mail.to.iter().map(String::as_str)).collect();
    assert_eq!((known.len(), to.len()), (ORDERS, ORDERS));
    let case = server.case(&ids[0]).await;
    assert_eq!(case["status"], "Shipped", "{case:#}");
    assert!(case["output"]["tracking"].is_string(), "{case:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_come_through_an_outage() {
    orders_through_an_outage(false, 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_come_through_an_outage_of_a_post_that_ignores_keys() {
    orders_through_an_outage(true, 500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_holds_a_service_and_lets_it_go() {
    let mut world = world().await;
    world.server.start().await;
    let server = &world.server;
    let hold = json!({"reason": "maintenance", "until": "2999-01-01T00:00:00Z"});
    let held = server.post("/v1/services/crm/isolate", &hold).await;
    assert_eq!((held.status, &held.json["state"]), (200, &json!("isolated")), "{}", held.text);
    let input = json!({"customerId": "c1", "items": [{"sku": "A-1", "quantity": 1}]});
    let id = server.submit("orders/order", &input).await;
    let case = server.case_when(&id, |case| case["phase"] == "waiting").await;
    assert_eq!(case["wait"]["kind"], "operator", "{case:#}");
    assert_eq!(case["wait"]["detail"], "maintenance");
    assert_eq!(case["wait"]["until"], "2999-01-01T00:00:00.000Z");
    assert_eq!(world.post.shipments().len(), 0);
    world.server.kill().await;
    world.server.start().await;
    let server = &world.server;
    assert_eq!(server.get("/v1/services/crm").await.json["state"], "isolated");
    let released = server.post("/v1/services/crm/release", &json!({})).await;
    assert_eq!(released.status, 200, "{}", released.text);
    server.ended(&id).await;
    let again = server.post("/v1/services/crm/release", &json!({})).await;
    assert_eq!(again.status, 409);
    let past = json!({"reason": "x", "until": "2001-01-01T00:00:00Z"});
    assert_eq!(server.post("/v1/services/crm/isolate", &past).await.status, 422);
}
