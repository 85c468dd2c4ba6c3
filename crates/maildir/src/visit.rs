//! Messages under visit: one job for a batch, files opened when something is asked that only they can tell.
//!
//! Nothing here waits for a verb: names are read from the table behind its own lock. Another program may rename a file
//! at any time; then the table is asked again (our own renames are in it at once), then the directories are listed,
//! and only a file that is in neither is gone: its methods answer [`Refusal::ExpungeIssued`].
//!
//! What is learnt on the way (sizes that no name tells) goes back to the writer's side when the batch is done.
//!
//! The persistent cache of envelopes and structures will stand between [`Visited`] and [`Content`].

use crate::content::Content;
use crate::expunge::Elsewhere;
use crate::model::{Entry, Names, base_of};
use crate::place::{Dirs, MailboxPlace};
use bytes::Bytes;
use culver_base::Uid;
use culver_mime::Structure;
use culver_snapshot::Snapshot;
use culver_store::io::{File, Fs};
use culver_store::{BodyReader, Failure, Message, Refusal, Result, Visit};
use parking_lot::RwLock;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What a batch needs.
pub struct Batch {
    /// Where the mailbox is.
    pub place: Arc<MailboxPlace>,
    /// Its file names.
    pub names: Arc<RwLock<Names>>,
    /// Its records.
    pub snapshot: Arc<Snapshot>,
}

/// How a batch ended.
pub struct Outcome {
    /// Messages visited.
    pub count: usize,
    /// Sizes that the records lack or have wrong.
    pub sizes: Vec<(Uid, u64)>,
    /// A file was not where the table says.
    pub doubt: bool,
}

impl Batch {
    /// Visits `uids` in their order.
    pub fn run(&self, fs: &Fs, uids: &[Uid], visit: &mut Visit) -> Outcome {
        let mut outcome = Outcome { count: 0, sizes: Vec::new(), doubt: false };
        let mut shared = Shared { batch: self, fs, dirs: None, elsewhere: None };
        for uid in uids {
            let known_size = self.snapshot.by_uid(*uid).and_then(|r| r.size);
            let mut message = Visited {
                shared: &mut shared,
                uid: *uid,
                known_size,
                content: None,
                structure: None,
                found_elsewhere: false,
            };
            let flow = visit(&mut message);
            outcome.count += 1;
            outcome.doubt |= message.found_elsewhere;
            if let Some(Ok(content)) = &message.content
                && known_size != Some(content.size())
            {
                if let Some(told) = known_size {
                    tracing::info!(place = %self.place.label(), uid = uid.get(), told, is = content.size(), "a message's size is not what its name says");
                }
                outcome.sizes.push((*uid, content.size()));
            }
            if flow.is_break() {
                break;
            }
        }
        outcome
    }
}

/// What the messages of one batch share.
struct Shared<'a> {
    batch: &'a Batch,
    fs: &'a Fs,
    dirs: Option<std::result::Result<Dirs<'a>, Failure>>,
    elsewhere: Option<Elsewhere>,
}

impl<'a> Shared<'a> {
    fn open(&mut self, uid: Uid) -> Result<(File, Entry, bool)> {
        let place = &self.batch.place;
        let dirs = self.dirs.get_or_insert_with(|| {
            Dirs::open(self.fs, place).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Refusal::MailboxGone.into(),
                _ => place.failure("opening the mailbox", e),
            })
        });
        let dirs = dirs.as_ref().map_err(Clone::clone)?;
        let mut last: Option<Entry> = None;
        // Our own renames are in the table by the time they can be noticed; a few may come in a row.
        for _ in 0..3 {
            let Some(entry) = self.batch.names.read().get(uid).cloned() else {
                return Err(Refusal::ExpungeIssued.into());
            };
            if last.as_ref() == Some(&entry) {
                break;
            }
            match dirs.folder(entry.folder).open_file(&entry.name) {
                Ok(file) => return Ok((file, entry, false)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => last = Some(entry),
                Err(e) => return Err(place.failure("opening a message", e)),
            }
        }
        let Some(last) = last else { return Err(Refusal::ExpungeIssued.into()) };
        let base = base_of(&last.name);
        for fresh in [false, true] {
            if fresh {
                self.elsewhere = None;
            }
            let elsewhere = self.elsewhere.get_or_insert_with(|| Elsewhere::list(dirs));
            if let Some(entry) = elsewhere.get(base)
                && let Ok(file) = dirs.folder(entry.folder).open_file(&entry.name)
            {
                return Ok((file, entry.clone(), true));
            }
        }
        Err(Refusal::ExpungeIssued.into())
    }
}

/// One message under visit.
struct Visited<'s, 'a> {
    shared: &'s mut Shared<'a>,
    uid: Uid,
    known_size: Option<u64>,
    content: Option<Result<Content>>,
    structure: Option<Arc<Structure>>,
    found_elsewhere: bool,
}

impl Visited<'_, '_> {
    fn content(&mut self) -> Result<&Content> {
        if self.content.is_none() {
            let opened = self.shared.open(self.uid);
            self.content = Some(opened.and_then(|(file, entry, elsewhere)| {
                self.found_elsewhere = elsewhere;
                Content::open(self.shared.fs, file, &entry.name, self.known_size)
                    .map_err(|e| self.shared.batch.place.failure("reading a message", e))
            }));
        }
        match &self.content {
            Some(Ok(content)) => Ok(content),
            Some(Err(e)) => Err(e.clone()),
            None => Err(Refusal::ExpungeIssued.into()),
        }
    }

    fn failure(&self, e: io::Error) -> Failure {
        self.shared.batch.place.failure("reading a message", e)
    }
}

impl Message for Visited<'_, '_> {
    fn uid(&self) -> Uid {
        self.uid
    }
    fn size(&mut self) -> Result<u64> {
        match (self.known_size, &self.content) {
            (Some(size), None | Some(Err(_))) => Ok(size),
            _ => Ok(self.content()?.size()),
        }
    }
    fn structure(&mut self) -> Result<Arc<Structure>> {
        if self.structure.is_none() {
            let structure = self.content()?.structure().map_err(|e| self.failure(e))?;
            self.structure = Some(Arc::new(structure));
        }
        self.structure.clone().ok_or_else(|| Refusal::ExpungeIssued.into())
    }
    fn envelope(&mut self) -> Result<Bytes> {
        // The header alone says it; the body is not looked at.
        Ok(culver_mime::envelope::envelope(&self.header()?).into())
    }
    fn body(&mut self) -> Result<Bytes> {
        Ok(self.structure()?.body().into())
    }
    fn body_structure(&mut self) -> Result<Bytes> {
        Ok(self.structure()?.body_structure().into())
    }
    fn header(&mut self) -> Result<Bytes> {
        let header = self.content()?.header();
        header.map_err(|e| self.failure(e))
    }
    fn read(&mut self, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let read = self.content()?.read(range, out);
        read.map_err(|e| self.failure(e))
    }
    fn reader(&mut self, range: Range<u64>) -> Result<Box<dyn BodyReader>> {
        let place = self.shared.batch.place.clone();
        Ok(self.content()?.reader(range, &place))
    }
}
