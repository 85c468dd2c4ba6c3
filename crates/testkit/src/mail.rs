//! Mail for tests: our own fixtures in `tests/mail`, generated mail, and the corpus where `CULVER_CORPUS` points.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A message with its INTERNALDATE.
#[derive(Clone, Debug)]
pub struct Message {
    /// As IMAP writes it: `02-Jan-2024 10:00:00 +0000`.
    pub date: String,
    /// With CRLF line ends.
    pub bytes: Vec<u8>,
}

/// The folder `tests` of the repository.
pub fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// Reads a fixture of `tests/mail`: `four.mbox` gives all its messages, `four.mbox:2` the second, `x.eml` the only one.
///
/// # Errors
/// When there is no such fixture.
pub fn fixture(name: &str) -> Result<Vec<Message>> {
    let (file, number) = match name.split_once(':') {
        Some((file, n)) => (file, Some(n.parse::<usize>().context("the number after :")?)),
        None => (name, None),
    };
    let path = tests_dir().join("mail").join(file);
    let raw = fs::read(&path).with_context(|| path.display().to_string())?;
    let all = if file.ends_with(".mbox") {
        mbox(&raw)?
    } else {
        vec![Message { date: "02-Jan-2024 10:00:00 +0000".to_owned(), bytes: crlf(&raw) }]
    };
    match number {
        None => Ok(all),
        Some(n) => Ok(vec![
            all.into_iter().nth(n.wrapping_sub(1)).with_context(|| format!("{name}: no such message"))?,
        ]),
    }
}

/// Splits an mbox. Lines `>From ` are unquoted.
fn mbox(raw: &[u8]) -> Result<Vec<Message>> {
    let mut out: Vec<Message> = Vec::new();
    for line in raw.split_inclusive(|&b| b == b'\n') {
        if let Some(from) = line.strip_prefix(b"From ") {
            let from = String::from_utf8_lossy(from).into_owned();
            let words: Vec<&str> = from.split_whitespace().collect();
            let [.., month, day, time, year] = words[..] else { bail!("From line without a date: {from}") };
            if let Some(last) = out.last_mut() {
                trim_blank(&mut last.bytes);
            }
            out.push(Message { date: format!("{day:0>2}-{month}-{year} {time} +0000"), bytes: Vec::new() });
        } else {
            let last = out.last_mut().context("an mbox begins with From")?;
            last.bytes.extend_from_slice(if line.starts_with(b">From ") { &line[1..] } else { line });
        }
    }
    if let Some(last) = out.last_mut() {
        trim_blank(&mut last.bytes);
    }
    for message in &mut out {
        message.bytes = crlf(&message.bytes);
    }
    Ok(out)
}

/// The empty line before the next `From ` is the mbox's, not the message's.
fn trim_blank(bytes: &mut Vec<u8>) {
    if bytes.ends_with(b"\n\n") {
        bytes.pop();
    }
}

/// Every line end as CRLF: bare LF becomes CRLF, CRLF stays.
pub fn crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32);
    let mut last = 0;
    for &b in raw {
        if b == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(b);
        last = b;
    }
    out
}

/// Every CRLF as LF, as messages lie in a Maildir.
pub fn lf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for (i, &b) in raw.iter().enumerate() {
        if b != b'\r' || raw.get(i + 1) != Some(&b'\n') {
            out.push(b);
        }
    }
    out
}

/// Real mail, one file a message.
#[derive(Debug)]
pub struct Corpus {
    /// Where it comes from, for the test's report.
    pub origin: String,
    /// Every message, sorted by path.
    pub files: Vec<PathBuf>,
}

