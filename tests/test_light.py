"""Light and background against facts: skies, lamps, metering, what cameras and lenses see."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from props import add_card

from pipeline import store
from pipeline.backdrop import SPAN, backdrop
from pipeline.blender import layers, scene
from pipeline.blender.device import Machine
from pipeline.camera import face_centre, view_of
from pipeline.catalog.catalog import AssetError, Surroundings, open_catalog
from pipeline.catalog.light import MIDDLE_REFLECTANCE, TARGET_FACE_VALUE, face_irradiance
from pipeline.catalog.photos import read_photo
from pipeline.catalog.sky import SUN_DEG, direction, sky_map, sunlight
from pipeline.errors import RecipeError
from pipeline.fit import fit, posed_parts
from pipeline.geometry import Material, Surface
from pipeline.lamps import balanced
from pipeline.lighting import CAN_GIVE, face_irradiances, walk
from pipeline.pixels import REC709_LUMINANCE, linear_from_srgb
from pipeline.plan import check_names, draw
from pipeline.recipe import load_recipe, parse_recipe
from pipeline.spec import (
    BACKGROUND_KINDS,
    LIGHT_KINDS,
    BackgroundSpec,
    LampSpec,
    SkySpec,
    parse_spec,
)
from pipeline.store import make_record
from pipeline.summary import shares

TWO = Machine(2, "CPU")
BUILT_IN = [kind for kind in BACKGROUND_KINDS if kind != "photo"]
CLEAR = SkySpec(turbidity=2.5, sun_azimuth_deg=40, sun_elevation_deg=35)


def lamp(**changes):
    values = {
        "role": "key", "azimuth_deg": 30.0, "elevation_deg": 20.0, "distance_mm": 900.0,
        "width_deg": 30.0, "height_deg": 20.0, "color": (1.0, 1.0, 1.0), "strength": 1.0,
    }  # fmt: skip
    return LampSpec.model_validate(values | changes)


def test_a_sky_is_brightest_about_the_sun_and_blue_away_from_it():
    image = sky_map(CLEAR)
    height, width = image.shape[:2]
    luminance = image @ np.array(REC709_LUMINANCE, np.float32)
    row, column = np.unravel_index(luminance[: height // 2].argmax(), (height // 2, width))
    # Blender's columns: azimuth (0.5 - u) * 360 from +x to +y; the face looks along -y.
    assert (0.5 - (column + 0.5) / width) * 360 + 90 == pytest.approx(40, abs=1.5)
    assert 90 - (row + 0.5) / height * 180 == pytest.approx(35, abs=6)
    zenith = image[2].mean(axis=0)
    assert zenith[2] > 1.3 * zenith[0]
    assert np.allclose(image[height // 2 + 3], image[-1])


def test_preethams_zenith_luminance_by_hand():
    """T 2.5, sun at 35 degrees: chi = (4/9 - 2.5/120)(pi - 2 * 55 deg) = 0.51745."""
    chi = (4 / 9 - 2.5 / 120) * (np.pi - 2 * np.deg2rad(55))
    expected = (4.0453 * 2.5 - 4.9710) * np.tan(chi) - 0.2155 * 2.5 + 2.4192
    assert expected == pytest.approx(4.810, abs=0.01)
    luminance = float(sky_map(CLEAR)[0].mean(axis=0) @ np.array(REC709_LUMINANCE))
    assert luminance == pytest.approx(expected, rel=0.03)


def test_an_overcast_sky_darkens_towards_the_horizon_as_the_cie_has_it():
    """(1 + 2 sin 30 degrees) / 3 of the zenith."""
    image = sky_map(SkySpec(turbidity=None))
    above, lower = image[0, :, 1].mean(), image[84:86, :, 1].mean()
    assert lower / above == pytest.approx(2 / 3, rel=0.01)
    assert sunlight(SkySpec(turbidity=None))[0] == 0


def test_sunlight_is_that_of_tables():
    """Some 100 klx at 60 degrees in clear air, and red at the horizon."""
    high = SkySpec(turbidity=2.2, sun_elevation_deg=60)
    low = SkySpec(turbidity=2.2, sun_elevation_deg=3)
    assert 90 < sunlight(high)[0] < 115
    assert sunlight(low)[0] < 0.25 * sunlight(high)[0]
    red, _, blue = sunlight(low)[1]
    assert red > 3 * blue
    for sky in (high, low):
        assert np.dot(sunlight(sky)[1], REC709_LUMINANCE) == pytest.approx(1.0)


def test_a_lamp_of_the_cameras_own_white_is_white_and_a_bulb_is_warm():
    assert balanced(5500) == pytest.approx((1.0, 1.0, 1.0), abs=1e-3)
    red, _, blue = balanced(2700)
    assert 1.1 < red / blue < 3
    red, _, blue = balanced(9000)
    assert red < blue


def lit(spec, light):
    camera = spec.camera.model_copy(update={"yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0})
    render = spec.render.model_copy(update={"size": 16, "spp": 256})
    return spec.model_copy(update={"light": light, "camera": camera, "render": render})


@pytest.mark.parametrize(
    ("lamps", "sky"),
    [
        ((lamp(),), None),
        ((lamp(distance_mm=None, width_deg=SUN_DEG, height_deg=SUN_DEG, strength=3.0),), None),
        ((lamp(azimuth_deg=-50.0, width_deg=2.0, height_deg=3.0, color=(1.8, 0.8, 0.6)),), None),
        ((), CLEAR),
    ],
)
def test_a_card_shows_the_metered_irradiance(lamps, sky, worn_spec, catalog):
    """A Lambertian card of reflectance 0.35 before the face shows 0.35 E / pi."""
    spec = worn_spec("round")
    light = spec.light.model_copy(
        update={
            "lamps": lamps, "sky": sky, "world_gain": 1.0 if sky else 1e-6, "rotation_deg": 0,
        }
    )
    spec = lit(spec, light)
    around = Surroundings(catalog.lights[spec.light.hdri].path)
    portrait = scene.build_portrait(spec, catalog.head(spec.head), around, TWO)
    for obj in portrait.head.values():
        obj.hide_render = True
    add_card(
        portrait, face_centre(catalog.head(spec.head).anchors), half_mm=45, reflectance=0.35
    )
    shown = layers.render_face(portrait).color[7:9, 7:9].mean(axis=(0, 1))
    front = face_irradiances(light, catalog.lights[spec.light.hdri])[0]
    assert float(shown @ np.array(REC709_LUMINANCE)) == pytest.approx(
        MIDDLE_REFLECTANCE * front / np.pi, rel=0.03
    )
    if lamps:
        assert shown / shown[1] == pytest.approx(
            np.array(lamps[0].color) / lamps[0].color[1], rel=0.02
        )


def test_layers_agree_bit_for_bit_by_lamps_and_before_a_picture(worn_spec, catalog):
    spec = worn_spec("aviator")
    light = spec.light.model_copy(update={"lamps": (lamp(), lamp(azimuth_deg=-140.0))})
    spec = spec.model_copy(
        update={"light": light, "background": BackgroundSpec(kind="street", seed=5)}
    )
    head, eyewear = catalog.head(spec.head), catalog.eyewear(spec.glasses)
    parts = posed_parts(eyewear, fit(head, eyewear, spec.nose))
    portrait = scene.build_portrait(spec, head, catalog.around(spec), TWO)
    face = layers.render_face(portrait)
    built = scene.wear(portrait, parts)
    rendering = layers.render(built, face)
    full = {n: layers.trace_layer(built, n)["Combined"][..., :3] for n in layers.VISIBLE_TO}
    near = cv2.dilate(rendering.silhouette.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert 50 < near.sum() < near.size / 2
    for first, second in (("all", "shadow"), ("glass", "face")):
        assert np.array_equal(full[first][~near], full[second][~near])
    assert np.array_equal(full["face"], rendering.layers["face"])
    assert (full["shadow"] != full["face"]).any()


def backdrop_picture(spec, catalog, hidden=True, parts=None):
    """`face` without the head, or `all` with parts alone, exposed; and the portrait."""
    portrait = scene.build_portrait(spec, catalog.head(spec.head), catalog.around(spec), TWO)
    for obj in portrait.head.values():
        obj.hide_render = hidden
    if parts is None:
        return layers.render_face(portrait).color * np.float32(spec.light.gain), portrait
    built = scene.wear(portrait, parts)
    passes = layers.trace_layer(built, "all")
    return passes["Combined"][..., :3] * np.float32(spec.light.gain), portrait


@pytest.fixture
def photo_spec(worn_spec, tmp_path):
    """A spec before a photo of four fields, and its catalogue; camera turned and shifted."""
    fields = np.zeros((200, 320, 3), np.uint8)
    fields[:100, :160], fields[:100, 160:] = (0, 0, 255), (0, 255, 0)
    fields[100:, :160], fields[100:, 160:] = (255, 0, 0), (200, 200, 200)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "four.png"), fields)
    catalog = open_catalog(backgrounds=tmp_path / "photos")
    spec = worn_spec("square")
    photo = catalog.photos["four"]
    camera = spec.camera.model_copy(
        update={"yaw_deg": 25.0, "pitch_deg": -8.0, "roll_deg": 12.0, "shift_x": 0.1}
    )
    background = BackgroundSpec(kind="photo", photo=photo.name, sha256=photo.sha256)
    render = spec.render.model_copy(update={"spp": 16})
    return spec.model_copy(
        update={"camera": camera, "background": background, "render": render}
    ), catalog


def test_a_photo_fills_the_frame_as_it_is(photo_spec):
    spec, catalog = photo_spec
    seen, _ = backdrop_picture(spec, catalog)
    expected = {(8, 8): (1, 0, 0), (8, -8): (0, 1, 0), (-8, 8): (0, 0, 1)}
    for (row, column), color in expected.items():
        assert seen[row, column] == pytest.approx(np.array(color, float), abs=2e-3)
    grey = linear_from_srgb(np.float32([200 / 255]))[0]
    assert seen[-8, -8] == pytest.approx(np.full(3, grey), rel=2e-3)
    # The fields meet in the middle of the frame, wherever the face is shifted.
    half = spec.render.size // 2
    assert seen[half - 2, half - 3, 0] > 0.9
    assert seen[half + 2, half + 3] == pytest.approx(np.full(3, grey), rel=0.05)


def test_a_background_lights_nothing_but_what_lets_it_through(photo_spec):
    """Skin in front of a photo is that in front of the world, to the last bit."""
    spec, catalog = photo_spec
    plain = spec.model_copy(update={"background": BackgroundSpec()})
    with_photo, _ = backdrop_picture(spec, catalog, hidden=False)
    without, _ = backdrop_picture(plain, catalog, hidden=False)
    skin = catalog.head(spec.head).surfaces["skin"].vertices
    nose = skin[skin[:, 2].argmax()]
    at = view_of(spec.camera, catalog.head(spec.head)).project(nose[None], 64)[0]
    column, row = at.astype(int)
    assert np.array_equal(
        with_photo[row - 2 : row + 3, column - 2 : column + 3],
        without[row - 2 : row + 3, column - 2 : column + 3],
    )
    assert not np.array_equal(with_photo, without)


def test_a_flat_pane_shows_the_background_where_it_is(photo_spec):
    """What is infinitely far away is not moved by a pane, and is what the eye sees beside it."""
    spec, catalog = photo_spec
    corners = np.array([[-60, -60, 0], [60, -60, 0], [60, 60, 0], [-60, 60, 0.0]])
    head = catalog.head(spec.head)
    front = face_centre(head.anchors) + np.array([0, 0, 60.0])
    points = np.concatenate([corners + front, corners[::-1] + front - [0, 0, 2.0]])
    # Without sides, so that normals blended across its faces are those of the faces.
    faces = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    glass = Material(base_color=(1.0, 1.0, 1.0), transmission=1.0, ior=1.5, roughness=0.0)
    pane = Surface(points, faces, material=glass)
    through, _ = backdrop_picture(spec, catalog, parts={"lens_left": pane})
    beside, _ = backdrop_picture(spec, catalog)
    half = spec.render.size // 2
    for row in (half - 8, half + 7):
        for column in (half - 8, half + 7):
            seen, there = through[row, column], beside[row, column]
            # Bare glass of index 1.5 lets through 0.96 squared, and mirrors some of the world.
            strong = there > 0.5 * there.max()
            assert seen[strong] == pytest.approx(0.92 * there[strong], rel=0.15)


@pytest.mark.parametrize("kind", [kind for kind in BUILT_IN if kind != "world"])
def test_backdrops_are_finite_repeatable_and_of_believable_brightness(kind):
    for seed in range(6):
        for night in (False, True):
            colors = ((0.5, 0.4, 0.3), (0.1, 0.1, 0.1)) if kind in ("plain", "gradient") else ()
            spec = BackgroundSpec(kind=kind, colors=colors, seed=seed, night=night, blur=0.03)
            image = backdrop(spec, None)
            assert np.isfinite(image).all()
            assert image.min() >= 0
            assert np.array_equal(image, backdrop(spec, None))
            if kind in ("room", "street", "park"):
                assert 0.003 < np.median(image) < 1.0
                assert image.std() > 0.01
    if kind == "black":
        assert not image.any()


def test_a_point_of_light_becomes_a_disc_of_the_same_light():
    from pipeline.backdrop import _spread

    image = np.zeros((150, 150, 3), np.float32)
    image[75, 75] = 100.0
    spread = _spread(image, 0.1)
    radius = 0.1 * 150 / SPAN
    assert spread.sum() == pytest.approx(300.0, rel=1e-4)
    lit_px = (spread[..., 0] > 0.5 * spread[..., 0].max()).sum()
    assert lit_px == pytest.approx(np.pi * radius**2, rel=0.08)
    assert spread[75, 75 + round(radius) + 2, 0] == pytest.approx(0.0, abs=1e-5)


@pytest.fixture(scope="module")
def mixed():
    return parse_recipe(
        {
            "people": {"first": 0, "count": 50},
            "light": {
                "kinds": dict.fromkeys(LIGHT_KINDS, 1),
                "shadow": {"none": 0.2, "soft": 0.5, "hard": 0.3},
                "coloured": 0.2,
                "dim": 0.3,
            },
            "background": {"kinds": dict.fromkeys(BUILT_IN, 1)},
        },
        "mixed",
    )  # fmt: skip


def test_shadows_are_drawn_in_the_shares_asked_for(mixed, catalog):
    specs = [draw(mixed, catalog, 0, index) for index in range(100)]
    counts = Counter(spec.light.shadow for spec in specs)
    for shadow, share in (("none", 20), ("soft", 50), ("hard", 30)):
        assert abs(counts[shadow] - share) <= 1
    assert {spec.light.kind for spec in specs} == set(LIGHT_KINDS)
    for spec in specs:
        assert spec.light.shadow in CAN_GIVE[spec.light.kind]
        assert parse_spec(spec.model_dump(mode="json"), "x") == spec


def test_hard_light_is_small_and_soft_light_is_large(mixed, catalog):
    for index in range(150):
        light = draw(mixed, catalog, 1, index).light
        if light.kind in ("sun", "studio", "flash", "lamp", "window"):
            main = light.lamps[0]
            behind = abs(main.azimuth_deg) > 110
            if light.shadow == "hard":
                assert main.width_deg <= 3.5
            elif light.shadow == "soft":
                assert main.width_deg >= 8 or behind


def test_exposure_brings_the_metered_face_to_the_middle_tone(mixed, catalog):
    bright = mixed.model_copy(
        update={"light": mixed.light.model_copy(update={"exposure_ev": 0.0, "dim": 0.0})}
    )
    for index in range(40):
        light = draw(bright, catalog, 0, index).light
        world = catalog.lights.get(light.hdri) or next(iter(catalog.lights.values()))
        found = face_irradiances(light, world)
        metered = (found[0] + max(found)) / 2
        shown = metered * MIDDLE_REFLECTANCE / np.pi * light.gain
        assert shown == pytest.approx(TARGET_FACE_VALUE, rel=1e-3)


def test_light_and_background_move_nothing_else(mixed, catalog):
    plain = mixed.model_copy(update={"light": load_recipe("smoke").light})
    for index in range(8):
        first, second = draw(mixed, catalog, 0, index), draw(plain, catalog, 0, index)
        same = second.model_copy(
            update={"light": first.light, "background": first.background}
        )
        assert same == first
        assert first.sensor == second.sensor


def test_other_lights_draw_the_same_hdr_world_as_before(catalog):
    """The stream of the world and its turn knows nothing of kinds."""
    recipe = load_recipe("smoke")
    lamps = recipe.light.model_copy(update={"kinds": {"studio": 1.0}})
    for index in range(8):
        first = draw(recipe, catalog, 0, index).light
        second = draw(recipe.model_copy(update={"light": lamps}), catalog, 0, index).light
        assert (first.hdri, first.rotation_deg) == (second.hdri, second.rotation_deg)
        assert first.kind == "world"
        assert first.world_gain == 1.0


def test_a_walk_is_even():
    places = np.sort([walk(0.37, k) for k in range(89)])
    assert np.diff(places).max() < 2.0 / 89


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"light": {"shadow": {"hard": 1}}}, "$.light.shadow.hard: no kind of light here gives"),
        ({"light": {"shadow": {}}}, "$.light.shadow: shares must add up"),
        ({"light": {"kinds": {"world": 0}}}, "$.light.kinds: weights must add up"),
        ({"background": {"kinds": {"photo": 1}}}, "--backgrounds DIR"),
        ({"background": {"kinds": {"black": 0}}}, "$.background.kinds: weights must add up"),
        ({"background": {"photos": ["sea"]}}, "$.background.photos: unknown name 'sea'"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said_in_one_line(change, said, catalog):
    with pytest.raises(RecipeError) as error:
        check_names(parse_recipe(change, "x"), catalog, "x")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_and_tiny_photos_are_refused(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(AssetError, match=r"broken\.jpg: not a readable photo"):
        open_catalog(backgrounds=tmp_path)
    (tmp_path / "broken.jpg").unlink()
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((8, 40, 3), np.uint8))
    with pytest.raises(AssetError, match="40 x 8 px; 16 at least"):
        open_catalog(backgrounds=tmp_path)
    (tmp_path / "tiny.png").unlink()
    with pytest.raises(AssetError, match="holds no photos"):
        open_catalog(backgrounds=tmp_path)


def test_a_changed_photo_and_a_changed_sky_are_noticed(photo_spec, mixed):
    spec, catalog = photo_spec
    changed = spec.background.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(AssetError, match="'four' has changed"):
        catalog.around(spec.model_copy(update={"background": changed}))
    sky = spec.light.model_copy(update={"sky": CLEAR, "sha256": "0" * 64})
    with pytest.raises(AssetError, match="has changed"):
        catalog.around(spec.model_copy(update={"light": sky}))


def test_a_photo_of_sixteen_bits_is_linear_and_large_ones_shrink(tmp_path):
    image = np.full((2100, 4200, 3), 32768, np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), image)
    read = read_photo(tmp_path / "deep.png")
    assert read.shape == (2048, 4096, 3)
    assert read.mean() == pytest.approx(0.2140, abs=1e-3)


def test_directions_are_unit_and_to_the_subjects_left():
    assert direction(90, 0) == pytest.approx([1, 0, 0], abs=1e-12)
    assert direction(0, 0) == pytest.approx([0, 0, 1])
    assert direction(-30, 90) == pytest.approx([0, 1, 0], abs=1e-12)
    # The sky's sun lights the cheek it stands before.
    sky = sky_map(CLEAR.model_copy(update={"sun_azimuth_deg": 80.0}))
    assert face_irradiance(sky, 0.0, 60.0) > 1.2 * face_irradiance(sky, 0.0, -60.0)




def test_generate_says_which_shadows_came_out(mixed, catalog, tmp_path):
    """Of ten delivered, one is faint that was to be none."""
    specs = [draw(mixed, catalog, 0, index) for index in range(10)]
    planned = Counter(spec.light.shadow for spec in specs)
    came = ["none", "faint", *["soft"] * 5, *["hard"] * 3]
    records = {
        spec.index: make_record(spec, {}, {}, []) | {"shadow": {"kind": kind}}
        for spec, kind in zip(specs, came, strict=True)
    }
    store.write_index(tmp_path, records)
    lines = [line.split() for line in shares(tmp_path).splitlines()]
    found = {line[1]: line[2:] for line in lines if line[0] == "shadow"}
    assert {kind: told[0] for kind, told in found.items()} == {
        kind: f"{planned[kind]}0.0%" if planned[kind] else "0.0%" for kind in found
    }
    assert {kind: told[1] for kind, told in found.items()} == {
        "none": "10.0%", "faint": "10.0%", "soft": "50.0%", "hard": "30.0%",
    }  # fmt: skip
    plain = mixed.model_copy(update={"light": load_recipe("smoke").light})
    spec = draw(plain, catalog, 0, 0)
    store.write_index(tmp_path, {0: make_record(spec, {}, {}, []) | {"shadow": {"kind": "hard"}}})
    assert "shadow" not in shares(tmp_path)
