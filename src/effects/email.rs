//! Mail, over SMTP. The Message-ID derives from the effect's key, so that a mail that is sent again
//! after a crash is recognisable as the same.

use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::SendBy;
use crate::domain::ids::Bits;
use crate::domain::mail::Mail;

/// Sends mail.
#[derive(Clone)]
pub struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    domain: String,
}

/// What came of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// The server took it.
    Accepted {
        message_id: String,
    },
    /// It is no mail that can be sent, or the server will never take it; with its code.
    Refused {
        status: Option<u16>,
        detail: String,
    },
    /// Not now: no connection, or the server asks to come back.
    NotNow(String),
    /// The time was up; it may have been taken.
    NoAnswer(String),
    TooLate,
}

impl Post {
    /// A sender through a server, as lettre's `from_url` reads it: `smtp://host:1025`.
    ///
    /// # Errors
    /// What is wrong with the address or the sender.
    pub fn new(url: &str, from: &str, domain: &str, timeout: Duration) -> Result<Self, String> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        let builder =
            builder.map_err(|e| format!("`{url}` is no address of a mail server: {e}"))?;
        let from = from.parse().map_err(|e| format!("`{from}` is no sender: {e}"))?;
        let transport = builder.timeout(Some(timeout)).build();
        Ok(Self { transport, from, domain: domain.to_owned() })
    }

    /// The Message-ID of the mail with this key: always the same.
    pub fn message_id(&self, key: &str) -> String {
        format!("<{:?}@{}>", Bits::derived(&[b"mail", key.as_bytes()]), self.domain)
    }

    /// Sends a mail.
    pub async fn send(&self, mail: &Mail, key: &str, by: SendBy) -> Posted {
        let message_id = self.message_id(key);
        let message = match self.message(mail, &message_id) {
            Ok(message) => message,
            Err(detail) => return Posted::Refused { status: None, detail },
        };
        if by.is_past() {
            return Posted::TooLate;
        }
        match self.transport.send(message).await {
            Ok(_) => Posted::Accepted { message_id },
            Err(error) if error.is_permanent() => {
                let status = error.status().map(u16::from);
                Posted::Refused { status, detail: "the mail server refused it".to_owned() }
            }
            Err(error) if error.is_timeout() => Posted::NoAnswer("the time was up".to_owned()),
            Err(error) if error.is_transient() => {
                Posted::NotNow("the mail server asks to come back".to_owned())
            }
            Err(error) if error.is_client() => {
                Posted::Refused { status: None, detail: "the mail cannot be sent so".to_owned() }
            }
            Err(error) => Posted::NotNow(plainly(&error)),
        }
    }

    fn message(&self, mail: &Mail, message_id: &str) -> Result<Message, String> {
        let mailbox = |address: &String| {
            address.parse::<Mailbox>().map_err(|_| "an address of the mail is none".to_owned())
        };
        let mut builder = Message::builder()
            .from(self.from.clone())
            .message_id(Some(message_id.to_owned()))
            .subject(&mail.subject);
        for to in &mail.to {
            builder = builder.to(mailbox(to)?);
        }
        for cc in &mail.cc {
            builder = builder.cc(mailbox(cc)?);
        }
        if let Some(reply_to) = &mail.reply_to {
            builder = builder.reply_to(mailbox(reply_to)?);
        }
        let message = match &mail.html {
            None => {
                let header = lettre::message::header::ContentType::TEXT_PLAIN;
                builder.header(header).body(mail.text.clone())
            }
            Some(html) => builder
                .multipart(MultiPart::alternative_plain_html(mail.text.clone(), html.clone())),
        };
        message.map_err(|error| format!("the mail cannot be put together: {error}"))
    }
}

/// An error in a few words, without addresses of people.
fn plainly(error: &lettre::transport::smtp::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("no connection to the mail server: {}", source.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post() -> Post {
        let second = Duration::from_secs(1);
        Post::new("smtp://127.0.0.1:1", "Orders <orders@example.com>", "example.com", second)
            .unwrap()
    }

    fn mail() -> Mail {
        Mail {
            to: vec!["Ann <ann@example.org>".into()],
            cc: Vec::new(),
            reply_to: None,
            subject: "Größe".into(),
            text: "Hello".into(),
            html: Some("<p>Hello</p>".into()),
        }
    }

    // lettre's pool wants a runtime around it
    #[tokio::test]
    async fn the_same_key_gives_the_same_message_id() {
        let message = post().message(&mail(), &post().message_id("case_x/do/0/1")).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(text.contains(&post().message_id("case_x/do/0/1")), "{text}");
        assert!(text.contains("multipart/alternative"), "{text}");
        assert_ne!(post().message_id("case_x/do/0/1"), post().message_id("case_x/do/0/2"));
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_said() {
        let by = SendBy(std::time::Instant::now() + Duration::from_secs(5));
        let refused = Mail { to: vec!["nobody".into()], ..mail() };
        assert!(matches!(post().send(&refused, "k", by).await, Posted::Refused { .. }));
        assert!(matches!(post().send(&mail(), "k", by).await, Posted::NotNow(_)));
    }
}
