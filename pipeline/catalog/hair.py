"""Scalp hair: guides that are grown over the head, and hairs between them.

Some hundred guides follow the flow of a cut, lie on what is below them and hang where they are
long; each hair takes its shape from the guides around its root, then gathers in clumps, curls and
frays. All of it is on the skin as it is, with its expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.catalog.appearance import mixed
from pipeline.catalog.facial_hair import (
    beard_density,
    beard_roots,
    brow_roots,
    grow_beard,
    grow_brows,
)
from pipeline.catalog.fields import smoothstep, unit, vertex_normals
from pipeline.catalog.hairstyles import Cut, Hair
from pipeline.catalog.roots import Roots, scatter
from pipeline.geometry import Appearance, FloatArray, Strands, Surface

_SEED = 20261125
#: Area a place on the scalp: hairs are fewer and thicker than real ones (120 to 200 a cm2).
_HAIR_MM2, _GUIDE_MM2, _CLUMP_MM2 = 2.6, 75.0, 24.0
_NEAR_GUIDES = 6
#: Weight of guides on the other side of a part, by which hairs go only where there are no others.
_NOT_MINE = 1e-12
_HAIR_RADIUS_MM = 0.14
_GUIDE_POINTS = 15
#: What is seen of tied hair below a hat.
_UNDER_HAT = Cut("tucked", "whorl", top=10.0, sides=10.0, nape=10.0, volume=1.0)
#: How far the hairlines of men who shave their heads have receded.
_SHAVEN = 0.6
#: Up to this length all places are used.
_FULL_MM = 40.0
#: On the average head: the whorl at the crown, and where hair is tied.
_WHORL = np.array([8.0, 92.0, -122.0])
_KNOT, _KNOT_MM = np.array([0.0, 30.0, -184.0]), 20.0
#: The ridge of the shoulders: hair before it falls over the chest, behind it down the back.
_RIDGE_Z_MM = -115.0
#: Hair whose ends are lower falls to one of the two; a bob's just touch the shoulders.
_ON_SHOULDERS_MM = -100.0


@dataclass(frozen=True, eq=False)
class Places:
    """Where anybody's hair grows; see `find_places`.

    near: (n, 6) guides around each place on the scalp, nearest first. clump: (n,) the place whose
    hair each gathers around.
    """

    scalp: Roots
    guides: Roots
    near: NDArray[np.int64]
    clump: NDArray[np.int64]
    brows: Roots
    beard: Roots


@dataclass(frozen=True, eq=False)
class Scalp:
    """A head on which hair grows: skin (v, 3) and normals, and the point between its eyes."""

    skin: FloatArray
    normals: FloatArray
    eyes: FloatArray
    tree: cKDTree


def grow(
    hair: Hair,
    places: Places,
    skin: Surface,
    eyes: FloatArray,
    looks: Appearance,
    hidden: NDArray | None = None,
) -> Mapping[str, Strands]:
    """'scalp', 'brows' and 'beard', as far as there are any.

    skin: of a parametric head, in mm. eyes: (3,) between the eyes. hidden: (v,) 0..1 where headwear
    hides hair.
    """
    vertices = np.asarray(skin.vertices)
    normals = vertex_normals(vertices, skin.faces)
    scalp = Scalp(vertices, normals, eyes, cKDTree(vertices))
    strands = {
        "brows": _strands(grow_brows(hair.brows, places.brows, vertices, normals), looks, 0.4)
    }
    if hair.beard is not None:
        grown = grow_beard(hair.beard, places.beard, vertices, normals)
        strands["beard"] = _strands(grown, looks)
    if hair.cut is not None:
        grown = grow_scalp(hair.cut, places, scalp, hidden)
        if len(grown[0]):
            strands["scalp"] = _strands(grown, looks)
    return strands


def undergrowth(hair: Hair, attributes: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """(v,) 0..1 how much hair stands below the strands of scalp and beard, at the skin's vertices.

    attributes: `rest`, `scalp`, `lips` and `mouth_inside` of the skin.
    """
    rest = attributes["rest"].astype(np.float64)
    left = attributes["scalp"] * kept(_SHAVEN if hair.cut is None else hair.cut.recession, rest)
    grown = left * (0.4 if hair.cut is None else 1.0)
    if hair.beard is not None:
        bare = (attributes["lips"] < 0.3) & (attributes["mouth_inside"] < 0.1)
        grown = np.maximum(grown, 0.6 * bare * beard_density(hair.beard, rest))
    return grown.astype(np.float32)


def _strands(
    grown: tuple[FloatArray, NDArray[np.float32]], looks: Appearance, greying: float = 1.0
) -> Strands:
    """Hairs in the colours of a person; `greying`: how far these are on the way of the others."""
    points, radius = grown
    shade = np.random.Generator(np.random.PCG64(_SEED)).random(len(points)).astype(np.float32)
    # Strands stand for bundles of hairs, which grey together in part only.
    grey = greying * looks.grey
    first, second = (
        mixed(looks.hair, looks.grey_hair, share) for share in (0.7 * grey, 0.5 + 0.5 * grey)
    )
    return Strands(points, radius, shade, first, second, grey)


def find_places(skin: Surface) -> Places:
    """The places of hair on the skin of parametric heads, which all have the same faces.

    skin: with the attributes `rest`, `scalp`, `lips`, `mouth_inside` and `ears`.
    """
    rng = np.random.Generator(np.random.PCG64(_SEED))
    hairy = skin.attributes["scalp"] * (skin.attributes["mouth_inside"] < 0.01).astype(float)
    scalp = scatter(skin, hairy, _HAIR_MM2, rng)
    guides = scatter(skin, (hairy > 0.02).astype(float), _GUIDE_MM2, rng)
    centres = np.flatnonzero(scalp.luck < _HAIR_MM2 / _CLUMP_MM2)
    nearest = cKDTree(scalp.rest[centres]).query(scalp.rest)[1]
    return Places(
        scalp=scalp,
        guides=guides,
        near=cKDTree(guides.rest).query(scalp.rest, _NEAR_GUIDES)[1],
        clump=centres[nearest],
        brows=brow_roots(skin),
        beard=beard_roots(skin),
    )


def grow_scalp(
    cut: Cut, places: Places, scalp: Scalp, hidden: NDArray | None
) -> tuple[FloatArray, NDArray[np.float32]]:
    """Points (n, k, 3) and radii (n, k) of a cut."""
    if hidden is not None and cut.flow == "knot" and _crown(places.scalp, hidden) > 0.5:
        cut = _UNDER_HAT
    guides = _grow_guides(cut, places.guides, scalp)
    density = cut.density * kept(cut.recession, places.scalp.rest)
    if hidden is not None:
        density = density * (1.0 - places.scalp.on(hidden))
    length = _lengths(cut, places.scalp.rest)
    # Long hairs cover each other many times: fewer and thicker ones look the same for less.
    share = np.clip((length / _FULL_MM) ** -0.45, 0.4, 1.0)
    used = places.scalp.luck < density * share
    roots, near = places.scalp.of(used), places.near[used]
    points = _between(cut, roots, near, places.guides, guides, scalp)
    rng = np.random.Generator(np.random.PCG64(_SEED + 1))
    # A row each, see `fields.atan2`.
    luck = np.ascontiguousarray(rng.random((len(used), 8), np.float32)[used].T)
    number = np.full(len(used), -1)
    number[used] = np.arange(used.sum())
    clump = number[places.clump[used]]
    # Hair gathers with hair that goes the same way, or stays by itself.
    other = _side(cut, roots.rest[clump]) != _side(cut, roots.rest)
    if cut.fringe:
        other |= (_fringe(roots.rest[clump]) > 0.5) != (_fringe(roots.rest) > 0.5)
    clump = np.where((clump < 0) | other, np.arange(len(clump)), clump)
    points = _styled(cut, points, clump, luck)
    steps = _steps(points.shape[1])
    taper = _HAIR_RADIUS_MM * (1.0 - 0.6 * steps**3)
    thick = (0.75 + 0.5 * luck[7, :, None]) / np.sqrt(share[used, None])
    return points, (thick * taper).astype(np.float32)


def _crown(scalp: Roots, hidden: NDArray) -> float:
    """How much headwear hides the crown, 0..1."""
    nearest = np.argmin(((scalp.rest - _WHORL) ** 2).sum(axis=1))
    return float(scalp.on(hidden)[nearest])


def kept(recession: float, rest: FloatArray) -> NDArray:
    """(n,) 0..1: hair left at places on the average head when a hairline has receded so far.

    Temples go first, then the crown, then the rest of the top (Norwood 1975).
    """
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    order = 1.35 - 0.75 * np.clip((y - 30.0) / 50.0, 0.0, 1.0)
    # Whatever grew before a temple's bay is gone with it.
    bay = np.maximum(-22.0 - z, 0.0) / 26.0
    order = order - 0.42 * np.exp(-(((x - 38.0) / 15.0) ** 2) - bay**2)
    order = order - 0.25 * np.exp(-(((rest - _WHORL) ** 2).sum(axis=1)) / 34.0**2)
    order = order - 0.2 * np.clip((z + 40.0) / 40.0, 0.0, 1.0) * np.clip((y - 40.0) / 20, 0, 1)
    left: NDArray = np.clip((order - recession) / 0.12 + 0.5, 0.0, 1.0)
    return left if recession > 0.0 else np.ones(len(rest))


def _lengths(cut: Cut, rest: FloatArray) -> NDArray:
    """(n,) mm at places on the average head."""
    y, z = rest[:, 1], rest[:, 2]
    top = smoothstep(y, 38.0, 74.0)
    length = cut.sides + (cut.top - cut.sides) * top
    low = smoothstep(-z, 95.0, 120.0) * smoothstep(-y, -30.0, 10.0)
    length = length + (cut.nape - length) * low
    if cut.flow == "knot":
        length = 1.1 * np.linalg.norm(_KNOT - rest, axis=1) + cut.top
    if cut.fringe:
        length = length + (cut.fringe - length) * _fringe(rest)
    return length


def _fringe(rest: FloatArray) -> NDArray:
    """(n,) 0..1 whether hair there belongs to the fringe."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    return smoothstep(z, -34.0, -28.0) * smoothstep(52.0 - x, 0.0, 4.0) * smoothstep(y, 50.0, 56.0)


