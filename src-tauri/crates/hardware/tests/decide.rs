//! The decision, case by case, and what holds of it whatever goes in.

use std::time::Instant;

use reprise_hardware::decide::*;

const MIB: u64 = 1 << 20;

/// One card with room, and a model of 32 layers that takes 4,112 MiB of it.
fn usual() -> Situation {
    let layer = Layer { weights: 100 * MIB, kv_per_token: 4096, kv_fixed: 0 };
    let mut situation = Situation {
        machine: Machine {
            nvml: Nvml::Present,
            driver: Some("580.95".into()),
            memory_available: Some(16_384 * MIB),
            physical_cores: Some(8),
            logical_cores: Some(16),
            ..Machine::default()
        },
        modules: vec![
            Module {
                name: "CPU".into(),
                devices: vec![Device { name: "CPU".into(), kind: DeviceKind::Cpu, ..Device::default() }],
                ..Module::default()
            },
            Module {
                name: "CUDA".into(),
                cuda: Some(CudaBuild {
                    major: 13,
                    architectures: ["75-real", "80", "90a-real"].map(architecture).into(),
                }),
                ..Module::default()
            },
        ],
        need: Need {
            output: 100 * MIB,
            input: 100 * MIB,
            compute: 300 * MIB,
            trained_context: 8192,
            usual_context: 4096,
            ..Need::uniform(32, layer)
        },
        ..Situation::default()
    };
    card(&mut situation, 11_000);
    situation
}

fn architecture(text: &str) -> Architecture {
    Architecture::parse(text).expect("an architecture")
}

/// One more card of 12 GiB, which the CUDA module sees.
fn card(s: &mut Situation, free_mib: u64) {
    let number = s.machine.gpus.len();
    let uuid = format!("GPU-{}-aa", number.to_string().repeat(8));
    s.machine.gpus.push(Gpu {
        name: Some(format!("Card {number}")),
        uuid: Some(uuid.clone()),
        pci: Some(format!("00000000:0{number}:00.0")),
        memory_total: Some(12_288 * MIB),
        memory_free: Some(free_mib * MIB),
        capability: Capability::parse("8.9"),
        ..Gpu::default()
    });
    let cuda = s.modules.iter_mut().find(|module| module.name == "CUDA").expect("a CUDA module");
    cuda.devices.push(Device {
        name: format!("CUDA{number}"),
        description: format!("Card {number}"),
        kind: DeviceKind::Gpu,
        memory_total: 12_288 * MIB,
        memory_free: free_mib * MIB,
        uuid: Some(uuid),
        pci: Some(format!("0000:0{number}:00.0")),
    });
}

fn cards(s: &mut Situation, free_mib: &[u64]) {
    s.machine.gpus.clear();
    s.modules[1].devices.clear();
    for free in free_mib {
        card(s, *free);
    }
}

fn free(s: &mut Situation, mib: u64) {
    cards(s, &[mib]);
}

fn cpu_only(s: &mut Situation) {
    s.modules.truncate(1);
    s.machine = Machine { nvml: Nvml::NoLibrary, driver: None, gpus: Vec::new(), ..s.machine.clone() };
}

/// A device that another process serves over ggml's RPC: a GPU of 10 GiB that NVML does not know.
fn remote(s: &mut Situation, free_mib: u64) {
    cpu_only(s);
    s.modules.push(Module {
        name: "RPC".into(),
        devices: vec![Device {
            name: "RPC0".into(),
            description: "127.0.0.1".into(),
            kind: DeviceKind::Gpu,
            memory_total: 11_200 * MIB,
            memory_free: free_mib * MIB,
            ..Device::default()
        }],
        ..Module::default()
    });
    s.modules.push(Module { name: "CUDA".into(), ..Module::default() });
}

fn fails(s: &mut Situation, message: &str) {
    s.modules[1] = Module { name: "CUDA".into(), failure: Some(message.into()), ..Module::default() };
}

fn driver(s: &mut Situation, os: Os, cuda_major: u32, version: &str) {
    s.machine.os = os;
    s.machine.driver = Some(version.into());
    s.modules[1].cuda.as_mut().expect("a CUDA build").major = cuda_major;
}

fn built(s: &mut Situation, text: &str) {
    s.modules[1].cuda.as_mut().expect("a CUDA build").architectures = vec![architecture(text)];
}

fn unmatched(s: &mut Situation) {
    let device = &mut s.modules[1].devices[0];
    (device.uuid, device.pci) = (None, None);
}

fn integrated(s: &mut Situation) {
    s.modules[1].devices[0].kind = DeviceKind::IntegratedGpu;
}

fn device(s: &mut Situation, name: &str) {
    s.choice.place = Place::Device(name.into());
}

fn mask(s: &mut Situation, value: &str) {
    s.machine.cuda_visible_devices = Some(value.into());
}

