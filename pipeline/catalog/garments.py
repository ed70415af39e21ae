"""Shirts, jumpers, jackets and scarves, made on a `Drape`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.catalog.cloth import Drape, Mantle, Patch, cut, sheet, tube
from pipeline.catalog.sweep import ellipsoid
from pipeline.catalog.torso import TURNS, Torso, wavy
from pipeline.geometry import FloatArray


@dataclass(frozen=True)
class Cut:
    """How a top is cut.

    front, side, back: mm of the chart at which it ends. point_deg: over which a pointed neckline
    rises to either side, 0 for a round one. ease, thickness, rib: mm.
    """

    front: float
    side: float
    back: float
    point_deg: float = 0.0
    ease: float = 4.0
    thickness: float = 1.8
    rib: float = 0.0


#: A collar that is open by less in front is buttoned.
_CLOSED_DEG = 4.0

CUTS = {
    "crew": Cut(47.0, 42.0, 37.0, rib=17.0),
    "v_neck": Cut(88.0, 45.0, 38.0, 62.0, rib=14.0),
    "scoop": Cut(82.0, 58.0, 44.0, rib=9.0),
    "polo": Cut(66.0, 39.0, 36.0, 16.0, rib=0.0),
    "shirt": Cut(43.0, 39.0, 35.0, ease=5.0),
    "open_shirt": Cut(84.0, 40.0, 35.0, 44.0, ease=5.0),
    "turtleneck": Cut(30.0, 30.0, 30.0, ease=5.0, thickness=2.5),
    "sweater": Cut(44.0, 41.0, 36.0, ease=6.0, thickness=3.0, rib=24.0),
    "hoodie": Cut(64.0, 42.0, 38.0, 75.0, ease=7.0, thickness=3.0, rib=8.0),
}


def neckline(shape: Cut, depth: float, turn: FloatArray) -> FloatArray:
    """mm of the chart at which a top ends, for each `turn` in degrees; `depth` mm more in front."""
    away = np.abs((np.asarray(turn) + 180.0) % 360.0 - 180.0)
    around = np.cos(np.radians(np.clip(away, 0.0, 180.0)))
    line = shape.side + (shape.back - shape.side) * np.clip(-around, 0.0, 1.0) ** 1.5
    front = shape.front + depth - shape.side
    if not shape.point_deg:
        return np.asarray(line + front * np.clip(around, 0.0, 1.0) ** 1.5)
    # A straight edge on the chest, its lowest point a little rounded.
    share = 1.0 - np.hypot(away, 1.5) / shape.point_deg
    return np.asarray(line + front * np.clip(share, 0.0, 1.0))


def body(
    drape: Drape, inside: FloatArray, ease: float, thickness: float, seen: FloatArray
) -> tuple[FloatArray, Patch]:
    """Cloth `inside` a neckline as if on the whole torso, (t, 3) mm; the piece that can be `seen`.

    Both (t,) mm, positive there.
    """
    cloth = drape.cloth(inside, ease, thickness)
    vertices, faces, (place,) = cut(cloth, drape.torso.fine_faces, seen, drape.torso.rest)
    return cloth, (vertices, faces, place)


def rib(mantle: Mantle, line: FloatArray, width: float, thickness: float) -> Patch:
    """A band along a neckline, (turns,) mm, on the cloth of a mantle; its edge tucked in."""
    arc = np.radians(2.5) * 52.0
    slope = np.abs(np.roll(line, -1) - np.roll(line, 1)) / (2.0 * arc)
    wide = np.minimum(np.hypot(1.0, slope), 2.2)
    steps = np.array(
        [4.0, -0.4, -1.0, -0.7, 0.5, 2.5, 0.35 * width, 0.7 * width, width - 1.5, width, width + 1]
    )
    outside = np.array([-0.2, 0.9, 1.5, 1.6, 1.7, 1.7, 1.5, 0.9, -0.6]) * (0.5 + 0.25 * thickness)
    # Heights are measured aslant of most skin, hence the half more.
    heights = np.concatenate([[-1.5 * thickness - 3.0, -1.5 * thickness - 1.5], outside])
    down = line[:, None] + wide[:, None] * steps
    vertices, faces = tube(mantle.above(down, heights))
    # Ribs run square to the band: the pattern's first axis follows it, the second crosses it.
    along = np.broadcast_to(np.radians(TURNS)[:, None] * 56.0, down.shape)
    return vertices, faces, _places(along, np.broadcast_to(steps, down.shape))


def _places(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.stack([first, second, np.zeros_like(first)], axis=-1).reshape(-1, 3)


def collar(
    skin: Mantle, cloth: Mantle, seam: FloatArray, gap_deg: float, stand: float, fall: float,
    point: float, thickness: float = 1.3, spread: float = 0.25,
) -> list[Patch]:  # fmt: skip
    """A turned-down collar that begins `gap_deg` on either side of the front; pieces.

    If that is hardly anything, the stand is closed there. seam: (turns,) mm, to the cloth. stand,
    fall: mm behind; `point`: mm more of fall in front. spread: how far the fall stands off, of its
    length.
    """
    away = np.abs(TURNS)
    ahead = np.clip(1.0 - (away - gap_deg) / 75.0, 0.0, 1.0)
    up = skin.out_up(seam[:, None])[1][:, 0]
    height = stand * (1.0 - 0.22 * ahead)
    share = np.array([0.0, 0.3, 0.6, 0.85, 1.0])
    ups = up[:, None] - 3.0 + (height[:, None] + 3.0) * share
    neck = np.maximum(skin.out_at(ups), skin.out_at(ups - 6.0) - 6.0)
    clear = 2.5 + 3.0 * share
    # A collar stands by itself: hollows of the neck do not draw it in.
    inner = _even(np.maximum.accumulate((neck + clear)[:, ::-1], axis=1)[:, ::-1] * 1.0, 6)
    inner = np.maximum(inner, neck + clear)
    top_out, top_up = inner[:, -1:], ups[:, -1:]
    length = fall + point * ahead**2
    run = np.array([0.12, 0.3, 0.5, 0.7, 0.85, 1.0])
    down = top_up - length[:, None] * run
    outer = top_out + 4.5 + spread * length[:, None] * run**1.15
    outs = np.concatenate([inner, top_out + 1.2, top_out + 3.4, outer], axis=1)
    ups = np.concatenate([ups, top_up + 1.6, top_up + 0.8, down], axis=1)
    # Front edges of the fall run outwards, to its points.
    turns = np.repeat(TURNS[:, None], outs.shape[1], axis=1)
    turns[:, -6:] += np.sign(TURNS)[:, None] * 20.0 * (ahead**2)[:, None] * run
    points = cloth.kept_above(outs, ups, 2.0 + thickness, turns)
    points[:, :5] = skin.kept_above(outs[:, :5], ups[:, :5], 0.8)
    first = np.flatnonzero(away >= gap_deg)
    order = first[np.argsort(TURNS[first] % 360.0)]
    pieces = [_strip(points[order], TURNS[order] % 360.0, thickness)]
    if gap_deg < _CLOSED_DEG:
        closing = np.flatnonzero(away < 3.0 * _CLOSED_DEG)
        # Thinner, so that its sides lie within the collar: surfaces that coincide have no order.
        pieces.append(_strip(points[closing, :5], TURNS[closing], thickness - 0.5))
    return pieces


def _strip(grid: FloatArray, turns: FloatArray, thickness: float) -> Patch:
    """A sheet about a grid (n, k, 3) whose pattern runs round the neck, and across it."""
    made = sheet(grid, thickness)
    steps = np.linalg.norm(np.diff(grid, axis=1, prepend=grid[:, :1]), axis=2)
    across = np.cumsum(steps, axis=1)
    place = _places(np.broadcast_to(np.radians(turns)[:, None] * 60.0, across.shape), across)
    return made.vertices, made.faces, np.concatenate([place, place])


def _even(values: FloatArray, width: int) -> FloatArray:
    """(turns, k) averaged over `width` neighbours on either side round the neck."""
    total = sum(np.roll(values, i, axis=0) for i in range(-width, width + 1))
    return np.asarray(total / (2 * width + 1))


def roll_neck(skin: Mantle, cloth: Mantle, height: float) -> Patch:
    """The turned-down collar of a turtleneck, `height` mm high at the neck's root."""
    lift = height * np.array([0.55, 0.9, 1.0, 1.06, 1.05, 0.97, 0.75, 0.5, 0.25, 0.02, -0.02, 0.05])
    clear = np.array([-1.0, 0.3, 1.2, 2.6, 4.2, 5.6, 6.2, 6.6, 7.2, 7.8, 6.5, 2.0])
    ups = np.broadcast_to(lift, (len(TURNS), len(lift)))
    outs = _even(skin.out_at(ups), 2) + clear
    points = cloth.kept_above(outs, ups, -2.0)
    points[:, 3:-2] = cloth.kept_above(outs[:, 3:-2], ups[:, 3:-2], 1.5)
    vertices, faces = tube(points)
    along = np.broadcast_to(np.radians(TURNS)[:, None] * 60.0, ups.shape)
    return vertices, faces, _places(along, ups)


