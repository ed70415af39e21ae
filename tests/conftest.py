"""Shared by tests that render: one Blender in the test process, tiny pictures."""

from __future__ import annotations

import os
from collections.abc import Callable

# Before numpy is imported, which reads it then: threads slow thousands of tiny products down by
# some 5 times, and starve whatever else runs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.plan import draw
from pipeline.recipe import Recipe, load_recipe
from pipeline.spec import SampleSpec


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return open_catalog()


@pytest.fixture(scope="session")
def smoke() -> Recipe:
    return load_recipe("smoke")


@pytest.fixture(scope="session")
def worn_spec(catalog: Catalog, smoke: Recipe) -> Callable[..., SampleSpec]:
    """The first spec of `smoke` from an index on whose glasses can be worn, by design's name."""
    from pipeline.fit import fit

    def find(glasses: str, index: int = 0) -> SampleSpec:
        recipe = smoke.model_copy(update={"glasses": [glasses]})
        for i in range(index, index + 50):
            spec = draw(recipe, catalog, 0, i)
            if fit(catalog.head(spec.head), catalog.eyewear(spec.glasses), spec.nose).accepted:
                return spec
        raise AssertionError(f"no spec with {glasses} that can be worn")

    return find


#: Begun first, so that no process is left alone with one of them at the end.
_LONG = ("test_generate.py", "test_annotate_page.py", "test_layers.py", "test_run.py",
         "test_verify_fit.py", "test_verify_soak.py", "test_cluster.py")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONG)
