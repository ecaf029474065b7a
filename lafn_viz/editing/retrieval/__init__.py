"""Find the subject of an edit in a text."""
