"""Labels against rendered dots, against hand-made scenes and against what a head is known to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from props import add_prop, weighted_centre

from pipeline.blender import labels as blender_labels
from pipeline.blender import layers, scene, shading, trace, truth
from pipeline.blender.device import Machine
from pipeline.camera import face_centre, view_of
from pipeline.catalog.finishes import LENSES
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.landmarks import VERTICES
from pipeline.catalog.parsing import CLASSES, NUMBER, classes_of, classes_of_strands
from pipeline.fit import fit, posed_parts
from pipeline.geometry import Anchors, Head, Material, Surface
from pipeline.labels import HeadInSight, box_of, hidden, sample_labels
from pipeline.rays import Solid

TWO = Machine(threads=2, device="CPU")
SIZE = 96
CLEAR = LENSES["clear"]


def posed(spec, size=SIZE, spp=16, **camera):
    """A spec with another camera and render size."""
    return spec.model_copy(
        update={
            "camera": spec.camera.model_copy(update=camera),
            "render": spec.render.model_copy(update={"size": size, "spp": spp}),
        }
    )


@pytest.fixture(scope="module")
def plain(worn_spec):
    return worn_spec("round")


@pytest.fixture(scope="module")
def head(plain):
    return bare_head(person(5), "3_smile")


CAMERAS = [
    {"focal_mm": 24.0, "distance_mm": 400.0, "yaw_deg": 20.0, "pitch_deg": -9.0, "roll_deg": 14.0},
    {"focal_mm": 50.0, "distance_mm": 550.0, "yaw_deg": -35.0, "shift_x": 0.1, "shift_y": -0.06},
    {"focal_mm": 135.0, "distance_mm": 1500.0, "pitch_deg": 12.0, "roll_deg": -20.0},
]


@pytest.mark.parametrize("align", ["none", "ffhq", "celeba"])
@pytest.mark.parametrize("camera", CAMERAS, ids=["24 mm", "50 mm", "135 mm"])
def test_landmarks_lie_on_dots_rendered_at_their_vertices(camera, align, plain, head, catalog):
    """Three small emitters at a time, one in each colour; also through an open lens."""
    f_number = 2.8 if align == "celeba" else None
    spec = posed(plain, **camera, align=align, f_number=f_number)
    portrait = scene.build_portrait(spec, head, catalog.around(spec), TWO)
    picture = portrait.scene
    for obj in portrait.head.values():
        obj.hide_render = True
    picture.world = None
    marked = (8, 30, 45)
    for index, color in zip(marked, np.eye(3), strict=True):
        # An octahedron some 3 px wide.
        radius = 1.5 * spec.camera.distance_mm / (spec.camera.focal_mm / 36 * SIZE)
        corners = radius * np.concatenate([np.eye(3), -np.eye(3)])
        vertex = head.surfaces["skin"].vertices[VERTICES[index]]
        add_prop(
            portrait,
            vertex + corners,
            [(i, j, k) for i in (0, 3) for j in (1, 4) for k in (2, 5)],
            shading.emission(f"dot {index}", tuple(map(float, color))),
        )
    seen = trace.trace(picture, np.ones((SIZE, SIZE), bool))["Combined"][..., :3]
    found = sample_labels(
        view_of(spec.camera, head), HeadInSight(head), {}, np.zeros((SIZE, SIZE), np.uint8)
    )
    for channel, index in enumerate(marked):
        weight = seen[..., channel]
        assert weight.sum() > 0
        assert np.linalg.norm(weighted_centre(weight) - found["landmarks_px"][index]) < 0.5


def test_landmarks_are_even_and_lie_in_their_regions(head):
    """On the average head: mirrored, lids at the eyes, lips and brows in their regions."""
    skin = head.surfaces["skin"]
    rest = skin.attributes["rest"][list(VERTICES)].astype(float)
    right = (*range(8), *range(17, 22), *range(36, 42), 31, 32, 48, 49, 50, 59, 58, 60, 61, 67)
    left = (
        *range(16, 8, -1), *range(26, 21, -1), 45, 44, 43, 42, 47, 46, 35, 34, 54, 53, 52, 55, 56,
        64, 63, 65,
    )  # fmt: skip
    assert rest[list(right)] * [-1, 1, 1] == pytest.approx(rest[list(left)], abs=0.1)
    assert np.abs(rest[[8, 27, 28, 29, 30, 33, 51, 57, 62, 66], 0]).max() < 0.1
    # Right comes first, which is the left of a picture; jaw and ridge run down.
    assert rest[0, 0] < 0 < rest[16, 0]
    assert (np.diff(rest[:9, 1]) < 0).all()
    assert (np.diff(rest[27:31, 1]) < 0).all()
    assert rest[30, 2] == pytest.approx(skin.attributes["rest"][:, 2].max(), abs=0.2)
    lips = skin.attributes["lips"][list(VERTICES)]
    assert (lips[60:68] > 0.8).all()
    assert ((lips[48:60] > 0.25) & (lips[48:60] < 0.85)).all()
    assert (skin.attributes["brows"][list(VERTICES)][[18, 19, 20, 21]] > 0.7).all()
    assert (skin.attributes["lids"][list(VERTICES)][36:48] > 0.5).all()
    for eye, points in ((head.eye_right, range(36, 42)), (head.eye_left, range(42, 48))):
        assert np.linalg.norm(head.landmarks[list(points)].mean(axis=0) - eye) < 17


def test_an_open_mouth_parts_the_lips_marks():
    still, opened = (bare_head(person(5), name).landmarks for name in ("1_neutral", "2_mouth_open"))
    assert np.linalg.norm(still[62] - still[66]) < 4
    assert np.linalg.norm(opened[62] - opened[66]) > 12
    assert np.linalg.norm(opened[27:31] - still[27:31], axis=1).max() < 3


def test_what_the_head_or_the_glasses_hide_is_told(plain, catalog):
    front = posed(plain, yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0, shift_x=0.0, shift_y=0.0)
    head, eyewear = catalog.head(plain.head), catalog.eyewear(plain.glasses)
    parts = posed_parts(eyewear, fit(head, eyewear, plain.nose))
    mask = np.zeros((SIZE, SIZE), np.uint8)

    def labels(spec, worn):
        return sample_labels(view_of(spec.camera, head), HeadInSight(head), worn, mask)

    seen = labels(front, parts)
    # From half a metre ahead cheeks hide much of the jaw, the tip of the nose its base.
    assert all(seen["landmarks_visible"][17:31] + seen["landmarks_visible"][36:68])
    assert sum(seen["landmarks_behind_glasses"]) < 12
    dark = {
        name: replace(part, material=LENSES["grey"]) if name.startswith("lens") else part
        for name, part in parts.items()
    }
    behind = labels(front, dark)["landmarks_behind_glasses"]
    assert all(behind[36:48])
    assert not any(behind[48:68])
    # From the subject's left the right half of the jaw and the right eye's far corner are hidden.
    aside = labels(posed(front, yaw_deg=75.0), parts)["landmarks_visible"]
    assert not any(aside[:7])
    assert all(aside[12:17])
    assert not aside[36]
    # Far off the picture nothing is visible.
    off = labels(posed(front, focal_mm=600.0, shift_x=0.5, shift_y=0.5), parts)
    assert not any(off["landmarks_visible"][:8])


def test_a_point_is_hidden_by_a_wall_before_it_and_by_none_behind_it():
    wall = Surface(
        np.array([[-50.0, -50, 20], [50, -50, 20], [0, 80, 20]]), np.array([[0, 1, 2]])
    )
    temple, nose = np.zeros(3), np.array([0.0, 22, 0])
    nobody = Head("wall", {"skin": wall}, Anchors(temple, temple, nose, nose))
    spec_camera = {"focal_mm": 50, "distance_mm": 500, "yaw_deg": 0, "pitch_deg": 0, "roll_deg": 0}
    from pipeline.spec import CameraSpec

    view = view_of(CameraSpec(**spec_camera), nobody)
    points = np.array([[0.0, 0, 0], [0, 0, 40], [90, 0, 0], [0, 0, 19.5]])
    assert hidden(view, points, Solid([wall])).tolist() == [True, False, False, False]
    assert face_centre(nobody.anchors) == pytest.approx([0, 0, 0])


def test_the_box_holds_the_mask_and_no_more():
    mask = np.zeros((20, 20), np.uint8)
    assert box_of(mask) is None
    mask[3, 5] = mask[7, 12] = 255
    assert box_of(mask) == [5, 3, 8, 5]


def test_a_mesh_of_the_users_has_the_labels_that_are_known(plain, head):
    scan = replace(head, landmarks=None, eye_left=None, eye_right=None)
    found = sample_labels(
        view_of(plain.camera, scan), HeadInSight(scan), {}, np.zeros((64, 64), np.uint8)
    )
    assert set(found) == {
        "camera_matrix", "camera_from_head", "head_pose_deg", "anchors_px", "glasses_box",
    }  # fmt: skip
    assert found["glasses_box"] is None
    assert found["head_pose_deg"]["yaw"] == pytest.approx(plain.camera.yaw_deg)


def test_classes_of_a_head_are_where_its_landmarks_are():
    """Polygons at landmarks are what annotators mark there."""
    head = bare_head(person(5), "2_mouth_open")
    found, faces = classes_of("skin", head), head.surfaces["skin"].faces

    def at(index):
        return {CLASSES[c] for c in found[(faces == VERTICES[index]).any(axis=1)]}

    assert {"r_brow"} <= at(19) <= {"r_brow", "skin"}
    assert {"l_brow"} <= at(24) <= {"l_brow", "skin"}
    assert at(29) == at(30) == {"nose"}
    assert at(61) == at(62) == {"u_lip"}
    assert at(66) == {"l_lip"}
    assert at(3) == {"skin"}
    rest = head.surfaces["skin"].attributes["rest"][faces].mean(axis=1)
    assert set(found[(rest[:, 1] < -130)]) == {NUMBER["neck"]}
    assert set(found[(rest[:, 1] > -60) & (rest[:, 2] > 0)]) <= {
        NUMBER[name] for name in ("skin", "nose", "l_brow", "r_brow", "hair", "mouth", "u_lip",
                                  "l_lip")
    }  # fmt: skip
    ears = rest[:, 0][found == NUMBER["l_ear"]], rest[:, 0][found == NUMBER["r_ear"]]
    assert ears[0].min() > 0 > ears[1].max()
    assert set(classes_of("teeth", head)) == {NUMBER["mouth"]}


def test_rendered_classes_lie_where_landmarks_say(plain, catalog):
    spec = posed(plain, size=128, spp=1, yaw_deg=12.0).model_copy(
        update={"head": catalog.heads.spec(42, "2_mouth_open", (0.0, 0.0))}
    )
    head = catalog.head(spec.head)
    portrait = scene.build_portrait(spec, head, catalog.around(spec), TWO)
    face = truth.parsing_face(portrait, head)
    marks = portrait.view.project(head.landmarks, 128)

    def at(*indices):
        u, v = marks[list(indices)].mean(axis=0).astype(int)
        return CLASSES[face[v, u]]

    assert at(*range(36, 42)) == "r_eye"
    assert at(*range(42, 48)) == "l_eye"
    assert at(30) == at(29, 30) == "nose"
    assert at(62, 66) == "mouth"
    assert at(51, 62) == "u_lip"
    assert at(57, 66) == "l_lip"
    assert at(2, 31) == at(14, 35) == "skin"
    for name, brow in (("r_brow", (18, 19, 20)), ("l_brow", (23, 24, 25))):
        for u, v in marks[list(brow)].astype(int):
            assert NUMBER[name] in face[v - 2 : v + 4, u - 2 : u + 3]
    share = {name: float((face == n).mean()) for name, n in NUMBER.items()}
    assert share["eye_g"] == 0
    assert 0.05 < share["nose"] / share["skin"] < 0.25
    assert 0.01 < (share["l_eye"] + share["r_eye"]) / share["skin"] < 0.08
    assert min(share["hair"], share["neck"], share["cloth"], share["background"]) > 0.02
    assert face[0, 0] == NUMBER["background"]


def test_hair_is_hair_brows_are_brows_and_a_beard_is_what_it_grows_on(catalog):
    for number in range(0, 200):
        who = person(number)
        if who.hair.beard and who.hair.cut and not who.clothes.headwear:
            break
    head = catalog.heads.load(f"person-{number:06d}", "1_neutral")
    assert set(classes_of_strands("scalp", head)) == {NUMBER["hair"]}
    brows = classes_of_strands("brows", head)
    left = head.hair["brows"].points[:, 0, 0] > 0
    assert set(brows[left]) == {NUMBER["l_brow"]}
    assert set(brows[~left]) == {NUMBER["r_brow"]}
    assert set(classes_of_strands("beard", head)) <= {NUMBER["skin"], NUMBER["neck"]}


def before_plates(spec, catalog, parts):
    """Two plates of skin, one 40 mm nearer to the camera, the nearer one on the subject's left."""
    def plate(left, right, ahead):
        corners = [[left, -90, ahead], [right, -90, ahead], [right, 90, ahead], [left, 90, ahead]]
        return Surface(np.array(corners, float), np.array([[0, 1, 2, 3]]), material=Material())

    temple, nose = np.zeros(3), np.array([0.0, 22, 0])
    anchors = Anchors(temple, temple, nose, nose)
    head = Head("plates", {"skin": plate(-90, 0, 0), "worn_top": plate(0, 60, 40)}, anchors)
    straight = posed(
        spec, size=64, focal_mm=72.0, distance_mm=500.0, yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0
    )
    portrait = scene.build_portrait(straight, head, catalog.around(spec), TWO)
    parsed = truth.parsing_face(portrait, head)
    return parsed, scene.wear(portrait, parts)


