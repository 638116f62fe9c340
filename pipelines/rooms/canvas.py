"""The canvas of rendered rooms: faces, boxes and round things in space, lit and painted far to near into a picture.

Edges are antialiased by coverage.
"""

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.rooms.light import Light
from pipelines.rooms.materials import F, Floats, Material, Rng, resize, scalar, triple
from pipelines.rooms.space import Camera, Face, cross

NEAR_M = 0.15
_SHIFT = 4  # binary places of the coordinates that OpenCV draws at

Skin = Callable[[float, float, int, int], Floats]  # metres and pixels (w, h, w, h) to displayed colours (h, w, 3)
Region = tuple[int, int, int, int]  # left, top, right, bottom

_CORNERS = np.array(list(np.ndindex(2, 2, 2)))
_SIDES = (  # axis, at its high end?, and as steps of the box: origin, across, down
    (2, True, (0, 1, 1), (1, 0, 0), (0, -1, 0)),
    (2, False, (0, 0, 0), (1, 0, 0), (0, 1, 0)),
    (0, False, (0, 1, 1), (0, -1, 0), (0, 0, -1)),
    (0, True, (1, 0, 1), (0, 1, 0), (0, 0, -1)),
    (1, False, (0, 0, 1), (1, 0, 0), (0, 0, -1)),
    (1, True, (1, 1, 1), (-1, 0, 0), (0, 0, -1)),
)


