"""Evaluate edits: ask questions before and after, score the answers, compare them."""
