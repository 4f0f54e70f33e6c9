//! The database.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_spec::api::{EventKind, FaultView, History as Page, Reason, Run, RunPhase, Transition};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, Row, params};

use super::{HistoryError, MOST, Query, Write};

/// Runs that are kept; older ones are forgotten, with their transitions.
const KEPT: i64 = 100_000;
/// Changes that wait while the disk refuses them; the oldest of more are forgotten.
const MOST_WAITING: usize = 10_000;
/// A reader from outside may hold the file for a moment.
const BUSY: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        started_by TEXT NOT NULL,
        phase TEXT NOT NULL,
        reason TEXT,
        message TEXT,
        started_us INTEGER NOT NULL,
        ended_us INTEGER,
        seed TEXT,
        packets TEXT NOT NULL,
        spec TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS run_name ON run (name);
    CREATE INDEX IF NOT EXISTS run_started ON run (started_us);
    CREATE INDEX IF NOT EXISTS run_active ON run (phase) WHERE phase = 'Active';
    CREATE TABLE IF NOT EXISTS transition (
        run INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
        time_us INTEGER NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS transition_run ON transition (run);
";

pub(super) struct Store {
    path: PathBuf,
    open: Option<Connection>,
    /// Runs that are under way, by name.
    active: HashMap<String, i64>,
    /// What a full disk refused; tried again with the next.
    waiting: Vec<Write>,
    /// Said once, until it works again.
    is_failing: bool,
}

impl Store {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("history.db"),
            open: None,
            active: HashMap::new(),
            waiting: Vec::new(),
            is_failing: false,
        }
    }

    /// Opens the file, and marks what it has as running: that ended with the daemon that ran it.
    pub(super) fn open(&mut self) {
        let opened = connect(&self.path).or_else(|error| {
            if !is_damage(&error) {
                return Err(error);
            }
            self.set_aside(&error);
            connect(&self.path)
        });
        match opened {
            Ok((connection, interrupted)) => {
                if interrupted > 0 {
                    tracing::warn!(
                        interrupted,
                        "history: runs ended with the daemon before; none is started again"
                    );
                }
                self.open = Some(connection);
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Writes these, and what could not be written before: all, or none.
    pub(super) fn write(&mut self, writes: Vec<Write>) {
        self.waiting.extend(writes);
        if self.waiting.is_empty() {
            return;
        }
        if self.open.is_none() {
            self.open();
        }
        // What is under way changes with what is written, or not at all.
        let mut active = self.active.clone();
        let written = match &mut self.open {
            Some(connection) => write_all(connection, &mut active, &self.waiting),
            None => Ok(()),
        };
        match written {
            Ok(()) if self.open.is_some() => {
                self.is_failing = false;
                self.active = active;
                self.waiting.clear();
            }
            Ok(()) => {}
            Err(error) => {
                self.complain(&error);
                if is_damage(&error) {
                    self.open = None;
                    self.set_aside(&error);
                    // What was under way is not in the new file: its end ends no run there.
                    self.active.clear();
                }
            }
        }
        let too_many = self.waiting.len().saturating_sub(MOST_WAITING);
        self.waiting.drain(..too_many);
    }

    pub(super) fn page(&mut self, query: &Query) -> Result<Page, HistoryError> {
        self.write(Vec::new());
        if self.open.is_none() {
            self.open();
        }
        let connection = self.open.as_ref().ok_or(HistoryError::Gone)?;
        page(connection, query).map_err(|source| HistoryError::Read {
            path: self.path.clone(),
            source,
        })
    }

    fn complain(&mut self, error: &rusqlite::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(%error, path = %self.path.display(), "history: runs are not taken down; faults go on as ever");
        }
    }

    /// A damaged file is kept for whoever wants to look at it, and is in nobody's way.
    fn set_aside(&self, why: &rusqlite::Error) {
        let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let beside = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let aside = beside(&format!(".damaged-{stamp}"));
        tracing::error!(%why, aside = %aside.display(), "history: the database is damaged; it is set aside, and a new one begins");
        if let Err(error) = std::fs::rename(&self.path, &aside) {
            tracing::error!(%error, "history: it could not be set aside");
        }
        for suffix in ["-wal", "-shm"] {
            // They belong to the damaged file, and would damage the new one.
            let _ = std::fs::remove_file(beside(suffix));
        }
    }
}

/// Whether it is the file's own fault, also where SQLite has no better word than an error: a file format that does not
/// exist, a table without its columns.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown
        ),
        None => matches!(
            error,
            rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::SqlInputError { .. }
        ),
    }
}

/// The connection, and how many runs the daemon before left open.
fn connect(path: &Path) -> rusqlite::Result<(Connection, usize)> {
    // SQLite would make it readable for all.
    let _ = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(sound)));
    }
    connection.execute_batch(SCHEMA)?;
    let now = Timestamp::now().as_microsecond();
    connection.execute(
        "INSERT INTO transition SELECT id, ?1, 'Interrupted', 'the daemon died or was killed' FROM run
         WHERE phase = 'Active'",
        [now],
    )?;
    let interrupted = connection.execute(
        "UPDATE run SET phase = 'Interrupted', ended_us = ?1,
         message = 'the daemon died while it ran; it ended with it, at the latest when this one started'
         WHERE phase = 'Active'",
        [now],
    )?;
    connection.execute(
        "DELETE FROM run WHERE id <= (SELECT MAX(id) FROM run) - ?1",
        [KEPT],
    )?;
    Ok((connection, interrupted))
}