def _flow(cut: Cut, guides: Roots, points: FloatArray) -> FloatArray:
    """(n, 3) where hair of each guide goes at its point (n, 3), relative to the eyes."""
    _, y, z = points.T
    own = np.sign(guides.rest[:, 0])
    top = smoothstep(y, 45.0, 70.0)[:, None]
    down, behind = _vectors(0.1 * own, -1.0, 0.05), np.array([0.0, 0.0, -1.0])
    whorl = unit((points - _WHORL) * [1.0, 0.35, 1.0])
    if cut.flow == "part":
        back = smoothstep(-z, 120.0, 160.0)[:, None]
        across = _vectors(_side(cut, guides.rest), -0.25, -0.3)
        flow = (across * (1.0 - back) + down * back) * top + (1.0 - top) * (down + 0.15 * behind)
    elif cut.flow == "back":
        level = _vectors(0.25 * own, 0.05, -1.0)
        before = smoothstep(z, -165.0, -120.0)[:, None]
        flow = np.where(top > 0.5, level, level * before + 0.9 * down + 0.6 * behind)
    elif cut.flow == "side":
        away = -1.0 if cut.part_mm > 0.0 else 1.0
        beyond = (_side(cut, guides.rest) != away)[:, None]
        across = np.where(beyond, down + 0.3 * behind, np.array([away, 0.12, 0.35]))
        front = smoothstep(z, -125.0, -80.0)[:, None]
        flow = top * (front * across + (1.0 - front) * whorl)
        flow = flow + (1.0 - top) * (down + 0.35 * behind)
    elif cut.flow == "knot":
        tied = np.linalg.norm(_KNOT - points, axis=1, keepdims=True) < _KNOT_MM
        flow = np.where(tied, down, unit(_KNOT - points))
    else:
        flow = top * whorl + (1.0 - top) * (0.35 * whorl + down)
    if cut.fringe:
        share = _fringe(guides.rest)[:, None]
        flow = flow * (1.0 - share) + share * _vectors(0.006 * guides.rest[:, 0], -0.75, 0.5)
    return unit(flow)


