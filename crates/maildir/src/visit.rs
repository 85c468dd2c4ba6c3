//! Messages under visit: one job for a batch, files opened when something is asked that only they can tell.
//!
//! Nothing here waits for a verb: names are read from the table behind its own lock. Another program may rename a file
//! at any time; then the table is asked again (our own renames are in it at once), then the directories are listed,
//! and only a file that is in neither is gone: its methods answer [`Refusal::ExpungeIssued`].
//!
//! What is learnt on the way (sizes that no name tells) goes back to the writer's side when the batch is done.
//!
//! The cache is asked first; what is learnt because it did not know goes into it when the batch is done.

use crate::cache::record::{Draft, Facts, Item, Learnt};
use crate::cache::{Cache, CacheReader};
use crate::content::Content;
use crate::expunge::Elsewhere;
use crate::model::{Entry, Folder, Names, base_of};
use crate::place::{Dirs, MailboxPlace};
use bytes::Bytes;
use culver_base::Uid;
use culver_mime::Structure;
use culver_snapshot::{Place, Snapshot};
use culver_store::io::{Dir, File, Fs};
use culver_store::{BodyReader, Effort, Failure, Message, Refusal, Result, Visit};
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
    /// What is known of them already.
    pub cache: Arc<Cache>,
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
        let mut place = Place::default();
        let cache = self.cache.reader();
        let mut shared = Shared {
            batch: self,
            fs,
            mailbox: None,
            folders: [None, None],
            elsewhere: None,
            cache,
            learnt: Vec::new(),
        };
        for (i, uid) in uids.iter().enumerate() {
            let known_size = self.snapshot.seek(*uid, &mut place).and_then(|(_, r)| r.size);
            let mut message = Visited {
                shared: &mut shared,
                uid: *uid,
                known_size,
                to_come: uids.len() - i,
                facts: None,
                content: None,
                structure: None,
                found_elsewhere: false,
            };
            let flow = visit(&mut message);
            outcome.count += 1;
            outcome.doubt |= message.found_elsewhere;
            message.learn();
            let counted = message.content.as_ref().and_then(|c| c.as_ref().ok()).and_then(Content::counted);
            if let Some(is) = counted
                && known_size != Some(is)
            {
                if let Some(told) = known_size {
                    tracing::info!(place = %self.place.label(), uid = uid.get(), told, is, "a message's size is not what its name says");
                }
                outcome.sizes.push((*uid, is));
            } else if known_size.is_none()
                && let Some(Some(facts)) = &message.facts
            {
                outcome.sizes.push((*uid, facts.size));
            }
            if flow.is_break() {
                break;
            }
        }
        let Shared { cache, learnt, .. } = shared;
        self.cache.was_bad(cache.map_or(0, |c| c.bad), &self.place);
        if !learnt.is_empty() {
            self.cache.add(learnt, &self.place);
        }
        outcome
    }
}

/// What the messages of one batch share.
struct Shared<'a> {
    batch: &'a Batch,
    fs: &'a Fs,
    mailbox: Option<std::result::Result<Dir<'a>, Failure>>,
    /// `new` and `cur`.
    folders: [Option<Dir<'a>>; 2],
    elsewhere: Option<Elsewhere>,
    cache: Option<CacheReader>,
    learnt: Vec<Learnt>,
}

