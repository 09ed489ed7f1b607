//! How Keras names layers and variables.

use std::cmp::Ordering;

/// `conv2d_17` is number 17 of class `conv2d`, `conv2d` number 0.
pub(super) fn class_and_number(name: &str) -> (&str, u32) {
    let numbered = name.rsplit_once('_').and_then(|(class, digits)| {
        let plain = !class.is_empty() && !digits.starts_with('0') && !digits.starts_with('+');
        plain.then_some(class).zip(digits.parse().ok())
    });
    numbered.unwrap_or((name, 0))
}

/// `BatchNormalization` as names spell it, `batch_normalization`: `to_snake_case` of
/// `keras/src/utils/naming.py`, two substitutions one after the other.
pub(super) fn snake_case(class: &str) -> String {
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    let letters: Vec<char> = class.chars().filter(word).collect();
    // `(.)([A-Z][a-z]+)` to `\1_\2`: a capital with small letters behind it starts a word.
    let mut words = Vec::with_capacity(letters.len() + 4);
    let mut at = 0;
    while at < letters.len() {
        words.push(letters[at]);
        let starts = letters.get(at + 1).is_some_and(char::is_ascii_uppercase)
            && letters.get(at + 2).is_some_and(char::is_ascii_lowercase);
        at += 1;
        if starts {
            words.extend(['_', letters[at]]);
            at += 1;
            while at < letters.len() && letters[at].is_ascii_lowercase() {
                words.push(letters[at]);
                at += 1;
            }
        }
    }
    // `([a-z])([A-Z])` to `\1_\2`.
    let mut out = String::new();
    for (at, letter) in words.iter().enumerate() {
        if at > 0 && letter.is_ascii_uppercase() && words[at - 1].is_ascii_lowercase() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// Paths in the order of their numbers: `conv2d`, `conv2d_2`, `conv2d_10`.
pub(super) fn by_number(a: &str, b: &str) -> Ordering {
    let parts = |path: &str| -> Vec<(String, u32)> {
        let part = |name: &str| match name.parse() {
            Ok(number) => (String::new(), number),
            Err(_) => {
                let (class, number) = class_and_number(name);
                (class.to_owned(), number)
            }
        };
        path.split('/').map(part).collect()
    };
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

/// What the numbered variables of a layer are, in the order in which its class makes them; their
/// numbers where that is not known.
pub(super) fn roles(class: &str, count: usize) -> Vec<String> {
    const CONVOLUTIONS: [&str; 8] = [
        "dense",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv1d_transpose",
        "conv2d_transpose",
        "conv3d_transpose",
        "depthwise_conv2d",
    ];
    let known: &[&str] = match (class, count) {
        (class, 1 | 2) if CONVOLUTIONS.contains(&class) => &["kernel", "bias"],
        ("separable_conv1d" | "separable_conv2d", 2 | 3) => {
            &["depthwise_kernel", "pointwise_kernel", "bias"]
        }
        ("batch_normalization", 4) => &["gamma", "beta", "moving_mean", "moving_variance"],
        // Without scale and centre there are only the statistics.
        ("batch_normalization", 2) => &["moving_mean", "moving_variance"],
        ("layer_normalization" | "group_normalization", 2) => &["gamma", "beta"],
        ("embedding", 1) => &["embeddings"],
        ("normalization", 3) => &["mean", "variance", "count"],
        _ => &[],
    };
    let role = |at: usize| known.get(at).map_or_else(|| at.to_string(), ToString::to_string);
    (0..count).map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_spelled_as_keras_spells_them() {
        // From keras.src.utils.naming.to_snake_case.
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("SeparableConv2D", "separable_conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("InputLayer", "input_layer"),
            ("MaxPooling2D", "max_pooling2d"),
            ("LSTM", "lstm"),
            ("ConvLSTM2D", "conv_lstm2d"),
            ("PReLU", "p_re_lu"),
            ("ReLU", "re_lu"),
            ("GRUCell", "gru_cell"),
            ("RobustResidualBlock", "robust_residual_block"),
            ("MyABCLayer", "my_abc_layer"),
            ("A", "a"),
            ("", ""),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }

    #[test]
    fn numbers_come_off_names() {
        assert_eq!(class_and_number("conv2d_17"), ("conv2d", 17));
        assert_eq!(class_and_number("conv2d"), ("conv2d", 0));
        assert_eq!(class_and_number("conv2d_transpose_3"), ("conv2d_transpose", 3));
        assert_eq!(class_and_number("conv2d_transpose"), ("conv2d_transpose", 0));
        assert_eq!(class_and_number("stage_01"), ("stage_01", 0), "Keras counts without zeros");
        assert_eq!(class_and_number("_4"), ("_4", 0));
        assert_eq!(class_and_number("a_99999999999"), ("a_99999999999", 0));
    }

    #[test]
    fn paths_sort_by_their_numbers() {
        let mut paths =
            ["l/b_10/vars", "l/b/vars", "l/a_2/vars", "l/b_9/vars", "l/a/vars", "10", "9"];
        paths.sort_by(|a, b| by_number(a, b));
        assert_eq!(
            paths,
            ["9", "10", "l/a/vars", "l/a_2/vars", "l/b/vars", "l/b_9/vars", "l/b_10/vars"]
        );
    }
}
