//! The messages of SCRAM (RFC 5802 §7).

use crate::Malformed;

/// What the client says of channel binding (`gs2-cbind-flag`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Binding {
    /// `n`: it cannot.
    Unsupported,
    /// `y`: it could, and thinks that the server cannot.
    NotOffered,
    /// `p=name`: it does, with this type.
    Used(String),
}

/// `client-first-message`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientFirst {
    /// Channel binding.
    pub binding: Binding,
    /// `authzid`: whom the client wants to be.
    pub authorize: Option<String>,
    /// Who it is.
    pub user: String,
    /// Its nonce.
    pub nonce: String,
    /// `gs2-header`, which comes again in the final message.
    pub(super) header: String,
    /// `client-first-message-bare`.
    pub(super) bare: String,
}

/// `client-final-message`.
pub(super) struct ClientFinal<'a> {
    pub binding: &'a str,
    pub nonce: &'a str,
    pub proof: &'a str,
    pub without_proof: &'a str,
}

pub(super) fn malformed(expected: &'static str) -> Malformed {
    Malformed { mechanism: "SCRAM", expected }
}

impl ClientFirst {
    /// Reads it.
    ///
    /// # Errors
    /// When it breaks the grammar of RFC 5802 §7, or asks for an extension (`m=`).
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(message).map_err(|_| malformed("UTF-8"))?;
        let (binding, authorize, bare) = header(text, "SCRAM")?;
        if bare.is_empty() {
            return Err(malformed("n=user,r=nonce"));
        }
        let header = text[..text.len() - bare.len()].to_owned();
        let mut fields = bare.split(',');
        let user = fields.next().and_then(|f| f.strip_prefix("n=")).ok_or(malformed("n=user"))?;
        let nonce = fields.next().and_then(|f| f.strip_prefix("r=")).ok_or(malformed("r=nonce"))?;
        if nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(malformed("a nonce of printable characters"));
        }
        let user = sasl_name(user)?;
        Ok(Self { binding, authorize, user, nonce: nonce.to_owned(), header, bare: bare.to_owned() })
    }
}

/// `gs2-header` (RFC 5801 §4): channel binding, `authzid`, and what follows.
pub(crate) fn header<'a>(
    text: &'a str,
    mechanism: &'static str,
) -> Result<(Binding, Option<String>, &'a str), Malformed> {
    let malformed = |expected| Malformed { mechanism, expected };
    let mut parts = text.splitn(3, ',');
    let flag = parts.next().unwrap_or_default();
    let binding = match flag {
        "n" => Binding::Unsupported,
        "y" => Binding::NotOffered,
        _ => match flag.strip_prefix("p=") {
            Some(name) if !name.is_empty() => Binding::Used(name.to_owned()),
            _ => return Err(malformed("n, y or p=type")),
        },
    };
    let authorize = match parts.next() {
        Some("") => None,
        Some(field) => {
            let name = field.strip_prefix("a=").ok_or(malformed("a=authzid"))?;
            Some(sasl_name(name).map_err(|why| malformed(why.expected))?)
        }
        None => return Err(malformed("a comma behind the channel binding")),
    };
    let rest = parts.next().ok_or(malformed("a comma behind the name"))?;
    Ok((binding, authorize, rest))
}

impl<'a> ClientFinal<'a> {
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(message).map_err(|_| malformed("UTF-8"))?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(malformed("p=proof at the end"))?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|f| f.strip_prefix("c=")).ok_or(malformed("c=binding"))?;
        let nonce = fields.next().and_then(|f| f.strip_prefix("r=")).ok_or(malformed("r=nonce"))?;
        Ok(Self { binding, nonce, proof, without_proof })
    }
}

/// `saslname`: `=2C` is a comma, `=3D` an equals sign, and `=` stands for nothing else.
fn sasl_name(text: &str) -> Result<String, Malformed> {
    let mut parts = text.split('=');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (letter, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = part.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(malformed("=2C or =3D in a name"));
        };
        out.push(letter);
        out.push_str(rest);
    }
    if out.is_empty() || out.contains('\0') {
        return Err(malformed("a name"));
    }
    Ok(out)
}

pub(crate) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
