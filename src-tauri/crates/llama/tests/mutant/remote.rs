//! A worker that has a device whose memory is another process's.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::net::TcpStream;

use llama_cpp_sys_2 as sys;

/// `ggml_backend_rpc_add_server` of ggml-rpc.h.
type AddServer = unsafe extern "C" fn(*const c_char) -> sys::ggml_backend_reg_t;

/// Registers the device that is served at `endpoint`, if anybody serves there: a device that is gone is not
/// there at the next start either.
pub fn connect(module: &str, endpoint: &str) {
    if let Err(error) = TcpStream::connect(endpoint) {
        eprintln!("the remote device is gone: {error}");
        return;
    }
    let (Ok(module), Ok(endpoint)) = (CString::new(module), CString::new(endpoint)) else { return };
    // SAFETY: before anything else of ggml is used, on the only thread; the strings outlive the calls; the
    // function is what ggml-rpc.h says under this name.
    unsafe {
        let registry = sys::ggml_backend_load(module.as_ptr());
        if registry.is_null() {
            eprintln!("the RPC module could not be loaded");
            return;
        }
        let add = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_rpc_add_server".as_ptr());
        if add.is_null() {
            return;
        }
        let add = std::mem::transmute::<*mut std::ffi::c_void, AddServer>(add);
        let server = add(endpoint.as_ptr());
        if !server.is_null() {
            sys::ggml_backend_register(server);
        }
    }
}
