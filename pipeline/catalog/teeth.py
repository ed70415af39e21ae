"""Teeth and gums on two dental arches, in place of the data's plain bands.

An arch is an ellipse in the plane y = const: x = half width sin(t), z = front - depth (1 - cos t).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import FloatArray

Attributes = dict[str, NDArray[np.float32]]

# Per tooth from the middle outwards: width along the arch, height, thickness (mm).
_UPPER = (
    (8.4, 10.2, 6.0), (6.6, 9.0, 5.6), (7.5, 10.0, 6.6), (6.8, 8.4, 7.6), (6.6, 7.8, 7.8),
    (9.8, 7.2, 9.0), (9.4, 6.8, 9.0),
)  # fmt: skip
_LOWER = (
    (5.4, 8.8, 5.2), (5.9, 8.8, 5.4), (6.8, 9.8, 6.2), (6.9, 8.4, 6.8), (7.0, 8.0, 7.2),
    (10.6, 7.2, 8.8), (10.2, 6.8, 8.8),
)  # fmt: skip
_GUM_HALF_HEIGHT_MM, _GUM_HALF_DEPTH_MM = 5.0, 4.4


@cache
def _rounded_box(steps: int = 4) -> tuple[FloatArray, NDArray[np.int64]]:
    """A box of half size 1 with round edges: vertices (n, 3) and quads."""
    grid = np.linspace(-1.0, 1.0, steps + 1)
    u, v = np.meshgrid(grid, grid, indexing="ij")
    sheets: list[FloatArray] = []
    quads: list[NDArray[np.int64]] = []
    cell = np.arange((steps + 1) ** 2).reshape(steps + 1, steps + 1)
    square = np.stack([cell[:-1, :-1], cell[1:, :-1], cell[1:, 1:], cell[:-1, 1:]], -1)
    for axis in range(3):
        for sign in (-1.0, 1.0):
            sheet = np.empty((steps + 1, steps + 1, 3))
            sheet[..., axis], sheet[..., (axis + 1) % 3], sheet[..., (axis + 2) % 3] = sign, u, v
            offset = len(sheets) * cell.size
            turned = square if sign > 0.0 else square[..., ::-1]
            sheets.append(sheet.reshape(-1, 3))
            quads.append(turned.reshape(-1, 4) + offset)
    points, index = np.unique(np.concatenate(sheets).round(9), axis=0, return_inverse=True)
    norm = (np.abs(points) ** 5).sum(axis=1) ** 0.2
    return points / norm[:, None], index.reshape(-1)[np.concatenate(quads)].astype(np.int64)


def _crown(size: tuple[float, float, float], place: int) -> FloatArray:
    """One upper tooth: x along the arch, y up with the biting edge at 0, z to the lip."""
    box, _ = _rounded_box()
    width, height, depth = size
    up = (box[:, 1] + 1.0) / 2.0
    narrow = 1.0 - 0.16 * up**2
    blade = (0.5 + 0.5 * np.clip(up * 1.5, 0.0, 1.0)) if place < 3 else 1.0
    point = 0.9 * box[:, 0] ** 2 if place == 2 else 0.0
    x = box[:, 0] * narrow * (0.5 * width - 0.03)
    y = height * up + point * (1.0 - up)
    z = box[:, 2] * blade * 0.5 * depth
    return np.stack([x, y, z - 0.5 * depth], axis=1)


def _on_arch(local: FloatArray, turn: FloatArray, half_width: float, depth: float) -> FloatArray:
    """Points whose x runs along the arch from angle `turn`, moved onto it; front at z = 0."""
    x, z = half_width * np.sin(turn), depth * (np.cos(turn) - 1.0)
    tangent = np.stack([half_width * np.cos(turn), 0.0 * turn, -depth * np.sin(turn)], -1)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    normal = np.cross(tangent, [0.0, 1.0, 0.0])
    moved = local[:, :1] * tangent + local[:, 2:] * normal
    return moved + np.stack([x, local[:, 1], z], -1)


@cache
def _arch(
    sizes: tuple[tuple[float, float, float], ...], half_width: float, depth: float
) -> tuple[FloatArray, NDArray[np.int64], Attributes]:
    """An upper row: vertices, quads, attributes as of `both_rows`. Biting edge at y = 0, front
    teeth at z = 0."""
    _, quads = _rounded_box()
    turns = np.linspace(0.0, 1.5, 400)
    steps = np.hypot(half_width * np.cos(turns), depth * np.sin(turns)) * (turns[1] - turns[0])
    length = np.cumsum(steps) - steps[0]
    vertices: list[FloatArray] = []
    faces: list[NDArray[np.int64]] = []
    neck: list[FloatArray] = []
    start, count = 0.0, 0
    for place, size in enumerate(sizes):
        turn = float(np.interp(start + 0.5 * size[0], length, turns))
        start += size[0]
        for sign in (-1.0, 1.0):
            local = _crown(size, place)
            at = np.full(len(local), sign * turn)
            vertices.append(_on_arch(local, at, half_width, depth))
            faces.append(quads + count)
            neck.append(np.square(np.clip(local[:, 1] / (0.75 * size[1]), 0.0, 1.0)))
            count += len(local)
    last = float(np.interp(start, length, turns))
    tube, tube_faces = _gum(last, half_width, depth, sizes[0][1])
    vertices.append(tube)
    faces.append(tube_faces + count)
    neck.append(np.ones(len(tube)))
    points = np.concatenate(vertices)
    attributes = {
        "gum": np.arange(len(points)) >= count,
        "neck": np.concatenate(neck),
        "depth": np.clip((-points[:, 2] - 7.0) / 22.0, 0.0, 1.0),
    }
    return points, np.concatenate(faces), {k: v.astype(np.float32) for k, v in attributes.items()}


def _gum(
    last: float, half_width: float, depth: float, height: float
) -> tuple[FloatArray, NDArray[np.int64]]:
    along, around = 48, 12
    turns = np.repeat(np.linspace(-last, last, along), around)
    angle = np.tile(np.arange(around) * (2.0 * np.pi / around), along)
    rise = 0.82 * height - 1.6 * np.abs(turns) / last
    local = np.stack(
        [
            0.0 * turns,
            rise + _GUM_HALF_HEIGHT_MM * (1.0 + np.sin(angle)) - 1.2,
            _GUM_HALF_DEPTH_MM * np.cos(angle) - 3.6,
        ],
        axis=1,
    )
    index = np.arange(along * around).reshape(along, around)
    ahead = np.roll(index, -1, axis=1)
    quads = np.stack([index[:-1], index[1:], ahead[1:], ahead[:-1]], axis=-1)
    return _on_arch(local, turns, half_width, depth), quads.reshape(-1, 4).astype(np.int64)


def _rigid(before: FloatArray, after: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotation (3, 3) and translation (3,) that best carry one (n, 3) set to the other."""
    a, b = before.mean(axis=0), after.mean(axis=0)
    u, _, vt = np.linalg.svd((before - a).T @ (after - b))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ flip @ vt).T
    return rotation, b - rotation @ a


