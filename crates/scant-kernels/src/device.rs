//! Which tensors the loops of `scant-compute` may touch.

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Whether tensors of this device lie in the memory of the CPU, as the Flex backend keeps them.
#[must_use]
pub fn on_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Autodiff(device) => {
            matches!(device.clone().inner(), DispatchDevice::Flex(_))
        }
        device => matches!(device, DispatchDevice::Flex(_)),
    }
}
