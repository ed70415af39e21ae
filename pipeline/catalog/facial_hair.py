"""Eyebrows and beards as strands.

Lengths in mm. Heights and widths are those of the average head (`rest`, see
`pipeline.catalog.roots`): eyes at y = 0, nose ends at -51, lips from -57 to -79, chin at -111.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.fields import smoothstep, unit
from pipeline.catalog.hairstyles import Beard, Brows
from pipeline.catalog.roots import Roots, scatter
from pipeline.geometry import FloatArray, Surface

_SEED = 20261124
_BROW_MM2, _BEARD_MM2 = 0.3, 0.9
#: The brow's middle line and half its height over the distance from its inner end, 0..1.
_ARCH_AT = (0.0, 0.3, 0.65, 1.0)
_ARCH_MM = (15.2, 18.2, 20.4, 15.0)
_HALF_AT = (0.0, 0.12, 0.4, 0.7, 1.0)
_HALF_MM = (2.6, 4.0, 3.4, 2.5, 0.7)
_BROW_INNER_MM, _BROW_WIDTH_MM = 11.5, 44.0
#: Direction of brow hairs over the same distance, degrees above outwards.
_LEAN_AT = (0.0, 0.12, 0.35, 0.65, 1.0)
_LEAN_DEG = (80.0, 58.0, 26.0, 0.0, -24.0)
#: Upper border of a beard on the cheek over the distance from the middle.
_CHEEK_AT = (0.0, 24.0, 31.0, 44.0, 55.0, 62.0)
_CHEEK_MM = (-50.0, -53.0, -64.0, -62.0, -48.0, 4.0)


def grow_brows(
    brows: Brows, roots: Roots, skin: FloatArray, normals: FloatArray
) -> tuple[FloatArray, NDArray[np.float32]]:
    """Points (n, 4, 3) and radii (n, 4) of both brows, on a skin (v, 3) with normals (v, 3)."""
    across, above = _on_brow(roots.rest, brows)
    half = np.interp(across, _HALF_AT, _HALF_MM) * brows.thickness
    density = brows.density * smoothstep(1.0 - np.abs(above) / half, 0.0, 0.9)
    density = density * smoothstep(across, 0.0, 0.22) * smoothstep(1.0 - across, 0.0, 0.2)
    used = roots.luck < density
    roots, across, above, half = roots.of(used), across[used], above[used], half[used]
    sign = np.sign(roots.rest[:, 0])
    rng = _rng(1)
    spread = rng.normal(size=(4, len(used)))[:, used]
    lean = np.interp(across, _LEAN_AT, _LEAN_DEG) - 16.0 * above / half + 9.0 * spread[0]
    lean = np.radians(lean)
    away = np.stack([np.cos(lean) * sign, np.sin(lean), np.zeros_like(lean)], axis=1)
    length = brows.length * np.interp(across, [0.0, 0.3, 0.8, 1.0], [0.75, 1.0, 0.9, 0.55])
    length = length * (1.0 + 0.14 * spread[1])
    points = short_hairs(roots.on(skin), unit(roots.on(normals)), away, length, 0.34, 4)
    return points, _tapered(points, 0.06)


def _on_brow(rest: FloatArray, brows: Brows) -> tuple[NDArray, NDArray]:
    """Distance from the inner end, 0..1 over the brow's width, and mm above its middle line."""
    across = (np.abs(rest[:, 0]) - _BROW_INNER_MM) / (_BROW_WIDTH_MM * brows.width)
    middle = np.interp(across, _ARCH_AT, _ARCH_MM)
    straight = 17.2 + 1.2 * across
    return across, rest[:, 1] - (straight + brows.arch * (middle - straight)) - brows.lift


def grow_beard(
    beard: Beard, roots: Roots, skin: FloatArray, normals: FloatArray
) -> tuple[FloatArray, NDArray[np.float32]]:
    """Points (n, 6, 3) and radii (n, 6) of a beard, on a skin (v, 3) with normals (v, 3)."""
    density = beard_density(beard, roots.rest)
    used = roots.luck < density
    roots, density = roots.of(used), density[used]
    rng = _rng(2)
    spread = rng.normal(size=(3, len(used)))[:, used]
    down = np.tile([0.0, -1.0, 0.12], (len(roots), 1))
    lip = np.exp(-(((roots.rest[:, 1] + 53.0) / 5.0) ** 2)) * (np.abs(roots.rest[:, 0]) < 32.0)
    down[:, 0] += np.sign(roots.rest[:, 0]) * (0.9 * lip + 0.1) + 0.22 * spread[0]
    down[:, 2] += 0.15 * spread[2]
    length = np.where(lip > 0.3, np.minimum(beard.length, beard.lip_length), beard.length)
    chin = np.exp(-((np.abs(roots.rest[:, 0]) / 26.0) ** 2)) * (roots.rest[:, 1] < -80.0)
    length = length * (1.0 + beard.point * chin) * np.clip(0.35 + density, 0.0, 1.0)
    length = length * np.clip(1.0 + 0.16 * spread[1], 0.5, 1.5)
    lift = 0.75 - 0.3 * lip
    points = short_hairs(roots.on(skin), unit(roots.on(normals)), down, length, lift, 6)
    # Long beards hang, and curl.
    steps = np.linspace(0.0, 1.0, 6)[None, :]
    fall = np.clip((length - 12.0) / 40.0, 0.0, 0.6)[:, None] * steps**2 * length[:, None]
    points[..., 1] -= 0.6 * fall
    points = points + beard.curl * _wiggles(rng, len(used), used, steps, length)
    return points, _tapered(points, 0.1)


