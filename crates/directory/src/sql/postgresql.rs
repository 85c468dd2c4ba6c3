//! Queries on PostgreSQL.

use super::{Database, Query, Row, Server};
use crate::pool::{Lent, Pool};
use crate::postgresql::{AsText, Connector, Failed, late};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::collections::HashMap;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

pub struct PostgreSql {
    connector: Connector,
    pool: Pool<Connection>,
}

struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl PostgreSql {
    pub fn new(server: Server) -> Result<Self, String> {
        Ok(Self { pool: Pool::new(server.connections), connector: Connector::new(server)? })
    }

    async fn connection(&self) -> Result<Lent<Connection>, String> {
        let alive = |connection: &mut Connection| !connection.client.is_closed();
        let limit = self.connector.server.query_timeout;
        self.pool.get(limit, alive, async || self.connect().await).await
    }

    async fn connect(&self) -> Result<Connection, String> {
        Ok(Connection { client: self.connector.connect().await?, statements: HashMap::new() })
    }
}

#[async_trait]
impl Database for PostgreSql {
    async fn rows(&self, query: &Query, values: Vec<String>, most: usize) -> Result<Vec<Row>, String> {
        let mut again = true;
        loop {
            let mut lent = self.connection().await?;
            let asked = ask(&mut lent, query, &values, most);
            let answer = tokio::time::timeout(self.connector.server.query_timeout, asked).await;
            match answer {
                Ok(Ok(rows)) => {
                    self.pool.give_back(lent);
                    return Ok(rows);
                }
                // The connection is sound, the query is not.
                Ok(Err(Failed::Query(why))) => {
                    self.pool.give_back(lent);
                    return Err(why);
                }
                Ok(Err(Failed::Connection(why))) => {
                    // The server was restarted: all that are idle are broken.
                    self.pool.clear();
                    if !lent.used || !again {
                        return Err(format!("PostgreSQL hung up: {why}"));
                    }
                    again = false;
                }
                Err(_) => return Err(late(self.connector.server.query_timeout)),
            }
        }
    }
}

async fn ask(
    connection: &mut Connection,
    query: &Query,
    values: &[String],
    most: usize,
) -> Result<Vec<Row>, Failed> {
    let statement = match connection.statements.get(&query.text) {
        Some(statement) => statement.clone(),
        None => {
            let statement = connection.client.prepare(&query.text).await?;
            connection.statements.insert(query.text.clone(), statement.clone());
            statement
        }
    };
    let values: Vec<AsText<'_>> = values.iter().map(|value| AsText(value)).collect();
    let parameters = values.iter().map(|value| value as &(dyn ToSql + Sync));
    let stream = connection.client.query_raw(&statement, parameters).await?;
    let mut stream = std::pin::pin!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await {
        let row = row?;
        let mut columns = Row::new();
        for (index, column) in row.columns().iter().enumerate() {
            let value = text(&row, index, column.type_()).map_err(|why| {
                Failed::Query(format!("column {}: {why}: write {}::text", column.name(), column.name()))
            })?;
            columns.extend(value.map(|value| (column.name().to_owned(), value)));
        }
        rows.push(columns);
        if rows.len() >= most {
            break;
        }
    }
    Ok(rows)
}

fn text(row: &tokio_postgres::Row, index: usize, kind: &Type) -> Result<Option<String>, String> {
    fn of<'a, T: tokio_postgres::types::FromSql<'a> + ToString>(
        row: &'a tokio_postgres::Row,
        index: usize,
    ) -> Result<Option<String>, String> {
        let value: Option<T> = row.try_get(index).map_err(|why| why.to_string())?;
        Ok(value.map(|value| value.to_string()))
    }
    match *kind {
        Type::BOOL => {
            let value: Option<bool> = row.try_get(index).map_err(|why| why.to_string())?;
            Ok(value.map(|value| if value { "yes".to_owned() } else { "no".to_owned() }))
        }
        Type::INT2 => of::<i16>(row, index),
        Type::INT4 => of::<i32>(row, index),
        Type::INT8 => of::<i64>(row, index),
        Type::OID => of::<u32>(row, index),
        _ if <String as tokio_postgres::types::FromSql<'_>>::accepts(kind) => of::<String>(row, index),
        _ => Err(format!("values of type {kind} cannot be read")),
    }
}
