"""Review: what people see and say of a finished data set: ``python -m dedup.review DATASET``."""
