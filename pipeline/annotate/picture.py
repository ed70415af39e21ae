"""A picture of surfaces and points, seen from four sides: no screen, no Blender.

Rays are cast with embree, one view after another, without perspective; the light is fixed to the
camera, so that relief shows from every side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from pipeline.geometry import RGB, FloatArray, Material, Surface
from pipeline.transforms import apply, compose, rotation_about

Image = NDArray[np.uint8]
#: Colours of points in the order they come, sRGB: those of both sides of a pair are far apart.
POINT_COLOURS = ((30, 110, 255), (255, 60, 40), (0, 200, 215), (255, 150, 0),
                 (150, 60, 230), (60, 160, 40), (240, 80, 190), (120, 90, 40))  # fmt: skip
#: No more is shown than lies this far from what must be: a head fits, a body need not.
_REACH_MM = 150.0
_BACKGROUND = 0.88
_SUPERSAMPLING = 2
_HIDDEN_MM = 2.0
#: What a surface that faces away from the light still shows, and where the light stands: above
#: and to the left of the camera.
_AMBIENT = 0.3
_LIGHT = np.array([-0.35, 0.45, 0.82])

_LEFT = rotation_about((0, 1, 0), -90.0)
#: Title and view_from_world: the camera looks along the view's -z, its y is up.
_VIEWS = (
    ("front", np.eye(4)),
    ("three-quarter, from the wearer's left", compose(
        rotation_about((1, 0, 0), 12.0), rotation_about((0, 1, 0), -40.0))),
    ("wearer's left side", _LEFT),
    ("wearer's right side", _LEFT.T),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Mesh:
    """Several surfaces as one mesh.

    vertices: (n, 3) mm. faces: (t, 3). normals: (n, 3). colours: (n, 3) linear, multiplied by the
    texture where there is one. uv: (n, 2). owner: surface of each face, (t,). opacity and
    textures: of each surface.
    """

    vertices: FloatArray
    faces: NDArray[np.int64]
    normals: FloatArray
    colours: NDArray[np.float32]
    uv: NDArray[np.float32]
    owner: NDArray[np.int32]
    opacity: FloatArray
    textures: Sequence[Image | None]


def draw(
    surfaces: Sequence[tuple[Surface, RGB] | tuple[Surface, RGB, float]],
    points: Mapping[str, FloatArray],
    size_px: int,
    about: FloatArray | None = None,
) -> Image:
    """Surfaces and named points from the front, both sides and a three-quarter view; with a legend.

    surfaces: each with the colour, linear Rec. 709, that it has where it has neither texture nor
    vertex colours, and its opacity, 1 if left out. points: name to (3,). All in mm in our frame.
    size_px: width of the picture. about: (k, 3), what the views must show, with 15 cm round it; the
    points if left out, and all there is without points. Returns (h, w, 3) uint8 sRGB. Points are
    filled where they can be seen, rings where something lies more than 2 mm in front of them.
    Raises ValueError if there is nothing to draw.
    """
    opaque = _merged([entry for entry in surfaces if _opacity(entry) >= 1])
    clear = _merged([entry for entry in surfaces if _opacity(entry) < 1])
    shown = np.reshape([*points.values()] if about is None else about, (-1, 3))
    middle, half_mm = _frame([opaque, clear], shown)
    opaque, clear = (_near(mesh, middle, 2 * half_mm) for mesh in (opaque, clear))
    side = max(16, size_px // 2)
    tiles = []
    for title, view_from_world in _VIEWS:
        tile = _view(opaque, clear, points, view_from_world, middle, half_mm, side)
        _write(tile, title, (round(0.02 * side), round(0.045 * side)), side)
        tiles.append(tile)
    rows = [np.concatenate(tiles[i : i + 2], axis=1) for i in (0, 2)]
    return np.concatenate([*rows, _legend(list(points), rows[0].shape[1], side)], axis=0)


def _opacity(entry: tuple) -> float:
    return float(entry[2]) if len(entry) > 2 else 1.0


def _merged(entries: Sequence[tuple]) -> _Mesh:
    count = sum(len(entry[0].vertices) for entry in entries)
    vertices, normals = np.zeros((count, 3)), np.zeros((count, 3))
    colours, uv = np.zeros((count, 3), np.float32), np.zeros((count, 2), np.float32)
    faces, owner = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int32)]
    textures: list[Image | None] = []
    start = 0
    for number, entry in enumerate(entries):
        surface: Surface = entry[0]
        own = slice(start, start + len(surface.vertices))
        triangles = surface.triangles()
        vertices[own], normals[own] = surface.vertices, _normals(surface)
        material = surface.material or Material()
        textures.append(material.texture if surface.uv is not None else None)
        if textures[-1] is not None:
            colours[own], uv[own] = material.base_color, surface.uv
        else:
            colours[own] = surface.attributes.get("color", entry[1])
        faces.append(triangles + start)
        owner.append(np.full(len(triangles), number, np.int32))
        start = own.stop
    opacity = np.array([_opacity(entry) for entry in entries])
    return _Mesh(vertices, np.concatenate(faces), normals, colours, uv, np.concatenate(owner),
                 opacity, textures)  # fmt: skip


def _normals(surface: Surface) -> FloatArray:
    """Normals of the vertices, (n, 3): the mean over the faces round each, by area."""
    faces = surface.triangles()
    a, b, c = np.moveaxis(surface.vertices[faces], 1, 0)
    flat = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    count = len(surface.vertices)
    sums = [np.bincount(faces.ravel(), flat[:, i], minlength=count) for i in range(3)]
    return _unit(np.stack(sums, axis=1))


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300)


def _frame(meshes: Sequence[_Mesh], shown: FloatArray) -> tuple[FloatArray, float]:
    """Middle, (3,) mm, and half the side of the square that each view shows."""
    vertices = np.concatenate([mesh.vertices[np.unique(mesh.faces)] for mesh in meshes])
    if not len(vertices):
        raise ValueError("nothing to draw: no surface has a face")
    if len(shown):
        near = (np.abs(vertices - shown.mean(axis=0)) < _REACH_MM).all(axis=1)
        vertices = np.concatenate([vertices[near], shown])
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    seen = [np.abs((vertices - middle) @ view[:2, :3].T).max() for _, view in _VIEWS]
    return middle, 1.06 * max(float(max(seen)), 1e-9)


def _near(mesh: _Mesh, middle: FloatArray, reach: float) -> _Mesh:
    """Without what lies further off along an axis: it would cost embree its precision."""
    corners = np.moveaxis(mesh.vertices[mesh.faces] - middle, 1, 0)
    near = (corners.min(axis=0) < reach) & (corners.max(axis=0) > -reach)
    faces = mesh.faces[near.all(axis=1)]
    used, local = np.unique(faces, return_inverse=True)
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=local.reshape(-1, 3),
        normals=mesh.normals[used],
        colours=mesh.colours[used],
        uv=mesh.uv[used],
        owner=mesh.owner[near.all(axis=1)],
    )


def _view(
    opaque: _Mesh,
    clear: _Mesh,
    points: Mapping[str, FloatArray],
    view_from_world: FloatArray,
    middle: FloatArray,
    half_mm: float,
    side: int,
) -> Image:
    """One view, (side, side, 3) uint8 sRGB, with its points."""
    fine = side * _SUPERSAMPLING
    colour, depth = _cast(opaque, view_from_world, middle, half_mm, fine)[:2]
    over, near, opacity = _cast(clear, view_from_world, middle, half_mm, fine)
    share = np.where(near > depth, opacity, 0.0)[..., None]
    colour = colour * (1 - share) + over * share
    colour = cv2.resize(colour, (side, side), interpolation=cv2.INTER_AREA)
    tile = np.ascontiguousarray((255 * _srgb(colour) + 0.5).astype(np.uint8))
    marks = []
    for point, marker in zip(points.values(), _colours(len(points)), strict=True):
        x, y, z = apply(view_from_world, np.asarray(point) - middle)
        column, row = side / 2 * (1 + x / half_mm), side / 2 * (1 - y / half_mm)
        pixel = np.clip(np.multiply((row, column), _SUPERSAMPLING), 0, fine - 1).astype(int)
        seen = bool(depth[pixel[0], pixel[1]] <= z + _HIDDEN_MM)
        marks.append(((seen, z), (column, row), marker))
    for (seen, _), at, marker in sorted(marks, key=lambda mark: mark[0]):
        _mark(tile, at, marker, seen, side)
    return tile


def _cast(
    mesh: _Mesh, view_from_world: FloatArray, middle: FloatArray, half_mm: float, size: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Linear colour (size, size, 3), height z above the middle, -inf for none, and opacity."""
    colour = np.full((size * size, 3), _BACKGROUND)
    depth, opacity = np.full(size * size, -np.inf), np.zeros(size * size)
    if len(mesh.faces):
        vertices = apply(view_from_world, mesh.vertices - middle)
        steps = half_mm * ((2 * np.arange(size) + 1) / size - 1)
        x, y = (grid.ravel() for grid in np.meshgrid(steps, -steps))
        start = np.full(size * size, vertices[mesh.faces, 2].max() + half_mm)
        solid = trimesh.Trimesh(vertices, mesh.faces, process=False, validate=False)
        down = np.broadcast_to([0.0, 0.0, -1.0], (size * size, 3))
        hits = solid.ray.intersects_first(np.stack([x, y, start], axis=1), down)
        met = np.flatnonzero(hits >= 0)
        owner, corners = mesh.owner[hits[met]], mesh.faces[hits[met]]
        weights = _weights(vertices[corners], np.stack([x[met], y[met]], axis=1))[..., None]
        depth[met] = (weights[..., 0] * vertices[corners, 2]).sum(axis=1)
        opacity[met] = mesh.opacity[owner]
        normals = (weights * mesh.normals[corners]).sum(axis=1) @ view_from_world[:3, :3].T
        # Which side of a face is out is not known of a stranger's mesh.
        normals = _unit(normals * np.where(normals[:, 2:] < 0, -1.0, 1.0))
        lit = np.clip(normals @ _unit(_LIGHT), 0, 1)[:, None]
        colour[met] = _albedo(mesh, owner, corners, weights) * (_AMBIENT + (1 - _AMBIENT) * lit)
    shape = (size, size)
    return colour.reshape(*shape, 3), depth.reshape(shape), opacity.reshape(shape)


