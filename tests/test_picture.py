"""Pictures of surfaces and points: what is seen from where, and in which colour."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.annotate.picture import POINT_COLOURS, draw
from pipeline.geometry import Material, Surface

SIZE = 200
HALF = SIZE // 2
GREY = (0.5, 0.5, 0.5)


def surface(mesh: trimesh.Trimesh, **more: object) -> Surface:
    vertices, faces = np.array(mesh.vertices, float), np.array(mesh.faces, np.int64)
    return Surface(vertices, faces, **more)  # type: ignore[arg-type]


def box(extents: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)) -> Surface:
    return surface(trimesh.creation.box(extents).apply_translation(at))


def wall(**more: object) -> Surface:
    """A square of 100 mm in the plane z = 0, seen from the front."""
    vertices = np.array([[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]], float)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    return Surface(vertices, np.array([[0, 1, 2, 3]]), uv, **more)  # type: ignore[arg-type]


def tiles(image: np.ndarray) -> dict[str, np.ndarray]:
    """The four views of a picture as whole numbers, by name."""
    whole, half = image.astype(int), image.shape[1] // 2
    return {
        "front": whole[:half, :half],
        "turned": whole[:half, half:],
        "left": whole[half : 2 * half, :half],
        "right": whole[half : 2 * half, half:],
    }


def drawn(tile: np.ndarray) -> np.ndarray:
    """Where a view, without its title, shows something other than the background."""
    found = (tile != tile[-1, -1]).any(axis=2)
    found[: len(found) // 8] = False
    return found


def test_a_picture_has_four_views_and_a_legend() -> None:
    alone = draw([(box((10, 10, 10)), GREY)], {}, SIZE)
    assert alone.dtype == np.uint8
    assert alone.shape == (SIZE, SIZE, 3)
    named = draw([(box((10, 10, 10)), GREY)], {"here": np.zeros(3)}, SIZE)
    assert named.shape[0] > SIZE
    strip = named[SIZE:].reshape(-1, 3)
    assert (strip == POINT_COLOURS[0]).all(axis=1).any()
    for tile in tiles(alone).values():
        assert drawn(tile).any()


def test_views_show_the_sides_that_they_name() -> None:
    """A box 80 wide, 40 high, 20 deep: 2 : 1 from the front, 1 : 2 from either side."""
    found = tiles(draw([(box((80, 40, 20)), GREY)], {}, SIZE))
    size = {}
    for name, tile in found.items():
        rows, columns = np.nonzero(drawn(tile))
        size[name] = (np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert size["front"][0] / size["front"][1] == pytest.approx(2.0, abs=0.1)
    for side in ("left", "right"):
        assert size[side][0] / size[side][1] == pytest.approx(0.5, abs=0.06)
        assert size[side][1] == pytest.approx(size["front"][1], abs=1)


def test_left_is_the_wearers_left() -> None:
    """+x is blue and -x red: blue is on the right of the front view and alone on the left side."""
    halves = [(box((40, 40, 40), at=(20, 0, 0)), (0, 0, 1)),
              (box((40, 40, 40), at=(-20, 0, 0)), (1, 0, 0))]  # fmt: skip
    found = tiles(draw(halves, {}, SIZE))
    middle = found["front"][HALF // 2]
    blue = np.flatnonzero(middle[:, 2] > middle[:, 0] + 60)
    red = np.flatnonzero(middle[:, 0] > middle[:, 2] + 60)
    assert blue.min() > red.max()
    centre = HALF // 2
    assert found["left"][centre, centre] @ (-1, 0, 1) > 60
    assert found["right"][centre, centre] @ (1, 0, -1) > 60
    # From the wearer's left, the three-quarter view shows more blue than red.
    turned = found["turned"]
    assert (turned @ (-1, 0, 1) > 60).sum() > (turned @ (1, 0, -1) > 60).sum()


def test_colours_of_vertices_are_blended_between_them() -> None:
    """From black on the left edge of the wall to white on the right: linear 0.5 in the middle."""
    colours = np.repeat([[0.0], [1.0], [1.0], [0.0]], 3, axis=1).astype(np.float32)
    front = tiles(draw([(wall(attributes={"color": colours}), GREY)], {}, SIZE))["front"]
    plain = tiles(draw([(wall(), GREY)], {}, SIZE))["front"]
    centre = HALF // 2
    assert front[centre, centre] == pytest.approx(plain[centre, centre], abs=3)
    assert front[centre, centre - 20, 0] < plain[centre, centre, 0] - 30
    assert front[centre, centre + 20, 0] > plain[centre, centre, 0] + 30


def test_a_texture_lies_as_its_uv_say_with_the_first_row_on_top() -> None:
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
    textured = wall(material=Material((1.0, 1.0, 1.0), texture=texture))
    front = tiles(draw([(textured, GREY)], {}, SIZE))["front"]
    rows, columns = np.nonzero(drawn(front))
    quarter, three = (
        (rows.min() + np.ptp(rows) * share // 4, columns.min() + np.ptp(columns) * share // 4)
        for share in (1, 3)
    )
    assert front[quarter].argmax() == 0
    assert front[quarter[0], three[1]].argmax() == 1
    assert front[three[0], quarter[1]].argmax() == 2
    assert front[three].argmin() == 2


def test_a_visible_point_is_a_dot_and_a_hidden_one_a_ring() -> None:
    """Points 30 mm before and behind a wall, at the middle and 25 mm beside it."""
    points = {"before": np.array([0.0, 0, 30]), "behind": np.array([25.0, 0, -30])}
    front = tiles(draw([(wall(), GREY)], points, 800))["front"]

    def middle_and_filled(colour: tuple[int, int, int]) -> tuple[tuple[int, int], bool]:
        tint = np.subtract(colour, np.mean(colour))
        tinted = (front - front.mean(axis=2, keepdims=True)) @ tint > 0.4 * tint @ tint
        rows, columns = np.nonzero(tinted)
        middle = (round(rows.mean()), round(columns.mean()))
        return middle, bool(tinted[middle])

    (before, filled), (behind, hidden_filled) = map(middle_and_filled, POINT_COLOURS[:2])
    assert filled
    assert not hidden_filled
    assert behind[0] == pytest.approx(before[0], abs=1)
    # The wall is 100 mm wide; 25 mm to the wearer's left are a quarter of that to the right.
    columns = np.flatnonzero(drawn(front)[100])
    assert behind[1] - before[1] == pytest.approx(0.25 * (np.ptp(columns) + 1), abs=2)


def test_what_lies_behind_a_pane_shows_through() -> None:
    red, white = (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    pane = Surface(wall().vertices + np.array([0, 0, 20]), wall().faces)

    def seen(*surfaces: tuple) -> np.ndarray:
        return tiles(draw(surfaces, {}, SIZE))["front"][HALF // 2, HALF // 2]

    through = seen((wall(), white), (pane, red, 0.5))
    assert through[0] == pytest.approx(through.max(), abs=1)
    # Half the white shows: linear 0.5 of it is 188 of 255, under the same light.
    full = seen((wall(), white), (pane, white))
    assert through[1] / full[1] == pytest.approx(188 / 255, abs=0.02)
    assert seen((wall(), white), (pane, red))[1] == 0
    behind = seen((pane, white), (wall(), red, 0.5))
    assert behind[1] == pytest.approx(full[1], abs=1)


def test_which_way_faces_look_does_not_matter() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=40)
    other = surface(ball)
    flipped = Surface(other.vertices, other.faces[:, ::-1])
    assert np.array_equal(draw([(other, GREY)], {}, SIZE), draw([(flipped, GREY)], {}, SIZE))


def test_a_body_below_the_head_does_not_shrink_it() -> None:
    """With points, what lies more than 15 cm from them is cut off."""
    head = box((150, 150, 150))
    points = {"point": np.zeros(3)}
    alone = draw([(head, GREY)], points, SIZE)
    stray = draw([(head, GREY), (box((1, 1, 1), at=(9e5, 0, 0)), GREY)], points, SIZE)
    assert np.array_equal(alone, stray)


def test_vertices_that_no_face_uses_are_not_looked_at() -> None:
    ball = surface(trimesh.creation.icosphere(subdivisions=2, radius=40))
    loose = Surface(np.concatenate([ball.vertices, [[np.nan] * 3, [1e9] * 3]]), ball.faces)
    assert np.array_equal(draw([(ball, GREY)], {}, SIZE), draw([(loose, GREY)], {}, SIZE))


def test_nothing_to_draw_is_an_error() -> None:
    empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    for surfaces in ([], [(empty, GREY)]):
        with pytest.raises(ValueError, match="nothing to draw"):
            draw(surfaces, {}, SIZE)