def _vectors(x: NDArray | float, y: float, z: NDArray | float) -> FloatArray:
    """(n, 3) of components that are (n,) or the same for all."""
    return np.stack(np.broadcast_arrays(x, y, z), axis=1)


def _side(cut: Cut, rest: FloatArray) -> NDArray:
    """(n,) on which side of the part places on the average head lie: 1 left, -1 right."""
    return np.where(rest[:, 0] >= cut.part_mm, 1.0, -1.0)


def _grow_guides(cut: Cut, guides: Roots, scalp: Scalp) -> FloatArray:
    """(g, k, 3) mm."""
    length = _lengths(cut, guides.rest)
    step = (length / (_GUIDE_POINTS - 1))[:, None]
    normal = unit(guides.on(scalp.normals))
    point = guides.on(scalp.skin)
    grown = [point]
    direction = normal
    fringe = _fringe(guides.rest) if cut.fringe else np.zeros(len(length))
    resting, near = np.zeros(len(length)), np.ones(len(length))
    for i in range(1, _GUIDE_POINTS):
        travelled = step[:, 0] * i
        flow = _flow(cut, guides, point - scalp.eyes)
        if cut.flow == "out":
            wanted = unit(normal + 0.25 * flow)
        else:
            # Tied hair is drawn to the knot, other hair keeps its volume.
            held = near if cut.flow == "knot" else 1.0
            flat = flow - (held * np.einsum("ij,ij->i", flow, normal))[:, None] * normal
            stand = cut.lift * np.exp(-travelled / (0.45 * length + 1.0))[:, None]
            wanted = unit(unit(flat) + stand * normal / np.sqrt(max(1.0 - cut.lift**2, 0.05)))
            hang = 0.85 * np.clip(travelled / cut.limp - 0.5, 0.0, 1.0)
            hang = np.where(cut.flow == "knot", 0.0, hang)[:, None]
            hang = hang * (length[:, None] > 55.0)
            wanted = unit((1.0 - hang) * wanted + hang * [0.0, -1.0, 0.0])
            wanted = unit(wanted + _off_face(point - scalp.eyes, fringe))
            # What has come down onto shoulders slides along them.
            into = np.minimum(np.einsum("ij,ij->i", wanted, normal), 0.0) * resting
            wanted = wanted - into[:, None] * normal
            wanted = unit(wanted + _off_ridge(point - scalp.eyes, resting))
        turn = np.clip(step / 14.0, 0.25, 0.8) if i > 1 else 1.0
        direction = unit((1.0 - turn) * direction + turn * wanted)
        point, normal, resting, near = _above_skin(cut, scalp, point + step * direction, travelled)
        grown.append(point)
    return np.stack(grown, axis=1)


