//! In which precision convolutions multiply.

use std::cell::Cell;

use scant_compute::bf16::Precision;

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::Single) };
}

/// The precision of the convolutions that this thread builds now; single unless
/// [`with_precision`] says otherwise.
#[must_use]
pub fn precision() -> Precision {
    CURRENT.get()
}

/// Runs `work` with another precision: convolutions it calls on this thread follow it, and so do their
/// gradients, whenever these are computed.
///
/// It concerns products only. Operands are rounded on the way into a product and its sums are `f32`;
/// weights, activations and gradients stay `f32`. Devices other than the CPU take no notice.
pub fn with_precision<R>(precision: Precision, work: impl FnOnce() -> R) -> R {
    /// Sets back also when `work` panics.
    struct Restore(Precision);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(precision));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_precision_is_back_afterwards_even_after_a_panic() {
        assert_eq!(precision(), Precision::Single);
        with_precision(Precision::Bfloat16, || {
            assert_eq!(precision(), Precision::Bfloat16);
            with_precision(Precision::Single, || assert_eq!(precision(), Precision::Single));
            assert_eq!(precision(), Precision::Bfloat16);
        });
        let panicked = std::panic::catch_unwind(|| {
            with_precision(Precision::Bfloat16, || panic!("as a test may"));
        });
        assert!(panicked.is_err());
        assert_eq!(precision(), Precision::Single);
    }

    #[test]
    fn other_threads_do_not_notice() {
        with_precision(Precision::Bfloat16, || {
            let there = std::thread::spawn(precision).join();
            assert!(there.is_ok_and(|p| p == Precision::Single));
        });
    }
}
