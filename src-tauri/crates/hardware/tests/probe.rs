//! The probe on a played NVML and on files that are none. Each probe runs in a process of its own, because
//! what is played comes by the environment.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use reprise_hardware::{AbsenceCause, Gpu, Hardware, MissingCause, Os, Probe, Sample};
use serde::{Deserialize, Serialize};

/// What a process of its own found.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    /// Two looks, one after the other.
    looks: Vec<Hardware>,
    /// Then samples by one handle.
    samples: Vec<Sample>,
    /// Then another look, beside the handle.
    last: Hardware,
}

/// Not a test by itself: the other ones start it.
#[test]
#[ignore = "started by the tests beside it, each with its own environment"]
fn a_process_of_its_own() {
    let Some(answer) = std::env::var_os("PROBE_ANSWER") else { return };
    let here = std::env::temp_dir();
    let probe = Probe::with_library(std::env::var_os("PROBE_LIBRARY").unwrap_or_default());
    let looks = vec![probe.look(&here), probe.look(&here)];
    let meters = probe.meters();
    let samples = (0..12).map(|_| meters.sample()).collect();
    let last = probe.look(&here);
    drop(meters);
    let found = Found { looks, samples, last };
    fs::write(answer, serde_json::to_vec(&found).expect("plain data")).expect("the answer can be kept");
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// What `scenario` gives with the library at `path`, and how often NVML was started and ended.
fn probe(path: &Path, scenario: &str, name: &str) -> (Found, Vec<String>) {
    let [answer, log] = ["answer", "log"].map(|kind| folder().join(format!("{name}.{kind}")));
    let _ = fs::remove_file(&answer);
    let _ = fs::remove_file(&log);
    let ended = Command::new(std::env::current_exe().expect("this test is a file"))
        .args(["--ignored", "--exact", "a_process_of_its_own"])
        .env("PROBE_LIBRARY", path)
        .env("PROBE_ANSWER", &answer)
        .env("REPRISE_FAKE_NVML", scenario)
        .env("REPRISE_FAKE_NVML_LOG", &log)
        .output()
        .expect("this test can be started");
    assert!(ended.status.success(), "{scenario}: {}", String::from_utf8_lossy(&ended.stdout));
    let found = serde_json::from_slice(&fs::read(&answer).expect("there is an answer")).expect("JSON");
    let log = fs::read_to_string(&log).unwrap_or_default();
    (found, log.lines().map(str::to_owned).collect())
}

/// The played library, built with `flags`; `None`, said aloud, without a C compiler.
fn build(name: &str, flags: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-nvml/nvml.c");
    let library = folder().join(format!("{name}.so"));
    let built = folder().join(format!("{name}.{}.so", std::process::id()));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let Ok(output) =
        Command::new(&compiler).args(["-shared", "-fPIC", "-o"]).arg(&built).args(flags).arg(source).output()
    else {
        // Straight to standard error, past the capture of the test harness.
        let _ = writeln!(std::io::stderr(), "skipped, because there is no C compiler to build a played NVML");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&built, &library).expect("what was built can be moved");
    Some(library)
}

fn fake() -> Option<&'static Path> {
    static FAKE: OnceLock<Option<PathBuf>> = OnceLock::new();
    FAKE.get_or_init(|| build("fake-nvml", &[])).as_deref()
}

fn play(scenario: &str) -> Option<(Found, Vec<String>)> {
    Some(probe(fake()?, scenario, &format!("play-{}", scenario.replace(':', "-"))))
}

/// A value is there, or there is a reason: never neither, never both.
fn complete(gpu: &Gpu) {
    let json = serde_json::to_value(gpu).expect("plain data");
    for (name, value) in json.as_object().expect("an object") {
        if name != "missing" && name != "index" {
            assert_eq!(value.is_null(), gpu.missing.contains_key(name), "{name}: {gpu:?}");
        }
    }
}

