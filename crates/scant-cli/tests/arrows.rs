//! Holds the arrows between the rooms, and the walls round heavy crates, to the two fenced tables
//! of `ARCHITECTURE.md`. The tables are read from that page, so page and test cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every in-house package carries this prefix; a room is the name without it.
const PREFIX: &str = "scant-";

/// Left side to right side of a fenced table.
type Table = BTreeMap<String, BTreeSet<String>>;

/// One line of a `[dependencies]`-like section.
#[derive(Debug, Clone)]
struct Edge {
    from: String,
    to: String,
    in_house: bool,
    kind: DependencyKind,
}

/// Reads the block fenced as ```` ```{fence} ````: lines `left -> a, b`, `#` starts a comment.
fn table(page: &str, fence: &str) -> Result<Table, String> {
    let opening = format!("```{fence}");
    let mut lines = page.lines();
    if !lines.any(|line| line.trim_end() == opening) {
        return Err(format!("no block fenced as {opening}"));
    }
    let mut table = Table::new();
    for line in lines {
        if line.starts_with("```") {
            return if table.is_empty() { Err(format!("{opening} is empty")) } else { Ok(table) };
        }
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (left, right) =
            line.split_once("->").ok_or_else(|| format!("{opening}: no arrow in \"{line}\""))?;
        let right = right.split(',').map(str::trim).filter(|r| !r.is_empty());
        let row = right.map(String::from).collect();
        if table.insert(left.trim().to_string(), row).is_some() {
            return Err(format!("{opening}: \"{}\" stands twice", left.trim()));
        }
    }
    Err(format!("{opening} is never closed"))
}

/// In-house arrows that the table does not allow; tests count as much as code.
fn forbidden_arrows(allowed: &Table, edges: &[Edge]) -> Vec<String> {
    let inside = edges.iter().filter(|e| e.in_house);
    let wrong = inside.filter(|e| !allowed.get(&e.from).is_some_and(|to| to.contains(&e.to)));
    wrong.map(|e| format!("{} -> {} ({})", e.from, e.to, e.kind)).collect()
}

/// Crates used outside the rooms that may use them. `name-*` stands for every name that starts
/// with `name-`. Tests may use what they like.
fn breached_walls(walls: &Table, edges: &[Edge]) -> Vec<String> {
    let mut breaches = Vec::new();
    for edge in edges.iter().filter(|e| !e.in_house && e.kind != DependencyKind::Development) {
        for (pattern, rooms) in walls {
            let held = match pattern.strip_suffix('*') {
                Some(start) => edge.to.starts_with(start),
                None => edge.to == *pattern,
            };
            if held && !rooms.contains(&edge.from) {
                breaches.push(format!("{} -> {} ({})", edge.from, edge.to, edge.kind));
            }
        }
    }
    breaches
}

/// Rooms that reach themselves by following the table's arrows.
fn circles(allowed: &Table) -> Vec<String> {
    let reaches_itself = |start: &String| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = allowed[start].iter().collect();
        while let Some(room) = open.pop() {
            if room == start {
                return true;
            }
            if seen.insert(room) {
                open.extend(allowed.get(room).into_iter().flatten());
            }
        }
        false
    };
    allowed.keys().filter(|room| reaches_itself(room)).cloned().collect()
}

/// Whatever of `scant-data` a text uses besides its module `preprocess`.
fn beyond_preprocess(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let uses = lines.filter(|line| line.contains("scant_data"));
    uses.filter(|line| {
        line.matches("scant_data").count() != line.matches("scant_data::preprocess").count()
    })
    .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be listed to its end").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn architecture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All rooms of the workspace, and every dependency they declare (also optional and
/// platform-specific ones).
fn workspace() -> (BTreeSet<String>, Vec<Edge>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(root)
        .no_deps()
        .other_options(["--offline".to_string()])
        .exec()
        .expect("cargo metadata describes the workspace");
    let packages = metadata.workspace_packages();
    let names: BTreeSet<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let room = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_string();
    let mut edges = Vec::new();
    for package in &packages {
        for dependency in &package.dependencies {
            let in_house = names.contains(dependency.name.as_str());
            edges.push(Edge {
                from: room(&package.name),
                to: if in_house { room(&dependency.name) } else { dependency.name.clone() },
                in_house,
                kind: dependency.kind,
            });
        }
    }
    (names.iter().map(|n| room(n)).collect(), edges)
}

#[test]
fn every_arrow_between_rooms_is_in_the_table() {
    let allowed = table(&architecture(), "arrows").unwrap();
    let (rooms, edges) = workspace();
    let listed: BTreeSet<String> = allowed.keys().cloned().collect();
    assert_eq!(listed, rooms, "left: rooms in ARCHITECTURE.md, right: rooms in crates/");
    assert!(edges.iter().any(|e| e.in_house), "cargo metadata shows no in-house dependency");
    let wrong = forbidden_arrows(&allowed, &edges);
    assert!(wrong.is_empty(), "arrows that ARCHITECTURE.md does not allow: {wrong:#?}");
}

#[test]
fn heavy_crates_stay_in_their_rooms() {
    let walls = table(&architecture(), "walls").unwrap();
    let (rooms, edges) = workspace();
    for (name, users) in &walls {
        let unknown: Vec<_> = users.difference(&rooms).collect();
        assert!(unknown.is_empty(), "the wall round {name} names no room: {unknown:?}");
    }
    let wrong = breached_walls(&walls, &edges);
    assert!(wrong.is_empty(), "walls of ARCHITECTURE.md that are breached: {wrong:#?}");
}

#[test]
fn prediction_takes_only_the_preprocessing_from_data() {
    let mut files = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scant-infer/src");
    rust_files(&source, &mut files);
    assert!(!files.is_empty(), "{} holds no source", source.display());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let beyond = beyond_preprocess(&text);
        assert!(beyond.is_empty(), "{}: {beyond:?}", path.display());
    }
    assert!(beyond_preprocess("use scant_data::preprocess::Fit;\n//! see scant_data").is_empty());
    assert_eq!(beyond_preprocess("use scant_data::Pool;").len(), 1);
    assert_eq!(beyond_preprocess("use scant_data::{preprocess::Fit, Pool};").len(), 1);
}

