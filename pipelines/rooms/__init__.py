"""Rendered bedrooms: a seed and an index in, a picture and the boxes around its windows out.

A small software renderer on OpenCV: a perspective room box, furniture, windows, lamps, light and textures, all drawn
from the seed. The pictures are the source of the embedded data set (`pipelines.synthetic`).
"""

from pipelines.rooms.scene import Room, render_room

__all__ = ["Room", "render_room"]
