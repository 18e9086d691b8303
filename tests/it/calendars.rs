//! Holiday calendars from files, and calendars that CSRs subscribe to.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::Server;

fn event(date: &str, more: &str) -> String {
    format!("BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:{date}\r\n{more}\r\nEND:VEVENT\r\n")
}

fn file(events: &[String]) -> String {
    let events = events.concat();
    format!("BEGIN:VCALENDAR\r\nX-WR-TIMEZONE:Europe/Berlin\r\n{events}END:VCALENDAR\r\n")
}

fn ann(hours: &Value) -> Value {
    json!({"name": "Ann", "email": "ann@example.com", "timeZone": "Europe/Berlin", "skills": ["identity"],
        "hours": hours})
}

fn around_the_clock() -> Value {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    json!(days.map(|day| json!({"day": day, "start": "00:00", "end": "24:00"})))
}

async fn put(server: &Server, path: &str, media: &str, body: String) -> crate::server::Answer {
    server.send(Method::PUT, path, Some((media, body)), &[]).await
}

#[tokio::test]
async fn holidays_come_from_a_calendar_file() {
    let mut server = Server::new("");
    server.start().await;
    let events = [event("20261225", "SUMMARY:Christmas"), event("20200101", "RRULE:FREQ=YEARLY")];
    let path = "/v1/calendars/berlin";
    let stored = put(&server, path, "text/calendar; charset=utf-8", file(&events)).await;
    assert_eq!(stored.status, 200, "{}", stored.text);
    assert_eq!(
        (&stored.json["timeZone"], &stored.json["days"][0]["name"]),
        (&json!("Europe/Berlin"), &json!("Christmas"))
    );
    assert!(stored.json["days"].as_array().unwrap().len() > 10, "{}", stored.text);
    let wrong = put(&server, path, "text/calendar", file(&[event("20261225T100000Z", "")])).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    assert!(wrong.text.contains("line 4"), "{}", wrong.text);
    let kept = server.get(path).await.json;
    assert_eq!(kept, stored.json, "nothing is stored half");
}

#[tokio::test]
async fn a_calendar_is_subscribed_to_by_its_address_alone() {
    let digest = Sha256::digest(b"the-key");
    let key: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!("[[api.keys]]\nname = \"desk\"\nsha256 = \"{key}\"\n");
    let server = Server::new("");
    let file = server.path().join("caseworker.toml");
    std::fs::write(&file, config).unwrap();
    let mut server = server.env("CASEWORKER_CONFIG", file.to_str().unwrap());
    server.start().await;
    let authorized = [("authorization", "Bearer the-key")];
    let asked = &server;
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let body = body.map(|body| ("application/json", body.to_string()));
        asked.send(method, path, body, &authorized).await
    };
    send(Method::PUT, "/v1/csrs/ann", Some(ann(&around_the_clock()))).await;
    let customer = json!({"name": "Secret Customer", "email": "s@example.com", "timeZone": "UTC"});
    let input = json!({"customer": customer, "tasks": [{"name": "Check", "skill": "identity", "minutes": 30}]});
    let submitted = send(
        Method::POST,
        "/v1/cases",
        Some(json!({"workflow": "customers/onboarding", "input": input})),
    )
    .await;
    let case = submitted.json["id"].as_str().unwrap().to_owned();
    crate::server::until("it is booked", || async {
        let booked = send(Method::GET, "/v1/csrs/ann/calendar", None).await;
        booked.json["bookings"].as_array().filter(|all| !all.is_empty()).map(|_| ())
    })
    .await;
    let path = |url: &str| url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap();
    let first = send(Method::POST, "/v1/csrs/ann/feed", None).await;
    let first = path(first.json["url"].as_str().unwrap());
    // no API key goes along
    let feed = server.get(&first).await;
    assert_eq!(feed.status, 200, "{}", feed.text);
    assert!(feed.headers["content-type"].to_str().unwrap().starts_with("text/calendar"));
    assert!(feed.text.contains("SUMMARY:Check\r\n") && feed.text.contains(&case), "{}", feed.text);
    assert!(!feed.text.contains("Secret"), "{}", feed.text);
    assert_eq!(server.get("/v1/csrs/ann").await.status, 401);
    for wrong in [
        "/v1/csrs/ann/calendar.ics",
        "/v1/csrs/ann/calendar.ics?token=x",
        "/v1/csrs/zoe/calendar.ics?token=x",
    ] {
        assert_eq!(server.get(wrong).await.status, 404, "{wrong}");
    }
    let second = send(Method::POST, "/v1/csrs/ann/feed", None).await;
    let second = path(second.json["url"].as_str().unwrap());
    assert_eq!((server.get(&first).await.status, server.get(&second).await.status), (404, 200));
    server.kill().await;
    server.start().await;
    assert_eq!(server.get(&second).await.status, 200);
    server.send(Method::DELETE, "/v1/csrs/ann/feed", None, &authorized).await;
    assert_eq!(server.get(&second).await.status, 404);
}
