//! The side of the command line.

use super::LONGEST;
use crate::AdminError;
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An answer takes no longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does a server with this `state_dir` run?
pub fn answers(state_dir: &Path) -> bool {
    UnixStream::connect(super::path(state_dir)).is_ok()
}

/// Asks the running server with this `state_dir`.
///
/// # Errors
/// When none runs, we may not, or it says no.
pub fn ask(state_dir: &Path, verb: &str, arguments: Map<String, Value>) -> Result<Value, AdminError> {
    let path = super::path(state_dir);
    let failed = |why: std::io::Error| {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let path = path.display();
        AdminError::Control(match why.kind() {
            NotFound | ConnectionRefused => {
                format!(
                    "no server answers at {path}: start it first, or name its configuration with --config"
                )
            }
            PermissionDenied => format!("{path}: {why}: run this as root or as the server's user"),
            _ => format!("{path}: {why}"),
        })
    };
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut request = arguments;
    request.insert("verb".to_owned(), verb.into());
    stream.write_all(format!("{}\n", Value::Object(request)).as_bytes()).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(stream).take(LONGEST as u64).read_line(&mut line).map_err(failed)?;
    let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| json!({}));
    match (answer["ok"].take(), answer["error"].as_str()) {
        (_, Some(why)) => Err(AdminError::Control(why.to_owned())),
        (Value::Null, None) => {
            Err(AdminError::Control("the server gave no answer: look into its log".to_owned()))
        }
        (value, None) => Ok(value),
    }
}
