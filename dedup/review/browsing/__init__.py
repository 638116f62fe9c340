"""Browsing: groups, sources, rejected images, thresholds and searches, as pages ask for them."""
