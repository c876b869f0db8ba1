//! What is counted: the whole of Fulmar that WordCount needs.

use fulmar::aggregate::Count;
use fulmar::spout::{SpoutError, TextFiles};
use fulmar::{Line, Plan, StateHandle, Topology, Word};

use super::fold::fold;
use super::options::{Options, SpoutKind};

/// The program, ready to run, and the state that it fills.
pub(super) fn build(
    name: &str,
    lines: TextFiles,
    folded: bool,
) -> fulmar::Result<(Plan, StateHandle<Word, u64>)> {
    let topology = Topology::new(name);
    let lines = topology.spout("lines", lines);
    // The name stands in the ledger: counts of folded words and counts of plain ones are never mixed.
    let words = if folded {
        lines
            .each(|line: Line, out| {
                line.word_slices()
                    .for_each(|word| fold(word, |word| out.emit(Word::from(word))))
            })
            .named("fold")
    } else {
        lines.each(|line: Line, out| line.words().for_each(|word| out.emit(word)))
    };
    let counts = words
        .group_by(|word: &Word| word.clone())
        .persistent_aggregate("counts", Count);
    Ok((topology.build()?, counts))
}

/// The files to read, as told by the options.
pub(super) fn lines(options: &Options) -> Result<TextFiles, SpoutError> {
    let mut lines = TextFiles::new(options.inputs())?.max_line(options.max_line);
    if options.follow {
        lines = lines.follow();
    }
    if options.spout == SpoutKind::Opaque {
        lines = lines.opaque();
    }
    Ok(lines)
}
