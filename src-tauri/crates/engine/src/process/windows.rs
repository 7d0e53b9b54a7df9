//! Starting the worker on Windows. It compiles for that target and was never run there.
//!
//! The only `unsafe` outside the worker: two handle flags and one Job Object, so that the worker ends
//! with the app whatever kills it.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW};

use super::WorkerEnds;

/// A running worker and the job that ends it when the app's handle closes.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) child: Child,
    _job: OwnedHandle,
}

/// Starts `command`; the four pipe handles are inherited and named, in order, in `REPRISE_PIPES`.
pub(super) fn spawn(mut command: Command, ends: WorkerEnds) -> io::Result<Worker> {
    let handles = [
        ends.control_in.as_raw_handle(),
        ends.control_out.as_raw_handle(),
        ends.state_in.as_raw_handle(),
        ends.state_out.as_raw_handle(),
    ];
    for handle in handles {
        // SAFETY: `ends` keeps the handles open until the child is started.
        if unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let names = handles.map(|handle| (handle as usize).to_string()).join(",");
    let mut child = command
        .env("REPRISE_PIPES", names)
        .creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP)
        .spawn()?;
    // From here on only the worker holds its ends: its death is seen as the end of its pipes.
    drop(ends);
    match ending_with_us(&child) {
        Ok(job) => Ok(Worker { child, _job: job }),
        Err(error) => {
            // Nothing would end it with the app. The first error is the one to tell.
            let _ = child.kill();
            Err(error)
        }
    }
}

fn ending_with_us(child: &Child) -> io::Result<OwnedHandle> {
    // SAFETY: plain calls; the job handle is owned at once and the structure is fully initialised.
    unsafe {
        let job = CreateJobObjectW(std::ptr::null(), std::ptr::null());
        if job.is_null() {
            return Err(io::Error::last_os_error());
        }
        let job = OwnedHandle::from_raw_handle(job);
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = std::mem::zeroed();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        let size = u32::try_from(size_of_val(&limits)).map_err(io::Error::other)?;
        let set = SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectExtendedLimitInformation,
            (&raw const limits).cast(),
            size,
        );
        if set == 0 || AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(job)
    }
}
