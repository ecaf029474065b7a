"""Judge an edit: metrics, answers, and what changed."""