def _off_face(points: FloatArray, fringe: NDArray) -> FloatArray:
    """(n, 3) push sideways for long hair that would fall over face or throat."""
    x, y, z = points.T
    front = smoothstep(z, -40.0, -15.0) * smoothstep(58.0 - y, 0.0, 14.0)
    throat = smoothstep(z, -105.0, -80.0) * smoothstep(-70.0 - y, 0.0, 20.0)
    inside = smoothstep(66.0 - np.abs(x), 0.0, 10.0) * np.maximum(front, throat) * (1.0 - fringe)
    sign = np.where(x >= 0.0, 1.0, -1.0)
    return inside[:, None] * _vectors(1.5 * sign, 0.0, -1.0)


def _off_ridge(points: FloatArray, resting: NDArray) -> FloatArray:
    """(n, 3) push forward or back for hair that would come to lie on top of shoulders.

    resting: (n,) 0..1 whether it lies there already.
    """
    above = points[:, 2] - _RIDGE_Z_MM
    coming = smoothstep(-points[:, 1], 50.0, 110.0) * smoothstep(60.0 - np.abs(above), 0.0, 35.0)
    push = np.maximum(1.2 * resting, 0.7 * coming) * np.where(above > 0.0, 1.0, -1.0)
    return _vectors(0.0, 0.0, push)


