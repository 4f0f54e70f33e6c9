//! `-f`: files, standard input and directories, read and checked before anything is sent.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chaos_spec::api::ProblemError;
use chaos_spec::catalog::{LocatedEntry, LocatedMission, parse_entries, parse_mission};
use chaos_spec::experiment::{LocatedRun, parse_run};
use chaos_spec::parse::same_names;
use chaos_spec::path::Step;
use chaos_spec::schedule::{Begins, LocatedSchedule, parse_schedule};
use chaos_spec::{Diagnostics, Located, MAX_TEXT_BYTES, SpecError, SpecPath};
use clap::Args;

use crate::failure::Failure;
use crate::table::{self, TableError};

/// What messages call standard input.
const STDIN: &str = "<stdin>";

/// The endings that are read from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where faults are read from.
#[derive(Args, Debug)]
pub(crate) struct Sources {
    /// A file, `-` for standard input, or a directory (its *.yaml, *.yml and *.json files); may be given again.
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    file: Vec<PathBuf>,
}

/// Everything that is wrong, a line each: never empty.
#[derive(Debug)]
pub(crate) struct ManifestError(Vec<String>);

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [line] => f.write_str(line),
            lines => {
                write!(f, "{} things are wrong, and nothing was sent", lines.len())?;
                lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
            }
        }
    }
}

impl std::error::Error for ManifestError {}

impl ManifestError {
    pub(crate) fn of(wrong: &Diagnostics) -> Self {
        Self(wrong.0.iter().map(ToString::to_string).collect())
    }
}

impl Sources {
    pub(crate) const fn of(file: Vec<PathBuf>) -> Self {
        Self { file }
    }

    /// The faults of all sources, in their order, or everything that is wrong with them.
    pub(crate) fn read(&self) -> Result<Vec<Located>, Failure> {
        let mut faults = Vec::new();
        let mut wrong = Vec::new();
        let twice = self.file.iter().filter(|path| path.as_os_str() == "-").count() > 1;
        if twice {
            return Err(Failure::Usage(
                "-f - is given twice – standard input can be read once".to_owned(),
            ));
        }
        for source in &self.file {
            match files(source) {
                Ok(files) => files
                    .iter()
                    .for_each(|file| read_into(file, &mut faults, &mut wrong)),
                Err(line) => wrong.push(line),
            }
        }
        if wrong.is_empty() {
            wrong.extend(same_names(&faults).iter().map(ToString::to_string));
        }
        if wrong.is_empty() {
            Ok(faults)
        } else {
            Err(ManifestError(wrong).into())
        }
    }
}

/// The experiment and the faults of some files.
pub(crate) fn read_run(sources: &[PathBuf]) -> Result<LocatedRun, Failure> {
    let mut texts = Vec::new();
    let mut wrong = Vec::new();
    for source in sources {
        match files(source) {
            Ok(files) => {
                for file in files {
                    match text_of(&file) {
                        Ok(text) => texts.push((name_of(&file), text)),
                        Err(error) => wrong.push(unreadable(&name_of(&file), &error)),
                    }
                }
            }
            Err(line) => wrong.push(line),
        }
    }
    if !wrong.is_empty() {
        return Err(ManifestError(wrong).into());
    }
    let mut run = parse_run(&texts).map_err(|wrong| ManifestError::of(&wrong))?;
    fill_tables(&mut run)?;
    Ok(run)
}

fn fill_tables(run: &mut LocatedRun) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for located in &mut run.faults {
        let beside = Path::new(located.file())
            .parent()
            .unwrap_or(Path::new(""))
            .to_owned();
        wrong.extend(fill_table(located, &beside).err());
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(ManifestError(wrong).into())
    }
}

/// The mission of a file; `None` when it is no mission, or there are several files.
pub(crate) fn read_mission(sources: &[PathBuf]) -> Result<Option<LocatedMission>, Failure> {
    let [source] = sources else { return Ok(None) };
    // Standard input can be read once, and a directory has several files.
    if source.as_os_str() == "-" || source.is_dir() {
        return Ok(None);
    }
    let name = name_of(source);
    let text = text_of(source).map_err(|error| ManifestError(vec![unreadable(&name, &error)]))?;
    parse_mission(&name, &text).map_err(|wrong| ManifestError::of(&wrong).into())
}

/// The schedule of a file, and what it begins.
pub(crate) fn read_schedule(source: &Path) -> Result<LocatedSchedule, Failure> {
    let (name, text) = read_text(source)?;
    let mut located = parse_schedule(&name, text.as_bytes()).map_err(|wrong| ManifestError::of(&wrong))?;
    if let Begins::Run(run) = &mut located.begins {
        fill_tables(run)?;
    }
    Ok(located)
}

/// The entries of a catalogue in a directory or a file.
pub(crate) fn read_entries(source: &Path) -> Result<Vec<LocatedEntry>, Failure> {
    let mut entries = Vec::new();
    let mut wrong = Vec::new();
    for file in files(source).map_err(|line| ManifestError(vec![line]))? {
        let name = name_of(&file);
        match text_of(&file) {
            Ok(text) => match parse_entries(&name, &text) {
                Ok(found) => entries.extend(found),
                Err(errors) => wrong.extend(ManifestError::of(&errors).0),
            },
            Err(error) => wrong.push(unreadable(&name, &error)),
        }
    }
    if wrong.is_empty() {
        Ok(entries)
    } else {
        Err(ManifestError(wrong).into())
    }
}

