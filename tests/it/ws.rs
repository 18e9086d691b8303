//! What changes, live, over a WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::server::{PATIENCE, Server};

const DEFINITION: &str = "
document: { dsl: '1.0.3', namespace: test, name: told, version: '1.0.0' }
do: [ { a: { set: { b: 1 } } } ]
";

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(server: &Server, protocols: &str) -> Result<Self, u16> {
        let url = server.url("/v1/ws").replace("http://", "ws://");
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        match connect_async(request).await {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], "caseworker.v1");
                Ok(Self(socket))
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::Text(message.to_string().into())).await.unwrap();
    }

    /// The next message; none: the connection was closed.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message");
            match next? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn next_of(&mut self, id: &str, kind: &str) -> Value {
        loop {
            let message = self.next().await.expect("it is open");
            if message["id"] == id && message["type"] == kind {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn each_subscription_hears_what_it_asked_for() {
    let mut server = Server::new("");
    server.start().await;
    assert_eq!(server.define(DEFINITION).await.status, 201);
    let mut socket = Socket::open(&server, "caseworker.v1").await.ok().unwrap();
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await.unwrap(), json!({"type": "pong"}));
    let filter = json!({"entity": "case", "workflow": "test/told"});
    socket.say(json!({"type": "subscribe", "id": "cases", "filter": filter})).await;
    let subscribed = socket.next().await.unwrap();
    assert_eq!((&subscribed["type"], &subscribed["id"]), (&json!("subscribed"), &json!("cases")));
    let none = json!({"entity": "case", "workflow": "test/other"});
    socket.say(json!({"type": "subscribe", "id": "none", "filter": none})).await;
    assert_eq!(socket.next().await.unwrap()["type"], "subscribed");
    let case = server.submit("test/told", &json!({})).await;
    let change = socket.next().await.unwrap();
    assert_eq!((&change["type"], &change["id"]), (&json!("change"), &json!("cases")), "{change}");
    assert_eq!((&change["entity"], &change["data"]["id"]), (&json!("case"), &json!(case)));
    let seen = change["position"].as_u64().unwrap();
    socket.say(json!({"type": "unsubscribe", "id": "cases"})).await;
    assert_eq!(socket.next_of("cases", "unsubscribed").await["id"], "cases");

    // from where one was before
    let second = server.submit("test/told", &json!({})).await;
    server.ended(&second).await;
    let filter = json!({"entity": "case"});
    let again = json!({"type": "subscribe", "id": "again", "filter": filter, "after": seen});
    socket.say(again).await;
    assert_eq!(socket.next_of("again", "change").await["data"]["id"], second.as_str());
    // nothing is kept from before the start
    socket.say(json!({"type": "subscribe", "id": "old", "after": 0})).await;
    assert_eq!(socket.next_of("old", "reset").await["id"], "old");
}

#[tokio::test]
async fn what_is_none_of_ours_is_an_error_and_three_end_it() {
    let mut server = Server::new("");
    server.start().await;
    let mut socket = Socket::open(&server, "caseworker.v1").await.ok().unwrap();
    let wrong = json!({"type": "subscribe", "id": "x", "filter": {"entity": "planet"}});
    socket.say(wrong.clone()).await;
    let error = socket.next().await.unwrap();
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("x")), "{error}");
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await.unwrap()["type"], "pong");
    for wrong in [json!({"type": "dance"}), json!([]), wrong] {
        socket.say(wrong).await;
        assert_eq!(socket.next().await.unwrap()["type"], "error");
    }
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn a_key_comes_among_the_protocols() {
    use base64::Engine as _;
    use sha2::{Digest, Sha256};
    let server = Server::new("");
    let digest = Sha256::digest(b"secret");
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = server.path().join("keys.toml");
    std::fs::write(&file, format!("[[api.keys]]\nname = \"ui\"\nsha256 = \"{hash}\"\n")).unwrap();
    let mut server = server.env("CASEWORKER_CONFIG", file.to_str().unwrap());
    server.start().await;
    assert_eq!(Socket::open(&server, "caseworker.v1").await.err(), Some(401));
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("secret");
    let mut socket =
        Socket::open(&server, &format!("caseworker.v1, bearer.{key}")).await.ok().unwrap();
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await.unwrap()["type"], "pong");
}
