//! Where to compute, and which tensors the loops of `scant-compute` may touch.

mod name;

use std::cell::Cell;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

pub use name::{DeviceError, DeviceName};

thread_local! {
    /// How many calls of [`fall_through`] this thread is in.
    static FALLING_THROUGH: Cell<usize> = const { Cell::new(0) };
}

/// Whether tensors of this device lie in the memory of the CPU, as the Flex backend keeps them, so
/// that the operators of this crate take their own path and not burn's.
#[must_use]
pub fn on_cpu(device: &Device) -> bool {
    if FALLING_THROUGH.get() > 0 {
        return false;
    }
    match device.as_dispatch() {
        DispatchDevice::Autodiff(device) => {
            matches!(device.clone().inner(), DispatchDevice::Flex(_))
        }
        device => matches!(device, DispatchDevice::Flex(_)),
    }
}

/// Whether operations on tensors of this device are recorded and not computed. What is recorded is read
/// by others, so that one operator with a name is better there than several that do the same.
pub(crate) fn recorded(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Capture(_))
}

/// Runs `work` as if no tensor were on the CPU: what it calls on this thread takes burn's operators,
/// as on a GPU, and keeps to them in the backward pass. For tests, which hold the two against each
/// other.
pub fn fall_through<R>(work: impl FnOnce() -> R) -> R {
    /// Counts down also when `work` panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            FALLING_THROUGH.set(FALLING_THROUGH.get() - 1);
        }
    }
    FALLING_THROUGH.set(FALLING_THROUGH.get() + 1);
    let _leave = Leave;
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_back_afterwards_even_after_a_panic() {
        let device = Device::flex().autodiff();
        assert!(on_cpu(&device) && on_cpu(&Device::flex()));
        fall_through(|| {
            assert!(!on_cpu(&device));
            fall_through(|| assert!(!on_cpu(&device)));
            assert!(!on_cpu(&device));
        });
        assert!(on_cpu(&device));
        let panicked = std::panic::catch_unwind(|| fall_through(|| panic!("as a test may")));
        assert!(panicked.is_err() && on_cpu(&Device::flex()));
    }

    #[test]
    fn only_the_capture_device_records() {
        assert!(recorded(&Device::capture()));
        assert!(!on_cpu(&Device::capture()));
        assert!(!recorded(&Device::flex()) && !recorded(&Device::flex().autodiff()));
    }

    #[test]
    fn other_threads_do_not_notice() {
        fall_through(|| {
            let there = std::thread::spawn(|| on_cpu(&Device::flex())).join();
            assert!(there.is_ok_and(|fast| fast));
        });
    }
}
