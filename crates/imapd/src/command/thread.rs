//! THREAD (RFC 5256).

use crate::command::search::{Outcome, completed, criteria};
use crate::context::Context;
use crate::state::Selected;
use crate::stop::{Done, Stop};
use crate::threads;
use culver_imap::command::{Thread, ThreadAlgorithm};
use culver_imap::response;

/// THREAD and UID THREAD.
pub async fn run(selected: &mut Selected, cmd: Thread<'_>, cx: &mut Context) -> Result<Done, Stop> {
    let found = match criteria(selected, cmd.key, Some(cmd.charset), cx).await? {
        Outcome::Found(found, _) => found,
        Outcome::Refused(done) => return Ok(done),
    };
    let table = selected.mailbox.columns(&found.uids).await;
    let make = match cmd.algorithm {
        ThreadAlgorithm::OrderedSubject => threads::by_subject,
        ThreadAlgorithm::References => threads::by_references,
    };
    let threads = make(selected.view.snapshot(), &found.uids, cmd.numbering, &table);
    response::thread(&mut cx.wire.out, &threads.nodes, &threads.roots);
    Ok(completed(&found, "THREAD completed"))
}
