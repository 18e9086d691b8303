//! Mails as their readers get them: in their language and time zone, and with hostile names.

use super::super::samples;
use super::*;

fn sender() -> Sender {
    Sender { email: "desk@example.com".into(), domain: "example.com".into() }
}

fn german() -> Address {
    Address {
        name: "Jürgen \"J.\" Groß".into(),
        zone: "Europe/Berlin".parse().unwrap(),
        language: Some("de-AT".into()),
        ..samples::address()
    }
}

#[test]
fn every_notice_is_written_in_every_language() {
    let templates = Templates::default();
    for kind in Kind::ALL {
        for notice in samples::of(kind) {
            for to in [samples::address(), german()] {
                let written = (CaseId::default(), &notice);
                let mail = templates.write(written, &to, &sender(), Timestamp(0)).unwrap();
                let html = mail.html.unwrap();
                for (title, text) in [(true, &mail.subject), (false, &mail.text), (false, &html)] {
                    assert!(!text.contains("none") && !text.contains("undefined"), "{text}");
                    assert!(!title || !text.contains('\n'), "{text}");
                }
                assert!(mail.text.contains("First training"), "{}", mail.text);
                assert!(!mail.text.contains("\n\n\n"), "{}", mail.text);
                assert!(!html.contains("<b>"), "{html}");
                let lines: Vec<&str> = mail.text.lines().collect();
                assert!(lines.iter().all(|line| !line.starts_with("Bcc:")), "{}", mail.text);
            }
        }
    }
}

#[test]
fn a_customer_reads_where_and_when_in_their_own_words() {
    let notice = &samples::of(Kind::Changed)[0];
    let mail = Templates::default()
        .write((CaseId::default(), notice), &german(), &sender(), Timestamp(0))
        .unwrap();
    assert_eq!(mail.subject, "Ihre Termine haben sich geändert");
    let expected = "- First training
  Donnerstag, 16. November 2023, 23:13 Uhr – Freitag, 17. November 2023, 00:13 Uhr (Europe/Berlin), mit Mia
  (bisher: Mittwoch, 15. November 2023, 23:13 Uhr – Donnerstag, 16. November 2023, 00:13 Uhr (Europe/Berlin), mit Mia)
- First training
  Freitag, 17. November 2023, 23:13 Uhr";
    assert!(mail.text.contains(expected), "{}", mail.text);
    assert!(mail.text.contains("entfällt; wir nennen Ihnen einen neuen Termin"), "{}", mail.text);
    let file = String::from_utf8(mail.attachments[0].content.clone()).unwrap();
    assert_eq!(file.matches("BEGIN:VEVENT").count(), 4);
    assert_eq!(file.matches("STATUS:CANCELLED").count(), 2);
    assert!(file.contains("@example.com\r\nSEQUENCE:2\r\n"), "{file}");
    assert_eq!(mail.to, ["\"Jürgen J. Groß\" <ada@example.com>"]);
}

#[test]
fn a_name_of_ten_kilobytes_stays_a_name() {
    let mut notice = samples::of(Kind::Planned).remove(1);
    notice.customer = Some("x\r\nBcc: y\r\n".repeat(1000).into());
    notice.lines[0].title = "\u{202e}<b>&\"".repeat(3000).into();
    let to = Address { name: "=?utf-8?q?a?=\u{0}\"\\ä".repeat(800), ..samples::address() };
    let mail = Templates::default()
        .write((CaseId::default(), &notice), &to, &sender(), Timestamp(0))
        .unwrap();
    assert!(mail.subject.len() < 2000 && !mail.subject.contains(['\r', '\n']), "{}", mail.subject);
    assert!(mail.text.len() < 5000 && !mail.text.contains("\nBcc"), "{}", mail.text);
    assert!(mail.to[0].len() < 2000 && mail.to[0].ends_with("<ada@example.com>"), "{:?}", mail.to);
    let html = mail.html.unwrap();
    assert!(!html.contains("<b>") && html.contains("&lt;b&gt;"), "{html}");
    let file = String::from_utf8(mail.attachments[0].content.clone()).unwrap();
    assert!(file.lines().all(|line| line.len() <= 75), "{file}");
    assert_eq!(file.matches("\r\nEND:VEVENT\r\n").count(), 1);
}

#[test]
fn a_template_that_fails_is_named_with_its_line() {
    let read = |file: &Path| match file.to_str()? {
        "mails/en/planned.txt" => Some(Ok("Subject: a\n{{ nobody.knows }}".to_owned())),
        "mails/en/changed.txt" => Some(Ok("no subject\n".to_owned())),
        "mails/de/changed.html" => Some(Ok("{% for %}".to_owned())),
        "mails/de/planned.html" => Some(Ok("<p>{{ tasks[0].title }}</p>".to_owned())),
        _ => None,
    };
    let faults = Templates::with(Path::new("mails"), read).unwrap_err();
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].starts_with("mails/en/planned.txt: ") && said[0].contains("line 2"),
        "{said:?}"
    );
    assert!(said[1].contains("Subject"), "{said:?}");
    assert!(said[2].starts_with("mails/de/changed.html: "), "{said:?}");
}
