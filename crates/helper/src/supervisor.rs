//! The supervisor: takes questions, gives them to workers, and replaces workers that hang or die.

use culver_directory::system::protocol::{Answer, LONGEST_ANSWER, LONGEST_QUESTION, Question};
use parking_lot::Mutex;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Questions that wait for a worker.
const WAITING: usize = 1024;
/// Servers at once.
const CONNECTIONS: usize = 16;

/// What no server may go beyond.
#[derive(Clone)]
pub struct Limits {
    /// The PAM services that may be asked.
    pub services: Vec<String>,
    /// Users with a lower uid are none.
    pub least: u32,
    /// What a question may take.
    pub time: Duration,
}

struct Job {
    id: u64,
    line: Vec<u8>,
    back: Arc<Mutex<UnixStream>>,
}

impl Job {
    fn answer(&self, answer: &Answer) {
        // The server may have gone.
        let _ = self.back.lock().write_all(&answer.encode(self.id));
    }
}

/// The workers.
pub struct Pool {
    jobs: SyncSender<Job>,
    services: Arc<[String]>,
}

impl Pool {
    /// Starts the threads that look after the workers; the workers start when they are needed.
    ///
    /// # Errors
    /// When there can be no threads.
    pub fn new(workers: u16, limits: Limits) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(WAITING);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..workers {
            let (queue, limits) = (queue.clone(), limits.clone());
            thread::Builder::new()
                .name(format!("worker {number}"))
                .spawn(move || look_after(&queue, &limits))?;
        }
        Ok(Self { jobs, services: limits.services.into() })
    }

    /// Serves the socket that is standard input, until it is closed.
    ///
    /// # Errors
    /// When it is no socket.
    pub fn serve_standard_input(&self) -> io::Result<()> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        serve(stream, &self.jobs, &self.services)
    }

    /// Listens on a socket, which belongs to this user.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn listen(&self, path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
        // What an earlier one left, and nothing else.
        if fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        // Nobody else may connect, not even for a moment.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
        }
        let open = Arc::new(());
        loop {
            let (stream, _) = listener.accept()?;
            if Arc::strong_count(&open) > CONNECTIONS {
                continue;
            }
            let (jobs, services, held) = (self.jobs.clone(), self.services.clone(), open.clone());
            thread::Builder::new().name("server".to_owned()).spawn(move || {
                let _held = held;
                let _ = serve(stream, &jobs, &services);
            })?;
        }
    }
}

fn serve(stream: UnixStream, jobs: &SyncSender<Job>, services: &[String]) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let back = Arc::new(Mutex::new(stream));
    loop {
        let mut line = Vec::new();
        (&mut reader).take(LONGEST_QUESTION as u64).read_until(b'\n', &mut line)?;
        // The end, or a line that is too long: then it is not our server.
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        let Some((id, question)) = Question::parse(&line[..line.len() - 1]) else { return Ok(()) };
        let job = Job { id, line, back: back.clone() };
        if let Question::Password { service, .. } = question
            && !services.contains(&service)
        {
            let why = format!(
                "the helper was not started for the PAM service {service}: give it --service {service}, or set directory.system.pam_service to one of {}",
                services.join(", ")
            );
            job.answer(&Answer::Outage { why });
            continue;
        }
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => {
                let why = "too many questions wait for the helper's workers: give it more (directory.system.workers, or --workers), or see what is slow";
                job.answer(&Answer::Outage { why: why.to_owned() });
            }
            Err(TrySendError::Disconnected(_)) => return Ok(()),
        }
    }
}

/// One worker at a time, for ever.
fn look_after(queue: &Mutex<Receiver<Job>>, limits: &Limits) {
    let limit = limits.time;
    let mut worker: Option<Worker> = None;
    loop {
        let job = queue.lock().recv();
        let Ok(job) = job else { return };
        let asked = match worker.as_mut() {
            Some(worker) => worker.ask(&job.line, limit),
            None => match Worker::start(limits.least) {
                Ok(started) => worker.insert(started).ask(&job.line, limit),
                Err(why) => Err(format!("the helper cannot start a process: {why}")),
            },
        };
        match asked {
            Ok(line) => {
                let _ = job.back.lock().write_all(&line);
            }
            Err(why) => {
                // The next question gets a new one.
                worker = None;
                job.answer(&Answer::Outage { why });
            }
        }
    }
}

struct Worker {
    child: Child,
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Worker {
    fn start(least: u32) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .args(["pam-helper", "--worker", "--first-valid-uid", &least.to_string()])
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        let reader = BufReader::new(ours.try_clone()?);
        Ok(Self { child, stream: ours, reader })
    }

    fn ask(&mut self, line: &[u8], limit: Duration) -> Result<Vec<u8>, String> {
        let gone = |why: &str| {
            format!(
                "a process that asks PAM or NSS has ended ({why}): a module of the PAM service may have crashed, see the system's log"
            )
        };
        self.stream.set_read_timeout(Some(limit)).map_err(|why| why.to_string())?;
        self.stream.write_all(line).map_err(|why| gone(&why.to_string()))?;
        let mut answer = Vec::new();
        let read = (&mut self.reader).take(LONGEST_ANSWER as u64).read_until(b'\n', &mut answer);
        match read {
            Ok(_) if answer.last() == Some(&b'\n') => Ok(answer),
            Ok(_) => Err(gone("without an answer")),
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(format!(
                    "PAM or NSS took longer than {} s and was given up: look at the modules of the PAM service and at nsswitch.conf",
                    limit.as_secs_f64()
                ))
            }
            Err(why) => Err(gone(&why.to_string())),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
