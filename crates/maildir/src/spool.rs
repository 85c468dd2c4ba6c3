//! A message's bytes on their way in: a file in `tmp`, in the form in which it will be kept.
//!
//! Line ends are stored as LF (what Dovecot does by default and every Unix tool expects): CRLF becomes LF, a lone CR or
//! LF stays. Both sizes are counted on the way, so that nothing has to be read again.
//!
//! Octets are gathered to [`CHUNK`] before a job writes them. The first failure is kept and told at the end;
//! what comes after it is swallowed. What is gathered at the end, all of a short message, is written by APPEND itself
//! ([`Spun`]): the file gets its date before its one sync, or the date would not outlast a power failure.

use crate::cache::record::Draft;
use crate::content::Content;
use crate::core::Result;
use crate::filename::Sizes;
use crate::place::{Dirs, MailboxPlace};
use crate::visit::draft;
use async_trait::async_trait;
use bytes::Bytes;
use culver_base::InternalDate;
use culver_store::io::{File, Fs, Timestamp};
use culver_store::{Failure, Spool, Spooled};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets that are gathered before they are written.
const CHUNK: usize = 256 << 10;

/// CRLF to LF over pieces of any size, with both sizes. Only line ends that would not be read back the same stay as
/// they are: CRLF behind another CR.
#[derive(Clone, Copy, Default, Debug)]
pub struct ToStored {
    held_cr: bool,
    last: u8,
    /// Octets stored so far.
    pub stored: u64,
    /// Octets in wire form so far.
    pub wire: u64,
}

impl ToStored {
    /// Appends the stored form of `octets` to `out`.
    pub fn push(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while !octets.is_empty() {
            let n = memchr::memchr2(b'\r', b'\n', octets).unwrap_or(octets.len());
            if n > 0 {
                self.release(out);
                self.put(&octets[..n], out);
                self.wire += n as u64;
            }
            match octets.get(n) {
                Some(b'\r') => {
                    self.release(out);
                    self.held_cr = true;
                }
                Some(_) => {
                    let held = std::mem::take(&mut self.held_cr);
                    self.put(if held && self.last == b'\r' { b"\r\n" } else { b"\n" }, out);
                    self.wire += 2;
                }
                None => return,
            }
            octets = &octets[n + 1..];
        }
    }

    fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(octets);
        self.stored += octets.len() as u64;
        self.last = octets.last().copied().unwrap_or(self.last);
    }

    /// A CR that turned out to stand alone.
    fn release(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            self.put(b"\r", out);
            self.wire += 1;
        }
    }

    /// The end: a CR that waited for its LF.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(out);
    }

    /// Both sizes, for the name.
    pub fn sizes(&self) -> Sizes {
        Sizes { stored: Some(self.stored), wire: Some(self.wire) }
    }
}

/// A file in `tmp`, removed when it is dropped before it was put in place.
pub struct Staged {
    /// Its name there.
    pub name: Vec<u8>,
    /// Both sizes.
    pub sizes: Sizes,
    /// The open file.
    pub file: File,
    /// Of the mailbox in whose `tmp` it is.
    pub place: Arc<MailboxPlace>,
    /// It has left `tmp`.
    pub placed: bool,
    /// What the cache will know of it; none of a message that was never in memory as a whole.
    pub draft: Option<Draft>,
}

impl Staged {
    /// Makes the file.
    pub fn create(fs: &Fs, place: &Arc<MailboxPlace>) -> io::Result<Self> {
        let (_, mailbox) = Dirs::open_mailbox(fs, place)?;
        let tmp = mailbox.make_dir(b"tmp")?;
        // Files are made in `tmp` with the rights of the mailbox's directory.
        tmp.use_modes(mailbox.modes()?);
        let name = place.settings.base(Sizes::default());
        let file = tmp.create_new(&name)?;
        Ok(Self { name, sizes: Sizes::default(), file, place: place.clone(), placed: false, draft: None })
    }

    /// A whole message at once, synced with its date, if one was given.
    pub fn write(
        fs: &Fs,
        place: &Arc<MailboxPlace>,
        octets: &[u8],
        date: Option<InternalDate>,
    ) -> io::Result<Self> {
        let (mut form, mut gathered) = (ToStored::default(), Vec::with_capacity(octets.len()));
        form.push(octets, &mut gathered);
        form.finish(&mut gathered);
        Spun { staged: None, gathered, sizes: form.sizes(), _held: None }.settle(fs, place, date)
    }

    /// `head`, then `octets`, synced. What is known of the message already is not looked for again.
    pub fn write_known(
        fs: &Fs,
        place: &Arc<MailboxPlace>,
        head: &[u8],
        octets: &[u8],
        draft: Option<Draft>,
    ) -> io::Result<Self> {
        let mut this = Self::create(fs, place)?;
        let mut form = ToStored::default();
        let mut out = Vec::with_capacity(head.len() + octets.len());
        form.push(head, &mut out);
        form.push(octets, &mut out);
        form.finish(&mut out);
        this.file.write_all(&out)?;
        this.file.sync()?;
        this.sizes = form.sizes();
        match draft {
            None => this.learn(&out),
            known => this.draft = known,
        }
        Ok(this)
    }

    /// INTERNALDATE is the file's mtime. It lasts once the file is synced after this.
    fn set_date(&self, date: Option<InternalDate>) -> io::Result<()> {
        date.map_or(Ok(()), |date| self.file.set_mtime(Timestamp { seconds: date.unix, nanoseconds: 0 }))
    }

    /// The date of a message that was synced while it was not known.
    pub fn date_later(&self, date: InternalDate) -> io::Result<()> {
        self.set_date(Some(date))?;
        self.file.sync()
    }
}

