"""Tests. A package, so that processes that they start find this one: torch-fidelity installs one of the same name."""