impl<'a> Shared<'a> {
    fn open(&mut self, uid: Uid) -> Result<(File, Entry, bool)> {
        let batch = self.batch;
        let mut last: Option<Entry> = None;
        // Our own renames are in the table by the time they can be noticed; a few may come in a row.
        for _ in 0..3 {
            let Some(entry) = batch.names.read().get(uid).cloned() else {
                return Err(Refusal::ExpungeIssued.into());
            };
            if last.as_ref() == Some(&entry) {
                break;
            }
            match self.folder(entry.folder)?.map(|dir| dir.open_file(&entry.name)) {
                Some(Ok(file)) => return Ok((file, entry, false)),
                Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(batch.place.failure("opening a message", e));
                }
                Some(Err(_)) | None => last = Some(entry),
            }
        }
        let Some(last) = last else { return Err(Refusal::ExpungeIssued.into()) };
        let base = base_of(&last.name);
        for fresh in [false, true] {
            if fresh || self.elsewhere.is_none() {
                let dirs = Dirs::open(self.fs, &batch.place).map_err(|e| self.no_mailbox(e))?;
                self.elsewhere = Some(Elsewhere::list(&dirs));
            }
            if let Some(entry) = self.elsewhere.as_ref().and_then(|e| e.get(base).cloned())
                && let Some(dir) = self.folder(entry.folder)?
                && let Ok(file) = dir.open_file(&entry.name)
            {
                return Ok((file, entry, true));
            }
        }
        Err(Refusal::ExpungeIssued.into())
    }

    /// One directory; it is opened when its first message is. `None`: it is not there.
    fn folder(&mut self, folder: Folder) -> Result<Option<&Dir<'a>>> {
        let at = usize::from(folder == Folder::Cur);
        if self.folders[at].is_none() {
            let opened = self.mailbox()?.open_dir([&b"new"[..], b"cur"][at]);
            match opened {
                Ok(dir) => self.folders[at] = Some(dir),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(self.no_mailbox(e)),
            }
        }
        Ok(self.folders[at].as_ref())
    }

    fn mailbox(&mut self) -> Result<Dir<'a>> {
        if let Some(opened) = &self.mailbox {
            return opened.clone();
        }
        let opened = Dirs::open_mailbox(self.fs, &self.batch.place);
        let opened = opened.map(|(_, mailbox)| mailbox).map_err(|e| self.no_mailbox(e));
        self.mailbox = Some(opened.clone());
        opened
    }

    fn no_mailbox(&self, e: io::Error) -> Failure {
        match e.kind() {
            io::ErrorKind::NotFound => Refusal::MailboxGone.into(),
            _ => self.batch.place.failure("opening the mailbox", e),
        }
    }
}

/// One message under visit.
struct Visited<'s, 'a> {
    shared: &'s mut Shared<'a>,
    uid: Uid,
    known_size: Option<u64>,
    /// Messages of the batch that are still to be visited, with this one.
    to_come: usize,
    /// What the cache says, once it was asked.
    facts: Option<Option<Facts>>,
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

    /// What the cache says of this message as it is now.
    fn facts(&mut self) -> Option<&Facts> {
        if self.facts.is_none() {
            let facts = self.shared.cache.as_mut().and_then(|c| c.get(self.uid, self.to_come));
            // Somebody may have put another file in its place.
            self.facts = Some(facts.filter(|f| self.known_size.is_none_or(|s| s == f.size)));
        }
        self.facts.as_ref()?.as_ref()
    }

    fn fact(&mut self, item: Item) -> Option<Bytes> {
        self.facts()?.get(item)
    }

    /// Puts down what was found out of a message that had to be opened, if the cache does not know it.
    ///
    /// Who only took its octets has asked nothing that a record would answer.
    fn learn(&mut self) {
        if !matches!(&self.content, Some(Ok(_))) || (self.facts.is_none() && self.structure.is_none()) {
            return;
        }
        let has_structure = self.structure.is_some();
        let known = self.facts().is_some_and(|f| !has_structure || f.get(Item::BodyStructure).is_some());
        let Some(Ok(content)) = &self.content else { return };
        if known || self.shared.cache.is_none() {
            return;
        }
        if let Ok(draft) = draft(content, self.structure.as_deref()) {
            self.shared.learnt.extend(draft.finish(self.uid));
        }
    }
}

/// The record of a message. Without a structure that is known already, a large one is not gone through for it.
pub fn draft(content: &Content, structure: Option<&Structure>) -> io::Result<Draft> {
    let mut draft = Draft::new(content.size());
    let header = content.header()?;
    match culver_mime::fields::without_bulky(&header) {
        None => draft.put(Item::Header, &header),
        Some(lean) => draft.put(Item::LeanHeader, &lean),
    }
    let made;
    let structure = match structure {
        None if content.is_small() => {
            made = content.structure()?;
            Some(&made)
        }
        known => known,
    };
    if let Some(structure) = structure {
        draft.put(Item::BodyStructure, &structure.body_structure());
        draft.put(Item::Preview, preview(content, structure)?.as_bytes());
        draft.put(Item::TextParts, &culver_mime::text::text_parts(structure));
    }
    draft.put(Item::Envelope, &culver_mime::envelope::envelope(&header));
    draft.put(Item::Columns, &culver_mime::columns::columns(&header));
    Ok(draft)
}

