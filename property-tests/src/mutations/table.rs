//! The table of faults and of what finds them, a row at a time.

use super::{Found, How, Mutation};

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In columns, for a terminal.
    Text,
    /// For a document.
    Markdown,
}

/// Writes rows.
#[derive(Clone, Copy, Debug)]
pub struct Table(pub Form);

/// Longer messages of oracles are cut.
const MESSAGE: usize = 110;

impl Table {
    /// The first lines.
    #[must_use]
    pub fn head(self) -> String {
        match self.0 {
            Form::Text => format!(
                "{:<30} {:<17} {:>6}  first violation",
                "fault", "stands for", "seeds"
            ),
            Form::Markdown => {
                "| fault | what it breaks | stands for | seeds to find | what the oracle says |\n\
                 | --- | --- | --- | --- | --- |"
                    .into()
            }
        }
    }

    /// The line of one fault.
    #[must_use]
    pub fn row(self, mutation: &Mutation, found: Option<&Found>) -> String {
        let rules: Vec<String> = mutation.rules.iter().map(ToString::to_string).collect();
        let rules = rules.join(", ");
        let seeds = found.map_or("never".into(), |found| (found.seed + 1).to_string());
        let what = found.map_or(String::new(), |found| cut(&found.what));
        let name = &mutation.name;
        match self.0 {
            Form::Text => format!("{name:<30} {rules:<17} {seeds:>6}  {what}"),
            Form::Markdown => {
                let how = match mutation.how {
                    How::Patch(_) => "",
                    How::Seam(_) => " (a seam)",
                };
                let what = what.replace('|', "\\|");
                let breaks = &mutation.breaks;
                format!("| `{name}`{how} | {breaks} | {rules} | {seeds} | `{what}` |")
            }
        }
    }
}

fn cut(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default();
    if line.chars().count() <= MESSAGE {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(MESSAGE).collect();
    short.push('…');
    short
}
