"""`eyeglass fit`: catalogue names and mesh files, the figures as JSON, the GLB, exit codes."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml
from PIL import Image

from pipeline.catalog.catalog import open_catalog
from pipeline.errors import AssetError, EyeglassError
from pipeline.fit import fit, posed_parts
from pipeline.fitting import FitOutcome, fit_pair, typical_wear
from pipeline.geometry import Anchors, Eyewear, Head, Surface, resized
from pipeline.limits import WearLimits

ROOT = Path(__file__).resolve().parent.parent
PERSON = "person-000003"
KEYS = [
    "accepted",
    "reason",
    "head",
    "glasses",
    "nose",
    "wear",
    "expression",
    "figures",
    "limits",
    "unit",
    "parts",
    "world_from_glasses",
]


def typical(design: str) -> Eyewear:
    entry = open_catalog().glasses[design]
    return entry.build(entry.typical())


@pytest.fixture(scope="module")
def head() -> Head:
    return open_catalog().heads.load(PERSON, "1_neutral")


@pytest.fixture(scope="module")
def worn(head: Head) -> str:
    """A design that sits well on the person."""
    return next(name for name in open_catalog().glasses if fit(head, typical(name), 0).accepted)


def save(path: Path, parts: Mapping[str, Surface], anchors: Anchors, scale: np.ndarray) -> str:
    """A mesh file with its anchors, all scaled by `scale` (3,)."""
    scene = trimesh.Scene()
    for name, part in parts.items():
        mesh = trimesh.Trimesh(part.vertices * scale, part.triangles(), process=False)
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    scene.export(path)
    points = (anchors.as_array() * scale).tolist()
    names = ("temple_left", "temple_right", "nose_left", "nose_right")
    sidecar = path.with_name(f"{path.stem}.anchors.yaml")
    sidecar.write_text(yaml.safe_dump(dict(zip(names, points, strict=True))))
    return str(path)


@pytest.fixture(scope="module")
def files(head: Head, worn: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Mesh files in metres of the person and the design, and ones that cannot go together."""
    folder = tmp_path_factory.mktemp("meshes")
    skin, eyewear = {"skin": head.surfaces["skin"]}, typical(worn)
    metres = np.full(3, 0.001)

    def across(anchors: Anchors, wanted_mm: float) -> np.ndarray:
        spread = float(anchors.temple_left[0] - anchors.temple_right[0])
        return metres * (wanted_mm / spread, 1, 1)

    wide, narrow = across(head.anchors, 188), across(eyewear.anchors, 102)
    return {
        "head": save(folder / "scan.ply", skin, head.anchors, metres),
        "wide": save(folder / "wide.glb", skin, head.anchors, wide),
        "glasses": save(folder / "frame.glb", eyewear.parts, eyewear.anchors, metres),
        "narrow": save(folder / "narrow.glb", eyewear.parts, eyewear.anchors, narrow),
    }


