//! Tensors of a file in the names and shapes of a network.

use super::{HostTensor, Weights};
use crate::model::Shapes;

/// What a file of other names or shapes, such as a pretrained encoder, gives to a network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapped {
    /// By the names of the network, in its shapes. Need not be complete: what is missing keeps its
    /// initial values.
    pub tensors: Weights,
    /// Tensors that were resized to fit: name in the network, shape in the file, shape in the network.
    pub reshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Names of tensors in the file that the network has no place for: unknown, or of another shape.
    pub unused: Vec<String>,
}

impl Mapped {
    /// Gives `tensor` to the network under `name`, if it is there in this shape or `resize` brings it to
    /// the shape there. Says whether it did.
    pub(crate) fn take(
        &mut self,
        name: &str,
        tensor: &HostTensor,
        network: &Shapes,
        resize: impl FnOnce(&HostTensor, &[usize]) -> Option<HostTensor>,
    ) -> bool {
        let Some(shape) = network.get(name) else { return false };
        if tensor.shape == *shape {
            self.tensors.insert(name.to_owned(), tensor.clone());
            return true;
        }
        let Some(resized) = resize(tensor, shape) else { return false };
        debug_assert_eq!(resized.shape, *shape, "{name}");
        self.tensors.insert(name.to_owned(), resized);
        self.reshaped.push((name.to_owned(), tensor.shape.clone(), shape.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_taken_resized_or_left() {
        let network: Shapes = [("a".to_owned(), vec![2]), ("b".to_owned(), vec![3])].into();
        let tensor = HostTensor { shape: vec![2], data: vec![1.0, 2.0] };
        let longer = |t: &HostTensor, shape: &[usize]| {
            let data = [t.data.as_slice(), &[0.0]].concat();
            (shape == [3]).then(|| HostTensor { shape: vec![3], data })
        };
        let mut mapped = Mapped::default();
        assert!(mapped.take("a", &tensor, &network, |_, _| unreachable!("it fits")));
        assert!(mapped.take("b", &tensor, &network, longer));
        assert!(!mapped.take("c", &tensor, &network, longer));
        let wide = HostTensor { shape: vec![1, 2], data: vec![3.0, 4.0] };
        assert!(!mapped.take("a", &wide, &network, longer));
        assert_eq!(mapped.tensors["a"], tensor);
        assert_eq!(mapped.tensors["b"].data, [1.0, 2.0, 0.0]);
        assert_eq!(mapped.reshaped, [("b".to_owned(), vec![2], vec![3])]);
        assert_eq!(mapped.tensors.len(), 2);
    }
}
