"""The README says what the code does."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import synthetic
import yaml

from pipeline.camera import view_of
from pipeline.catalog.anchors import anchor_frame, read_sidecar
from pipeline.catalog.catalog import open_catalog
from pipeline.catalog.parsing import CLASSES
from pipeline.cli import commands
from pipeline.dataset import EyeglassDataset
from pipeline.errors import EyeglassError
from pipeline.labels import HeadInSight, sample_labels
from pipeline.limits import FitLimits, WearLimits
from pipeline.plan import check_names
from pipeline.recipe import Recipe, parse_recipe
from pipeline.reference import BEGIN, END, README, examples, reference, sentences, with_reference
from pipeline.spec import (
    EXTRA_KEYS,
    IMAGE_KEYS,
    LAYERS,
    CameraSpec,
    GlassesSpec,
    HeadSpec,
    LightSpec,
    RenderSpec,
    SampleSpec,
)
from pipeline.store import make_record, write_images

ROOT = README.parent
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Fenced code of a language outside the generated part."""
    own = TEXT.partition(BEGIN)[0] + TEXT.partition(END)[2]
    return re.findall(rf"```{language}\n(.*?)```", own, re.S)


def assert_parses(line: str) -> None:
    """The command line is one that click takes: names, options, values; nothing is run."""
    program, name, *arguments = shlex.split(line, comments=True)
    assert program == "eyeglass"
    command = commands.commands[name]
    context = command.make_context(name, list(arguments))
    assert not context.args


def test_readme_holds_what_the_commands_say() -> None:
    """After a change of a command: python -m pipeline.reference"""
    assert with_reference(TEXT) == TEXT


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_every_command_has_a_sentence_and_an_example_that_parses(name: str) -> None:
    command = commands.commands[name]
    assert sentences(command)[0].endswith(".")
    found = examples(command)
    assert found
    for line in found:
        assert line.startswith(f"eyeglass {name} ")
        assert_parses(line)


def test_the_program_itself_has_both_too() -> None:
    assert sentences(commands)
    for line in examples(commands):
        assert_parses(line)


def test_lines_in_the_readme_parse() -> None:
    whole = [block.replace("\\\n", " ") for block in blocks("sh")]
    lines = [x for block in whole for x in block.splitlines() if x.startswith("eyeglass ")]
    assert len(lines) >= 5
    for line in lines:
        assert_parses(re.sub(r"\$\w+", "2", line))


@pytest.mark.parametrize(
    "line", ["eyeglass generate --count 1", "eyeglass fit a", "eyeglass generate --count 1 --uot x"]
)
def test_the_check_of_examples_can_fail(line: str) -> None:
    with pytest.raises(click.ClickException):
        assert_parses(line)


def test_reference_names_every_option() -> None:
    text = reference()
    for name, command in commands.commands.items():
        section = text.partition(f"### `eyeglass {name}")[2].partition("### `")[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert f"`{parameter.opts[0]}" in section


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_marks_must_stand_once_and_in_order(text: str) -> None:
    with pytest.raises(EyeglassError, match=r"README\.md"):
        with_reference(text)


def test_text_around_the_marks_is_kept() -> None:
    replaced = with_reference(f"before\n{BEGIN}\nOLD TEXT\n{END}\nafter\n")
    assert replaced.startswith(f"before\n{BEGIN}\n")
    assert replaced.endswith(f"{END}\nafter\n")
    assert "OLD TEXT" not in replaced
    assert with_reference(replaced) == replaced


def test_files_that_the_readme_names_exist() -> None:
    """Links, and names in backquotes that begin with something of the top level."""
    links = {x for x in re.findall(r"\]\(([^)#]+)\)", TEXT) if not x.startswith("http")}
    top = {path.name for path in ROOT.iterdir()}
    named = set(re.findall(r"`([\w.-]+(?:/[\w./-]*)?)`", TEXT))
    named = {x for x in named if x.split("/")[0] in top or x.endswith((".txt", ".toml", ".md"))}
    assert {"constraints.txt", "assets/heads", "scenes"} <= named | links
    assert [x for x in sorted(links | named) if not (ROOT / x).exists()] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"\bmake (demo|test|[a-z]+)\b(?= {4}#|`)", TEXT))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_the_apt_line_holds_packages_that_the_check_knows() -> None:
    packages = re.search(r"apt-get install -y --no-install-recommends (.+)", TEXT)
    assert packages
    check = (ROOT / ".ci" / "check-system").read_text(encoding="utf-8")
    known = set(re.findall(r"\) echo (\S+) ;;", check))
    assert set(packages[1].split()) <= known


def sample() -> SampleSpec:
    return SampleSpec(
        seed=0,
        index=0,
        attempt=0,
        head=HeadSpec(subject="person-000003", sha256="0" * 64, expression="1_neutral"),
        glasses=GlassesSpec(name="aviator", sha256="0" * 64),
        nose=1.0,
        camera=CameraSpec(focal_mm=50, distance_mm=500, yaw_deg=0, pitch_deg=0, roll_deg=0),
        light=LightSpec(hdri="studio", sha256="0" * 64, rotation_deg=0, exposure_ev=0),
        render=RenderSpec(size=16, spp=1, denoise=False, seed=0),
    )


