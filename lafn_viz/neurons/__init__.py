"""Sets of neurons: selection, overlap, significance, stability, LAPE and random controls."""