def _weights(corners: FloatArray, points: FloatArray) -> FloatArray:
    """Barycentric weights, (n, 3), of points (n, 2) in triangles (n, 3, 3) seen along z."""
    arms = corners[..., :2] - points[:, None]
    first, second = np.roll(arms, -1, axis=1), np.roll(arms, -2, axis=1)
    areas = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    total = areas.sum(axis=1, keepdims=True)
    # A face seen on edge has no area; rounding may put the point a little outside any other.
    areas = np.where(total == 0, 1.0, np.clip(areas * np.sign(total), 0, None))
    return areas / np.maximum(areas.sum(axis=1, keepdims=True), 1e-300)


def _albedo(mesh: _Mesh, owner: NDArray, corners: NDArray, weights: FloatArray) -> FloatArray:
    """Linear colours, (n, 3), at weights (n, 3, 1) of the vertices `corners`, (n, 3)."""
    colours = (weights * mesh.colours[corners]).sum(axis=1)
    uv = (weights * mesh.uv[corners]).sum(axis=1) % 1.0
    for number in np.unique(owner):
        texture = mesh.textures[number]
        if texture is not None:
            chosen = np.flatnonzero(owner == number)
            height, width = texture.shape[:2]
            columns = np.minimum(uv[chosen, 0] * width, width - 1).astype(int)
            rows = np.minimum((1 - uv[chosen, 1]) * height, height - 1).astype(int)
            colours[chosen] *= _linear(texture[rows, columns] / 255.0)
    return colours


