"""Tells the parts of somebody's glasses apart: rims, pads, temples, lenses; finds the hinges.

Names of materials are believed first, then names of objects, transparency, and shape, but none
against plain geometry: what is called a lens and has a hole in its middle is none. A sidecar's
`parts:` overrules them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.lenses import count_holes, span
from pipeline.catalog.looks import merged, part_material, without_texture
from pipeline.catalog.piece import Piece
from pipeline.catalog.shapes import Regions, corner, cut_at, is_pane, regions, specks
from pipeline.errors import AssetError
from pipeline.geometry import (
    LENS_PARTS,
    TEMPLE_PARTS,
    FloatArray,
    Hinge,
    Material,
    Surface,
)

_WORDS = {
    "lens": ("lens", "linse", "glass", "glas"),
    "temple": ("temple", "arm", "leg", "ear", "earhook"),
    "pads": ("pad", "nosepad", "nose"),
    "bridge": ("bridge",),
    "rims": ("frame", "rim", "front", "body"),
}
_WHOLE_PAIRS = ("glasses", "eyeglasses", "sunglasses", "armature", "earth")
#: Kinds of which a piece can hold both sides, and the names for both in a sidecar.
_PAIRED = {"lens": LENS_PARTS, "temple": TEMPLE_PARTS}
_BOTH = {"lenses": "lens", "temples": "temple"}
#: How sure a part is of which a sidecar, the name of a material or of an object, transparency or
#: shape tells; that of several pieces is the mean by area.
SURE = {"sidecar": 1.0, "material": 0.9, "object": 0.8, "transparent": 0.7, "shape": 0.5}
#: What lies further behind the foremost point than this is temple, not a front that wraps.
_FRONT_DEPTH_MM = 28.0
#: Of thousands of loose regions, only what is as wide as this may be a lens.
_LEAST_LENS_MM = 20.0
#: No nose pad is larger, (3,) mm, nor further from the middle between the nose nodes.
_PAD_MM = np.array([18.0, 26.0, 24.0])
_PAD_REACH_MM = np.array([24.0, 24.0])
_PAD_HEIGHT_MM = 6.0
_RIMS, _LENS, _TEMPLE, _PADS, _NONE = range(5)


@dataclass(frozen=True, eq=False)
class EyewearParts:
    """A pair of glasses in parts.

    parts: keys out of EYEWEAR_PARTS. hinges: left and right. holes: openings of more than 40 mm2
    that rims, bridge and pads close all round. confidence: of each part, 0..1; see `SURE`.
    """

    parts: dict[str, Surface]
    hinges: tuple[Hinge, Hinge]
    holes: int
    confidence: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Share:
    """A surface that belongs to one part, with its material, and how sure that is."""

    part: str
    surface: Surface
    sure: float


def eyewear_parts(
    pieces: Sequence[Piece],
    path: Path,
    overrides: Mapping[str, tuple[str, ...]] = {},
    synthesise: bool = False,
) -> EyewearParts:
    """The parts of glasses. Pieces are in our frame and mm, the origin between the temple nodes.

    overrides: part, 'temples' or 'lenses' to names of objects or materials, with shell wildcards.
    synthesise: span clear lenses where there are none. Raises AssetError, naming `path`: no temple
    on a side, nothing but temples, overrides that match nothing or twice, or no closed opening to
    span a lens across.

    Left out, unless an override names it: dirt (see `specks`), and what of a piece told by shape
    lies wholly behind the front and is of no one side, such as a cord or a case.
    """
    pieces = [replace(p, surface=_triangulated(p.surface)) for p in pieces]
    pieces, told = _without_specks(pieces, _overridden(pieces, path, overrides))
    front = max(float(p.surface.vertices[p.surface.faces][:, :, 2].max()) for p in pieces)
    kinds = [told[i] or _evidence(piece, front) for i, piece in enumerate(pieces)]
    lenses = any(kind in ("lens", *LENS_PARTS) for kind, _ in kinds)
    shares = [
        share
        for piece, (kind, sure) in zip(pieces, kinds, strict=True)
        for share in _shares(piece, kind, sure, front, not lenses)
    ]
    found: dict[str, list[_Share]] = {}
    for share in shares:
        if len(share.surface.faces):
            found.setdefault(share.part, []).append(share)
    parts = {name: merged([s.surface for s in found[name]]) for name in sorted(found)}
    for name in LENS_PARTS:
        # A lens has one tint: textures say how light falls on it, not what it lets through.
        material = parts[name].material if name in parts else None
        if material is not None:
            parts[name] = replace(parts[name], material=without_texture(material))
    confidence = {name: _mean_sure(found[name]) for name in parts}
    _check(parts, path)
    hinges = (_hinge(parts["temple_left"]), _hinge(parts["temple_right"]))
    closed = [parts[name] for name in ("rims", "brows", "bridge", "pads") if name in parts]
    missing = [side for side in ("left", "right") if f"lens_{side}" not in parts]
    if synthesise and missing:
        rims = [parts[name] for name in ("rims", "brows", "bridge") if name in parts]
        made = span(rims, missing, str(path))
        parts |= made
        confidence |= dict.fromkeys(made, 1.0)
    return EyewearParts(parts, hinges, count_holes(closed), confidence)


def words_in(name: str) -> list[str]:
    """The words of a name such as 'LensLeft_2' or 'RIM.001', in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _kinds_in(name: str) -> Iterator[str]:
    words = [word for word in words_in(name) if not word.startswith(_WHOLE_PAIRS)]
    for part, known in _WORDS.items():
        for word in words:
            if any(word in (k, k + "s") or (len(k) > 3 and word.startswith(k)) for k in known):
                yield part
                break


