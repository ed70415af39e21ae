"""Recipes, sidecars, plans, specs and datasets are data: nothing in them is ever run."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.catalog.anchors import read_sidecar
from pipeline.errors import AssetError, DatasetError, EyeglassError, RecipeError
from pipeline.recipe import load_recipe
from pipeline.store import read_description
from pipeline.yamlfile import read_json, read_yaml

PIPELINE = Path(__file__).parent.parent / "pipeline"
#: Modules whose formats can carry code, and calls that run it.
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load",
    "yaml.full_load", "yaml.load_all", "bpy.ops.wm.open_mainfile", "bpy.data.libraries.load",
    "bpy.ops.wm.append", "bpy.ops.wm.link", "bpy.ops.text.run_script",
}  # fmt: skip


def dangers(source: str) -> list[str]:
    """What in a module could run what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in FORBIDDEN_CALLS or words.get("shell") == "True":
                found.append(name)
            elif name.endswith("load") and words.get("allow_pickle", "False") != "False":
                found.append(name)
            elif name == "yaml.load" and words.get("Loader") not in SAFE_LOADERS:
                found.append(name)
    return found


#: Loaders of ours; that they make plain data only is tested below.
SAFE_LOADERS = {"_PlainLoader"}


@pytest.mark.parametrize(
    "path", sorted(PIPELINE.rglob("*.py")), ids=lambda path: str(path.relative_to(PIPELINE))
)
def test_no_module_can_run_what_it_reads(path: Path):
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "eval(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(words, shell=True)",
        "bpy.ops.wm.open_mainfile(filepath=path)",
    ],
)
def test_the_check_can_fail(source: str):
    assert len(dangers(source)) == 1


def marks(target: Path) -> list[bytes]:
    """Texts that make a file where their reader runs code."""

    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {target}",)

    return [
        f'!!python/object/apply:os.system ["touch {target}"]'.encode(),
        f'nose: !!python/object/new:subprocess.Popen [["touch", "{target}"]]'.encode(),
        f"kind: !!python/name:os.system\n? touch {target}\n: 1".encode(),
        f'__import__("os").system("touch {target}")'.encode(),
        pickle.dumps(Bomb()),
    ]


def read_recipe(path: Path) -> None:
    load_recipe(str(path))


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("scene.yaml", read_recipe),
        ("mesh.anchors.yaml", read_sidecar),
        ("dataset.yaml", lambda path: read_description(path.parent)),
        ("data.yaml", lambda path: str(read_yaml(path, RecipeError)) == "" or _refuse()),
        ("spec.json", lambda path: read_json(path, DatasetError)),
    ],
)
def test_what_would_run_in_a_careless_reader_is_refused_or_plain_text(tmp_path, name, read, number):
    target = tmp_path / "ran"
    path = tmp_path / name
    path.write_bytes(marks(target)[number])
    with pytest.raises(EyeglassError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def _refuse() -> None:
    """A plain string is harmless; what matters is that it did not run."""
    raise AssetError("plain text")


BLEND = """
import sys
from pathlib import Path
import bpy
from pipeline.blender.device import refuse_scripts
folder, refused = Path(sys.argv[1]), sys.argv[2] == "refused"
bpy.context.preferences.filepaths.use_scripts_auto_execute = True
text = bpy.data.texts.new("wicked.py")
text.write(f"open({str(folder / 'ran')!r}, 'w')")
text.use_module = True
path = str(folder / "wicked.blend")
bpy.ops.wm.save_as_mainfile(filepath=path)
if refused:
    refuse_scripts()
bpy.ops.wm.open_mainfile(filepath=path)
print("texts", len(bpy.data.texts), flush=True)
import os
os._exit(0)
"""


@pytest.mark.parametrize("how", ["refused", "allowed"])
def test_blender_runs_no_script_of_a_file(tmp_path, how):
    """The second time it may, so that the first means something."""
    done = subprocess.run(
        [sys.executable, "-c", BLEND, str(tmp_path), how], capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": str(PIPELINE.parent)},
    )  # fmt: skip
    assert "texts 1" in done.stdout
    assert (tmp_path / "ran").exists() == (how == "allowed")