fn judged(s: &mut Situation, place: JudgedPlace, survival: Survival) {
    s.qualified.places.push((place, survival));
}

fn device_fails(s: &mut Situation) {
    judged(s, JudgedPlace::DeviceKv("CUDA0".into()), Survival::Failed);
    judged(s, JudgedPlace::HostKv("CUDA0".into()), Survival::Failed);
}

/// `CUDA CUDA0:33 33/33 device 4096 t8`, or why there is none.
fn plan_of(decision: &Decision) -> String {
    let Some(plan) = &decision.plan else { return decision.fit.to_string() };
    let shares: Vec<String> =
        plan.devices.iter().map(|share| format!("{}:{}", share.device, share.layers)).collect();
    let shares = if shares.is_empty() { String::new() } else { format!(" {}", shares.join("+")) };
    let replay = if plan.replay_only { " replay" } else { "" };
    let Plan { backend, layers, of, kv, context, threads, .. } = plan;
    format!("{backend}{shares} {layers}/{of} {} {context} t{threads}{replay}", kv.as_str())
}

/// `+` before a step that passed, `-` before one that failed.
fn codes_of(decision: &Decision) -> String {
    let word = |step: &Step| match step.verdict {
        Verdict::Passed => format!("+{}", step.code.as_str()),
        Verdict::Failed => format!("-{}", step.code.as_str()),
        Verdict::Info => step.code.as_str().to_owned(),
    };
    decision.trace.iter().map(word).collect::<Vec<_>>().join(" ")
}

