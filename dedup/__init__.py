"""De-duplication: thumbnails → 128-bit semantic codes → duplicate groups → clean shards."""
