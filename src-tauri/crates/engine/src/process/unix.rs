//! Starting the worker on Linux and macOS.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use command_fds::{CommandFdExt, FdMapping};

use super::WorkerEnds;

/// A running worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) child: Child,
}

/// Starts `command` with the four pipes at descriptors 3 to 6, in a process group of its own: a Ctrl-C
/// in the terminal is for the app, which then ends the worker in order.
pub(super) fn spawn(mut command: Command, ends: WorkerEnds) -> std::io::Result<Worker> {
    let map = |fd: OwnedFd, child_fd: i32| FdMapping { parent_fd: fd, child_fd };
    command
        .process_group(0)
        .fd_mappings(vec![
            map(ends.control_in.into(), 3),
            map(ends.control_out.into(), 4),
            map(ends.state_in.into(), 5),
            map(ends.state_out.into(), 6),
        ])
        .map_err(std::io::Error::other)?;
    // `command` owns our copies of the worker's ends; they close when it is dropped here, so that the
    // worker's death is seen as the end of its pipes.
    Ok(Worker { child: command.spawn()? })
}
