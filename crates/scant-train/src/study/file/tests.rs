use super::*;

const FILE: &str = r#"
name = "trial"
purpose = "which is better?"
pool = "pool.toml"
reference = "plain"
seeds = [1, 2]
set = ["model.width=8"]
[axes]
noise = [0, 0.05]
fraction = [0, 0.5, 1.0]
[[axis]]
name = "rate"
key = "optim.lr"
values = [1e-3, { name = "fast", value = 1e-2 }]
methods = ["slow"]
[[method]]
name = "plain"
recipe = "pooling/plain"
[[method]]
name = "slow"
recipe = "slow.toml"
set = ["optim.name=sgd"]
only = { fraction = [0, 1] }
[run]
parallel = 2
keep = "models"
"#;

fn refused(old: &str, new: &str) -> String {
    assert!(FILE.contains(old), "{old}");
    StudyFile::parse(&FILE.replace(old, new)).unwrap_err().to_string()
}

#[test]
fn named_axes_come_first_and_in_a_fixed_order() {
    let file = StudyFile::parse(FILE).unwrap();
    let axes: Vec<(&str, &str)> =
        file.axis.iter().map(|a| (a.name.as_str(), a.key.as_str())).collect();
    let wanted =
        [("fraction", "data.novel_fraction"), ("noise", "data.noise_sigma"), ("rate", "optim.lr")];
    assert_eq!(axes, wanted);
    assert_eq!(file.axis[0].labels(), ["0", "0.5", "1"]);
    assert_eq!(file.axis[2].labels(), ["0.001", "fast"]);
    assert_eq!(file.judge, "base");
    assert_eq!((file.run.parallel, file.run.threads, file.run.keep), (Some(2), 1, Keep::Models));
    assert_eq!(StudyFile::parse(&file.to_toml()).unwrap(), file);
}

#[test]
fn a_method_stands_where_it_makes_sense() {
    let file = StudyFile::parse(FILE).unwrap();
    let slow = &file.methods[1];
    // 1 in `only`, 1.0 on the axis.
    let at: Vec<bool> = ["0", "0.5", "1"].iter().map(|l| slow.stands_at("fraction", l)).collect();
    assert_eq!(at, [true, false, true]);
    assert!(slow.stands_at("noise", "0.05"));
    assert!(file.axis[2].concerns("slow") && !file.axis[2].concerns("plain"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (old, new, words) in [
        ("seeds =", "seed =", &["unknown field `seed`", "did you mean `seeds`"][..]),
        (
            "fraction = [0, 0.5",
            "fractions = [0, 0.5",
            &["axes.fractions", "did you mean `fraction`"],
        ),
        ("seeds = [1, 2]", "seeds = []", &["seeds", "at least one"]),
        ("seeds = [1, 2]", "seeds = [1, 1]", &["1 stands there twice"]),
        ("reference = \"plain\"", "reference = \"plan\"", &["did you mean \"plain\""]),
        ("name = \"slow\"", "name = \"plain\"", &["method.name", "must differ"]),
        ("name = \"slow\"", "name = \"so/slow\"", &["names folders"]),
        ("fraction = [0, 1]", "fraction = [0, 2]", &["only.fraction = 2", "0, 0.5, 1"]),
        ("only = { fraction", "only = { share", &["only.share", "fraction, noise, rate"]),
        ("methods = [\"slow\"]", "methods = [\"slo\"]", &["axis.rate.methods", "no method"]),
        ("noise = [0, 0.05]", "noise = []", &["axis.noise.values", "at least one"]),
        ("noise = [0, 0.05]", "noise = [0, 0.0]", &["axis.noise.values", "twice"]),
        ("parallel = 2", "parallel = 0", &["run.parallel"]),
        ("keep = \"models\"", "keep = \"model\"", &["did you mean `models`"]),
        ("parallel = 2", "parallels = 2", &["did you mean `parallel`"]),
    ] {
        let message = refused(old, new);
        for word in words {
            assert!(message.contains(word), "{new}: no {word:?} in {message}");
        }
    }
}

#[test]
fn a_study_goes_on_when_something_was_added_and_not_when_something_changed() {
    let before = StudyFile::parse(FILE).unwrap();
    let now = |old: &str, new: &str| StudyFile::parse(&FILE.replace(old, new)).unwrap();
    for (old, new) in [
        ("seeds = [1, 2]", "seeds = [3, 1, 2]"),
        ("noise = [0, 0.05]", "noise = [0, 0.02, 0.05]"),
        ("parallel = 2", "parallel = 3"),
        ("which is better?", "which is worse?"),
        ("[run]", "[[method]]\nname = \"more\"\nrecipe = \"pooling/plain\"\n[run]"),
        ("only = { fraction = [0, 1] }", ""),
    ] {
        assert_eq!(now(old, new).continues(&before), Ok(()), "{new}");
    }
    for (old, new, word) in [
        ("seeds = [1, 2]", "seeds = [1, 3]", "seed 2"),
        ("noise = [0, 0.05]", "noise = [0]", "axis \"noise\" lacks 0.05"),
        ("noise = [0, 0.05]\n", "", "axes"),
        ("model.width=8", "model.width=9", "set"),
        ("reference = \"plain\"", "reference = \"slow\"", "reference"),
        ("optim.name=sgd", "optim.name=adam", "method \"slow\" is another"),
        ("only = { fraction = [0, 1] }", "only = { fraction = [0] }", "fewer points"),
        ("methods = [\"slow\"]", "", "about other methods"),
        ("key = \"optim.lr\"", "key = \"optim.clip_norm\"", "axis \"rate\""),
        ("value = 1e-2", "value = 2e-2", "lacks fast"),
    ] {
        let message = now(old, new).continues(&before).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains("-o"), "{new}: {message}");
    }
    let fewer = before.clone().with_seeds(1).unwrap();
    assert!(fewer.continues(&before).is_err());
    assert_eq!(before.clone().with_seeds(4).unwrap().continues(&before), Ok(()));
}
