//! `[log]`: where this library's own lines go.

use super::FileConfig;
use crate::log::Level;

/// `[log]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Where lines go.
    pub to: LogTarget,
    /// How they look, where they do not go to HAProxy, which has a form of its own.
    pub format: LogFormat,
    /// The least serious lines that are said.
    pub level: Level,
    /// The same for lines about what the agent is asked; absent means `level`.
    pub agent_level: Option<Level>,
    /// When another file begins.
    pub rotation: Rotation,
    /// With [`LogTarget::File`]: where.
    pub file: FileConfig,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            to: LogTarget::Haproxy,
            format: LogFormat::Plain,
            level: Level::Info,
            agent_level: None,
            rotation: Rotation::Size,
            file: FileConfig::default(),
        }
    }
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// Where HAProxy's own go: its log servers, or standard error.
    Haproxy,
    /// Standard error. Gone under `-D`.
    Stderr,
    /// Standard output. Gone under `-D`.
    Stdout,
    /// A file of bounded size, and its older siblings.
    File,
}

/// When another file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// When one is full.
    Size,
    /// Then, and every hour (UTC).
    Hourly,
    /// Then, and every day (UTC).
    Daily,
    /// When somebody else moves it away.
    Never,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, process, text.
    Plain,
    /// One JSON object per line.
    Json,
}
