//! `keepwatch standby`: the standbys that watch this recorder, asked over its Unix socket.

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use keepwatch_web::{SOCKET_NAME, SocketClient};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::NodeOptions;
use crate::{Outcome, client, output};

/// What to do with the standbys that watch this recorder.
#[derive(Debug, Subcommand)]
pub(crate) enum StandbyCommand {
    /// List them
    List(StandbyOptions),
    /// Make a token with which one standby registers, once and within an hour, without an administrator's password
    Token(StandbyOptions),
    /// Remove one that does not do it itself
    Remove(StandbyRemoveOptions),
}

/// Options of `standby list` and `standby token`.
#[derive(Debug, Args)]
pub(crate) struct StandbyOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `standby remove`.
#[derive(Debug, Args)]
pub(crate) struct StandbyRemoveOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Name or key of the standby
    pub(crate) standby: String,
}

/// A standby as the API shows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Standby {
    key: String,
    name: String,
    address: String,
    since: String,
    heard: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Standbys {
    items: Vec<Standby>,
}

#[derive(Debug, Deserialize)]
struct Token {
    token: String,
    expires: String,
}

/// Does what was asked for.
pub(crate) async fn run(command: StandbyCommand) -> anyhow::Result<Outcome> {
    match command {
        StandbyCommand::List(options) => list(options).await?,
        StandbyCommand::Token(options) => token(options).await?,
        StandbyCommand::Remove(options) => remove(options).await?,
    }
    Ok(Outcome::Done)
}

fn socket(node: &NodeOptions) -> anyhow::Result<SocketClient> {
    Ok(SocketClient::new(client::data_of(node)?.join(SOCKET_NAME)))
}

async fn list(options: StandbyOptions) -> anyhow::Result<()> {
    let Standbys { items } = socket(&options.node)?.get("/api/v1/standbys").await?;
    if options.json {
        output::say(serde_json::to_string(&items)?);
    } else if items.is_empty() {
        output::say("no standby watches this recorder");
    } else {
        items.iter().map(show).for_each(output::say);
    }
    Ok(())
}

/// A line for people; names came from other nodes.
fn show(standby: &Standby) -> String {
    let name: String = standby.name.chars().filter(|letter| !letter.is_control()).collect();
    let heard = standby
        .heard
        .as_ref()
        .map_or("not heard since the start".to_owned(), |at| format!("last heard {at}"));
    format!("{name} at {}, since {}, {heard}, key {}", standby.address, standby.since, standby.key)
}

async fn token(options: StandbyOptions) -> anyhow::Result<()> {
    let client = socket(&options.node)?;
    let made: Value = client.post("/api/v1/standbys/tokens", &Value::Null).await?;
    if options.json {
        output::say(made);
        return Ok(());
    }
    let Token { token, expires } = serde_json::from_value(made).context("the node is of another version")?;
    output::say(token);
    output::complain(format_args!(
        "It registers one standby, once, until {expires}, and is not shown again."
    ));
    Ok(())
}

async fn remove(options: StandbyRemoveOptions) -> anyhow::Result<()> {
    let client = socket(&options.node)?;
    let Standbys { items } = client.get("/api/v1/standbys").await?;
    let wanted = &options.standby;
    let meant: Vec<&Standby> =
        items.iter().filter(|standby| standby.key == *wanted || standby.name == *wanted).collect();
    ensure!(
        !meant.is_empty(),
        "no standby {wanted:?} watches this recorder; keepwatch standby list lists them"
    );
    ensure!(meant.len() == 1, "several standbys are called {wanted:?}; name one by its key");
    for standby in meant {
        client.delete::<()>(&format!("/api/v1/standbys/{}", standby.key)).await?;
        output::say(format_args!("{wanted} watches this recorder no more"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_another_node_chose_moves_no_cursor() {
        let standby = Standby {
            key: "00".to_owned(),
            name: "so\u{1b}[2Juth".to_owned(),
            address: "192.0.2.1:8443".to_owned(),
            since: "then".to_owned(),
            heard: None,
        };
        assert_eq!(
            show(&standby),
            "so[2Juth at 192.0.2.1:8443, since then, not heard since the start, key 00"
        );
    }
}
