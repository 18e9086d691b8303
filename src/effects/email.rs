//! Mail, over SMTP. The Message-ID derives from the effect's key, so that a mail that is sent again
//! after a crash is recognisable as the same.

use std::time::Duration;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::SendBy;
use super::names::Names;
use crate::domain::ids::Bits;
use crate::domain::mail::Mail;

/// Sends mail.
#[derive(Clone)]
pub struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    /// The server's name or address, and who looks it up.
    host: Option<String>,
    names: Names,
    from: Mailbox,
    domain: String,
    /// For the whole exchange with the server.
    timeout: Duration,
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
    /// Not now: no connection, or the server goes away.
    NotNow(String),
    /// The server takes nothing of it for the time being; with its code.
    PutOff {
        status: u16,
        detail: String,
    },
    /// The time was up; it may have been taken.
    NoAnswer(String),
    TooLate,
}

impl Post {
    /// A sender through a server, as lettre's `from_url` reads it: `smtp://host:1025`.
    ///
    /// # Errors
    /// What is wrong with the address or the sender.
    pub fn new(
        url: &str,
        from: &str,
        domain: &str,
        timeout: Duration,
        names: Names,
    ) -> Result<Self, String> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        let builder =
            builder.map_err(|e| format!("`{url}` is no address of a mail server: {e}"))?;
        let from = from.parse().map_err(|e| format!("`{from}` is no sender: {e}"))?;
        let transport = builder.timeout(Some(timeout)).build();
        let address = url::Url::parse(url).map_err(|e| format!("`{url}` is no address: {e}"))?;
        let host = address.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        Ok(Self { transport, host, names, from, domain: domain.to_owned(), timeout })
    }

    /// The address that mails come from.
    pub fn sender(&self) -> String {
        self.from.email.to_string()
    }

    /// What Message-IDs end with.
    pub fn domain(&self) -> &str {
        &self.domain
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
        if let Err(detail) = self.find().await {
            return Posted::NotNow(detail);
        }
        if by.is_past() {
            return Posted::TooLate;
        }
        // the transport's own bound is on connecting alone. Each mail has a connection of its own: one that is
        // left halfway answers the next mail with what was meant for this one
        let sent = tokio::time::timeout(self.timeout, self.transport.send(message)).await;
        let Ok(sent) = sent else { return Posted::NoAnswer("the time was up".to_owned()) };
        match sent {
            Ok(_) => Posted::Accepted { message_id },
            // whoever sends is not let in: that says nothing of the mail
            Err(error)
                if error.status().map(u16::from).is_some_and(|s| NOT_LET_IN.contains(&s)) =>
            {
                Posted::NotNow("the mail server does not let us in".to_owned())
            }
            Err(error) if error.is_permanent() => {
                let status = error.status().map(u16::from);
                Posted::Refused { status, detail: "the mail server refused it".to_owned() }
            }
            Err(error) if error.is_timeout() => Posted::NoAnswer("the time was up".to_owned()),
            Err(error) if error.is_transient() => {
                let detail = "the mail server asks to come back".to_owned();
                match error.status().map(u16::from) {
                    // it goes away, or cannot even talk
                    None | Some(421 | 454) => Posted::NotNow(detail),
                    Some(status) => Posted::PutOff { status, detail },
                }
            }
            Err(error) if error.is_client() => {
                Posted::Refused { status: None, detail: "the mail cannot be sent so".to_owned() }
            }
            Err(error) if is_of_connecting(&error) => Posted::NotNow(plainly(&error)),
            // it may have been taken, and only the answer be lost
            Err(error) => Posted::NoAnswer(plainly(&error)),
        }
    }

    /// Looks the server's name up before the transport does, which would wait for a silent name
    /// server on a thread that the store's reads need.
    async fn find(&self) -> Result<(), String> {
        let Some(host) = &self.host else { return Ok(()) };
        let found = tokio::time::timeout(self.timeout, self.names.is_answered(host)).await;
        match found {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("no connection to the mail server: {error}")),
            Err(_) => Err("no connection to the mail server: no name server answers".to_owned()),
        }
    }

    fn message(&self, mail: &Mail, message_id: &str) -> Result<Message, String> {
        let mailbox = |address: &String| {
            address.parse::<Mailbox>().map_err(|_| "an address of the mail is none".to_owned())
        };
        let mut builder = Message::builder()
            .from(self.from.clone())
            .message_id(Some(message_id.to_owned()))
            .header(AutoSubmitted)
            // what looks encoded would be decoded by whoever reads it
            .subject(mail.subject.replace("=?", "= ?"));
        if let Some(thread) = &mail.thread {
            let reference = format!("<{thread}@{}>", self.domain);
            builder = builder.references(reference.clone()).in_reply_to(reference);
        }
        for to in &mail.to {
            builder = builder.to(mailbox(to)?);
        }
        for cc in &mail.cc {
            builder = builder.cc(mailbox(cc)?);
        }
        if let Some(reply_to) = &mail.reply_to {
            builder = builder.reply_to(mailbox(reply_to)?);
        }
        let alternatives =
            |html: &String| MultiPart::alternative_plain_html(mail.text.clone(), html.clone());
        let message = match &mail.html {
            None if mail.attachments.is_empty() => {
                builder.header(ContentType::TEXT_PLAIN).body(mail.text.clone())
            }
            Some(html) if mail.attachments.is_empty() => builder.multipart(alternatives(html)),
            html => {
                let mut parts = match html {
                    Some(html) => MultiPart::mixed().multipart(alternatives(html)),
                    None => MultiPart::mixed().singlepart(SinglePart::plain(mail.text.clone())),
                };
                for file in &mail.attachments {
                    let kind = ContentType::parse(&file.media_type);
                    let kind = kind.map_err(|_| "an attachment's media type is none".to_owned())?;
                    let attached = Attachment::new(file.name.clone());
                    parts = parts.singlepart(attached.body(file.content.clone(), kind));
                }
                builder.multipart(parts)
            }
        };
        message.map_err(|error| format!("the mail cannot be put together: {error}"))
    }
}