def both_rows(
    upper: tuple[FloatArray, FloatArray], lower: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, NDArray[np.int64], Attributes]:
    """Vertices (n, 3) mm, quads (m, 4) and attributes (n,) of both rows: `gum` 0 or 1, `neck`
    0..1 from a tooth's biting edge to the gum, `depth` 0..1 from the lips to the back.

    upper, lower: the data's rough row of teeth, (k, 3) mm each, on the neutral face and on the
    face with its expression; place and size follow the first, the jaw's motion the second.
    """
    rows = []
    for (neutral, moved), sizes, up in ((upper, _UPPER, 1.0), (lower, _LOWER, -1.0)):
        low, high = neutral.min(axis=0), neutral.max(axis=0)
        scale = float(high[0] - low[0]) / 65.0
        front = neutral[neutral[:, 2] > high[2] - 4.0 * scale]
        edge = front[:, 1].min() - 0.4 if up > 0.0 else front[:, 1].max() + 0.6
        vertices, faces, attributes = _arch(sizes, 27.5, 47.0)
        if up < 0.0:
            faces = faces[:, ::-1]
        setback = 0.6 if up > 0.0 else 1.2
        place = np.array([(low[0] + high[0]) / 2.0, edge, high[2] - setback])
        vertices = vertices * scale * [1.0, up, 1.0] + place
        rotation, shift = _rigid(neutral, moved)
        rows.append((vertices @ rotation.T + shift, faces, attributes))
    (a, a_faces, upper_attributes), (b, b_faces, lower_attributes) = rows
    faces = np.concatenate([a_faces, b_faces + len(a)])
    attributes = {
        key: np.concatenate([values, lower_attributes[key]])
        for key, values in upper_attributes.items()
    }
    return np.concatenate([a, b]), faces, attributes