def _triangulated(surface: Surface) -> Surface:
    return replace(surface, faces=surface.triangles())


def _overridden(
    pieces: Sequence[Piece], path: Path, overrides: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, float] | None]:
    """What a sidecar says of each piece."""
    told: list[tuple[str, float] | None] = [None] * len(pieces)
    by: dict[int, str] = {}
    for part, patterns in overrides.items():
        for pattern in patterns:
            matched = [i for i, piece in enumerate(pieces) if _matches(piece, pattern)]
            if not matched:
                names = {p.name for p in pieces} | {p.material_name for p in pieces}
                known = ", ".join(sorted(names - {""})[:30])
                raise AssetError(
                    f"{path}: parts: {part}: no object or material is named '{pattern}'; "
                    f"there are: {known}"
                )
            for i in matched:
                if by.setdefault(i, part) != part:
                    raise AssetError(
                        f"{path}: parts: '{pieces[i].name}' is told to be both {by[i]} and {part}"
                    )
                told[i] = (_BOTH.get(part, part), SURE["sidecar"])
    return told


def _without_specks(
    pieces: list[Piece], told: list[tuple[str, float] | None]
) -> tuple[list[Piece], list[tuple[str, float] | None]]:
    """Pieces of triangles without dirt, and what is told of those that are left."""
    dirt = specks(np.concatenate([p.surface.vertices[p.surface.faces] for p in pieces]))
    owner = np.repeat(np.arange(len(pieces)), [len(p.surface.faces) for p in pieces])
    kept = []
    for i, piece in enumerate(pieces):
        stays = ~dirt[owner == i] | (told[i] is not None)
        if stays.any():
            surface = replace(piece.surface, faces=piece.surface.faces[stays])
            kept.append((replace(piece, surface=surface), told[i]))
    return [piece for piece, _ in kept], [said for _, said in kept]


def _matches(piece: Piece, pattern: str) -> bool:
    """Whether a pattern is the name of the material, or of the object or its mesh."""
    words = piece.name.split(" ")
    names = {piece.material_name, piece.name}
    names |= {" ".join(half) for i in range(1, len(words)) for half in (words[:i], words[i:])}
    return any(fnmatchcase(name, pattern) for name in names)


