//! How a decision explains itself.

use serde::{Serialize, Serializer};

use super::cuda::Capability;

/// An enum whose variants are stable words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that JSON and scripts see. It never changes.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a step is about.
    Code {
        /// What the person chose.
        Choice => "choice",
        /// This conversation always runs on the processor.
        AlwaysCpu => "always_cpu",
        /// A device that is not there was chosen.
        DeviceMissing => "device_missing",
        /// A device that is there and cannot be used was chosen.
        DeviceUnusable => "device_unusable",
        /// More failed earlier, so less is tried.
        SteppedDownBefore => "stepped_down_before",
        /// NVIDIA's management library.
        Nvml => "nvml",
        /// Which cards the environment lets through.
        VisibleDevices => "visible_devices",
        /// A module that loaded.
        ModuleLoaded => "module_loaded",
        /// A module that did not.
        ModuleFailed => "module_failed",
        /// Nothing that serves a GPU was loaded.
        NoGpuModule => "no_gpu_module",
        /// Nothing that serves the processor was loaded.
        NoCpuModule => "no_cpu_module",
        /// The driver against what the module's CUDA needs.
        DriverFloor => "driver_floor",
        /// A card NVML knows and no module sees.
        GpuNotSeen => "gpu_not_seen",
        /// A device that a module sees.
        DeviceSeen => "device_seen",
        /// A device that the environment hides.
        DeviceHidden => "device_hidden",
        /// A card that no longer answers.
        GpuLost => "gpu_lost",
        /// The card's compute capability against what the module was built for.
        Capability => "capability",
        /// Nobody knows how much memory a device has left.
        DeviceMemoryUnknown => "device_memory_unknown",
        /// A GPU that shares the main memory, used only when chosen.
        IntegratedSkipped => "integrated_skipped",
        /// A GPU that could be used and is not needed.
        DeviceNotNeeded => "device_not_needed",
        /// The machine runs on its battery.
        OnBattery => "on_battery",
        /// Whether states survive with the KV cache on the device.
        StatesOnDevice => "states_on_device",
        /// Whether states survive with the KV cache in main memory.
        StatesOnHost => "states_on_host",
        /// Whether states survive on the processor.
        StatesOnCpu => "states_on_cpu",
        /// The KV cache lies elsewhere than was chosen.
        KvMoved => "kv_moved",
        /// The model file told nothing of its layers.
        ModelUnknown => "model_unknown",
        /// What the model takes.
        Need => "need",
        /// The context size.
        Context => "context",
        /// A smaller context than was wanted.
        ContextReduced => "context_reduced",
        /// All layers are on devices.
        LayersAll => "layers_all",
        /// Some layers are on devices.
        LayersPartial => "layers_partial",
        /// So few would fit that the processor alone is quicker.
        TooFewLayers => "too_few_layers",
        /// Fewer layers than were chosen.
        LayersReduced => "layers_reduced",
        /// What a device is given against what it has.
        DeviceMemory => "device_memory",
        /// The layers are spread over several devices.
        Split => "split",
        /// What main memory is given against what it has.
        HostMemory => "host_memory",
        /// More is needed than there is.
        TooLarge => "too_large",
        /// A device was chosen, and the processor it will be.
        ChoiceNotHeld => "choice_not_held",
        /// How many threads compute.
        Threads => "threads",
        /// Another number of threads than was chosen.
        ThreadsReduced => "threads_reduced",
        /// What came of it.
        Plan => "plan",
        /// A step of the ladder: fewer layers.
        FewerLayers => "fewer_layers",
        /// A step of the ladder: the KV cache in main memory.
        KvToHost => "kv_to_host",
        /// A step of the ladder: a smaller context.
        SmallerContext => "smaller_context",
        /// A step of the ladder: the processor alone.
        ToCpu => "to_cpu",
        /// A step of the ladder, or of a decision: states survive nowhere, conversations are read again.
        ReplayOnly => "replay_only",
    }
}

words! {
    /// What can be done about a step that failed.
    RemedyCode {
        /// Install the graphics driver.
        InstallDriver => "install_driver",
        /// Load the driver that is installed.
        LoadDriver => "load_driver",
        /// Install a newer driver.
        UpdateDriver => "update_driver",
        /// Restart the computer.
        Restart => "restart",
        /// Let this user use the card.
        GrantAccess => "grant_access",
        /// Detect again, or see the diagnostics.
        DetectAgain => "detect_again",
        /// Change `CUDA_VISIBLE_DEVICES`.
        ChangeVisibleDevices => "change_visible_devices",
        /// Install the module again.
        ReinstallModule => "reinstall_module",
        /// Install the CUDA pack.
        InstallPack => "install_pack",
        /// Install a pack that is built for this card.
        OtherPack => "other_pack",
        /// Choose another device, or Auto.
        ChooseAnother => "choose_another",
        /// Test again whether states survive.
        QualifyAgain => "qualify_again",
        /// Choose the model file again.
        CheckModel => "check_model",
        /// Choose a smaller context.
        SmallerContext => "smaller_context",
        /// Free memory of the card.
        FreeDeviceMemory => "free_device_memory",
        /// Choose a smaller model.
        SmallerModel => "smaller_model",
        /// Choose another number of threads.
        FewerThreads => "fewer_threads",
        /// Forget that more failed once.
        TryMore => "try_more",
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was asked for is there.
    Passed,
    /// It is not.
    Failed,
    /// Nothing was asked for; worth knowing.
    Info,
}

/// A measured value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Bytes.
    Bytes(u64),
    /// A number of things.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// A name, a version, a message.
    Text(String),
    /// Several of these.
    List(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

impl From<Capability> for Value {
    fn from(capability: Capability) -> Self {
        Self::Text(capability.to_string())
    }
}

/// What can be done about a step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// For programs, and for translation.
    pub code: RemedyCode,
    /// For people, in English.
    pub text: String,
}

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is about.
    pub code: Code,
    /// How it went.
    pub verdict: Verdict,
    /// What was measured, each value with its name, in the order it is best read.
    pub measured: Vec<(&'static str, Value)>,
    /// What can be done; always there where the step failed.
    pub remedy: Option<Remedy>,
}

impl Step {
    /// The measured value of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.measured.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(super) fn new(code: Code, verdict: Verdict) -> Self {
        Self { code, verdict, measured: Vec::new(), remedy: None }
    }

    pub(super) fn passed(code: Code) -> Self {
        Self::new(code, Verdict::Passed)
    }

    pub(super) fn info(code: Code) -> Self {
        Self::new(code, Verdict::Info)
    }

    /// A step that failed always says what can be done.
    pub(super) fn failed(code: Code, remedy: RemedyCode, text: impl Into<String>) -> Self {
        Self::new(code, Verdict::Failed).remedy(remedy, text)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.measured.push((name, value.into()));
        self
    }

    pub(super) fn bytes(self, name: &'static str, bytes: u64) -> Self {
        self.with(name, Value::Bytes(bytes))
    }

    pub(super) fn remedy(mut self, code: RemedyCode, text: impl Into<String>) -> Self {
        self.remedy = Some(Remedy { code, text: text.into() });
        self
    }
}
