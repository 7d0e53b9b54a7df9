use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, RefreshKind, System};

/// The processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// The maker's name of it.
    pub brand: Option<String>,
    /// Cores that compute; llama.cpp runs best with one thread on each.
    pub physical_cores: Option<usize>,
    /// Hardware threads this process may use, hyper-threads counted.
    pub logical_cores: Option<usize>,
    /// Instruction sets that ggml has code for and this processor has, in the order of [`detected`].
    pub features: Vec<String>,
}

impl Cpu {
    pub(crate) fn probe() -> Self {
        let refreshed = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(refreshed).ok();
        let brand = system.and_then(|system| Some(system.cpus().first()?.brand().trim().to_owned()));
        Self {
            brand: brand.filter(|brand| !brand.is_empty()),
            physical_cores: System::physical_core_count().ok(),
            logical_cores: std::thread::available_parallelism().ok().map(std::num::NonZero::get),
            features: detected()
                .into_iter()
                .filter(|(_, has)| *has)
                .map(|(name, _)| name.to_owned())
                .collect(),
        }
    }
}

/// Each instruction set ggml's CPU modules are built for, and whether it is here.
#[cfg(target_arch = "x86_64")]
pub(crate) fn detected() -> Vec<(&'static str, bool)> {
    use std::arch::is_x86_feature_detected as has;
    vec![
        ("sse4_2", has!("sse4.2")),
        ("avx", has!("avx")),
        ("f16c", has!("f16c")),
        ("fma", has!("fma")),
        ("bmi2", has!("bmi2")),
        ("avx2", has!("avx2")),
        ("avx_vnni", has!("avxvnni")),
        ("avx512f", has!("avx512f")),
        ("avx512bw", has!("avx512bw")),
        ("avx512vbmi", has!("avx512vbmi")),
        ("avx512_vnni", has!("avx512vnni")),
        ("avx512_bf16", has!("avx512bf16")),
    ]
}

/// Each instruction set ggml's CPU modules are built for, and whether it is here.
#[cfg(target_arch = "aarch64")]
pub(crate) fn detected() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected as has;
    vec![
        ("neon", has!("neon")),
        ("dotprod", has!("dotprod")),
        ("fp16", has!("fp16")),
        ("i8mm", has!("i8mm")),
        ("sve", has!("sve")),
        ("sve2", has!("sve2")),
    ]
}

/// No instruction set is named for this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn detected() -> Vec<(&'static str, bool)> {
    Vec::new()
}
