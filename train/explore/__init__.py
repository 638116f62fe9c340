"""Exploration of what a run's networks have learned: Radford et al. 2016, section 6."""