/// Codes of a mail server that wants another user or password (RFC 4954).
const NOT_LET_IN: [u16; 4] = [530, 534, 535, 538];

/// No person has written the mail, so no machine has to answer it (RFC 3834).
#[derive(Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Whether no connection came about. lettre says so in words alone.
fn is_of_connecting(error: &lettre::transport::smtp::Error) -> bool {
    error.to_string().starts_with("Connection error")
}

/// An error in a few words, without addresses of people.
fn plainly(error: &lettre::transport::smtp::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let what = match is_of_connecting(error) {
        true => "no connection to the mail server",
        false => "the mail server broke off",
    };
    format!("{what}: {}", source.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post() -> Post {
        let second = Duration::from_secs(1);
        let names = Names::of_the_system();
        Post::new("smtp://127.0.0.1:1", "Orders <orders@example.com>", "example.com", second, names)
            .unwrap()
    }

    #[tokio::test]
    async fn a_subject_that_looks_encoded_is_not() {
        let subject = "New: =?utf-8?Q?Your_salary=0D=0ABcc=3A_v=40x?=".to_owned();
        let message = post().message(&Mail { subject, ..mail() }, "<1@x>").unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(!text.contains("=?utf-8?Q?Your"), "{text}");
    }

    fn mail() -> Mail {
        Mail {
            to: vec!["Ann <ann@example.org>".into()],
            cc: Vec::new(),
            reply_to: None,
            subject: "Größe".into(),
            text: "Hello".into(),
            html: Some("<p>Hello</p>".into()),
            thread: Some("case_x".into()),
            documents: Vec::new(),
            attachments: vec![crate::domain::mail::Attachment {
                name: "a.ics".into(),
                media_type: "text/calendar; charset=utf-8; method=PUBLISH".into(),
                content: b"BEGIN:VCALENDAR\r\n".to_vec(),
            }],
        }
    }

    // lettre's pool wants a runtime around it
    #[tokio::test]
    async fn the_same_key_gives_the_same_message_id() {
        let message = post().message(&mail(), &post().message_id("case_x/do/0/1")).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(text.contains(&post().message_id("case_x/do/0/1")), "{text}");
        assert!(text.contains("multipart/alternative"), "{text}");
        assert!(text.contains("\r\nReferences: <case_x@example.com>\r\n"), "{text}");
        assert!(text.contains("\r\nAuto-Submitted: auto-generated\r\n"), "{text}");
        assert!(text.contains("\r\nBEGIN:VCALENDAR\r\n"), "{text}");
        assert_ne!(post().message_id("case_x/do/0/1"), post().message_id("case_x/do/0/2"));
    }

    /// A server that greets, and then does this with each line that it is told.
    async fn server(answer: fn(&str) -> Option<&'static str>) -> Post {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            write.write_all(b"220 here\r\n").await.unwrap();
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match answer(&line) {
                    Some("silent") => std::future::pending().await,
                    Some(answer) => write.write_all(answer.as_bytes()).await.unwrap(),
                    None => return,
                }
            }
        });
        let url = format!("smtp://127.0.0.1:{port}");
        let (names, most) = (Names::of_the_system(), Duration::from_millis(300));
        Post::new(&url, "orders@example.com", "example.com", most, names).unwrap()
    }

    fn until_data(line: &str) -> Option<&'static str> {
        match line.split(' ').next().unwrap_or_default() {
            "EHLO" | "MAIL" | "RCPT" => Some("250 fine\r\n"),
            "DATA" => Some("354 go on\r\n"),
            "." => None,
            _ => Some(""),
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_more_leaves_it_open() {
        let by = SendBy(std::time::Instant::now() + Duration::from_secs(5));
        // the whole mail was there when it hung up
        let post = server(until_data).await;
        let posted = post.send(&mail(), "k", by).await;
        assert!(matches!(posted, Posted::NoAnswer(_)), "{posted:?}");
        let post = server(|_| Some("silent")).await;
        let posted = post.send(&mail(), "k", by).await;
        assert!(matches!(posted, Posted::NoAnswer(_)), "{posted:?}");
    }

    /// A server that takes the first mail too late, and nothing of the second one.
    #[tokio::test]
    async fn what_was_meant_for_one_mail_answers_no_other() {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mails = mails.clone();
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    write.write_all(b"220 here\r\n").await.unwrap();
                    let mut lines = BufReader::new(read).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        let first = mails.load(std::sync::atomic::Ordering::SeqCst) == 0;
                        let answer = match line.split(' ').next().unwrap_or_default() {
                            "EHLO" | "MAIL" | "RCPT" => "250 fine\r\n",
                            "DATA" if first => "354 go on\r\n",
                            "DATA" => "451 not now\r\n",
                            "QUIT" => "221 bye\r\n",
                            "." => {
                                mails.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                                tokio::time::sleep(Duration::from_millis(600)).await;
                                "250 taken\r\n"
                            }
                            _ => continue,
                        };
                        if write.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let url = format!("smtp://127.0.0.1:{port}");
        let (names, most) = (Names::of_the_system(), Duration::from_millis(300));
        let post = Post::new(&url, "orders@example.com", "example.com", most, names).unwrap();
        let by = || SendBy(std::time::Instant::now() + Duration::from_secs(5));
        let late = post.send(&mail(), "1", by()).await;
        assert!(matches!(late, Posted::NoAnswer(_)), "{late:?}");
        for key in ["2", "3"] {
            let refused = post.send(&mail(), key, by()).await;
            assert!(matches!(refused, Posted::PutOff { status: 451, .. }), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_said() {
        let by = SendBy(std::time::Instant::now() + Duration::from_secs(5));
        let refused = Mail { to: vec!["nobody".into()], ..mail() };
        assert!(matches!(post().send(&refused, "k", by).await, Posted::Refused { .. }));
        assert!(matches!(post().send(&mail(), "k", by).await, Posted::NotNow(_)));
    }
}