def _evidence(piece: Piece, front: float) -> tuple[str | None, float]:
    """The first kind that something speaks for and nothing in the geometry against."""
    for source, kinds in (
        ("material", _kinds_in(piece.material_name)),
        ("object", _kinds_in(piece.name)),
        ("transparent", iter(["lens"] if piece.transparent else [])),
    ):
        for kind in kinds:
            if _possible(kind, piece.surface, front):
                return kind, SURE[source]
    return None, SURE["shape"]


def _possible(kind: str, surface: Surface, front: float) -> bool:
    corners = surface.vertices[np.unique(surface.faces)]
    away = np.abs(corners[:, 0])
    depth = front - float(corners[:, 2].min())
    if kind == "lens":
        triangles = surface.vertices[surface.faces]
        sides = [triangles[triangles[:, :, 0].mean(axis=1) * sign > 0] for sign in (1, -1)]
        return depth < 2 * _FRONT_DEPTH_MM and all(is_pane(s) for s in sides if len(s))
    if kind == "temple":
        return depth > _FRONT_DEPTH_MM and float(away.min()) > _PAD_REACH_MM[0]
    if kind == "pads":
        return float(away.max()) < _PAD_REACH_MM[0] and depth < 2 * _FRONT_DEPTH_MM
    if kind == "bridge":
        return float(away.max()) < 35.0 and depth < _FRONT_DEPTH_MM
    return True


def _shares(
    piece: Piece, kind: str | None, sure: float, front: float, find_lenses: bool
) -> Iterator[_Share]:
    """The surfaces of a piece by part."""
    surface = piece.surface
    if kind in _PAIRED:
        surface = cut_at(surface, 0, 0.0)
        left = surface.vertices[surface.faces].mean(axis=1)[:, 0] > 0
        found = [(part, faces) for part, faces in zip(_PAIRED[kind], (left, ~left), strict=True)]
    elif kind in (None, "rims"):
        surface, found = _by_shape(surface, front, find_lenses, told=sure == SURE["sidecar"])
    else:
        found = [(str(kind), np.ones(len(surface.faces), dtype=bool))]
    for part, chosen in found:
        if part == "pads" and kind == "rims":
            part = "rims"
        guessed = kind is None or (kind == "rims" and part != "rims")
        material = part_material(part, _material(surface), piece.opacity)
        only = replace(surface, faces=surface.faces[chosen], material=material)
        yield _Share(part, only, SURE["shape"] if guessed else sure)


def _material(surface: Surface) -> Material | None:
    """The material of a surface, or one of the mean colour of its vertices."""
    if surface.material is None and "color" in surface.attributes:
        red, green, blue = surface.attributes["color"].mean(axis=0).tolist()
        return Material((red, green, blue))
    return surface.material


def _by_shape(
    surface: Surface, front: float, find_lenses: bool, told: bool
) -> tuple[Surface, list[tuple[str, NDArray[np.bool_]]]]:
    """A surface, cut where parts meet, and its faces by part, as far as shape tells.

    told: a sidecar calls it rims, so there are no lenses in it, and nothing is left out.
    """
    owner = _owners(surface, front, find_lenses and not told)
    if told:
        owner[owner == _NONE] = _RIMS
    surface, owner = cut_at(surface, 0, 0.0, owner, only=_LENS)
    for sign in (1, -1):
        behind = front - _FRONT_DEPTH_MM
        triangles = surface.vertices[surface.faces]
        middle = triangles.mean(axis=1)
        mine = (owner == _RIMS) & (middle[:, 0] * sign > 0)
        has = ((owner == _TEMPLE) & (middle[:, 0] * sign > 0)).any()
        # A front with temples of its own may wrap further back.
        depths = triangles[mine][:, :, 2]
        if not mine.any() or depths.min() > behind - has * _FRONT_DEPTH_MM:
            continue
        if depths.max() < behind:
            continue
        at, away = corner(triangles[mine], sign, front)
        surface, owner = cut_at(surface, 2, at, owner, only=_RIMS)
        middle = surface.vertices[surface.faces].mean(axis=1)
        owner[(owner == _RIMS) & (middle[:, 0] * sign > away) & (middle[:, 2] < at)] = _TEMPLE
    left = surface.vertices[surface.faces].mean(axis=1)[:, 0] > 0
    return surface, [
        ("rims", owner == _RIMS),
        ("lens_left", (owner == _LENS) & left),
        ("lens_right", (owner == _LENS) & ~left),
        ("temple_left", (owner == _TEMPLE) & left),
        ("temple_right", (owner == _TEMPLE) & ~left),
        ("pads", owner == _PADS),
    ]


