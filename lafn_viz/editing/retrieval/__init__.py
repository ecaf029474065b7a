"""Find the subjects that a text names, by exact, inflected, misspelled and partial names.

`folding` makes words that compare equal, `name_trie` finds names as whole words, `fuzzy` finds what
resembles a name (with `inflection`), `longer_names` what is part of another name, `match` holds the
results, and `subject_matcher` puts them together.
"""
