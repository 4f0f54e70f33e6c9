use std::io::{self, IsTerminal, Write};

use chaos_spec::Warning;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Paint;
use crate::failure::Failure;

/// stdout for data and stderr for progress. A reader that goes away (`| head`) is no error.
#[derive(Debug)]
pub(crate) struct Output {
    /// Nobody reads stdout any more.
    closed: bool,
    /// The line that is passing; hidden where stderr is no terminal.
    line: ProgressBar,
}

impl Output {
    pub(crate) fn new() -> Self {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        // The template is ours, and has nothing in it that could be wrong.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            line.set_style(style);
        }
        Self { closed: false, line }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// One line, or several, of data.
    pub(crate) fn data(&mut self, text: &str) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| {
            let newline: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
            stdout.write_all(newline)?;
            stdout.flush()
        });
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(source) => Err(Failure::Write {
                to: "stdout".to_owned(),
                source,
            }),
        }
    }

    /// A line for the person at the terminal.
    pub(crate) fn progress(&self, text: &str) {
        self.line.suspend(|| {
            // Progress that nobody reads is no reason to stop.
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    /// A line that the next one takes the place of; nothing when stderr is no terminal.
    pub(crate) fn passing(&self, text: &str) {
        if self.line.is_hidden() {
            self.line.set_draw_target(ProgressDrawTarget::stderr());
        }
        if self.line.is_finished() {
            self.line.reset();
        }
        self.line.set_message(text.to_owned());
        self.line.tick();
    }

    /// Nothing is passing any more.
    pub(crate) fn passed(&self) {
        self.line.finish_and_clear();
    }

    /// `warning: …` with what to do about it. `fault` is named when there are several.
    pub(crate) fn warnings(&self, fault: Option<&str>, warnings: &[Warning]) {
        let word = Paint::stderr().warning("warning:");
        let about = fault.map(|name| format!("{name}: ")).unwrap_or_default();
        for warning in warnings {
            let advice = if warning.advice.is_empty() { "" } else { " – " };
            self.progress(&format!(
                "{word} {about}{}{advice}{}",
                warning.message, warning.advice
            ));
        }
    }
}
