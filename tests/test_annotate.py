"""The command `annotate` without its page: labels, rays, proposals, pictures, mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from pipeline.annotate import command
from pipeline.annotate.labelling import Labels, Target, place_in_words
from pipeline.annotate.picture import POINT_COLOURS
from pipeline.annotate.shown import as_glb, looks
from pipeline.annotate.trial import reference_pair, try_on
from pipeline.catalog.anchors import (
    KEYS,
    KINDS,
    Sidecar,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.mesh import load_head
from pipeline.catalog.meshfile import read_pieces
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError, EyeglassError
from pipeline.fit import fit, posed_parts
from pipeline.geometry import Anchors, Head, Material, Surface
from pipeline.transforms import apply, compose, rotation_about, translation

FILE_FROM_MM = compose(
    translation((5, -3, 8)), rotation_about((1, 0, 0), 90.0), np.diag([1e-3, 1e-3, 1e-3, 1.0])
)


@pytest.fixture(scope="module")
def head() -> Head:
    return bare_head(person(3), "1_neutral")


@pytest.fixture
def mesh(tmp_path: Path, head: Head) -> Path:
    """The skin and the eyes of a person as an OBJ in metres, z up, away from the origin."""
    scene = trimesh.Scene()
    for name in ("skin", "eye_left", "eye_right"):
        surface = head.surfaces[name]
        scene.add_geometry(
            trimesh.Trimesh(
                apply(FILE_FROM_MM, surface.vertices), surface.triangles(), process=False
            ),
            geom_name=name,
        )
    path = tmp_path / "scan.glb"
    scene.export(path)
    return path


def in_file(anchors: Anchors) -> Anchors:
    return Anchors(*apply(FILE_FROM_MM, anchors.as_array()))


def sidecar(anchors: Anchors, kind: str = "head") -> Sidecar:
    return Sidecar(anchors, kind, None, {}, False)


def point(x: float) -> np.ndarray:
    return np.array([x, 0.0, 0.0])


# --- labels


def test_clicks_fill_the_points_in_order_and_then_move_the_last() -> None:
    labels = Labels()
    for i, key in enumerate(KEYS):
        assert labels.current == key
        assert labels.anchors() is None
        labels = labels.placed(point(i))
    anchors = labels.anchors()
    assert anchors is not None
    assert anchors.as_array()[:, 0].tolist() == [0, 1, 2, 3]
    assert labels.placed(point(9)).points[KEYS[3]][0] == 9


def test_a_chosen_point_is_placed_first_and_then_the_missing_ones() -> None:
    labels = Labels().selected("nose_right").placed(point(1))
    assert list(labels.points) == ["nose_right"]
    assert labels.current == "temple_left"


def test_undo_goes_back_click_by_click() -> None:
    anchors = Anchors(*(point(i) for i in range(4)))
    states = [Labels()]
    states.append(states[-1].placed(point(1)))
    states.append(states[-1].placed(point(2)))
    states.append(states[-1].replaced(anchors))
    labels = states[-1]
    for earlier in reversed(states[:-1]):
        labels = labels.undone()
        assert labels is earlier
    assert labels.undone() is labels


@pytest.mark.parametrize("kind", KINDS)
def test_every_point_has_a_place_in_words(kind: str) -> None:
    words = [place_in_words(kind, key) for key in KEYS]
    assert len(set(words)) == len(KEYS)
    for key, text in zip(KEYS, words, strict=True):
        assert f" {key.split('_')[1]} " in text


# --- rays


def block(radius: float, at: tuple[float, float, float]) -> Piece:
    mesh = trimesh.creation.box((2 * radius,) * 3).apply_translation(at)
    return Piece("box", "", Surface(np.array(mesh.vertices), np.array(mesh.faces, np.int64)))


@pytest.mark.parametrize(
    ("radius", "at"), [(100, (0, 0, 0)), (0.1, (5, -3, 8)), (3e4, (9e6, 0, 0))]
)
def test_a_ray_meets_the_first_face_exactly(radius: float, at: tuple[float, float, float]) -> None:
    """A box: a slanting ray towards its front face meets it where similar triangles say."""
    target = Target([block(radius, at)])
    # In the local frame the box is 2 across, so its front face is z = 1.
    found = target.pick((0.25, 0, 5), (0.05, -0.1, -1))
    assert found is not None
    assert (found - at) / radius == pytest.approx([0.45, -0.4, 1.0], abs=1e-9)
    assert target.pick((0, 0, 5), (0, 0, 1)) is None
    assert target.pick((0, 3, 5), (0, 0, -1)) is None


def test_a_stray_part_far_off_does_not_make_the_mesh_a_speck() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=100)
    surface = Surface(np.array(mesh.vertices), np.array(mesh.faces, np.int64))
    target = Target([Piece("head", "", surface), block(1, (1e6, 0, 0))])
    assert np.linalg.norm(target.local_from_file[:3, 0]) == pytest.approx(0.01, rel=0.05)


def test_what_the_page_shows_keeps_textures_colours_and_panes() -> None:
    uv = np.zeros((3, 2), np.float32)
    corners, faces = np.eye(3), np.array([[0, 1, 2]])
    texture = np.full((2, 2, 3), 200, np.uint8)
    red = np.tile(np.float32([1, 0, 0]), (3, 1))
    pieces = [
        Piece("a", "", Surface(corners, faces, uv, material=Material(texture=texture))),
        Piece("b", "", Surface(corners, faces, attributes={"color": red})),
        Piece("c", "", Surface(corners, faces, material=Material((0, 0, 1)))),
        Piece("d", "", Surface(corners, faces, material=Material(transmission=1.0))),
    ]
    data = as_glb(looks(pieces), np.diag([2.0, 2, 2, 1]))
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(data), file_type="glb")
    # Those without texture are joined, but for the pane.
    found = {len(m.faces): m for m in scene.geometry.values() if len(m.faces) == 2}
    assert len(scene.geometry) == 3
    colours = found[2].visual.vertex_attributes["color"][:, :3]
    assert colours.tolist() == [[255, 0, 0]] * 3 + [[0, 0, 255]] * 3
    assert scene.bounds.max() == pytest.approx(2.0)
    alphas = sorted(m.visual.material.baseColorFactor[3] for m in scene.geometry.values())
    assert alphas[0] < 128
    assert alphas[1:] == [255, 255]


# --- the trial


def test_our_pair_sits_in_the_file_as_the_fit_says(mesh: Path, head: Head) -> None:
    trial = try_on(mesh, read_pieces(mesh), sidecar(in_file(head.anchors)))
    write_sidecar(sidecar_path(mesh), in_file(head.anchors), "head")
    loaded = load_head(mesh)
    placed = fit(loaded, reference_pair(), 0.0)
    assert trial.usable
    assert trial.placed is not None
    assert trial.placed.figures == pytest.approx(placed.figures, abs=1e-6)
    assert trial.reason == placed.reason
    # Each vertex of the rims is as far from the four points in the file as in the fit.
    rims = posed_parts(reference_pair(), placed)["rims"].vertices
    shown = trial.surfaces[list(reference_pair().parts).index("rims")][0].vertices
    for key in KEYS:
        apart = np.linalg.norm(rims - getattr(loaded.anchors, key), axis=1)
        in_metres = np.linalg.norm(shown - getattr(in_file(head.anchors), key), axis=1)
        assert 1e3 * in_metres == pytest.approx(apart, abs=1e-3)


def test_swapped_points_are_told_and_still_shown(mesh: Path, head: Head) -> None:
    own = in_file(head.anchors)
    swapped = Anchors(own.temple_right, own.temple_left, own.nose_left, own.nose_right)
    trial = try_on(mesh, read_pieces(mesh), sidecar(swapped))
    assert not trial.usable
    assert trial.placed is None
    assert "swapped" in trial.reason
    assert "swapped" in trial.as_markdown()
    middle = np.concatenate([s.vertices for s, _, _ in trial.surfaces]).mean(axis=0)
    assert np.linalg.norm(middle - own.as_array().mean(axis=0)) < 0.2


def test_points_that_coincide_show_no_pair(mesh: Path) -> None:
    one = np.array([5.0, -3, 8])
    trial = try_on(mesh, read_pieces(mesh), sidecar(Anchors(one, one, one, one)))
    assert not trial.usable
    assert trial.surfaces == []


# --- --auto


def run(*arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "annotate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    return done.returncode, done.stdout, done.stderr


def test_auto_labels_a_head_and_leaves_a_sidecar_alone(mesh: Path, head: Head) -> None:
    picture = mesh.with_suffix(".png")
    status, out, err = run(mesh, "--auto", "--picture", picture)
    assert (status, err) == (0, "")
    found = read_sidecar(sidecar_path(mesh))
    assert found.kind == "head"
    assert found.confidence is not None
    assert 0.5 <= found.confidence <= 1
    for word in ("head", "confidence", *KEYS, str(picture)):
        assert word in out
    unit = next(line for line in out.splitlines() if line.startswith("  unit"))
    assert unit.split() == ["unit", "m"]
    # Within 6 mm of the person's own points.
    off = np.linalg.norm(found.anchors.as_array() - in_file(head.anchors).as_array(), axis=1)
    assert (off < 6e-3).all()
    image = cv2.imread(str(picture))
    assert image is not None
    assert image.shape[1] == command.PICTURE_PX
    for colour in POINT_COLOURS[:4]:
        assert (image == colour[::-1]).all(axis=2).sum() > 50

    before = sidecar_path(mesh).read_text()
    status, out, err = run(mesh, "--auto")
    assert (status, out) == (2, "")
    assert err.startswith("Error: ")
    assert "--force" in err
    assert len(err.splitlines()) == 1
    assert sidecar_path(mesh).read_text() == before


def test_auto_says_when_it_is_unsure_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cube.stl"
    trimesh.creation.box((1, 1, 1)).export(path)
    status, out, err = run(path, "--auto")
    assert (status, out) == (1, "")
    assert err.startswith("Unsure: cube.stl: ")
    assert len(err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["cube.stl"]


# --- --picture alone, and mistakes


def test_picture_draws_the_points_of_the_sidecar(mesh: Path, head: Head) -> None:
    picture = mesh.with_suffix(".png")
    with pytest.raises(AssetError, match=r"scan\.anchors\.yaml: no such file"):
        command.annotate(mesh, picture=picture)
    assert not picture.exists()
    write_sidecar(sidecar_path(mesh), in_file(head.anchors), "head")
    assert command.annotate(mesh, picture=picture) == 0
    image = cv2.imread(str(picture))
    assert image is not None
    half = command.PICTURE_PX // 2
    front = image[:half, :half, ::-1].astype(int)

    def column(colour: tuple[int, int, int]) -> float:
        return float(np.nonzero((np.abs(front - colour) < 40).all(axis=2))[1].mean())

    left, right, nose_left, nose_right = map(column, POINT_COLOURS[:4])
    assert left > nose_left > nose_right > right


def test_mistakes_are_errors_of_one_line(mesh: Path, tmp_path: Path) -> None:
    write_sidecar(sidecar_path(mesh), Anchors(*map(point, range(4))), "head")
    cloud = tmp_path / "cloud.ply"
    trimesh.PointCloud(np.random.default_rng(0).normal(size=(20, 3))).export(cloud)
    page = tmp_path / "page.obj"
    page.write_text("<!doctype html><html></html>")
    for arguments, options, said in (
        (tmp_path, {}, "folder"),
        (tmp_path / "absent.obj", {}, "no such mesh file"),
        (tmp_path / "notes.txt", {}, "not a mesh format"),
        (cloud, {"auto": True}, "point cloud"),
        (page, {"auto": True}, "page.obj"),
        (mesh, {"picture": tmp_path / "a.jpg"}, "ends in .png"),
        (mesh, {"picture": tmp_path / "none" / "a.png"}, "cannot be written"),
        (mesh, {"picture": tmp_path / "a.png"}, "almost on a line|coincide|swapped"),
        (mesh, {"picture": tmp_path / "a.png", "kind": "glasses"}, "--kind says glasses"),
        (mesh, {"auto": True, "port": 8080}, "--port"),
        (mesh, {"auto": True, "browser": False}, "--no-browser"),
        (mesh, {"force": True}, "--force"),
    ):
        with pytest.raises(EyeglassError, match=said) as caught:
            command.annotate(arguments, **options)  # type: ignore[arg-type]
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "a.png").exists()


def test_help_imports_neither_viser_nor_trimesh() -> None:
    code = (
        "import sys\nfrom pipeline.cli import commands\n"
        "commands.main(['annotate', '--help'], standalone_mode=False)\n"
        "assert not {'viser', 'trimesh', 'cv2', 'playwright'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_only_the_page_loads_viser() -> None:
    code = "import sys, pipeline.annotate.command\nassert 'viser' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
