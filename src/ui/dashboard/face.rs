//! What of a cluster is shown, and what lies over it. It is nothing that is known of the cluster.

use super::model::page::Page;

/// How a model is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Face {
    /// A text over the cards, while one is shown.
    pub page: Option<Page>,
    /// The space–time diagram takes the place of cards and links.
    pub shows_diagram: bool,
    /// What is going on, in a sentence, for whoever looks at it step by step.
    pub caption: Option<String>,
}

impl Face {
    /// The same, with another sentence.
    #[must_use]
    pub fn saying(&self, caption: Option<String>) -> Self {
        Self { caption, ..self.clone() }
    }
}
