//! Types of values, and tensors whose values are known when the file is written.

use burn::tensor::{BoolStore, DType, TensorData};
use burn_ir::ScalarIr;

/// `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    Bool = 9,
    F64 = 11,
    U32 = 12,
    U64 = 13,
}

impl Element {
    /// The type of ONNX for one of burn. Half precision is left out: no network is exported in it.
    pub(crate) fn of(dtype: DType) -> Result<Self, String> {
        Ok(match dtype {
            DType::F32 | DType::Flex32 => Self::F32,
            DType::F64 => Self::F64,
            DType::U8 => Self::U8,
            DType::U16 => Self::U16,
            DType::U32 => Self::U32,
            DType::U64 => Self::U64,
            DType::I8 => Self::I8,
            DType::I16 => Self::I16,
            DType::I32 => Self::I32,
            DType::I64 => Self::I64,
            DType::Bool(_) => Self::Bool,
            other => return Err(format!("tensors of type {other:?} are not exported")),
        })
    }
}

/// A tensor with its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Constant {
    pub(crate) element: Element,
    pub(crate) dims: Vec<i64>,
    /// Little-endian, last axis fastest.
    pub(crate) bytes: Vec<u8>,
}

impl Constant {
    /// Without axes.
    pub(crate) fn scalar(element: Element, value: ScalarIr) -> Self {
        let bytes = match element {
            Element::F32 => value.elem::<f32>().to_le_bytes().to_vec(),
            Element::F64 => value.elem::<f64>().to_le_bytes().to_vec(),
            Element::U8 => value.elem::<u8>().to_le_bytes().to_vec(),
            Element::I8 => value.elem::<i8>().to_le_bytes().to_vec(),
            Element::U16 => value.elem::<u16>().to_le_bytes().to_vec(),
            Element::I16 => value.elem::<i16>().to_le_bytes().to_vec(),
            Element::I32 => value.elem::<i32>().to_le_bytes().to_vec(),
            Element::U32 => value.elem::<u32>().to_le_bytes().to_vec(),
            Element::I64 => value.elem::<i64>().to_le_bytes().to_vec(),
            Element::U64 => value.elem::<u64>().to_le_bytes().to_vec(),
            Element::Bool => vec![u8::from(value.elem::<bool>())],
        };
        Self { element, dims: Vec::new(), bytes }
    }

    /// Of `f32`.
    pub(crate) fn floats(values: &[f32], dims: &[usize]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { element: Element::F32, dims: signed(dims), bytes }
    }

    /// Of `i64`.
    pub(crate) fn ints(values: &[i64], dims: &[usize]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { element: Element::I64, dims: signed(dims), bytes }
    }

    /// Of truth values.
    pub(crate) fn bools(values: &[bool], dims: &[usize]) -> Self {
        let bytes = values.iter().map(|&v| u8::from(v)).collect();
        Self { element: Element::Bool, dims: signed(dims), bytes }
    }

    /// Values that were recorded, in another shape of the same size.
    pub(crate) fn recorded(data: &TensorData, dims: &[i64]) -> Result<Self, String> {
        let element = Element::of(data.dtype())?;
        let bytes = match data.dtype() {
            DType::Bool(BoolStore::U32) => data.iter::<bool>().map(u8::from).collect(),
            _ => data.as_bytes().to_vec(),
        };
        Ok(Self { element, dims: dims.to_vec(), bytes })
    }

    /// The same values in another shape.
    pub(crate) fn reshaped(&self, dims: Vec<i64>) -> Self {
        Self { element: self.element, dims, bytes: self.bytes.clone() }
    }
}

/// Sizes as ONNX writes them.
pub(crate) fn signed(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&size| size as i64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_little_endian() {
        let c = Constant::scalar(Element::I64, ScalarIr::Float(-2.0));
        assert_eq!((c.bytes.as_slice(), c.dims.len()), (&(-2_i64).to_le_bytes()[..], 0));
        let c = Constant::scalar(Element::F32, ScalarIr::Int(3));
        assert_eq!(c.bytes, 3.0_f32.to_le_bytes());
        let c = Constant::floats(&[1.0, 2.0], &[2, 1]);
        assert_eq!((c.dims, c.bytes[4..].to_vec()), (vec![2, 1], 2.0_f32.to_le_bytes().to_vec()));
        assert_eq!(Constant::bools(&[true, false], &[2]).bytes, [1, 0]);
    }

    #[test]
    fn truth_values_take_one_byte_however_they_were_kept() {
        let kept = TensorData::new(vec![true, false, true], [3]);
        for store in [BoolStore::Native, BoolStore::U8, BoolStore::U32] {
            let data = kept.clone().convert_dtype(DType::Bool(store));
            let constant = Constant::recorded(&data, &[3]).unwrap();
            assert_eq!(constant.bytes, [1, 0, 1], "{store:?}");
        }
    }

    #[test]
    fn half_precision_is_refused() {
        assert!(Element::of(DType::BF16).is_err());
    }
}
