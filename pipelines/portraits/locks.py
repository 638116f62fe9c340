"""Long hair that hangs: a mass behind the shoulders, and a lock on each side of the face."""

import numpy as np

from pipelines.portraits.canvas import Patch
from pipelines.portraits.fields import bump, curve, noise, step, unit, vector
from pipelines.portraits.hairstyles import style_of
from pipelines.portraits.light import Lighting
from pipelines.portraits.people import Person
from pipelines.portraits.skin import hair_tone
from pipelines.rooms.materials import F, Floats


def paint_back_hair(patch: Patch, person: Person, lighting: Lighting) -> None:
    """Hair behind the neck and shoulders, of styles that have it."""
    style = style_of(person)
    if not style.falls:
        return
    u, v = patch.u, patch.v
    end = max(style.back, style.falls)
    ragged = noise("strands", u * F(3) + person.seed % 101, v)
    wide = curve(v, [(-9, 4.0), (-7, 7.0), (-3, 8.2), (4, 8.8), (14, 9.6), (22, 10.2), (32, 9.0)])
    wide = wide + F(0.12) * ragged + _frizz(style.curl, u, v)
    cover = step(np.abs(u) - wide, 0.25, -0.35) * step(v, -9, -6) * step(v - F(end) - F(0.9) * ragged, 1.5, -1.5)
    patch.paint(_shade(patch, person, lighting, u / wide, 0.5), cover)


def paint_locks(patch: Patch, person: Person, turn: Floats, lighting: Lighting, *, behind: bool) -> None:
    """Hair that falls beside the face; ``behind``: only locks that the turned head hides, else only the others."""
    style = style_of(person)
    if not style.falls:
        return
    u, v = patch.u, patch.v
    for sign in (-1.0, 1.0):
        x, y, z = (turn @ np.array([sign * 7.1 * person.width, 1.0, 0.5])).tolist()
        if (z < -0.4) != behind:
            continue
        if z < 0.5:  # on the far side the head itself pushes hair outwards
            x = sign * max(abs(x), 6.9 * person.width)
        down = v - F(y)
        fall = style.falls + 0.8 * np.sin(person.seed % 7 + sign)
        ragged = noise("strands", u * F(4) + person.seed % 61 + 50 * sign, v * F(1.5))
        wave = F(0.25 + style.curl) * np.sin(down * F(0.75) + F(person.seed % 11) + F(sign))
        middle = F(x + sign * (0.5 + 0.4 * style.side)) + F(sign * 0.06) * down + wave * step(down, 0, 5)
        wide = F(0.9 + 0.5 * style.side) + F(0.8) * step(down, -2, 6) - F(0.9) * step(v, fall - 5, fall + 1.5)
        wide = wide + F(0.12) * ragged + F(0.5) * _frizz(style.curl, u, v)
        across = (u - middle) / np.maximum(wide, F(0.2))
        cover = (
            step(np.abs(u - middle) - wide, 0.12, -0.22)
            * step(down, -4.5, -2.5)
            * step(v - F(fall) - F(0.8) * ragged, 0.8, -0.8)
        )
        patch.paint(_shade(patch, person, lighting, across, 0.9), cover)


def _frizz(curl: float, u: Floats, v: Floats) -> Floats:
    return F(1.3 * curl) * (1 + F(0.4) * noise("curls", u * F(14), v * F(14))) if curl else np.zeros_like(u)


def _shade(patch: Patch, person: Person, lighting: Lighting, across: Floats, light_share: float) -> Floats:
    """Strands on a tube; ``across`` runs from -1 to 1 over what is seen of it."""
    u, v = patch.u, patch.v
    if style_of(person).curl > 0.4:
        streak = noise("curls", u * F(16) + person.seed % 43, v * F(16))
    else:
        lean = u + F(0.4) * np.sin(v * F(0.5) + person.seed % 5)
        streak = noise("strands", lean * F(20) + person.seed % 43, v * F(6)) + F(0.5) * noise(
            "strands", lean * F(27), v * F(9)
        )
    across = np.clip(across, -1, 1)
    normals = unit(np.stack([across, np.full_like(u, -0.15), np.sqrt(1 - across**2) + F(0.15)]))
    light = lighting.diffuse(normals, light_share, light_share, vector(0.3, 0.3, 0.3))
    tone = hair_tone(person)
    band = F(0.6) * bump(v - F(3) + F(0.5) * streak, 1.6) * np.maximum(1 - across**2, 0)
    shine = (F(0.05) * light_share * band)[None] * lighting.lamps[0].colour
    shaded: Floats = tone * np.clip(F(0.9) + F(0.28) * streak, 0.1, 2)[None] * light + shine
    return shaded
