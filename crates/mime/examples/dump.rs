//! Prints ENVELOPE, BODY and BODYSTRUCTURE of each file named: for comparing with other servers by hand.
#![allow(clippy::print_stdout, reason = "a tool that prints")]
use std::io::Write;
fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let stored = std::fs::read(&path)?;
        let mut wire = Vec::new();
        culver_mime::lines::to_wire(&stored, None, &mut wire);
        let s = culver_mime::scan(&wire);
        for part in [s.envelope(), s.body(), s.body_structure()] {
            out.write_all(format!("{} ", part.len()).as_bytes())?;
            out.write_all(&part)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
