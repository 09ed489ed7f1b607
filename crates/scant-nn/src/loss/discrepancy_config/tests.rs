use super::*;

fn read(text: &str) -> Result<FeatureDiscrepancyConfig, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn nothing_written_is_the_method_as_published() {
    let config = read("{}").unwrap();
    assert_eq!(config, FeatureDiscrepancyConfig::default());
    assert_eq!(config.log(), MinusLog { squared: true, eps: 1e-12 });
    assert_eq!(config.alpha_rule(), AlphaRule::DESCENT_CLIP);
    assert_eq!(config.inert_because(), None);
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn squared_follows_the_publication_unless_written() {
    let squared = |text: &str| read(text).unwrap().log().squared;
    assert!(squared(r#"{"form": "region-mean"}"#));
    assert!(squared(r#"{"form": "pixel-mean", "exchangeable": "base-novel"}"#));
    assert!(!squared(r#"{"form": "scalar-normalised"}"#));
    assert!(!squared(r#"{"form": "released-code"}"#));
    assert!(!squared(r#"{"exchangeable": "shuffled"}"#));
    assert!(!squared(r#"{"exchangeable": "shuffled-independent"}"#));
    assert!(squared(r#"{"exchangeable": "shuffled", "squared": true}"#));
    assert!(!squared(r#"{"squared": false}"#));
}

#[test]
fn positive_forms_ascend_unless_told_otherwise() {
    let mean = read(r#"{"form": "region-mean"}"#).unwrap();
    assert_eq!(mean.alpha_rule(), AlphaRule::ASCENT);
    assert_eq!(mean.inert_because(), None);
    let stuck = read(r#"{"form": "region-mean", "alpha": "descent-clip"}"#).unwrap();
    assert!(stuck.inert_because().unwrap().contains("descent holds alpha at 0"));
    let stuck = read(r#"{"alpha": "ascent"}"#).unwrap();
    assert!(stuck.inert_because().unwrap().contains("ascent never leaves 0"));
    let off = read(r#"{"alpha": {"rule": "fixed", "value": 0}}"#).unwrap();
    assert_eq!(off.inert_because(), Some("alpha is fixed at 0"));
    let off = read(r#"{"alpha": {"rule": "schedule", "max": 0}}"#).unwrap();
    assert!(off.inert_because().unwrap().contains("upper bound of 0"));
}

#[test]
fn the_resolved_configuration_says_everything_and_reads_back() {
    let text = r#"{"form": "region-mean", "layers": ["enc1", "bottleneck"], "alpha": "ascent"}"#;
    let resolved = read(text).unwrap().resolved();
    let written = serde_json::to_string(&resolved).unwrap();
    for part in ["\"squared\":true", "\"rule\":\"ascent\"", "\"classes\":\"foreground\"", "\"eps\""]
    {
        assert!(written.contains(part), "{part} not in {written}");
    }
    assert_eq!(read(&written).unwrap(), resolved);
    assert_eq!(resolved.resolved(), resolved);
    assert!(
        serde_json::to_string(&FeatureDiscrepancyConfig::default()).unwrap().contains("\"all\"")
    );
}

#[test]
fn unknown_keys_and_words_are_errors() {
    let error = |text: &str| read(text).unwrap_err().to_string();
    assert!(error(r#"{"fom": "paper-sum"}"#).contains("unknown field `fom`"));
    assert!(error(r#"{"form": "paper"}"#).contains("region-mean"));
    assert!(error(r#"{"layers": "some"}"#).contains("\"all\" or a list of tap names"));
    assert!(error(r#"{"exchangeable": "swap"}"#).contains("base-novel"));
}

#[test]
fn layers_are_selected_in_the_order_of_the_taps() {
    let taps = ["enc1", "enc2", "bottleneck", "dec2", "dec1"];
    assert_eq!(Layers::All.select(&taps), Ok(vec![0, 1, 2, 3, 4]));
    let named = |names: &[&str]| Layers::Named(names.iter().map(ToString::to_string).collect());
    assert_eq!(named(&["dec1", "enc1"]).select(&taps), Ok(vec![0, 4]));
    let error = named(&["dec9"]).select(&taps).unwrap_err().to_string();
    assert!(error.contains("\"dec9\"") && error.contains("enc1, enc2, bottleneck"), "{error}");
}

#[test]
fn numbers_out_of_range_are_named() {
    let error = |text: &str| read(text).unwrap().validate().unwrap_err().to_string();
    assert!(error(r#"{"eps": 0}"#).contains("feature_discrepancy.eps"));
    assert!(error(r#"{"alpha": {"rule": "ascent", "lr": -1}}"#).contains("alpha.lr"));
    let initial = error(r#"{"alpha": {"rule": "uncertainty", "initial": 0}}"#);
    assert!(initial.contains("alpha.initial") && initial.contains("above 0"), "{initial}");
    assert!(error(r#"{"temperature": 0}"#).contains("feature_discrepancy.temperature"));
    assert!(error(r#"{"pixels": "errors"}"#).contains("weights need a form of means"));
    let pairs = error(r#"{"form": "prototype", "exchangeable": "shuffled"}"#);
    assert!(pairs.contains("prototypes are not pairs"), "{pairs}");
    assert!(error(r#"{"alpha": {"rule": "balanced", "share": 0}}"#).contains("alpha.share"));
    assert!(error(r#"{"layers": []}"#).contains("is empty"));
    assert!(error(r#"{"layers": ["enc1", "enc1"]}"#).contains("\"enc1\" twice"));
}
