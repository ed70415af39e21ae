"""Labels, alignment and designs against numbers worked out by hand, and dots that Blender draws."""

from __future__ import annotations

from collections import Counter

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from pipeline.align import celeba_square, cropped, ffhq_square
from pipeline.blender import scene, shading, trace
from pipeline.blender.device import Machine
from pipeline.blender.frames import blender_points, turned_world
from pipeline.camera import View, view_of
from pipeline.errors import RecipeError
from pipeline.labels import box_of
from pipeline.plan import check_names, design, draw
from pipeline.recipe import load_recipe, parse_recipe

SIZE = 96
#: Right eye, left eye, right and left corner of the mouth, as the picture shows them.
LEVEL = np.array([[30.0, 40.0], [70.0, 40.0], [35.0, 80.0], [65.0, 80.0]])


def test_ffhq_of_a_level_face():
    """|e| = 40 and |m| = 40: the half edge is max(80, 72) = 80, the centre 4 px below the eyes."""
    corner, right = ffhq_square(LEVEL)
    assert corner == pytest.approx([50 - 80, 44 - 80])
    assert right == pytest.approx([160, 0])


def test_ffhq_of_a_long_face():
    """|m| = 60: 1.8 * 60 = 108 is more than 2 * 40; the centre lies 6 px below the eyes."""
    points = LEVEL + np.array([[0, 0], [0, 0], [0, 20], [0, 20]])
    corner, right = ffhq_square(points)
    assert corner == pytest.approx([50 - 108, 46 - 108])
    assert right == pytest.approx([216, 0])


def test_celeba_of_a_level_face():
    """Eyes 39 of 178 px apart at row 111 of 218, so at row 91 of the middle 178 rows."""
    corner, right = celeba_square(LEVEL)
    width = 40 * 178 / 39
    assert right == pytest.approx([width, 0])
    assert corner == pytest.approx([30 - 69 / 178 * width, 40 - 91 / 178 * width])


@pytest.mark.parametrize("square", [ffhq_square, celeba_square])
def test_squares_turn_with_the_face(square):
    angle = np.deg2rad(30.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corner, right = square(LEVEL)
    turned_corner, turned_right = square(LEVEL @ turn.T)
    assert turned_corner == pytest.approx(turn @ corner)
    assert turned_right == pytest.approx(turn @ right)


def test_a_crop_shows_what_the_square_shows():
    """The square from (0.25, 0.5) of half the width, turned by a quarter: its corners."""
    view = View(np.eye(4), 36.0, 0.0, 0.0)
    found = cropped(view, np.array([0.75, 0.25]), np.array([0.0, 0.5]))
    # At unit distance the picture is one wide: (u, v) lies at (u - 0.5, 0.5 - v).
    corners = np.array([[0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    points = np.column_stack([corners[:, 0] - 0.5, 0.5 - corners[:, 1], -np.ones(3)]) * 100
    assert found.project(points, 1) == pytest.approx(np.array([[0, 0], [1, 0], [1, 1]]), abs=1e-9)


@pytest.mark.parametrize(
    ("focal_mm", "align"), [(24.0, "none"), (50.0, "none"), (135.0, "none"), (50.0, "ffhq"),
                            (135.0, "celeba")],
)  # fmt: skip
def test_a_landmark_lies_where_a_dot_at_its_vertex_is_seen(focal_mm, align, worn_spec, catalog):
    spec = worn_spec("round")
    camera = spec.camera.model_copy(
        update={
            "focal_mm": focal_mm, "distance_mm": 330 * focal_mm / 36, "yaw_deg": 20.0,
            "pitch_deg": -8.0, "roll_deg": 11.0, "shift_x": 0.04, "align": align,
        }
    )  # fmt: skip
    spec = spec.model_copy(
        update={
            "camera": camera,
            "render": spec.render.model_copy(update={"size": SIZE, "spp": 16}),
        }
    )
    head = catalog.head(spec.head)
    portrait = scene.build_portrait(spec, head, catalog.around(spec), Machine(2, "CPU"))
    picture, turn = portrait.scene, turned_world(spec.light.rotation_deg)
    for obj in portrait.head.values():
        obj.hide_render = True
    picture.world = None
    view = view_of(spec.camera, head)
    expected = view.project(head.landmarks, SIZE)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for number in (30, 36, 45, 54):
        assert (expected[number] > 3).all(), number
        assert (expected[number] < SIZE - 3).all(), number
        mesh = bpy.data.meshes.new("dot")
        around = np.array([[0, 2, 0], [2, -1, 0], [-2, -1, 0], [0, 0, 2.0]])
        dot = blender_points(head.landmarks[number] + around)
        mesh.from_pydata(dot.tolist(), [], [(0, 1, 2), (0, 1, 3), (1, 2, 3), (0, 2, 3)])
        mesh.materials.append(shading.emission("dot", (1.0, 1.0, 1.0)))
        obj = bpy.data.objects.new("dot", mesh)
        obj.matrix_world = Matrix(turn.tolist())
        picture.collection.objects.link(obj)
        seen = trace.trace(picture, np.ones((SIZE, SIZE), bool))["Combined"][..., 0]
        bpy.data.objects.remove(obj)
        centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        assert np.linalg.norm(centre - expected[number]) < 0.5, number


def test_the_box_of_a_mask_by_hand():
    mask = np.zeros((10, 12), np.uint8)
    assert box_of(mask) is None
    mask[3:5, 2:9] = 255
    assert box_of(mask) == [2, 3, 7, 2]


def test_every_prefix_of_the_papers_design_is_balanced(catalog):
    recipe = load_recipe("lyu")
    plan = design(recipe, catalog, seed=3)
    assert plan.size == 73 * 20 * 4 * 5 == 29_200
    cells = [plan.cell(index) for index in range(plan.size)]
    assert len(set(cells)) == plan.size
    for trait, levels in (("person", 73), ("expression", 20), ("glasses", 5), ("nose", 4)):
        values = [getattr(cell, trait) for cell in cells]
        for length in (1, 7, 73, 100, 1000, 14_601):
            counts = Counter(values[:length])
            least = min(counts.values()) if len(counts) == levels else 0
            assert max(counts.values()) - least <= 1
    spec = draw(recipe, catalog, 3, 4321)
    assert (spec.head.expression, spec.glasses.name, spec.nose) == (
        cells[4321].expression, cells[4321].glasses, cells[4321].nose,
    )  # fmt: skip
    assert spec.camera.align == "ffhq"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ({"nose": [0, 3]}, "$.nose"),
        ({"expressions": {"1_neutral": 2.0}}, "$.expressions"),
        ({"pairs_per_portrait": 2}, "$.pairs_per_portrait"),
    ],
)
def test_a_design_needs_levels_to_count(text, path, catalog):
    recipe = parse_recipe({"design": True, "nose": 1.0, **text}, "x")
    with pytest.raises(RecipeError, match=rf"x: \{path}: a design"):
        check_names(recipe, catalog, "x")
