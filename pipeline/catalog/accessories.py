"""Earrings, necklaces, and things held or worn before the lower face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_matrix

from pipeline.catalog.chart import Chart
from pipeline.catalog.cloth import Mantle, Patch, made, tube
from pipeline.catalog.fabrics import Fabric
from pipeline.catalog.fields import atan2
from pipeline.catalog.sweep import (
    Body,
    cylinder,
    ellipsoid,
    join,
    ring_body,
    sweep,
    tube_body,
    wire,
)
from pipeline.catalog.torso import TURNS
from pipeline.geometry import FloatArray, Material, Surface

METALS: Mapping[str, Material] = {
    "gold": Material((1.000, 0.766, 0.336), metallic=1.0, roughness=0.2),
    "silver": Material((0.972, 0.960, 0.915), metallic=1.0, roughness=0.2),
    "rose_gold": Material((0.965, 0.690, 0.545), metallic=1.0, roughness=0.25),
    "pearl": Material((0.74, 0.70, 0.64), roughness=0.18, ior=1.53),
    "black": Material((0.012, 0.012, 0.013), roughness=0.25),
    "turquoise": Material((0.06, 0.35, 0.34), roughness=0.3),
    "red": Material((0.35, 0.015, 0.02), roughness=0.3),
}
#: Where an earlobe is pierced, on the average head, mm.
_LOBE = np.array([75.0, -40.0, -68.0])
#: The axis about which the lower face is nearly round, and the mask's nodes on it.
_AXIS_Z = -70.0
_MASK_TURNS = np.linspace(-58.0, 58.0, 47)
_MASK_ROWS = np.linspace(0.0, 1.0, 25)


@dataclass(frozen=True, eq=False)
class Places:
    """Where things go, on all people: vertices of skin, and a map (k, n) to a mask's nodes.

    lobes, cheeks, ears: on the left and the right. mouth, chin: of lower lip and chin.
    """

    lobes: tuple[int, int]
    mouth: int
    chin: int
    cheeks: tuple[int, int]
    ears: tuple[int, int]
    mask: csr_matrix


def find_places(rest: FloatArray, attributes: Mapping[str, NDArray[np.float32]]) -> Places:
    """These places on skin with vertices at `rest` (n, 3) mm."""
    outside = attributes["mouth_inside"] < 0.02

    def nearest(x: float, y: float, z: float) -> int:
        away = np.linalg.norm(rest - np.array([x, y, z]), axis=1)
        return int(np.where(outside, away, np.inf).argmin())

    lobes, cheeks, ears = (
        (nearest(*(point * (1, 1, 1))), nearest(*(point * (-1, 1, 1))))
        for point in (_LOBE, np.array([58.0, -62.0, -25.0]), np.array([80.0, -22.0, -78.0]))
    )
    x, y, z = rest.T
    turn = np.degrees(atan2(x, z - _AXIS_Z))
    used = np.flatnonzero(
        outside & (np.abs(turn) < 75.0) & (y > -112.0) & (y < 5.0) & (attributes["ears"] < 0.02)
        & (np.hypot(x, z - _AXIS_Z) > 55.0)
    )  # fmt: skip
    chart = Chart(np.stack([1.2 * turn[used], y[used]], axis=1), used, len(rest))
    places = np.stack([1.2 * _mask_turns().ravel(), _mask_heights().ravel()], axis=1)
    return Places(
        lobes, nearest(0.0, -60.0, 35.0), nearest(0.0, -98.0, 23.0),
        cheeks, ears, chart.at(places),
    )  # fmt: skip


def _mask_turns() -> FloatArray:
    return np.asarray(np.meshgrid(_MASK_TURNS, _MASK_ROWS, indexing="ij")[0])


def _mask_heights() -> FloatArray:
    """mm on the average head: from under the pads of glasses and the cheeks to the chin."""
    aside = np.abs(_MASK_TURNS)
    top = np.interp(aside, [0, 8, 16, 30, 58], [-27.0, -31.0, -43.0, -47.0, -46.0])
    low = np.interp(aside, [0, 20, 40, 58], [-109.0, -106.0, -94.0, -70.0])
    return np.asarray(top[:, None] + (low - top)[:, None] * _MASK_ROWS)


def _jewel(body: Body, material: Material) -> Surface:
    return Surface(body.vertices, body.faces, material=material)


def _ring(centre: FloatArray, across: FloatArray, radius: float, thick: float) -> Body:
    """A round hoop in the plane of `across` (3,) and the vertical."""
    turn = np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False)[:, None, None]
    around = np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False)[None, :, None]
    up = np.array([0.0, 1.0, 0.0])
    side = np.cross(across, up)
    out = np.cos(turn) * across + np.sin(turn) * up
    rings = centre + out * (radius + thick * np.cos(around)) + thick * np.sin(around) * side
    return ring_body(rings)


def earrings(
    kind: str, size: float, metal: str, places: Places, skin: FloatArray
) -> dict[str, Surface]:
    """'studs', 'hoops' or 'drops' in both lobes, or a 'stud' in the left one; `size` 0..1."""
    bodies = []
    for side, lobe in zip((1.0, -1.0), places.lobes, strict=True):
        if kind == "stud" and side < 0.0:
            continue
        at = skin[lobe] + np.array([1.0 * side, 0.0, 0.4])
        if kind in ("stud", "studs"):
            radius = 1.6 + 2.4 * size
            bodies.append(ellipsoid(at, radius * np.eye(3), rows=8, cols=16))
            continue
        if kind == "hoops":
            radius = 7.0 + 11.0 * size
            across = np.array([0.35 * side, 0.0, 0.94])
            hang = at + np.array([0.8 * side, 2.0 - radius, 0.0])
            bodies.append(_ring(hang, across, radius, 0.9 + 0.6 * size))
            continue
        low = at - np.array([-1.5 * side, 9.0 + 20.0 * size, -1.0])
        bend = at + np.array([0.7 * side, -4.0, 0.4])
        bodies.append(wire([at, bend, low], 0.5, count=10, sides=6))
        axes = np.diag([2.6 + 1.5 * size, 2.6 + 1.5 * size, 5.0 + 3.0 * size])[:, [0, 2, 1]]
        bodies.append(ellipsoid(low, axes, rows=10, cols=16))
    return {"earrings": _jewel(join(bodies), METALS[metal])}


def necklace(mantle: Mantle, size: float, metal: str) -> Surface:
    """A chain lying on what a mantle shows, `size` 0..1 how thick, a pendant on it if thin."""
    ahead = np.clip(1.0 - np.abs(TURNS) / 100.0, 0.0, 1.0)
    down = 36.0 + (22.0 + 18.0 * size) * ahead**1.3
    radius = 0.7 + 0.7 * size
    # Links: the chain is thicker and thinner in turn.
    angle = np.linspace(0.0, 2.0 * np.pi, 9)
    rings = mantle.above(
        down[:, None] + radius * np.cos(angle), radius * 1.2 + radius * np.sin(angle)
    )
    vertices, faces = tube(rings)
    pieces: list[Patch] = [(vertices, faces[:, ::-1], vertices)]
    if size < 0.5:
        at = rings[len(TURNS) // 2].mean(axis=0) + np.array([0.0, -6.0, 1.0])
        drop = ellipsoid(at, np.array([[4.0, 0, 0], [0, 0, 1.4], [0, 6.0, 0.5]]), rows=8, cols=16)
        pieces.append((drop.vertices, drop.faces, drop.vertices))
    return made(pieces, METALS[metal])


def held(
    kind: str, color: Fabric, places: Places, skin: FloatArray, side: int
) -> dict[str, Surface]:
    """A surgical 'mask', or a 'phone', 'mug' or 'microphone' in front of skin (n, 3) mm.

    side: 0 the left, 1 the right.
    """
    return {"mask": _mask, "phone": _phone, "mug": _mug, "microphone": _microphone}[kind](
        color, places, skin, side
    )


def _mask(color: Fabric, places: Places, skin: FloatArray, side: int) -> dict[str, Surface]:
    shape = (len(_MASK_TURNS), len(_MASK_ROWS))
    points = (places.mask @ skin).reshape(*shape, 3)
    middle = np.array([0.0, 0.0, skin[[*places.ears], 2].mean() + 8.0])
    arms = (points - middle) * (1.0, 0.0, 1.0)
    out = np.linalg.norm(arms, axis=2)
    # Taut from nose to chin and to either side, so hollows are bridged.
    taut = out
    for _ in range(24):
        taut = np.maximum(gaussian_filter(taut, (1.2, 2.2), mode="nearest"), out)
    edge = np.minimum(_MASK_ROWS, 1.0 - _MASK_ROWS)
    hem = np.interp(edge, [0.0, 0.25], [0.0, 1.0])
    pleats = 1.3 * np.abs(np.sin(np.pi * 4.0 * np.clip(_MASK_ROWS, 0.1, 0.9)))
    aside = np.clip(1.2 - (np.abs(_MASK_TURNS) / 58.0) ** 4, 0.0, 1.0)[:, None]
    taut = out + (taut - out) * hem * aside + 1.6 + pleats * hem * aside
    made_of = points + arms / out[..., None] * (taut - out)[..., None]
    vertices, faces = _patch(made_of)
    loops = []
    for row, ear in ((0, places.ears[0]), (1, places.ears[1])):
        column = -1 if row == 0 else 0
        outward = np.array([1.0 if row == 0 else -1.0, 0.0, 0.0])
        behind = skin[ear] + np.array([0.0, 6.0, -14.0]) - 5.0 * outward
        for end in (made_of[column, 1], made_of[column, -2]):
            path = [end, 0.5 * (end + skin[ear]) + 5.0 * outward, skin[ear] + 2.5 * outward, behind]
            loops.append(wire(path, 1.1, count=16, sides=6))
    return {
        "mask": made([(vertices, faces, vertices)], color.material()),
        "loops": _jewel(join(loops), Material((0.7, 0.7, 0.7), roughness=0.8)),
    }


def _patch(grid: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Vertices and quads of a grid (n, k, 3), n to the left and k down, seen from in front."""
    n, k = grid.shape[:2]
    i, j = np.meshgrid(np.arange(n - 1), np.arange(k - 1), indexing="ij")
    a = i * k + j
    quads = np.stack([a, a + 1, a + k + 1, a + k], axis=-1)
    return grid.reshape(-1, 3), quads.reshape(-1, 4).astype(np.int64)


