"""Transforms and projection against numbers worked out by hand, and round trips."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.blender.frames import BLENDER_FROM_WORLD, blender_points
from pipeline.transforms import (
    apply,
    compose,
    rotation_about,
    translation,
)


@pytest.mark.parametrize(
    ("axis", "point", "expected"),
    [
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
        ((0, 0, 5), (1, 0, 0), (0, 1, 0)),
        ((0, -1, 0), (0, 0, 1), (-1, 0, 0)),
    ],
)
def test_quarter_turns_are_right_handed(axis, point, expected) -> None:
    np.testing.assert_allclose(apply(rotation_about(axis, 90), point), expected, atol=1e-15)


def test_a_turn_keeps_its_axis_and_moves_what_is_off_it() -> None:
    matrix = rotation_about((0, 1, 0), 90, origin=(10, 0, 0))
    np.testing.assert_allclose(apply(matrix, [(10, 7, 0), (11, 0, 0)]), [(10, 7, 0), (10, 0, -1)])


def test_inner_names_cancel() -> None:
    """Translate by (1, 2, 3), then a quarter turn about z: (0, 0, 0) ends at (-2, 1, 3)."""
    matrix = compose(rotation_about((0, 0, 1), 90), translation((1, 2, 3)))
    np.testing.assert_allclose(apply(matrix, (0, 0, 0)), (-2, 1, 3))
    np.testing.assert_array_equal(compose(), np.eye(4))


def test_random_motions_are_rigid_and_undone_by_their_inverse() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        matrix = compose(
            translation(rng.normal(size=3) * 100),
            rotation_about(rng.normal(size=3), rng.uniform(-360, 360), rng.normal(size=3)),
        )
        points = rng.normal(size=(5, 3)) * 100
        np.testing.assert_allclose(
            apply(np.linalg.inv(matrix), apply(matrix, points)), points, atol=1e-9
        )
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)
        turn = matrix[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)


def test_an_axis_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="no length"):
        rotation_about((0, 0, 0), 10)


def test_points_go_to_blender_as_the_matrix_says():
    points = np.random.default_rng(0).normal(0.0, 80.0, (50, 3))
    assert np.allclose(blender_points(points), apply(BLENDER_FROM_WORLD, points), atol=1e-15)
    assert np.allclose(blender_points(np.array([[1.0, 2.0, 3.0]])), [[0.001, -0.003, 0.002]])
