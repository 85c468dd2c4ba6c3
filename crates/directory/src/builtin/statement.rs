//! Statements that SQLite and PostgreSQL both understand, and what they give.
//!
//! Parameters are written `?1`, `?2`. What the two spell differently stays out of the verbs: `ON CONFLICT` and not `OR
//! REPLACE`, times as parameters, `upper()` before `LIKE`.

use super::Problem;
use super::postgresql::Session;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A value of a column or a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// NULL.
    Null,
    /// A whole number; truth is 1 or 0.
    Number(i64),
    /// A text.
    Text(String),
}

/// A row of an answer.
pub struct Row(pub Vec<Value>);

/// Why a statement was not done.
#[derive(Debug)]
pub enum Error {
    /// The database refused it, or a column was not what it should be.
    Said(String),
    /// The connection broke; nobody knows how far the server came.
    Broken(String),
    /// No answer came in time.
    Late(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(why) | Self::Broken(why) | Self::Late(why) => f.write_str(why),
        }
    }
}

/// Why a verb was not done.
pub enum Failed {
    /// For a reason of its own.
    Refused(Problem),
    /// For the database's.
    Database(Error),
}

impl From<Error> for Failed {
    fn from(why: Error) -> Self {
        Self::Database(why)
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(why: rusqlite::Error) -> Self {
        Self::Said(why.to_string())
    }
}

/// A connection that takes statements, in a transaction or not.
pub enum Db<'a> {
    /// The file.
    Sqlite(&'a rusqlite::Connection),
    /// The server.
    PostgreSql(&'a Session),
}

impl Db<'_> {
    /// Rows that a statement changed.
    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, Error> {
        match self {
            Self::Sqlite(connection) => {
                let done =
                    connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values.iter()))?;
                Ok(done as u64)
            }
            Self::PostgreSql(session) => session.execute(sql, values),
        }
    }

    /// Rows that it gives.
    pub fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let columns = statement.column_count();
                let mut answer = statement.query(rusqlite::params_from_iter(values.iter()))?;
                let mut rows = Vec::new();
                while let Some(row) = answer.next()? {
                    let values = (0..columns).map(|column| Ok(row.get_ref(column)?.into()));
                    rows.push(Row(values.collect::<Result<_, rusqlite::Error>>()?));
                }
                Ok(rows)
            }
            Self::PostgreSql(session) => session.rows(sql, values),
        }
    }

    /// The first of them.
    pub fn row(&self, sql: &str, values: &[Value]) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// What one column of the first row says, if there is a row.
    pub fn value<T: FromValue>(&self, sql: &str, values: &[Value]) -> Result<Option<T>, Error> {
        self.row(sql, values)?.map(|row| row.get(0)).transpose()
    }
}

impl Row {
    /// A column.
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T, Error> {
        let value = self.0.get(column).unwrap_or(&Value::Null);
        T::from_value(value)
            .ok_or_else(|| Error::Said(format!("column {column} has {value:?}, which cannot be there")))
    }
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// `None` when it cannot.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(|n| n != 0)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! numbers {
    ($($kind:ty)*) => {$(
        impl FromValue for $kind {
            fn from_value(value: &Value) -> Option<Self> {
                if let Value::Number(number) = value { (*number).try_into().ok() } else { None }
            }
        }

        impl From<$kind> for Value {
            /// What is more than the database can count is the most that it can.
            fn from(number: $kind) -> Self {
                Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
    )*};
}

numbers!(u8 u32 u64 i64);

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Number(truth.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Clone> From<&Option<T>> for Value
where
    Option<T>: Into<Self>,
{
    fn from(value: &Option<T>) -> Self {
        value.clone().into()
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Number(number),
            // No column of ours has one.
            ValueRef::Real(number) => Self::Text(number.to_string()),
            ValueRef::Text(octets) | ValueRef::Blob(octets) => {
                Self::Text(String::from_utf8_lossy(octets).into_owned())
            }
        }
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The parameters of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::builtin::statement::Value::from($value)),*]
    };
}

pub(super) use values;