fn absent(hardware: &Hardware, cause: AbsenceCause) {
    let nvml = &hardware.nvml;
    assert_eq!((nvml.available, nvml.cause), (false, Some(cause)), "{nvml:?}");
    assert!(hardware.gpus.is_empty());
    assert!(nvml.reason.as_ref().is_some_and(|text| text.ends_with('.')), "{nvml:?}");
    assert_eq!(nvml.remedy.as_deref(), Some(cause.remedy(Os::here())));
    // What has nothing to do with NVML is known as ever.
    assert!(hardware.memory.total.is_some() && hardware.cpu.logical_cores.is_some());
}

#[test]
fn no_card() {
    let Some((found, _)) = play("none") else { return };
    let nvml = &found.looks[0].nvml;
    assert!(nvml.available && nvml.cause.is_none() && nvml.reason.is_none(), "{nvml:?}");
    assert_eq!(nvml.driver_version.as_deref(), Some("580.65.06"));
    assert_eq!(nvml.cuda_version.as_deref(), Some("13.0"));
    assert!(found.looks[0].gpus.is_empty() && nvml.missing.is_empty());
    assert!(found.samples.iter().all(|sample| sample.nvml_absent.is_none() && sample.gpus.is_empty()));
}

#[test]
fn one_card() {
    let Some((found, log)) = play("one") else { return };
    let [gpu] = &found.looks[0].gpus[..] else { panic!("{found:?}") };
    let expect = Gpu {
        index: 0,
        name: Some("NVIDIA Fake RTX 4000".to_owned()),
        uuid: Some("GPU-00000000-0000-0000-0000-000000000000".to_owned()),
        pci_bus_id: Some("0000:0a:00.0".to_owned()),
        memory_total: Some(24 << 30),
        memory_free: Some((24 << 30) - (3 << 29)),
        memory_used: Some(1 << 30),
        compute_capability: Some("8.9".to_owned()),
        temperature_c: Some(40),
        utilisation: Some(10),
        power_mw: Some(55_000),
        power_limit_mw: Some(450_000),
        processes: Some(Vec::new()),
        missing: BTreeMap::new(),
    };
    assert_eq!(gpu, &expect);
    assert_eq!(found.looks[1].gpus, found.last.gpus);
    let sample = &found.samples[11].gpus[0];
    assert_eq!((sample.memory_free, sample.temperature_c), (gpu.memory_free, gpu.temperature_c));
    assert!(sample.missing.is_empty());
    // Each look by itself starts and ends it; the meters start it once, for themselves and the last look.
    assert_eq!(log, ["start", "end", "start", "end", "start", "end"]);
}

#[test]
fn eight_cards() {
    let Some((found, _)) = play("eight") else { return };
    let gpus = &found.looks[0].gpus;
    assert_eq!(gpus.len(), 8);
    for (number, gpu) in (0..8).zip(gpus) {
        complete(gpu);
        assert_eq!((gpu.index, gpu.temperature_c), (number, Some(40 + number)));
        assert_eq!(gpu.memory_total, Some(u64::from(24 + number) << 30));
    }
    assert_eq!(gpus[7].pci_bus_id.as_deref(), Some("0000:11:00.0"));
    assert_eq!(found.samples[0].gpus.len(), 8);
}

#[test]
fn an_old_driver_lacks_what_came_later() {
    let Some((found, _)) = play("old_driver") else { return };
    let nvml = &found.looks[0].nvml;
    assert_eq!(nvml.driver_version.as_deref(), Some("470.256.02"));
    assert_eq!(nvml.cuda_version.as_deref(), Some("11.4"));
    let gpu = &found.looks[0].gpus[0];
    complete(gpu);
    assert_eq!(gpu.compute_capability.as_deref(), Some("3.7"));
    for name in ["memory_total", "memory_free", "memory_used", "processes"] {
        assert_eq!(gpu.missing[name].cause, MissingCause::NotInThisDriver, "{name}");
    }
    assert_eq!(gpu.missing.len(), 4, "{gpu:?}");
}

