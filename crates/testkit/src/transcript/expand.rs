//! From a template to the bytes that are sent: literals, repetitions, bindings.

use crate::mail;
use anyhow::{Context, Result, bail};
use base64::Engine;
use std::collections::HashMap;

/// What `$x` stands for.
pub type Vars = HashMap<String, String>;

/// A stretch of bytes to send, and whether to wait for the server's go-ahead after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// What to send.
    pub bytes: Vec<u8>,
    /// Then wait for `+`.
    pub wait: bool,
}

/// Expands a line of `C`, without the CRLF at its end.
///
/// # Errors
/// When a name is not bound or a bracket not closed.
pub fn line(template: &str, vars: &Vars) -> Result<Vec<Piece>> {
    let mut out = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("{{") {
            let (inside, after) = after.split_once("}}").context("}} is missing")?;
            rest = after;
            let (binary, inside) = strip(inside, '~');
            let (now, inside) = strip(inside, '+');
            let (binary, inside) = if binary { (true, inside) } else { strip(inside, '~') };
            let content = match inside.strip_prefix('@') {
                Some(file) => mail::fixture(file)?.swap_remove(0).bytes,
                None => raw(inside, vars)?,
            };
            let mark = if binary { "~" } else { "" };
            let plus = if now { "+" } else { "" };
            bytes.extend_from_slice(format!("{mark}{{{}{plus}}}\r\n", content.len()).as_bytes());
            if !now {
                out.push(Piece { bytes: std::mem::take(&mut bytes), wait: true });
            }
            bytes.extend_from_slice(&content);
        } else {
            rest = one(rest, vars, &mut bytes)?;
        }
    }
    out.push(Piece { bytes, wait: false });
    Ok(out)
}

fn strip(text: &str, mark: char) -> (bool, &str) {
    text.strip_prefix(mark).map_or((false, text), |t| (true, t))
}

/// Expands bytes with escapes.
///
/// # Errors
/// As [`line`].
pub fn raw(template: &str, vars: &Vars) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('\\') else {
            rest = one(rest, vars, &mut out)?;
            continue;
        };
        let mut chars = after.chars();
        match chars.next() {
            Some('r') => out.push(b'\r'),
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('0') => out.push(0),
            Some('x') => {
                let hex = after.get(1..3).context("\\x wants two digits")?;
                out.push(u8::from_str_radix(hex, 16)?);
                chars.nth(1);
            }
            Some(c) => out.extend_from_slice(c.to_string().as_bytes()),
            None => bail!("a \\ at the end"),
        }
        rest = chars.as_str();
    }
    Ok(out)
}

/// Takes one character, `$x`, `%{..*N}` or `%b64{..}`; gives what is left.
fn one<'t>(rest: &'t str, vars: &Vars, out: &mut Vec<u8>) -> Result<&'t str> {
    if let Some(after) = rest.strip_prefix("%{") {
        let (inside, after) = after.split_once('}').context("} of %{ is missing")?;
        let (text, times) = inside.rsplit_once('*').context("%{text*N}")?;
        out.extend_from_slice(&raw(text, vars)?.repeat(times.parse()?));
        return Ok(after);
    }
    if let Some(after) = rest.strip_prefix("%b64{") {
        let (inside, after) = after.split_once('}').context("} of %b64{ is missing")?;
        let text = base64::engine::general_purpose::STANDARD.encode(raw(inside, vars)?);
        out.extend_from_slice(text.as_bytes());
        return Ok(after);
    }
    if let Some((name, after)) = variable(rest) {
        let value = vars.get(name).with_context(|| format!("${name} is not bound"))?;
        let plus = after.strip_prefix('+').filter(|a| a.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(plus) = plus {
            let end = plus.find(|c: char| !c.is_ascii_digit()).unwrap_or(plus.len());
            let sum = value.parse::<u64>()? + plus[..end].parse::<u64>()?;
            out.extend_from_slice(sum.to_string().as_bytes());
            return Ok(&plus[end..]);
        }
        out.extend_from_slice(value.as_bytes());
        return Ok(after);
    }
    let c = rest.chars().next().context("something to expand")?;
    out.extend_from_slice(c.to_string().as_bytes());
    Ok(&rest[c.len_utf8()..])
}

/// `$name` at the start, and what follows. A capital after `$` is a keyword such as `$Forwarded`.
pub fn variable(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix('$')?;
    let end = after.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(after.len());
    let name = &after[..end];
    name.starts_with(|c: char| c.is_ascii_lowercase()).then_some((name, &after[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let vars: Vars = [("u".to_owned(), "7".to_owned())].into();
        let text = |t: &str| {
            let all = line(t, &vars).unwrap();
            all.iter().map(|p| String::from_utf8_lossy(&p.bytes).into_owned()).collect::<Vec<_>>().join("|")
        };
        assert_eq!(text("a STORE $u +FLAGS ($Forwarded) %{ab*2}"), "a STORE 7 +FLAGS ($Forwarded) abab");
        assert_eq!(text("a X {{x\\r\\ny}} {{+\\x00}}"), "a X {4}\r\n|x\r\ny {1+}\r\n\0");
        assert_eq!(text("$u+3:* %b64{\\0a}"), "10:* AGE=");
        assert_eq!(text("{{~+a}}"), "~{1+}\r\na");
        assert!(line("$nothing", &vars).is_err());
    }
}
