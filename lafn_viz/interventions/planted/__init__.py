"""Facts planted into known neurons: ground truth for attribution methods."""
