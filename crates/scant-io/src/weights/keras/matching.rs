//! Which tensor of a file is which variable of a network whose list of variables is known.

use std::collections::BTreeMap;

use thiserror::Error;

use super::super::{TensorOrder, WeightFile};
use super::KerasLayer;
use super::names::class_and_number;

/// Why the layers of a file are not those of a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}; the weights belong to another network")]
pub struct KerasMismatch(String);

/// Variables of one layer of the list.
struct Wanted<'a> {
    class: &'a str,
    number: u32,
    /// What each variable is, and its position in the list.
    variables: Vec<(&'a str, usize)>,
}

impl WeightFile {
    /// Keras: for each variable of a network its position in [`tensors`](Self::tensors), whichever
    /// kind of file this is. `list` names the variables as `model.weights` lists them where the
    /// network is built first in a session: `conv2d/kernel`, `conv2d/bias`,
    /// `batch_normalization/gamma`, ...; what stands in front of the last two parts does not matter.
    ///
    /// A file in the order of the network is taken as it is; in any other the layers of a class are
    /// matched by creation, or by the order of the network where the file tells no names.
    ///
    /// # Errors
    /// When the numbers of layers or variables differ, or when layers are nested and the file tells
    /// neither order nor names. Shapes are not compared.
    pub fn keras_positions(&self, list: &[&str]) -> Result<Vec<usize>, KerasMismatch> {
        if list.len() != self.tensors.len() {
            return Err(KerasMismatch(format!(
                "the file has {} variables, the network {}",
                self.tensors.len(),
                list.len()
            )));
        }
        let wanted = wanted(list);
        if self.order == TensorOrder::Network {
            return self.as_listed(&wanted);
        }
        let mut classes: BTreeMap<&str, Vec<&Wanted<'_>>> = BTreeMap::new();
        for layer in &wanted {
            classes.entry(layer.class).or_default().push(layer);
        }
        let created = self.layers_by_creation();
        let by_name = created.is_some();
        if !by_name && self.layers.iter().any(|layer| layer.path.matches('/').count() > 1) {
            return Err(KerasMismatch(
                "the file has layers within layers and tells neither their order nor their names"
                    .into(),
            ));
        }
        let found = created.unwrap_or_else(|| self.layers_by_class());
        let mut positions = vec![0; list.len()];
        for (class, mut wanted) in classes {
            let found = found.get(class).map_or(&[][..], Vec::as_slice);
            if found.len() != wanted.len() {
                return Err(KerasMismatch(format!(
                    "the file has {} layers of class {class}, the network {}",
                    found.len(),
                    wanted.len()
                )));
            }
            if by_name {
                wanted.sort_by_key(|layer| layer.number);
            }
            for (wanted, found) in wanted.into_iter().zip(found) {
                assign(wanted, found, &mut positions)?;
            }
        }
        Ok(positions)
    }

    /// The order of the file, if the variables are of the same kinds throughout.
    fn as_listed(&self, wanted: &[Wanted<'_>]) -> Result<Vec<usize>, KerasMismatch> {
        let mut kinds = vec![""; self.tensors.len()];
        for (role, position) in self.layers.iter().flat_map(|layer| &layer.variables) {
            kinds[*position] = role;
        }
        for (role, position) in wanted.iter().flat_map(|layer| &layer.variables) {
            let kind = kinds[*position];
            // A number is what stands where the file does not tell.
            if kind != *role && kind.parse::<u32>().is_err() {
                return Err(KerasMismatch(format!(
                    "variable {position} is a {kind} in the file, a {role} in the network"
                )));
            }
        }
        Ok((0..self.tensors.len()).collect())
    }
}

/// The variables of a list by layer. Layers have a name of their own each, so that neighbours of the
/// same name belong together.
fn wanted<'a>(list: &[&'a str]) -> Vec<Wanted<'a>> {
    let mut layers: Vec<(&str, Wanted<'a>)> = Vec::new();
    for (position, path) in list.iter().enumerate() {
        let (parent, role) = path.rsplit_once('/').unwrap_or(("", path));
        let name = parent.rsplit('/').next().unwrap_or_default();
        match layers.last_mut() {
            Some((last, layer)) if *last == parent => layer.variables.push((role, position)),
            _ => {
                let (class, number) = class_and_number(name);
                let variables = vec![(role, position)];
                layers.push((parent, Wanted { class, number, variables }));
            }
        }
    }
    layers.into_iter().map(|(_, layer)| layer).collect()
}

