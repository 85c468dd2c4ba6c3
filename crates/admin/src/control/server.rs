//! The server's side.

use super::{LONGEST, Verbs};
use async_trait::async_trait;
use culver_auth::{Block, Memory};
use culver_net::{BoxFuture, Connection, Serve, Shutdown};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// Answers on the socket.
pub struct Control {
    verbs: Vec<Arc<dyn Verbs>>,
}

impl Control {
    /// Of these families of verbs.
    pub fn new(verbs: Vec<Arc<dyn Verbs>>) -> Self {
        Self { verbs }
    }

    /// The answer to a line.
    async fn answer(&self, line: &[u8]) -> Value {
        let Ok(request) = serde_json::from_slice::<Value>(line) else {
            return json!({ "error": "this is not JSON" });
        };
        let Some(verb) = request["verb"].as_str() else {
            return json!({ "error": "there is no verb" });
        };
        for family in &self.verbs {
            match family.run(verb, &request).await {
                Some(Ok(value)) => return json!({ "ok": value }),
                Some(Err(why)) => return json!({ "error": why }),
                None => {}
            }
        }
        json!({ "error": format!("the running server does not know {verb}: is it as new as this program?") })
    }
}

impl Serve for Control {
    fn service(&self) -> &'static str {
        "control"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut stream = BufReader::new(connection.stream);
            loop {
                let mut line = Vec::new();
                let mut limited = (&mut stream).take(LONGEST as u64);
                let read = tokio::select! {
                    read = limited.read_until(b'\n', &mut line) => read,
                    () = shutdown.wait() => return,
                };
                // What does not end in a line is the end, or too long.
                if read.is_err() || line.last() != Some(&b'\n') {
                    return;
                }
                let answer = format!("{}\n", self.answer(&line).await);
                let sent = async {
                    stream.write_all(answer.as_bytes()).await?;
                    stream.flush().await
                };
                if sent.await.is_err() {
                    return;
                }
            }
        })
    }
}

/// `auth.blocks.list` and `auth.blocks.lift`.
pub struct AuthVerbs(pub Arc<Memory>);

#[async_trait]
impl Verbs for AuthVerbs {
    async fn run(&self, verb: &str, arguments: &Value) -> Option<Result<Value, String>> {
        match verb {
            "auth.blocks.list" => Some(Ok(shown(&self.0.blocked()))),
            "auth.blocks.lift" => Some(self.lift(arguments)),
            _ => None,
        }
    }
}

impl AuthVerbs {
    fn lift(&self, arguments: &Value) -> Result<Value, String> {
        let account = arguments["account"].as_str();
        let network: Option<IpAddr> = match arguments["network"].as_str() {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| format!("{text} is not an address: give one as the list shows it"))?,
            ),
        };
        let network = network.map(culver_auth::network);
        let fits = |of: IpAddr, blocked: Option<&str>| {
            network.is_none_or(|n| n == of) && account.is_none_or(|a| blocked == Some(a))
        };
        Ok(shown(&self.0.lift(fits)))
    }
}

fn shown(blocks: &[Block]) -> Value {
    let one = |b: &Block| {
        json!({
            "network": b.network.to_string(), "account": b.account, "guesses": b.guesses, "seconds": b.left.as_secs(),
        })
    };
    blocks.iter().map(one).collect()
}
