"""Comparison: one data set beside another, for `dedup.against`, `dedup.audit` and `dedup.query`."""
