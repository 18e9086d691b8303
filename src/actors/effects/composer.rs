//! Makes mails of their arguments, away from the threads that serve others: the texts are templates
//! of whoever wrote the workflow, and may take long.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;

use crate::domain::data::Data;
use crate::domain::mail::Mail;
use crate::effects::SendBy;

/// Mails that are made at the same time.
const AT_ONCE: usize = 2;

/// What the texts of one mail may take of a thread's time: half of the time in which it has to leave.
const THREAD_TIME: Duration = Duration::from_secs(1);

/// After which nobody waits for a mail to be made any more.
const GIVEN_UP: Duration = Duration::from_secs(30);

const TOO_LONG: &str = "the mail's texts take too long to make: make them in expressions, and put \
                        them into `data`";

/// Makes mails.
pub struct Composer {
    turns: Arc<Semaphore>,
}

impl Default for Composer {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Composer {
    /// Makes a mail. None: it is too late to send it, so that it is not worth making.
    ///
    /// # Errors
    /// What is wrong with its arguments.
    pub async fn compose(&self, arguments: &Data, by: SendBy) -> Result<Option<Mail>, String> {
        let turn = self.turns.clone().acquire_owned().await;
        if by.is_past() {
            return Ok(None);
        }
        let arguments = arguments.clone();
        let composing = tokio::task::spawn_blocking(move || {
            // whoever gives up waiting does not end it
            let _turn = turn;
            let begun = thread_time();
            let mail = Mail::compose(&arguments);
            // were it told to come again, it would take as long each time
            if thread_time().saturating_sub(begun) > THREAD_TIME {
                return Err(TOO_LONG.to_owned());
            }
            mail.map(Some)
        });
        match tokio::time::timeout(GIVEN_UP, composing).await {
            Ok(Ok(composed)) => composed,
            Ok(Err(_)) => Err("the mail's texts cannot be made".to_owned()),
            Err(_) => Err(TOO_LONG.to_owned()),
        }
    }
}

/// How long this thread has worked.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_mail_is_made_unless_it_is_too_late_for_it() {
        let composer = Composer::default();
        let soon = SendBy(Instant::now() + GIVEN_UP);
        let mail = json!({"to": "a@b.c", "subject": "s", "text": "{{ 1 + 1 }}"});
        let made = composer.compose(&mail.clone().into(), soon).await.unwrap();
        assert_eq!(made.unwrap().text, "2");
        let wrong = json!({"to": "a@b.c", "subject": "s"});
        assert!(composer.compose(&wrong.into(), soon).await.unwrap_err().contains("`text`"));
        let past = SendBy(Instant::now().checked_sub(THREAD_TIME).unwrap());
        assert_eq!(composer.compose(&mail.into(), past).await, Ok(None));
    }
}
