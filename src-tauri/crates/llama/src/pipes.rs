//! The four pipes that the app hands down, and the ways to end. `unsafe` is for taking ownership of
//! descriptors that were passed by number, for one variable of the environment, and for `_exit`.
#![allow(unsafe_code)]

use std::io::{self, PipeReader, PipeWriter};

/// The worker's ends.
#[derive(Debug)]
pub struct Pipes {
    /// Requests.
    pub control_in: PipeReader,
    /// Events.
    pub control_out: PipeWriter,
    /// State bytes from the app.
    pub state_in: PipeReader,
    /// State bytes to the app.
    pub state_out: PipeWriter,
}

/// Takes the pipes that the parent passed. Call once, before anything opens a file.
#[cfg(unix)]
pub fn inherited() -> io::Result<Pipes> {
    use std::os::fd::{FromRawFd, OwnedFd};

    let take = |number: i32| -> io::Result<OwnedFd> {
        // SAFETY: fcntl on any number is harmless: it fails where nothing is open.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open (fcntl succeeded) and nothing else in this process owns it:
        // this runs first, and the numbers are the parent's to give.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    };
    Ok(Pipes {
        control_in: take(3)?.into(),
        control_out: take(4)?.into(),
        state_in: take(5)?.into(),
        state_out: take(6)?.into(),
    })
}

/// Takes the pipes whose handles the parent named in `REPRISE_PIPES`. Not yet run on Windows.
#[cfg(windows)]
pub fn inherited() -> io::Result<Pipes> {
    use std::os::windows::io::{FromRawHandle, OwnedHandle};

    let missing = || io::Error::other("REPRISE_PIPES is not set");
    let names = std::env::var("REPRISE_PIPES").map_err(|_| missing())?;
    let mut handles = names.split(',').map(|name| name.parse::<usize>());
    let mut take = || -> io::Result<OwnedHandle> {
        let handle = handles.next().ok_or_else(missing)?.map_err(io::Error::other)?;
        // SAFETY: the parent made this handle inheritable for this process and no one else takes it.
        Ok(unsafe { OwnedHandle::from_raw_handle(handle as _) })
    };
    Ok(Pipes {
        control_in: take()?.into(),
        control_out: take()?.into(),
        state_in: take()?.into(),
        state_out: take()?.into(),
    })
}

/// Sees to it that a bug ends this process at once, and that what it leaves in the log is a place in
/// the source and never a prompt. Call first of all, while there is one thread.
///
/// A panic's message may quote the text that was sliced or parsed, and a panic of one thread alone
/// would leave a worker that does not notice the app's death. A failed assertion of ggml would start a
/// debugger, which takes seconds and prints arguments.
pub fn end_quietly_on_bugs() {
    // SAFETY: nothing else reads or writes the environment yet: this is the only thread.
    unsafe { std::env::set_var("GGML_NO_BACKTRACE", "1") };
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a bug");
        eprintln!("panicked at {place}");
        exit_at_once(101);
    }));
}

/// Ends the process without running destructors: another thread may be in the middle of a decode, and
/// nothing here is worth saving.
pub fn exit_at_once(code: i32) -> ! {
    #[cfg(unix)]
    // SAFETY: never returns and touches nothing.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}
