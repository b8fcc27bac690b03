//! The `bleu` command: reads what was typed and calls the file of the same name. A thin layer over the floors below.
//!
//! | file | what |
//! |---|---|
//! | `up`, `region`, `folder`, `settings`, `services` | a region, from its folder to its listeners |
//! | `control` | how the other commands ask a running region |
//! | `witness` | the second process, and the region's side of it |
//! | `env`, `login`, `names`, `status`, `record_command`, `verify`, `tenant` | one command each |
//! | `text`, `help`, `ui` | French and English; what is printed |

pub mod control;
mod credentials;
mod env;
mod folder;
mod help;
mod login;
mod names;
mod record_command;
mod region;
mod services;
mod settings;
mod signal;
mod status;
mod tenant;
mod text;
mod ui;
mod up;
mod verify;
pub mod witness;

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The folder of a region when none is named.
pub const DATA: &str = "bleu-data";

/// An open, sovereign cloud that speaks Azure.
#[derive(Parser)]
#[command(name = "bleu", version, about, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which region.
#[derive(Args)]
struct Data {
    /// The region's folder
    #[arg(long, value_name = "DIR", env = "BLEU_DATA", default_value = DATA)]
    data: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Start the region in a folder (created the first time); prints what to type next
    Up(Up),
    /// Print shell lines that make az, the SDKs, curl and git trust and find the region
    Env {
        #[command(flatten)]
        data: Data,
        /// For which shell
        #[arg(long, value_enum, default_value = "posix")]
        shell: env::Shell,
        /// A further tenant, by its domain
        #[arg(long, value_name = "DOMAIN")]
        tenant: Option<String>,
    },
    /// Register the region as a cloud of the az command and sign in; prints the commands it runs
    Login {
        #[command(flatten)]
        data: Data,
        /// A further tenant, by its domain
        #[arg(long, value_name = "DOMAIN")]
        tenant: Option<String>,
        /// Take the region's keys although others are kept for it
        #[arg(long)]
        replace_trust: bool,
    },
    /// Show what makes the region's host names resolve here; changes nothing
    Names {
        #[command(flatten)]
        data: Data,
        /// Storage accounts to print hosts lines for
        accounts: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show sites, services, the record's head, and what is wrong
    Status {
        #[command(flatten)]
        data: Data,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read the record: head, entries, proofs, bundles, keys
    #[command(subcommand)]
    Record(Record),
    /// Check an exported bundle offline; exit code 0 true, 1 not true, 2 unreadable
    Verify {
        /// The bundle
        bundle: PathBuf,
        /// The keys, obtained by another way than the bundle; those that 'bleu login' kept if not said
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a further customer
    #[command(subcommand)]
    Tenant(Tenant),
    /// Run a witness: it cosigns a log that does nothing but grow
    Witness {
        /// The witness's folder
        #[arg(long, value_name = "DIR", default_value = "bleu-witness")]
        data: PathBuf,
        /// Where it listens
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
        /// The key of a log to watch, as 'bleu record trust' prints it
        #[arg(long, value_name = "KEY")]
        log: Vec<String>,
        /// Print address and key as JSON
        #[arg(long)]
        json: bool,
        /// End when the standard input does
        #[arg(long, hide = true)]
        child: bool,
    },
    /// Print the completions of a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    data: Data,
    /// Where it listens; 127.0.0.1:8443 unless region.toml says otherwise
    #[arg(long, value_name = "ADDR:PORT", env = "BLEU_LISTEN")]
    listen: Option<SocketAddr>,
    /// Written, whole, when every listener answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// The region's domain, at its first start; bleu.localhost if not said
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// The region's name, at its first start; francecentral if not said
    #[arg(long, value_name = "NAME")]
    location: Option<String>,
    /// The region's sites, at its first start
    #[arg(long, value_name = "NAME", num_args = 1..)]
    site: Vec<String>,
    /// Where rows are kept, at the first start: fjall, redb or postgres://USER@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Answer name queries for the region's domain here
    #[arg(long, value_name = "ADDR:PORT")]
    dns: Option<SocketAddr>,
    /// Start no local witness
    #[arg(long)]
    no_witness: bool,
    /// Print where the region answers as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Record {
    /// The newest signed checkpoint
    Head {
        #[command(flatten)]
        data: Data,
    },
    /// Entries as they come
    Follow {
        #[command(flatten)]
        data: Data,
        /// The tenant whose entries are opened; the first one if not said
        #[arg(long, value_name = "DOMAIN|GUID")]
        tenant: Option<String>,
        /// From this index on; the last 20 entries if not said
        #[arg(long)]
        from: Option<u64>,
        /// What is there, and no more
        #[arg(long)]
        once: bool,
        /// A line of JSON each
        #[arg(long)]
        json: bool,
    },
    /// The proof that an entry is in the log, as JSON
    Prove {
        #[command(flatten)]
        data: Data,
        /// Such as 0-42; answers carry it as x-bleu-entry
        entry: String,
    },
    /// A tenant's bundle, for 'bleu verify'
    Export {
        #[command(flatten)]
        data: Data,
        /// The tenant; the first one if not said
        #[arg(long, value_name = "DOMAIN|GUID")]
        tenant: Option<String>,
        /// The operator's own record instead: what no tenant owns, and requests of strangers
        #[arg(long, conflicts_with = "tenant")]
        operator: bool,
        /// Where it is written
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// The public keys of log, region and witnesses, to hand over by another way than the bundles
    Trust {
        #[command(flatten)]
        data: Data,
        /// The tenant; the first one if not said
        #[arg(long, value_name = "DOMAIN|GUID")]
        tenant: Option<String>,
        /// The operator's own record instead: what no tenant owns, and requests of strangers
        #[arg(long, conflicts_with = "tenant")]
        operator: bool,
        /// Where they are written; printed if not said
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Tenant {
    /// A tenant with its administrator and client application
    Add {
        #[command(flatten)]
        data: Data,
        /// Such as Contoso
        name: String,
        /// Its domain; NAME under the region's if not said
        #[arg(long)]
        domain: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let definition = if text::is_french() { help::french(definition()) } else { definition() };
    let cli = Cli::from_arg_matches(&definition.get_matches()).unwrap_or_else(|e| e.exit());
    quiet_logs();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            ui::explain(&error);
            ExitCode::FAILURE
        }
    }
}

fn definition() -> clap::Command {
    Cli::command()
}

/// Warnings and errors, on the standard error; `BLEU_LOG` asks for more.
fn quiet_logs() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::Level::WARN.into())
        .with_env_var("BLEU_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| ui::Beside).with_ansi(std::io::stderr().is_terminal()).init();
}

fn run(command: Command) -> Result<ExitCode> {
    // these two need no runtime: one computes, one prints
    match command {
        Command::Verify { bundle, trust, json } => return Ok(verify::run(&bundle, trust.as_deref(), json)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut definition(), "bleu", &mut script);
            ui::bytes(&script);
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(dispatch(command));
    // a read of the standard input may still wait: nobody needs it
    runtime.shutdown_background();
    done
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(up) => {
            let asked = settings::Asked { domain: up.domain, location: up.location, engine: up.engine, sites: up.site };
            let options = up::Options {
                data: up.data.data,
                listen: up.listen,
                ready_file: up.ready_file,
                asked,
                dns: up.dns,
                witness: !up.no_witness,
                json: up.json,
            };
            up::run(options).await?;
        }
        Command::Env { data, shell, tenant } => env::run(&data.data, shell, tenant.as_deref())?,
        Command::Login { data, tenant, replace_trust } => login::run(&data.data, tenant.as_deref(), replace_trust).await?,
        Command::Names { data, accounts, json } => names::run(&data.data, &accounts, json)?,
        Command::Status { data, json } => return status::run(&data.data, json).await,
        Command::Record(Record::Head { data }) => record_command::head(&data.data).await?,
        Command::Record(Record::Follow { data, tenant, from, once, json }) => {
            record_command::follow(&data.data, tenant.as_deref(), from, once, json).await?
        }
        Command::Record(Record::Prove { data, entry }) => record_command::prove(&data.data, &entry).await?,
        Command::Record(Record::Export { data, tenant, operator, out }) => {
            record_command::export(&data.data, tenant.as_deref(), operator, out).await?
        }
        Command::Record(Record::Trust { data, tenant, operator, out }) => {
            record_command::trust(&data.data, tenant.as_deref(), operator, out.as_deref()).await?
        }
        Command::Tenant(Tenant::Add { data, name, domain, json }) => tenant::add(&data.data, &name, domain.as_deref(), json).await?,
        Command::Witness { data, listen, log, json, child } => witness::run(&data, listen, &log, json, child).await?,
        Command::Verify { .. } | Command::Completions { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}
