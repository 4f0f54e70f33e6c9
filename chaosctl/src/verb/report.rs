use std::fs;
use std::path::{Path, PathBuf};

use chaos_experiment::report;
use chaos_spec::api::ExperimentView;
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::nearest::nearest;

/// Show what came out of an experiment, or compare two runs
///
/// A report is a run of the daemon, by its id or the name of the experiment (then the newest), or a file
/// report.json that `chaosctl run --report` wrote.
///
/// Example:
///   chaosctl report show checkout --as html > report.html
///   chaosctl report diff before/report.json checkout
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Report {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(Show),
    Diff(Diff),
}

/// Print a report
#[derive(Args, Debug)]
struct Show {
    #[arg(value_name = "REPORT")]
    report: String,
    /// In which form.
    #[arg(long = "as", value_name = "FORM", default_value = "markdown")]
    form: Form,
}

/// Compare two runs: did we get better?
#[derive(Args, Debug)]
struct Diff {
    #[arg(value_name = "BEFORE")]
    before: String,
    #[arg(value_name = "AFTER")]
    after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Fits a comment on a pull request.
    Markdown,
    /// A page that needs no network.
    Html,
    /// For CI systems.
    Junit,
    /// All there is.
    Json,
}

impl Form {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Json, "report.json"),
        (Self::Markdown, "report.md"),
        (Self::Html, "report.html"),
        (Self::Junit, "junit.xml"),
    ];

    fn of(self, view: &ExperimentView) -> Result<String, Failure> {
        Ok(match self {
            Self::Markdown => report::markdown(view),
            Self::Html => report::html(view),
            Self::Junit => report::junit(view),
            Self::Json => serde_json::to_string_pretty(view).map_err(Failure::Render)?,
        })
    }
}

impl Report {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        match self.verb {
            Verb::Show(show) => {
                let view = read(session, &show.report).await?;
                session.out.data(&show.form.of(&view)?)?;
            }
            Verb::Diff(diff) => {
                let (before, after) = (
                    read(session, &diff.before).await?,
                    read(session, &diff.after).await?,
                );
                session.out.data(&report::diff(&before, &after))?;
            }
        }
        Ok(Exit::DONE)
    }
}

/// A file, or a run of the daemon.
async fn read(session: &Session, name: &str) -> Result<ExperimentView, Failure> {
    let path = Path::new(name);
    if path.is_file() {
        let text = fs::read(path).map_err(|source| Failure::Read {
            from: name.to_owned(),
            source,
        })?;
        return serde_json::from_slice(&text).map_err(|error| {
            Failure::Usage(format!(
                "{name}: this is no report.json ({error}) – `chaosctl run --report` writes them"
            ))
        });
    }
    let id = name.strip_prefix("experiment/").unwrap_or(name);
    match session.daemon.experiment(id).await? {
        Some(view) => Ok(view),
        None => Err(unknown(session, id).await),
    }
}

/// "There is no experiment …", with the name that may have been meant.
pub(super) async fn unknown(session: &Session, name: &str) -> Failure {
    let known = session.daemon.experiments().await.unwrap_or_default().items;
    let names = known.iter().flat_map(|view| [view.name(), view.id.as_str()]);
    let remedy = match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "none has run here yet".to_owned(),
        None => "`chaosctl get experiments` lists them".to_owned(),
    };
    Failure::Usage(format!("there is no experiment `{name}` – {remedy}"))
}

pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|source| Failure::Write {
        to: folder.display().to_string(),
        source,
    })
}

/// Every form, a file each.
pub(super) fn write_all(folder: &Path, view: &ExperimentView) -> Result<(), Failure> {
    for (form, name) in Form::ALL {
        let path: PathBuf = folder.join(name);
        fs::write(&path, form.of(view)?).map_err(|source| Failure::Write {
            to: path.display().to_string(),
            source,
        })?;
    }
    Ok(())
}
