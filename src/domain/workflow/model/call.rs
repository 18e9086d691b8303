//! What a `call` or `run` task asks for.

use std::sync::Arc;

use super::Template;
use crate::domain::workflow::expr::Expr;

/// The function that a call task calls.
#[derive(Debug)]
pub enum Call {
    Http(HttpCall),
    OpenApi(OpenApiCall),
    /// Sends a mail; the arguments are checked when they are known.
    Email(Template),
    /// Gives back its arguments, or its input where there are none, through the whole effect path.
    Echo(Option<Template>),
    /// Hands a job to a queue, for a worker outside; the arguments are checked when they are known.
    Work(Template),
    /// A document, by the arguments template, data and name.
    Pdf(Template),
    /// A shell, a script or a container, as a job of a worker that allows it: the server never runs one.
    Process(Process),
}

/// `run: shell`, `script` or `container`.
#[derive(Debug)]
pub struct Process {
    pub kind: ProcessKind,
    /// What the worker is told: command, code or image, and what goes with it.
    pub input: Template,
    pub returns: Returns,
}

/// What runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessKind {
    Shell,
    Script,
    Container,
}

impl ProcessKind {
    /// The queue of its jobs.
    pub fn queue(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Script => "script",
            Self::Container => "container",
        }
    }
}

/// What of a process is the task's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Returns {
    #[default]
    Stdout,
    Stderr,
    Code,
    /// Code, stdout and stderr.
    All,
    None,
}

/// `call: http`.
#[derive(Debug)]
pub struct HttpCall {
    pub method: Arc<str>,
    pub endpoint: Endpoint,
    pub headers: Option<Template>,
    pub query: Option<Template>,
    pub body: Option<Template>,
    pub output: OutputFormat,
    /// Redirects are followed, and a status of 300 to 399 is no error.
    pub redirect: bool,
}

/// `call: openapi`.
#[derive(Debug)]
pub struct OpenApiCall {
    pub document: Endpoint,
    pub operation: Arc<str>,
    pub parameters: Option<Template>,
    pub auth: Option<Auth>,
    pub output: OutputFormat,
    pub redirect: bool,
}

/// What a call's output is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OutputFormat {
    /// The body in base64.
    Raw,
    /// The body, deserialized where it is JSON.
    #[default]
    Content,
    /// Request, status, headers and body.
    Response,
}

/// Where a call goes, and how it proves who asks.
#[derive(Debug)]
pub struct Endpoint {
    pub uri: Uri,
    pub auth: Option<Auth>,
}

/// An address, from a template or an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Uri {
    Template(Vec<UriPart>),
    Expr(Expr),
}

/// A part of a URI template: text, or the name of a top-level property of the task's input.
#[derive(Clone, Debug, PartialEq)]
pub enum UriPart {
    Text(String),
    Variable(String),
}

/// How a call authenticates.
#[derive(Debug)]
pub enum Auth {
    Basic {
        username: Template,
        password: Template,
    },
    Bearer {
        token: Template,
    },
    OAuth2(Box<OAuth2>),
    /// All properties come from the secret of this name.
    BasicSecret(Arc<str>),
    BearerSecret(Arc<str>),
    OAuth2Secret {
        name: Arc<str>,
        /// OpenID Connect: the authority itself says where its token endpoint is.
        discovers: bool,
    },
}

/// OAuth2, or OpenID Connect: what a token is asked for with.
#[derive(Debug)]
pub struct OAuth2 {
    pub authority: Uri,
    /// OpenID Connect: the authority itself says where its token endpoint is.
    pub discovers: bool,
    pub grant: Grant,
    /// The client's credentials as a signed JWT.
    pub assertion: Option<Template>,
    /// Path of the token endpoint, relative to the authority, or a whole address.
    pub token_endpoint: String,
    pub client_id: Template,
    pub client_secret: Option<Template>,
    pub authentication: ClientAuthentication,
    pub encoding: TokenEncoding,
    pub scopes: Vec<String>,
    pub audiences: Vec<String>,
    /// Who may have issued the token; none: anybody.
    pub issuers: Vec<String>,
}

/// What a token is given for.
#[derive(Debug)]
pub enum Grant {
    ClientCredentials,
    Password {
        username: Template,
        password: Template,
    },
    /// Another token, of whoever it is asked for, and perhaps of whoever asks.
    Exchange {
        subject: OtherToken,
        actor: Option<OtherToken>,
    },
}

/// A token that is exchanged, and its type.
#[derive(Debug)]
pub struct OtherToken {
    pub token: Template,
    pub kind: Template,
}

/// How the client authenticates at the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuthentication {
    Basic,
    #[default]
    Post,
    /// By a signed JWT that it has.
    Assertion,
    None,
}

/// How the token request is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TokenEncoding {
    #[default]
    Form,
    Json,
}

/// `run: workflow`.
#[derive(Debug)]
pub struct Run {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// None: the latest.
    pub version: Option<Arc<str>>,
    pub input: Option<Template>,
    /// Wait for the child's end and take its output.
    pub awaits: bool,
    /// `return: none`: the child's output is dropped.
    pub discard: bool,
}
