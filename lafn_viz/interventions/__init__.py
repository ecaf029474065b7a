"""Cause and effect: change neurons or activations, and measure the answers."""
