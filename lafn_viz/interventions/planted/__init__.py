"""Facts planted in known neurons: ground truth for attribution methods."""
