"""Change a fact: the loss, the search, the cache, and the retrieval of subjects."""