type Case = (&'static str, fn(&mut Situation), &'static str, &'static str);

#[test]
fn cases() {
    let mut wrong = Vec::new();
    for (name, change, plan, codes) in CASES {
        let mut situation = usual();
        change(&mut situation);
        let decision = decide(&situation);
        let found = (plan_of(&decision), codes_of(&decision));
        if (found.0.as_str(), found.1.as_str()) != (*plan, *codes) {
            wrong.push(format!("{name}|{}|{}", found.0, found.1));
        }
        for step in &decision.trace {
            let says_what_to_do = step.remedy.as_ref().is_some_and(|remedy| remedy.text.ends_with('.'));
            assert!(step.verdict != Verdict::Failed || says_what_to_do, "{name}: {step:?}");
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(CASES.len() >= 60);
}

#[test]
fn names_of_cases_and_words_are_unique() {
    let unique = |mut words: Vec<&str>| {
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all);
    };
    unique(CASES.iter().map(|(name, ..)| *name).collect());
    unique(Code::ALL.iter().map(|code| code.as_str()).collect());
    unique(RemedyCode::ALL.iter().map(|code| code.as_str()).collect());
}

#[rustfmt::skip] // One case, one line.
const CASES: &[Case] = &[
    // CPU and NVML
    ("a_card_with_room_takes_all_layers", |_| {}, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("no_nvidia_anywhere", |s| { cpu_only(s); }, "CPU 0/33 host 4096 t8", "choice -nvml no_gpu_module context need +host_memory threads +plan"),
    ("no_library_on_windows", |s| { cpu_only(s); s.machine.os = Os::Windows; }, "CPU 0/33 host 4096 t8", "choice -nvml no_gpu_module context need +host_memory threads +plan"),
    ("no_driver", |s| { cpu_only(s); s.machine.nvml = Nvml::NoDriver; }, "CPU 0/33 host 4096 t8", "choice -nvml no_gpu_module context need +host_memory threads +plan"),
    ("no_permission", |s| { cpu_only(s); s.machine.nvml = Nvml::NoPermission; }, "CPU 0/33 host 4096 t8", "choice -nvml no_gpu_module context need +host_memory threads +plan"),
    ("library_and_driver_differ", |s| { cpu_only(s); s.machine.nvml = Nvml::VersionMismatch; }, "CPU 0/33 host 4096 t8", "choice -nvml no_gpu_module context need +host_memory threads +plan"),
    ("nvml_lost_a_card", |s| { cpu_only(s); s.machine.nvml = Nvml::GpuLost; }, "CPU 0/33 host 4096 t8", "choice -nvml no_gpu_module context need +host_memory threads +plan"),
    ("nvml_failed_otherwise", |s| { cpu_only(s); s.machine.nvml = Nvml::Failed; }, "CPU 0/33 host 4096 t8", "choice -nvml no_gpu_module context need +host_memory threads +plan"),
    ("nvml_was_not_asked", |s| { cpu_only(s); s.machine.nvml = Nvml::NotAsked; }, "CPU 0/33 host 4096 t8", "choice nvml no_gpu_module context need +host_memory threads +plan"),
    ("a_card_without_a_pack", |s| { s.modules.truncate(1); }, "CPU 0/33 host 4096 t8", "choice +nvml -no_gpu_module context need +host_memory threads +plan"),
    ("no_module_was_listed", |s| { s.modules.clear(); s.machine.gpus.clear(); }, "CPU 0/33 host 4096 t8", "choice +nvml no_gpu_module context need +host_memory threads +plan"),
    ("the_processors_module_is_missing", |s| { s.modules.remove(0); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -no_cpu_module states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    // modules and drivers
    ("the_module_lacks_libcublas", |s| { fails(s, "libcublas.so.13: cannot open shared object file"); }, "CPU 0/33 host 4096 t8", "choice +nvml -module_failed context need +host_memory threads +plan"),
    ("the_module_lacks_libcuda", |s| { fails(s, "libcuda.so.1: cannot open shared object file"); }, "CPU 0/33 host 4096 t8", "choice +nvml -module_failed context need +host_memory threads +plan"),
    ("another_module_fails", |s| { s.modules.push(Module { name: "ggml-vulkan".into(), failure: Some("invalid ELF header".into()), ..Module::default() }); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -module_failed states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("driver_too_old_for_cuda_13", |s| { driver(s, Os::Linux, 13, "575.57.08"); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded -driver_floor context need +host_memory threads +plan"),
    ("driver_just_new_enough_for_cuda_13", |s| { driver(s, Os::Linux, 13, "580.65.06"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("driver_too_old_for_cuda_12", |s| { driver(s, Os::Linux, 12, "525.60.12"); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded -driver_floor context need +host_memory threads +plan"),
    ("driver_just_new_enough_for_cuda_12", |s| { driver(s, Os::Linux, 12, "525.60.13"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("windows_has_another_floor", |s| { driver(s, Os::Windows, 12, "527.40"); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded -driver_floor context need +host_memory threads +plan"),
    ("windows_at_its_floor", |s| { driver(s, Os::Windows, 12, "527.41"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("cuda_11_by_minor_version_compatibility", |s| { driver(s, Os::Linux, 11, "470.10"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("driver_too_old_for_cuda_11", |s| { driver(s, Os::Linux, 11, "450.79"); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded -driver_floor context need +host_memory threads +plan"),
    ("a_driver_nobody_can_read", |s| { driver(s, Os::Linux, 13, "unknown"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_cuda_of_the_future", |s| { driver(s, Os::Linux, 99, "1"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    // cards
    ("capability_below_the_packs", |s| { s.machine.gpus[0].capability = Capability::parse("6.1"); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor -capability context need +host_memory threads +plan"),
    ("capability_is_not_known", |s| { s.machine.gpus[0].capability = None; }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("machine_code_of_another_generation", |s| { built(s, "80-real");  s.machine.gpus[0].capability = Capability::parse("9.0"); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor -capability context need +host_memory threads +plan"),
    ("code_for_one_capability_alone", |s| { built(s, "90a-real"); s.machine.gpus[0].capability = Capability::parse("9.0"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_pack_that_says_nothing", |s| { s.modules[1].cuda = None; }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_lost_card", |s| { s.machine.gpus[0].lost = true; }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor -gpu_lost context need +host_memory threads +plan"),
    ("matched_by_its_place_on_the_bus", |s| { s.modules[1].devices[0].uuid = None; s.machine.gpus[0].lost = true; }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor -gpu_lost context need +host_memory threads +plan"),
    ("unmatched_is_judged_by_the_module", |s| { unmatched(s); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("nvml_sees_a_card_cuda_does_not", |s| { s.modules[1].devices.clear(); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor no_gpu_module -gpu_not_seen context need +host_memory threads +plan"),
    ("memory_nobody_knows", |s| { unmatched(s); s.modules[1].devices[0].memory_free = 0; }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor -device_memory_unknown context need +host_memory threads +plan"),
    ("nvml_knows_what_the_module_does_not", |s| { s.modules[1].devices[0].memory_free = 0; }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("the_smaller_free_memory_holds", |s| { s.machine.gpus[0].memory_free = Some(2614 * MIB); }, "CUDA CUDA0:14 14/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need layers_partial +device_memory +host_memory threads +plan"),
    ("integrated_only_when_chosen", |s| { integrated(s); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen integrated_skipped context need +host_memory threads +plan"),
    ("integrated_and_chosen", |s| { integrated(s); device(s, "CUDA0"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("integrated_and_its_module_chosen", |s| { integrated(s); device(s, "cuda"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_laptop_on_battery", |s| { s.machine.on_battery = Some(true); s.machine.gpus[0].laptop = true; }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml on_battery +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_remote_device", |s| { remote(s, 11_000); }, "RPC RPC0:33 33/33 device 4096 t8", "choice -nvml +module_loaded device_seen +module_loaded states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_remote_device_with_little_memory", |s| { remote(s, 2_564); }, "RPC RPC0:14 14/33 device 4096 t8", "choice -nvml +module_loaded device_seen +module_loaded states_on_device context need layers_partial +device_memory +host_memory threads +plan"),
    ("a_remote_device_by_name", |s| { remote(s, 11_000); device(s, "rpc0"); }, "RPC RPC0:33 33/33 device 4096 t8", "choice -nvml +module_loaded device_seen +module_loaded states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_remote_device_whose_states_die", |s| { remote(s, 11_000); judged(s, JudgedPlace::DeviceKv("RPC0".into()), Survival::Failed); }, "RPC RPC0:33 33/33 host 4096 t8", "choice -nvml +module_loaded device_seen +module_loaded -states_on_device states_on_host context need +layers_all +device_memory +host_memory threads +plan"),
    // the environment
    ("hidden_by_an_empty_mask", |s| { mask(s, ""); }, "CPU 0/33 host 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor -device_hidden context need +host_memory threads +plan"),
    ("hidden_by_minus_one", |s| { mask(s, "-1"); }, "CPU 0/33 host 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor -device_hidden context need +host_memory threads +plan"),
    ("an_index_that_is_there", |s| { mask(s, "0"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("an_index_that_is_not_there", |s| { mask(s, "7"); }, "CPU 0/33 host 4096 t8", "choice +nvml -visible_devices +module_loaded +driver_floor -device_hidden context need +host_memory threads +plan"),
    ("the_second_of_two", |s| { cards(s, &[11_000, 11_500]); mask(s, "0"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor +capability device_seen -device_hidden states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("minus_one_ends_the_list", |s| { cards(s, &[11_000, 11_500]); mask(s, "0,-1,1"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor +capability device_seen -device_hidden states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("an_unknown_entry_ends_the_list", |s| { cards(s, &[11_000, 11_500]); mask(s, "0,x,1"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml -visible_devices +module_loaded +driver_floor +capability device_seen -device_hidden states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("blanks_between_entries", |s| { cards(s, &[11_000, 11_500]); mask(s, " 1 , 0 "); }, "CUDA CUDA1:33 33/33 device 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor +capability device_seen +capability device_seen states_on_device states_on_device context need +layers_all +device_memory device_not_needed +host_memory threads +plan"),
    ("the_beginning_of_a_uuid", |s| { cards(s, &[11_000, 11_500]); mask(s, "GPU-0000"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor +capability device_seen -device_hidden states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_beginning_that_two_share", |s| { cards(s, &[11_000, 11_500]); mask(s, "GPU-"); }, "CPU 0/33 host 4096 t8", "choice +nvml -visible_devices +module_loaded +driver_floor -device_hidden -device_hidden context need +host_memory threads +plan"),
    ("a_card_named_twice", |s| { cards(s, &[11_000, 11_500]); mask(s, "1,1"); }, "CPU 0/33 host 4096 t8", "choice +nvml -visible_devices +module_loaded +driver_floor -device_hidden -device_hidden context need +host_memory threads +plan"),
    ("quoted_and_understood", |s| { cards(s, &[11_000, 11_500]); mask(s, "\"0\""); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor +capability device_seen -device_hidden states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("quoted_and_nothing_seen", |s| { s.modules[1].devices.clear(); mask(s, "\"0\""); }, "CPU 0/33 host 4096 t8", "choice +nvml -visible_devices +module_loaded +driver_floor no_gpu_module context need +host_memory threads +plan"),
    ("a_list_made_under_the_mask_is_believed", |s| { cards(s, &[11_000, 11_500]); s.modules[1].devices.remove(0); mask(s, "0"); }, "CUDA CUDA1:33 33/33 device 4096 t8", "choice +nvml visible_devices +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_mask_does_not_hide_a_remote_device", |s| { remote(s, 11_000); mask(s, ""); }, "RPC RPC0:33 33/33 device 4096 t8", "choice -nvml visible_devices +module_loaded device_seen +module_loaded states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    // choices
    ("always_cpu", |s| { s.choice.always_cpu = true; device(s, "CUDA0"); }, "CPU 0/33 host 4096 t8", "always_cpu context need +host_memory threads +plan"),
    ("cpu_is_chosen", |s| { s.choice.place = Place::Cpu; }, "CPU 0/33 host 4096 t8", "choice context need +host_memory threads +plan"),
    ("cpu_is_chosen_by_name", |s| { device(s, "cpu"); }, "CPU 0/33 host 4096 t8", "choice context need +host_memory threads +plan"),
    ("a_device_by_name", |s| { cards(s, &[11_000, 11_500]); device(s, "CUDA0"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_device_by_uuid", |s| { cards(s, &[11_000, 11_500]); device(s, "GPU-00000000-aa"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_device_that_does_not_exist", |s| { device(s, "CUDA7"); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -device_missing states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_device_that_is_ruled_out", |s| { device(s, "CUDA0"); s.machine.gpus[0].lost = true; }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor -gpu_lost -device_unusable context need +host_memory threads +plan"),
    ("a_module_that_did_not_load", |s| { device(s, "cuda"); fails(s, "libcublas.so.13: not found"); }, "CPU 0/33 host 4096 t8", "choice +nvml -module_failed -device_unusable context need +host_memory threads +plan"),
    ("fewer_layers_than_fit", |s| { s.choice.layers = Some(10); }, "CUDA CUDA0:10 10/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need layers_partial +device_memory +host_memory threads +plan"),
    ("ninety_nine_layers", |s| { s.choice.layers = Some(99); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("more_layers_than_fit", |s| { s.choice.layers = Some(20); free(s, 2_614); }, "CUDA CUDA0:14 14/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need -layers_reduced layers_partial +device_memory +host_memory threads +plan"),
    ("layers_chosen_and_none_fit", |s| { s.choice.layers = Some(20); free(s, 900); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need -layers_reduced +host_memory threads +plan"),
    ("no_layers", |s| { s.choice.layers = Some(0); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +host_memory threads +plan"),
    ("few_layers_on_a_chosen_device", |s| { device(s, "CUDA0"); free(s, 1_200); }, "CUDA CUDA0:2 2/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need layers_partial +device_memory +host_memory threads +plan"),
    ("a_chosen_device_that_is_full", |s| { device(s, "CUDA0"); free(s, 900); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need -too_few_layers -choice_not_held +host_memory threads +plan"),
    ("kv_on_the_host", |s| { s.choice.kv = Some(KvPlace::Host); free(s, 2_614); }, "CUDA CUDA0:16 16/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_host context need layers_partial +device_memory +host_memory threads +plan"),
    ("a_shorter_context", |s| { s.choice.context = Some(1024); }, "CUDA CUDA0:33 33/33 device 1024 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_context_beyond_training", |s| { s.choice.context = Some(1 << 20); }, "CUDA CUDA0:33 33/33 device 8192 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device -context_reduced context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_context_of_nothing", |s| { s.choice.context = Some(0); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device -context_reduced context need +layers_all +device_memory +host_memory threads +plan"),
    ("threads_chosen", |s| { s.choice.threads = Some(3); }, "CUDA CUDA0:33 33/33 device 4096 t3", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("no_threads_chosen", |s| { s.choice.threads = Some(0); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory -threads_reduced threads +plan"),
    ("more_threads_than_there_are", |s| { s.choice.threads = Some(9999); }, "CUDA CUDA0:33 33/33 device 4096 t16", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory -threads_reduced threads +plan"),
    ("cores_nobody_knows", |s| { s.machine.physical_cores = None; s.machine.logical_cores = None; }, "CUDA CUDA0:33 33/33 device 4096 t1", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_container_with_fewer_threads_than_cores", |s| { s.machine.logical_cores = Some(2); }, "CUDA CUDA0:33 33/33 device 4096 t2", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory +host_memory threads +plan"),
    // memory
    ("most_layers", |s| { free(s, 2_614); }, "CUDA CUDA0:14 14/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need layers_partial +device_memory +host_memory threads +plan"),
    ("too_few_to_be_worth_it", |s| { free(s, 1_200); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need -too_few_layers +host_memory threads +plan"),
    ("too_few_and_yet_all_that_helps", |s| { free(s, 1_200); s.machine.memory_available = Some(4_000 * MIB); }, "CUDA CUDA0:2 2/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need -too_few_layers layers_partial +device_memory +host_memory threads +plan"),
    ("a_full_card", |s| { free(s, 100); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need -too_few_layers +host_memory threads +plan"),
    ("memory_of_the_machine_is_not_known", |s| { s.machine.memory_available = None; }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need +layers_all +device_memory host_memory threads +plan"),
    ("too_large", |s| { free(s, 900); s.machine.memory_available = Some(1_000 * MIB); }, "too large: needs 4.4 GB, has 1.0 GB", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context need -too_large"),
    ("too_large_on_the_processor", |s| { s.choice.place = Place::Cpu; s.machine.memory_available = Some(1_000 * MIB); }, "too large: needs 4.4 GB, has 1.0 GB", "choice context need -too_large"),
    ("a_smaller_context_makes_it_run", |s| { s.choice = Choice { place: Place::Cpu, context: Some(8192), context_may_shrink: true, ..Choice::default() }; s.machine.memory_available = Some(4_300 * MIB); }, "CPU 0/33 host 4096 t8", "choice context -context_reduced need +host_memory threads +plan"),
    ("a_smaller_context_does_not_help", |s| { s.choice.context_may_shrink = true; cpu_only(s); s.machine.memory_available = Some(1_000 * MIB); }, "too large: needs 4.4 GB, has 1.0 GB", "choice -nvml no_gpu_module context need -too_large"),
    ("a_file_that_tells_nothing", |s| { s.need.layers.clear(); }, "CPU 0/0 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen states_on_device context -model_unknown +host_memory threads +plan"),
    // several cards
    ("the_roomiest_of_two", |s| { cards(s, &[6_000, 11_000]); }, "CUDA CUDA1:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen +capability device_seen states_on_device states_on_device context need +layers_all +device_memory device_not_needed +host_memory threads +plan"),
    ("one_is_not_enough", |s| { cards(s, &[3_000, 4_000]); }, "CUDA CUDA0:7+CUDA1:26 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen +capability device_seen states_on_device states_on_device context need +layers_all +device_memory +device_memory split +host_memory threads +plan"),
    ("three_and_two_are_enough", |s| { cards(s, &[3_000, 4_000, 3_500]); }, "CUDA CUDA2:7+CUDA1:26 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen +capability device_seen +capability device_seen states_on_device states_on_device states_on_device context need +layers_all +device_memory +device_memory split device_not_needed +host_memory threads +plan"),
    ("two_are_not_enough", |s| { cards(s, &[1_500, 2_614]); }, "CUDA CUDA0:5+CUDA1:14 19/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen +capability device_seen states_on_device states_on_device context need layers_partial +device_memory +device_memory split +host_memory threads +plan"),
    ("cards_of_two_modules_are_not_mixed", |s| { remote(s, 2_614); card(s, 2_000); }, "RPC RPC0:15 15/33 device 4096 t8", "choice -nvml +module_loaded device_seen +module_loaded device_seen states_on_device states_on_device context need layers_partial +device_memory device_not_needed +host_memory threads +plan"),
    ("one_of_two_is_too_old", |s| { cards(s, &[3_000, 11_000]); s.machine.gpus[1].capability = Capability::parse("5.2"); }, "CUDA CUDA0:18 18/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -capability states_on_device context need layers_partial +device_memory +host_memory threads +plan"),
    // qualification
    ("kv_goes_where_states_survive", |s| { judged(s, JudgedPlace::DeviceKv("CUDA0".into()), Survival::Failed); }, "CUDA CUDA0:33 33/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -states_on_device states_on_host context need +layers_all +device_memory +host_memory threads +plan"),
    ("a_chosen_kv_place_steps_down", |s| { s.choice.kv = Some(KvPlace::Device); judged(s, JudgedPlace::DeviceKv("CUDA0".into()), Survival::Failed); }, "CUDA CUDA0:33 33/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -states_on_device states_on_host -kv_moved context need +layers_all +device_memory +host_memory threads +plan"),
    ("states_survive_on_the_processor_only", |s| { device_fails(s); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -states_on_device -states_on_host context need +host_memory threads +plan"),
    ("a_chosen_device_whose_states_die", |s| { device_fails(s); device(s, "CUDA0"); }, "CPU 0/33 host 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen -states_on_device -states_on_host context need -choice_not_held +host_memory threads +plan"),
    ("states_survive_nowhere", |s| { device_fails(s); judged(s, JudgedPlace::Cpu, Survival::Failed); }, "CUDA CUDA0:33 33/33 device 4096 t8 replay", "choice +nvml +module_loaded +driver_floor +capability device_seen -states_on_device -states_on_host -states_on_cpu context need +layers_all -replay_only +device_memory +host_memory threads +plan"),
    ("qualified", |s| { judged(s, JudgedPlace::DeviceKv("CUDA0".into()), Survival::Passed); judged(s, JudgedPlace::Cpu, Survival::Passed); }, "CUDA CUDA0:33 33/33 device 4096 t8", "choice +nvml +module_loaded +driver_floor +capability device_seen +states_on_device +states_on_cpu context need +layers_all +device_memory +host_memory threads +plan"),
    ("more_failed_before", |s| { s.ceiling = Some(Ceiling { layers: 12, kv: KvPlace::Host, context: 2048 }); }, "CUDA CUDA0:12 12/33 host 2048 t8", "choice stepped_down_before +nvml +module_loaded +driver_floor +capability device_seen states_on_host context need layers_partial +device_memory +host_memory threads +plan"),
    ("everything_failed_before", |s| { s.ceiling = Some(Ceiling { layers: 0, kv: KvPlace::Host, context: 4096 }); }, "CPU 0/33 host 4096 t8", "choice stepped_down_before +nvml +module_loaded +driver_floor +capability device_seen states_on_host context need +host_memory threads +plan"),
];

/// Reproducible, and enough for this (Marsaglia's xorshift, 64 bits).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("below a usize")
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.one_in(2)).then(|| value(self))
    }

    fn small(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(end.into())).expect("below a u32")
    }

    /// Sizes as they occur, and now and then as they never do.
    fn bytes(&mut self, mib: u64) -> u64 {
        if self.one_in(40) { [0, 1, u64::MAX][self.index(3)] } else { self.below(mib * MIB) }
    }

    fn situation(&mut self) -> Situation {
        let mut s = usual();
        let many = self.below(4);
        cards(&mut s, &(0..many).map(|_| self.below(13_000)).collect::<Vec<_>>());
        if self.one_in(4) {
            let free = self.below(12_000);
            remote(&mut s, free);
        }
        for device in s.modules.iter_mut().flat_map(|module| &mut module.devices) {
            if self.one_in(12) {
                device.memory_free = self.bytes(12_000);
                device.memory_total = self.bytes(12_000);
                device.kind = [DeviceKind::IntegratedGpu, DeviceKind::Unknown][self.index(2)];
            }
            for place in
                [JudgedPlace::DeviceKv(device.name.clone()), JudgedPlace::HostKv(device.name.clone())]
            {
                if self.one_in(5) {
                    s.qualified.places.push((place, [Survival::Passed, Survival::Failed][self.index(2)]));
                }
            }
        }
        let layers = self.small(90);
        s.need.layers = (0..layers)
            .map(|_| Layer {
                weights: self.bytes(300),
                kv_per_token: if self.one_in(40) { u64::MAX } else { self.below(16_384) },
                kv_fixed: if self.one_in(3) { self.bytes(20) } else { 0 },
            })
            .collect();
        (s.need.output, s.need.input, s.need.compute) = (self.bytes(500), self.bytes(500), self.bytes(900));
        (s.need.trained_context, s.need.usual_context) = (self.small(65_536), self.small(9_000));
        s.machine.memory_available = self.maybe(|random| random.bytes(32_000));
        s.machine.physical_cores = self.maybe(|random| random.small(9));
        s.machine.cuda_visible_devices = self
            .one_in(6)
            .then(|| ["", "0", "1,0", "-1", "9", "GPU-0", "\"1\"", ",,", "é"][self.index(9)].to_owned());
        if self.one_in(3) {
            s.choice = Choice {
                place: [Place::Auto, Place::Cpu, Place::Device("CUDA0".into()), Place::Device("é".into())]
                    [self.index(4)]
                .clone(),
                always_cpu: self.one_in(9),
                layers: self.maybe(|random| random.small(120)),
                kv: self.maybe(|random| [KvPlace::Device, KvPlace::Host][random.index(2)]),
                context: self.maybe(|random| random.small(99_999)),
                context_may_shrink: self.one_in(2),
                threads: self.maybe(|random| random.small(2_000)),
            };
        }
        s
    }
}

#[test]
fn whatever_goes_in_what_is_given_fits() {
    let mut random = Random(0x5eed);
    let (mut planned, mut split) = (0, 0);
    for round in 0..20_000 {
        let s = random.situation();
        let decision = decide(&s);
        assert_eq!(decision, decide(&s), "round {round}: the same gives the same");
        let Some(plan) = &decision.plan else {
            assert!(matches!(decision.fit, Fit::TooLarge { needs, has } if needs > has || needs == u64::MAX));
            continue;
        };
        planned += 1;
        split += u32::from(plan.devices.len() > 1);
        assert!((1..=MOST_THREADS).contains(&plan.threads) && plan.context >= 1, "round {round}");
        assert_eq!(plan.devices.iter().map(|share| share.layers).sum::<u32>(), plan.layers, "round {round}");
        assert!(plan.layers <= plan.of && plan.devices.iter().all(|share| share.layers > 0));
        assert_eq!(plan.layers == 0, plan.backend == CPU);
        // Counted anew: from the last layers down, the last device first.
        let mut layers = s.need.layers.iter().rev();
        let mut output = Some(s.need.output);
        for share in plan.devices.iter().rev() {
            let device = s.modules.iter().flat_map(|module| &module.devices).find(|d| d.name == share.device);
            let device = device.expect("a device that is there");
            let mut bytes = u128::from(s.need.compute);
            for _ in 0..share.layers {
                if let Some(output) = output.take() {
                    bytes += u128::from(output);
                    continue;
                }
                let layer = layers.next().expect("a layer of the model");
                bytes += u128::from(layer.weights);
                if plan.kv == KvPlace::Device {
                    bytes += u128::from(layer.kv_per_token) * u128::from(plan.context);
                    bytes += u128::from(layer.kv_fixed);
                }
            }
            assert_eq!(bytes, u128::from(share.bytes), "round {round}");
            let gpu = s.machine.gpus.iter().find(|gpu| gpu.uuid.is_some() && gpu.uuid == device.uuid);
            let most = [Some(device.memory_free), gpu.and_then(|gpu| gpu.memory_free)];
            let free = most.into_iter().flatten().filter(|free| *free > 0).min().expect("known memory");
            assert!(share.bytes + MARGIN_BYTES <= free, "round {round}: {share:?} of {free}");
            assert!(
                u128::from(share.bytes) * 20 <= u128::from(free) * 19,
                "round {round}: less than 5 % left"
            );
        }
    }
    assert!(planned > 5_000 && split > 200, "{planned} plans, {split} of several devices: too few to tell");
}

#[test]
fn more_free_memory_never_gives_fewer_layers() {
    let mut random = Random(0xf4ee);
    let mut more = 0;
    for round in 0..20_000 {
        let mut s = random.situation();
        (s.choice, s.machine.cuda_visible_devices) = (Choice::default(), None);
        let layers = |s: &Situation| decide(s).plan.map_or(0, |plan| plan.layers);
        let before = layers(&s);
        let extra = random.below(6_000) * MIB;
        let devices = s.modules.iter_mut().flat_map(|module| &mut module.devices);
        let gpus: Vec<&mut Device> = devices.filter(|device| device.kind == DeviceKind::Gpu).collect();
        if gpus.is_empty() {
            continue;
        }
        let at = random.index(gpus.len());
        let device = gpus.into_iter().nth(at).expect("below its length");
        if device.memory_free == 0 {
            continue; // Not known.
        }
        device.memory_free = device.memory_free.saturating_add(extra);
        for gpu in s.machine.gpus.iter_mut().filter(|gpu| gpu.uuid == device.uuid) {
            gpu.memory_free = gpu.memory_free.map(|free| free.saturating_add(extra));
        }
        let after = layers(&s);
        assert!(after >= before, "round {round}: {before} layers, with {extra} bytes more {after}");
        more += u32::from(after > before);
    }
    assert!(more > 500, "only {more} situations tell anything");
}

#[test]
fn the_ladder_only_goes_down_and_ends() {
    const FAILURES: [Failure; 5] = [
        Failure::OutOfDeviceMemory,
        Failure::OutOfHostMemory,
        Failure::WorkerDied,
        Failure::DeviceLost,
        Failure::StatesLost,
    ];
    let mut random = Random(0x1add);
    let rank = |plan: &Plan| {
        [plan.layers, u32::from(plan.kv == KvPlace::Device), plan.context, u32::from(!plan.replay_only)]
    };
    for round in 0..20_000 {
        let shares = (0..random.below(4)).map(|number| Share {
            device: format!("CUDA{number}"),
            layers: random.small(40),
            bytes: random.next(),
        });
        let devices: Vec<Share> = shares.collect();
        let layers =
            if random.one_in(20) { u32::MAX } else { devices.iter().map(|share| share.layers).sum() };
        let mut plan = Plan {
            backend: if layers == 0 { CPU } else { "CUDA" }.to_owned(),
            devices,
            layers,
            of: layers.saturating_add(random.small(50)),
            kv: [KvPlace::Device, KvPlace::Host][random.index(2)],
            context: if random.one_in(20) { u32::MAX } else { random.small(140_000) },
            context_may_shrink: random.one_in(2),
            threads: 8,
            replay_only: random.one_in(9),
        };
        let mut steps = 0;
        loop {
            let failure = FAILURES[random.index(5)];
            let Some(lower) = next_lower(&plan, failure) else { break };
            let (before, after) = (rank(&plan), rank(&lower));
            assert!(before.iter().zip(&after).all(|(before, after)| after <= before), "{plan:?} {lower:?}");
            assert_ne!(before, after, "round {round}");
            assert!(lower.context >= plan.context.min(LEAST_CONTEXT));
            assert!(plan.context_may_shrink || lower.context == plan.context, "not allowed");
            assert!(explain(&plan, &lower, failure).remedy.is_some());
            plan = lower;
            steps += 1;
            assert!(steps < 200, "round {round}: {plan:?}");
        }
    }
}

#[test]
fn the_ladder_goes_in_order() {
    let mut s = usual();
    s.choice.context_may_shrink = true;
    let mut plan = decide(&s).plan.expect("a plan");
    let mut seen = Vec::new();
    while let Some(lower) = next_lower(&plan, Failure::OutOfDeviceMemory) {
        let step = explain(&plan, &lower, Failure::OutOfDeviceMemory);
        seen.push(format!("{} {} {} {}", step.code.as_str(), lower.layers, lower.kv.as_str(), lower.context));
        plan = lower;
    }
    let expect = [
        "fewer_layers 24 device 4096",
        "fewer_layers 18 device 4096",
        "fewer_layers 13 device 4096",
        "fewer_layers 9 device 4096",
        "fewer_layers 6 device 4096",
        "fewer_layers 5 device 4096",
        "kv_to_host 5 host 4096",
        "smaller_context 5 host 2048",
        "to_cpu 0 host 2048",
    ];
    assert_eq!(seen, expect);
    assert_eq!((plan.backend.as_str(), plan.devices.len()), (CPU, 0));
}

#[test]
fn a_decision_takes_far_less_than_a_millisecond() {
    let mut s = usual();
    cards(&mut s, &[3_000, 4_000, 3_500, 2_000, 1_000, 900, 3_100, 2_900]);
    let started = Instant::now();
    for _ in 0..200 {
        std::hint::black_box(decide(std::hint::black_box(&s)));
    }
    println!("decide, eight cards: {:?}", started.elapsed() / 200);
}
