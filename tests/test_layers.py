"""The renderer against facts: equal layers, projected anchors, light, threads, order."""

from __future__ import annotations

from dataclasses import replace

import bpy
import cv2
import numpy as np
import pytest
from props import add_card, add_prop, weighted_centre

from pipeline.blender import labels, layers, scene, shading, trace, verify
from pipeline.blender.device import Machine
from pipeline.blender.labels import render_coverage
from pipeline.camera import face_centre, view_of
from pipeline.catalog.catalog import open_catalog
from pipeline.catalog.light import face_irradiance, read_hdr
from pipeline.denoise import Denoiser, denoised_layers
from pipeline.finish import coverage_masks, finish
from pipeline.fit import fit, posed_parts
from pipeline.pixels import differing, dilated, srgb_from_linear
from pipeline.plan import draw
from pipeline.rendering import Extra
from pipeline.shadows import may_be_shadow
from pipeline.spec import LAYERS, GlassesSpec

ONE = Machine(threads=1, device="CPU")
TWO = Machine(threads=2, device="CPU")


def seat(spec, catalog, machine=TWO):
    """A portrait, and the parts it is to wear."""
    head, eyewear = catalog.head(spec.head), catalog.eyewear(spec.glasses)
    parts = posed_parts(eyewear, fit(head, eyewear, spec.nose))
    path = catalog.around(spec)
    return scene.build_portrait(spec, head, path, machine), parts


def build(spec, catalog, machine=TWO):
    return scene.wear(*seat(spec, catalog, machine))


def render(spec, catalog, machine=TWO):
    """What a worker does for a sample; also the scene."""
    portrait, parts = seat(spec, catalog, machine)
    face = layers.render_face(portrait)
    built = scene.wear(portrait, parts)
    return built, layers.render(built, face)


def finished(spec, catalog, machine=TWO):
    return finish(spec, render(spec, catalog, machine)[1], Denoiser(machine.threads))


def color(built, layer):
    return layers.trace_layer(built, layer)["Combined"][..., :3]


def full_layers(built):
    """Every layer traced in full, nothing taken over from another."""
    return {layer: color(built, layer) for layer in LAYERS}


def with_render(spec, **changes):
    return spec.model_copy(update={"render": spec.render.model_copy(update=changes)})


@pytest.fixture(scope="module", params=["square", "aviator", "rimless"])
def spec(request, worn_spec):
    return worn_spec(request.param)


