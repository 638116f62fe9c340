"""Programs that answer one question each with a table; what they printed stands in docs/BENCHMARKS.md."""
