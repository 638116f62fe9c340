"""Evaluation: drawn images and real ones → features → numbers that say what they were compared with, and by what."""
