"""The DCGAN trainer: clean shards → packed ``uint8`` → G and D."""
