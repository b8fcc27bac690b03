//! Everything that is written for a person: answers on the standard output, messages and progress on the standard error.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;
use std::time::Duration;

/// All bars of this process: they share the terminal's last lines, and whatever is written steps before them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
/// What is received sooner than it could be shown has no bar.
const BAR_BYTES_MIN: u64 = 4 << 20;

/// A line of the answer. A reader that has gone away (`| head`) is no error of ours.
pub fn line(text: impl AsRef<str>) {
    bytes(format!("{}\n", text.as_ref()).as_bytes());
}

/// The answer as it is.
pub fn bytes(bytes: &[u8]) {
    BARS.suspend(|| {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    });
}

/// A message beside the answer.
pub fn note(text: impl AsRef<str>) {
    let _ = writeln!(Beside, "{}", text.as_ref());
}

/// The standard error, beside bars: for messages and for the log.
pub struct Beside;

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        BARS.suspend(|| std::io::stderr().write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// What went wrong and what to do, with what lies behind it.
pub fn explain(error: &anyhow::Error) {
    let mut text = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let message = match cause.downcast_ref::<base::Error>() {
            Some(error) if error.kind == base::Kind::Internal => error.to_string(),
            Some(error) => error.message.clone(),
            None => cause.to_string(),
        };
        if depth == 0 {
            text = message;
        } else if !text.contains(&message) {
            text.push_str(&format!("\n  {message}"));
        }
        // its own text tells its causes
        if cause.downcast_ref::<base::Error>().is_some_and(|e| e.kind == base::Kind::Internal) {
            break;
        }
    }
    note(format!("bleu: {text}"));
}

/// True where a person reads what is written: the answer, or the messages beside it.
pub fn is_watched(messages: bool) -> bool {
    if messages { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() }
}

/// Shows that something goes on, where a person watches; nothing elsewhere.
pub fn waiting(what: String) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = BARS.add(ProgressBar::new_spinner().with_message(what).with_style(style));
    // at once, and then from a thread of its own
    bar.tick();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// The progress of so many bytes; nothing where they are few.
pub fn bytes_done(what: String, total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() || total < BAR_BYTES_MIN {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}").unwrap_or_else(|_| ProgressStyle::default_bar());
    BARS.add(ProgressBar::new(total).with_message(what).with_style(style))
}
