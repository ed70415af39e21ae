"""Clothes: cover the torso, keep clear of faces and glasses, and follow from the person alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from pipeline.catalog.catalog import open_catalog
from pipeline.catalog.cloth import cut
from pipeline.catalog.clothes import Clothes, hidden_hair
from pipeline.catalog.garments import CUTS, neckline
from pipeline.catalog.head import build_head
from pipeline.catalog.headwear import EDGES
from pipeline.catalog.person import person
from pipeline.catalog.torso import CENTRE, UPWARD, from_funnel, funnel
from pipeline.fit import fit
from pipeline.geometry import WORN, Head, Surface
from pipeline.rays import Solid

#: Of different ages and builds.
PEOPLE = (0, 5, 37, 111)


@cache
def wearing(k: int, expression: str = "1_neutral", **changes: object) -> Head:
    who = person(k)
    bare = {"scarf": None, "headwear": "", "earrings": "", "necklace": False, "held": ""}
    clothes = replace(who.clothes, **{**bare, **changes})
    return build_head(replace(who, clothes=clothes), expression)


def worn(head: Head) -> dict[str, Surface]:
    return {n.removeprefix(WORN): s for n, s in head.surfaces.items() if n.startswith(WORN)}


def mesh(surfaces: list[Surface]) -> trimesh.Trimesh:
    starts = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
    faces = [s.triangles() + i for s, i in zip(surfaces, starts, strict=False)]
    vertices = np.concatenate([s.vertices for s in surfaces])
    return trimesh.Trimesh(vertices, np.concatenate(faces), process=False)


def test_the_funnel_is_undone() -> None:
    points = np.random.default_rng(3).normal(0.0, 80.0, (50, 3)) + CENTRE
    turn, down, rise = funnel(points, CENTRE)
    np.testing.assert_allclose(from_funnel(turn, down, rise, CENTRE), points, atol=1e-9)


def test_cutting_a_square_leaves_its_area_and_a_straight_edge() -> None:
    """By hand: of a unit square the part with x > 0.3 has an area of 0.7."""
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    vertices, faces, (place,) = cut(square, np.array([[0, 1, 2, 3]]), square[:, 0] - 0.3, square)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    assert np.cross(b - a, c - a)[:, 2].min() > 0.0
    assert np.cross(b - a, c - a)[:, 2].sum() / 2.0 == pytest.approx(0.7)
    assert vertices[:, 0].min() == pytest.approx(0.3)
    np.testing.assert_allclose(place, vertices)


@pytest.mark.parametrize("top", [*CUTS, "jacket"])
def test_no_skin_shows_below_the_neckline(top: str) -> None:
    """From cameras at yaw 0 and 40 degrees, some mm below the neckline."""
    for k in PEOPLE[1:3]:
        who = person(k)
        head = wearing(k, "2_mouth_open", top=top, under="shirt" if top == "jacket" else "")
        skin = head.surfaces["skin"]
        rest = skin.attributes["rest"].astype(float)
        turn, down, _ = funnel(rest, CENTRE)
        shape = CUTS["shirt" if top == "jacket" else top]
        below = down > neckline(shape, who.clothes.depth, turn) + 9.0
        below &= ((rest - CENTRE) @ UPWARD < 40.0) & (skin.attributes["mouth_inside"] < 0.02)
        cloth = mesh([s for n, s in worn(head).items() if "buttons" not in n])
        normals = mesh([skin]).vertex_normals
        for x, y in ((0.0, 0.0), (960.0, 300.0), (-960.0, -300.0)):
            ways = np.array([x, y, 1150.0]) - skin.vertices
            ways /= np.linalg.norm(ways, axis=1, keepdims=True)
            asked = below & ((ways * normals).sum(axis=1) > 0.1)
            hidden = cloth.ray.intersects_any(skin.vertices[asked], ways[asked])
            assert (~hidden).sum() <= 3, (top, k)


@pytest.mark.parametrize("k", [9, 10, 34])
@pytest.mark.parametrize("top", ["shirt", "open_shirt", "v_neck", "crew", "jacket"])
def test_no_slit_lies_between_a_top_and_its_edge(top: str, k: int) -> None:
    """On broad and slight people, seen from the front in steps of 1 mm."""
    head = wearing(k, top=top, under="crew" if top == "jacket" else "")
    x, y = np.meshgrid(np.arange(-110.0, 111.0), np.arange(-80.0, -280.0, -1.0))
    assert head.eye_left is not None
    start = np.stack([x, y + head.eye_left[1], np.full(x.shape, 400.0)], axis=-1).reshape(-1, 3)
    ahead = np.broadcast_to([0.0, 0.0, -1.0], start.shape)
    skin, cloth = (
        Solid(surfaces).reach(start, ahead).reshape(x.shape)
        for surfaces in ([head.surfaces["skin"]], list(worn(head).values()))
    )
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    closed = cv2.morphologyEx((cloth < skin).astype(np.uint8), cv2.MORPH_CLOSE, disc)
    # The corners of an open collar are narrow too.
    assert ((closed > 0) & (skin < cloth)).sum() < 100


@pytest.mark.parametrize("top", [*CUTS, "jacket"])
def test_tops_keep_clear_of_the_jaw_and_touch_the_neck(top: str) -> None:
    for k in PEOPLE[1:3]:
        head = wearing(k, "2_mouth_open", top=top, under="shirt" if top == "jacket" else "")
        skin = head.surfaces["skin"]
        rest, inside = skin.attributes["rest"], skin.attributes["mouth_inside"]
        points = np.concatenate([s.vertices for s in worn(head).values()])
        jaw = skin.vertices[(rest[:, 1] > -108.0) & (inside < 0.02)]
        assert cKDTree(points).query(jaw)[0].min() > 1.0
        assert cKDTree(points).query(skin.vertices)[0].min() < 3.0


def test_cloth_goes_on_below_the_skin() -> None:
    head = wearing(0, top="crew")
    low = worn(head)["top"].vertices[:, 1].min()
    assert low < head.surfaces["skin"].vertices[:, 1].min() - 200.0


@pytest.mark.parametrize("kind", list(EDGES))
def test_hats_stay_above_brows_and_the_roots_of_ears(kind: str) -> None:
    for k in PEOPLE:
        head = wearing(k, headwear=kind)
        skin = head.surfaces["skin"]
        parts = [s for n, s in worn(head).items() if n in (kind, "cuff", "ribbon")]
        points = np.concatenate([s.vertices for s in parts])
        brows = skin.vertices[skin.attributes["brows"] > 0.5]
        before = points[(points[:, 2] > 30.0) & (np.abs(points[:, 0]) < 40.0)]
        assert before[:, 1].min() > brows[:, 1].max() + 15.0
        for node in (head.anchors.temple_left, head.anchors.temple_right):
            assert cKDTree(points).query(node)[0] > 8.0


def test_hats_cover_the_skull() -> None:
    """What lies well within a hat is not outside it."""
    for kind in ("cap", "beanie", "hat"):
        for k in PEOPLE:
            head = wearing(k, headwear=kind)
            skin = head.surfaces["skin"]
            hidden = hidden_hair(replace(person(k).clothes, headwear=kind), skin.attributes["rest"])
            top = skin.vertices[(hidden > 0.99) & (skin.attributes["ears"] < 0.02)]
            shell = mesh([s for n, s in worn(head).items() if n in (kind, "cuff", "ribbon")])
            middle = top.mean(axis=0) - np.array([0.0, 40.0, 0.0])
            ways = top - middle
            hit = shell.ray.intersects_any(top, ways / np.linalg.norm(ways, axis=1, keepdims=True))
            assert hit.mean() > 0.985, (kind, k)


def test_hidden_hair() -> None:
    places = np.array([[0.0, 100, -70], [0, 60, 0], [0, -30, -150], [60, 45, -60]])

    def hidden(kind: str) -> list[float]:
        clothes: Clothes = replace(person(0).clothes, headwear=kind)
        return [float(v) for v in hidden_hair(clothes, places)]

    assert hidden("") == [0, 0, 0, 0]
    assert hidden("headscarf") == [1, 1, 1, 1]
    for kind in ("cap", "beanie", "hat"):
        assert hidden(kind) == [1, 1, 0, 1]
    assert hidden("headband") == [0, 1, 0, 1]


def test_what_is_worn_does_not_move_glasses() -> None:
    """Not even pushed up, where distances to what is behind a lens are taken from all else."""
    entry = open_catalog().glasses["panto"]
    eyewear = entry.build(entry.typical())
    bare = wearing(7, top="crew")
    dressed = wearing(7, top="turtleneck", headwear="cap", held="mask", earrings="hoops")
    assert len(dressed.surfaces) > len(bare.surfaces)
    for name in ("skin", "eye_left", "lashes"):
        first, second = bare.surfaces[name], dressed.surfaces[name]
        np.testing.assert_array_equal(first.vertices, second.vertices)
    assert fit(bare, eyewear, 0.8).figures == fit(dressed, eyewear, 0.8).figures


def test_masks_lie_on_the_skin_and_below_the_pads() -> None:
    for k in PEOPLE:
        for expression in ("1_neutral", "2_mouth_open"):
            head = wearing(k, expression, held="mask")
            mask = worn(head)["mask"].vertices
            assert cKDTree(head.surfaces["skin"].vertices).query(mask)[0].max() < 32.0
            assert mask[:, 1].max() < head.anchors.nose_left[1] + 12.0


def test_shares_of_what_people_wear() -> None:
    clothes = [person(k).clothes for k in range(1500)]
    assert 0.05 < np.mean([c.headwear in ("cap", "beanie", "hat") for c in clothes]) < 0.09
    assert 0.015 < np.mean([c.headwear == "headband" for c in clothes]) < 0.04
    assert 0.01 < np.mean([c.headwear == "headscarf" for c in clothes]) < 0.03
    assert 0.02 < np.mean([c.held != "" for c in clothes]) < 0.04
    tops = [c.top for c in clothes]
    assert {*CUTS, "jacket"} == set(tops)
    assert max(tops.count(t) for t in set(tops)) < 0.35 * len(tops)
    # Mostly muted: the mean distance of the channels is small.
    spread = [max(c.fabric.color) - min(c.fabric.color) for c in clothes]
    assert np.median(spread) < 0.12


def test_every_worn_surface_is_opaque_and_sound() -> None:
    for k in range(40):
        for name, surface in worn(build_head(person(k), "1_neutral")).items():
            assert surface.material is not None, name
            assert surface.material.transmission == 0.0
            assert np.isfinite(surface.vertices).all(), (k, name)
            assert surface.faces.max() < len(surface.vertices)
