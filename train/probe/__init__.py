"""Probes: a trained D in; how well a linear classifier tells classes by its features, beside the paper's figure, out.

Stands after the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN":
Radford et al. 2016, section 5.
"""
