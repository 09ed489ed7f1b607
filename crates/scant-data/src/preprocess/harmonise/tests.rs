//! Golden values: NumPy after torchstain (Macenko), scikit-learn's and SPAMS's dictionary learning, which
//! agree to six digits (Vahadane), scikit-image (Reinhard), all on the patches below in double precision.

use super::*;

/// 24 x 24 pixels of two stains in known amounts, the first 60 unstained.
fn patch(directions: [[f64; 3]; 2], most: [f64; 2]) -> Array3<f32> {
    Array3::from_shape_fn((3, 24, 24), |(channel, row, column)| {
        let i = row * 24 + column;
        if i < 60 {
            return 1.0;
        }
        let h = (0.37 * i as f64).sin().max(0.0) * most[0];
        let e = (0.23 * i as f64).cos().max(0.0) * most[1] + 0.25;
        (-(h * directions[0][channel] + e * directions[1][channel])).exp() as f32
    })
}

fn base() -> Array3<f32> {
    patch([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], [1.4, 0.8])
}

fn other() -> Array3<f32> {
    patch([[0.60, 0.75, 0.28], [0.20, 0.93, 0.30]], [0.9, 0.6])
}

fn fitted(method: HarmoniseMethod, images: &[Array3<f32>]) -> Harmonise {
    let mut fitter = Fitter::new(method, images.len());
    for image in images {
        assert!(fitter.add(image).unwrap());
    }
    fitter.finish().unwrap()
}

fn near(found: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (x, y) in found.iter().zip(wanted) {
        assert!((f64::from(*x) - y).abs() < tolerance, "{found:?} is not {wanted:?}");
    }
}

/// Three pixels of the other patch after harmonising, against their wanted colours.
fn check_pixels(harmonise: &Harmonise, wanted: [[f64; 3]; 3]) {
    let mut image = other();
    assert!(harmonise.apply(&mut image).unwrap());
    for ((row, column), colour) in [(5, 7), (12, 3), (20, 20)].into_iter().zip(wanted) {
        let found = [0, 1, 2].map(|c| image[[c, row, column]]);
        near(&found, &colour, 2e-4);
    }
}

#[test]
fn macenko_is_that_of_torchstain() {
    let harmonise = fitted(HarmoniseMethod::Macenko, &[base()]);
    let Harmonise::Macenko(stains) = &harmonise else { panic!("{harmonise:?}") };
    near(&stains.directions[0], &[0.570154, 0.776092, 0.269456], 1e-5);
    near(&stains.directions[1], &[0.252866, 0.952017, 0.172402], 1e-5);
    near(&stains.most, &[1.481394, 1.591146], 1e-4);
    let wanted = [
        [0.835752, 0.603789, 0.868204],
        [0.496257, 0.363630, 0.690699],
        [0.698907, 0.507343, 0.802680],
    ];
    check_pixels(&harmonise, wanted);
}

#[test]
fn vahadane_is_that_of_two_solvers() {
    let harmonise = fitted(HarmoniseMethod::Vahadane, &[base()]);
    let Harmonise::Vahadane(stains) = &harmonise else { panic!("{harmonise:?}") };
    near(&stains.directions[0], &[0.564337, 0.781269, 0.266725], 2e-4);
    near(&stains.directions[1], &[0.301738, 0.934842, 0.187147], 2e-4);
    near(&stains.most, &[1.587377, 1.444985], 1e-3);
    let wanted = [
        [0.804525, 0.611916, 0.887659],
        [0.508787, 0.392399, 0.726606],
        [0.686458, 0.528116, 0.828665],
    ];
    check_pixels(&harmonise, wanted);
}

#[test]
fn reinhard_is_that_of_scikit_image() {
    let harmonise = fitted(HarmoniseMethod::Reinhard, &[base()]);
    let Harmonise::Reinhard(moments) = &harmonise else { panic!("{harmonise:?}") };
    near(&moments.mean, &[67.079401, 37.059868, -30.805131], 1e-3);
    near(&moments.deviation, &[20.983571, 19.504405, 15.797939], 1e-3);
    let wanted = [
        [0.878310, 0.693999, 0.932989],
        [0.564297, 0.390912, 0.783487],
        [0.759834, 0.575001, 0.879745],
    ];
    check_pixels(&harmonise, wanted);
}

