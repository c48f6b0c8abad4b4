//! Hot path: patterns of topics: an exact name, or a prefix with a star behind it.
//!
//! Invariant: a pattern matches bytes, not characters: topics of version 1 frames need not be UTF-8.

/// What topics are meant: `orders.new` is exactly that one, `orders.*` all that begin with `orders.`, `*` all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPattern {
    text: Box<[u8]>,
    is_prefix: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing at all.
    #[error("a topic pattern is not empty: name a topic, or \"*\" for all")]
    Empty,
    /// A star that is not the last letter.
    #[error(
        "a star stands at the end of a topic pattern only: \"orders.*\" means all topics that begin with \"orders.\""
    )]
    StarInside,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is empty, or has a star elsewhere than at its end.
    pub fn parse(text: &str) -> Result<TopicPattern, PatternError> {
        let (stem, is_prefix) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        match () {
            () if text.is_empty() => Err(PatternError::Empty),
            () if stem.contains('*') => Err(PatternError::StarInside),
            () => Ok(TopicPattern { text: stem.as_bytes().into(), is_prefix }),
        }
    }

    /// Whether a topic is meant.
    #[inline]
    pub fn matches(&self, topic: &[u8]) -> bool {
        match self.is_prefix {
            true => topic.starts_with(&self.text),
            false => *topic == *self.text,
        }
    }

    /// The exact name or the prefix.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it means all topics that begin with its text.
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_names_prefixes_and_all() {
        let matches = |pattern: &str, topic: &str| {
            TopicPattern::parse(pattern).expect("a pattern").matches(topic.as_bytes())
        };
        assert!(matches("orders.new", "orders.new") && !matches("orders.new", "orders.newer"));
        assert!(matches("orders.*", "orders.new") && !matches("orders.*", "orders"));
        assert!(matches("*", "x") && matches("*", ""));
        assert_eq!(TopicPattern::parse(""), Err(PatternError::Empty));
        assert_eq!(TopicPattern::parse("a*b"), Err(PatternError::StarInside));
        assert_eq!(TopicPattern::parse("a**"), Err(PatternError::StarInside));
    }
}
