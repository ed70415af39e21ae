"""The whole line, with real Blender at 64 px: from a command to files, again and again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from pipeline import journal, store
from pipeline.check import check_dataset
from pipeline.contact import COLUMNS
from pipeline.spec import EXTRA_KEYS, IMAGE_KEYS, LAYERS, split_of


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def generate(out: Path, count: int, *more: str) -> subprocess.CompletedProcess[str]:
    done = run("generate", "--scene", "smoke", "--count", count, "--out", out, *more)
    assert done.returncode == 0, done.stderr
    return done


def blend_contents(path: Path) -> tuple[str, int, bool, bool, bool]:
    """What Blender finds in a .blend: open scene, its size, any border, eyewear to be seen, and
    whether all images are inside."""
    script = f"""
import bpy
bpy.ops.wm.open_mainfile(filepath={str(path)!r})
scene = bpy.context.scene
rims = scene.objects["rims"]
packed = [bool(image.packed_file) for image in bpy.data.images if image.type != "RENDER_RESULT"]
print("found", repr((scene.name, scene.render.resolution_x, scene.render.use_border,
                      rims.visible_camera and not rims.hide_render,
                      len(packed) >= 2 and all(packed))))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return literal_eval(done.stdout.split("found ")[1].splitlines()[0])


def data_files(root: Path) -> dict[str, bytes]:
    """Every file of a dataset but its log."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "log" not in path.relative_to(root).parts
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("set") / "data"
    done = generate(root, 3)
    assert "3 of 3 samples" in done.stdout
    assert "planned" in done.stdout
    assert "delivered" in done.stdout
    return root


@pytest.fixture(scope="module")
def records(dataset) -> list[dict]:
    return [json.loads(line) for line in (dataset / "index.jsonl").read_text().splitlines()]


def test_every_file_named_opens_with_its_size_and_kind(dataset, records):
    assert [record["id"] for record in records] == ["000000", "000001", "000002"]
    for record in records:
        assert tuple(record["files"]) == IMAGE_KEYS
        for key, path in record["files"].items():
            image = cv2.imread(str(dataset / path), cv2.IMREAD_UNCHANGED)
            assert image.shape == ((64, 64, 3) if key in LAYERS else (64, 64)), key
            assert image.dtype == (np.uint16 if key == "shadow_matte" else np.uint8), key
            if key.startswith("mask_"):
                assert set(np.unique(image)) <= {0, 255}


def test_records_say_what_the_issue_of_a_sample_needs(records):
    for record in records:
        assert record["split"] == split_of(record["subject"])
        assert record["spec"]["head"]["expression"] == record["expression"]
        assert record["spec"]["attempt"] == len(record["rejected"])
        for side in ("left", "right"):
            assert 0 <= record["fit"][f"pad_gap_{side}_mm"] <= 1.0
            assert record["fit"][f"residual_temple_{side}_mm"] >= 0
        text = json.dumps(record)
        assert not any(word in text for word in ("time", "host", "cpu", str(Path.home())))


def test_what_was_rendered_keeps_every_rule(dataset, capsys):
    assert check_dataset(dataset, fix=False, processes=1) == 0, capsys.readouterr().out


def test_masks_and_layers_fit_together(dataset, records):
    for record in records:
        image = {
            key: cv2.imread(str(dataset / path), cv2.IMREAD_UNCHANGED).astype(int)
            for key, path in record["files"].items()
        }
        assert (
            image["mask_lenses"] == np.maximum(image["mask_lens_left"], image["mask_lens_right"])
        ).all()
        assert not ((image["mask_legs"] > 0) & (image["mask_frame"] == 0)).any()
        touched = image["alpha_full"] > 0
        for key in ("mask_frame", "mask_lenses", "mask_full"):
            assert touched[image[key] > 0].all(), key
        assert not ((image["mask_shadow"] > 0) & (image["mask_frame"] > 0)).any()
        # The subject's left is on the right of a picture from the front.
        columns = np.arange(64)
        centre = [
            (image[key] * columns).sum() / max(1, image[key].sum())
            for key in ("mask_lens_right", "mask_lens_left")
        ]
        assert centre[0] < centre[1]
        untouched = cv2.dilate(touched.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
        assert (image["all"][untouched] == image["shadow"][untouched]).all()


def test_workers_threads_and_count_change_no_byte(dataset, tmp_path):
    generate(tmp_path / "c", 1, "--workers", "1", "--threads", "2")
    wanted = data_files(dataset)
    for name, data in data_files(tmp_path / "c").items():
        if name.startswith("samples/"):
            assert wanted[name] == data, name
    generate(tmp_path / "c", 3, "--workers", "2", "--threads", "1")
    assert data_files(tmp_path / "c") == wanted


def test_a_run_that_lost_its_index_and_a_sample_goes_on(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "r")
    (tmp_path / "r" / "index.jsonl").write_text('{"torn')
    folder = tmp_path / "r" / "samples" / "000" / "000001"
    for file in folder.iterdir():
        file.unlink()
    leftover = tmp_path / "r" / "log" / "scratch" / "000002.77.tmp"
    leftover.mkdir(parents=True)
    generate(tmp_path / "r", 3)
    assert data_files(tmp_path / "r") == data_files(dataset)
    assert not leftover.exists()


def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(dataset, tmp_path):
    words = ["generate", "--scene", "smoke", "--count", "3", "--out", str(tmp_path / "r")]
    words += ["--workers", "1"]
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("000000")
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert said.strip().startswith("Interrupted;")
    assert not list((tmp_path / "r").rglob("*.tmp"))
    generate(tmp_path / "r", 3)
    assert data_files(tmp_path / "r") == data_files(dataset)


def test_an_interrupted_portrait_is_not_finished_by_another_worker(tmp_path):
    """Its pairs are one group of jobs; the child that had it is gone."""
    recipe = yaml.safe_load((Path(__file__).parent.parent / "scenes/smoke.yaml").read_text())
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump(recipe | {"pairs_per_portrait": 8}))
    words = ["generate", "--scene", "pairs.yaml", "--count", "8", "--out", "r"]
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("000000")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130
    assert len(list((tmp_path / "r").glob("samples/*/*/record.json"))) < 4


def test_a_sample_that_lost_an_image_or_its_record_is_made_again(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "r")
    (tmp_path / "r" / "samples/000/000001/all.png").unlink()
    (tmp_path / "r" / "samples/000/000002/record.json").write_text("[1]")
    generate(tmp_path / "r", 3)
    assert data_files(tmp_path / "r") == data_files(dataset)


def test_a_folder_that_cannot_be_written_ends_the_run_in_one_line(dataset, tmp_path):
    """As a full disk does, in the middle of the run: the children end, nothing hangs."""
    shutil.copytree(dataset, tmp_path / "r")
    (tmp_path / "r" / "log" / "run.jsonl").unlink()
    (tmp_path / "r" / "log" / "run.jsonl").mkdir()
    done = run("generate", "--scene", "smoke", "--count", 4, "--out", tmp_path / "r")
    assert done.returncode == 2
    assert done.stderr == f"Error: {tmp_path}/r/log/run.jsonl: Is a directory\n"


def test_two_runs_cannot_write_one_folder(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "r")
    with journal.writing(tmp_path / "r"):
        done = run("generate", "--scene", "smoke", "--count", 3, "--out", tmp_path / "r")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {tmp_path}/r: another run is writing here: process ")


def test_workers_leave_no_temporary_files(dataset, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    generate(tmp_path / "r", 1)
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("blend", "said"),
    [
        ("nodir/s.blend", "is not a folder that can be written"),
        ("there.blend", "is there already"),
        ("s.txt", "a name that ends in .blend is expected"),
    ],
)
def test_a_blend_that_cannot_be_written_is_told_before_rendering(dataset, tmp_path, blend, said):
    (tmp_path / "there.blend").write_text("mine")
    words = ["--dataset", dataset, "--id", "000001", "--out", tmp_path / "a"]
    done = run("render", *words, "--blend", blend, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "there.blend").read_text() == "mine"


def test_one_sample_again_from_its_spec_alone(dataset, records, tmp_path):
    record = records[1]
    (tmp_path / "spec.json").write_text(json.dumps(record["spec"]))
    done = run("render", "--spec", tmp_path / "spec.json", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    blend = tmp_path / "scene.blend"
    done = run(
        "render",
        "--dataset",
        dataset,
        "--id",
        record["id"],
        "--out",
        tmp_path / "b",
        "--blend",
        blend,
    )
    assert done.returncode == 0, done.stderr
    assert blend_contents(blend) == ("picture", 64, False, True, True)
    for key, path in record["files"].items():
        for folder in ("a", "b"):
            again = (tmp_path / folder / f"{key}.png").read_bytes()
            assert again == (dataset / path).read_bytes(), (folder, key)


def test_dataset_yaml_says_what_was_asked(dataset):
    description = yaml.safe_load((dataset / "dataset.yaml").read_text())
    assert description["count"] == 3
    assert description["seed"] == 0
    assert description["scene"] == "smoke"
    assert description["recipe"]["render"] == {
        "size": 64, "spp": 4, "denoise": False, "layers": [], "caustics": False,
    }  # fmt: skip
    assert {"bpy", "numpy", "trimesh"} <= set(description["versions"])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Two pairs of a portrait, all optional layers, and one pair of the next portrait."""
    root = tmp_path_factory.mktemp("pairs")
    (root / "pairs.yaml").write_text(
        "people: {first: 0, count: 100}\nexpressions: [1_neutral]\npairs_per_portrait: 2\n"
        "glasses: [round, panto_metal]\nnose: [0, 2]\nlight: {hdri: [studio]}\n"
        "camera: {focused: 1, f_number: 2, align: ffhq}\n"
        "render: {size: 64, spp: 4, denoise: true, layers: [sunglasses, no_reflection, "
        "lens_transmittance, refraction_flow, depth, normal, parsing_all, parsing_face]}\n"
    )
    out = root / "set"
    done = run("generate", "--scene", root / "pairs.yaml", "--count", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_pairs_of_a_portrait_differ_in_glasses_and_nose_only(pairs):
    records = [json.loads(line) for line in (pairs / "index.jsonl").read_text().splitlines()]
    specs = [record["spec"] for record in records]
    for key in ("head", "camera", "light", "render"):
        assert specs[0][key] == specs[1][key]
    assert specs[0]["glasses"] != specs[1]["glasses"]
    assert specs[0]["nose"] != specs[1]["nose"]
    assert specs[2]["head"] != specs[0]["head"]
    face = [(pairs / record["files"]["face"]).read_bytes() for record in records]
    assert face[0] == face[1] != face[2]


def test_a_pair_is_the_same_alone(pairs, tmp_path):
    """Also its optional layers: the finish of `sunglasses` hangs on the sample, not on who sat
    before."""
    record = json.loads((pairs / "index.jsonl").read_text().splitlines()[1])
    assert set(EXTRA_KEYS) <= set(record["files"])
    bright, dark = ((pairs / record["files"][key]).read_bytes() for key in ("all", "sunglasses"))
    assert bright != dark
    done = run("render", "--dataset", pairs, "--id", "000001", "--out", tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    for key, path in record["files"].items():
        again = (tmp_path / "alone" / f"{key}.png").read_bytes()
        assert again == (pairs / path).read_bytes(), key


def test_a_plan_is_rendered_as_it_stands(dataset, tmp_path):
    """Sample 0 as it was drawn; of sample 1 a pair far too wide, and a view of our own."""
    plan = tmp_path / "plan.jsonl"
    done = run("plan", "--scene", "smoke", "--count", 2, "--out", plan)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"2 specs in {plan}\na sample takes about ")
    lines = plan.read_text().splitlines()
    spec = json.loads(lines[2])
    spec["wear"] = {**spec["wear"], "mode": "oversized", "scale": 1.9}
    spec["camera"]["yaw_deg"] = 5.0
    plan.write_text("\n".join([*lines[:2], json.dumps(spec)]))
    done = run("generate", "--plan", plan, "--out", tmp_path / "set")
    assert done.returncode == 0, done.stderr
    records = store.read_index(tmp_path / "set")
    assert records[0] == store.read_index(dataset)[0]
    (rejected,) = records[1]["rejected"]
    assert (rejected["attempt"], rejected["wear"]) == (0, "oversized")
    made = records[1]["spec"]
    assert (made["attempt"], made["wear"]["mode"]) == (1, "worn")
    assert {key: made[key] for key in ("camera", "head", "light", "render")} == {
        key: spec[key] for key in ("camera", "head", "light", "render")
    }


def test_layers_are_verified_against_full_traces(dataset, tmp_path):
    done = run("generate", "--scene", "smoke", "--count", 1, "--out", tmp_path / "v",
               "--spp", 64, "--verify-layers")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "worst of 1 samples: 0 px unequal where equal is the rule" in done.stdout
    record = json.loads((tmp_path / "v" / "index.jsonl").read_text())
    assert "verified" not in record


def test_contact_sheet_has_a_row_a_sample(dataset):
    sheet = cv2.imread(str(dataset / "contact.png"))
    assert sheet.shape == (22 + 3 * 196, len(COLUMNS) * 196 + 4, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--count 0 --out new", "'--count': 0 is not in the range"),
        ("--count -3 --out new", "'--count': -3 is not in the range"),
        ("--count 2 --size 0 --out new", "'--size': 0 is not in the range"),
        ("--count 2 --scene prtrait --out new", "did you mean 'portrait'?"),
        ("--count 2 --scene bad.yaml --out new", "bad.yaml: $.camera.focl_mm: unknown key"),
        ("--count 2 --scene torn.yaml --out new", "torn.yaml: not valid YAML"),
        ("--count 2 --out file.txt", "file.txt: is a file"),
        ("--count 2 --out other", "other: holds other data"),
        ("--count 3 --out {set} --seed 9", "seed was 0, now 9"),
        ("--count 2 --out {set}", "holds a run of 3 samples; a run can grow, not shrink"),
        ("--count 2 --out new --heads nowhere", "nowhere: not a folder"),
        ("--count 2 --out new --hdri worlds", "sun.hdr: not a readable HDR image"),
        ("--count 2 --out new --glasses other", "other: holds no meshes"),
        ("--count 2 --out new --device cuda", "no cuda device here"),
        ("--count 2 --out other/new/..", "other: holds other data"),
        ("--count 2 --out file.txt/new", "cannot be written"),
        ("--count 2 --out=", "a path is expected, got ''"),
        ("--count 2 --out " + "x" * 300, "File name too long"),
        ("--count 2 --scene crowd.yaml --out new", "$.people: first + count must not exceed"),
        ("--count 2 --scene pairs.yaml --out new", "$.pairs_per_portrait: input should be greater"),
        ("--count 2 --scene thin.yaml --out new", "$.nose: less than 1% of this distribution"),
        ("--count 2 --scene heavy.yaml --out new", "$.glasses: weights must add up to more than 0"),
        ("--count 2", "Missing option '--out'"),
        ("--out new", "has no design that says how many samples; give --count"),
        ("--plan none.jsonl --out new", "--scene is what the plan says"),
        ("--count 2 --out new --shard 3/2", "I/N with 1 <= I <= N is expected"),
        ("--count 2 --out new --address here:1", "give --engine ray too"),
        ("--count 3 --out {set} --shard 1/2", "shard was None, now '1/2'"),
        ("--count 2 --out new --cuont 3", "No such option"),
    ],
)
def test_bad_input_is_one_line_status_two_and_nothing_written(dataset, tmp_path, words, said):
    (tmp_path / "bad.yaml").write_text("camera: {focl_mm: 50}")
    (tmp_path / "torn.yaml").write_text("camera: {")
    (tmp_path / "crowd.yaml").write_text("people: {first: 1000000000, count: 1000000000}")
    (tmp_path / "pairs.yaml").write_text("pairs_per_portrait: 0")
    (tmp_path / "thin.yaml").write_text("nose: {mean: 1, std: 1.0e+12, low: 1, high: 1.00001}")
    (tmp_path / "heavy.yaml").write_text("glasses: {aviator: 1.0e+308, round: 1.0e+308}")
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    (tmp_path / "worlds").mkdir()
    (tmp_path / "worlds" / "sun.hdr").write_text("not an image")
    before = data_files(tmp_path), data_files(dataset)
    more = [] if "--scene" in words else ["--scene", "smoke"]
    done = run("generate", *words.format(set=dataset).split(), *more, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert (data_files(tmp_path), data_files(dataset)) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nose": 7}, "$.nose: input should be less than or equal to 3"),
        ({"colour": 1}, "$.colour: unknown key"),
        ({"head": {"subject": "person-000001", "sha256": "0" * 64, "expression": "1_neutral"}},
         "'person-000001' has changed"),
        ({"head": {"subject": "../etc/passwd", "sha256": "0" * 64, "expression": "1_neutral"}},
         "$.head.subject: "),
        ({"camera": {"focal_mm": "85"}}, "$.camera.focal_mm: "),
    ],
)  # fmt: skip
def test_a_spec_that_is_not_of_this_catalogue_is_refused(records, tmp_path, change, said):
    (tmp_path / "spec.json").write_text(json.dumps(records[0]["spec"] | change))
    done = run("render", "--spec", tmp_path / "spec.json", "--out", tmp_path / "a")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not (tmp_path / "a").exists()