/// The part of the corpus called `ordinary` or `torture`, unpacked under the target folder; without `CULVER_CORPUS`
/// generated mail, and `origin` says so.
///
/// # Errors
/// When the archive cannot be unpacked; the programs `xz` and `tar` must be there.
pub fn corpus(part: &str) -> Result<Corpus> {
    let Some(folder) = std::env::var_os("CULVER_CORPUS") else { return generated(part) };
    let archive = PathBuf::from(folder).join(format!("{part}.tar.xz"));
    let target = target_dir().join("corpus");
    let done = target.join(format!("{part}.unpacked"));
    if !done.exists() {
        fs::create_dir_all(&target)?;
        // Tests run side by side: each unpacks for itself, one rename wins.
        let temp = tempfile::Builder::new().prefix(part).tempdir_in(&target)?;
        let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(temp.path()).status()?;
        if !status.success() {
            bail!("unpacking {}: {status}", archive.display());
        }
        let _ = fs::rename(temp.path().join(part), target.join(part));
        fs::write(&done, b"")?;
    }
    let mut files = Vec::new();
    walk(&target.join(part), &mut files)?;
    files.sort();
    Ok(Corpus { origin: archive.display().to_string(), files })
}

/// The target folder of this build, in which tests may leave files.
pub fn target_dir() -> PathBuf {
    // The test program lies in TARGET/PROFILE/deps.
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors().nth(3).map_or_else(std::env::temp_dir, Path::to_owned)
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, out)?;
        } else {
            out.push(path);
        }
    }
    Ok(())
}

/// A few dozen messages of many shapes.
fn generated(part: &str) -> Result<Corpus> {
    let dir = target_dir().join("generated").join(part);
    fs::create_dir_all(&dir)?;
    let mut files = Vec::new();
    for n in 0..40 {
        let path = dir.join(format!("{n:03}.eml"));
        let text = if part == "torture" { torture(n) } else { ordinary(n) };
        // By rename, so that a test running at the same time never reads half a file.
        let temp = tempfile::NamedTempFile::new_in(&dir)?;
        fs::write(temp.path(), text)?;
        temp.persist(&path)?;
        files.push(path);
    }
    Ok(Corpus { origin: "generated mail (CULVER_CORPUS is not set)".to_owned(), files })
}

fn ordinary(n: usize) -> Vec<u8> {
    let head = format!(
        "Date: {:02} Jan 2024 10:{:02}:00 +0100\r\nFrom: \"Sender {n}\" <s{n}@example.test>\r\nTo: a@example.test, \
         B <b@example.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_{n}?=\r\nMessage-ID: <g{n}@example.test>\r\n\
         MIME-Version: 1.0\r\n",
        n % 28 + 1,
        n % 60
    );
    let text = format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nText {n} für alle\r\n"
    );
    let html = format!(
        "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         <p>caf=E9 {n}</p>\r\n"
    );
    let image = "Content-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"a b.png\"\r\n\r\niVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQ=\r\n";
    let multi = |kind: &str, parts: &[&str]| {
        let mut s = format!("Content-Type: multipart/{kind}; boundary=\"={kind}={n}\"\r\n\r\n");
        for part in parts {
            s.push_str(&format!("--={kind}={n}\r\n{part}\r\n"));
        }
        s + &format!("--={kind}={n}--\r\n")
    };
    let body = match n % 5 {
        0 => text,
        1 => multi("alternative", &[&text, &html]),
        2 => multi("mixed", &[&text, image]),
        3 => multi("mixed", &[&multi("alternative", &[&text, &html]), image]),
        _ => multi("mixed", &[&text, &format!("Content-Type: message/rfc822\r\n\r\n{head}{html}")]),
    };
    (head + &body).into_bytes()
}

fn torture(n: usize) -> Vec<u8> {
    let depth = (n + 1) * 7;
    match n % 6 {
        0 => (0..depth)
            .map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n"))
            .collect::<String>()
            .into(),
        1 => format!("Subject: {}\r\n\r\n", "x".repeat(10_000 * n)).into_bytes(),
        2 => b"\r\n\r\n--\r\n".to_vec(),
        3 => "Content-Type: message/rfc822\r\n\r\n".repeat(depth).into_bytes(),
        4 => [b"Subject: \xff\xfe\r\nFrom: <<>>,;:@\r\nContent-Type: ;;;\r\n\r\n".as_slice(), &[0x80; 100]]
            .concat(),
        _ => "Content-Type: multipart/mixed; boundary=x\r\n\r\n"
            .to_owned()
            .into_bytes()
            .into_iter()
            .chain("--x\r\n\r\n".repeat(depth).into_bytes())
            .collect(),
    }
}
