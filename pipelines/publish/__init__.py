"""What a finished data set is handed on as: see `pipelines.publish.publication`."""
