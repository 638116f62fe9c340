"""The commands of ``python -m train.explore``, a file for each; what they compute is in the module of the same name."""