def _linear(srgb: FloatArray) -> FloatArray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _srgb(linear: FloatArray) -> FloatArray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _colours(count: int) -> list[tuple[int, int, int]]:
    return [POINT_COLOURS[i % len(POINT_COLOURS)] for i in range(count)]


def _mark(
    tile: Image, at: tuple[float, float], colour: tuple[int, int, int], seen: bool, side: int
) -> None:
    """A dot if it is `seen`, else a ring, with a white rim; `at` is column and row."""
    shift = 4
    where = (round(at[0] * 2**shift), round(at[1] * 2**shift))
    radius = max(2, side // 110)
    rim = max(1, side // 300)
    big = radius * 2**shift
    if seen:
        cv2.circle(tile, where, big + (rim << shift), (255, 255, 255), -1, cv2.LINE_AA, shift)
        cv2.circle(tile, where, big, colour, -1, cv2.LINE_AA, shift)
    else:
        cv2.circle(tile, where, big, (255, 255, 255), 3 * rim, cv2.LINE_AA, shift)
        cv2.circle(tile, where, big, colour, rim, cv2.LINE_AA, shift)


def _write(tile: Image, text: str, at: tuple[int, int], side: int) -> None:
    thickness = max(1, side // 500)
    cv2.putText(
        tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, side / 1100, (40, 40, 40), thickness, cv2.LINE_AA
    )


def _legend(names: Sequence[str], width: int, side: int) -> Image:
    """A strip as wide as the picture: each point's colour and name."""
    step = max(24, side // 14)
    columns = 4
    lines = -(-len(names) // columns)
    strip = np.full((step * lines, width, 3), 255, np.uint8)
    for i, (name, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
        x, y = (i % columns) * width // columns + step // 2, (i // columns) * step + step // 2
        _mark(strip, (x, y), colour, True, side)
        _write(strip, name, (x + step // 2, y + step // 6), side)
    return strip
