"""The user's own meshes: units, frames, parts, and every kind of broken input."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml
from click.testing import CliRunner
from PIL import Image

from pipeline.catalog.anchors import KEYS, anchor_frame, read_sidecar, sidecar_path
from pipeline.catalog.mesh import load_eyewear, load_head
from pipeline.catalog.meshfile import companions
from pipeline.cli import commands
from pipeline.errors import AssetError
from pipeline.fit import fit
from pipeline.geometry import Anchors
from pipeline.transforms import apply, compose, rotation_about, translation

EAR, NOSE, TIP = (70.0, 0.0, 0.0), (9.0, -8.0, 82.0), (0.0, -35.0, 110.0)


def head_mesh() -> trimesh.Trimesh:
    """An ellipsoid about the ears with a long pyramid for a nose whose tip lies low."""
    skull = trimesh.creation.icosphere(subdivisions=4, radius=1.0)
    skull.apply_scale((70, 110, 85))
    corners = [(0, 5, 75), (16, -45, 70), (-16, -45, 70), TIP]
    nose = trimesh.Trimesh(corners, [(0, 2, 3), (3, 1, 0), (1, 3, 2), (0, 1, 2)], process=False)
    return trimesh.util.concatenate([skull, nose.subdivide_to_size(4.0)])


def glasses_scene() -> trimesh.Scene:
    """Boxes: a bar, two pads, two panes, temples whose tips bend down."""
    scene = trimesh.Scene()

    def add(name: str, low: tuple, high: tuple) -> None:
        low, high = np.array(low, dtype=float), np.array(high, dtype=float)
        for side, flip in (("left", 1), ("right", -1)):
            ends = np.sort([low * (flip, 1, 1), high * (flip, 1, 1)], axis=0)
            mesh = trimesh.creation.box(bounds=ends).subdivide_to_size(20)
            scene.add_geometry(mesh, node_name=f"{name}_{side}", geom_name=f"{name}_{side}")

    add("bar", (0, 0, 118), (73, 3, 121))
    add("pad", (8, -14, 100), (10, -6, 118))
    add("lens", (14, -30, 118), (58, 0, 119))
    add("arm", (71, -3, -5), (73, 1, 118))
    add("tip", (71, -20, -30), (73, 1, -5))
    return scene


HEAD_POINTS = {
    "temple_left": EAR,
    "temple_right": (-70.0, 0.0, 0.0),
    "nose_left": NOSE,
    "nose_right": (-9.0, -8.0, 82.0),
}
GLASSES_POINTS = {
    "temple_left": (71.0, -3.0, 0.0),
    "temple_right": (-71.0, -3.0, 0.0),
    "nose_left": (8.0, -10.0, 104.0),
    "nose_right": (-8.0, -10.0, 104.0),
}


def write_sidecar(mesh: Path, points: dict, matrix: np.ndarray | None = None) -> Path:
    matrix = np.eye(4) if matrix is None else matrix
    moved = {k: [float(c) for c in apply(matrix, v)] for k, v in points.items()}
    path = sidecar_path(mesh)
    path.write_text(yaml.safe_dump(moved))
    return path


def write_head(folder: Path, name: str = "head.obj", matrix: np.ndarray | None = None) -> Path:
    path = folder / name
    mesh = head_mesh()
    if matrix is not None:
        mesh.apply_transform(matrix)
    keywords = {"digits": 17} if name.endswith("obj") else {}
    mesh.export(path, **keywords)
    write_sidecar(path, HEAD_POINTS, matrix)
    return path


def write_glasses(folder: Path, name: str = "pair.glb", matrix: np.ndarray | None = None) -> Path:
    path = folder / name
    scene = glasses_scene()
    if matrix is not None:
        scene.apply_transform(matrix)
    scene.export(path)
    write_sidecar(path, GLASSES_POINTS, matrix)
    return path


@pytest.mark.parametrize(
    ("width", "unit", "width_mm"),
    [
        (145_000.0, "um", 145.0),
        (100.0, "mm", 100.0),
        (190.0, "mm", 190.0),
        (14.5, "cm", 145.0),
        (1.45, "dm", 145.0),
        (0.145, "m", 145.0),
        (5.5, "inch", 139.7),
        (3.0, "scaled", 145.0),
        (50.0, "scaled", 145.0),
        (1e-7, "scaled", 145.0),
    ],
)
def test_unit_by_the_width_between_the_temple_nodes(width, unit, width_mm) -> None:
    k = width / 2
    points = Anchors(*np.array([[k, 0, 0], [-k, 0, 0], [0.1 * k, 0, k], [-0.1 * k, 0, k]]))
    frame = anchor_frame(points, Path("x"))
    assert frame.unit == unit
    assert frame.anchors.temple_left[0] == pytest.approx(width_mm / 2)
    np.testing.assert_allclose(frame.anchors.temple_right, [-width_mm / 2, 0, 0], atol=1e-9)


@pytest.mark.parametrize("name", ["head.obj", "head.ply", "head.stl", "head.glb"])
def test_every_format_gives_the_same_head(tmp_path: Path, name: str) -> None:
    head = load_head(write_head(tmp_path, name))
    assert head.unit == "mm"
    tip = head.surfaces["skin"].vertices[head.surfaces["skin"].vertices[:, 2].argmax()]
    # From the ears to the nose nodes it is 8 down on 82, and on heads that counts as 10 degrees.
    pitch = np.radians(10.0)
    lean = np.arctan2(8.0, 82.0) - pitch
    expected = (0, TIP[1] * np.cos(lean) + TIP[2] * np.sin(lean))
    np.testing.assert_allclose(tip[:2], expected, atol=1e-3)
    ahead = np.hypot(8, 82) * np.array([-np.sin(pitch), np.cos(pitch)])
    np.testing.assert_allclose(head.anchors.nose_left, (9, *ahead), atol=1e-6)


def test_axes_and_units_of_the_files_do_not_change_the_fit(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    plain = None
    for i, scale in enumerate((1.0, 1e-3, 0.1)):
        motion = compose(
            translation(rng.normal(size=3) * 50 * i),
            rotation_about(rng.normal(size=3), 120.0 * i),
        )
        motion[:3] *= scale
        head = load_head(write_head(tmp_path, f"h{i}.obj", motion))
        assert head.unit == ("mm", "m", "cm")[i]
        pair = load_eyewear(write_glasses(tmp_path, "pair.glb"))
        found = fit(head, pair, 1.0)
        plain = plain or found
        for name, value in plain.figures.items():
            assert found.figures[name] == pytest.approx(value, rel=1e-6, abs=1e-5), name


def test_glasses_are_taken_apart_by_name(tmp_path: Path) -> None:
    pair = load_eyewear(write_glasses(tmp_path))
    assert set(pair.parts) == {
        "rims", "pads", "temple_left", "temple_right", "lens_left", "lens_right",
    }  # fmt: skip
    assert pair.parts["temple_left"].vertices[:, 0].min() > 60
    assert pair.parts["lens_right"].vertices[:, 0].max() < -10
    assert pair.hinge_left.origin[0] == pytest.approx(72.0, abs=0.5)
    assert pair.hinge_left.origin[2] > pair.anchors.nose_left[2]
    assert pair.parts["lens_left"].material.transmission == 1.0


def test_glasses_in_one_nameless_piece_are_taken_apart_by_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.stl"
    glasses_scene().to_geometry().export(path)
    write_sidecar(path, GLASSES_POINTS)
    pair = load_eyewear(path)
    left = pair.parts["temple_left"].vertices
    assert left[:, 0].min() > 60
    assert left[:, 2].min() < -20
    assert {"rims", "temple_left", "temple_right"} <= set(pair.parts)


def add_box(scene: trimesh.Scene, name: str, middle: tuple, size: float = 1.2) -> None:
    box = trimesh.creation.box((size, size, size), translation(middle))
    scene.add_geometry(box, node_name=name, geom_name=name)


def cord() -> trimesh.Trimesh:
    """From tip to tip of the temples, behind the neck."""
    turn = np.linspace(0, np.pi, 40)
    path = np.column_stack([72 * np.cos(turn), np.full(40, -18.0), -32 - 60 * np.sin(turn)])
    square = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    corners = path[:, None] + np.array([(0.0, x, y) for x, y in square])
    a = (4 * np.arange(39)[:, None] + np.arange(4)).ravel()
    b = (4 * np.arange(39)[:, None] + (np.arange(4) + 1) % 4).ravel()
    return trimesh.Trimesh(
        corners.reshape(-1, 3),
        np.concatenate([np.column_stack([a, b, b + 4]), np.column_stack([a, b + 4, a + 4])]),
        process=False,
    )


@pytest.mark.parametrize("one_object", [False, True])
@pytest.mark.parametrize("what", ["speck", "cord", "case"])
def test_what_lies_wholly_behind_glasses_is_none_of_them(tmp_path, what: str, one_object) -> None:
    scene = glasses_scene()
    plain = load_eyewear(written(tmp_path, "plain.glb", scene, one_object))
    if what == "cord":
        scene.add_geometry(cord(), node_name="cord", geom_name="cord")
    else:
        middle, size = {"speck": ((0, -20, -55), 1.2), "case": ((0, -30, -90), 40.0)}[what]
        add_box(scene, what, middle, size)
    found = load_eyewear(written(tmp_path, "more.glb", scene, one_object))
    assert set(found.parts) == set(plain.parts)
    for part, surface in plain.parts.items():
        np.testing.assert_allclose(
            [s.vertices.min(axis=0) for s in (found.parts[part], surface)],
            [surface.vertices.min(axis=0)] * 2,
        )
        assert len(found.parts[part].faces) == len(surface.faces)


def written(folder: Path, name: str, scene: trimesh.Scene, one_object: bool) -> Path:
    path = folder / name
    (scene.to_geometry() if one_object else scene).export(path)
    write_sidecar(path, GLASSES_POINTS)
    return path


def test_dirt_before_and_beside_glasses_changes_nothing_but_what_a_sidecar_names(tmp_path) -> None:
    scene = glasses_scene()
    add_box(scene, "grain", (60, 5, 200))
    add_box(scene, "crumb", (72, -10, -60))
    path = written(tmp_path, "x.glb", scene, one_object=False)
    plain, found = load_eyewear(write_glasses(tmp_path)), load_eyewear(path)
    for part, surface in plain.parts.items():
        assert len(found.parts[part].faces) == len(surface.faces), part
    place = sidecar_path(path)
    place.write_text(place.read_text() + "parts: {bridge: grain}\n")
    assert len(load_eyewear(path).parts["bridge"].faces) == 12


def test_a_cord_that_a_sidecar_calls_rims_stays(tmp_path: Path) -> None:
    scene = glasses_scene()
    scene.add_geometry(cord(), node_name="cord", geom_name="cord")
    path = written(tmp_path, "x.glb", scene, one_object=False)
    before = load_eyewear(path).parts["rims"].faces
    place = sidecar_path(path)
    place.write_text(place.read_text() + "parts: {rims: cord}\n")
    after = load_eyewear(path).parts["rims"].faces
    assert len(after) == len(before) + len(cord().faces)


@pytest.mark.parametrize("middle", [(0, 40, 140), (0, 5, 142), (3, 12, 115)])
def test_a_cap_or_a_speck_before_the_face_does_not_turn_the_head_over(tmp_path, middle) -> None:
    path = tmp_path / "cap.obj"
    size = 16.0 if middle[1] == 40 else 1.2
    thing = trimesh.creation.box((size, size, size), translation(middle))
    thing = thing.subdivide_to_size(2.0)
    trimesh.util.concatenate([head_mesh(), thing]).export(path)
    write_sidecar(path, HEAD_POINTS)
    assert load_head(path).anchors.nose_left[0] == pytest.approx(9.0)
    write_sidecar(path, swap(HEAD_POINTS, "nose", "temple"))
    refused(load_head, path, "swapped")


@pytest.mark.parametrize("height", [-25.0, 25.0])
def test_a_speck_behind_the_tips_says_nothing_of_what_is_up(tmp_path: Path, height: float) -> None:
    mesh = glasses_scene().to_geometry().subdivide_to_size(3)
    mesh.vertices[mesh.vertices[:, 2] < -5, 1] -= 10
    dirt = trimesh.creation.box((1.2, 1.2, 1.2), translation((70, height, -55)))
    path = tmp_path / "x.obj"
    trimesh.util.concatenate([mesh, dirt]).export(path)
    write_sidecar(path, GLASSES_POINTS)
    assert load_eyewear(path).anchors.temple_left[0] == pytest.approx(71.0)
    write_sidecar(path, swap(GLASSES_POINTS, "nose", "temple"))
    refused(load_eyewear, path, "swapped")


@pytest.mark.parametrize(
    ("name", "skin"),
    [
        ("Skin_Brown", True), ("wheelchair", True), ("argument", True), ("IrishSkin", True),
        ("Flash", True), ("Skin.001", True), ("Eyebrow_L", False), ("browLeft", False),
        ("CC_Base_Eye", False), ("lefteye", False), ("LEye", False), ("LongHair", False),
        ("longhair.001", False), ("Gums", False), ("UpperTeeth", False), ("EYELASHES", False),
    ],
)  # fmt: skip
def test_eyes_and_hair_are_known_by_the_words_of_their_names(tmp_path, name: str, skin) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(head_mesh(), node_name="face", geom_name="face")
    add_box(scene, name, (0, 100, 0), 30.0)
    path = tmp_path / "head.glb"
    scene.export(path)
    write_sidecar(path, HEAD_POINTS)
    extras = [surface for surface in load_head(path).surfaces if surface.startswith("extra")]
    assert len(extras) == (0 if skin else 1)


def test_texture_of_a_head_is_kept_with_v_up(tmp_path: Path) -> None:
    mesh = head_mesh()
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0] = (255, 0, 0)
    uv = np.column_stack([np.full(len(mesh.vertices), 0.5), np.full(len(mesh.vertices), 0.9)])
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(pixels))
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    path = tmp_path / "t.glb"
    mesh.export(path)
    write_sidecar(path, HEAD_POINTS)
    skin = load_head(path).surfaces["skin"]
    np.testing.assert_array_equal(skin.material.texture, pixels)
    assert skin.uv[0, 1] == pytest.approx(0.9)


def refused(load, path: Path, *words: str) -> None:
    started = time.monotonic()
    with pytest.raises(AssetError) as caught:
        load(path)
    assert time.monotonic() - started < 5.0
    message = str(caught.value)
    assert "\n" not in message
    assert path.stem in message
    for word in words:
        assert word in message, message


SIDECARS = [
    ("", ("empty file", "temple_left")),
    ("[1, 2]", ("list",)),
    ("temple_left: [1, 2", ("YAML",)),
    ("temple_left: [1, 2, 3]\n", ("missing temple_right",)),
    ("temple_lefd: [1, 2, 3]\n", ("did you mean temple_left",)),
    ("1: 2\n", ("unknown key",)),
    *[
        (f"temple_left: {bad}\ntemple_right: [-70, 0, 0]\n"
         "nose_left: [9, -8, 82]\nnose_right: [-9, -8, 82]\n", ("temple_left", "three finite"))
        for bad in ("[.nan, 0, 0]", "[1, 2]", "[1, 2, 3, 4]", "7", "x", "[a, b, c]", "[.inf, 0, 0]",
                    "[true, 0, 0]", "null", "[1e400, 0, 0]")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), SIDECARS)
def test_bad_sidecars(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = write_head(tmp_path)
    sidecar_path(path).write_text(text)
    refused(load_head, path, *words)


def test_missing_sidecar_says_what_to_write(tmp_path: Path) -> None:
    path = write_head(tmp_path)
    sidecar_path(path).unlink()
    refused(load_head, path, "head.anchors.yaml", *KEYS)


def swap(points: dict, *pairs: str) -> dict:
    swapped = dict(points)
    for pair in pairs:
        swapped[f"{pair}_left"] = points[f"{pair}_right"]
        swapped[f"{pair}_right"] = points[f"{pair}_left"]
    return swapped


@pytest.mark.parametrize(
    ("points", "word"),
    [
        (swap(HEAD_POINTS, "nose", "temple"), "left and right seem swapped"),
        (swap(HEAD_POINTS, "nose"), "one pair is swapped"),
        (swap(HEAD_POINTS, "temple"), "one pair is swapped"),
        (HEAD_POINTS | {"temple_left": (-70, 0, 0)}, "coincide"),
        (HEAD_POINTS | {"nose_left": (-9, -8, 82)}, "coincide"),
        (HEAD_POINTS | {"nose_left": (9, 0, 0), "nose_right": (-9, 0, 0)}, "on a line"),
        (HEAD_POINTS | {"nose_left": (9, -8, 130), "nose_right": (-9, -8, 130)}, "mm off"),
        (
            {k: tuple(np.add(v, 1e4)) for k, v in HEAD_POINTS.items()},
            "nowhere near",
        ),
    ],
)
def test_points_in_the_wrong_places(tmp_path: Path, points: dict, word: str) -> None:
    path = write_head(tmp_path)
    write_sidecar(path, points)
    refused(load_head, path, word)


def test_swapped_glasses_are_told_by_their_tips(tmp_path: Path) -> None:
    path = write_glasses(tmp_path)
    write_sidecar(path, swap(GLASSES_POINTS, "nose", "temple"))
    refused(load_eyewear, path, "swapped")


def test_folded_glasses_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "front.glb"
    scene = glasses_scene()
    for side in ("left", "right"):
        scene.delete_geometry([f"arm_{side}", f"tip_{side}"])
    scene.export(path)
    points = GLASSES_POINTS | {"temple_left": (71, 1, 119), "temple_right": (-71, 1, 119)}
    points |= {"nose_left": (8, -10, 150), "nose_right": (-8, -10, 150)}
    write_sidecar(path, points)
    refused(load_eyewear, path)


def ply(body: str, header: str) -> bytes:
    return f"ply\nformat ascii 1.0\n{header}end_header\n{body}".encode()


XYZ = "property float x\nproperty float y\nproperty float z\n"
BROKEN = {
    "empty.obj": b"",
    "text.obj": b"hello world\n",
    "points.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\n",
    "nan.obj": b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "beyond.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "cloud.ply": ply("0 0 0\n1 0 0\n", "element vertex 2\n" + XYZ),
    "short.ply": ply("0 0 0\n", f"element vertex 900\n{XYZ}"),
    "random.ply": bytes(range(256)) * 8,
    "random.stl": bytes(range(256)) * 8,
    "empty.stl": b"",
    "cut.glb": b"glTF\x02\x00\x00\x00",
    "random.glb": bytes(range(256)) * 8,
    "list.gltf": b"[]",
    "text.gltf": b"not json",
    "bare.gltf": b'{"asset": {"version": "2.0"}}',
}


@pytest.mark.parametrize("load", [load_head, load_eyewear])
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_files(tmp_path: Path, name: str, load) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    write_sidecar(path, HEAD_POINTS)
    refused(load, path)


@pytest.mark.parametrize("name", ["KHR_meshopt_compression", "EXT_meshopt_compression"])
def test_compressed_gltf_says_to_decompress(tmp_path: Path, name: str) -> None:
    path = tmp_path / "packed.glb"
    tree = json.dumps({"asset": {"version": "2.0"}, "extensionsRequired": [name]}).encode()
    tree += b" " * (-len(tree) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(tree), len(tree), 0x4E4F534A)
    path.write_bytes(head + tree)
    write_sidecar(path, HEAD_POINTS)
    refused(load_head, path, name, "decompress")


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    refused(load_head, tmp_path / "none.obj", "no such mesh")
    (tmp_path / "head.fbx").write_bytes(b"x")
    refused(load_head, tmp_path / "head.fbx", ".glb")
    (tmp_path / "folder.obj").mkdir()
    refused(load_head, tmp_path / "folder.obj")


def test_sidecar_reads_whole_numbers(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path / "a.obj", HEAD_POINTS)
    np.testing.assert_array_equal(read_sidecar(path).anchors.temple_left, EAR)


def test_a_mesh_is_known_by_all_the_files_it_names(tmp_path) -> None:
    for name in ("head[1].obj", "head[1].anchors.yaml", "skin.mtl", "skin.png", "head[1].v2.glb"):
        (tmp_path / name).write_text("x")
    (tmp_path / "head[1].obj").write_text("mtllib skin.mtl\nmtllib gone.mtl\nv 0 0 0\n")
    (tmp_path / "skin.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd skin.png\n")
    names = [path.name for path in companions(tmp_path / "head[1].obj")]
    assert names == ["head[1].obj", "head[1].anchors.yaml", "skin.mtl", "skin.png"]
    buffers = {"asset": {"version": "2.0"}, "images": [{}]}
    buffers["buffers"] = [{"uri": "a%20b.bin"}, {"uri": "data:,"}]
    (tmp_path / "g.gltf").write_text(json.dumps(buffers))
    (tmp_path / "a b.bin").write_bytes(b"1")
    assert [p.name for p in companions(tmp_path / "g.gltf")] == ["g.gltf", "a b.bin"]


def test_glasses_taken_for_a_head_and_a_head_for_glasses_are_told(tmp_path: Path) -> None:
    pair, head = write_glasses(tmp_path), write_head(tmp_path)
    with pytest.raises(AssetError, match="looks like glasses, but is used for a head"):
        load_head(pair)
    with pytest.raises(AssetError, match="looks like a head, but is used for glasses"):
        load_eyewear(head)


def test_a_linked_mesh_has_its_sidecar_beside_the_link(tmp_path: Path) -> None:
    store, links = tmp_path / "store", tmp_path / "links"
    store.mkdir()
    links.mkdir()
    real = write_head(store)
    sidecar_path(real).rename(sidecar_path(links / "mine.obj"))
    (links / "mine.obj").symlink_to(real)
    picture = tmp_path / "mine.png"
    found = CliRunner().invoke(
        commands, ["annotate", str(links / "mine.obj"), "--picture", str(picture)]
    )
    assert found.exit_code == 0, found.output
    assert picture.is_file()
