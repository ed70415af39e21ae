"""What is installed, with which Python, and what may import Blender."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FIND_PYTHON = ROOT / ".ci" / "find-python"
CHECK_SYSTEM = ROOT / ".ci" / "check-system"
LINES = ("3.11", "3.13")
THIS_LINE = "{}.{}".format(*sys.version_info)
BLENDER_MODULES = frozenset(
    {"_cycles", "bmesh", "bpy", "bpy_extras", "gpu", "idprop", "imbuf", "mathutils"}
)


# --- pyproject.toml and constraints.txt


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def applies(requirement: Requirement, line: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"python_version": line})


def declared() -> list[str]:
    table = project()
    extras = table["project"]["optional-dependencies"].values()
    items = [
        *table["project"]["dependencies"],
        *(item for extra in extras for item in extra),
        *table["build-system"]["requires"],
    ]
    # An extra may hold another of this package's.
    return [item for item in items if not item.startswith(table["project"]["name"])]


def test_constraints_name_no_address():
    text = (ROOT / "constraints.txt").read_text("utf-8")
    for line in text.splitlines():
        assert not line.startswith("-")
        assert " @ " not in line
    assert "://" not in text
    assert "--" not in text


@pytest.mark.parametrize("line", LINES)
def test_constraints_pin_each_package_once(line: str):
    names = [canonicalize_name(pin.name) for pin in pins() if applies(pin, line)]
    assert sorted(names) == sorted(set(names))
    for pin in pins():
        (only,) = pin.specifier
        assert only.operator == "==", pin
        assert "*" not in only.version, pin


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("text", declared())
def test_every_dependency_is_pinned_within_its_bounds(text: str, line: str):
    requirement = Requirement(text)
    if applies(requirement, line):
        name = canonicalize_name(requirement.name)
        (pin,) = (p for p in pins() if canonicalize_name(p.name) == name and applies(p, line))
        (only,) = pin.specifier
        assert requirement.specifier.contains(only.version, prereleases=True)


@pytest.mark.parametrize("line", LINES)
def test_every_line_has_one_bpy(line: str):
    found = [r for r in map(Requirement, declared()) if r.name == "bpy" and applies(r, line)]
    assert len(found) == 1


def test_supported_pythons_are_the_ones_bpy_fits():
    requires = SpecifierSet(project()["project"]["requires-python"])
    assert [v for v in ("3.10", "3.11", "3.12", "3.13", "3.14") if f"{v}.1" in requires] == [*LINES]
    classifiers = project()["project"]["classifiers"]
    stem = "Programming Language :: Python :: 3."
    assert [c for c in classifiers if c.startswith(stem)] == [f"{stem}11", f"{stem}13"]


# --- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    result = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.mark.parametrize("data", ["assets", "scenes"])
def test_wheel_carries_the_data(wheel: zipfile.ZipFile, data: str):
    def kept(path: Path) -> bool:
        return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"

    expected = {p.relative_to(ROOT).as_posix(): p for p in (ROOT / data).rglob("*") if kept(p)}
    carried = {
        name.removeprefix("pipeline/_data/")
        for name in wheel.namelist()
        if name.startswith(f"pipeline/_data/{data}/")
    }
    assert expected
    assert carried == set(expected)
    for name, path in expected.items():
        assert wheel.read(f"pipeline/_data/{name}") == path.read_bytes()


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile):
    names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pipeline"}
    assert "pipeline/cli.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_wheel_has_the_command(wheel: zipfile.ZipFile):
    (entry_points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "eyeglass = pipeline.cli:main" in wheel.read(entry_points).decode()


# --- .ci/find-python


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def shim(path: Path) -> Path:
    """A version manager's stand-in for a version that it does not hold."""
    return executable(path, '#!/bin/sh\necho "command not found" >&2\nexit 127\n')


def working(path: Path) -> Path:
    """The running interpreter under another path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.realpath(sys.executable))
    return path


class Finder:
    """Runs find-python where only what a test puts there can be found."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.tools = folder / "tools"
        for path in (self.home, self.bin, self.tools):
            path.mkdir()
        sed = shutil.which("sed")
        assert sed
        (self.tools / "sed").symlink_to(sed)

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(FIND_PYTHON), *arguments],
            env={
                "HOME": str(self.home),
                "PATH": f"{self.bin}:{self.tools}",
                "SYSTEM_ROOTS": "",
                **environment,
            },
            capture_output=True,
            text=True,
        )


