//! The floor under FETCH of bodies: to read the files and write them to a socket of the loopback, and nothing else.

use anyhow::Result;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// What the floor costs.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// CPU time of the writer for one file, microseconds.
    pub cpu_each: f64,
    /// Megabytes (10^6 octets) in a second.
    pub megabytes: f64,
}

/// Writes every file of `dir` to a reader on another thread, in the order of their names.
///
/// # Errors
/// From the file system or the network.
pub fn measure(dir: &Path) -> Result<Floor> {
    let mut files = fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} is empty", dir.display());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut reader = TcpStream::connect(listener.local_addr()?)?;
    let (mut writer, _) = listener.accept()?;
    let start = Instant::now();
    let (cpu, octets) = std::thread::scope(|scope| -> Result<_> {
        let count = files.len();
        let writing = scope.spawn(move || -> Result<Duration> {
            for file in files {
                writer.write_all(&fs::read(file)?)?;
            }
            // A new thread: what it has run is the work.
            let ran = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let ran = Duration::new(u64::try_from(ran.tv_sec)?, u32::try_from(ran.tv_nsec)?);
            Ok(ran / u32::try_from(count)?)
        });
        let mut buffer = vec![0; 256 * 1024];
        let mut octets = 0;
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                n => octets += n,
            }
        }
        let cpu = writing.join().map_err(|_| anyhow::anyhow!("the writer"))??;
        Ok((cpu, octets))
    })?;
    Ok(Floor {
        cpu_each: cpu.as_secs_f64() * 1e6,
        megabytes: octets as f64 / 1e6 / start.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_octets_arrive() {
        let temp = tempfile::tempdir().unwrap();
        for i in 0..20 {
            fs::write(temp.path().join(i.to_string()), vec![b'x'; 30_000]).unwrap();
        }
        let floor = measure(temp.path()).unwrap();
        assert!(floor.cpu_each > 0.1 && floor.megabytes > 1.0, "{floor:?}");
    }
}
