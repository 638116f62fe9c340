"""Collects the Faces set: names of people → web image queries → photographs → face boxes → square crops as shards."""
