//! Devices as they are written: `cpu`, `cuda:0`.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
use burn::tensor::DeviceKind;
#[cfg(feature = "gpu")]
use burn::tensor::DeviceType;

/// A device as a user names it. An index counts the GPUs that the driver shows, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor; `auto` means the same.
    Cpu,
    /// An NVIDIA GPU; without an index the first.
    Cuda(usize),
    /// An AMD GPU; without an index the first.
    Rocm(usize),
    /// A discrete GPU through Vulkan; without an index whatever the driver thinks best, which may be
    /// an integrated one.
    Vulkan(Option<usize>),
    /// The GPU of an Apple machine.
    Metal,
    /// The GPU behind whichever interface `wgpu` finds, by shaders in the language of browsers.
    WebGpu,
}

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceError {
    /// Not a name.
    Unknown(String),
    /// A device that needs another build of the program.
    NotBuilt(DeviceName),
    /// The machine, or its driver, shows no such device.
    NotFound(DeviceName),
}

impl DeviceName {
    /// What can be computed on by this build.
    #[must_use]
    pub fn built() -> Vec<&'static str> {
        let all = [
            ("cpu", true),
            ("cuda:N", cfg!(feature = "cuda-llvm")),
            ("rocm:N", cfg!(feature = "rocm")),
            ("vulkan:N", cfg!(feature = "vulkan")),
            ("metal", cfg!(feature = "metal")),
            ("webgpu", cfg!(feature = "webgpu")),
        ];
        all.into_iter().filter(|(_, here)| *here).map(|(name, _)| name).collect()
    }

    /// The cargo feature without which this device cannot be used.
    #[must_use]
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Cpu => None,
            Self::Cuda(_) => Some("cuda"),
            Self::Rocm(_) => Some("rocm"),
            Self::Vulkan(_) => Some("vulkan"),
            Self::Metal => Some("metal"),
            Self::WebGpu => Some("webgpu"),
        }
    }

    /// The device, without autodiff.
    ///
    /// # Errors
    /// When this build has no code for it, or the machine does not show it. A GPU that is shown can
    /// still fail later, for example where the compiler of its driver is missing.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda-llvm")]
            Self::Cuda(index) => self.shown(Device::cuda(index), DeviceType::Cuda),
            #[cfg(feature = "rocm")]
            Self::Rocm(index) => self.shown(Device::rocm(index), DeviceType::Rocm),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(Some(index)) => {
                self.shown(Device::vulkan(DeviceKind::DiscreteGpu(index)), DeviceType::Vulkan)
            }
            #[cfg(feature = "vulkan")]
            Self::Vulkan(None) => {
                self.any(Device::vulkan(DeviceKind::DefaultDevice), DeviceType::Vulkan)
            }
            #[cfg(feature = "metal")]
            Self::Metal => self.any(Device::metal(DeviceKind::DefaultDevice), DeviceType::Metal),
            #[cfg(feature = "webgpu")]
            Self::WebGpu => self.any(Device::wgpu(DeviceKind::DefaultDevice), DeviceType::Wgpu),
            #[allow(unreachable_patterns)] // where every feature is on
            _ => Err(DeviceError::NotBuilt(self)),
        }
    }

    /// The device if it is among those of its kind.
    #[cfg(any(feature = "cuda-llvm", feature = "rocm", feature = "vulkan"))]
    fn shown(self, device: Device, kind: DeviceType) -> Result<Device, DeviceError> {
        let found = Device::enumerate(kind).into_iter().any(|d| d == device);
        if found { Ok(device) } else { Err(DeviceError::NotFound(self)) }
    }

    /// The device if there is any of its kind.
    #[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
    fn any(self, device: Device, kind: DeviceType) -> Result<Device, DeviceError> {
        let found = Device::enumerate(kind).into_iter().next().is_some();
        if found { Ok(device) } else { Err(DeviceError::NotFound(self)) }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        let (name, index) = match text.split_once(':') {
            // `parse` would take a sign as well.
            Some((name, index)) if index.bytes().all(|b| b.is_ascii_digit()) => {
                (name, Some(index.parse::<usize>().map_err(|_| unknown())?))
            }
            Some(_) => return Err(unknown()),
            None => (text, None),
        };
        match (name, index) {
            ("auto" | "cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("rocm", index) => Ok(Self::Rocm(index.unwrap_or(0))),
            ("vulkan", index) => Ok(Self::Vulkan(index)),
            ("metal", None) => Ok(Self::Metal),
            ("webgpu", None) => Ok(Self::WebGpu),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Rocm(index) => write!(f, "rocm:{index}"),
            Self::Vulkan(Some(index)) => write!(f, "vulkan:{index}"),
            Self::Vulkan(None) => f.write_str("vulkan"),
            Self::Metal => f.write_str("metal"),
            Self::WebGpu => f.write_str("webgpu"),
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let built = DeviceName::built().join(", ");
        match self {
            Self::Unknown(text) => write!(
                f,
                "\"{text}\" is no device; write auto, cpu, cuda:N, rocm:N, vulkan:N, metal or webgpu \
                 (this build has: {built})"
            ),
            Self::NotBuilt(name) => write!(
                f,
                "device \"{name}\" is not in this build; it has: {built}. Build with --features {} \
                 for it (docs/devices.md)",
                name.feature().unwrap_or_default()
            ),
            Self::NotFound(name) => write!(
                f,
                "this machine shows no device \"{name}\"; is its driver installed and the index right?"
            ),
        }
    }
}

impl std::error::Error for DeviceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        use DeviceName::*;
        for (text, name, again) in [
            ("auto", Cpu, "cpu"),
            ("cpu", Cpu, "cpu"),
            ("cuda", Cuda(0), "cuda:0"),
            ("cuda:0", Cuda(0), "cuda:0"),
            ("cuda:12", Cuda(12), "cuda:12"),
            ("rocm:1", Rocm(1), "rocm:1"),
            ("vulkan", Vulkan(None), "vulkan"),
            ("vulkan:2", Vulkan(Some(2)), "vulkan:2"),
            ("metal", Metal, "metal"),
            ("webgpu", WebGpu, "webgpu"),
        ] {
            let read = DeviceName::from_str(text);
            assert_eq!(read, Ok(name), "{text}");
            assert_eq!(name.to_string(), again);
            assert_eq!(DeviceName::from_str(again), Ok(name));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            ":",
            "gpu",
            "CUDA",
            "cpu:0",
            "metal:0",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:0:0",
            "cuda:x",
            "cuda:99999999999999999999",
            " cpu",
        ] {
            let error = DeviceName::from_str(text).unwrap_err();
            assert_eq!(error, DeviceError::Unknown(text.to_owned()));
            let said = error.to_string();
            assert!(said.contains(&format!("\"{text}\"")) && said.contains("cuda:N"), "{said}");
        }
    }

    #[test]
    fn the_processor_is_always_there() {
        assert!(DeviceName::built().contains(&"cpu"));
        assert!(crate::on_cpu(&DeviceName::Cpu.open().unwrap()));
    }

    #[test]
    fn every_other_device_is_in_the_build_or_says_which_feature_it_needs() {
        use DeviceName::*;
        for name in [Cuda(0), Rocm(0), Vulkan(None), Vulkan(Some(0)), Metal, WebGpu] {
            let feature = name.feature().unwrap();
            if DeviceName::built().iter().any(|b| b.split(':').next() == Some(feature)) {
                continue; // Whether the machine has one is not known here.
            }
            let error = name.open().unwrap_err();
            assert_eq!(error, DeviceError::NotBuilt(name));
            assert!(error.to_string().contains(&format!("--features {feature}")), "{error}");
        }
    }
}
