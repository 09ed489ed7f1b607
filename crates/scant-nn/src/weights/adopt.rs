//! Weights of other programs brought to the names and shapes of a network.

use super::{HostTensor, Mapped, Weights};
use crate::model::Shapes;

/// What wrappers put before every name of a `state_dict`: `DataParallel`, `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Takes every tensor of the network's own names and shapes. Prefixes of wrappers that all names carry
/// are left out.
pub(crate) fn by_name(tensors: &Weights, network: &Shapes) -> Mapped {
    let mut mapped = Mapped::default();
    let prefix = wrapper(tensors);
    for (given, tensor) in tensors {
        let name = &given[prefix.len()..];
        if !mapped.take(name, tensor, network, |_, _| None) {
            mapped.unused.push(given.clone());
        }
    }
    mapped
}

/// The names without the wrappers that all of them carry.
#[must_use]
pub fn unwrapped(tensors: &Weights) -> Weights {
    let prefix = wrapper(tensors).len();
    tensors.iter().map(|(name, t)| (name[prefix..].to_owned(), t.clone())).collect()
}

fn wrapper(tensors: &Weights) -> String {
    let mut prefix = String::new();
    let carried = |prefix: &str| tensors.keys().all(|name| name.starts_with(prefix));
    while let Some(more) = WRAPPERS.iter().find(|w| carried(&format!("{prefix}{w}"))) {
        if tensors.is_empty() {
            break;
        }
        prefix += more;
    }
    prefix
}

/// A head of two softmax channels, background and foreground, as the head of one logit: the softmax
/// over `(a, b)` is the sigmoid of `b - a`, so weights and bias are the second less the first. `None`
/// for tensors that are no such head.
///
/// # Shapes
/// - head: `[2, ...]`
/// - shape: `[1, ...]`
#[must_use]
pub fn one_logit(head: &HostTensor, shape: &[usize]) -> Option<HostTensor> {
    let two_for_one = head.shape.first() == Some(&2) && shape.first() == Some(&1);
    if !two_for_one || head.shape[1..] != shape[1..] {
        return None;
    }
    let (background, foreground) = head.data.split_at(head.data.len() / 2);
    let data = foreground.iter().zip(background).map(|(f, b)| f - b).collect();
    Some(HostTensor { shape: shape.to_vec(), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Weights {
        let tensor = HostTensor { shape: vec![1], data: vec![0.0] };
        names.iter().map(|name| ((*name).to_owned(), tensor.clone())).collect()
    }

    #[test]
    fn prefixes_that_all_names_carry_are_left_out() {
        let network: Shapes = [("a".to_owned(), vec![1]), ("module.b".to_owned(), vec![1])].into();
        let mapped = by_name(&named(&["module._orig_mod.a", "module._orig_mod.z"]), &network);
        assert_eq!(mapped.tensors.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(mapped.unused, ["module._orig_mod.z"]);
        let mapped = by_name(&named(&["a", "module.b"]), &network);
        assert_eq!(mapped.tensors.len(), 2, "not all names carry it");
        assert_eq!(unwrapped(&named(&["module.a", "module.b"])), named(&["a", "b"]));
        assert!(unwrapped(&Weights::new()).is_empty());
    }

    #[test]
    fn two_channels_of_a_softmax_are_one_logit() {
        let head = HostTensor { shape: vec![2, 2], data: vec![1.0, 2.0, 10.0, 30.0] };
        let one = one_logit(&head, &[1, 2]).unwrap();
        assert_eq!((one.shape, one.data), (vec![1, 2], vec![9.0, 28.0]));
        assert_eq!(one_logit(&head, &[1, 3]), None);
        assert_eq!(one_logit(&HostTensor { shape: vec![3], data: vec![0.0; 3] }, &[1]), None);
    }
}
