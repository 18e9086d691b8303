//! `caseworker demo`: a server, the simulated parties, and work that moves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::serve::told_to_stop;
use super::{Exit, block_on};
use crate::app::{App, Options};
use crate::clock::Clock;
use crate::config::services::Services;
use crate::config::staff::Roster;
use crate::config::values::Text;
use crate::config::{Config, Flags};
use crate::sim::applications::Applications;
use crate::sim::bobs_post::BobsPost;
use crate::sim::cards::Cards;
use crate::sim::cloud::Cloud;
use crate::sim::mailbox::Mailbox;
use crate::sim::ninox::Ninox;
use crate::sim::{FaultsChange, Party, board, crm, verifier};
use crate::telemetry;

/// Ports of the parties: the board, then those of config/services.toml, then the mailbox.
const BOARD: u16 = 7710;
const MAILBOX: u16 = 7725;

/// How long a parcel takes.
const SHIPPING: Duration = Duration::from_secs(4);

/// Between two pieces of sample work.
const PACE: Duration = Duration::from_secs(3);

const SERVICES: &str = include_str!("../../config/services.toml");

const STAFF: &str = include_str!("../../config/staff.toml");

const DEFINITIONS: [&str; 9] = [
    include_str!("../../config/workflows/invoice.yaml"),
    include_str!("../../config/workflows/invoice-daily.yaml"),
    include_str!("../../config/workflows/invoice-mail.yaml"),
    include_str!("../../config/workflows/invoice-page.yaml"),
    include_str!("../../config/workflows/invoice-weekly.yaml"),
    include_str!("../../config/workflows/job-application.yaml"),
    include_str!("../../config/workflows/onboarding.yaml"),
    include_str!("../../config/workflows/order.yaml"),
    include_str!("../../config/workflows/signup.yaml"),
];

/// Serve with simulated parties and sample work.
#[derive(Args)]
pub struct Demo {
    /// The folder with everything that lasts
    #[arg(long, env = "CASEWORKER_DATA", default_value = "data")]
    data: PathBuf,
    /// Address and port of the API
    #[arg(long, env = "CASEWORKER_LISTEN", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// Nothing is submitted, and Bob's Post stays as it is
    #[arg(long)]
    quiet: bool,
}

impl Demo {
    pub fn run(self) -> Exit {
        block_on(async {
            match self.play().await {
                Ok(()) => Exit::Ok,
                Err(error) => {
                    eprintln!("{error}");
                    Exit::Failed
                }
            }
        })
    }

    async fn play(self) -> Result<(), String> {
        let flags = Flags { data: Some(self.data.clone()), listen: Some(self.listen), nats: None };
        let config = Config::load(None, std::env::vars(), flags);
        let mut config = config.map_err(|error| error.to_string())?;
        config.log.filter = Text("warn".to_owned());
        config.email.url = Some(Text(format!("smtp://127.0.0.1:{MAILBOX}")));
        telemetry::log(&config.log)?;
        let services = Services::parse(SERVICES, "config/services.toml");
        let services = services.map_err(|error| error.to_string())?;
        let roster =
            Roster::parse(STAFF, "config/staff.toml").map_err(|error| error.to_string())?;
        let tell = format!("http://{}/v1/events", self.listen);
        let books = self.data.join("demo-bobs-post.json");
        std::fs::create_dir_all(&self.data).map_err(|error| error.to_string())?;
        let mailbox = Arc::new(Mailbox::default());
        let parties = Arc::new(parties(tell, books, &mailbox).await?);
        let board = board::open(BOARD, parties.clone(), mailbox).await;
        let _open = board.map_err(|error| format!("port {BOARD}: {error}"))?;
        let (workflows, clock) = (None, Clock::engine());
        let mut stop = std::pin::pin!(told_to_stop());
        let app = App::start(Options { config, services, roster, workflows, clock }).await?;
        tokio::select! {
            () = app.ready() => {}
            () = &mut stop => return app.run(std::future::ready(())).await,
        }
        let base = format!("http://{}", app.address());
        let client = reqwest::Client::builder().no_proxy().build().map_err(|e| e.to_string())?;
        register(&client, &base).await?;
        announce(&base, &self.data, &parties);
        tell_what_goes_on(&client, &base).await;
        let work = tokio::spawn(work(client, base, parties.clone(), self.quiet));
        let ended = app.run(stop).await;
        work.abort();
        eprintln!("\nended; the cases go on with the next start");
        ended
    }
}

async fn parties(
    tell: String,
    books: PathBuf,
    mailbox: &Arc<Mailbox>,
) -> Result<Vec<Party>, String> {
    let taken = |port: u16| move |error: std::io::Error| format!("port {port}: {error}");
    let (cards, cloud) = (Arc::new(Cards::default()), Arc::new(Cloud::default()));
    let applications = Arc::new(Applications::default());
    let ninox = Arc::new(Ninox::kept(books.with_file_name("demo-ninox.json")));
    ninox.deliver_samples();
    let faults = |party: Party| {
        let file = books.with_file_name(format!("demo-faults-{}.json", party.name()));
        party.kept_in(file)
    };
    let all = vec![
        // what was placed with it outlasts a restart of the demo, as it does with the real one
        BobsPost::kept(SHIPPING, Some(tell), books.clone())
            .open(7711)
            .await
            .map_err(taken(7711))?,
        crm::open(7712).await.map_err(taken(7712))?,
        verifier::open(7713).await.map_err(taken(7713))?,
        cards.open(7714).await.map_err(taken(7714))?,
        cloud.open(7715).await.map_err(taken(7715))?,
        applications.open(7716).await.map_err(taken(7716))?,
        ninox.open(7717).await.map_err(taken(7717))?,
        mailbox.open(MAILBOX).await.map_err(taken(MAILBOX))?,
    ];
    Ok(all.into_iter().map(faults).collect())
}