fn preview(content: &Content, structure: &Structure) -> io::Result<String> {
    let Some((part, range)) = culver_mime::preview::source(structure) else { return Ok(String::new()) };
    let mut octets = Vec::new();
    content.read(range, &mut octets)?;
    Ok(culver_mime::preview::preview(part, &octets))
}

impl Message for Visited<'_, '_> {
    fn uid(&self) -> Uid {
        self.uid
    }
    fn size(&mut self) -> Result<u64> {
        if let (Some(size), None | Some(Err(_))) = (self.known_size, &self.content) {
            return Ok(size);
        }
        if self.content.is_none()
            && let Some(facts) = self.facts()
        {
            return Ok(facts.size);
        }
        Ok(self.content()?.size())
    }
    fn structure(&mut self) -> Result<Arc<Structure>> {
        if self.structure.is_none() {
            let structure = self.content()?.structure().map_err(|e| self.failure(e))?;
            self.structure = Some(Arc::new(structure));
        }
        self.structure.clone().ok_or_else(|| Refusal::ExpungeIssued.into())
    }
    fn envelope(&mut self) -> Result<Bytes> {
        if let Some(envelope) = self.fact(Item::Envelope) {
            return Ok(envelope);
        }
        // The header alone says it; the body is not looked at.
        Ok(culver_mime::envelope::envelope(&self.header()?).into())
    }
    fn body(&mut self) -> Result<Bytes> {
        let known = self.fact(Item::BodyStructure);
        match known.and_then(|b| culver_mime::body::without_extension(&b)) {
            Some(body) => Ok(body.into()),
            None => Ok(self.structure()?.body().into()),
        }
    }
    fn body_structure(&mut self) -> Result<Bytes> {
        match self.fact(Item::BodyStructure) {
            Some(known) => Ok(known),
            None => Ok(self.structure()?.body_structure().into()),
        }
    }
    fn header(&mut self) -> Result<Bytes> {
        if let Some(header) = self.fact(Item::Header) {
            return Ok(header);
        }
        let header = self.content()?.header();
        header.map_err(|e| self.failure(e))
    }
    fn columns(&mut self) -> Result<Bytes> {
        match self.fact(Item::Columns) {
            Some(known) => Ok(known),
            None => Ok(culver_mime::columns::columns(&self.header()?).into()),
        }
    }
    fn text_parts(&mut self) -> Result<Bytes> {
        match self.fact(Item::TextParts) {
            Some(known) => Ok(known),
            None => Ok(culver_mime::text::text_parts(&*self.structure()?).into()),
        }
    }
    fn preview(&mut self, how: Effort) -> Result<Option<Bytes>> {
        if let Some(known) = self.fact(Item::Preview) {
            return Ok(Some(known));
        }
        if how == Effort::AtHand && self.content.is_none() {
            return Ok(None);
        }
        let structure = self.structure()?;
        let made = preview(self.content()?, &structure);
        made.map(|text| Some(text.into())).map_err(|e| self.failure(e))
    }
    fn lean_header(&mut self) -> Result<Bytes> {
        match self.fact(Item::LeanHeader) {
            Some(header) => Ok(header),
            None => self.header(),
        }
    }
    fn read(&mut self, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let read = self.content()?.read(range, out);
        read.map_err(|e| self.failure(e))
    }
    fn octets(&mut self, range: Range<u64>) -> Result<Bytes> {
        let octets = self.content()?.octets(range);
        octets.map_err(|e| self.failure(e))
    }
    fn reader(&mut self, range: Range<u64>) -> Result<Box<dyn BodyReader>> {
        let place = self.shared.batch.place.clone();
        Ok(self.content()?.reader(range, &place))
    }
}
