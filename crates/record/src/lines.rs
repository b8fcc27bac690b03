//! Small texts of `name value` lines in a fixed order: places, trust files, manifests. They are read by people as well
//! as programs, and signed, so they have one spelling: whoever parses one prints it again and compares.

/// Walks the lines of a text.
pub(crate) struct Lines<'a> {
    rest: std::iter::Peekable<std::str::Split<'a, char>>,
}

impl<'a> Lines<'a> {
    /// `None` unless the text begins with `title` on a line of its own and every line ends.
    pub(crate) fn new(text: &'a str, title: &str) -> Option<Lines<'a>> {
        let mut rest = text.strip_suffix('\n')?.split('\n').peekable();
        (rest.next()? == title).then_some(Lines { rest })
    }

    /// The value of the next line, when its name is `name`.
    pub(crate) fn next(&mut self, name: &str) -> Option<&'a str> {
        let value = self.rest.peek()?.strip_prefix(name)?.strip_prefix(' ')?;
        self.rest.next();
        Some(value)
    }

    /// True when nothing is left.
    pub(crate) fn end(mut self) -> bool {
        self.rest.next().is_none()
    }
}

/// A value that fits a line: no control character, not empty, at most 1,024 bytes.
pub(crate) fn fits(value: &str) -> bool {
    !value.is_empty() && value.len() <= 1_024 && !value.chars().any(char::is_control)
}
