use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, Ordering};

use clap::ValueEnum;
use owo_colors::{OwoColorize, Style};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// `--color`, for places that have no other way to it, such as the last error of all.
static CHOSEN: AtomicU8 = AtomicU8::new(ColorWhen::Auto as u8);

/// Colours words, or leaves them as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl ColorWhen {
    pub(crate) fn choose(self) {
        CHOSEN.store(self as u8, Ordering::Relaxed);
    }

    fn chosen(terminal: bool) -> bool {
        let chosen = CHOSEN.load(Ordering::Relaxed);
        if chosen == Self::Always as u8 {
            return true;
        }
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        chosen != Self::Never as u8 && terminal && !no_color
    }
}

impl Paint {
    pub(crate) fn stdout() -> Self {
        Self {
            on: ColorWhen::chosen(std::io::stdout().is_terminal()),
        }
    }

    pub(crate) fn stderr() -> Self {
        Self {
            on: ColorWhen::chosen(std::io::stderr().is_terminal()),
        }
    }

    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    pub(crate) fn error(self, text: &str) -> String {
        self.with(text, Style::new().red().bold())
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.with(text, Style::new().yellow().bold())
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with(text, Style::new().green())
    }

    pub(crate) fn heading(self, text: &str) -> String {
        self.with(text, Style::new().bold())
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.with(text, Style::new().dimmed())
    }

    fn with(self, text: &str, style: Style) -> String {
        if self.on {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    }
}