def _above_skin(
    cut: Cut, scalp: Scalp, points: FloatArray, travelled: NDArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The points, moved out of what lies below them, and normals there.

    Then, 0..1, whether they rest on shoulders, and whether they lie close to the skin.
    """
    _, nearest = scalp.tree.query(points)
    normal = scalp.normals[nearest]
    height = np.einsum("ij,ij->i", points - scalp.skin[nearest], normal)
    layer = 0.5 + cut.volume * (1.0 - np.exp(-travelled / 18.0))
    # Clothes lie on shoulders.
    low = smoothstep(-(points[:, 1] - scalp.eyes[1]), 120.0, 150.0)
    lack = np.clip(layer + 9.0 * low - height, 0.0, 25.0)
    near = np.exp(-np.clip(height - layer, 0.0, None) / 4.0)
    return points + lack[:, None] * normal, normal, low * (lack > 0.0), near


def _between(
    cut: Cut,
    roots: Roots,
    near: NDArray[np.int64],
    guides: Roots,
    grown: FloatArray,
    scalp: Scalp,
) -> FloatArray:
    """(n, k, 3) hairs shaped as the nearest guides on their own side of part and shoulders."""
    distance = np.linalg.norm(guides.rest[near] - roots.rest[:, None], axis=2)
    weight = 1.0 / (distance + 1.0) ** 4
    if cut.flow in ("part", "side"):
        apart = _side(cut, guides.rest)[near] != _side(cut, roots.rest)[:, None]
        top = roots.rest[:, 1:2] > 40.0
        weight = weight * np.where(apart & top, _NOT_MINE, 1.0)
    if cut.fringe:
        inside = _fringe(guides.rest) > 0.5
        weight = weight * np.where(
            inside[near] != (_fringe(roots.rest) > 0.5)[:, None], _NOT_MINE, 1.0
        )
    end = grown[:, -1] - scalp.eyes
    fall = np.where(end[:, 1] < _ON_SHOULDERS_MM, np.sign(end[:, 2] - _RIDGE_Z_MM), 0.0)[near]
    lead = fall[np.arange(len(fall)), weight.argmax(axis=1)]
    weight = weight * np.where(fall * lead[:, None] < 0.0, _NOT_MINE, 1.0)
    weight = weight / weight.sum(axis=1, keepdims=True)
    shape = grown - grown[:, :1]
    points = np.zeros((len(roots), *grown.shape[1:]))
    for i in range(near.shape[1]):
        points += weight[:, i, None, None] * shape[near[:, i]]
    return (points + roots.on(scalp.skin)[:, None]).astype(np.float32)


def _styled(cut: Cut, points: FloatArray, clump: NDArray[np.int64], luck: NDArray) -> FloatArray:
    """Hairs of uneven length, gathered in clumps, curled and frayed. luck: (8, n) 0..1."""
    steps = _steps(points.shape[1])[None, :, None]
    root = points[:, :1]
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(axis=1)
    points = root + (points - root) * (0.86 + 0.16 * luck[0, :, None, None])
    gather = cut.clump * steps**1.2 * (0.6 + 0.4 * luck[1, :, None, None])
    points = points + gather * (points[clump] - points)
    along = unit(np.gradient(points, axis=1))
    first = unit(np.cross(along, _axis(luck[2, clump], luck[3, clump])[:, None]))
    second = np.cross(along, first)
    if cut.curl > 0.0:
        turns = 2.0 * np.pi * (length[:, None] * steps[..., 0] / cut.pitch + luck[4, clump, None])
        turns = turns + 1.2 * (luck[4, :, None] - 0.5)
        size = cut.curl * (steps * 3.0).clip(0.0, 1.0) * (0.7 + 0.6 * luck[5, :, None, None])
        points = points + size * (
            np.cos(turns)[..., None] * first + np.sin(turns)[..., None] * second
        )
    fray = cut.frizz * np.clip(0.05 * length, 0.2, 5.0)[:, None, None] * steps**0.8
    wave = 2.0 * np.pi * (steps * (1.0 + 2.0 * luck[6, :, None, None]) + luck[2, :, None, None])
    loose = np.sin(wave) * first + np.cos(1.3 * wave + 6.0 * luck[3, :, None, None]) * second
    wild = 0.4 + 2.2 * luck[5, :, None, None] ** 6
    return points + fray * wild * loose


def _steps(count: int) -> NDArray[np.float32]:
    """(count,) 0..1 from root to tip; single precision, which is enough and takes half the time."""
    return np.linspace(0.0, 1.0, count, dtype=np.float32)


def _axis(first: NDArray, second: NDArray) -> FloatArray:
    """(n, 3) unit vectors evenly spread over the sphere from two numbers 0..1 each."""
    z, turn = 2.0 * first - 1.0, 2.0 * np.pi * second
    flat = np.sqrt(1.0 - z**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