class Canvas:
    """A picture in the making.

    Attributes:
        image: displayed colours, float32 (H, W, 3), may exceed 1.
        glow: light that scatters in the lens, float32 (H / 4, W / 4, 3).
        windows: which window each pixel shows, uint8 (H, W); 0: none.
    """

    def __init__(self, camera: Camera, light: Light) -> None:
        self.camera, self.light = camera, light
        self.image = np.zeros((camera.height, camera.width, 3), F)
        self.glow = np.zeros((camera.height // 4, camera.width // 4, 3), F)
        self.windows = np.zeros((camera.height, camera.width), np.uint8)

    def surface(
        self,
        face: Face,
        skin: Skin,
        *,
        grid: int = 3,
        shade: Floats | None = None,
        beams: Floats | None = None,
        emit: float = 0.0,
        lit: bool = True,
        largest: int = 256,
        **options: Any,
    ) -> None:
        """Paint a face and its light.

        Args:
            face: where.
            skin: paints it in as many pixels as it deserves; not called when the face is out of sight.
            grid: at how many points in each direction light is worked out.
            shade: factor on the light, (h, w).
            beams: light to add, (h, w, 3).
            emit: light of its own, or that shines through.
            lit: False where the skin's colours are final.
            largest: most texture pixels in each direction.
            options: of `Canvas.quad`.
        """
        outline = self._outline(face.corners)
        if outline is None or self._region(outline) is None:
            return
        width_m, height_m = face.size_m
        density = self.camera.density(face)
        w, h = (int(np.clip(size * density, 12, largest)) for size in (width_m, height_m))
        texture = skin(width_m, height_m, w, h)
        h, w = texture.shape[:2]
        if lit:
            light = self.light.at(face.grid(grid), face.normal) + F(emit)
            if shade is not None:
                light = resize(light, *shade.shape[1::-1]) * triple(shade)
            light = resize(light, w, h)
            if beams is not None:
                light += resize(beams, w, h)
            texture = texture * light
        self.quad(face, texture, outline=outline, **options)

    def quad(
        self,
        face: Face,
        texture: Floats,
        *,
        alpha: Floats | None = None,
        window: int = 0,
        outline: Floats | None = None,
    ) -> None:
        """Paint final colours (h, w, 3) onto a face, as showing ``window``.

        It is as opaque as ``alpha`` (h, w) says, and cut off at ``outline`` (n, 2; convex, in pixels).
        """
        if outline is None:
            outline = self._outline(face.corners)
        region = None if outline is None else self._region(outline)
        if outline is None or region is None:
            return
        size = (region[2] - region[0], region[3] - region[1])

        def warp(texels: Floats) -> Floats:
            to_screen = self._to_screen(face, texels.shape[1], texels.shape[0], region)
            texels = texels.astype(F, copy=False)
            return np.asarray(cv2.warpPerspective(texels, to_screen, size, borderMode=cv2.BORDER_REPLICATE), F)

        mask = self._mask(outline, region)
        if alpha is not None:
            mask *= warp(alpha)
        self._blend(region, warp(texture), mask, window)

    def box(
        self,
        low: Floats,
        high: Floats,
        material: Material,
        rng: Rng,
        *,
        front: Skin | None = None,
        facing: Floats | None = None,
    ) -> None:
        """Paint an upright box; ``front`` is the skin of the side whose normal is ``facing``."""
        eye, size = self.camera.position, high - low
        corners = low + size * _CORNERS
        if self.camera.depth(corners).min() < NEAR_M:
            return
        faces = [
            Face(low + size * origin, size * across, size * down)
            for axis, is_high, origin, across, down in _SIDES
            if (eye[axis] > high[axis] if is_high else eye[axis] < low[axis])
        ]
        hull = _hull(self.camera.project(corners))
        if not faces or self._region(hull) is None:
            return
        normals = np.stack([face.normal for face in faces])
        lights = self.light.at(np.stack([face.grid(3) for face in faces]), normals)
        for i, (face, light) in enumerate(zip(faces, lights, strict=True)):
            width_m, height_m = face.size_m
            density = self.camera.density(face)
            w, h = (int(np.clip(size * density, 3, 200)) for size in (width_m, height_m))
            if front is not None and facing is not None and float(normals[i] @ facing) > 0.5:
                w, h = max(w, 16), max(h, 16)
                texture = front(width_m, height_m, w, h) * resize(light, w, h)
            elif max(w, h) < 40 or min(w, h) < 8:  # too small for a texture to be seen
                texture = material.mean * light
            else:
                texture = material.cut(rng, width_m, height_m, w, h) * resize(light, w, h)
            # The first side fills the whole silhouette, so that no background shows through where two sides meet.
            self.quad(face, texture, outline=hull if i == 0 else None)

    def solid(
        self,
        grid: Floats,
        colour: Floats | Material,
        *,
        metres: Floats | None = None,
        emit: Floats | None = None,
    ) -> None:
        """Paint something convex and smooth.

        Args:
            grid: points of its surface, (rows, columns, 3).
            colour: one colour; or a cloth, with ``metres`` along it, (rows, columns, 2).
            metres: see above.
            emit: light of its own; broadcast to the facets, (rows - 1, columns - 1, 3).
        """
        points = grid.reshape(-1, 3)
        if self.camera.depth(points).min() < NEAR_M:
            return
        screen = self.camera.project(grid)
        hull = _hull(screen.reshape(-1, 2))
        region = self._region(hull)
        if region is None:
            return
        centres = (grid[:-1, :-1] + grid[1:, 1:]) / 2
        normals = cross(grid[1:, 1:] - grid[:-1, :-1], grid[1:, :-1] - grid[:-1, 1:])
        normals /= np.sqrt((normals**2).sum(axis=-1, keepdims=True)) + 1e-9
        normals *= np.sign((normals * (centres - points.mean(axis=0))).sum(axis=-1, keepdims=True))
        seen = (normals * (self.camera.position - centres)).sum(axis=-1) > 0
        if not seen.any():
            return
        quads = np.stack([screen[:-1, :-1], screen[:-1, 1:], screen[1:, 1:], screen[1:, :-1]], axis=2)
        facets = quads[seen]
        light = self.light.at(centres[seen], normals[seen])
        if emit is not None:
            light = light + np.broadcast_to(emit, centres.shape)[seen]
        if isinstance(colour, Material):
            if metres is None:
                raise ValueError("a cloth needs metres along it")
            along = ((metres[:-1, :-1] + metres[1:, 1:]) / 2)[seen]
            spread = self._smooth(region, facets, along)
            painted: Floats = self._smooth(region, facets, light) * colour.spread(spread[..., 0], spread[..., 1])
        else:
            painted = self._smooth(region, facets, light * colour)
        self._blend(region, painted, self._mask(hull, region))

    def leaf(self, ribs: Floats, colour: Floats) -> None:
        """Paint a thin leaf from left edge, midrib and right edge, (n, 3, 3)."""
        if self.camera.depth(ribs).min() < NEAR_M:
            return
        left, middle, right = self.camera.project(ribs).transpose(1, 0, 2)
        region = self._region(np.concatenate([left, right]))
        if region is None:
            return
        lit = colour * self.light.at(ribs[len(ribs) // 2, 1], np.array([0, 0, 1.0]))
        painted = np.empty((region[3] - region[1], region[2] - region[0], 3), F)
        painted[:] = lit
        half = _fixed(np.concatenate([left, middle[::-1]]), region)
        cv2.fillPoly(painted, [half], scalar(lit * F(1.25)), cv2.LINE_8, _SHIFT)
        mask = np.zeros(painted.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(np.concatenate([left, right[::-1]]), region)], 255, cv2.LINE_AA, _SHIFT)
        self._blend(region, painted, mask.astype(F) * F(1 / 255))

    def add_glow(self, point: Floats, radius_m: float, colour: Floats) -> None:
        """Let a disc scatter light around it."""
        depth = float(self.camera.depth(point))
        if depth < NEAR_M:
            return
        x, y = (self.camera.project(point) / 4).tolist()
        if -1000 < x < 1000 and -1000 < y < 1000:
            radius = max(1.0, radius_m * self.camera.focal / depth / 4)
            spot = np.zeros_like(self.glow)
            centre = [int(value * (1 << _SHIFT)) for value in (x, y)]
            cv2.circle(spot, centre, int(radius * (1 << _SHIFT)), scalar(colour), -1, cv2.LINE_8, _SHIFT)
            self.glow += spot

    def add_window_glow(self, face: Face, colour: Floats) -> None:
        """Let a face scatter light around it."""
        outline = self._outline(face.corners)
        if outline is not None:
            cv2.fillConvexPoly(self.glow, _fixed(outline / 4, (0, 0, 0, 0)), scalar(colour), cv2.LINE_8, _SHIFT)

    def _smooth(self, region: Region, facets: Floats, values: Floats) -> Floats:
        """Facets (n, 4, 2) with values (n, k ≤ 3) as a smooth field over the region, (h, w, 3)."""
        weighted = np.zeros((len(values), 4))
        weighted[:, : values.shape[1]], weighted[:, 3] = values, 1
        layer = np.empty((region[3] - region[1], region[2] - region[0], 4), F)
        layer[:] = 1e-3 * weighted.mean(axis=0)  # where no facet is seen, as through the open end of a lamp shade
        for polygon, value in zip(_fixed(facets, region), weighted.tolist(), strict=True):
            cv2.fillConvexPoly(layer, polygon, value, cv2.LINE_8, _SHIFT)
        # A triangular kernel of a facet's reach turns steps into slopes; the weight keeps the outside out.
        x, y = (max(1, round(reach)) for reach in (facets.max(axis=1) - facets.min(axis=1)).mean(axis=0).tolist())
        *channels, weight = cv2.split(cv2.stackBlur(layer, (2 * x + 1, 2 * y + 1)))
        return np.asarray(cv2.merge(channels), F) / triple(np.asarray(weight, F))

    def _blend(self, region: Region, colours: Floats, mask: Floats, window: int = 0) -> None:
        left, top, right, bottom = region
        below = np.ascontiguousarray(self.image[top:bottom, left:right])
        self.image[top:bottom, left:right] = cv2.blendLinear(colours, below, mask, 1 - mask)
        self.windows[top:bottom, left:right][mask > 0.5] = window

    def _to_screen(self, face: Face, width: int, height: int, region: Region) -> Floats:
        """The homography from a texture's pixel indices to those of a region."""
        x, y = face.across / width, face.down / height
        plane = np.column_stack([x, y, face.origin + (x + y) / 2])
        to_screen = self.camera.matrix[:, :3] @ plane
        to_screen[:, 2] += self.camera.matrix[:, 3]
        return np.array([[1, 0, -region[0] - 0.5], [0, 1, -region[1] - 0.5], [0, 0, 1]]) @ to_screen

    def _outline(self, corners: Floats) -> Floats | None:
        """A convex polygon's part in front of the camera, in pixel coordinates; None: nothing is."""
        depths = self.camera.depth(corners)
        if depths.max() < NEAR_M:
            return None
        if depths.min() < NEAR_M:
            kept = []
            for i, (b, db) in enumerate(zip(corners, depths, strict=True)):
                a, da = corners[i - 1], depths[i - 1]
                if (da < NEAR_M) != (db < NEAR_M):
                    kept.append(a + (b - a) * ((NEAR_M - da) / (db - da)))
                if db >= NEAR_M:
                    kept.append(b)
            return self.camera.project(np.array(kept))
        return self.camera.project(corners)

    def _region(self, outline: Floats) -> Region | None:
        """The pixels around an outline, as far as they are in the picture."""
        (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        left, top = max(0, floor(left)), max(0, floor(top))
        right, bottom = min(self.camera.width, ceil(right) + 1), min(self.camera.height, ceil(bottom) + 1)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _mask(self, outline: Floats, region: Region) -> Floats:
        """Coverage of a convex outline, float32 (h, w), 0 to 1."""
        mask = np.zeros((region[3] - region[1], region[2] - region[0]), np.uint8)
        cv2.fillConvexPoly(mask, _fixed(outline, region), 255, cv2.LINE_AA, _SHIFT)
        return mask.astype(F) * F(1 / 255)


def _fixed(points: Floats, region: Region) -> npt.NDArray[np.int32]:
    """Pixel coordinates as OpenCV draws them in a region: whole at pixel centres, in fixed point."""
    fixed: npt.NDArray[np.int32] = ((points - (region[0] + 0.5, region[1] + 0.5)) * (1 << _SHIFT)).astype(np.int32)
    return fixed


def _hull(points: Floats) -> Floats:
    return np.asarray(cv2.convexHull(points.astype(F))[:, 0], float)
