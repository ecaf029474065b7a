"""Files, JSON records, paths, provenance, statistics and option checks.

Nothing here knows a model or a fact.
"""
