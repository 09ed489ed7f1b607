//! Against the loader of the reference, on arrays that a formula makes from their names.

use burn::tensor::Device;

use super::*;
use crate::ModelConfig;
use crate::model::TransUNetConfig;
use crate::weights;

/// Values in [-1, 1) that differ from name to name.
fn value(name: &str, count: usize) -> Vec<f32> {
    let seed =
        name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let one = |i: usize| {
        let mut z = seed.wrapping_add(i as u32).wrapping_mul(2_654_435_761);
        z ^= z >> 15;
        z = z.wrapping_mul(2_246_822_519);
        z ^= z >> 13;
        (z >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(one).collect()
}

/// A number that changes when values change places.
fn mark(tensor: &HostTensor) -> f64 {
    let weighted = |(j, x): (usize, &f32)| f64::from(*x) * ((j * j + 3 * j) % 13 + 1) as f64;
    tensor.data.iter().enumerate().map(weighted).sum()
}

fn config() -> TransUNetConfig {
    TransUNetConfig {
        hidden: 64,
        heads: 2,
        layers: 2,
        mlp: 48,
        units: [2, 1, 1],
        width: 32,
        head_channels: 8,
        decoder_channels: [8; 4],
        grid: [5, 5],
        ..TransUNetConfig::default()
    }
}

fn targets(config: TransUNetConfig) -> Shapes {
    let model = ModelConfig::TransUNet(config).init(&Device::flex(), 0).unwrap();
    weights::export(&model).into_iter().map(|(name, t)| (name, t.shape)).collect()
}

/// An archive for [`config`] with the names and layouts of Google's, on a grid of 3 x 3.
fn archive() -> Weights {
    let (mut npz, h, w) = (Weights::new(), 64, 32);
    let mut put = |name: String, shape: &[usize]| {
        let data = value(&name, shape.iter().product());
        npz.insert(name, HostTensor { shape: shape.to_vec(), data });
    };
    for (name, kernel) in
        [("embedding", &[1, 1, 16 * w, h][..]), ("pre_logits", &[h, h]), ("head", &[h, 10])]
    {
        put(format!("{name}/kernel"), kernel);
        put(format!("{name}/bias"), &kernel[kernel.len() - 1..]);
    }
    put("cls".into(), &[1, 1, h]);
    put("Transformer/posembed_input/pos_embedding".into(), &[1, 10, h]);
    let norms = ["encoder_norm", "encoderblock_0/LayerNorm_0", "encoderblock_0/LayerNorm_2"];
    for norm in
        norms.into_iter().chain(["encoderblock_1/LayerNorm_0", "encoderblock_1/LayerNorm_2"])
    {
        put(format!("Transformer/{norm}/scale"), &[h]);
        put(format!("Transformer/{norm}/bias"), &[h]);
    }
    for layer in 0..2 {
        let dense: [(&str, &[usize], &[usize]); 6] = [
            ("MultiHeadDotProductAttention_1/query", &[h, 2, 32], &[2, 32]),
            ("MultiHeadDotProductAttention_1/key", &[h, 2, 32], &[2, 32]),
            ("MultiHeadDotProductAttention_1/value", &[h, 2, 32], &[2, 32]),
            ("MultiHeadDotProductAttention_1/out", &[2, 32, h], &[h]),
            ("MlpBlock_3/Dense_0", &[h, 48], &[48]),
            ("MlpBlock_3/Dense_1", &[48, h], &[h]),
        ];
        for (name, kernel, bias) in dense {
            put(format!("Transformer/encoderblock_{layer}/{name}/kernel"), kernel);
            put(format!("Transformer/encoderblock_{layer}/{name}/bias"), bias);
        }
    }
    put("conv_root/kernel".into(), &[7, 7, 3, w]);
    put("gn_root/scale".into(), &[1, 1, 1, w]);
    put("gn_root/bias".into(), &[1, 1, 1, w]);
    let units = [
        ("block1/unit1", w, 4 * w),
        ("block1/unit2", 4 * w, 4 * w),
        ("block2/unit1", 4 * w, 8 * w),
        ("block3/unit1", 8 * w, 16 * w),
    ];
    for (unit, input, output) in units {
        let middle = output / 4;
        put(format!("{unit}/conv1/kernel"), &[1, 1, input, middle]);
        put(format!("{unit}/conv2/kernel"), &[3, 3, middle, middle]);
        put(format!("{unit}/conv3/kernel"), &[1, 1, middle, output]);
        let mut norms = vec![("gn1", middle), ("gn2", middle), ("gn3", output)];
        if input != output {
            put(format!("{unit}/conv_proj/kernel"), &[1, 1, input, output]);
            norms.push(("gn_proj", output));
        }
        for (norm, channels) in norms {
            put(format!("{unit}/{norm}/scale"), &[1, 1, 1, channels]);
            put(format!("{unit}/{norm}/bias"), &[1, 1, 1, channels]);
        }
    }
    npz
}

#[test]
fn every_tensor_is_that_of_the_reference() {
    let mapped = from_npz(&archive(), &targets(config()));
    assert_eq!(mapped.tensors.len(), REFERENCE.len());
    for (name, shape, want) in REFERENCE {
        let tensor = &mapped.tensors[*name];
        assert_eq!(tensor.shape, *shape, "{name}");
        let got = mark(tensor);
        assert!((got - want).abs() < 2e-3, "{name}: {got} instead of {want}");
    }
    assert!(mapped.missing.is_empty() && mapped.misfits.is_empty());
    assert_eq!(mapped.reshaped, [(POSITIONS.to_owned(), vec![1, 10, 64], vec![1, 25, 64])]);
    assert_eq!(
        mapped.unused,
        ["cls", "head/bias", "head/kernel", "pre_logits/bias", "pre_logits/kernel"]
    );
}

/// What the network has beside the encoder, and nothing else, is not in the archive.
#[test]
fn the_decoder_keeps_its_own_values() {
    let targets = targets(config());
    let mapped = from_npz(&archive(), &targets);
    let others: Vec<&String> =
        targets.keys().filter(|n| !mapped.tensors.contains_key(*n)).collect();
    assert!(
        others.iter().all(|n| n.starts_with("decoder.") || n.starts_with("segmentation_head."))
    );
    assert_eq!(others.len() + mapped.tensors.len(), targets.len());
}

/// Values of `scipy.ndimage.zoom(grid, (rows / 3, columns / 3, 1), order=1)` of 0, 1, 4, 9, ...
#[test]
fn grids_are_zoomed_as_scipy_does() {
    let squares: Vec<f32> = (0..9).map(|i: u8| f32::from(i * i)).collect();
    let cases: [([usize; 2], &[f32]); 4] = [
        ([2, 2], &[0.0, 4.0, 36.0, 64.0]),
        ([1, 3], &[0.0, 1.0, 4.0]),
        (
            [5, 4],
            &[
                0.0,
                0.666_666_7,
                2.0,
                4.0,
                4.5,
                7.166_666_5,
                10.5,
                14.5,
                9.0,
                13.666_667,
                19.0,
                25.0,
                22.5,
                29.166_666,
                36.5,
                44.5,
                36.0,
                44.666_668,
                54.0,
                64.0,
            ],
        ),
        (
            [3, 7],
            &[
                0.0,
                0.333_333_34,
                0.666_666_7,
                1.0,
                2.0,
                3.0,
                4.0,
                9.0,
                11.333_333,
                13.666_667,
                16.0,
                19.0,
                22.0,
                25.0,
                36.0,
                40.333_332,
                44.666_668,
                49.0,
                54.0,
                59.0,
                64.0,
            ],
        ),
    ];
    for (to, want) in cases {
        let got = zoomed(&squares, [3, 3], to, 1);
        let close = got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close && got.len() == want.len(), "{to:?}: {got:?}");
    }
    let pairs: Vec<f32> = squares.iter().flat_map(|v| [*v, -v]).collect();
    assert_eq!(zoomed(&pairs, [3, 3], [2, 1], 2), [0.0, 0.0, 36.0, -36.0]);
}

#[test]
fn positions_are_copied_behind_the_class_token_where_the_grids_agree() {
    let npz = archive();
    let source = &npz["Transformer/posembed_input/pos_embedding"].data;
    let mapped = from_npz(&npz, &targets(TransUNetConfig { grid: [3, 3], ..config() }));
    assert_eq!(mapped.tensors[POSITIONS].data, source[64..]);
    assert!(mapped.reshaped.is_empty());
}

#[test]
fn a_grid_that_is_not_square_must_be_told() {
    let (npz, targets) = (archive(), targets(TransUNetConfig { grid: [2, 4], ..config() }));
    let mapped = from_npz_on_grid(&npz, &targets, [2, 4]);
    let source = &npz["Transformer/posembed_input/pos_embedding"].data;
    let got = &mapped.tensors[POSITIONS].data;
    assert_eq!(got.len(), 8 * 64);
    // The corners: first and last of both rows.
    for (to, from) in [(0, 0), (3, 2), (4, 6), (7, 8)] {
        assert_eq!(got[to * 64..(to + 1) * 64], source[(from + 1) * 64..(from + 2) * 64]);
    }
    let misfit = (POSITIONS.to_owned(), vec![1, 10, 64], vec![1, 8, 64]);
    let mapped = from_npz(&npz, &targets);
    assert_eq!(mapped.misfits, [misfit]);
    assert!(!mapped.tensors.contains_key(POSITIONS));
}

#[test]
fn what_is_missing_or_of_another_size_is_told() {
    let mut npz = archive();
    npz.remove("gn_root/scale");
    // A plain Vision Transformer cuts patches of 16 x 16 pixels out of the image.
    let patches = HostTensor { shape: vec![16, 16, 3, 64], data: vec![0.0; 49_152] };
    npz.insert("embedding/kernel".into(), patches);
    // An array that is shorter than it says.
    npz.get_mut("Transformer/encoderblock_1/MlpBlock_3/Dense_0/kernel").unwrap().data.pop();
    let config = TransUNetConfig { input_channels: 2, ..config() };
    let mapped = from_npz(&npz, &targets(config));
    let root = "transformer.embeddings.hybrid_model.root";
    let gone = [(format!("{root}.gn.weight"), "gn_root/scale".to_owned())];
    assert_eq!(mapped.missing, gone);
    let misfits: Vec<&str> = mapped.misfits.iter().map(|(name, ..)| name.as_str()).collect();
    let want = [
        &format!("{root}.conv.weight"),
        "transformer.embeddings.patch_embeddings.weight",
        "transformer.encoder.layer.1.ffn.fc1.weight",
    ];
    assert_eq!(misfits, want);
    assert_eq!(mapped.misfits[0].1, [7, 7, 3, 32]);
    assert_eq!(mapped.misfits[0].2, [32, 2, 7, 7]);
    assert_eq!(mapped.tensors.len(), REFERENCE.len() - 4);
}

/// Official name, shape and [`mark`] after `load_from` of the reference.
#[rustfmt::skip]
const REFERENCE: &[(&str, &[usize], f64)] = &[
    ("transformer.embeddings.position_embeddings", &[1, 25, 64], -415.695),
    ("transformer.embeddings.hybrid_model.root.conv.weight", &[32, 3, 7, 7], 368.460),
    ("transformer.embeddings.hybrid_model.root.gn.weight", &[32], 45.922),
    ("transformer.embeddings.hybrid_model.root.gn.bias", &[32], -37.873),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn1.weight", &[32], -13.707),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn1.bias", &[32], 22.422),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.conv1.weight", &[32, 32, 1, 1], -211.882),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn2.weight", &[32], 50.560),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn2.bias", &[32], 6.221),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.conv2.weight", &[32, 32, 3, 3], 471.077),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn3.weight", &[128], -13.901),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn3.bias", &[128], 92.785),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.conv3.weight", &[128, 32, 1, 1], -143.536),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.downsample.weight", &[128, 32, 1, 1], -127.156),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn_proj.weight", &[128], -61.268),
    ("transformer.embeddings.hybrid_model.body.block1.unit1.gn_proj.bias", &[128], -25.979),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.gn1.weight", &[32], 4.474),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.gn1.bias", &[32], -6.574),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.conv1.weight", &[32, 128, 1, 1], 112.957),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.gn2.weight", &[32], 10.782),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.gn2.bias", &[32], 1.570),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.conv2.weight", &[32, 32, 3, 3], 792.576),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.gn3.weight", &[128], -22.492),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.gn3.bias", &[128], -22.970),
    ("transformer.embeddings.hybrid_model.body.block1.unit2.conv3.weight", &[128, 32, 1, 1], -27.275),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn1.weight", &[64], -30.758),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn1.bias", &[64], -38.197),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.conv1.weight", &[64, 128, 1, 1], 29.582),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn2.weight", &[64], 0.354),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn2.bias", &[64], -9.302),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.conv2.weight", &[64, 64, 3, 3], -739.168),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn3.weight", &[256], 45.934),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn3.bias", &[256], -35.760),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.conv3.weight", &[256, 64, 1, 1], 742.320),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.downsample.weight", &[256, 128, 1, 1], 593.676),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn_proj.weight", &[256], -38.612),
    ("transformer.embeddings.hybrid_model.body.block2.unit1.gn_proj.bias", &[256], 24.439),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn1.weight", &[128], -11.736),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn1.bias", &[128], 54.230),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.conv1.weight", &[128, 256, 1, 1], 674.844),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn2.weight", &[128], 0.625),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn2.bias", &[128], 63.558),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.conv2.weight", &[128, 128, 3, 3], 669.727),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn3.weight", &[512], 36.749),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn3.bias", &[512], -35.929),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.conv3.weight", &[512, 128, 1, 1], -70.432),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.downsample.weight", &[512, 256, 1, 1], 157.133),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn_proj.weight", &[512], -107.425),
    ("transformer.embeddings.hybrid_model.body.block3.unit1.gn_proj.bias", &[512], 56.264),
    ("transformer.embeddings.patch_embeddings.weight", &[64, 512, 1, 1], -518.453),
    ("transformer.embeddings.patch_embeddings.bias", &[64], -25.985),
    ("transformer.encoder.layer.0.attention_norm.weight", &[64], 40.944),
    ("transformer.encoder.layer.0.attention_norm.bias", &[64], 13.146),
    ("transformer.encoder.layer.0.ffn_norm.weight", &[64], 40.152),
    ("transformer.encoder.layer.0.ffn_norm.bias", &[64], -72.086),
    ("transformer.encoder.layer.0.ffn.fc1.weight", &[48, 64], -211.075),
    ("transformer.encoder.layer.0.ffn.fc1.bias", &[48], 23.984),
    ("transformer.encoder.layer.0.ffn.fc2.weight", &[64, 48], 212.546),
    ("transformer.encoder.layer.0.ffn.fc2.bias", &[64], 22.438),
    ("transformer.encoder.layer.0.attn.query.weight", &[64, 64], -29.829),
    ("transformer.encoder.layer.0.attn.query.bias", &[64], -16.742),
    ("transformer.encoder.layer.0.attn.key.weight", &[64, 64], -135.997),
    ("transformer.encoder.layer.0.attn.key.bias", &[64], -25.127),
    ("transformer.encoder.layer.0.attn.value.weight", &[64, 64], -288.422),
    ("transformer.encoder.layer.0.attn.value.bias", &[64], -52.997),
    ("transformer.encoder.layer.0.attn.out.weight", &[64, 64], -174.145),
    ("transformer.encoder.layer.0.attn.out.bias", &[64], -42.801),
    ("transformer.encoder.layer.1.attention_norm.weight", &[64], -18.902),
    ("transformer.encoder.layer.1.attention_norm.bias", &[64], -58.212),
    ("transformer.encoder.layer.1.ffn_norm.weight", &[64], 1.904),
    ("transformer.encoder.layer.1.ffn_norm.bias", &[64], 11.015),
    ("transformer.encoder.layer.1.ffn.fc1.weight", &[48, 64], 36.543),
    ("transformer.encoder.layer.1.ffn.fc1.bias", &[48], -40.465),
    ("transformer.encoder.layer.1.ffn.fc2.weight", &[64, 48], -213.087),
    ("transformer.encoder.layer.1.ffn.fc2.bias", &[64], -31.895),
    ("transformer.encoder.layer.1.attn.query.weight", &[64, 64], -524.898),
    ("transformer.encoder.layer.1.attn.query.bias", &[64], -11.100),
    ("transformer.encoder.layer.1.attn.key.weight", &[64, 64], 88.159),
    ("transformer.encoder.layer.1.attn.key.bias", &[64], 18.100),
    ("transformer.encoder.layer.1.attn.value.weight", &[64, 64], 288.870),
    ("transformer.encoder.layer.1.attn.value.bias", &[64], 17.599),
    ("transformer.encoder.layer.1.attn.out.weight", &[64, 64], -186.570),
    ("transformer.encoder.layer.1.attn.out.bias", &[64], 6.398),
    ("transformer.encoder.encoder_norm.weight", &[64], -20.421),
    ("transformer.encoder.encoder_norm.bias", &[64], 15.399),
];
