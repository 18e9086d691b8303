//! The beginning of a case: accepted, started, or both in one.

use super::evaluate::Place;
use super::{Halt, Interpreter, Trouble};
use crate::domain::case::command::Rejection;
use crate::domain::case::event::{Event, Start, Submission};
use crate::domain::data::Data;
use crate::domain::workflow::expr::json::{SIZE_MAX, shallow_enough, size_of};
use crate::domain::workflow::model::Priority;
use crate::domain::workflow::schema::Violation;

impl Interpreter<'_> {
    pub(super) fn accept(&mut self, submission: &Submission) -> Result<(), Halt> {
        self.check_submission(submission)?;
        let priority = Some(self.priority_of(submission)?);
        self.emit(Event::Accepted(Box::new(Submission { priority, ..submission.clone() })))
    }

    pub(super) fn start_new(&mut self, submission: &Submission) -> Result<(), Halt> {
        self.check_submission(submission)?;
        let priority = Some(self.priority_of(submission)?);
        match self.start(&submission.input) {
            Ok(start) => {
                let submission = Some(Submission { priority, ..submission.clone() });
                self.emit(Event::Started(Box::new(Start { submission, ..start })))?;
                self.initial_status()
            }
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => {
                let detail = problem.detail.as_deref().unwrap_or("it cannot be transformed");
                let pointer = String::new();
                Err(Rejection::Invalid(vec![Violation { pointer, detail: detail.into() }]).into())
            }
        }
    }

    /// Starts a case that was accepted before there was room for it.
    pub(super) fn start_pending(&mut self) -> Result<(), Halt> {
        if self.state.started_at.is_some() || self.state.phase.ended() {
            return Ok(());
        }
        let input = self.state.input.clone();
        let (start, problem) = match self.start(&input) {
            Ok(start) => (start, None),
            Err(Trouble::Halt(halt)) => return Err(halt),
            Err(Trouble::Problem(problem)) => {
                (Start { submission: None, data: None, deadline: None }, Some(problem))
            }
        };
        self.emit(Event::Started(Box::new(start)))?;
        match problem {
            Some(problem) => self.fail_workflow(problem),
            None => self.initial_status(),
        }
    }

    fn check_submission(&self, submission: &Submission) -> Result<(), Rejection> {
        if self.state.version > 0 {
            return Err(Rejection::Exists(self.state.phase));
        }
        if size_of(&submission.input) > SIZE_MAX {
            let detail = format!("the input is larger than {} KiB", SIZE_MAX / 1024);
            return Err(Rejection::TooLarge(detail));
        }
        if !shallow_enough(&submission.input) {
            let (pointer, detail) = (String::new(), "it is nested too deep".to_owned());
            return Err(Rejection::Invalid(vec![Violation { pointer, detail }]));
        }
        let Some(schema) = &self.definition.input.schema else { return Ok(()) };
        let violations = schema.violations(&submission.input);
        if violations.is_empty() { Ok(()) } else { Err(Rejection::Invalid(violations)) }
    }

    /// What the submission says, else the definition.
    fn priority_of(&mut self, submission: &Submission) -> Result<u8, Halt> {
        let of = match (submission.priority, &self.definition.priority) {
            (Some(priority), _) | (None, &Priority::Fixed(priority)) => return Ok(priority),
            (None, Priority::Of(of)) => of,
        };
        let wrong = |detail: String| {
            let (pointer, detail) = (String::new(), format!("the definition's priority: {detail}"));
            Halt::from(Rejection::Invalid(vec![Violation { pointer, detail }]))
        };
        match self.evaluate(of, &submission.input, &Place::default()) {
            Ok(found) => {
                let priority = found.as_u64().and_then(|found| u8::try_from(found).ok());
                let priority = priority.filter(|priority| *priority <= 9);
                priority.ok_or_else(|| wrong(format!("{found} is no number from 0 to 9")))
            }
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => {
                Err(wrong(problem.detail.as_deref().unwrap_or_default().to_owned()))
            }
        }
    }

    /// What a workflow starts with.
    fn start(&mut self, input: &Data) -> Result<Start, Trouble> {
        let definition = self.definition;
        let place = Place::default();
        let data = match &definition.input.from {
            Some(from) => Some(self.render(from, input, &place)?),
            None => None,
        };
        let deadline = match &definition.timeout {
            Some(timeout) => {
                let input = data.clone().unwrap_or_else(|| input.clone());
                Some(self.span(timeout, &input, &place)?.after(self.now))
            }
            None => None,
        };
        Ok(Start { submission: None, data, deadline })
    }

    /// The business status before the first task.
    fn initial_status(&mut self) -> Result<(), Halt> {
        let Some(status) = &self.definition.status else { return Ok(()) };
        let data = self.state.flow.seq.data.clone();
        match self.render_status(status, &data, &Place::default()) {
            Ok(status) => self.set_status(&status),
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => self.fail_workflow(problem),
        }
    }
}
