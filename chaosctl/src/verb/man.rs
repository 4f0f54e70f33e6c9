use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man as Page;

use crate::cli::{self, Session};
use crate::exit::Exit;
use crate::failure::Failure;

/// Print the manual page, or write all of them
///
/// Example:
///   chaosctl man | man -l -
///   chaosctl man --dir /usr/local/share/man/man1
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Man {
    /// Write one page for chaosctl and one for each verb into this directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let mut command = cli::command();
        command.build();
        match self.dir {
            Some(dir) => {
                fs::create_dir_all(&dir).map_err(|source| write_error(&dir, source))?;
                write_pages(&command, "chaosctl", &dir, session)?;
            }
            None => {
                let page = rendered(&command, "chaosctl")
                    .map_err(|source| write_error(Path::new("stdout"), source))?;
                session.out.data(&String::from_utf8_lossy(&page))?;
            }
        }
        Ok(Exit::DONE)
    }
}

/// The page of `command` and those of everything below it: `chaosctl-inject-drop.1`.
fn write_pages(
    command: &clap::Command,
    name: &str,
    dir: &Path,
    session: &mut Session,
) -> Result<(), Failure> {
    let file = dir.join(format!("{name}.1"));
    rendered(command, name)
        .and_then(|page| fs::write(&file, page))
        .map_err(|source| write_error(&file, source))?;
    session.out.data(&file.display().to_string())?;
    for below in command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
    {
        write_pages(below, &format!("{name}-{}", below.get_name()), dir, session)?;
    }
    Ok(())
}

fn rendered(command: &clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Page::new(command.clone()).title(name).render(&mut page)?;
    Ok(page)
}

fn write_error(to: &Path, source: io::Error) -> Failure {
    Failure::Write {
        to: to.display().to_string(),
        source,
    }
}
