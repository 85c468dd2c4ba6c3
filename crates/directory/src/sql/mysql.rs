//! MySQL and MariaDB.

use super::{Database, Host, Query, Row, Server};
use crate::postgresql::late;
use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Params, PoolConstraints, PoolOpts, SslOpts, Value};
use std::sync::OnceLock;

pub struct MySql {
    server: Server,
    /// One for each host, made at the first question: it needs the run time.
    pools: OnceLock<Vec<mysql_async::Pool>>,
}

impl MySql {
    pub fn new(server: Server) -> Self {
        Self { server, pools: OnceLock::new() }
    }

    fn pools(&self) -> &[mysql_async::Pool] {
        self.pools.get_or_init(|| {
            self.server.hosts.iter().map(|h| mysql_async::Pool::new(self.options(h))).collect()
        })
    }

    fn options(&self, host: &Host) -> Opts {
        let server = &self.server;
        let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let most = (server.connections as usize).max(1);
        let pool = PoolOpts::default().with_constraints(PoolConstraints::new(0, most).unwrap_or_default());
        let options = OptsBuilder::default()
            .user(filled(&server.user))
            .pass(filled(&server.password))
            .db_name(filled(&server.database))
            .prefer_socket(false)
            .pool_opts(pool);
        match host {
            Host::Unix(path) => options.socket(Some(path.to_string_lossy())).into(),
            Host::Tcp(name, port) => {
                let roots = crate::tls::authorities(&server.authorities);
                let tls =
                    SslOpts::default().with_root_certs(vec![roots.into()]).with_disable_built_in_roots(true);
                options.ip_or_hostname(name).tcp_port(*port).ssl_opts(server.tls.then_some(tls)).into()
            }
        }
    }

    /// To the first host that answers.
    async fn connection(&self) -> Result<Conn, String> {
        let mut failed = Vec::new();
        for (pool, host) in self.pools().iter().zip(&self.server.hosts) {
            let shown = match host {
                Host::Tcp(name, port) => format!("{name}:{port}"),
                Host::Unix(path) => path.display().to_string(),
            };
            match tokio::time::timeout(self.server.connect_timeout, pool.get_conn()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(why)) => failed.push(format!("{shown}: {why}")),
                Err(_) => failed.push(format!("{shown}: no connection within connect_timeout")),
            }
        }
        Err(format!(
            "MySQL cannot be reached ({}): is it running, and are hosts, user, password, tls and ca_file right?",
            failed.join("; ")
        ))
    }
}

#[async_trait]
impl Database for MySql {
    async fn rows(&self, query: &Query, values: Vec<String>, most: usize) -> Result<Vec<Row>, String> {
        let mut connection = self.connection().await?;
        let values: Vec<Value> = values.into_iter().map(|value| Value::Bytes(value.into_bytes())).collect();
        let values = if values.is_empty() { Params::Empty } else { Params::Positional(values) };
        let limit = self.server.query_timeout;
        let asked = connection.exec::<mysql_async::Row, _, _>(query.text.as_str(), values);
        let answer = tokio::time::timeout(limit, asked).await;
        let rows = answer.map_err(|_| late(limit))?.map_err(|why| why.to_string())?;
        Ok(rows.into_iter().take(most).map(columns).collect())
    }
}

fn columns(row: mysql_async::Row) -> Row {
    let names: Vec<String> = row.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    let values = row.unwrap_raw().into_iter().map(|value| value.and_then(text));
    names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(octets) => Some(String::from_utf8_lossy(&octets).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        date @ (Value::Date(..) | Value::Time(..)) => Some(date.as_sql(true).trim_matches('\'').to_owned()),
    }
}
