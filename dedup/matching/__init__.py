"""Matching: codes in; candidates, the pairs of codes within a radius, and nearest codes out."""