def _owners(surface: Surface, front: float, find_lenses: bool) -> NDArray[np.int64]:
    """(m,) which of the kinds above each face is of, by the connected region it belongs to."""
    found = regions(surface)
    low, high = found.low, found.high
    size, reach = high - low, np.maximum(np.abs(low), np.abs(high))
    beside = low[:, 0] * high[:, 0] > 0
    kind = np.full(len(low), _RIMS)
    is_pad = (size < _PAD_MM).all(axis=1) & (reach[:, :2] < _PAD_REACH_MM).all(axis=1)
    kind[is_pad & beside & (size[:, 1] > _PAD_HEIGHT_MM)] = _PADS
    deep = (low[:, 2] < front - 2 * _FRONT_DEPTH_MM) | (high[:, 2] < front - _FRONT_DEPTH_MM)
    kind[beside & deep] = _TEMPLE
    kind[~beside & (high[:, 2] < front - 2 * _FRONT_DEPTH_MM)] = _NONE
    if find_lenses:
        kind[_lenses(surface, found, front)] = _LENS
    owner = kind[found.labels]
    rest = np.flatnonzero(owner == _RIMS)
    if find_lenses and not (owner == _LENS).any() and len(rest):
        # Of one piece with its rim, a lens still is a smooth sheet.
        only = replace(surface, faces=surface.faces[rest])
        sheets = regions(only, smooth=True)
        owner[rest[np.isin(sheets.labels, _lenses(only, sheets, front))]] = _LENS
    return owner


def _lenses(surface: Surface, found: Regions, front: float) -> list[int]:
    """The regions that are lenses by size, place, and having no hole in their middle."""
    large = found.high[:, 0] - found.low[:, 0] > _LEAST_LENS_MM
    large &= found.low[:, 2] > front - 2 * _FRONT_DEPTH_MM
    return [
        int(k)
        for k in np.flatnonzero(large)
        if is_pane(surface.vertices[surface.faces[found.labels == k]])
    ]


def _mean_sure(shares: Sequence[_Share]) -> float:
    areas = np.array([_area(share.surface) for share in shares])
    weights = areas if areas.sum() > 0 else np.ones(len(areas))
    return round(float(np.average([share.sure for share in shares], weights=weights)), 3)


def _area(surface: Surface) -> float:
    a, b, c = np.moveaxis(surface.vertices[surface.faces], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())


def _check(parts: Mapping[str, Surface], path: Path) -> None:
    for side in ("left", "right"):
        if f"temple_{side}" not in parts:
            raise AssetError(
                f"{path}: no {side} temple found more than {_FRONT_DEPTH_MM:.0f} mm "
                "behind the front; glasses need open temples"
            )
    if not set(parts) - set(TEMPLE_PARTS):
        raise AssetError(f"{path}: nothing but temples found; the front is missing")


def _hinge(temple: Surface) -> Hinge:
    used: FloatArray = temple.vertices
    end = used[used[:, 2] > used[:, 2].max() - 3.0]
    return Hinge(0.5 * (end.min(axis=0) + end.max(axis=0)), np.array([0.0, 1.0, 0.0]))