#[test]
fn the_table_itself_keeps_the_plan() {
    let page = architecture();
    let allowed = table(&page, "arrows").unwrap();
    assert!(circles(&allowed).is_empty(), "circles: {:?}", circles(&allowed));
    assert!(allowed["core"].is_empty(), "core depends on no other room");
    for (room, to) in &allowed {
        assert!(!to.contains("cli"), "{room} -> cli: nothing depends on the program");
        for target in to {
            assert!(allowed.contains_key(target), "{room} -> {target}: no such room");
        }
    }
    let burn: BTreeSet<String> =
        ["cli", "infer", "kernels", "nn", "onnx", "train"].map(String::from).into();
    let walls = table(&page, "walls").unwrap();
    assert_eq!(walls["burn"], burn);
    assert_eq!(walls["burn-*"], burn);
}

#[test]
fn the_check_sees_an_added_arrow() {
    let page = "text\n```arrows\ncore ->\nio -> core # bytes\ndata -> core, io\n```\n";
    let allowed = table(page, "arrows").unwrap();
    let edge = |from: &str, to: &str, kind| Edge {
        from: from.into(),
        to: to.into(),
        in_house: true,
        kind,
    };
    let fine = [
        edge("io", "core", DependencyKind::Normal),
        edge("data", "io", DependencyKind::Development),
    ];
    assert!(forbidden_arrows(&allowed, &fine).is_empty());
    for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development] {
        assert_eq!(forbidden_arrows(&allowed, &[edge("io", "data", kind)]).len(), 1, "{kind}");
        // A room that the table forgot may do nothing.
        assert_eq!(forbidden_arrows(&allowed, &[edge("new", "core", kind)]).len(), 1, "{kind}");
    }
}

#[test]
fn the_check_sees_a_breached_wall() {
    let walls = table("```walls\nburn -> nn\nburn-* -> nn\nrand -> data\n```", "walls").unwrap();
    let edge = |from: &str, to: &str, kind| Edge {
        from: from.into(),
        to: to.into(),
        in_house: false,
        kind,
    };
    let normal = DependencyKind::Normal;
    assert!(breached_walls(&walls, &[edge("nn", "burn", normal)]).is_empty());
    assert!(breached_walls(&walls, &[edge("core", "serde", normal)]).is_empty());
    assert!(
        breached_walls(&walls, &[edge("core", "rand", DependencyKind::Development)]).is_empty()
    );
    assert_eq!(breached_walls(&walls, &[edge("data", "burn", normal)]).len(), 1);
    assert_eq!(breached_walls(&walls, &[edge("data", "burn-flex", normal)]).len(), 1);
    assert_eq!(breached_walls(&walls, &[edge("core", "rand", DependencyKind::Build)]).len(), 1);
}

#[test]
fn a_broken_table_is_no_permission() {
    assert!(table("no block", "arrows").is_err());
    assert!(table("```arrows\n```\n", "arrows").is_err());
    assert!(table("```arrows\ncore ->\n", "arrows").is_err());
    assert!(table("```arrows\ncore io\n```\n", "arrows").is_err());
    assert!(table("```arrows\ncore ->\ncore -> io\n```\n", "arrows").is_err());
    let circle = table("```arrows\na -> b\nb -> c\nc -> a\nd -> a\n```", "arrows").unwrap();
    assert_eq!(circles(&circle), ["a", "b", "c"]);
}