def square(x, z, material):
    corners = np.array([[x - 9.0, -9, z], [x + 9, -9, z], [x + 9, 9, z], [x - 9, 9, z]])
    return Surface(corners, np.array([[0, 1, 2, 3]]), material=material)


def test_depth_normals_and_classes_of_plates(plain, catalog):
    """500 and 460 mm away, facing the camera; a clear lens and a bar of a frame before them."""
    parts = {"rims": square(-30.0, 60.0, Material()), "lens_left": square(30.0, 60.0, CLEAR)}
    parsed, built = before_plates(plain, catalog, parts)
    found = truth.depth_and_normal(built)
    # 72 mm on 36: 128 px focal length; 40 mm ahead, 60 mm are 128 * 60 / 460 = 16.7 px.
    assert found["depth"][10, 20] == 5000
    assert found["depth"][10, 40] == 4600
    assert found["depth"][10, 60] == 0
    assert found["depth"][32, 23] == 4400
    assert found["depth"][32, 41] == 4600
    assert found["normal"][10, 20] == pytest.approx([32767.5, 32767.5, 65535], abs=1)
    assert found["normal"][10, 60].tolist() == [0, 0, 0]
    assert parsed[10, 20] == parsed[32, 23] == NUMBER["skin"]
    assert parsed[10, 40] == parsed[32, 41] == NUMBER["cloth"]
    assert parsed[10, 60] == NUMBER["background"]
    coverage, _ = blender_labels.render_coverage(built)
    worn = truth.parsing_all(built, parsed, coverage)
    assert worn[32, 23] == worn[32, 41] == NUMBER["eye_g"]
    outside = blender_labels.outline(built)
    assert np.array_equal(worn[~outside], parsed[~outside])