def roll(
    cloth: Mantle, at: FloatArray, wide: FloatArray, high: FloatArray, seed: int, crumple: float
) -> Patch:
    """A roll of cloth round the neck: its middle `at`, half as wide and as high, (turns,) mm."""
    angle = np.linspace(0.0, 2.0 * np.pi, 22)
    turn, around = np.meshgrid(np.radians(TURNS), angle, indexing="ij")
    # Folds run round the neck, somewhat aslant.
    ring = np.stack([60.0 * np.sin(turn), 60.0 * np.cos(turn), 38.0 * around], axis=-1)
    ring[..., 2] = 26.0 * np.sin(around) + 14.0 * np.sin(turn + 0.5)
    flat = np.concatenate([ring.reshape(-1, 3), 26.0 * np.cos(around).reshape(-1, 1)], axis=1)
    noise = wavy(flat[:, [0, 1, 2]], (70.0, 70.0, 9.0), seed)
    noise += wavy(flat[:, [0, 1, 3]], (60.0, 60.0, 9.0), seed + 1)
    folds = 1.0 + crumple * (np.abs(noise).reshape(turn.shape) - 1.0)
    down = at[:, None] - wide[:, None] * folds * np.cos(around)
    height = high[:, None] * (0.9 + folds * np.sin(around))
    vertices, faces = tube(cloth.above(down, np.maximum(height, -2.0)))
    return vertices, faces, _places(turn * 70.0, around * 30.0)


