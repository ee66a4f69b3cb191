//! A shard that was started.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::pipe::PipeFlags;

use super::spool::{self, Spool, Stream};
use super::whole_lines::WholeLines;
use crate::plan::Shard;
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::runtime::exit_code;
use crate::sys::process::copy::{Outputs, copy};
use crate::sys::process::first_process;
use crate::sys::process::pidfd::Process;
use crate::sys::time::Instant;

/// How much is read at once.
pub(super) type Chunk = [u8; 64 << 10];
/// How many chunks are read in turn, so that one shard does not keep us from the others.
const TURN: usize = 4;
/// How many can be left when a shard has exited: no pipe holds more, but what survived may go on writing.
const REST: usize = 64;

#[derive(Debug)]
pub(super) struct RunningShard {
    pub shard: Shard,
    pub process: Process,
    pub spool: Spool,
    /// It was asked to exit because another one failed.
    pub is_asked_to_exit: bool,
    /// With how long it took.
    pub ended: Option<(ExitStatus, Duration)>,
    /// Its JSON report.
    pub report: Vec<u8>,
    begun: Instant,
    outputs: Vec<Output>,
    report_pipe: Option<File>,
}

#[derive(Debug)]
struct Output {
    stream: Stream,
    pipe: File,
    lines: WholeLines,
}

/// Which of the two this process is, after a shard was started.
pub(super) enum Started {
    /// The one that started it.
    Parent(Box<RunningShard>),
    /// The shard, whose report goes to this descriptor.
    Shard(Option<RawFd>),
}

impl RunningShard {
    pub(super) fn start(shard: Shard, with_report: bool) -> io::Result<Started> {
        let spool = Spool::new().map_err(spool::in_its_directory)?;
        let ((out, their_out), (err, their_err)) = (pipe()?, pipe()?);
        let report = if with_report { Some(pipe()?) } else { None };
        let outputs = Outputs { out: their_out.as_fd(), err: their_err.as_fd() };
        let Some(process) = copy(outputs)? else {
            let fd = report.map(|(_, theirs)| {
                let fd = theirs.as_raw_fd();
                // It stays open until the shard exits.
                std::mem::forget(theirs);
                fd
            });
            return Ok(Started::Shard(fd));
        };
        let lines = || WholeLines::new(&shard.prefix());
        Ok(Started::Parent(Box::new(Self {
            shard,
            process,
            spool,
            is_asked_to_exit: false,
            ended: None,
            report: Vec::new(),
            begun: clock::now(),
            outputs: vec![
                Output { stream: Stream::Out, pipe: out.into(), lines: lines() },
                Output { stream: Stream::Err, pipe: err.into(), lines: lines() },
            ],
            report_pipe: report.map(|(ours, _)| ours.into()),
        })))
    }

    pub(super) fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.ended.is_some_and(|(status, _)| !status.success())
    }

    /// It has exited because another one failed. A command can handle the request, and exit with any code.
    pub(super) fn is_cut_short(&self) -> bool {
        let unproven = Some(i32::from(exit_code::NOT_PROVEN));
        self.is_asked_to_exit
            && self.has_failed()
            && self.ended.is_some_and(|(status, _)| status.code() != unproven)
    }

    /// Takes what has come, without waiting.
    pub(super) fn read(&mut self, buffer: &mut Chunk) -> io::Result<()> {
        self.read_chunks(buffer, TURN)
    }

    fn read_chunks(&mut self, buffer: &mut Chunk, most: usize) -> io::Result<()> {
        for mut output in std::mem::take(&mut self.outputs) {
            let is_open = drain(&mut output.pipe, buffer, most, |bytes| {
                self.spool.push(output.stream, &output.lines.push(bytes))
            })?;
            if is_open {
                self.outputs.push(output);
            } else {
                self.spool.push(output.stream, &output.lines.finish())?;
            }
        }
        if let Some(mut pipe) = self.report_pipe.take() {
            let report = &mut self.report;
            let is_open = drain(&mut pipe, buffer, most, |bytes| {
                report.extend_from_slice(bytes);
                Ok(())
            })?;
            self.report_pipe = Some(pipe).filter(|_| is_open);
        }
        Ok(())
    }

    /// It has exited. What else holds its pipes is none of its processes, or is one that survived.
    pub(super) fn end(&mut self, status: ExitStatus, buffer: &mut Chunk) -> io::Result<()> {
        first_process::forget(self.process.pid);
        self.ended = Some((status, clock::since(self.begun)));
        self.read_chunks(buffer, REST)?;
        for mut output in std::mem::take(&mut self.outputs) {
            self.spool.push(output.stream, &output.lines.finish())?;
        }
        self.report_pipe = None;
        Ok(())
    }

    /// Its processes learn of it as if they had written to the reader itself.
    pub(super) fn close_stream(&mut self, stream: Stream) {
        self.outputs.retain(|it| it.stream != stream);
    }

    /// Whatever it writes from now on is lost.
    pub(super) fn close(&mut self) {
        self.outputs.clear();
        self.report_pipe = None;
    }

    pub(super) fn wakes(&self) -> impl Iterator<Item = Wake<'_>> {
        let pipes = self.outputs.iter().map(|it| &it.pipe).chain(&self.report_pipe);
        pipes.map(|pipe| Wake::readable(pipe.as_fd()))
    }
}

/// Returns whether more can come.
fn drain(
    pipe: &mut File,
    buffer: &mut Chunk,
    most: usize,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    for _ in 0..most {
        match pipe.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => take(&buffer[..length])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// We read without waiting; the shard's processes write as usual.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}
