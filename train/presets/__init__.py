"""Presets: a TOML file for each experiment."""
