//! `marque completions`: completion in the shell.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{Arguments, exit::Exit};

/// The arguments of `marque completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  marque completions bash > ~/.local/share/bash-completion/completions/marque
  marque completions zsh > \"${fpath[1]}/_marque\"
  marque completions fish > ~/.config/fish/completions/marque.fish";

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "marque", &mut script);
    // A reader that has seen enough is no error.
    drop(std::io::stdout().write_all(&script));
    Exit::Done
}