fn write_all(
    connection: &mut Connection,
    active: &mut HashMap<String, i64>,
    writes: &[Write],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for write in writes {
        match write {
            Write::Began { view, by } => {
                transaction
                    .prepare_cached(
                        "INSERT INTO run (kind, name, started_by, phase, started_us, seed, packets, spec)
                     VALUES ('fault', ?1, ?2, 'Active', ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![
                        view.metadata.name,
                        by,
                        view.status
                            .started_at
                            .unwrap_or_else(Timestamp::now)
                            .as_microsecond(),
                        view.status.seed.map(|seed| seed.to_string()),
                        json(&view.status.packets)?,
                        json(&view.spec)?,
                    ])?;
                active.insert(view.metadata.name.clone(), transaction.last_insert_rowid());
            }
            Write::Changed { view } => {
                if let Some(id) = active.get(&view.metadata.name) {
                    transaction
                        .prepare_cached("UPDATE run SET spec = ?2, seed = ?3 WHERE id = ?1")?
                        .execute(params![
                            id,
                            json(&view.spec)?,
                            view.status.seed.map(|seed| seed.to_string())
                        ])?;
                }
            }
            Write::Ended { view } => {
                if let Some(id) = active.remove(&view.metadata.name) {
                    end(&transaction, id, view)?;
                }
            }
            Write::Event(event) => {
                let name = event.fault.as_deref().unwrap_or_default();
                let run = match active.get(name) {
                    Some(id) => Some(*id),
                    // The event of its end comes after the end.
                    None if event.kind == EventKind::FaultEnded => transaction
                        .prepare_cached("SELECT MAX(id) FROM run WHERE name = ?1")?
                        .query_row([name], |row| row.get(0))?,
                    None => None,
                };
                if let Some(run) = run {
                    transaction
                        .prepare_cached("INSERT INTO transition VALUES (?1, ?2, ?3, ?4)")?
                        .execute(params![
                            run,
                            event.time.as_microsecond(),
                            format!("{:?}", event.kind),
                            event.message
                        ])?;
                }
            }
        }
    }
    transaction.commit()
}

fn end(connection: &Connection, id: i64, view: &FaultView) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE run SET phase = 'Ended', ended_us = ?2, reason = ?3, message = ?4, packets = ?5 WHERE id = ?1",
        )?
        .execute(params![
            id,
            view.status.ended_at.unwrap_or_else(Timestamp::now).as_microsecond(),
            view.status.reason.map(Reason::word),
            view.status.message,
            json(&view.status.packets)?,
        ])?;
    Ok(())
}

fn page(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let limit = query.limit.clamp(1, MOST);
    let mut statement = connection.prepare_cached(
        "SELECT id, kind, name, started_by, phase, reason, message, started_us, ended_us, seed, packets, spec
         FROM run
         WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL OR started_us >= ?2) AND (?3 IS NULL OR started_us < ?3)
           AND (?4 IS NULL OR id < ?4)
         ORDER BY id DESC LIMIT ?5",
    )?;
    let since = query.since.map(Timestamp::as_microsecond);
    let until = query.until.map(Timestamp::as_microsecond);
    let rows = statement.query_map(params![query.name, since, until, query.before, limit + 1], run)?;
    let mut items = rows.collect::<rusqlite::Result<Vec<Run>>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let mut transitions = connection
        .prepare_cached("SELECT time_us, kind, message FROM transition WHERE run = ?1 ORDER BY rowid")?;
    for item in &mut items {
        let rows = transitions.query_map([item.id], |row| {
            Ok(Transition {
                time: time(row.get(0)?),
                kind: row.get(1)?,
                message: row.get(2)?,
            })
        })?;
        item.transitions = rows.collect::<rusqlite::Result<_>>()?;
    }
    let next = items.last().filter(|_| more).map(|last| last.id);
    Ok(Page { items, next })
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let phase: String = row.get(4)?;
    let reason: Option<String> = row.get(5)?;
    let seed: Option<String> = row.get(9)?;
    let (packets, spec): (String, String) = (row.get(10)?, row.get(11)?);
    Ok(Run {
        id: row.get(0)?,
        kind: row.get(1)?,
        name: row.get(2)?,
        by: row.get(3)?,
        phase: match phase.as_str() {
            "Active" => RunPhase::Active,
            "Ended" => RunPhase::Ended,
            _ => RunPhase::Interrupted,
        },
        reason: reason.and_then(|word| serde_json::from_value(word.into()).ok()),
        message: row.get(6)?,
        started_at: time(row.get(7)?),
        ended_at: row.get::<_, Option<i64>>(8)?.map(time),
        seed: seed.and_then(|seed| seed.parse().ok()),
        packets: serde_json::from_str(&packets).unwrap_or_default(),
        spec: serde_json::from_str(&spec).unwrap_or_default(),
        transitions: Vec::new(),
    })
}

fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
