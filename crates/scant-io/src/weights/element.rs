//! Stored numbers to `f32`, and the count of how many there may be.

use half::{bf16, f16};

use super::WeightLimits;
use super::error::Fault;
use super::source::out_of_memory;

/// How one value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

/// Which byte of a value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl Element {
    /// Bytes of one value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The values of `bytes`, rounded to nearest; bytes beyond the last whole value are ignored.
    pub(super) fn decode(self, order: ByteOrder, bytes: &[u8]) -> Result<Vec<f32>, Fault> {
        macro_rules! each {
            ($type:ty, $convert:expr) => {
                each(bytes, |b| {
                    let value = match order {
                        ByteOrder::Little => <$type>::from_le_bytes(b),
                        ByteOrder::Big => <$type>::from_be_bytes(b),
                    };
                    $convert(value)
                })
            };
        }
        match self {
            Self::F64 => each!(f64, |v| v as f32),
            Self::F32 => each!(f32, |v| v),
            Self::F16 => each!(f16, f16::to_f32),
            Self::Bf16 => each!(bf16, bf16::to_f32),
            Self::I64 => each!(i64, |v| v as f32),
            Self::I32 => each!(i32, |v| v as f32),
            Self::I16 => each!(i16, f32::from),
            Self::I8 => each!(i8, f32::from),
            Self::U64 => each!(u64, |v| v as f32),
            Self::U32 => each!(u32, |v| v as f32),
            Self::U16 => each!(u16, f32::from),
            Self::U8 => each!(u8, f32::from),
            Self::Bool => each!(u8, |v: u8| f32::from(u8::from(v != 0))),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Result<Vec<f32>, Fault> {
    let (values, _) = bytes.as_chunks::<N>();
    let mut out = reserved(values.len())?;
    out.extend(values.iter().map(|b| value(*b)));
    Ok(out)
}

/// An empty vector with room for `len` values, or a refusal where the system would have to abort.
pub(super) fn reserved(len: usize) -> Result<Vec<f32>, Fault> {
    let mut out = Vec::new();
    out.try_reserve_exact(len).map_err(|_| out_of_memory())?;
    Ok(out)
}

/// What is left of the limits.
pub(super) struct Budget {
    values: u64,
    tensors: usize,
    limits: WeightLimits,
}

impl Budget {
    pub(super) fn new(limits: &WeightLimits) -> Self {
        Self { values: limits.max_values, tensors: limits.max_tensors, limits: *limits }
    }

    /// Takes a tensor of these sizes off and returns its number of values.
    pub(super) fn take(&mut self, name: &str, shape: &[u64]) -> Result<usize, Fault> {
        // A tensor with a zero among its sizes is empty, however large the others are.
        let count = if shape.contains(&0) {
            Some(0)
        } else {
            shape.iter().try_fold(1_u64, |n, &size| n.checked_mul(size))
        };
        let left = count.and_then(|n| self.values.checked_sub(n)).ok_or_else(|| {
            Fault::TooLarge(format!(
                "tensor \"{name}\" of shape {shape:?} brings the file beyond the limit of {} values",
                self.limits.max_values
            ))
        })?;
        self.tensors = self.tensors.checked_sub(1).ok_or_else(|| {
            Fault::TooLarge(format!("it holds more than {} tensors", self.limits.max_tensors))
        })?;
        self.values = left;
        usize::try_from(count.unwrap_or(0)).map_err(|_| out_of_memory())
    }
}

/// Sizes as the host counts them.
pub(super) fn host_shape(shape: &[u64]) -> Result<Vec<usize>, Fault> {
    shape.iter().map(|&size| usize::try_from(size).map_err(|_| out_of_memory())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_convert_as_written_by_hand() {
        use ByteOrder::{Big, Little};
        let le = |e: Element, b: &[u8]| e.decode(Little, b).unwrap();
        let be = |e: Element, b: &[u8]| e.decode(Big, b).unwrap();
        assert_eq!(le(Element::F16, &[0x00, 0x3e, 0x00, 0xc0]), [1.5, -2.0]);
        assert_eq!(be(Element::F16, &[0x3e, 0x00, 0xc0, 0x00]), [1.5, -2.0]);
        assert_eq!(le(Element::Bf16, &[0xc0, 0x3f]), [1.5]);
        assert_eq!(be(Element::F32, &[0x40, 0x20, 0, 0]), [2.5]);
        assert_eq!(le(Element::F64, &0.1_f64.to_le_bytes()), [0.1_f32]);
        assert_eq!(le(Element::F64, &1e300_f64.to_le_bytes()), [f32::INFINITY]);
        assert_eq!(le(Element::I64, &(-7_i64).to_le_bytes()), [-7.0]);
        assert_eq!(be(Element::U32, &[0, 0, 1, 2]), [258.0]);
        assert_eq!(le(Element::I8, &[0xff, 0x7f]), [-1.0, 127.0]);
        assert_eq!(le(Element::Bool, &[0, 1, 5]), [0.0, 1.0, 1.0]);
        assert_eq!(le(Element::I16, &[0xff, 0xff, 3]), [-1.0], "half a value is none");
    }

    #[test]
    fn the_budget_is_for_all_tensors_together() {
        let limits = WeightLimits { max_values: 10, max_tensors: 3, ..WeightLimits::default() };
        let mut budget = Budget::new(&limits);
        assert_eq!(budget.take("a", &[2, 3]).unwrap(), 6);
        assert!(budget.take("b", &[5]).unwrap_err().to_string().contains("\"b\""));
        assert_eq!(budget.take("b", &[]).unwrap(), 1);
        assert_eq!(budget.take("c", &[u64::MAX, 0, u64::MAX]).unwrap(), 0);
        assert!(budget.take("d", &[1]).unwrap_err().to_string().contains("3 tensors"));
        assert!(Budget::new(&limits).take("e", &[u64::MAX, 2]).is_err());
    }
}
