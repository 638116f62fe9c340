"""Rendered photographs of people: a seed, a person and a shot in, a picture and the truth about its faces out.

A small software renderer on numpy and OpenCV: heads as shaded surfaces, hair, clothes, light, backgrounds and a camera,
all drawn from the seed. A person looks alike in every shot; pose, expression, light and surroundings change.
"""

from pipelines.portraits.closeup import Sitting, render_closeup
from pipelines.portraits.photograph import Face, Photograph, render_photograph, render_portrait

__all__ = ["Face", "Photograph", "Sitting", "render_closeup", "render_photograph", "render_portrait"]
