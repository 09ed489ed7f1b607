//! How long something takes.

use std::time::Instant;

use crate::exit::Result;

/// Seconds of every repetition, in order.
#[derive(Debug, Clone)]
pub(super) struct Seconds(Vec<f64>);

impl Seconds {
    /// Runs `work` `warmup` times unmeasured, then `repeats` times, at least once. `work` returns when
    /// its device is done.
    pub(super) fn of(warmup: u32, repeats: u32, mut work: impl FnMut() -> Result) -> Result<Self> {
        for _ in 0..warmup {
            work()?;
        }
        let measured = (0..repeats.max(1)).map(|_| {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed().as_secs_f64())
        });
        Ok(Self(measured.collect::<Result<_>>()?))
    }

    pub(super) fn all(&self) -> &[f64] {
        &self.0
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Linear between the two nearest, as NumPy's default.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let position = q * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
        low + (high - low) * position.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;

    #[test]
    fn work_is_done_as_often_as_asked() {
        let mut count = 0;
        let seconds = Seconds::of(3, 4, || {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((count, seconds.all().len()), (7, 4));
        assert!(seconds.all().iter().all(|&s| s >= 0.0));
    }

    #[test]
    fn work_that_fails_is_no_measurement() {
        for at in 1..8 {
            let mut count = 0;
            let seconds = Seconds::of(3, 4, || {
                count += 1;
                if count == at { Err(Failure::failed("the device is gone")) } else { Ok(()) }
            });
            assert!(seconds.is_err());
            assert_eq!(count, at);
        }
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        let seconds = Seconds(vec![4.0, 1.0, 3.0, 2.0]);
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| seconds.quantile(q));
        assert_eq!(found, [1.0, 1.75, 2.5, 3.25, 4.0]);
        assert_eq!(Seconds(vec![7.0]).median(), 7.0);
    }
}
