"""Parts of somebody's glasses: told by names, look and shape, cut, coloured, and given lenses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.finishes import FRAMES, PADS
from pipeline.catalog.lenses import count_holes, span
from pipeline.catalog.looks import CLEAR_LENS, merged, part_material
from pipeline.catalog.parts import SURE, eyewear_parts
from pipeline.catalog.piece import Piece
from pipeline.catalog.shapes import cut_at, regions, specks
from pipeline.errors import AssetError
from pipeline.geometry import Eyewear, Material, Surface
from pipeline.triangles import heights_at

HERE = Path("pair.obj")
RED, BLUE = Material((0.6, 0.02, 0.02)), Material((0.02, 0.02, 0.6), roughness=0.1)


def design(catalog: Catalog, name: str) -> Eyewear:
    entry = catalog.glasses[name]
    return entry.build(entry.typical())


def plain(surface: Surface) -> Surface:
    return Surface(surface.vertices, surface.triangles())


def joined(surfaces) -> Surface:
    mesh = trimesh.util.concatenate(
        [trimesh.Trimesh(s.vertices, s.triangles(), process=False) for s in surfaces]
    )
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces))


def one_body(surface: Surface) -> Surface:
    """A mesh whose parts are sewn to their neighbours by slivers, as a scan or a print is one."""
    labels = regions(surface).labels
    vertex_label = np.zeros(len(surface.vertices), dtype=int)
    vertex_label[surface.faces] = labels[:, None]
    groups = [np.flatnonzero(vertex_label == k) for k in range(labels.max() + 1)]
    done, rest, sewn = groups[0], groups[1:], []
    while rest:
        tree = cKDTree(surface.vertices[done])
        near = [tree.query(surface.vertices[group]) for group in rest]
        best = int(np.argmin([distance.min() for distance, _ in near]))
        i = int(near[best][0].argmin())
        here, there = rest[best][i], done[near[best][1][i]]
        beside = surface.faces[(surface.faces == here).any(axis=1)][0]
        sewn.append([there, here, beside[beside != here][0]])
        done = np.concatenate([done, rest.pop(best)])
    return replace(surface, faces=np.concatenate([surface.faces, np.array(sewn)]))


def area(surface: Surface) -> float:
    a, b, c = np.moveaxis(surface.vertices[surface.faces], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@pytest.mark.parametrize("name", ["aviator", "cat_eye", "rectangle"])
def test_a_mesh_in_one_connected_piece_is_taken_apart(catalog: Catalog, name: str) -> None:
    pair = design(catalog, name)
    whole = one_body(joined(pair.parts.values()))
    assert regions(whole).labels.max() == 0
    found = eyewear_parts([Piece("scan", "", whole)], HERE)
    assert {"rims", "temple_left", "temple_right", "lens_left", "lens_right"} == set(found.parts)
    for side, hinge in zip(("left", "right"), found.hinges, strict=True):
        truth = getattr(pair, f"hinge_{side}").origin
        assert np.linalg.norm(hinge.origin - truth) < 9.0
        temple = found.parts[f"temple_{side}"]
        assert (np.abs(temple.vertices[:, 0]) > 50).all()
        assert area(temple) == pytest.approx(area(plain(pair.parts[f"temple_{side}"])), rel=0.15)
        # All but the bevel of the lens, which is as steep as a rim.
        lens, full = found.parts[f"lens_{side}"], plain(pair.parts[f"lens_{side}"])
        assert 0.8 < area(lens) / area(full) <= 1.0
        assert lens.material == CLEAR_LENS
    assert sum(area(part) for part in found.parts.values()) == pytest.approx(area(whole), rel=1e-6)
    assert set(found.confidence.values()) == {SURE["shape"]}


@pytest.mark.parametrize("name", ["rimless", "panto"])
def test_a_nameless_mesh_of_loose_parts_is_taken_apart(catalog: Catalog, name: str) -> None:
    pair = design(catalog, name)
    found = eyewear_parts([Piece("Object_2", "", joined(pair.parts.values()))], HERE)
    for part in ("temple_left", "temple_right", "lens_left", "lens_right"):
        assert area(found.parts[part]) == pytest.approx(area(plain(pair.parts[part])), rel=1e-6)
    # Loose arms of pads go with them.
    assert 1.0 <= area(found.parts["pads"]) / area(plain(pair.parts["pads"])) + 1e-6 < 1.4
    assert found.holes == pair.holes
    assert found.parts["pads"].material == PADS
    assert found.parts["rims"].material == FRAMES["black"]


def named(pair: Eyewear, **names: tuple[str, str]) -> list[Piece]:
    """The parts as pieces called (object, material), or by numbers alone."""
    return [
        Piece(*names.get(part, (f"Object_{i}", "Material.001")), plain(surface))
        for i, (part, surface) in enumerate(pair.parts.items())
    ]


def test_materials_are_believed_before_objects_and_neither_against_geometry(
    catalog: Catalog,
) -> None:
    pair = design(catalog, "rectangle")
    found = eyewear_parts(
        named(
            pair,
            rims=("Glass_frame", "lens"),
            temple_left=("lens_L", "Material.001"),
            temple_right=("arm_R", "front plastic"),
            lens_left=("frame_1", "Lens"),
            lens_right=("Lens.002", "Material.001"),
            pads=("temples", "x"),
        ),
        HERE,
    )
    for part in pair.parts:
        if part != "temple_right":
            assert area(found.parts[part]) == pytest.approx(area(plain(pair.parts[part])), rel=0.01)
    sure = found.confidence
    assert sure["lens_left"] == SURE["material"] == 0.9
    assert sure["lens_right"] == SURE["object"] == 0.8
    assert sure["temple_left"] == SURE["shape"] == 0.5


PARTS = ("rims", "pads", "temple_left", "temple_right", "lens_left", "lens_right")


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (("Frames_1", "Nosepads", "TempleLeft", "arm_R", "LensesExterior", "Glass.001"), "object"),
        (("FRONT", "nose pad", "EarhookLeft_1", "legs", "linse links", "glas"), "object"),
        (("charm", "Object_4", "Armature", "Earth", "glasses", "Sunglasses.2"), "shape"),
    ],
)
def test_words_in_names(catalog: Catalog, names: tuple[str, ...], source: str) -> None:
    pair = design(catalog, "rectangle")
    called = {part: (name, "x") for part, name in zip(PARTS, names, strict=True)}
    found = eyewear_parts(named(pair, **called), HERE)
    assert found.confidence == dict.fromkeys(PARTS, SURE[source])


def test_transparency_tells_a_lens_that_no_name_does(catalog: Catalog) -> None:
    pair = design(catalog, "rectangle")
    pieces = named(pair)
    at = list(pair.parts).index("lens_left")
    pieces[at] = replace(pieces[at], opacity=0.3)
    found = eyewear_parts(pieces, HERE)
    assert found.confidence["lens_left"] == SURE["transparent"] == 0.7
    # Frames of crystal acetate are clear and no lenses.
    at = list(pair.parts).index("rims")
    pieces[at] = replace(pieces[at], opacity=0.5)
    again = eyewear_parts(pieces, HERE)
    assert area(again.parts["lens_left"]) == pytest.approx(area(found.parts["lens_left"]))


def test_a_sidecar_overrules_names(catalog: Catalog) -> None:
    pair = design(catalog, "rectangle")
    front = joined([pair.parts["rims"], pair.parts["pads"]])
    both = joined([pair.parts["temple_left"], pair.parts["temple_right"]])
    panes = joined([pair.parts["lens_left"], pair.parts["lens_right"]])
    pieces = [
        Piece("lens Mesh.001", "pad", front),
        Piece("Bars and tips Mesh.2", "", both),
        Piece("c", "rim [1]", panes),
    ]
    overrides = {"rims": ("Mesh.001",), "temples": ("Bars*",), "lenses": ("rim [[]1]",)}
    found = eyewear_parts(pieces, HERE, overrides)
    assert set(found.parts) == {"rims", "temple_left", "temple_right", "lens_left", "lens_right"}
    assert area(found.parts["rims"]) == pytest.approx(area(front), rel=1e-6)
    assert found.parts["lens_left"].vertices[:, 0].min() > 0 > found.parts["lens_right"].vertices[
        :, 0
    ].max()
    assert set(found.confidence.values()) == {1.0}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"pads": ("nosepads",)}, ("pads", "'nosepads'", "Object_0", "Material.001")),
        ({"pads": ("object_0",)}, ("no object or material",)),
        ({"pads": ("Object_0",), "rims": ("Object_*",)}, ("Object_0", "pads", "rims")),
    ],
)
def test_overrides_that_match_nothing_or_twice(catalog: Catalog, overrides, words) -> None:
    with pytest.raises(AssetError) as caught:
        eyewear_parts(named(design(catalog, "round")), HERE, overrides)
    assert "\n" not in str(caught.value)
    for word in ("pair.obj", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["cat_eye", "round", "aviator"])
def test_lenses_are_spanned_across_the_openings(catalog: Catalog, name: str) -> None:
    pair = design(catalog, name)
    bare = [p for p in named(pair) if not any(p.surface.vertices is s.vertices
            for n, s in pair.parts.items() if n.startswith("lens"))]  # fmt: skip
    assert "lens_left" not in eyewear_parts(bare, HERE).parts
    found = eyewear_parts(bare, HERE, synthesise=True)
    assert found.holes == pair.holes
    rims = [found.parts[part] for part in ("rims", "bridge") if part in found.parts]
    for side in ("left", "right"):
        lens, true = found.parts[f"lens_{side}"], plain(pair.parts[f"lens_{side}"])
        assert lens.material is CLEAR_LENS
        body = trimesh.Trimesh(lens.vertices, lens.faces, process=False)
        assert body.is_watertight
        assert 0 < body.volume < trimesh.Trimesh(true.vertices, true.faces, process=False).volume
        for low, real in zip(
            (lens.vertices.min(axis=0), lens.vertices.max(axis=0)),
            (true.vertices.min(axis=0), true.vertices.max(axis=0)),
            strict=True,
        ):
            np.testing.assert_allclose(low[:2], real[:2], atol=0.8)
        middle = 0.5 * (true.vertices.min(axis=0) + true.vertices.max(axis=0))[:2]
        for step in ((0, 0), (12, 5), (-12, -5), (5, -10)):
            at = middle + step
            made = heights_at(lens.vertices[lens.faces], *at)
            meant = heights_at(true.vertices[true.faces], *at)
            assert 0.5 * (made.min() + made.max()) == pytest.approx(
                0.5 * (meant.min() + meant.max()), abs=0.8
            )
    # Seen from in front nothing shows between lens and rim.
    lenses = [found.parts["lens_left"], found.parts["lens_right"]]
    assert count_holes([*rims, *lenses]) == pair.holes - 2


def test_lenses_that_are_there_stay(catalog: Catalog) -> None:
    pair = design(catalog, "round")
    pieces = named(pair)
    kept = eyewear_parts(pieces, HERE, synthesise=True).parts["lens_left"]
    assert area(kept) == pytest.approx(area(plain(pair.parts["lens_left"])), rel=1e-6)
    pieces.pop(list(pair.parts).index("lens_right"))
    found = eyewear_parts(pieces, HERE, synthesise=True)
    assert area(found.parts["lens_left"]) == pytest.approx(area(kept))
    assert found.parts["lens_right"].vertices[:, 0].max() < 0


def test_rimless_glasses_have_nothing_to_span_lenses_across(catalog: Catalog) -> None:
    pair = design(catalog, "rimless")
    pieces = [p for p, part in zip(named(pair), pair.parts, strict=True) if "lens" not in part]
    with pytest.raises(AssetError, match="no closed opening was found"):
        eyewear_parts(pieces, HERE, synthesise=True)
    with pytest.raises(AssetError, match="no closed opening was found"):
        span([], ["left"], "x")


def test_one_pane_for_both_eyes_is_cut_in_the_middle(catalog: Catalog) -> None:
    pair = design(catalog, "rectangle")
    pane = trimesh.creation.box((120, 45, 2)).subdivide_to_size(50)
    pieces = [p for p, part in zip(named(pair), pair.parts, strict=True) if "lens" not in part]
    pieces.append(Piece("visor", "", Surface(np.asarray(pane.vertices), np.asarray(pane.faces))))
    found = eyewear_parts(pieces, HERE)
    left, right = found.parts["lens_left"], found.parts["lens_right"]
    assert left.vertices[:, 0].min() == pytest.approx(0.0, abs=1e-9)
    assert right.vertices[:, 0].max() == pytest.approx(0.0, abs=1e-9)
    # Both faces and the edges: 2 * 120 * 45 + 2 * 2 * (120 + 45).
    assert area(left) + area(right) == pytest.approx(11460.0)
    assert area(left) == pytest.approx(5730.0)


def test_a_cut_keeps_the_surface_and_what_its_vertices_carry() -> None:
    vertices = np.array([[0.0, 0, 0], [4, 0, 0], [4, 2, 0], [0, 2, 0]])
    uv = (vertices[:, :2] / (4, 2)).astype(np.float32)
    attributes = {"color": np.repeat(uv[:, :1], 3, axis=1)}
    sheet = Surface(vertices, np.array([[0, 1, 2], [0, 2, 3]]), uv, attributes)
    halves = cut_at(sheet, 0, 1.0)
    x = halves.vertices[halves.faces][:, :, 0]
    assert ((x <= 1).all(axis=1) | (x >= 1).all(axis=1)).all()
    assert area(halves) == pytest.approx(8.0)
    assert area(replace(halves, faces=halves.faces[(x <= 1).all(axis=1)])) == pytest.approx(2.0)
    np.testing.assert_allclose(halves.uv, halves.vertices[:, :2] / (4, 2), atol=1e-6)
    np.testing.assert_allclose(halves.attributes["color"][:, 2], halves.vertices[:, 0] / 4)
    a, b, c = np.moveaxis(halves.vertices[halves.faces], 1, 0)
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


def looked_up(surface: Surface) -> np.ndarray:
    """Linear colour at each vertex, (n, 3): the texture there times the base colour."""
    texture = surface.material.texture
    height, width = texture.shape[:2]
    column = np.clip((surface.uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - surface.uv[:, 1]) * height).astype(int), 0, height - 1)
    srgb = texture[row, column] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear * surface.material.base_color


def test_a_part_of_several_materials_keeps_their_colours() -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    uv = square[:, :2].astype(np.float32)
    chess = np.zeros((64, 64, 3), np.uint8)
    chess[:32, :32] = 255
    pictured = Material((1.0, 0.5, 0.5), texture=chess)
    part = merged(
        [
            Surface(square, faces, material=RED),
            Surface(3 * square, faces, material=BLUE),
            Surface(square + 5, faces, uv, material=pictured),
        ]
    )
    assert part.material.roughness == BLUE.roughness
    colours = looked_up(part)
    np.testing.assert_allclose(colours[:4], [RED.base_color] * 4, atol=0.01)
    np.testing.assert_allclose(colours[4:8], [BLUE.base_color] * 4, atol=0.01)
    # The upper left quarter of the picture is white, v is up.
    np.testing.assert_allclose(colours[8:], [[0] * 3, [0] * 3, [0] * 3, (1, 0.5, 0.5)], atol=0.01)


def test_parts_of_one_material_or_one_piece_are_left_alone() -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [9, 9, 9]])
    surface = Surface(square, np.array([[0, 1, 2]]), material=RED)
    assert merged([surface, surface]).material is RED
    assert len(merged([surface]).vertices) == 3


@pytest.mark.parametrize(
    ("part", "material", "opacity", "expected"),
    [
        ("rims", None, 1.0, FRAMES["black"]),
        ("temple_left", RED, 1.0, RED),
        ("pads", None, 1.0, PADS),
        ("lens_left", None, 1.0, CLEAR_LENS),
        ("lens_left", Material((0.8, 0.8, 0.8)), 1.0, CLEAR_LENS),
        ("lens_left", Material((0.01, 0.01, 0.01)), 1.0, Material((0.01, 0.01, 0.01))),
        ("lens_left", RED, 0.25, replace(RED, transmission=0.75)),
    ],
)
def test_materials_by_part(part: str, material, opacity: float, expected: Material) -> None:
    assert vars(part_material(part, material, opacity)) == vars(expected)


def test_thousands_of_loose_triangles_are_taken_apart_all_the_same(catalog: Catalog) -> None:
    pair = design(catalog, "square")
    whole = joined(pair.parts.values())
    corners = whole.vertices[whole.faces].reshape(-1, 3)
    corners = corners + np.random.default_rng(0).normal(scale=0.01, size=corners.shape)
    soup = Surface(corners, np.arange(len(corners)).reshape(-1, 3))
    found = eyewear_parts([Piece("soup", "", soup)], HERE)
    for side, sign in (("left", 1), ("right", -1)):
        assert (found.parts[f"temple_{side}"].vertices[:, 0] * sign > 40).all()


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_specks_are_what_is_small_and_apart(scale: float) -> None:
    body = trimesh.creation.box((140, 40, 150)).subdivide_to_size(40)
    grain = trimesh.creation.box((1, 1, 1))
    for way, told in (((0, 0, 100), True), ((300, 0, 0), True), ((0, 0, 78), False),
                      ((0, 10, 20), False), ((1e7, 0, 0), True)):  # fmt: skip
        there = grain.copy().apply_translation(way)
        triangles = scale * np.concatenate([body.triangles, there.triangles])
        found = specks(triangles)
        assert not found[:-12].any()
        assert (found[-12:] == told).all()
    # As many grains as make up 1 % of the whole are no dirt any more, but of the mesh.
    some = [grain.copy().apply_translation((0, 0, 100 + 3 * i)).triangles for i in range(200)]
    assert not specks(scale * np.concatenate([body.triangles, *some])).any()
    assert not specks(np.zeros((5, 3, 3))).any()
    assert len(specks(np.zeros((0, 3, 3)))) == 0