@pytest.fixture
def find(tmp_path: Path) -> Finder:
    return Finder(tmp_path)


def assert_found(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stderr
    path = result.stdout.removesuffix("\n")
    answer = subprocess.run(
        [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == THIS_LINE


@pytest.mark.parametrize("name", ["python3", "python", f"python{THIS_LINE}"])
def test_find_python_takes_any_name_on_path(find: Finder, name: str):
    working(find.bin / name)
    assert_found(find())
    assert_found(find(THIS_LINE))


def test_find_python_looks_behind_a_failing_shim_on_path(find: Finder, tmp_path: Path):
    shim(find.bin / "python3")
    working(tmp_path / "later" / "python3")
    assert_found(find(PATH=f"{find.bin}:{find.tools}:{tmp_path / 'later'}"))


@pytest.mark.parametrize(
    ("variable", "versions"),
    [
        ("PYENV_ROOT", "versions"),
        ("ASDF_DATA_DIR", "installs/python"),
        ("MISE_DATA_DIR", "installs/python"),
        ("UV_PYTHON_INSTALL_DIR", "."),
    ],
)
def test_find_python_looks_at_what_a_version_manager_holds(
    find: Finder, tmp_path: Path, variable: str, versions: str
):
    for line in LINES:
        shim(find.bin / f"python{line}")
    root = tmp_path / "held"
    shim(root / versions / "broken" / "bin" / f"python{THIS_LINE}")
    working(root / versions / "whole" / "bin" / f"python{THIS_LINE}")
    assert_found(find(**{variable: str(root)}))


def test_find_python_knows_the_usual_folders_in_home(find: Finder):
    working(find.home / ".pyenv" / "versions" / "some" / "bin" / f"python{THIS_LINE}")
    assert_found(find())


def test_find_python_prefers_what_it_is_told(find: Finder, tmp_path: Path):
    shim(find.bin / "python3")
    chosen = working(tmp_path / "chosen" / "my-python")
    assert_found(find(PYTHON=str(chosen)))


def test_find_python_says_when_it_takes_another_than_told(find: Finder):
    told = shim(find.bin / "told")
    working(find.bin / "python3")
    result = find(PYTHON=str(told))
    assert_found(result)
    assert f"PYTHON={told} does not fit" in result.stderr


def test_find_python_refuses_the_other_line(find: Finder):
    working(find.bin / "python3")
    (other,) = set(LINES) - {THIS_LINE}
    assert find(other).returncode == 1


def test_find_python_prefers_the_newer_line(find: Finder):
    for line in reversed(LINES):
        # Answers as if it were that Python; the probe cannot tell.
        executable(find.bin / f"python{line}", f'#!/bin/sh\n[ "$4" = {line} ] && echo "$0"\n')
    assert find().stdout.strip() == str(find.bin / "python3.13")
    assert find("3.11").stdout.strip() == str(find.bin / "python3.11")


@pytest.mark.parametrize("arguments", [(), ("3.13",)])
@pytest.mark.parametrize("broken", [False, True])
def test_find_python_without_any_gives_one_message(
    find: Finder, broken: bool, arguments: tuple[str, ...]
):
    environment = {}
    if broken:
        shim(find.bin / "python3")
        environment["PYTHON"] = str(shim(find.bin / "python"))
    result = find(*arguments, **environment)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "3.13 and 3.11" in result.stderr


# --- .ci/check-system


def check_system(folder: Path, *, bpy: str, missing: str) -> subprocess.CompletedProcess[str]:
    """Runs it against a stub bpy, and an ldd that reports what is missing."""
    stub = folder / "stub"
    for name, text in (("bpy", bpy), ("cv2", ""), ("OpenEXR", "")):
        (stub / name).mkdir(parents=True)
        (stub / name / "__init__.py").write_text(text)
    (stub / "bpy" / "compiled.so").touch()
    lines = "".join(f"\t{name} => not found\n" for name in missing.split())
    present = "\tlibc.so.6 => /lib/libc.so.6 (0x0)\n"
    executable(folder / "bin" / "ldd", f"#!/bin/sh\ncat <<'END'\n{present}{lines}END\n")
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/sh", str(CHECK_SYSTEM), sys.executable],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(stub)},
        capture_output=True,
        text=True,
    )


def test_check_system_is_silent_when_blender_loads(tmp_path: Path):
    result = check_system(tmp_path, bpy="", missing="")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


BROKEN = "raise ImportError('libSM.so.6: cannot open shared object file')"


def test_check_system_names_exactly_the_missing_packages(tmp_path: Path):
    result = check_system(tmp_path, bpy=BROKEN, missing="libXi.so.6 libSM.so.6 libGL.so.1")
    assert result.returncode == 1
    (line,) = (line for line in result.stderr.splitlines() if "apt-get" in line)
    packages = line.split("--no-install-recommends")[1].split()
    assert sorted(packages) == ["libgl1", "libsm6", "libxi6"]
    assert "apt-file" not in result.stderr


def test_check_system_does_not_hide_a_library_it_has_no_package_for(tmp_path: Path):
    result = check_system(tmp_path, bpy=BROKEN, missing="libSM.so.6 libnew.so.9")
    assert result.returncode == 1
    assert "libsm6" in result.stderr
    assert "libnew.so.9" in result.stderr


def test_check_system_shows_any_other_failure(tmp_path: Path):
    result = check_system(tmp_path, bpy="raise RuntimeError('odd')", missing="")
    assert result.returncode == 1
    assert "RuntimeError: odd" in result.stderr
    assert "apt-get" not in result.stderr


# --- the boundary around Blender, at run time


def loaded_blender(folder: Path, code: str) -> set[str]:
    """Blender's modules in sys.modules after the code ran, with stubs in their place."""
    stubs = folder / "stubs"
    stubs.mkdir()
    for name in BLENDER_MODULES:
        (stubs / f"{name}.py").touch()
    (stubs / "culprit.py").write_text("def late():\n    import bpy\n\nimport mathutils\n")
    report = folder / "report"
    script = (
        f"import sys\n{code}\n"
        f"names = {sorted(BLENDER_MODULES)!r}\n"
        f"open({str(report)!r}, 'w').write(' '.join(n for n in names if n in sys.modules))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(stubs), str(ROOT)])},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return set(report.read_text().split())


ALL_HELP = """
from pipeline.cli import commands, main

def walk(command, path):
    sys.argv = ["eyeglass", *path, "--help"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, (path, stop.code)
    for name, child in getattr(command, "commands", {}).items():
        walk(child, [*path, name])

walk(commands, [])
assert "generate" in commands.commands
"""


def test_help_of_every_command_imports_no_blender(tmp_path: Path):
    assert loaded_blender(tmp_path, ALL_HELP) == set()


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ("import culprit", {"mathutils"}),
        ("import culprit; culprit.late()", {"bpy", "mathutils"}),
        ("import os", set()),
    ],
)
def test_the_check_on_loaded_modules_can_fail(tmp_path: Path, code: str, caught: set[str]):
    assert loaded_blender(tmp_path, code) == caught


# --- the boundary around Blender, in the sources


def blender_imports(source: str) -> list[int]:
    """Lines that import one of Blender's modules, wherever in the file."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="__import__" | "import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                modules = [module]
            case _:
                continue
        if any(module.split(".")[0] in BLENDER_MODULES for module in modules):
            lines.append(node.lineno)
    return lines


def outside_blender() -> Mapping[str, Path]:
    package = ROOT / "pipeline"
    door = package / "blender"
    return {
        path.relative_to(ROOT).as_posix(): path
        for path in sorted(package.rglob("*.py"))
        if door not in path.parents
    }


@pytest.mark.parametrize("name", outside_blender())
def test_only_the_blender_package_imports_blender(name: str):
    assert blender_imports(outside_blender()[name].read_text("utf-8")) == []


def test_the_blender_package_is_where_blender_is_imported():
    sources = [path.read_text("utf-8") for path in (ROOT / "pipeline" / "blender").rglob("*.py")]
    assert any(blender_imports(source) for source in sources)


@pytest.mark.parametrize(
    "source",
    [
        "import bpy",
        "import os, bpy.types as t",
        "from bpy import data",
        "from mathutils.noise import random",
        "def f():\n    import bpy",
        "class A:\n    def f(self):\n        try:\n            from bpy_extras import x\n"
        "        except ImportError:\n            pass",
        "if TYPE_CHECKING:\n    import bpy",
        "import importlib\nimportlib.import_module('bpy.types')",
        "__import__('bpy')",
    ],
)
def test_the_check_on_sources_can_fail(source: str):
    assert blender_imports(source)


@pytest.mark.parametrize(
    "source",
    ["import bpyother", "from .bpy import x", "from pipeline.blender import scene", "'import bpy'"],
)
def test_the_check_on_sources_lets_the_rest_pass(source: str):
    assert blender_imports(source) == []
