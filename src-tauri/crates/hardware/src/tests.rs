use std::io::Write;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_probe_knows_this_machine() {
    let hardware = probe(&std::env::temp_dir().join("reprise/not/there/yet"));
    assert!(hardware.cpu.logical_cores.is_some_and(|cores| cores > 0));
    assert!(hardware.memory.total.is_some_and(|total| total > 64 << 20), "{:?}", hardware.memory);
    assert!(hardware.memory.available <= hardware.memory.total);
    assert!(hardware.disk.free.is_some(), "no mount was found for the folder of temporary files");
    #[cfg(target_arch = "aarch64")]
    assert!(hardware.cpu.features.contains(&"neon".to_owned()));
}

#[cfg(target_os = "linux")]
#[test]
fn features_agree_with_the_kernel() {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").expect("Linux lists its processors");
    let line = cpuinfo.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let Some((_, flags)) = line.and_then(|line| line.split_once(':')) else {
        // Straight to standard error, past the capture of the test harness.
        let _ = writeln!(std::io::stderr(), "skipped, because this kernel names no instruction sets");
        return;
    };
    let flags: Vec<&str> = flags.split_whitespace().collect();
    // The kernel calls these two otherwise.
    let kernel_name = |feature: &str| match feature {
        "neon" => "asimd".to_owned(),
        "dotprod" => "asimddp".to_owned(),
        "fp16" => "fphp".to_owned(),
        other => other.to_owned(),
    };
    let features = probe(&std::env::temp_dir()).cpu.features;
    for (name, here) in cpu::detected() {
        assert_eq!(flags.contains(&kernel_name(name).as_str()), here, "{name}");
        assert_eq!(features.iter().any(|feature| feature == name), here, "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_system_that_is_not_listed_is_not_taken_for_its_parents() {
    // /proc is a mount of its own without space; its free bytes are not those of the root.
    assert_eq!(probe(Path::new("/proc")).disk.free, None);
}

#[test]
fn what_nobody_asked_says_so() {
    let hardware = host(&std::env::temp_dir());
    assert!(!hardware.nvml.available && hardware.gpus.is_empty());
    assert_eq!(hardware.nvml.cause, Some(AbsenceCause::NotAsked));
    assert!(hardware.nvml.reason.is_some_and(|reason| reason.ends_with('.')));
}

#[test]
fn json_has_the_keys_of_the_command_line() {
    let json = serde_json::to_value(probe(&std::env::temp_dir())).expect("plain data");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&json["nvml"]),
        ["available", "cause", "cuda_version", "detail", "driver_version", "missing", "reason", "remedy"]
    );
    assert_eq!(
        keys(&serde_json::to_value(Gpu::default()).expect("plain data")),
        [
            "compute_capability",
            "index",
            "memory_free",
            "memory_total",
            "memory_used",
            "missing",
            "name",
            "pci_bus_id",
            "power_limit_mw",
            "power_mw",
            "processes",
            "temperature_c",
            "utilisation",
            "uuid"
        ]
    );
    assert_eq!(keys(&json["cpu"]), ["brand", "features", "logical_cores", "physical_cores"]);
    assert_eq!(keys(&json["memory"]), ["available", "total"]);
    assert_eq!(keys(&json["disk"]), ["free"]);
}

#[test]
fn a_probe_is_fast() {
    let best = (0..5).map(|_| {
        let start = Instant::now();
        std::hint::black_box(probe(&std::env::temp_dir()));
        start.elapsed()
    });
    let best = best.min().unwrap_or_default();
    println!("probe: {best:?}");
    assert!(best < Duration::from_millis(250), "a probe took {best:?}");
}
