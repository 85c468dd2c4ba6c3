//! Sample mail of the demo account, delivered as any delivery agent does: into `tmp/`, then renamed into `new/`.

use anyhow::{Context, Result};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Delivers them into the Maildir below the account's home.
pub fn deliver(home: &Path) -> Result<()> {
    let mail = home.join("Mail");
    let mut folders = std::fs::DirBuilder::new();
    folders.recursive(true).mode(0o700);
    for folder in ["tmp", "new", "cur"] {
        folders.create(mail.join(folder)).with_context(|| mail.display().to_string())?;
    }
    let now = culver_events::clock::now().as_secs();
    for (n, text) in SAMPLES.iter().enumerate() {
        // A minute each, so that clients which sort by date show them in their order.
        let at = now - 60 * (SAMPLES.len() - n) as u64;
        let name = format!("{at}.P{}Q{n}.culver-demo", std::process::id());
        let text = text.replace("{DATE}", &date(at));
        let (tmp, new) = (mail.join("tmp").join(&name), mail.join("new").join(&name));
        let mut file = std::fs::File::create(&tmp).with_context(|| tmp.display().to_string())?;
        file.write_all(text.as_bytes())?;
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at))?;
        file.sync_all()?;
        std::fs::rename(&tmp, &new)?;
    }
    Ok(())
}

/// RFC 5322 §3.3, in UTC.
fn date(at: u64) -> String {
    let days = i64::try_from(at / 86_400).unwrap_or(0);
    let day = culver_base::date::Date::from_days(days);
    let month = culver_base::date::MONTHS[usize::from(day.month - 1)];
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days.rem_euclid(7)) as usize];
    let (h, m, s) = (at / 3600 % 24, at / 60 % 60, at % 60);
    format!("{weekday}, {:02} {month} {:04} {h:02}:{m:02}:{s:02} +0000", day.day, day.year)
}

const SAMPLES: &[&str] = &[
    "Return-Path: <welcome@example.test>\n\
     Date: {DATE}\n\
     From: Culver <welcome@example.test>\n\
     To: demo@example.test\n\
     Subject: Welcome to Culver\n\
     Message-ID: <demo-1@example.test>\n\
     MIME-Version: 1.0\n\
     Content-Type: text/plain; charset=utf-8\n\
     \n\
     This message is one file in a Maildir, and any tool can read it.\n\
     \n\
     Flag it, move it, delete it; then look at the file's name. Write a file into the\n\
     Maildir's new/ and watch your client hear of it.\n",
    "Return-Path: <joerg@example.test>\n\
     Date: {DATE}\n\
     From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.test>\n\
     To: demo@example.test\n\
     Cc: \"Anna, at home\" <anna@example.test>\n\
     Subject: =?utf-8?b?R3LDvMOfZSBhdXMgS8O2bG4g8J+MiQ==?=\n\
     Message-ID: <demo-2@example.test>\n\
     In-Reply-To: <demo-1@example.test>\n\
     References: <demo-1@example.test>\n\
     MIME-Version: 1.0\n\
     Content-Type: text/plain; charset=utf-8\n\
     Content-Transfer-Encoding: quoted-printable\n\
     \n\
     Viele Gr=C3=BC=C3=9Fe vom Rhein!\n\
     =E2=80=93 J=C3=B6rg\n",
    "Return-Path: <news@example.test>\n\
     Date: {DATE}\n\
     From: The Example Times <news@example.test>\n\
     To: demo@example.test\n\
     Subject: A message with two faces and a picture\n\
     Message-ID: <demo-3@example.test>\n\
     MIME-Version: 1.0\n\
     Content-Type: multipart/mixed; boundary=\"outer\"\n\
     \n\
     --outer\n\
     Content-Type: multipart/alternative; boundary=\"inner\"\n\
     \n\
     --inner\n\
     Content-Type: text/plain; charset=us-ascii\n\
     \n\
     The same in plain text.\n\
     --inner\n\
     Content-Type: text/html; charset=us-ascii\n\
     \n\
     <p>The same in <b>HTML</b>.</p>\n\
     --inner--\n\
     --outer\n\
     Content-Type: image/gif; name=\"dot.gif\"\n\
     Content-Disposition: attachment; filename=\"dot.gif\"\n\
     Content-Transfer-Encoding: base64\n\
     \n\
     R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=\n\
     --outer--\n",
    "Return-Path: <list-bounces@lists.example.test>\n\
     Date: {DATE}\n\
     From: Somebody <somebody@example.test>\n\
     To: Maildir users <list@lists.example.test>\n\
     Subject: [list] Forwarded: a message in a message\n\
     Message-ID: <demo-4@example.test>\n\
     List-Id: Maildir users <list.lists.example.test>\n\
     MIME-Version: 1.0\n\
     Content-Type: multipart/digest; boundary=\"d\"\n\
     \n\
     --d\n\
     \n\
     From: First <first@example.test>\n\
     Date: Mon, 05 Jan 2026 10:00:00 +0100\n\
     Subject: The first of the digest\n\
     Message-ID: <demo-4a@example.test>\n\
     \n\
     One.\n\
     --d\n\
     \n\
     From: Second <second@example.test>\n\
     Date: Mon, 05 Jan 2026 11:00:00 +0100\n\
     Subject: The second of the digest\n\
     Message-ID: <demo-4b@example.test>\n\
     \n\
     Two.\n\
     --d--\n",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Second source: `date -u -R -d @N`.
    #[test]
    fn dates() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(1_795_457_045), "Mon, 23 Nov 2026 18:04:05 +0000");
    }

    #[test]
    fn samples_lie_in_new_and_have_a_date() {
        let dir = tempfile::tempdir().unwrap();
        deliver(dir.path()).unwrap();
        let new = std::fs::read_dir(dir.path().join("Mail/new")).unwrap();
        assert_eq!(new.count(), SAMPLES.len());
        assert_eq!(std::fs::read_dir(dir.path().join("Mail/tmp")).unwrap().count(), 0);
        assert!(SAMPLES.iter().all(|s| s.matches("{DATE}").count() == 1 && s.contains("\n\n")));
    }
}