def beard_density(beard: Beard, rest: FloatArray) -> NDArray:
    """(n,) 0..1 share of places at `rest` (n, 3) where a beard's hairs grow."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    top = np.interp(x, _CHEEK_AT, _CHEEK_MM) - beard.low_cheek * smoothstep(x, 30.0, 45.0)
    cheek = (
        smoothstep(top - y, -2.0, 14.0)
        * smoothstep(y, -126.0, -112.0)
        * smoothstep(z, -66.0, -58.0)
    )
    lip = (
        smoothstep(-50.0 - y, 0.0, 3.0)
        * smoothstep(y, -65.0, -58.0)
        * smoothstep(34.0 - x, 0.0, 11.0)
    )
    lip = lip * (0.55 + 0.45 * smoothstep(x, 1.5, 4.5))
    chin = (
        smoothstep(-78.0 - y, 0.0, 5.0)
        * smoothstep(24.0 - x, 0.0, 5.0)
        * smoothstep(y, -120.0, -110.0)
    )
    patch = (
        smoothstep(-78.0 - y, -2.0, 2.0)
        * smoothstep(6.0 - x, 0.0, 3.0)
        * smoothstep(y, -120.0, -110.0)
    )
    corner = (
        smoothstep(x, 20.0, 27.0) * smoothstep(33.0 - x, 0.0, 6.0) * smoothstep(-56.0 - y, 0.0, 9.0)
    )
    corner = 0.8 * corner * smoothstep(y, -112.0, -90.0)
    # Beards thin out between moustache and cheek and under the lower lip.
    bare = 1.0 - 0.75 * np.exp(-(((x - 13.0) / 6.0) ** 2) - (((y + 83.0) / 4.0) ** 2))
    full = np.maximum(cheek * (x > 24.0), chin * bare)
    parts = {
        "full": np.maximum.reduce([full, cheek * (y < -84.0) * bare, lip, corner]),
        "goatee": np.maximum.reduce([chin * bare, lip, corner]),
        "chin": np.maximum(chin, patch),
        "moustache": lip,
        "no_moustache": np.maximum(cheek * (x > 24.0), cheek * (y < -88.0)),
    }
    grow: NDArray = beard.density * parts[beard.kind]
    return grow


def short_hairs(
    root: FloatArray,
    normal: FloatArray,
    direction: FloatArray,
    length: NDArray,
    lift: NDArray | float,
    count: int,
) -> FloatArray:
    """(n, count, 3) hairs that leave the skin by `lift` (sine of the angle) and lie down again.

    root, normal (unit), direction: (n, 3); of the direction only what lies in the skin counts.
    """
    flat = direction - np.einsum("ij,ij->i", direction, normal)[:, None] * normal
    flat = unit(flat)
    up = np.broadcast_to(np.asarray(lift, float), (len(root),))[:, None]
    start = flat * np.sqrt(1.0 - up**2) + normal * up
    steps = np.linspace(0.0, 1.0, count)[None, :, None]
    bend = -0.62 * up * normal
    lengths = length[:, None, None]
    return root[:, None] + lengths * (steps * start[:, None] + steps**2 * bend[:, None])


def _wiggles(
    rng: np.random.Generator, count: int, used: NDArray, steps: NDArray, length: NDArray
) -> FloatArray:
    """(n, k, 3) mm sideways: waves that grow from the root, of about 14 mm in length."""
    phase, axes = rng.random((count, 3))[used], unit(rng.normal(size=(count, 2, 3))[used])
    turns = length[:, None] * steps / 14.0 * 2.0 * np.pi
    size = (0.12 * length).clip(0.0, 2.6)[:, None] * steps**0.7
    first = np.sin(turns + 2.0 * np.pi * phase[:, :1]) * size
    second = np.cos(turns + 2.0 * np.pi * phase[:, 1:2]) * size
    return first[..., None] * axes[:, None, 0] + second[..., None] * axes[:, None, 1]


def _tapered(points: FloatArray, radius_mm: float) -> NDArray[np.float32]:
    """(n, k) radii that fall to a third at the tip."""
    steps = np.linspace(0.0, 1.0, points.shape[1])
    one = radius_mm * (1.0 - 0.66 * steps**2)
    return np.broadcast_to(one, points.shape[:2]).astype(np.float32)


def brow_roots(skin: Surface) -> Roots:
    """Places from which anybody's brow hairs grow."""
    rest = skin.attributes["rest"]
    x = np.abs(rest[:, 0])
    near = (x > 3.0) & (x < 64.0) & (rest[:, 1] > 6.0) & (rest[:, 1] < 34.0) & (rest[:, 2] > -25.0)
    return scatter(skin, near.astype(float), _BROW_MM2, _rng(3))


def beard_roots(skin: Surface) -> Roots:
    """Places from which anybody's beard grows: neither lips, mouth nor ears."""
    regions = skin.attributes
    rest = regions["rest"].astype(np.float64)
    low = (rest[:, 1] < 16.0) & (rest[:, 1] > -128.0) & (rest[:, 2] > -72.0)
    bare = (regions["lips"] < 0.3) & (regions["mouth_inside"] < 0.1) & (regions["ears"] < 0.3)
    thickest = np.maximum.reduce([beard_density(Beard(kind, 1, 1, 1, 0, 0, 0), rest)
                                  for kind in ("full", "goatee")])  # fmt: skip
    return scatter(skin, (thickest * low * bare > 0).astype(float), _BEARD_MM2, _rng(4))


def _rng(number: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_SEED, spawn_key=(number,))))
