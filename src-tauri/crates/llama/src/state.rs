//! llama.cpp's state of one sequence as bytes. The three calls that are unsafe, and nothing else.
#![allow(unsafe_code)]

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::session::LlamaStateSeqFlags;

/// The one sequence of every context here.
const SEQUENCE: i32 = 0;

/// Access to a context's state. A trait, so that tests can put a broken backend between a context and
/// its bytes and see that it is found out.
pub trait StateAccess: Send + Sync {
    /// Bytes that an export takes now.
    fn size(&self, context: &LlamaContext<'_>) -> usize;
    /// Exports into `image`, which is given the right size; false where llama.cpp wrote another number of
    /// bytes than it had announced.
    fn get(&self, context: &LlamaContext<'_>, image: &mut Vec<u8>) -> bool;
    /// Puts `image` into an empty context; false where llama.cpp refused it.
    fn set(&self, context: &mut LlamaContext<'_>, image: &[u8]) -> bool;
}

/// llama.cpp itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl StateAccess for Direct {
    fn size(&self, context: &LlamaContext<'_>) -> usize {
        context.state_seq_get_size_ext(SEQUENCE, LlamaStateSeqFlags::empty())
    }

    fn get(&self, context: &LlamaContext<'_>, image: &mut Vec<u8>) -> bool {
        let size = self.size(context);
        image.resize(size, 0);
        // SAFETY: llama.cpp writes as many bytes as it announced for the same context just before, and
        // the context cannot change in between: it is borrowed, and this thread owns it. The buffer has
        // exactly that size. Checked again below, where llama.cpp says how many it wrote.
        let written = unsafe {
            context.state_seq_get_data_ext(image.as_mut_ptr(), SEQUENCE, LlamaStateSeqFlags::empty())
        };
        size > 0 && written == size
    }

    fn set(&self, context: &mut LlamaContext<'_>, image: &[u8]) -> bool {
        // SAFETY: llama.cpp is told the slice's length and checks it at every read
        // (`llama_io_read_host`); what is in it may be anything, and is refused or becomes numbers.
        unsafe { context.state_seq_set_data_ext(image, SEQUENCE, LlamaStateSeqFlags::empty()) }
    }
}
