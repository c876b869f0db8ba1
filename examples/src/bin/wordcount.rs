//! `./fulmar wordcount`: counts the words of text files, exactly once.

use std::process::ExitCode;

fn main() -> ExitCode {
    fulmar_examples::wordcount::main()
}
