"""Scores of neurons: methods, paths, quadrature, and one pass for all layers."""
