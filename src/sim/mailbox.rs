//! A mailbox: an SMTP server that keeps what it gets, each Message-ID as often as it came.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mail_parser::{MessageParser, MimeHeaders};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Party;
use super::faults::{Fate, Switch};
use super::party::seed;

/// Mails kept.
const KEPT: usize = 50_000;

/// A mail.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mail {
    pub message_id: String,
    pub to: Vec<String>,
    pub subject: String,
    pub references: String,
    pub auto_submitted: String,
    pub text: String,
    pub html: String,
    /// The calendar file that came with it.
    pub calendar: String,
    /// The other files that came with it, by name, and their bytes.
    pub files: Vec<(String, Vec<u8>)>,
}

/// The mailbox.
#[derive(Default)]
pub struct Mailbox {
    mails: Mutex<Vec<Mail>>,
}

impl Mailbox {
    /// Opens its door.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn open(self: &Arc<Self>, port: u16) -> io::Result<Party> {
        let switch = Arc::new(Switch::new(seed("mail")));
        let (mailbox, fates) = (self.clone(), switch.clone());
        let serve = move |stream: TcpStream| {
            let (mailbox, fates) = (mailbox.clone(), fates.clone());
            let session = async move {
                // an error means that the client went away
                let _ = session(&mailbox, &fates, stream).await;
            };
            Box::pin(session) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        Party::start("mail", port, switch, Arc::new(serve)).await
    }

    /// All mails, in the order in which they came.
    pub fn mails(&self) -> Vec<Mail> {
        self.lock().clone()
    }

    /// How often each Message-ID came.
    pub fn by_message_id(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for mail in self.lock().iter() {
            *counts.entry(mail.message_id.clone()).or_insert(0) += 1;
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mail>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, mail: Mail) {
        let mut mails = self.lock();
        if mails.len() == KEPT {
            mails.remove(0);
        }
        mails.push(mail);
    }
}

async fn session(mailbox: &Mailbox, fates: &Switch, stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mailbox\r\n").await?;
    let mut to = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end();
        let verb = command.get(..4).unwrap_or(command).to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" | "HELO" => b"250 mailbox\r\n",
            "MAIL" | "RSET" => {
                to.clear();
                b"250 OK\r\n"
            }
            "RCPT" => {
                let address = command.split(['<', '>']).nth(1).unwrap_or_default();
                to.push(address.to_owned());
                b"250 OK\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let data = read_data(&mut stream).await?;
                tokio::time::sleep(fates.latency()).await;
                match fates.fate() {
                    Fate::Error(_) => b"451 not now\r\n",
                    fate => {
                        mailbox.keep(mail_of(&data, std::mem::take(&mut to)));
                        if fate == Fate::Silent {
                            std::future::pending::<()>().await;
                        }
                        b"250 OK\r\n"
                    }
                }
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            "NOOP" => b"250 OK\r\n",
            _ => b"502 not known here\r\n",
        };
        stream.write_all(answer).await?;
    }
}

async fn read_data(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut data = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&line);
        if text.trim_end() == "." {
            return Ok(data);
        }
        data.push_str(text.strip_prefix('.').unwrap_or(&text));
    }
}

fn mail_of(data: &str, to: Vec<String>) -> Mail {
    let Some(message) = MessageParser::default().parse(data.as_bytes()) else {
        return Mail { to, text: data.to_owned(), ..Mail::default() };
    };
    let header = |name: &str| {
        let value = message.header_raw(name).map(|value| value.trim().to_owned());
        value.unwrap_or_default()
    };
    let text = |body: Option<std::borrow::Cow<'_, str>>| body.unwrap_or_default().into_owned();
    let calendar = message
        .attachments()
        .find(|part| part.content_type().is_some_and(|kind| kind.subtype() == Some("calendar")));
    let files = message.attachments().filter_map(|part| {
        let name = part.attachment_name()?;
        Some((name.to_owned(), part.contents().to_vec()))
    });
    let files = files.collect();
    Mail {
        files,
        message_id: header("Message-ID"),
        to,
        subject: message.subject().unwrap_or_default().to_owned(),
        references: header("References"),
        auto_submitted: header("Auto-Submitted"),
        text: text(message.body_text(0)),
        html: text(message.body_html(0)),
        calendar: calendar.and_then(|part| part.text_contents()).unwrap_or_default().to_owned(),
    }
}