/// One file as text, with its name for messages.
pub(crate) fn read_text(file: &Path) -> Result<(String, String), Failure> {
    let name = name_of(file);
    let text = text_of(file).map_err(|error| ManifestError(vec![unreadable(&name, &error)]))?;
    match String::from_utf8(text) {
        Ok(text) => Ok((name, text)),
        Err(_) => Err(ManifestError(vec![format!(
            "{name}: this is not UTF-8 text – save the file as UTF-8"
        )])
        .into()),
    }
}

fn name_of(file: &Path) -> String {
    if file.as_os_str() == "-" {
        STDIN.to_owned()
    } else {
        file.display().to_string()
    }
}

fn unreadable(name: &str, error: &io::Error) -> String {
    format!("{name}: cannot be read: {} – {}", reason(error), remedy(error))
}

fn read_into(file: &Path, faults: &mut Vec<Located>, wrong: &mut Vec<String>) {
    let name = name_of(file);
    let text = match text_of(file) {
        Ok(text) => text,
        Err(error) => return wrong.push(unreadable(&name, &error)),
    };
    match chaos_spec::parse(&name, &text) {
        Ok(mut read) => {
            let beside = file.parent().unwrap_or(Path::new(""));
            for located in &mut read {
                if let Err(error) = fill_table(located, beside) {
                    wrong.push(error);
                }
            }
            faults.extend(read);
        }
        Err(diagnostics) => wrong.extend(diagnostics.0.iter().map(ToString::to_string)),
    }
}

/// Reads the table that a fault names by file. What cannot be read is told with the place that names it; what is wrong
/// in the table has a place of its own.
fn fill_table(located: &mut Located, beside: &Path) -> Result<(), String> {
    let Some(source) = located.fault.distribution_table_mut() else {
        return Ok(());
    };
    table::fill(source, beside).map_err(|error| match error {
        TableError::Wrong(wrong) => wrong.to_string(),
        TableError::Unreadable { name, reason, remedy } => {
            let path = ["spec", "fault", "delay", "distribution", "file"]
                .into_iter()
                .fold(SpecPath::root(), SpecPath::field);
            let message = format!("{name} cannot be read: {reason}");
            located
                .diagnose(SpecError::new(path, message, remedy))
                .to_string()
        }
    })
}

/// At most one byte more than is accepted: that is enough to know that it is too much.
fn text_of(file: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(MAX_TEXT_BYTES).map_or(u64::MAX, |most| most.saturating_add(1));
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        io::stdin().lock().take(most).read_to_end(&mut text)?;
    } else {
        File::open(file)?.take(most).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// The source itself, or the files of a directory by name.
fn files(source: &Path) -> Result<Vec<PathBuf>, String> {
    if source.as_os_str() == "-" || !source.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let cannot = |error: io::Error| {
        format!(
            "{}: cannot be read: {} – {}",
            source.display(),
            reason(&error),
            remedy(&error)
        )
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(source).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        if ENDINGS.contains(&ending) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let name = source.display();
        return Err(format!(
            "{name}: the directory has no *.yaml, *.yml or *.json file – put a fault into it"
        ));
    }
    Ok(files)
}

pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "check its owner and mode, or pipe it in with `-f -`",
        _ => "check what it is",
    }
}

/// Gives the daemon's errors the places in the files that were sent.
pub(crate) fn place(errors: &mut [ProblemError], sent: &[Located]) {
    for error in errors.iter_mut().filter(|error| error.file.is_none()) {
        let path = SpecPath::from_pointer(&error.pointer);
        let Some((fault, inside)) = find(&path, error.fault.as_deref(), sent) else {
            continue;
        };
        error.file = Some(fault.file().to_owned());
        if let Some(mark) = fault.locate(&inside) {
            error.line = Some(mark.line);
            error.column = Some(mark.column);
        }
        error.path = inside.to_string();
        // The place says which one it is.
        error.fault = None;
    }
}

/// For the one fault that was made from flags: paths begin at the fault itself.
pub(crate) fn place_in_flags(errors: &mut [ProblemError]) {
    for error in errors {
        let path = SpecPath::from_pointer(&error.pointer);
        if let [Step::Field(items), Step::Index(0), inside @ ..] = path.steps()
            && items == "items"
        {
            error.path = below(inside).to_string();
        }
        error.fault = None;
    }
}

/// The fault that an error is about, and the path inside it. The request was `{"items": […]}`.
fn find<'a>(path: &SpecPath, name: Option<&str>, sent: &'a [Located]) -> Option<(&'a Located, SpecPath)> {
    if let [Step::Field(items), Step::Index(index), inside @ ..] = path.steps()
        && items == "items"
    {
        return Some((sent.get(*index)?, below(inside)));
    }
    let fault = match (name, sent) {
        (Some(name), _) => sent.iter().find(|located| located.fault.name() == name)?,
        (None, [only]) => only,
        (None, _) => return None,
    };
    Some((fault, path.clone()))
}

fn below(steps: &[Step]) -> SpecPath {
    steps.iter().fold(SpecPath::root(), |path, step| match step {
        Step::Field(name) => path.field(name.clone()),
        Step::Index(index) => path.index(*index),
    })
}
