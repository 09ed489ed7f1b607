//! A study in Markdown.

use std::fmt::Write as _;

use super::findings::Findings;
use super::load::LoadedStudy;
use super::{tables, words};
use crate::tables::markdown_table;

pub(super) fn of(study: &LoadedStudy, f: &Findings<'_>) -> String {
    use crate::tables::markdown_escape as escape;
    let record = &study.record;
    let mut out = format!("# {}\n\n{}\n\n", escape(&record.name), escape(&record.purpose));
    let _ = writeln!(
        out,
        "Judged by {}; reference: {}.\n",
        escape(&words::judge_words(&record.judge)),
        escape(&record.reference)
    );
    for line in words::verdicts(study, f) {
        let _ = writeln!(out, "- {}", escape(&line));
    }
    let _ = writeln!(out, "\n{}\n", escape(&words::budget(f)));
    for table in [tables::main(f), tables::further(f), tables::beside(f)].concat() {
        markdown_table(&table, &mut out);
    }
    let notes = f.warnings.iter().cloned();
    let troubles = f.troubles.iter().map(|t| format!("{}: {}", t.run, t.why));
    let waiting = (f.waiting > 0).then(|| format!("{} runs have not finished", f.waiting));
    let all: Vec<String> = notes.chain(troubles).chain(waiting).collect();
    if !all.is_empty() {
        out.push_str("## Please note\n\n");
        for note in all {
            let _ = writeln!(out, "- {}", escape(&note));
        }
        out.push('\n');
    }
    out.push_str("## Definitions\n\n");
    for (term, text) in words::methods(f) {
        let _ = writeln!(out, "- **{}**: {}", escape(term), escape(&text));
    }
    for policy in &f.policies {
        let _ = writeln!(out, "- {}", escape(policy));
    }
    let _ = writeln!(out, "\nWritten by scant {}.", crate::VERSION);
    out
}