def fastening(drape: Drape, cloth: FloatArray, top: float, buttons: list[float]) -> list[Patch]:
    """A placket down the front from y `top`, mm on the average head, and buttons on it, pieces."""
    y, x = np.meshgrid(np.arange(top, -650.0, -9.0), np.linspace(-15.0, 15.0, 7), indexing="ij")
    front = drape.torso.before(x, y)
    lift = np.array([-0.6, 0.9, 1.2, 1.2, 1.2, 0.9, -0.6])
    grid = (front @ cloth).reshape(*x.shape, 3) + lift[:, None] * np.array([0.0, 0.1, 0.995])
    # Of a placket only the front is seen.
    i, j = np.meshgrid(np.arange(len(y) - 1), np.arange(6), indexing="ij")
    a = i * 7 + j
    quads = np.stack([a, a + 7, a + 8, a + 1], axis=-1).reshape(-1, 4)
    place = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    pieces = [(grid.reshape(-1, 3), quads, place)]
    for height in buttons:
        (middle,) = drape.torso.before(np.zeros(1), np.array([height])) @ cloth
        axes = np.array([[5.2, 0.0, 0.0], [0.0, 5.2, 0.9], [0.0, -0.3, 1.5]])
        knob = ellipsoid(middle + np.array([0.0, 0.2, 1.9]), axes, rows=6, cols=16)
        pieces.append((knob.vertices, knob.faces, knob.vertices))
    return pieces


def jacket_inside(torso: Torso, low: float) -> FloatArray:
    """(t,) mm within the edge of a jacket that closes at y `low` on the average head."""
    x, y, z = torso.rest.T
    before = np.abs(x) - jacket_edge(y, low) + 2.5 * np.maximum(-95.0 - z, 0.0)
    return np.asarray(np.minimum(torso.down - 42.0, before))


def jacket_edge(y: FloatArray, low: float) -> FloatArray:
    """mm from the middle to a jacket's edge at y."""
    return np.asarray(np.interp(-y, [130.0, 170.0, -low, 700.0], [66.0, 64.0, 2.0, 2.0]))


def lapels(drape: Drape, cloth: FloatArray, low: float, width: float) -> list[Patch]:
    """Both lapels, lying on a jacket, from the collar down to where it closes."""
    pieces = []
    rows = np.linspace(0.0, 1.0, 40)
    share = np.linspace(0.0, 1.0, 9)
    tops = np.array([-178.0, -186.0])
    for side in (1.0, -1.0):
        # The upper edge falls outwards, to the notch.
        begin = tops[0] + (tops[1] - tops[0]) * share
        y = begin[None] + (low + 6.0 - begin[None]) * rows[:, None]
        reach = width * np.interp(rows, [0.0, 0.12, 0.2, 1.0], [0.86, 1.0, 1.0, 0.06])
        x = side * (jacket_edge(y, low) - 1.5 + share * reach[:, None])
        points = (drape.torso.before(x, y) @ cloth).reshape(*x.shape, 3)
        lift = 3.0 + 3.5 * np.exp(-((share / 0.22) ** 2)) * (1.0 - 0.5 * rows[:, None])
        points = points + lift[..., None] * np.array([0.15 * side, 0.2, 0.97])
        grid = points if side < 0.0 else points[:, ::-1]
        lapel = sheet(grid[::-1], 1.8)
        place = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
        pieces.append((lapel.vertices, lapel.faces, np.concatenate([place, place])))
    return pieces