fn assign(
    wanted: &Wanted<'_>,
    found: &KerasLayer,
    positions: &mut [usize],
) -> Result<(), KerasMismatch> {
    if wanted.variables.len() != found.variables.len() {
        return Err(KerasMismatch(format!(
            "{} has {} variables in the file, {} in the network",
            found.path,
            found.variables.len(),
            wanted.variables.len()
        )));
    }
    for (place, (role, position)) in wanted.variables.iter().enumerate() {
        // Where the file does not tell what a variable is, it has numbered them in their order.
        let found_at = found.variable(role).or_else(|| found.variable(&place.to_string()));
        positions[*position] = found_at
            .ok_or_else(|| KerasMismatch(format!("{} has no {role} in the file", found.path)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use scant_core::HostTensor;

    use super::*;
    use crate::weights::WeightFormat;

    /// A file of layers, each given by path and name, with a kernel and a bias each.
    fn file(layers: &[(&str, Option<&str>)]) -> WeightFile {
        let tensor = || HostTensor { shape: vec![], data: vec![0.0] };
        let layer = |(at, (path, name)): (usize, &(&str, Option<&str>))| KerasLayer {
            path: (*path).into(),
            name: name.map(Into::into),
            class: "conv2d".into(),
            number: name.map(|name| class_and_number(name).1),
            variables: vec![("kernel".into(), 2 * at), ("bias".into(), 2 * at + 1)],
        };
        WeightFile {
            format: WeightFormat::Keras,
            tensors: (0..2 * layers.len()).map(|at| (at.to_string(), tensor())).collect(),
            order: TensorOrder::Stored,
            state_dict: None,
            metadata: BTreeMap::new(),
            skipped: Vec::new(),
            layers: layers.iter().enumerate().map(layer).collect(),
        }
    }

    /// Of two convolutions side by side, the second comes first in the list.
    const LIST: [&str; 4] = ["conv2d_1/kernel", "conv2d_1/bias", "conv2d/kernel", "conv2d/bias"];

    #[test]
    fn names_match_by_creation() {
        // The session had made five convolutions before.
        let named = file(&[("a/b/c", Some("conv2d_5")), ("a/b/d", Some("conv2d_6"))]);
        assert_eq!(named.keras_positions(&LIST).unwrap(), [2, 3, 0, 1]);
    }

    #[test]
    fn groups_match_by_the_order_of_the_network() {
        let flat = file(&[("layers/conv2d", None), ("layers/conv2d_1", None)]);
        assert_eq!(flat.keras_positions(&LIST).unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        let nested = file(&[("layers/block/first", None), ("layers/block/second", None)]);
        let said =
            |file: &WeightFile, list: &[&str]| file.keras_positions(list).unwrap_err().to_string();
        assert!(said(&nested, &LIST).contains("neither their order nor their names"));
        let flat = file(&[("layers/conv2d", None), ("layers/conv2d_1", None)]);
        assert!(said(&flat, &LIST[..2]).contains("4 variables, the network 2"));
        let dense = ["conv2d/kernel", "conv2d/bias", "dense/kernel", "dense/bias"];
        assert!(said(&flat, &dense).contains("2 layers of class conv2d, the network 1"));
        let norms = ["conv2d/kernel", "conv2d/bias", "conv2d_1/gamma", "conv2d_1/bias"];
        assert!(said(&flat, &norms).contains("layers/conv2d_1 has no gamma"));
        let mut network = flat;
        network.order = TensorOrder::Network;
        assert!(said(&network, &norms).contains("variable 2 is a kernel in the file, a gamma"));
    }
}