def test_layers_agree_bit_for_bit_outside_the_eyewear(spec, catalog):
    built = build(spec, catalog)
    traced = full_layers(built)
    support = render_coverage(built, hide_head=True)[0].full > 0
    near = cv2.dilate(support.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert 50 < near.sum() < near.size / 2
    assert np.array_equal(traced["all"][~near], traced["shadow"][~near])
    assert np.array_equal(traced["glass"][~near], traced["face"][~near])
    # The law says something only if the layers differ elsewhere.
    assert (traced["all"] != traced["shadow"]).any()
    assert (traced["all"] != traced["glass"]).any()


@pytest.mark.parametrize("spp", [1, 33, 65])
def test_layers_of_any_number_of_samples_are_those_traced_in_full(spp, worn_spec, catalog):
    """Coverage has 64 samples, of which the first are the picture's."""
    built, rendering = render(with_render(worn_spec("rimless"), spp=spp, size=48), catalog)
    traced, taken = full_layers(built), rendering.layers
    assert np.array_equal(traced["glass"], taken["glass"])
    seen = rendering.silhouette
    assert np.array_equal(traced["shadow"][~seen], traced["all"][~seen])


def test_layers_taken_over_are_those_traced_in_full(spec, catalog):
    built, rendering = render(spec, catalog)
    traced, taken = full_layers(built), rendering.layers
    seen, border = rendering.silhouette, rendering.border
    assert np.array_equal(traced["face"], taken["face"])
    for layer, where in (("all", border), ("shadow", seen), ("glass", seen)):
        assert np.array_equal(traced[layer][where], taken[layer][where]), layer
    assert np.array_equal(taken["glass"][~seen], taken["face"][~seen])
    assert np.array_equal(traced["glass"], taken["glass"])
    assert np.array_equal(taken["shadow"][~seen], taken["all"][~seen])
    assert np.array_equal(traced["shadow"][~seen], traced["all"][~seen])
    assert not (border & ~seen).all()
    assert border.mean() < 0.6


def test_verification_finds_a_wrong_pixel_and_what_is_left_out(worn_spec, catalog, monkeypatch):
    built, rendering = render(with_render(worn_spec("square"), spp=8), catalog)
    figures = verify.verify_layers(built, rendering)
    assert (figures["broken"], figures["unequal_px"], figures["unequal_by"]) == (0, 0, 0)
    assert figures["border"] == rendering.border.mean()
    gain = built.portrait.spec.light.gain

    def with_white(names, where):
        changed = {name: rendering.layers[name].copy() for name in names}
        for picture in changed.values():
            picture[where] = 1.0 / gain
        return replace(rendering, layers={**rendering.layers, **changed})

    dark = gain * rendering.layers["all"].max(axis=2) < 0.5
    v, u = np.argwhere(rendering.silhouette & dark)[0]
    wrong = verify.verify_layers(built, with_white(["all"], np.s_[v, u]))
    assert (wrong["broken"], wrong["unequal_px"]) == (1, 1)
    assert wrong["unequal_by"] > 50
    # An eighth of the picture, where nothing was traced and no rule but the bound holds.
    block = np.s_[52:60, 2:10]
    assert not rendering.border[block].any()
    before = srgb_from_linear(rendering.layers["face"][block] * gain) * 255
    left_out = with_white(["all", "shadow"], block)
    found = verify.verify_layers(built, left_out)
    assert found["unequal_px"] == found["broken"] == 0
    assert found["omitted"] == pytest.approx((255 - before.mean(axis=(0, 1))).max(), abs=1)
    monkeypatch.setattr(verify, "_JUDGED_SPP", 8)
    assert verify.verify_layers(built, left_out)["broken"] == 1


@pytest.mark.parametrize(("spp", "runs", "of"), [(4, 1, 32), (18, 2, 162)])
def test_labels_of_small_pictures_have_more_samples_where_shadow_lies(
    spp, runs, of, worn_spec, catalog
):
    built, rendering = render(with_render(worn_spec("square"), spp=spp), catalog)
    cycles, few = built.portrait.scene.cycles, rendering.layers
    where = may_be_shadow(few["shadow"], few["face"])
    assert 0.01 < where.mean() < 0.5
    assert (cycles.samples, cycles.seed) == (spp, built.portrait.spec.render.seed)
    cycles.samples = of
    expected = dict(few)
    for run in range(runs):
        # Later runs are of what still looks like shadow.
        again = where & may_be_shadow(expected["shadow"], expected["face"]) if run else where
        for layer in ("shadow", "face"):
            mean = (expected[layer] * run + color(built, layer)) / (run + 1)
            expected[layer] = np.where(again[..., None], mean, expected[layer])
        cycles.seed += 1
    for layer in ("shadow", "face"):
        found, image = rendering.for_labels[layer], expected[layer]
        assert np.array_equal(found, image), layer
        assert not np.array_equal(few[layer][where], image[where])
    # Masks are made of one seed.
    cycles.seed -= runs
    where = rendering.silhouette & may_be_shadow(few["all"], few["glass"])
    assert where.any()
    for layer in ("all", "glass"):
        once = np.where(where[..., None], color(built, layer), few[layer])
        assert np.array_equal(rendering.for_labels[layer], once), layer


def test_labels_have_no_fewer_samples_than_the_picture(worn_spec, catalog):
    """Of 300 samples a seed none is left for one mask, and the matte has 4 x 256."""
    spec = with_render(worn_spec("square"), spp=300, size=16)
    _, rendering = render(spec, catalog)
    for layer in ("all", "glass"):
        assert rendering.for_labels[layer] is rendering.layers[layer], layer
    assert (rendering.for_labels["shadow"] != rendering.layers["shadow"]).any()


@pytest.mark.parametrize(
    ("size", "spp", "expected"),
    [
        (512, 32, 32), (256, 32, 32), (224, 32, 62), (160, 32, 336), (128, 32, 1024),
        (64, 32, 1024), (64, 4, 32), (64, 400, 1024), (128, 1024, 1024), (64, 2000, 2000),
    ],
)  # fmt: skip
def test_samples_of_labels(size, spp, expected):
    assert layers.label_spp(size, spp) == expected


def test_what_the_border_of_all_leaves_out_is_faint(worn_spec, catalog):
    """In blocks an eighth of the picture wide, of many samples."""
    built, rendering = render(with_render(worn_spec("aviator"), spp=256), catalog)
    gain = 2.0**built.portrait.spec.light.exposure_ev
    full, taken = (
        srgb_from_linear((image * gain).astype(np.float32)) * 255
        for image in (color(built, "all"), rendering.layers["all"])
    )
    assert (full != taken).any()
    assert np.abs(cv2.blur(full - taken, (8, 8))).max() < 1.0


def test_eyewear_and_screen_share_no_tree_with_the_portrait(worn_spec, catalog):
    """Cycles makes a tree of its own of a mesh that two objects share; see `trace.keep_apart`."""
    portrait, parts = seat(worn_spec("square"), catalog)
    for _ in range(2):
        built = scene.wear(portrait, parts)
        objects = [obj for obj in portrait.scene.objects if not obj.hide_render]
        screen = next(obj for obj in objects if obj.name.endswith("_screen"))
        for obj in (screen, *built.eyewear.values()):
            (twin,) = (other for other in objects if obj != other and obj.data == other.data)
            assert not twin.visible_camera
            assert not twin.visible_shadow


def test_cycles_keeps_what_it_built_of_a_portrait(worn_spec, catalog, monkeypatch):
    """It drops objects that are hidden or removed, and builds meshes and hair anew that are given
    other materials: none of that befalls a head, between pairs of glasses nor for their labels."""
    portrait, parts = seat(worn_spec("square"), catalog)
    face = layers.render_face(portrait)
    found = []

    def look(*arguments):
        objects = [obj for obj in portrait.scene.objects if not obj.hide_render]
        heads = [(obj.data.name, obj.data.materials[0].name) for obj in portrait.head.values()]
        found.append((sorted(obj.name for obj in objects), heads))
        return trace.trace(*arguments)

    monkeypatch.setattr(labels, "trace", look)
    monkeypatch.setattr(layers, "trace", look)
    for worn in (parts, {name: part for name, part in parts.items() if name != "pads"}):
        layers.render(scene.wear(portrait, worn), face)
    assert len(found) >= 10
    assert all(state == found[0] for state in found)


def test_a_portrait_wears_one_pair_after_another_as_if_alone(worn_spec, catalog):
    spec = worn_spec("square")
    others = catalog.glasses["round"]
    other = spec.model_copy(
        update={
            "glasses": GlassesSpec(
                name="round", sha256=others.sha256, choice=dict(others.typical())
            )
        }
    )
    assert spec.portrait == other.portrait
    alone = finished(other, catalog)
    portrait, parts = seat(spec, catalog)
    face = layers.render_face(portrait)
    layers.render(scene.wear(portrait, parts), face)
    _, parts = catalog.head(other.head), posed_parts(
        catalog.eyewear(other.glasses),
        fit(catalog.head(other.head), catalog.eyewear(other.glasses), other.nose),
    )
    rendering = layers.render(scene.wear(portrait, parts), face)
    second = finish(other, rendering, Denoiser(2))
    for key in alone:
        assert np.array_equal(alone[key], second[key]), key


@pytest.mark.parametrize("f_number", [None, 1.2])
def test_denoising_adds_no_difference_between_layers(f_number, worn_spec, catalog):
    spec = with_render(worn_spec("square"), denoise=True)
    camera = spec.camera.model_copy(update={"f_number": f_number})
    spec = spec.model_copy(update={"camera": camera})
    _, rendering = render(spec, catalog)
    clean = denoised_layers(rendering, Denoiser(2))
    met = (rendering.layers["all"] != rendering.layers["shadow"]).any(axis=2)
    seen = dilated(met | (rendering.coverage.full > 0), 2)
    assert np.array_equal(clean["glass"][~seen], clean["face"][~seen])
    assert np.array_equal(clean["all"][~seen], clean["shadow"][~seen])
    free = ~differing(rendering.layers["all"], rendering.layers["face"])
    assert free.any()
    for layer in LAYERS:
        assert np.array_equal(clean[layer][free], clean["face"][free]), layer
        assert (clean[layer] != rendering.layers[layer]).any()


def test_denoised_optional_layers_are_all_where_they_are_as_traced(worn_spec, catalog):
    spec = with_render(worn_spec("square"), denoise=True)
    _, rendering = render(spec, catalog)
    changed = np.zeros_like(rendering.border)
    changed[28:34, 20:30] = True
    color = np.where(changed[..., None], 0.5, rendering.layers["all"]).astype(np.float32)
    extra = Extra(color, rendering.guides["all"], np.ones_like(changed))
    images = finish(spec, replace(rendering, extras={"sunglasses": extra}), Denoiser(2))
    same = ~dilated(changed, 2)
    assert np.array_equal(images["sunglasses"][same], images["all"][same])
    assert (images["sunglasses"][changed] != images["all"][changed]).any()


def test_depth_of_field_spreads_masks_and_keeps_layers_locked(worn_spec, catalog):
    """A wide lens near by: labels are of the same glasses, softer where these are out of focus, and
    layers are equal wherever no ray meets them."""
    spec = worn_spec("square")
    covered = {}
    for f_number in (None, 0.7):
        lens = {"focal_mm": 50.0, "distance_mm": 300.0, "yaw_deg": 60.0, "f_number": f_number}
        taken = spec.model_copy(update={"camera": spec.camera.model_copy(update=lens)})
        portrait, parts = seat(taken, catalog)
        face = layers.render_face(portrait)
        built = scene.wear(portrait, parts)
        covered[f_number] = render_coverage(built)[0].full
    full, soft = covered[None], covered[0.7]
    assert ((full >= 0.5) & (soft >= 0.5)).sum() / ((full >= 0.5) | (soft >= 0.5)).sum() > 0.8
    partly = [int(((c > 0) & (c < 1)).sum()) for c in (full, soft)]
    assert partly[1] > partly[0] + 10
    # What is out of focus is spread, not lost.
    assert soft.sum() == pytest.approx(full.sum(), rel=0.1)
    traced, rendering = full_layers(built), layers.render(built, face)
    near = dilated(render_coverage(built, hide_head=True)[0].full > 0, 3)
    assert near.mean() < 0.6
    assert np.array_equal(traced["all"][~near], traced["shadow"][~near])
    assert np.array_equal(traced["glass"][~near], traced["face"][~near])
    border, seen = rendering.border, rendering.silhouette
    for layer, where in (("all", border), ("shadow", seen), ("glass", seen)):
        assert np.array_equal(traced[layer][where], rendering.layers[layer][where]), layer
    # What is taken over from `face` is what a trace in full would have shown.
    assert np.array_equal(traced["glass"], rendering.layers["glass"])


def test_coverage_of_one_pass_is_that_of_parts_alone(worn_spec, catalog):
    """Each part rendered as the only glowing one gives the counts packed into one picture."""
    built = build(worn_spec("square"), catalog)
    whole, _ = render_coverage(built)
    assert whole.full.max() == 1
    assert (whole.full >= np.maximum(whole.lens_left, whole.lens_right)).all()
    counts = whole.full * 64
    assert np.array_equal(counts, np.rint(counts))
    for name in ("lens_left", "lens_right"):
        colors = {
            obj: shading.label(f"alone_{part}", (0.0, 0.0, float(part == name)))
            for part, obj in built.eyewear.items()
        }
        with labels.flat(built.portrait, colors):
            alone = trace.trace(built.portrait.scene, labels.outline(built))["Combined"][..., 2]
        assert np.allclose(alone, getattr(whole, name), atol=1e-6), name
        assert alone.max() > 0.9


def test_eyewear_shut_in_an_opaque_box_leaves_all_layers_equal(worn_spec, catalog):
    built = build(worn_spec("round"), catalog)
    corners = np.array([o.bound_box for o in built.eyewear.values()]).reshape(-1, 3)
    low, high = corners.min(axis=0) - 0.002, corners.max(axis=0) + 0.002
    mesh = bpy.data.meshes.new("box")
    x, y, z = (np.array(pair) for pair in zip(low, high, strict=True))
    points = [(x[i], y[j], z[k]) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata(points, [], faces)
    shader = shading.Shader("box")
    mesh.materials.append(shader.finish(shader.node("ShaderNodeBsdfDiffuse").outputs[0]))
    box = bpy.data.objects.new("box", mesh)
    box.matrix_world = next(iter(built.eyewear.values())).matrix_world
    built.portrait.scene.collection.objects.link(box)
    traced = full_layers(built)
    for layer in LAYERS:
        assert np.array_equal(traced[layer], traced["face"]), layer
    assert traced["face"].std() > 0


def test_a_small_emitter_at_an_anchor_lands_on_its_projection(worn_spec, catalog):
    spec = worn_spec("round")
    camera = spec.camera.model_copy(
        update={
            "yaw_deg": 25.0,
            "pitch_deg": -9.0,
            "roll_deg": 14.0,
            "shift_x": 0.08,
            "shift_y": -0.05,
        }
    )
    spec = with_render(spec.model_copy(update={"camera": camera}), size=128, spp=16)
    head = catalog.head(spec.head)
    built = build(spec, catalog)
    portrait, picture = built.portrait, built.portrait.scene
    for obj in [*portrait.head.values(), *built.eyewear.values()]:
        obj.hide_render = True
    picture.world = None
    everything = np.ones((128, 128), bool)
    for point in head.anchors.as_array():
        dot = add_prop(
            portrait,
            point + np.array([[0, 2, 0], [2, -1, 0], [-2, -1, 0], [0, 0, 2.0]]),
            [(0, 1, 2), (0, 1, 3), (1, 2, 3), (0, 2, 3)],
            shading.emission("dot", (1.0, 1.0, 1.0)),
        )
        seen = trace.trace(picture, everything)["Combined"][..., 0]
        bpy.data.objects.remove(dot)
        expected = view_of(spec.camera, head).project(point[None], 128)[0]
        assert np.linalg.norm(weighted_centre(seen) - expected) < 0.5


def test_threads_and_what_was_rendered_before_change_no_byte(worn_spec, catalog):
    spec, other = worn_spec("aviator"), worn_spec("square", 7)
    spec = with_render(spec, denoise=True)
    first = finished(spec, catalog, ONE)
    finished(other, catalog)
    second = finished(spec, catalog, TWO)
    assert first.keys() == second.keys()
    for key in first:
        assert np.array_equal(first[key], second[key]), key


def test_a_grey_wall_before_the_camera_comes_out_at_the_predicted_exposure(worn_spec, catalog):
    """A Lambertian card of reflectance 0.35 shows 0.35 E / pi; here exposed to be 0.30."""
    spec = with_render(worn_spec("round"), spp=256, size=16)
    camera = spec.camera.model_copy(update={"yaw_deg": 0.0, "pitch_deg": 0.0})
    for name, rotation in (("studio", 0), ("courtyard", 70), ("sunset", 200)):
        entry = catalog.lights[name]
        irradiance = face_irradiance(read_hdr(entry.path), rotation)
        light = spec.light.model_copy(
            update={
                "hdri": name, "sha256": entry.sha256, "rotation_deg": rotation,
                "exposure_ev": float(np.log2(0.30 * np.pi / (0.35 * irradiance))),
            }
        )  # fmt: skip
        lit = spec.model_copy(update={"camera": camera, "light": light})
        built = build(lit, catalog)
        for obj in [*built.portrait.head.values(), *built.eyewear.values()]:
            obj.hide_render = True
        centre = face_centre(catalog.head(spec.head).anchors)
        add_card(built.portrait, centre, half_mm=150, reflectance=0.35)
        shown = color(built, "all")[6:10, 6:10] * 2.0**light.exposure_ev
        luminance = float((shown @ np.array([0.2126, 0.7152, 0.0722])).mean())
        assert luminance == pytest.approx(0.30, rel=0.08), name


@pytest.mark.parametrize("design", sorted(open_catalog().glasses))
def test_frame_has_the_holes_its_design_declares(design, smoke, catalog):
    """From the front, temples hidden; an opening counts above 0.05% of the picture."""
    entry = catalog.glasses[design]
    spec = draw(smoke, catalog, 0, 0)
    spec = with_render(spec, size=256, spp=1).model_copy(
        update={
            "glasses": GlassesSpec(name=design, sha256=entry.sha256, choice=dict(entry.typical())),
            "camera": spec.camera.model_copy(
                update={"yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
            ),
        }
    )
    built = build(spec, catalog)
    for name in ("temple_left", "temple_right"):
        built.eyewear.pop(name)
    coverage, _ = render_coverage(built, hide_head=True)
    frame = coverage_masks(coverage, coverage.full > 0)["mask_frame"]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (frame == 0).astype(np.uint8), connectivity=4
    )
    border = set(np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    holes = [
        i
        for i in range(1, count)
        if i not in border and stats[i, cv2.CC_STAT_AREA] > 0.0005 * frame.size
    ]
    assert frame.any()
    assert len(holes) == catalog.eyewear(spec.glasses).holes
