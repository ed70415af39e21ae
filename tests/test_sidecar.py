"""What a sidecar may say, what is refused, and that what is written reads the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml

from pipeline.annotate.labelling import Labels
from pipeline.catalog.anchors import KEYS, read_sidecar, sidecar_path, write_sidecar
from pipeline.catalog.catalog import open_catalog
from pipeline.catalog.mesh import load_eyewear, load_head
from pipeline.errors import AssetError
from pipeline.geometry import Anchors, Eyewear

POINTS = "".join(f"{key}: [{i}, 0.5, -{i}]\n" for i, key in enumerate(KEYS, 1))


def written(folder: Path, text: str) -> Path:
    path = folder / "x.anchors.yaml"
    path.write_text(text)
    return path


def test_four_points_alone_leave_everything_else_open(tmp_path: Path) -> None:
    found = read_sidecar(written(tmp_path, POINTS))
    np.testing.assert_array_equal(found.anchors.as_array()[:, 0], [1, 2, 3, 4])
    assert (found.kind, found.confidence, found.parts) == (None, None, {})
    assert found.synthesise_lenses is False


def test_everything_a_sidecar_can_say(tmp_path: Path) -> None:
    text = POINTS + (
        "kind: glasses\nconfidence: 1\nlenses: synthesise\n"
        "parts: {rims: Frame, temples: [Arm L, 'Arm R'], lens_left: 'glass'}\n"
    )
    found = read_sidecar(written(tmp_path, text))
    assert (found.kind, found.confidence) == ("glasses", 1.0)
    assert found.parts == {
        "rims": ("Frame",), "temples": ("Arm L", "Arm R"), "lens_left": ("glass",),
    }  # fmt: skip
    assert found.synthesise_lenses is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: heads\n", ("kind", "did you mean head")),
        ("kind: [head]\n", ("kind",)),
        ("kind: null\n", ("kind",)),
        ("confidence: 2\n", ("confidence", "0 to 1", "2")),
        ("confidence: true\n", ("confidence",)),
        ("confidence: .nan\n", ("confidence",)),
        (f"confidence: 1{'0' * 400}\n", ("confidence",)),
        ("lenses: remove\n", ("lenses", "keep, synthesise")),
        ("lenses: {}\n", ("lenses",)),
        ("parts: rims\n", ("parts", "lens_left")),
        ("parts: null\n", ("parts",)),
        ("parts: {rim: a}\n", ("did you mean rims",)),
        ("parts: {1: a}\n", ("parts",)),
        ("parts: {rims: 7}\n", ("rims", "in quotes")),
        ("parts: {rims: []}\n", ("rims",)),
        ("parts: {rims: ['']}\n", ("rims",)),
        ("kind: head\nparts: {rims: a}\n", ("parts", "kind is head")),
        ("kind: head\nlenses: keep\n", ("lenses", "kind is head")),
        ("kinds: head\n", ("did you mean kind",)),
        ("kind: head\nkind: glasses\n", ("twice",)),
        ("a: &a [1]\nparts: {rims: *a}\n", ("aliases",)),
        (f"# {'x' * 300_000}\n", ("larger",)),
        (f"parts: {'[' * 5000}\n", ("YAML",)),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(tmp_path, text, words) -> None:
    path = written(tmp_path, POINTS + text)
    with pytest.raises(AssetError) as caught:
        read_sidecar(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 500
    for word in words:
        assert word in message


def test_a_missing_sidecar_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"eyeglass annotate MESH --auto.*temple_left"):
        read_sidecar(tmp_path / "x.anchors.yaml")


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e9, 1 / 3])
def test_written_points_read_the_same_to_the_last_bit(tmp_path: Path, scale: float) -> None:
    rng = np.random.default_rng(5)
    points = Anchors(*(rng.normal(size=(4, 3)) * scale))
    points.nose_left[:] = (0.0, -1e-5 * scale, 1e22 / 1e11)
    path = tmp_path / "x.anchors.yaml"
    write_sidecar(path, points, "glasses", 0.875)
    found = read_sidecar(path)
    np.testing.assert_array_equal(found.anchors.as_array(), points.as_array())
    assert (found.kind, found.confidence) == ("glasses", 0.875)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_whole_exponent_is_a_number_though_yaml_takes_it_for_text(tmp_path: Path) -> None:
    path = written(tmp_path, POINTS.replace("[1, 0.5, -1]", "[1e-3, 2E2, -3e0]"))
    np.testing.assert_array_equal(read_sidecar(path).anchors.temple_left, (0.001, 200, -3))


def test_writing_again_keeps_what_people_said_of_parts_and_lenses(tmp_path: Path) -> None:
    path = written(tmp_path, POINTS + "parts: {rims: [\"Rähmen 'a: b'\", x]}\nlenses: synthesise\n")
    before = read_sidecar(path)
    write_sidecar(path, Anchors(*np.eye(4, 3)), "glasses")
    after = read_sidecar(path)
    assert after.parts == before.parts == {"rims": ("Rähmen 'a: b'", "x")}
    assert after.synthesise_lenses
    assert after.confidence is None
    np.testing.assert_array_equal(after.anchors.temple_right, (0, 1, 0))
    with pytest.raises(AssetError, match="parts, lenses of glasses"):
        write_sidecar(path, Anchors(*np.eye(4, 3)), "head")


def test_what_cannot_be_written_leaves_the_earlier_file_alone(tmp_path: Path) -> None:
    path = written(tmp_path, POINTS)
    with pytest.raises(AssetError, match="nose_right is not finite"):
        write_sidecar(path, Anchors(*np.eye(4, 3)[:3], np.full(3, np.nan)), "head")
    assert path.read_text() == POINTS
    path.write_text("[broken")
    with pytest.raises(AssetError, match="YAML"):
        write_sidecar(path, Anchors(*np.eye(4, 3)), "head")
    assert path.read_text() == "[broken"
    with pytest.raises(AssetError, match="cannot be written"):
        write_sidecar(tmp_path / "none" / "x.anchors.yaml", Anchors(*np.eye(4, 3)), "head")


def pair_file(folder: Path, name: str = "pair.glb") -> tuple[Path, Eyewear]:
    """A design of ours as a file, one object a part."""
    entry = open_catalog().glasses["aviator"]
    pair = entry.build(entry.typical())
    scene = trimesh.Scene()
    for part, surface in pair.parts.items():
        mesh = trimesh.Trimesh(surface.vertices, surface.triangles(), process=False)
        scene.add_geometry(mesh, node_name=part, geom_name=part)
    path = folder / name
    scene.export(path)
    write_sidecar(sidecar_path(path), pair.anchors, "glasses")
    return path, pair


def test_kind_must_be_that_of_the_use(tmp_path: Path) -> None:
    path, pair = pair_file(tmp_path)
    with pytest.raises(AssetError, match=r"kind is glasses, but the mesh is used for a head"):
        load_head(path)
    write_sidecar(sidecar_path(path), pair.anchors, "head")
    with pytest.raises(AssetError, match=r"kind is head, but the mesh is used for glasses"):
        load_eyewear(path)


def test_parts_and_lenses_are_none_of_a_heads(tmp_path: Path) -> None:
    path, _ = pair_file(tmp_path)
    place = sidecar_path(path)
    points = "\n".join(line for line in place.read_text().splitlines() if "kind" not in line)
    for text in ("parts: {rims: a}", "lenses: synthesise"):
        place.write_text(f"{points}\n{text}\n")
        with pytest.raises(AssetError, match="belong to glasses"):
            load_head(path)


def test_every_part_of_a_loaded_pair_has_a_confidence(tmp_path: Path) -> None:
    path, pair = pair_file(tmp_path)
    loaded = load_eyewear(path)
    assert set(loaded.part_confidence) == set(loaded.parts)
    assert all(0 <= c <= 1 for c in loaded.part_confidence.values())
    assert pair.part_confidence == {}


def test_the_sidecar_says_which_object_is_which_part(tmp_path: Path) -> None:
    path, pair = pair_file(tmp_path)
    place = sidecar_path(path)
    place.write_text(place.read_text() + "parts: {bridge: [rims], rims: [bridge]}\n")
    loaded = load_eyewear(path)
    for told, truth in (("bridge", "rims"), ("rims", "bridge")):
        count = len(pair.parts[truth].triangles())
        assert len(loaded.parts[told].faces) == pytest.approx(count, rel=0.1)


def test_a_written_sidecar_is_plain_yaml_with_comments(tmp_path: Path) -> None:
    path, _ = pair_file(tmp_path)
    text = sidecar_path(path).read_text()
    assert set(yaml.safe_load(text)) == {*KEYS, "kind"}
    assert sum(line.startswith("#") for line in text.splitlines()) >= 3


def test_labels_can_be_compared_kept_in_sets_and_shown_however_long_their_past() -> None:
    labels = first = Labels().placed(np.zeros(3))
    for _ in range(2000):
        labels = labels.placed(np.zeros(3))
    assert labels != first
    assert len({labels, first, labels}) == 2
    assert len(repr(labels)) < 500
