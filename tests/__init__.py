"""Tests. A package, so that processes that tests start find this one and not torch-fidelity's, which installs its own."""
