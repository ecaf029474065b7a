"""Cause and effect: change neurons and measure the answers."""