def command(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", "fit", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder or ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_json_has_the_figures_of_the_fit(head: Head, worn: str) -> None:
    outcome = fit_pair(PERSON, worn, 0.0, "1_neutral")
    data = json.loads(outcome.as_json())
    placed = fit(head, typical(worn), 0.0)
    assert list(data) == KEYS
    assert (data["accepted"], data["reason"]) == (True, "")
    assert (data["head"], data["glasses"], data["expression"]) == (PERSON, worn, "1_neutral")
    assert data["figures"] == {k: round(v, 4) + 0.0 for k, v in sorted(placed.figures.items())}
    assert np.allclose(data["world_from_glasses"], placed.world_from_glasses, atol=1e-8)
    assert data["limits"]["pad_gap_mm"] > 0


def test_nose_position_and_expression_reach_the_fit(worn: str) -> None:
    at_rest = fit_pair(PERSON, worn, 0.0, "1_neutral").world_from_glasses
    lower = fit_pair(PERSON, worn, 2.0, "1_neutral").world_from_glasses
    disgusted = fit_pair(PERSON, worn, 0.0, "15_disgust").world_from_glasses
    assert lower[1][3] < at_rest[1][3] - 1
    assert not np.allclose(disgusted, at_rest, atol=1e-3)


def test_a_way_of_wearing_is_fitted_and_told(worn: str) -> None:
    outcome = fit_pair(PERSON, worn, 0.5, "1_neutral", wear="oversized")
    way, limits = typical_wear("oversized"), WearLimits().oversized
    assert outcome.wear == {"mode": "oversized", "scale": way.scale}
    assert way.scale == pytest.approx(1.13)
    placed = fit(
        open_catalog().heads.load(PERSON, "1_neutral"),
        resized(typical(worn), way.scale),
        0.5,
        wear=way,
    )
    assert np.allclose(outcome.world_from_glasses, placed.world_from_glasses)
    assert outcome.limits == limits.model_dump()
    assert json.loads(outcome.as_json())["wear"] == outcome.wear
    assert "mode oversized, scale 1.13" in outcome.as_text()


def test_figures_that_are_not_finite_become_null() -> None:
    outcome = FitOutcome(
        head="a.obj",
        glasses="b.obj",
        nose=1.0,
        expression="1_neutral",
        accepted=False,
        reason="pad_gap_left_mm inf is beyond the limit 1",
        figures={"pad_gap_left_mm": math.inf, "pad_gap_right_mm": -0.00001, "roll_deg": 1.23456},
        limits={"pad_gap_mm": 1.0},
        world_from_glasses=np.eye(4).tolist(),
        unit={"head": "mm", "glasses": "scaled"},
    )
    figures = json.loads(outcome.as_json())["figures"]
    assert figures == {"pad_gap_left_mm": None, "pad_gap_right_mm": 0.0, "roll_deg": 1.2346}
    assert "-0.0" not in outcome.as_json()
    lines = outcome.as_text().splitlines()
    assert "rejected: pad_gap_left_mm inf is beyond the limit 1" in outcome.as_text()
    assert ["pad", "gap,", "mm", "none", "0.00"] in [line.split() for line in lines]
    assert ["roll,", "degrees", "1.23"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("wearer", "pair"), [("head", "design"), ("person", "glasses"), ("head", "glasses")]
)
def test_names_and_files_mix(wearer: str, pair: str, files: dict[str, str], worn: str) -> None:
    outcome = fit_pair(files.get(wearer, PERSON), files.get(pair, worn), 0.0, "1_neutral")
    missing = {name for name, value in outcome.figures.items() if not math.isfinite(value)}
    # A mesh has no lashes, nor eyes, that are known as such.
    assert missing == ({"lash_gap_left_mm", "lash_gap_right_mm"} if wearer in files else set())
    assert outcome.accepted is (outcome.reason == "")
    pose = np.array(outcome.world_from_glasses)
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_glb_holds_head_and_worn_glasses_in_metres(head: Head, worn: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "fitted.glb"
    fit_pair(PERSON, worn, 0.5, "1_neutral", out)
    scene = trimesh.load_scene(out, process=False)
    eyewear = typical(worn)
    expected = {f"head_{name}": surface for name, surface in head.surfaces.items()}
    placed = posed_parts(eyewear, fit(head, eyewear, 0.5))
    expected |= {f"glasses_{name}": part for name, part in placed.items()}
    assert set(scene.graph.nodes_geometry) == set(expected)
    for node, surface in expected.items():
        matrix, name = scene.graph[node]
        found = trimesh.transform_points(scene.geometry[name].vertices, matrix)
        wanted = surface.vertices[np.unique(surface.triangles())] / 1000
        assert np.allclose(found.min(axis=0), wanted.min(axis=0), atol=1e-6)
        assert np.allclose(found.max(axis=0), wanted.max(axis=0), atol=1e-6)
    assert 0.12 < np.ptp(scene.geometry["glasses_rims"].vertices[:, 0]) < 0.16
    assert [path.name for path in out.parent.iterdir()] == ["fitted.glb"]


def test_glb_has_the_colours_of_the_parts(worn: str, tmp_path: Path) -> None:
    fit_pair(PERSON, worn, 0.0, "1_neutral", tmp_path / "fitted.glb")
    scene = trimesh.load_scene(tmp_path / "fitted.glb", process=False)
    part = typical(worn).parts["rims"].material
    assert part is not None
    rims = scene.geometry["glasses_rims"].visual.material
    assert np.allclose(np.array(rims.baseColorFactor[:3]) / 255, part.base_color, atol=0.003)
    lens = scene.geometry["glasses_lens_left"].visual.material
    assert lens.alphaMode == "BLEND"
    assert lens.baseColorFactor[3] < 128


def test_picture_shows_the_head_and_the_frame_from_four_sides(worn: str, tmp_path: Path) -> None:
    picture = tmp_path / "worn.png"
    fit_pair(PERSON, worn, 0.0, "1_neutral", picture=picture)
    image = np.asarray(Image.open(picture).convert("RGB"), dtype=int)
    assert image.shape == (1200, 1200, 3)
    background = image[2, 2]
    for tile in (image[:600, :600], image[:600, 600:], image[600:, :600], image[600:, 600:]):
        drawn = np.abs(tile - background).max(axis=2) > 20
        # A head, not a body: it fills between a third and nine tenths of each view.
        assert 0.33 < drawn.mean() < 0.9
    with pytest.raises(EyeglassError, match=r"ends in \.png"):
        fit_pair(PERSON, worn, 0.0, "1_neutral", picture=tmp_path / "worn.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["worn.png"]


def test_both_files_or_none(worn: str, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EyeglassError, match=r"worn\.png: cannot be written"):
        fit_pair(PERSON, worn, 0.0, "1_neutral", tmp_path / "a.glb", blocked / "worn.png")
    assert list(tmp_path.iterdir()) == [blocked]


def test_unknown_names_are_answered_with_the_nearest(worn: str, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="did you mean 'aviator'"):
        fit_pair(PERSON, "avaitor", 0, "1_neutral")
    with pytest.raises(AssetError, match="person-000003"):
        fit_pair("person-3", worn, 0, "1_neutral")
    with pytest.raises(AssetError, match="2_mouth_open"):
        fit_pair(PERSON, worn, 0, "2_mouth_opn")
    with pytest.raises(AssetError, match=r"nowhere\.obj: no such"):
        fit_pair(str(tmp_path / "nowhere.obj"), worn, 0, "1_neutral")
    with pytest.raises(AssetError, match="not a mesh format"):
        fit_pair(PERSON, str(tmp_path / "frame.fbx"), 0, "1_neutral")


def test_a_mesh_has_one_expression(files: dict[str, str], worn: str) -> None:
    with pytest.raises(AssetError, match="1_neutral"):
        fit_pair(files["head"], worn, 0, "2_mouth_open")


@pytest.mark.parametrize("nose", [-0.1, 3.1, math.nan, math.inf])
def test_nose_positions_out_of_range(nose: float, worn: str) -> None:
    with pytest.raises(EyeglassError, match="from 0 to 3"):
        fit_pair(PERSON, worn, nose, "1_neutral")


def test_outputs_that_cannot_be_written(files: dict[str, str], worn: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.glb").mkdir()
    for out in ("fitted.obj", "fitted", "folder.glb", "file/fitted.glb"):
        with pytest.raises(EyeglassError, match=re.escape(str(tmp_path / out))):
            fit_pair(PERSON, worn, 0, "1_neutral", tmp_path / out)
    before = Path(files["glasses"]).read_bytes()
    with pytest.raises(EyeglassError, match="is a mesh to be fitted"):
        fit_pair(PERSON, files["glasses"], 0, "1_neutral", Path(files["glasses"]))
    assert Path(files["glasses"]).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.glb"]
    assert (tmp_path / "file").read_text() == "mine"


def test_command_leaves_with_0_when_the_fit_is_accepted(worn: str, tmp_path: Path) -> None:
    done = command(PERSON, worn, "--json", "--out", "fitted.glb", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["accepted"] is True
    assert (tmp_path / "fitted.glb").read_bytes()[:4] == b"glTF"
    text = command(PERSON, worn)
    assert (text.returncode, text.stderr) == (0, "")
    assert "accepted" in text.stdout


def test_command_leaves_with_1_when_a_limit_fails(files: dict[str, str]) -> None:
    done = command(files["wide"], files["narrow"], "--json")
    assert (done.returncode, done.stderr) == (1, "")
    data = json.loads(done.stdout)
    assert data["accepted"] is False
    assert data["reason"].split()[0] in data["figures"]


@pytest.mark.parametrize(
    "arguments",
    [
        (PERSON, "avaitor"),
        (PERSON, "missing.obj"),
        ("missing.ply", "aviator"),
        (PERSON, "aviator", "--nose", "4"),
        (PERSON, "aviator", "--nose", "nan"),
        (PERSON, "aviator", "--expression", "smirk"),
        (PERSON, "aviator", "--out", "fitted.stl"),
        (PERSON,),
    ],
)
def test_command_says_mistakes_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = command(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