/// How much two references differ.
fn distance(one: &Harmonise, two: &Harmonise) -> f32 {
    let numbers = |harmonise: &Harmonise| -> Vec<f32> {
        match harmonise {
            Harmonise::Macenko(s) | Harmonise::Vahadane(s) => {
                s.directions.iter().flatten().chain(&s.most).copied().collect()
            }
            Harmonise::Reinhard(m) => m.mean.iter().chain(&m.deviation).copied().collect(),
            Harmonise::Histogram(q) => q.channels.concat(),
        }
    };
    numbers(one).iter().zip(numbers(two)).map(|(x, y)| (x - y).abs()).sum()
}

#[test]
fn an_image_is_left_as_good_as_alone_by_its_own_reference() {
    let every = [
        HarmoniseMethod::Macenko,
        HarmoniseMethod::Vahadane,
        HarmoniseMethod::Reinhard,
        HarmoniseMethod::Histogram,
    ];
    for method in every {
        let harmonise = fitted(method, &[base()]);
        let mut image = base();
        harmonise.apply(&mut image).unwrap();
        let moved = (&image - &base()).mapv(f32::abs).mean().unwrap();
        // Densities outside the cone of the two stains are lost by all who separate them.
        assert!(moved < 0.05, "{method:?} {moved}");
        let mut elsewhere = other();
        let before = distance(&fitted(method, &[other()]), &harmonise);
        harmonise.apply(&mut elsewhere).unwrap();
        let after = distance(&fitted(method, std::slice::from_ref(&elsewhere)), &harmonise);
        assert!(after < 0.5 * before, "{method:?} {after} {before}");
        assert!(elsewhere.iter().all(|v| (0.0..=1.0).contains(v)));
    }
}

#[test]
fn several_images_give_the_median_stain_and_decimals_lose_nothing() {
    let odd = patch([[0.9, 0.3, 0.3], [0.1, 0.5, 0.86]], [2.0, 2.0]);
    let harmonise = fitted(HarmoniseMethod::Macenko, &[base(), odd, base()]);
    assert_eq!(harmonise, fitted(HarmoniseMethod::Macenko, &[base()]));
    for method in [HarmoniseMethod::Vahadane, HarmoniseMethod::Reinhard, HarmoniseMethod::Histogram]
    {
        let harmonise = fitted(method, &[base(), other()]);
        let text = serde_json::to_string(&harmonise).unwrap();
        assert!(text.contains(&format!("\"method\":\"{}\"", method.name())), "{text}");
        assert_eq!(serde_json::from_str::<Harmonise>(&text).unwrap(), harmonise);
    }
}

#[test]
fn images_without_tissue_stay_and_grey_ones_are_refused() {
    for method in [HarmoniseMethod::Macenko, HarmoniseMethod::Vahadane] {
        let harmonise = fitted(method, &[base()]);
        let mut glass =
            Array3::from_shape_fn((3, 24, 24), |(c, _, x)| 0.95 - 0.001 * (c * x) as f32);
        let before = glass.clone();
        assert!(!harmonise.apply(&mut glass).unwrap());
        assert_eq!(glass, before);
        assert!(!Fitter::new(method, 1).add(&glass).unwrap());
        assert_eq!(Fitter::new(method, 1).finish(), None);
    }
    let reinhard = fitted(HarmoniseMethod::Reinhard, &[base()]);
    let mut white = Array3::ones((3, 4, 4));
    assert!(!reinhard.apply(&mut white).unwrap());
    let ramp = Array3::from_shape_fn((3, 4, 4), |(_, r, c)| (r * 4 + c) as f32 / 16.0);
    for grey in [ramp.clone(), ramp.slice(ndarray::s![..1, .., ..]).to_owned()] {
        for method in
            [HarmoniseMethod::Macenko, HarmoniseMethod::Vahadane, HarmoniseMethod::Reinhard]
        {
            let error = fitted(method, &[base()]).apply(&mut grey.clone()).unwrap_err().to_string();
            assert!(error.contains("grey") && error.contains(method.name()), "{error}");
        }
        assert!(
            fitted(HarmoniseMethod::Histogram, std::slice::from_ref(&grey))
                .apply(&mut grey.clone())
                .unwrap()
        );
    }
    let mut wild = base();
    wild[[0, 0, 0]] = 3.5;
    let error = reinhard.apply(&mut wild).unwrap_err().to_string();
    assert!(error.contains("3.5") && error.contains("0 to 1"), "{error}");
}
