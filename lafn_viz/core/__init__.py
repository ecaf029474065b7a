"""Files, JSON records, error messages, paths, provenance, statistics and option checks.

Nothing here knows a model or a fact.
"""
