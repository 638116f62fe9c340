"""Search: labelled images in; the best of many networks of D's architecture that only ever saw labels, out.

Stands beside the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN":
what a probe of D's features is compared with. Radford et al. 2016, section 5.2.
"""