@pytest.mark.parametrize("name", ["l_eye", "r_eye", "l_brow", "r_brow"])
def test_what_shows_through_a_clear_lens_is_what_it_is(name, plain, catalog, monkeypatch):
    """Light through both faces of a lens is indirect, and Cycles clamps it."""
    monkeypatch.setattr(truth, "classes_of", lambda *_: NUMBER[name])
    front, back = square(30.0, 60.0, CLEAR), square(30.0, 58.0, CLEAR)
    lens = replace(
        front,
        vertices=np.concatenate([front.vertices, back.vertices]),
        faces=np.array([[0, 1, 2, 3], [7, 6, 5, 4]]),
    )
    parsed, built = before_plates(plain, catalog, {"lens_left": lens})
    coverage, _ = blender_labels.render_coverage(built)
    assert coverage.lens_left[32, 41] == 1
    assert truth.parsing_all(built, parsed, coverage)[32, 41] == NUMBER[name]


def test_eyes_behind_clear_lenses_stay_eyes_and_labels_change_no_pixel(plain, catalog):
    choice = {**plain.glasses.choice, "lenses": "clear"}
    spec = posed(plain, size=64, spp=4, yaw_deg=0.0).model_copy(
        update={"glasses": plain.glasses.model_copy(update={"choice": choice})}
    )
    head, eyewear = catalog.head(spec.head), catalog.eyewear(spec.glasses)
    worn = posed_parts(eyewear, fit(head, eyewear, spec.nose))
    path = catalog.around(spec)
    alone = layers.render_face(scene.build_portrait(spec, head, path, TWO))
    portrait = scene.build_portrait(spec, head, path, TWO)
    parsed = truth.parsing_face(portrait, head)
    face = layers.render_face(portrait)
    assert np.array_equal(alone.color, face.color)
    built = scene.wear(portrait, worn)
    before = layers.trace_layer(built, "all")["Combined"]
    coverage, _ = blender_labels.render_coverage(built)
    seen = truth.parsing_all(built, parsed, coverage)
    truth.depth_and_normal(built)
    assert np.array_equal(layers.trace_layer(built, "all")["Combined"], before)
    lenses = coverage.lens_left + coverage.lens_right > 0.9
    assert set(np.unique(seen[lenses])) <= {
        NUMBER[name] for name in ("eye_g", "l_eye", "r_eye", "l_brow", "r_brow")
    }
    for eye, centre in (("l_eye", head.eye_left), ("r_eye", head.eye_right)):
        u, v = portrait.view.project(centre[None], 64)[0]
        near = np.s_[int(v) - 2 : int(v) + 3, int(u) - 2 : int(u) + 3]
        assert (parsed[near] == NUMBER[eye]).any()
        assert (seen[near] == NUMBER[eye]).any()
    assert (seen[coverage.full < 0.4] == parsed[coverage.full < 0.4]).mean() > 0.99


@pytest.mark.parametrize("camera", CAMERAS, ids=["24 mm", "50 mm", "135 mm"])
def test_what_rays_cannot_meet_is_left_out_without_a_change(camera, plain, head):
    view = view_of(posed(plain, **camera).camera, head)
    solid, eye = HeadInSight(head).solid, view.pose[:3, 3]
    ways = head.landmarks - eye
    distance = np.linalg.norm(ways, axis=1)
    reach = solid.reach(np.broadcast_to(eye, ways.shape), ways / distance[:, None])
    found = hidden(view, head.landmarks, solid)
    assert found.tolist() == (reach < distance - 1.5).tolist()
    assert 0 < found.sum() < len(found)
    aside = np.array([600.0, 0.0, 0.0])
    assert solid.towards(eye + aside, head.landmarks + aside) is None