async fn register(client: &reqwest::Client, base: &str) -> Result<(), String> {
    for text in DEFINITIONS {
        let request = client.post(format!("{base}/v1/workflows")).body(text);
        let answer = request.header("content-type", "application/yaml").send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(answer.text().await.unwrap_or_default());
        }
    }
    Ok(())
}

/// Cases of an earlier run go on.
async fn tell_what_goes_on(client: &reqwest::Client, base: &str) {
    let path = "/v1/cases?phase=running,waiting,suspended,pending&limit=500";
    let Ok(answer) = client.get(format!("{base}{path}")).send().await else { return };
    let page: Json =
        serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
    let count = page["items"].as_array().map_or(0, Vec::len);
    if count > 0 {
        eprintln!("{count} cases of an earlier run are recovered and go on\n");
    }
}

fn announce(base: &str, data: &std::path::Path, parties: &[Party]) {
    eprintln!("Caseworker is at {base}, its data in {}\n", data.display());
    for party in parties {
        eprintln!("  {:12} {}", party.name(), party.address());
    }
    eprintln!(
        "  {:12} http://127.0.0.1:{BOARD}  (switches the parties' faults, shows mails)",
        "board"
    );
    eprintln!(
        "
Submit an order, follow it, see what moves:

  curl -s {base}/v1/cases -H 'content-type: application/json' -H 'idempotency-key: my-first' \\
    -d '{{\"workflow\":\"orders/order\",\"input\":{{\"customerId\":\"ada\",\"items\":[{{\"sku\":\"A-1\",\"quantity\":1}}]}}}}'
  caseworker case <id> --follow
  caseworker cases
  caseworker services

Cut Bob's Post off, see its cases wait, bring it back:

  curl -s -X PUT 127.0.0.1:{BOARD}/bobs-post -H 'content-type: application/json' -d '{{\"down\":true}}'
  caseworker cases --wait service
  curl -s -X PUT 127.0.0.1:{BOARD}/bobs-post -H 'content-type: application/json' -d '{{\"down\":false}}'

Onboard a customer, see who does what and why, call a CSR in sick, complete the first task:

  curl -s {base}/v1/cases -H 'content-type: application/json' \\
    -d '{{\"workflow\":\"customers/onboarding\",\"subject\":\"ada\",\"input\":{{\"customer\":{{\"name\":\"Ada\",\"email\":\"ada@example.com\",\"timeZone\":\"Europe/Paris\"}},\"tasks\":[{{\"name\":\"Check the identity\",\"skill\":\"identity\",\"minutes\":30}},{{\"name\":\"Explain the contract\",\"skill\":\"contract\",\"minutes\":45}},{{\"name\":\"First training\",\"skill\":\"training\",\"minutes\":60}}]}}}}'
  caseworker plan <id> --explain
  curl -s {base}/v1/csrs/mia/time-off -H 'content-type: application/json' -d '{{\"to\":\"<day>\",\"reason\":\"ill\"}}'
  caseworker assignments
  curl -s '127.0.0.1:{BOARD}/mails?to=ada@example.com'
  curl -s {base}/v1/assignments/<assignment>/complete -H 'content-type: application/json' -d '{{\"outcome\":{{\"verified\":true}}}}'

Make the invoices of what was delivered, and open one:

  caseworker schedules trigger billing.invoice-daily
  caseworker cases --workflow billing/invoice
  caseworker documents get <document> --file invoice.pdf

Ctrl-C ends it.
"
    );
}

/// Sample work, and Bob's Post going down and coming back.
async fn work(client: reqwest::Client, base: String, parties: Arc<Vec<Party>>, quiet: bool) {
    if quiet {
        return std::future::pending().await;
    }
    let begun = Clock::engine().now().0;
    for round in 0u64.. {
        let (workflow, input) = sample(round);
        let body = json!({"workflow": workflow, "input": input});
        let request = client.post(format!("{base}/v1/cases")).body(body.to_string());
        let request = request.header("content-type", "application/json");
        let key = format!("demo-{begun}-{round}");
        if let Ok(answer) = request.header("idempotency-key", key).send().await {
            let text = answer.text().await.unwrap_or_default();
            let case: Json = serde_json::from_str(&text).unwrap_or_default();
            eprintln!("submitted {workflow} {}", case["id"].as_str().unwrap_or(&text));
        }
        let bobs_post = parties.iter().find(|party| party.name() == "bobs-post");
        // once somebody has switched it, it is theirs
        if let Some(bobs_post) = bobs_post.filter(|party| !party.is_touched()) {
            let down = match round % 20 {
                6 => Some(true),
                12 => Some(false),
                _ => None,
            };
            if let Some(down) = down {
                bobs_post.change(&FaultsChange { down: Some(down), ..FaultsChange::default() });
                eprintln!("Bob's Post {}", if down { "goes down" } else { "is back" });
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

fn sample(round: u64) -> (&'static str, Json) {
    let names = ["ada", "grace", "edsger", "barbara", "donald"];
    let name = names[(round % 5) as usize];
    if round % 3 == 2 {
        let input = json!({"name": name, "email": format!("{name}@example.com"),
                           "plan": "pro", "card": {"token": "tok"}});
        return ("customers/signup", input);
    }
    let items = json!([{"sku": format!("A-{round}"), "quantity": 1 + round % 3}]);
    ("orders/order", json!({"customerId": name, "items": items}))
}