impl Staged {
    /// These are all its octets, in stored form.
    fn learn(&mut self, stored: &[u8]) {
        self.draft = draft(&Content::stored(stored.to_vec()), None).ok();
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            let place = self.place.clone();
            let name = std::mem::take(&mut self.name);
            self.place.io.send(self.place.owner, move |fs| {
                let removed = Dirs::open(fs, &place).and_then(|d| d.tmp()).and_then(|tmp| tmp.unlink(&name));
                if let Err(error) = removed {
                    tracing::debug!(place = %place.label(), %error, "a file could not be removed from tmp");
                }
            });
        }
    }
}

/// See the head of the file.
pub struct MaildirSpool {
    place: Arc<MailboxPlace>,
    staged: Option<Staged>,
    form: ToStored,
    gathered: Vec<u8>,
    failure: Option<Failure>,
}

impl MaildirSpool {
    /// Nothing is made before the first octets come to be written.
    pub fn new(place: Arc<MailboxPlace>) -> Self {
        Self { place, staged: None, form: ToStored::default(), gathered: Vec::new(), failure: None }
    }

    async fn flush(&mut self) -> Result<()> {
        let octets = std::mem::take(&mut self.gathered);
        let (staged, place) = (self.staged.take(), self.place.clone());
        let job = move |fs: &Fs| {
            let mut staged = match staged {
                Some(s) => s,
                None => Staged::create(fs, &place)?,
            };
            staged.file.write_all(&octets)?;
            Ok(staged)
        };
        let done: io::Result<Staged> = self.place.io.run(self.place.owner, job).await?;
        self.staged = Some(done.map_err(|e| self.place.failure("writing a message to tmp", e))?);
        Ok(())
    }
}

/// What a spool has become: the end of the message is in memory, all of a short one. It is written with the date of the
/// message, which nobody knew before, and synced once.
pub struct Spun {
    staged: Option<Staged>,
    gathered: Vec<u8>,
    sizes: Sizes,
    _held: Option<Held<'static>>,
}

/// Octets that all messages together may have in memory between their arrival and APPEND; what comes beyond is written.
static ROOM: Room = Room(AtomicUsize::new(16 << 20));

/// So many octets may still be held.
struct Room(AtomicUsize);

struct Held<'a>(&'a Room, usize);

impl Room {
    fn hold(&self, octets: usize) -> Option<Held<'_>> {
        let (set, read) = (Ordering::Relaxed, Ordering::Relaxed);
        let less = self.0.fetch_update(set, read, |left| left.checked_sub(octets));
        less.ok().map(|_| Held(self, octets))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(self.1, Ordering::Relaxed);
    }
}

impl Spun {
    /// Writes what is left, to the `tmp` of this mailbox when nothing was written before.
    pub fn settle(
        self,
        fs: &Fs,
        place: &Arc<MailboxPlace>,
        date: Option<InternalDate>,
    ) -> io::Result<Staged> {
        let mut staged = match self.staged {
            Some(staged) => staged,
            None => {
                let mut staged = Staged::create(fs, place)?;
                staged.learn(&self.gathered);
                staged
            }
        };
        staged.file.write_all(&self.gathered)?;
        staged.set_date(date)?;
        staged.file.sync()?;
        staged.sizes = self.sizes;
        Ok(staged)
    }
}

#[async_trait]
impl Spool for MaildirSpool {
    async fn write(&mut self, octets: Bytes) {
        if self.failure.is_some() {
            return;
        }
        self.form.push(&octets, &mut self.gathered);
        if self.gathered.len() >= CHUNK
            && let Err(failure) = self.flush().await
        {
            self.failure = Some(failure);
            self.gathered = Vec::new();
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Spooled> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.form.finish(&mut self.gathered);
        // Many messages may wait in one command.
        let held = ROOM.hold(self.gathered.len());
        if held.is_none() {
            self.flush().await?;
        }
        let spun = Spun {
            staged: self.staged.take(),
            gathered: std::mem::take(&mut self.gathered),
            sizes: self.form.sizes(),
            _held: held,
        };
        Ok(Spooled::Engine { size: self.form.wire, file: Box::new(spun) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_messages_hold_in_memory_together_is_bounded() {
        let room = Room(AtomicUsize::new(10));
        let first = room.hold(7).unwrap();
        assert!(room.hold(4).is_none());
        let second = room.hold(3).unwrap();
        assert!(room.hold(1).is_none() && room.hold(0).is_some());
        drop(first);
        assert!(room.hold(8).is_none());
        drop((room.hold(7).unwrap(), second));
        assert!(room.hold(10).is_some());
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same(text in "[ab\r\n]{0,40}", cuts in proptest::collection::vec(0usize..40, 0..6)) {
            // On the wire every LF has a CR before it, and nothing else is different.
            let mut wire = String::new();
            for c in text.chars() {
                if c == '\n' && !wire.ends_with('\r') {
                    wire.push('\r');
                }
                wire.push(c);
            }
            let mut form = ToStored::default();
            let mut out = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut at = 0;
            for c in cuts {
                form.push(&text.as_bytes()[at..c], &mut out);
                at = c;
            }
            form.finish(&mut out);
            prop_assert_eq!((form.stored, form.wire), (out.len() as u64, wire.len() as u64));
            let mut back = Vec::new();
            culver_mime::lines::to_wire(&out, None, &mut back);
            prop_assert_eq!(&back, wire.as_bytes());
            if !text.contains("\r\r") {
                let plain = text.replace("\r\n", "\n");
                prop_assert_eq!(&out, plain.as_bytes());
            }
        }
    }
}