#[test]
fn a_failing_query_hides_no_other() {
    let Some((found, log)) = play("failing_queries") else { return };
    let hardware = &found.looks[0];
    assert!(hardware.nvml.available && hardware.nvml.driver_version.is_some());
    assert_eq!(hardware.nvml.missing["cuda_version"].cause, MissingCause::Other);
    let gpu = &hardware.gpus[0];
    complete(&Gpu { missing: without(gpu, "graphics_processes"), ..gpu.clone() });
    let causes: Vec<(&str, MissingCause)> =
        gpu.missing.iter().map(|(name, missing)| (name.as_str(), missing.cause)).collect();
    assert_eq!(
        causes,
        [
            ("graphics_processes", MissingCause::NotSupported),
            ("memory_free", MissingCause::NoPermission),
            ("memory_total", MissingCause::NoPermission),
            ("memory_used", MissingCause::NoPermission),
            ("name", MissingCause::Other),
            ("power_mw", MissingCause::Other),
            ("temperature_c", MissingCause::NotSupported),
        ]
    );
    assert!(gpu.uuid.is_some() && gpu.utilisation == Some(10) && gpu.processes == Some(Vec::new()));
    // Nothing of it is a reason to start NVML anew.
    assert_eq!(log.iter().filter(|line| *line == "start").count(), 3, "{log:?}");
}

fn without(gpu: &Gpu, name: &str) -> BTreeMap<String, reprise_hardware::Missing> {
    let mut missing = gpu.missing.clone();
    missing.remove(name);
    missing
}

#[test]
fn a_card_that_falls_off_the_bus_is_looked_for_anew() {
    let Some((found, log)) = play("gpu_lost:7") else { return };
    for hardware in &found.looks {
        let gpu = &hardware.gpus[0];
        complete(gpu);
        // Seven questions are answered, by the second look again: it started NVML anew.
        assert!(gpu.uuid.is_some() && gpu.temperature_c.is_some(), "{gpu:?}");
        assert_eq!(gpu.missing["utilisation"].cause, MissingCause::GpuLost);
    }
    // Five questions a sample: the second one loses the card, nine say so, the twelfth tries anew.
    assert!(found.samples[0].gpus[0].missing.is_empty());
    assert_eq!(found.samples[1].gpus[0].missing["power_mw"].cause, MissingCause::GpuLost);
    for sample in &found.samples[2..11] {
        assert_eq!((sample.nvml_absent, sample.gpus.len()), (Some(AbsenceCause::GpuLost), 0));
    }
    assert!(found.samples[11].gpus[0].missing.is_empty());
    // The last look goes on with what the meters started, and loses it.
    assert!(found.last.gpus[0].memory_total.is_some());
    assert_eq!(log, ["start", "end", "start", "end", "start", "end", "start", "end"]);

    let Some((found, _)) = play("gpu_lost:0") else { return };
    let gpu = &found.looks[0].gpus[0];
    complete(gpu);
    assert_eq!(gpu.missing.len(), 12, "{gpu:?}");
    assert!(gpu.missing.values().all(|missing| missing.cause == MissingCause::GpuLost));
}

#[test]
fn who_holds_the_memory_is_told() {
    let Some((found, _)) = play("vram_filled") else { return };
    let gpu = &found.looks[0].gpus[0];
    complete(gpu);
    assert_eq!(gpu.memory_free, Some(1 << 29));
    let processes = gpu.processes.as_ref().expect("they are known");
    let told: Vec<_> = processes.iter().map(|one| (one.pid, one.name.as_deref(), one.memory_used)).collect();
    assert_eq!(
        told,
        [(4242, Some("other-program"), Some(23 << 30)), (77, None, Some(1 << 28)), (99, None, None)]
    );
}

#[test]
fn a_start_that_fails_has_a_cause() {
    let check = |scenario: &str, cause| {
        let Some((found, log)) = play(scenario) else { return };
        for hardware in found.looks.iter().chain([&found.last]) {
            absent(hardware, cause);
            assert!(hardware.nvml.detail.is_some(), "{:?}", hardware.nvml);
        }
        assert!(found.samples.iter().all(|sample| sample.nvml_absent == Some(cause)));
        // Three looks and, of twelve samples, the first and the eleventh.
        let starts = log.iter().filter(|line| *line == "start").count();
        assert_eq!(starts, 5, "{scenario}: {log:?}");
        assert_eq!(starts, log.len(), "what did not start is not ended: {log:?}");
    };
    check("mismatch", AbsenceCause::DriverLibraryMismatch);
    check("no_permission", AbsenceCause::NoPermission);
    check("no_driver", AbsenceCause::NoDriver);
    check("lost_at_start", AbsenceCause::GpuLost);
    check("anything else", AbsenceCause::Other);
}

