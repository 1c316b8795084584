//! Several inputs in one: pieces with a byte between them that no UTF-8 text has.

/// What stands between two pieces.
pub(crate) const BETWEEN: u8 = 0xff;

/// The pieces of an input; there is always one.
pub(crate) struct Pieces<'a>(std::slice::Split<'a, u8, fn(&u8) -> bool>);

impl<'a> Pieces<'a> {
    pub(crate) fn of(data: &'a [u8]) -> Self {
        Self(data.split(|byte| *byte == BETWEEN))
    }

    /// The next piece as text; nothing for one that is missing or no text.
    pub(crate) fn text(&mut self) -> &'a str {
        self.0.next().and_then(|piece| std::str::from_utf8(piece).ok()).unwrap_or_default()
    }

    /// The next piece as a number, of at most so much.
    pub(crate) fn number(&mut self, most: u64) -> u64 {
        self.text().trim().parse::<u64>().unwrap_or_default().min(most)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next()
    }
}

/// An input that is one text; nothing for other bytes.
pub(crate) fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
