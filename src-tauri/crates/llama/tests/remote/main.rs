//! A device whose memory is another process's: serves the processor of this machine over ggml's RPC, for tests.
//! To llama.cpp on the other side it is of type GPU, so what is offloaded to it is not in that process's
//! memory. Never packaged; ends when its standard input does.
//!
//! Arguments: the RPC module, `127.0.0.1:port`, threads.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use llama_cpp_2::llama_backend::load_backends_from_path;
use llama_cpp_sys_2 as sys;

/// `ggml_backend_rpc_start_server` of ggml-rpc.h: endpoint, cache folder, threads, devices and how many.
type StartServer =
    unsafe extern "C" fn(*const c_char, *const c_char, usize, usize, *mut sys::ggml_backend_dev_t);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, endpoint, threads] = arguments.as_slice() else {
        eprintln!("started by tests, not by people");
        return ExitCode::from(2);
    };
    thread::spawn(|| {
        // Whoever started it holds the other end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let (Ok(module), Ok(address), Ok(threads), Ok(program)) = (
        CString::new(module.as_str()),
        CString::new(endpoint.as_str()),
        threads.parse(),
        std::env::current_exe(),
    ) else {
        return ExitCode::from(2);
    };
    load_backends_from_path(program.parent().unwrap_or(Path::new("/")));
    // SAFETY: the strings outlive the calls; the function is what ggml-rpc.h says under this name; the device
    // is one that is registered, and this thread alone uses the registry.
    unsafe {
        let registry = sys::ggml_backend_load(module.as_ptr());
        if registry.is_null() {
            eprintln!("the RPC module could not be loaded");
            return ExitCode::FAILURE;
        }
        let start =
            sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_rpc_start_server".as_ptr());
        let mut device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        if start.is_null() || device.is_null() {
            eprintln!("there is no server or no processor");
            return ExitCode::FAILURE;
        }
        let start = std::mem::transmute::<*mut std::ffi::c_void, StartServer>(start);
        start(address.as_ptr(), std::ptr::null(), threads, 1, &raw mut device);
    }
    // It serves for ever, unless the port is taken.
    eprintln!("{endpoint} could not be served");
    ExitCode::FAILURE
}
