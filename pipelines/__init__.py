"""The ground floor of cleanshards: images, sources, shards, stages. Knows nothing of hashes, faces or GANs."""
