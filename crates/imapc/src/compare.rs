//! Values of two servers compared by meaning: what the RFCs leave free is not a difference (order of flags, quoted or literal,
//! case of MIME words, zone of a date, `\Recent`, one language as a string or a list).

use crate::value::Value;
use culver_base::{Cursor, InternalDate};

/// One spelling for what may be spelled in several ways.
pub fn canonical(item: &str, value: &Value) -> Value {
    match item {
        "FLAGS" => {
            let mut flags: Vec<Value> =
                value.list().unwrap_or_default().iter().filter(|v| !v.is("\\Recent")).cloned().collect();
            flags.sort();
            Value::List(flags)
        }
        "INTERNALDATE" => match InternalDate::parse(&mut Cursor::new(value.text().as_bytes())) {
            Ok(date) => Value::Atom(format!("@{}", date.unix)),
            Err(_) => value.clone(),
        },
        "BODY" | "BODYSTRUCTURE" => lower(value),
        _ => value.clone(),
    }
}

/// Strings of a body structure in lower case. A list of one string, as of a language, is that string.
fn lower(value: &Value) -> Value {
    match value {
        Value::Str(s) => Value::Str(s.to_ascii_lowercase()),
        Value::List(l) => match l.as_slice() {
            [Value::Str(one)] => Value::Str(one.to_ascii_lowercase()),
            l => Value::List(l.iter().map(lower).collect()),
        },
        v => v.clone(),
    }
}

/// The first place where two values differ (`/3/0`), with both sides. Depth is bounded by what the parser gave.
pub fn first_difference(a: &Value, b: &Value) -> Option<(String, String, String)> {
    if a == b {
        return None;
    }
    if let (Value::List(x), Value::List(y)) = (a, b)
        && x.len() == y.len()
    {
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            if let Some((path, x, y)) = first_difference(x, y) {
                return Some((format!("/{i}{path}"), x, y));
            }
        }
    }
    if let (Value::Str(x), Value::Str(y)) = (a, b) {
        let at = x.iter().zip(y).position(|(p, q)| p != q).unwrap_or(x.len().min(y.len()));
        if at > 100 {
            let tail = |s: &[u8]| {
                format!("{} octets, ...\"{}\"", s.len(), s[at - 20..s.len().min(at + 60)].escape_ascii())
            };
            return Some((format!("@{at}"), tail(x), tail(y)));
        }
    }
    Some((String::new(), a.to_string(), b.to_string()))
}