def test_tables_name_every_image_and_every_key_of_the_index() -> None:
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert {*IMAGE_KEYS, *EXTRA_KEYS} <= named
    # `shadow` is written beside what a record is made of.
    assert {*make_record(sample(), {}, {}, []), "shadow"} <= named


def test_the_table_of_labels_names_all_of_them_and_no_other() -> None:
    catalog = open_catalog()
    spec = sample().camera
    head = catalog.head(catalog.heads.spec(3, "1_neutral", (0.0, 0.0)))
    mask = np.zeros((16, 16), np.uint8)
    found = sample_labels(view_of(spec, head), HeadInSight(head), {}, mask)
    table = TEXT.partition("### Labels")[2].partition("### ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(found)


def test_the_classes_in_the_readme_are_those_of_the_images() -> None:
    said = TEXT.partition("of CelebAMask-HQ: ")[2].partition("([`pipeline/catalog/parsing.py`]")[0]
    for number, word in ((0, "background"), (3, "eyeglasses"), (13, "hair"), (18, "cloth")):
        assert f"{number} {word}" in said
    assert [CLASSES[n] for n in (0, 3, 13, 18)] == ["background", "eye_g", "hair", "cloth"]


def test_the_snippet_reads_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = make_record(sample(), {}, {}, [])
    folder = (tmp_path / "portraits" / record["files"]["all"]).parent
    folder.mkdir(parents=True)
    grey = np.full((16, 16), 255, np.uint8)
    images = {key: np.dstack([grey] * 3) if key in LAYERS else grey for key in IMAGE_KEYS}
    write_images(folder, images | {"shadow_matte": np.full((16, 16), 65535, np.uint16)})
    (tmp_path / "portraits" / "index.jsonl").write_text(json.dumps(record) + "\n")
    monkeypatch.chdir(tmp_path)
    snippet, _ = blocks("python")
    exec(compile(snippet, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed == f"000000 {record['split']} aviator (16, 16, 3) 1.0\n"


def test_the_network_in_the_readme_is_fed_what_the_dataset_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it runs where torch is installed; elsewhere its reading does."""
    synthetic.dataset(tmp_path / "portraits", [synthetic.spec(i, size=32) for i in range(40)])
    monkeypatch.chdir(tmp_path)
    _, example = blocks("python")
    opened = [
        node
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "EyeglassDataset"
    ]
    (call,) = opened
    for split in set(re.findall(r'loader\("(\w+)"', example)):
        names = {"EyeglassDataset": EyeglassDataset, "split": split}
        sample = eval(ast.unparse(call), names)[0]
        assert sample["all"].shape == (32, 32, 3)
        assert sample["mask_full"].shape == (32, 32)
        assert set(re.findall(r'batch\["(\w+)"\]', example)) <= set(sample)
    if importlib.util.find_spec("torch") is not None:
        short = example.replace("SECONDS = 60", "SECONDS = 1")
        assert short != example
        exec(compile(short, "README.md", "exec"), {"__name__": "__main__"})


def test_the_scene_in_the_readme_is_valid_and_complete() -> None:
    scene, *_ = blocks("yaml")
    data = yaml.safe_load(scene)
    check_names(parse_recipe(data, "README.md"), open_catalog(), "README.md")
    assert set(data) == set(Recipe.model_fields)
    for key in ("people", "wear_by", "camera", "light", "background", "sensor", "render"):
        field = Recipe.model_fields[key].annotation
        assert set(data[key]) == set(field.model_fields)  # type: ignore[union-attr]


def test_the_anchors_in_the_readme_are_valid(tmp_path: Path) -> None:
    _, anchors, parts = blocks("yaml")
    path = tmp_path / "NAME.anchors.yaml"
    path.write_text(anchors + parts)
    sidecar = read_sidecar(path)
    assert anchor_frame(sidecar.anchors, path).unit == "m"
    assert sidecar.synthesise_lenses
    assert sidecar.parts["temples"] == ("Arm_L", "Tip*")


def test_the_limits_in_the_readme_are_the_defaults() -> None:
    _, _, table = TEXT.partition("| figure | limit in")
    stated = re.findall(r"`([a-z_]+): (-?[0-9.]+)`", table.partition("\n\n")[0])
    assert {name: float(value) for name, value in stated} == FitLimits().model_dump()


def test_the_limits_of_other_ways_in_the_readme_are_where_they_differ() -> None:
    _, _, table = TEXT.partition("| `wear` | what is different")
    rows = [row.split("|") for row in table.partition("\n\n")[0].splitlines()[2:]]
    limit = re.compile(r"`([a-z_]+): (-?[0-9.]+)`")
    said = {r[1].strip(" `"): {k: float(v) for k, v in limit.findall(r[3])} for r in rows}
    worn = FitLimits().model_dump()
    assert said == {
        mode: {k: v for k, v in limits.items() if v != worn[k]}
        for mode, limits in WearLimits().model_dump().items()
        if mode != "worn"
    }