def _phone(color: Fabric, places: Places, skin: FloatArray, side: int) -> dict[str, Surface]:
    """Held to the ear, its lower end towards the mouth."""
    ear, cheek = skin[places.ears[side]], skin[places.cheeks[side]]
    outward = np.array([1.0 if side == 0 else -1.0, 0.0, 0.0])
    along = cheek - ear + 0.16 * np.linalg.norm(cheek - ear) * outward
    along /= np.linalg.norm(along)
    normal = outward - along * (along @ outward)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, along)
    centre = ear + 12.0 * normal + 42.0 * along
    corner = np.radians(np.arange(0, 360, 10) + 5.0)
    power = 0.28
    flat = np.stack([np.cos(corner), np.sin(corner)], axis=1)
    flat = np.sign(flat) * np.abs(flat) ** power
    ring = 36.0 * flat[:, :1] * across + 73.0 * flat[:, 1:] * along
    heights = np.array([-4.0, -3.6, -2.8, 2.8, 3.6, 4.0])
    scale = np.array([0.955, 0.985, 1.0, 1.0, 0.985, 0.955])
    rings = centre + scale[:, None, None] * ring + heights[:, None, None] * normal
    return {"phone": _jewel(tube_body(rings), Material(color.color, roughness=0.25))}


def _mug(color: Fabric, places: Places, skin: FloatArray, side: int) -> dict[str, Surface]:
    """Before the chin, its rim below the lips."""
    rim = 0.45 * skin[places.mouth] + 0.55 * skin[places.chin]
    front = float(skin[[places.mouth, places.chin], 2].max())
    centre = np.array([rim[0], rim[1] + 2.0, front + 48.0])
    heights = np.array([-6.0, -1.0, 0.0, -1.0, -20.0, -70.0, -92.0, -95.0])
    radii = np.array([37.5, 37.8, 39.0, 40.0, 40.0, 40.0, 39.0, 36.0])
    turn = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(turn), np.zeros_like(turn), np.sin(turn)], axis=1)
    rings = centre + radii[:, None, None] * circle
    rings[..., 1] += heights[:, None]
    sign = 1.0 if side == 0 else -1.0
    arc = np.radians(np.linspace(100.0, -100.0, 20))
    path = centre + np.stack([sign * (39.0 + 24.0 * np.cos(arc)), -47.0 + 28.0 * np.sin(arc),
                              np.zeros_like(arc)], axis=1)  # fmt: skip
    oval = 4.5 * np.stack([np.cos(turn[::4]), 1.3 * np.sin(turn[::4])], axis=1)
    handle = tube_body(sweep(path, oval, up=(0.0, 0.0, 1.0)))
    return {"mug": _jewel(join([tube_body(rings), handle]), Material(color.color, roughness=0.22))}


def _microphone(color: Fabric, places: Places, skin: FloatArray, side: int) -> dict[str, Surface]:
    mouth = skin[places.mouth]
    way = np.array([0.25 if side == 0 else -0.25, -0.86, 0.44])
    way /= np.linalg.norm(way)
    ball = mouth + np.array([0.0, -16.0, 42.0])
    dark = Material((0.015, 0.015, 0.016), roughness=0.5)
    head = ellipsoid(ball, 24.0 * np.eye(3), rows=16, cols=28)
    grip = join(
        [
            cylinder(ball + 28.0 * way, way, 22.0, 16.0),
            cylinder(ball + 125.0 * way, way, 15.0, 190.0),
        ]
    )
    steel = Material((0.35, 0.35, 0.36), metallic=1.0, roughness=0.45)
    return {"microphone": _jewel(head, steel), "grip": _jewel(grip, dark)}
