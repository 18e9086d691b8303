//! People and processes that want different things of the same task at the same time.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Server, until};
use crate::staff::{act, assignments, books_agree, csr, customer, hours, tasks};

fn around_the_clock() -> Value {
    json!({"hours": hours("00:00", "24:00")})
}

#[tokio::test]
async fn of_those_who_complete_reassign_and_hand_back_at_once_each_is_told_how_it_stands() {
    let mut server = Server::new("");
    server.start().await;
    csr(&server, "ann", "UTC", &["identity"], around_the_clock()).await;
    csr(&server, "ben", "UTC", &["identity"], around_the_clock()).await;
    let mut cases = Vec::new();
    for n in 0..12 {
        let input = json!({"customer": customer(n), "tasks": tasks(&["only"])});
        let case = server.submit("customers/onboarding", &input).await;
        let ready = until("it is ready", || async {
            let all = assignments(&server, &format!("case={case}&phase=ready")).await;
            all.into_iter().next()
        });
        let id = ready.await["id"].as_str().unwrap().to_owned();
        let complete = act(&server, &id, "complete", json!({"outcome": {"by": "ann"}}));
        let other = act(&server, &id, "complete", json!({"outcome": {"by": "ben"}}));
        let reassign = act(&server, &id, "reassign", json!({"csr": "ben", "reason": "so it is"}));
        let back = act(&server, &id, "hand-back", json!({"reason": "no time"}));
        let (a, b, c, d) = tokio::join!(complete, other, reassign, back);
        let statuses = [a.status, b.status, c.status, d.status];
        assert!(statuses.iter().all(|status| matches!(status, 200 | 409)), "{statuses:?}");
        let won = [&a, &b].iter().filter(|answer| answer.status == 200).count();
        assert!(won <= 1, "two different outcomes were taken: {statuses:?}");
        let others = [&c, &d].iter().filter(|answer| answer.status == 200).count();
        assert!(won + others >= 1, "nobody was let: {statuses:?}");
        cases.push((case, id, won));
    }
    for (case, id, won) in &cases {
        if *won == 0 {
            // it went on to somebody, whose turn it is
            until("it is done by whoever has it", || async {
                let done = act(&server, id, "complete", json!({"outcome": {}})).await;
                (done.status == 200).then_some(())
            })
            .await;
        }
        let ended = server.ended(case).await;
        assert_eq!(ended["phase"], "completed", "{ended:#}");
    }
    books_agree(&server, &["ann", "ben"]).await;
}

#[tokio::test]
async fn a_csr_who_leaves_while_fifty_cases_propose_to_them_has_nothing_left() {
    let mut server = Server::new("");
    server.start().await;
    csr(&server, "ann", "UTC", &["identity"], around_the_clock()).await;
    let submit = async |n: usize| {
        let input = json!({"customer": customer(n), "tasks": tasks(&["first", "second"])});
        server.submit("customers/onboarding", &input).await
    };
    let leave = async {
        until("some are booked", || async {
            let booked = assignments(&server, "csr=ann").await.len();
            (booked > 5).then_some(())
        })
        .await;
        server.send(Method::DELETE, "/v1/csrs/ann", None, &[]).await
    };
    let (cases, left) = tokio::join!(futures_util::future::join_all((0..50).map(submit)), leave);
    assert_eq!(left.status, 200, "{}", left.text);
    until("nothing is hers", || async {
        let hers = assignments(&server, "csr=ann&phase=planned,ready,started").await;
        hers.is_empty().then_some(())
    })
    .await;
    csr(&server, "ben", "UTC", &["identity"], around_the_clock()).await;
    for case in &cases {
        server.case_when(case, |case| case["wait"]["on"] == "csr:ben").await;
    }
    until("all is ben's", || async {
        (assignments(&server, "csr=ben").await.len() == 100).then_some(())
    })
    .await;
    books_agree(&server, &["ann", "ben"]).await;
}
