"""Facts, prompts, edit cases and languages, and readers of public data sets."""
