"""Lenses against optics worked out by hand: power, edges, shrinking, light let through, flow."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.blender import layers, lenses, scene, shading
from pipeline.blender.device import Machine
from pipeline.camera import view_of
from pipeline.catalog.data import data_path
from pipeline.catalog.eyewear import build_eyewear, load_design
from pipeline.catalog.finishes import LENSES
from pipeline.catalog.optics import lens_form, refractive_index
from pipeline.catalog.outline import outline_from_curve, superellipse
from pipeline.denoise import Denoiser
from pipeline.finish import finish
from pipeline.fit import fit, posed_parts
from pipeline.geometry import Anchors, Head, Material, Surface
from pipeline.pixels import srgb_from_linear
from pipeline.refraction import flow_from_kitti, kitti_flow, refracted, refraction_flow

EDGE = outline_from_curve(superellipse(3.0), 52.0, 38.0).points
POWERS = [-8.0, -6.0, -2.0, -0.25, 0.0, 1.0, 5.0]
TWO = Machine(threads=2, device="CPU")
#: A plane so far behind a lens, seen from so far in front.
BEHIND, AWAY = 30.0, 900.0


def back_vertex_power(form):
    """D, by hand: the powers of both surfaces, the first as it arrives at the second."""
    first = 1000 * (form.index - 1) / form.front_radius
    second = 1000 * (1 - form.index) / form.back_radius
    return first / (1 - form.centre_mm / 1000 * first / form.index) + second


@pytest.mark.parametrize("power", POWERS)
def test_a_lens_has_the_power_that_it_was_ground_for(power):
    form = lens_form(power, 4.0, 2.0, EDGE, 35.0)
    assert back_vertex_power(form) == pytest.approx(power, abs=1e-6)
    # The thickness is that between the vertices on the axis through both centres.
    axis = form.front_centre - form.back_centre
    axis *= np.sign(axis[2]) / np.linalg.norm(axis)
    front = form.front_centre + form.front_radius * axis
    back = form.back_centre + form.back_radius * axis
    assert np.linalg.norm(front - back) == pytest.approx(form.centre_mm, abs=1e-6)
    assert front[:2] == pytest.approx([-3.5, 2.0], abs=0.3)


@pytest.mark.parametrize("power", POWERS)
def test_edges_hold_and_minus_lenses_are_thin_in_the_middle(power):
    form = lens_form(power, 4.0, 2.0, EDGE, 35.0)
    edge = form.front(EDGE) - form.back(EDGE)
    assert edge.min() >= 1.0 - 1e-6
    if power <= -3:
        assert form.centre_mm == pytest.approx(1.4)
        assert edge.max() > 3.0
    if power >= 1:
        assert form.centre_mm > edge.mean() + 0.4


def test_strong_lenses_are_of_higher_index():
    assert [refractive_index(p) for p in (0, -2, 3, -8)] == [1.498, 1.498, 1.598, 1.661]


def test_rays_bend_by_snells_law():
    """30 degrees in air: 19.47 in glass of 1.5; beyond 41.81 degrees inside, none comes out."""
    way = np.array([[0.5, 0.0, -np.sqrt(0.75)]])
    up = np.array([[0.0, 0.0, 1.0]])
    inside, passed = refracted(way, up, 1 / 1.5)
    assert passed.all()
    assert np.degrees(np.arcsin(inside[0, 0])) == pytest.approx(19.471, abs=1e-3)
    steep = np.radians([41.0, 42.5])
    ways = np.stack([np.sin(steep), 0 * steep, -np.cos(steep)], axis=1)
    assert refracted(ways, np.repeat(up, 2, axis=0), 1.5)[1].tolist() == [True, False]


def test_flow_survives_kittis_format():
    flow = np.zeros((2, 3, 2))
    flow[0, 1], flow[1, 2] = (1.25, -3.5), (600.0, 0.0)
    valid = np.zeros((2, 3), bool)
    valid[0, 1] = valid[1, 2] = True
    image = kitti_flow(flow, valid)
    assert image[0, 1].tolist() == [2**15 + 80, 2**15 - 224, 1]
    read, there = flow_from_kitti(image)
    # 600 px do not fit into 16 bits.
    assert there.tolist() == [[False, True, False], [False] * 3]
    assert read[0, 1].tolist() == [1.25, -3.5]


# --- a lens before a plane ---------------------------------------------------------------------


def flat_lens(power, finish):
    """A left lens with its middle in the origin, facing the camera, its optical centre there."""
    design = load_design(data_path("assets") / "eyewear" / "square.yaml")
    numbers = {
        "wrap_deg": 0.0, "pantoscopic_tilt_deg": 0.0, "power_d": power, "smudges": 0.0,
        "lens_width_mm": 45.0, "bridge_mm": 18.0, "lenses": finish,
    }  # fmt: skip
    lens = build_eyewear(design, {**design.typical(), **numbers}).parts["lens_left"]
    centre = np.array([31.5, 2.0, lens.vertices[:, 2].max()])
    return replace(lens, vertices=lens.vertices - centre)


def board(spec):
    """A head that is a plane behind the lens, 200 mm wide, and a camera straight before it."""
    corners = np.array([[-100.0, -100, 0], [100, -100, 0], [100, 100, 0], [-100, 100, 0]])
    plane = Surface(
        corners - [0, 0, BEHIND], np.array([[0, 1, 2, 3]]),
        attributes={"rest": (corners / 200 + (0.5, 0.5, 0)).astype(np.float32)},
    )  # fmt: skip
    nose, temple = np.array([0.0, 22.0, 0.0]), np.array([0.0, 0.0, 0.0])
    head = Head("board", {"skin": plane}, Anchors(temple, temple, nose, nose))
    camera = spec.camera.model_copy(
        update={
            "focal_mm": 400.0, "distance_mm": AWAY, "yaw_deg": 0.0, "pitch_deg": 0.0,
            "roll_deg": 0.0, "shift_x": 0.0, "shift_y": 0.0,
        }
    )  # fmt: skip
    render = spec.render.model_copy(update={"size": 64, "spp": 64})
    return spec.model_copy(update={"camera": camera, "render": render}), head


def with_spp(spec, spp):
    return spec.model_copy(update={"render": spec.render.model_copy(update={"spp": spp})})


def rendered(spec, head, lens, catalog, color, reflects=True):
    """`all` of a lens before the plane, which shines in a colour, or each point in its own."""
    portrait = scene.build_portrait(spec, head, catalog.around(spec), TWO)
    shader = shading.Shader("skin")
    shown = shader.attribute("rest")["Vector"] if color is None else color
    glow = shader.node("ShaderNodeEmission", {"Color": shown}).outputs[0]
    portrait.head["skin"].data.materials[0] = shader.finish(glow)
    portrait.scene.world = None
    built = scene.wear(portrait, {"lens_left": lens} if lens else {"pads": far_away()})
    if lens:
        shading.show_reflections(built.eyewear["lens_left"].data.materials[0], reflects)
    return layers.trace_layer(built, "all")["Combined"][..., :3]


def far_away():
    corners = np.array([[0.0, 900, -900], [1, 900, -900], [0, 901, -900]])
    return Surface(corners, np.array([[0, 1, 2]]), material=Material())


def shrinking(form):
    """Size of a small thing behind a lens against that without it, seen by the camera.

    From the camera towards the plane, as matrices on (height, angle) of paraxial rays.
    """
    n, t = form.index, form.centre_mm
    first, second = (n - 1) / form.front_radius, (1 - n) / form.back_radius

    def ahead(distance):
        return np.array([[1.0, distance], [0.0, 1.0]])

    def surface(power):
        return np.array([[1.0, 0.0], [-power, 1.0]])

    # Angles inside are reduced by the index, so the lens' thickness counts t / n.
    lens = surface(second) @ ahead(t / n) @ surface(first)
    through = ahead(BEHIND - t) @ lens @ ahead(AWAY)
    return (AWAY + BEHIND) / through[0, 1]


def linear(image):
    """Of 8-bit sRGB (IEC 61966-2-1)."""
    x = image.astype(np.float32) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def slope_at_the_middle(values):
    """Change per pixel across the middle 16 px."""
    middle = len(values) // 2
    pixels = np.arange(middle - 8, middle + 8)
    return np.polyfit(pixels, values[pixels], 1)[0]


@pytest.mark.parametrize("power", [-6.0, 4.0])
def test_a_lens_before_a_board_shrinks_it_as_thick_lens_optics_says(power, worn_spec, catalog):
    spec, head = board(worn_spec("square"))
    edge = outline_from_curve(superellipse(4.2), 45.0, 38.0).points
    # Colourless and without reflections, so that a pixel's colour is a place on the board.
    lens = flat_lens(power, "clear")
    pure = replace(lens.material, base_color=(1.0, 1.0, 1.0), reflectance=(0.0, 0.0, 0.0))
    lens = replace(lens, material=pure)
    bare = rendered(spec, head, None, catalog, None)
    seen = rendered(spec, head, lens, catalog, None)
    found = slope_at_the_middle(bare[32, :, 0]) / slope_at_the_middle(seen[32, :, 0])
    design = load_design(data_path("assets") / "eyewear" / "square.yaml").typical()
    form = lens_form(power, design["base_curve_d"], design["lens_thickness_mm"], edge, 31.5)
    assert abs(1 - shrinking(form)) > 0.1
    assert found == pytest.approx(shrinking(form), rel=0.02)
    # The flow says the same without a picture.
    flow, valid = refraction_flow(
        view_of(spec.camera, head),
        head,
        {"lens_left": lens, "pads": far_away()},
        np.ones((64, 64), bool),
    )
    assert valid[24:40, 24:40].all()
    assert 1 / (1 + slope_at_the_middle(flow[32, :, 0])) == pytest.approx(shrinking(form), rel=0.02)


@pytest.mark.parametrize("finish", ["uncoated", "clear", "brown", "grey_gradient", "blue_mirror"])
def test_a_lens_lets_through_what_its_parameters_say(finish, worn_spec, catalog):
    spec, head = board(worn_spec("square"))
    lens = flat_lens(0.0, finish)
    spec = with_spp(spec, 512)
    seen = rendered(spec, head, lens, catalog, (1.0, 1.0, 1.0))[28:36, 28:36].mean(axis=(0, 1))
    material = LENSES[finish]
    reflected = np.array(material.reflectance or 3 * (((1.498 - 1) / (1.498 + 1)) ** 2,))
    if material.pattern:
        low, high = sorted([material.base_color, material.second_color])
        assert (seen > np.array(low) * (1 - reflected) ** 2).all()
        assert (seen < np.array(high)).all()
        return
    # What goes to and fro inside comes out as well.
    tint = np.array(material.base_color)
    expected = tint * (1 - reflected) ** 2 / (1 - reflected**2)
    assert seen == pytest.approx(expected, rel=0.02)


def turned(surface, degrees):
    """About the y axis through the origin."""
    a = np.radians(degrees)
    matrix = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    return replace(surface, vertices=surface.vertices @ matrix.T)


def fresnel(degrees, index):
    """Reflectance of unpolarised light (Hecht, "Optics", 5th ed., 4.6)."""
    outside = np.radians(degrees)
    inside = np.arcsin(np.sin(outside) / index)
    across = np.sin(outside - inside) / np.sin(outside + inside)
    along = np.tan(outside - inside) / np.tan(outside + inside)
    return (across**2 + along**2) / 2


def test_a_coating_has_no_colour_at_grazing_incidence(worn_spec, catalog):
    """At 65 degrees bare CR-39 reflects 12% a face, and a green coating hardly less, grey."""
    spec, head = board(worn_spec("square"))
    lens = turned(flat_lens(0.0, "clear"), 65.0)
    # What it reflects would come from the board as well.
    white = (1.0, 1.0, 1.0)
    seen = rendered(with_spp(spec, 512), head, lens, catalog, white, reflects=False)
    seen = seen[26:38, 31:33].mean(axis=(0, 1))
    bare, grazing = ((1.498 - 1) / (1.498 + 1)) ** 2, fresnel(65.0, 1.498)
    normal = np.array(LENSES["clear"].reflectance)
    reflected = normal + (grazing - bare) * (1 - normal) / (1 - bare)
    expected = np.array(LENSES["clear"].base_color) * (1 - reflected) ** 2
    assert seen == pytest.approx(expected, abs=0.04)
    assert np.ptp(seen) < 0.02


def test_what_nothing_is_seen_through_has_no_flow_and_lets_nothing_through(worn_spec, catalog):
    spec, head = board(worn_spec("square"))
    lens = flat_lens(0.0, "clear")
    painted = replace(lens, material=replace(lens.material, transmission=0.0))
    parts = {"lens_left": painted, "pads": far_away()}
    everywhere = np.ones((64, 64), bool)
    assert not refraction_flow(view_of(spec.camera, head), head, parts, everywhere)[1].any()
    parts = {"lens_left": lens, "pads": far_away()}
    assert refraction_flow(view_of(spec.camera, head), head, parts, everywhere)[1].mean() > 0.2


@pytest.mark.parametrize("caustics", [False, True])
def test_light_through_a_clear_lens_neither_vanishes_nor_grows(caustics, worn_spec, catalog):
    """On a wall behind a plano lens under an even sky.

    As a pane it takes away what it does at normal incidence; with caustics what Fresnel's equations
    take from light of all directions, some 15%, and at its edge.
    """
    spec, head = board(with_spp(worn_spec("square"), 1024))
    spec = spec.model_copy(
        update={"render": spec.render.model_copy(update={"caustics": caustics, "size": 16})}
    )
    wall = head.surfaces["skin"]
    grey = Material((0.5, 0.5, 0.5), roughness=1.0)
    near = replace(wall, vertices=wall.vertices - [0, 0, 8.0 - BEHIND], material=grey)
    portrait = scene.build_portrait(
        spec, replace(head, surfaces={"skin": near}), catalog.around(spec), TWO
    )
    portrait.scene.world = lenses._white_world()
    built = scene.wear(portrait, {"lens_left": flat_lens(0.0, "clear")})
    lit, shaded = (layers.trace_layer(built, name)["Combined"][4:12, 4:12, :3].mean()
                   for name in ("face", "shadow"))  # fmt: skip
    assert (0.7 if caustics else 0.9) * lit < shaded < 0.99 * lit


# --- optional layers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dressed(worn_spec, catalog):
    """A sample with all optional layers and lenses of -6 D, and `all` traced once more."""
    spec = worn_spec("square", 1)
    choice = {**spec.glasses.choice, "power_d": -6.0, "smudges": 0.0, "lenses": "clear"}
    wanted = ("sunglasses", "no_reflection", "lens_transmittance", "refraction_flow")
    spec = spec.model_copy(
        update={
            "glasses": spec.glasses.model_copy(update={"choice": choice}),
            "render": spec.render.model_copy(
                update={"size": 96, "spp": 256, "layers": wanted, "denoise": True}
            ),
        }
    )  # fmt: skip
    head, eyewear = catalog.head(spec.head), catalog.eyewear(spec.glasses)
    parts = posed_parts(eyewear, fit(head, eyewear, spec.nose))
    portrait = scene.build_portrait(spec, head, catalog.around(spec), TWO)
    face = layers.render_face(portrait)
    built = scene.wear(portrait, parts)
    rendering = lenses.render_extras(built, face, layers.render(built, face), spec)
    coverage = rendering.coverage
    behind = coverage.lens_left + coverage.lens_right > 0
    flow, valid = refraction_flow(view_of(spec.camera, head), head, parts, behind)
    again = layers.trace_layer(built, "all")["Combined"][..., :3]
    return spec, rendering, flow, valid, again


def test_shadow_bent_and_dimmed_is_what_is_seen_through_a_lens(dressed):
    """In the denoised pictures that a user has, in bytes."""
    _, rendering, flow, valid, _ = dressed
    inner = cv2.erode((rendering.coverage.lens_left + rendering.coverage.lens_right == 1)
                      .astype(np.uint8), np.ones((3, 3))) > 0  # fmt: skip
    inner &= valid & (rendering.coverage.frame == 0)
    assert inner.sum() > 200
    spec = dressed[0]
    images = finish(spec, rendering, Denoiser(2))
    shadow = linear(images["shadow"])
    through = images["lens_transmittance"] / np.float32(65535)
    rows, columns = np.mgrid[:96, :96].astype(np.float32)
    bent = cv2.remap(
        shadow, columns + flow[..., 0].astype(np.float32), rows + flow[..., 1].astype(np.float32),
        cv2.INTER_LINEAR,
    )  # fmt: skip
    change, straight = (
        (srgb_from_linear(picture * through) * 255.0 - images["no_reflection"])[inner]
        for picture in (bent, shadow)
    )
    # A lens of 30 px is minified, which warping a finished picture cannot repeat to the byte.
    assert np.abs(change).mean() < 8.0
    assert np.abs(change).mean() < 0.75 * np.abs(straight).mean()
    assert np.abs(change.mean(axis=0)).max() < 2.0


def test_optional_layers_are_all_but_for_where_they_say(dressed):
    _, rendering, _, _, again = dressed
    taken = rendering.layers["all"]
    for name, extra in rendering.extras.items():
        assert np.array_equal(extra.color[~extra.where], taken[~extra.where]), name
        assert (extra.color[extra.where] != taken[extra.where]).any(), name
    # Afterwards the scene is as before.
    assert np.array_equal(again[rendering.border], taken[rendering.border])


def test_sunglasses_darken_what_is_behind_them(dressed):
    _, rendering, _, _, _ = dressed
    behind = rendering.coverage.lens_left + rendering.coverage.lens_right == 1
    dark, clear = rendering.extras["sunglasses"].color, rendering.layers["all"]
    assert dark[behind].mean() < 0.5 * clear[behind].mean()
    assert (rendering.transmittance[rendering.coverage.full == 0] == 1).all()
