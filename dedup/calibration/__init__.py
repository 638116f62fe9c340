"""Calibration: near-duplicates planted into the user's own images, and what of them is found."""