#[test]
fn libraries_that_lack_symbols() {
    let Some(few) = build("few", &["-DFAKE_FEW"]) else { return };
    let (found, _) = probe(&few, "one", "few");
    let hardware = &found.looks[0];
    assert!(hardware.nvml.available);
    assert_eq!(hardware.nvml.missing["driver_version"].cause, MissingCause::NotInThisDriver);
    let gpu = &hardware.gpus[0];
    complete(gpu);
    assert_eq!(gpu.missing.len(), 12, "{gpu:?}");
    assert!(gpu.missing.values().all(|missing| missing.cause == MissingCause::NotInThisDriver));

    for (name, flag) in [("no-shutdown", "-DFAKE_NO_SHUTDOWN"), ("no-init", "-DFAKE_NO_INIT")] {
        let Some(library) = build(name, &[flag]) else { return };
        let (found, _) = probe(&library, "one", name);
        absent(&found.looks[1], AbsenceCause::NotLoadable);
    }
}

#[test]
fn files_that_are_no_library_for_this_machine() {
    let check = |name: &str, bytes: &[u8], cause| {
        let path = folder().join(name);
        fs::write(&path, bytes).expect("a file can be written");
        let (found, _) = probe(&path, "one", name);
        absent(&found.looks[0], cause);
        let detail = found.looks[0].nvml.detail.clone().unwrap_or_default();
        assert!(detail.contains(name), "{detail}");
    };
    check("text.so", b"This is not a library.\n", AbsenceCause::NotLoadable);
    check("empty.so", b"", AbsenceCause::NotLoadable);
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut elf = [0_u8; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16] = 3;
    // IBM S/390 and RISC-V are not what this runs on.
    for (name, machine) in [("s390.so", 22), ("riscv.so", 243)] {
        elf[18] = machine;
        check(name, &elf, AbsenceCause::WrongArchitecture);
    }
    if let Some(fake) = fake() {
        let whole = fs::read(fake).expect("it was built");
        check("cut.so", &whole[..4096.min(whole.len() / 2)], AbsenceCause::NotLoadable);
        check("head.so", &whole[..64], AbsenceCause::NotLoadable);
    }
}

#[test]
fn paths_where_nothing_is() {
    let check = |path: &Path, cause| {
        let hardware = Probe::with_library(path).look(&std::env::temp_dir());
        absent(&hardware, cause);
        assert!(hardware.nvml.detail.is_some(), "{:?}", hardware.nvml);
    };
    check(&folder().join("not/there.so"), AbsenceCause::NoLibrary);
    check(Path::new("libthere-is-no-such-library.so.1"), AbsenceCause::NoLibrary);
    check(folder(), AbsenceCause::NotLoadable);
}

#[test]
fn each_cause_has_a_remedy_on_each_system() {
    for cause in AbsenceCause::ALL {
        for os in [Os::Linux, Os::Windows, Os::MacOs] {
            assert!(cause.remedy(os).ends_with('.'), "{cause:?} {os:?}");
        }
        assert!(cause.reason().ends_with('.'));
    }
    assert_ne!(AbsenceCause::NoDriver.remedy(Os::Linux), AbsenceCause::NoDriver.remedy(Os::Windows));
}

/// Printed, not asserted: the bounds are 5 ms for a look and 1 % of a core for a sample a second.
#[test]
fn what_it_costs_without_nvml() {
    let probe = Probe::with_library(folder().join("not/there.so"));
    let time = |name: &str, work: &dyn Fn()| {
        let mut times: Vec<_> = (0..21)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("{name}: median {:?}, most {:?}", times[10], times[20]);
    };
    let here = std::env::temp_dir();
    time("a look without NVML", &|| drop(probe.look(&here)));
    let usual = Probe::new();
    time("a look at the usual places", &|| drop(usual.look(&here)));
    let meters = probe.meters();
    time("a sample without NVML", &|| drop(meters.sample()));
}
