"""Load a model, find and prove its hooks, tokenise, batch, score and generate.

This is the only room that knows model families.
"""
