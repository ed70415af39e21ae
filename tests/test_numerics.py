"""Numbers that do not hang on where numpy's arrays happen to lie in memory.

Its vectorised functions go through arrays one by one, and round otherwise, where the input may
overlap the output. Of a strided view the whole stretch counts, which ends beyond the array: in what
the allocator gave the output, by chance.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.blender.scene
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.head import _model, build_head, person
from pipeline.catalog.sky import sky_map
from pipeline.fit import fit
from pipeline.spec import SkySpec

_ROUNDED = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin",
    "arccos", "arctan", "arctan2", "arcsinh", "arccosh", "arctanh", "sinh", "cosh", "tanh",
    "power", "float_power", "cbrt",
}  # fmt: skip
_PACKAGE = Path(pipeline.blender.scene.__file__).parents[1]


class Watched:
    """numpy, but for functions that round, which refuse views with gaps."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if name not in _ROUNDED:
            return function

        def checked(*args: Any, **options: Any) -> Any:
            for array in args:
                if isinstance(array, np.ndarray):
                    assert dense(array), f"np.{name} of a view: {array.shape}, {array.strides}"
            return function(*args, **options)

        return checked


def dense(array: np.ndarray) -> bool:
    """Whether nothing lies between the values of an array."""
    steps = zip(array.strides, array.shape, strict=True)
    stretch = array.itemsize + sum(abs(step) * (count - 1) for step, count in steps)
    return array.size == 0 or stretch <= array.nbytes


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("pipeline.") and getattr(module, "np", None) is np:
            monkeypatch.setattr(module, "np", Watched())


def test_views_with_gaps_are_told_from_others():
    array = np.zeros((4, 3))
    assert dense(array)
    assert dense(array.T)
    assert dense(array[1:3])
    assert dense(np.broadcast_to(array, (5, 4, 3)))
    assert not dense(array[:, 1])
    assert not dense(array[::2])


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("k", range(24))
def test_heads_are_built_without_rounding_views(k: int):
    build_head(person(k), "4_big_smile")


@pytest.mark.usefixtures("watched")
def test_what_all_heads_share_is_made_without_rounding_views():
    _model.__wrapped__()


@pytest.mark.usefixtures("watched")
def test_skies_and_fits_are_made_without_rounding_views(catalog: Catalog):
    sky_map.__wrapped__(SkySpec(turbidity=3.0), 32)
    head = build_head(person(0), "1_neutral")
    for name, entry in catalog.glasses.items():
        choice = entry.draw(np.random.default_rng(1))
        assert fit(head, entry.build(choice), 1.0).figures, name


def with_gaps(index: ast.expr) -> bool:
    """Whether an index may leave gaps: columns, or every so many rows."""
    if isinstance(index, ast.Tuple):
        first = index.elts[0]
        return isinstance(first, ast.Slice) or (
            isinstance(first, ast.Constant) and first.value is ...
        )
    return isinstance(index, ast.Slice) and index.step is not None


def powers_of_views(source: str) -> list[int]:
    """Lines with something like `x[:, 1] ** 6`; squares and roots are exact."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Pow)
        and isinstance(node.left, ast.Subscript)
        and with_gaps(node.left.slice)
        and not (isinstance(node.right, ast.Constant) and node.right.value in (2, 0.5))
    ]


def test_powers_are_of_no_views():
    assert powers_of_views("a = 1\nb = a[:, 5, None] ** 6") == [2]
    assert powers_of_views("b = a[..., 0] ** 3\nc = a[::2] ** 3") == [1, 2]
    assert powers_of_views("b = a[5, :, None] ** 6 + a[:, 1] ** 2") == []
    for path in _PACKAGE.rglob("*.py"):
        assert powers_of_views(path.read_text(encoding="utf-8")) == [], path
