//! The kinds of problems: what each means and what to do.

use axum::http::StatusCode;

/// A kind of problem.
pub struct Kind {
    pub name: &'static str,
    pub status: u16,
    pub title: &'static str,
    /// What it means and what to do, in plain sentences.
    pub page: &'static str,
}

/// All kinds; the first of a status is the one that is meant where nothing else is said.
pub const KINDS: [Kind; 26] = [
    Kind {
        name: "malformed",
        status: 400,
        title: "The request cannot be read",
        page: "The body is no JSON, a parameter is not known, or a header is not as it should be. `detail` and `errors` name the place. Nothing was stored.",
    },
    Kind {
        name: "unauthorized",
        status: 401,
        title: "An API key is needed",
        page: "Send `Authorization: Bearer <key>` with a key that `[[api.keys]]` knows.",
    },
    Kind {
        name: "forbidden",
        status: 403,
        title: "The request is not allowed",
        page: "The Host is not one of `[server] hosts`, or a page of another site tried to change something.",
    },
    Kind {
        name: "not-found",
        status: 404,
        title: "There is no such thing",
        page: "The path, the id or the name is not known here.",
    },
    Kind {
        name: "method-not-allowed",
        status: 405,
        title: "The path does not know this method",
        page: "`/openapi.json` lists the methods of every path.",
    },
    Kind {
        name: "timed-out",
        status: 408,
        title: "The request took too long",
        page: "Its body did not come in time. Nothing was stored; send it again.",
    },
    Kind {
        name: "conflict",
        status: 409,
        title: "The state does not allow it",
        page: "`allowed` names what the state allows instead.",
    },
    Kind {
        name: "quarantined",
        status: 409,
        title: "The case is out of service",
        page: "Its records cannot be used, or its actor crashed too often. `retry` takes it back into service once the cause is mended.",
    },
    Kind {
        name: "predecessor-open",
        status: 409,
        title: "Another task comes before it",
        page: "The tasks of a plan are done strictly in order. `detail` names the one that is still open.",
    },
    Kind {
        name: "not-free",
        status: 409,
        title: "The CSR cannot have it then",
        page: "They have something else at that time, or are not there. Person and time stay as they were; `GET /v1/csrs/{id}/calendar` shows free time.",
    },
    Kind {
        name: "already-done",
        status: 409,
        title: "It has ended already",
        page: "Somebody was quicker, or its case has ended: read the assignment for how it stands. Of a job: another result was recorded under this lease.",
    },
    Kind {
        name: "lease-lost",
        status: 409,
        title: "The lease is over",
        page: "It ran out, or was given back. The job goes to another worker, or has gone already: drop it.",
    },
    Kind {
        name: "job-over",
        status: 409,
        title: "Nobody wants the job any more",
        page: "Its case was cancelled, its branch lost, its time was over, or somebody else has done it. Stop what works on it.",
    },
    Kind {
        name: "case-suspended",
        status: 409,
        title: "The case is suspended",
        page: "Only what was started before can be completed. The rest goes on when the case is resumed.",
    },
    Kind {
        name: "version-exists",
        status: 409,
        title: "The version holds another content",
        page: "A definition never changes under its version. Raise the version.",
    },
    Kind {
        name: "stale",
        status: 412,
        title: "It has changed meanwhile",
        page: "If-Match names a revision that is not the current one. Read it again and decide anew.",
    },
    Kind {
        name: "too-large",
        status: 413,
        title: "It is too large",
        page: "A body has at most `[server] max_body` bytes, an input 256 KiB, a definition 512 KiB.",
    },
    Kind {
        name: "media-type",
        status: 415,
        title: "The media type is not taken",
        page: "Bodies are `application/json`, definitions also `application/yaml`, CloudEvents as their HTTP binding says. No Content-Encoding.",
    },
    Kind {
        name: "invalid",
        status: 422,
        title: "The request is not valid",
        page: "It can be read, but `errors` says which fields are wrong and what would be right. Nothing was stored.",
    },
    Kind {
        name: "key-reused",
        status: 422,
        title: "The Idempotency-Key was used with another body",
        page: "A key stands for one request for ever. Use another key for another request.",
    },
    Kind {
        name: "too-many",
        status: 429,
        title: "Too much at the same time",
        page: "Ask again after the seconds of Retry-After. Nothing was stored.",
    },
    Kind {
        name: "internal",
        status: 500,
        title: "Something broke here",
        page: "The log of the server says what. The request may be repeated with its Idempotency-Key.",
    },
    Kind {
        name: "unavailable",
        status: 503,
        title: "Nothing can be stored or read now",
        page: "`detail` says why, `/readyz` too. Nothing was stored; ask again after Retry-After.",
    },
    Kind {
        name: "document-damaged",
        status: 500,
        title: "A document's file is damaged",
        page: "Its bytes are not those that it was named by: the disk has lost them, or somebody has changed the file. `caseworker doctor` names all of them. Whoever makes it anew stores it under the same id.",
    },
    Kind {
        name: "views-rebuilding",
        status: 503,
        title: "The lists are being made anew",
        page: "Submissions, commands and single cases are served. Lists answer once the views have caught up; `/readyz` says how far they are.",
    },
    Kind {
        name: "outcome-unknown",
        status: 504,
        title: "It is not known yet what became of it",
        page: "It may have been stored, or still be. Repeat it with the same Idempotency-Key, or read the case.",
    },
];

/// The kind of this status and name.
pub fn kind(status: StatusCode, name: Option<&str>) -> &'static Kind {
    let of_status = |kind: &&Kind| kind.status == status.as_u16();
    let named = KINDS.iter().filter(of_status).find(|kind| Some(kind.name) == name);
    let first = || KINDS.iter().find(of_status);
    let internal = || KINDS.iter().find(|kind| kind.status == 500);
    named.or_else(first).or_else(internal).unwrap_or(&KINDS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_kind() {
        assert_eq!(kind(StatusCode::CONFLICT, None).name, "conflict");
        assert_eq!(kind(StatusCode::CONFLICT, Some("quarantined")).name, "quarantined");
        assert_eq!(kind(StatusCode::IM_A_TEAPOT, None).name, "internal");
    }
}
