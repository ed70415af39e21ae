"""Facts about built eyewear, measured on the meshes."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageDraw
from scipy import ndimage

from pipeline.catalog.data import data_path
from pipeline.catalog.eyewear import LIMITS, build_eyewear, load_design
from pipeline.catalog.lenses import count_holes
from pipeline.catalog.outline import rounded_polygon
from pipeline.errors import AssetError
from pipeline.geometry import EYEWEAR_PARTS, LENS_PARTS, TEMPLE_PARTS

FOLDER = data_path("assets/eyewear")
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module", params=[(n, s) for n in NAMES for s in (None, 0, 7)], ids=str)
def built(request):
    name, seed = request.param
    design = load_design(FOLDER / f"{name}.yaml")
    choice = design.typical() if seed is None else design.draw(np.random.default_rng(seed))
    return design, choice, build_eyewear(design, choice)


def mesh_of(surface):
    return trimesh.Trimesh(surface.vertices, surface.triangles(), process=False)


def turned(points, axis, degrees):
    angle = np.deg2rad(degrees)
    return points @ trimesh.transformations.rotation_matrix(angle, axis)[:3, :3].T


def flat_lens(eyewear, choice, side="left"):
    """Vertices of a lens in its own plane: tilt, then wrap, undone."""
    points = turned(
        eyewear.parts[f"lens_{side}"].vertices, (1, 0, 0), -choice["pantoscopic_tilt_deg"]
    )
    wrap = choice["wrap_deg"] if side == "left" else -choice["wrap_deg"]
    return turned(points, (0, 1, 0), -wrap)


def test_there_are_the_designs_a_person_would_name():
    assert {"round", "rectangle", "square", "aviator", "cat_eye", "rimless"} <= set(NAMES)
    assert {"oval", "pilot", "browline", "half_rim", "hexagonal", "oversize", "wrap"} <= set(NAMES)
    assert len(NAMES) >= 24
    designs = [load_design(FOLDER / f"{n}.yaml") for n in NAMES]
    assert [d.name for d in designs] == NAMES
    assert len({d.title for d in designs}) == len(designs)
    for key, kinds in (
        ("construction", {"acetate", "metal", "rimless", "half_rim", "browline"}),
        ("bridge", {"saddle", "keyhole", "arch", "double"}),
        ("rim", {None, "above", "below"}),
    ):
        assert {getattr(d, key) for d in designs} == kinds


def test_every_body_is_closed_and_looks_outward(built):
    _, _, eyewear = built
    assert set(eyewear.parts) <= set(EYEWEAR_PARTS)
    for name, surface in eyewear.parts.items():
        assert surface.vertices.dtype == np.float64
        assert surface.faces.dtype == np.int64
        assert np.isfinite(surface.vertices).all()
        for body in mesh_of(surface).split(only_watertight=False):
            assert body.is_watertight, name
            assert body.is_winding_consistent, name
            assert body.volume > 0, name


def test_lens_box_is_as_written(built):
    _, choice, eyewear = built
    size = np.ptp(flat_lens(eyewear, choice), axis=0)
    assert size[0] == pytest.approx(choice["lens_width_mm"], abs=0.1)
    assert size[1] == pytest.approx(choice["lens_height_mm"], abs=0.1)


def test_bridge_is_the_distance_between_the_lenses(built):
    _, choice, eyewear = built
    left, right = flat_lens(eyewear, choice), flat_lens(eyewear, choice, "right")
    # The nasal side of each box, at the middle of the lens edge's thickness.
    nasal = left[:, 0] < left[:, 0].min() + 1e-6, right[:, 0] > right[:, 0].max() - 1e-6
    left = eyewear.parts["lens_left"].vertices[nasal[0], 0].mean()
    right = eyewear.parts["lens_right"].vertices[nasal[1], 0].mean()
    # A thick edge leans with the wrap, so that its middle lies a little nearer or farther.
    assert left - right == pytest.approx(choice["bridge_mm"], abs=0.2)


def test_temple_length_follows_the_temple_to_its_tip(built):
    _, choice, eyewear = built
    points = eyewear.parts["temple_left"].vertices - eyewear.hinge_left.origin
    ear = -(eyewear.anchors.temple_left - eyewear.hinge_left.origin)[2]
    assert ear == pytest.approx(choice["length_to_bend_mm"], abs=0.3)
    # Behind the ear: walk along the middle, cut by cut, square to the mean direction there.
    behind = points[-points[:, 2] > ear - 1e-6]
    tip = behind[np.argmin(behind[:, 1])]
    direction = tip - behind[np.argmax(behind[:, 2])]
    direction /= np.linalg.norm(direction)
    along = behind @ direction
    cuts = np.linspace(along.min(), along.max(), 25)
    groups = [behind[(along >= a) & (along <= b)] for a, b in pairwise(cuts)]
    middles = np.array([(g.max(axis=0) + g.min(axis=0)) / 2 for g in groups if len(g)])
    walked = np.linalg.norm(np.diff(middles, axis=0), axis=1).sum()
    assert ear + walked == pytest.approx(choice["temple_length_mm"], abs=5.0)


def test_temple_sizes_are_those_of_adults(built):
    _, _, eyewear = built
    inner = [
        eyewear.parts[part].vertices[eyewear.parts[part].vertices[:, 2] > -30, 0]
        for part in TEMPLE_PARTS
    ]
    assert 115 < inner[0].min() - inner[1].max() < 150


FRONT_PARTS = ("rims", "brows", "bridge", "pads")


def test_holes_counted_on_a_picture_from_the_front(built):
    design, _, eyewear = built
    picture = front_picture(eyewear, FRONT_PARTS)
    frame = picture.sum()
    labels, count = ndimage.label(~picture)
    edge = set(labels[0]) | set(labels[-1]) | set(labels[:, 0]) | set(labels[:, -1])
    sizes = ndimage.sum_labels(~picture, labels, range(1, count + 1))
    # The loop of a pad arm closes a far smaller gap than a lens.
    large = [i for i, size in enumerate(sizes, 1) if size > 0.2 * frame and i not in edge]
    assert len(large) == (0 if design.construction in ("rimless", "half_rim") else 2)
    assert eyewear.holes == len(large) + (design.bridge == "double")
    # The gap of a double bridge is smaller than a lens, yet a hole.
    front = [eyewear.parts[part] for part in FRONT_PARTS if part in eyewear.parts]
    assert count_holes(front) == eyewear.holes


def front_picture(eyewear, parts, px_per_mm=5):
    image = Image.new("1", (170 * px_per_mm, 80 * px_per_mm))
    draw = ImageDraw.Draw(image)
    for part in parts:
        if part in eyewear.parts:
            surface = eyewear.parts[part]
            corners = (surface.vertices[:, :2] * (1, -1) + (85, 40)) * px_per_mm
            for triangle in corners[surface.triangles()]:
                draw.polygon([tuple(p) for p in triangle], fill=1)
    return np.asarray(image)


def designed(**wanted):
    """Values of `built` for the designs that have these values."""
    designs = {name: load_design(FOLDER / f"{name}.yaml") for name in NAMES}
    names = [n for n, d in designs.items() if all(getattr(d, k) in v for k, v in wanted.items())]
    return [(name, seed) for name in names for seed in (None, 0, 7)]


def lens_edge(eyewear, choice):
    """Of the left lens in 48 directions, the outermost vertex, and it about the box's centre."""
    flat = flat_lens(eyewear, choice)
    vertices = eyewear.parts["lens_left"].vertices
    centred = (flat - (flat.max(0) + flat.min(0)) / 2)[:, :2]
    sector = np.floor(np.arctan2(centred[:, 1], centred[:, 0]) * 24 / np.pi)
    radius = np.hypot(*centred.T)
    inside = [np.flatnonzero(sector == k) for k in np.unique(sector)]
    edge = np.array([i[np.argmax(radius[i])] for i in inside])
    return vertices[edge], centred[edge]


@pytest.mark.parametrize(
    "built",
    designed(construction={"acetate", "metal", "half_rim", "browline"}),
    indirect=True,
    ids=str,
)
def test_lens_edges_lie_within_the_rim(built):
    design, choice, eyewear = built
    edge, flat = lens_edge(eyewear, choice)
    if design.construction == "half_rim":
        edge = edge[flat[:, 1] * (1 if design.rim == "above" else -1) > 0.5]
    bodies = mesh_of(eyewear.parts["rims"]).split()
    rim = max((b for b in bodies if b.bounds[1][0] > 20), key=lambda b: np.ptp(b.bounds[:, 1]))
    assert rim.contains(edge).all()


@pytest.mark.parametrize("built", designed(construction={"half_rim"}), indirect=True, ids=str)
def test_half_rims_are_open_on_their_other_side(built):
    design, choice, eyewear = built
    edge, flat = lens_edge(eyewear, choice)
    away = flat[:, 1] * (-1 if design.rim == "above" else 1) / (choice["lens_height_mm"] / 2)
    frame = np.concatenate([eyewear.parts[part].vertices for part in ("rims", "bridge")])
    gap = np.linalg.norm(edge[:, None] - frame, axis=2).min(axis=1)
    assert (away > 0.75).sum() >= 10
    assert gap[away > 0.75].min() > 2.0
    assert gap[away < 0].max() < 1.6


@pytest.mark.parametrize("built", designed(construction={"browline"}), indirect=True, ids=str)
def test_browlines_are_heavy_above_and_thin_below(built):
    _, choice, eyewear = built
    middle = eyewear.parts["lens_left"].vertices.mean(axis=0)
    picture = front_picture(eyewear, FRONT_PARTS)
    column = picture[:, round((middle[0] + 85) * 5)]
    height = round((40 - middle[1]) * 5)
    above, below = column[:height].sum() / 5, column[height:].sum() / 5
    assert below == pytest.approx(choice["rim_width_mm"], abs=0.4)
    assert above > 2.5 * below
    brows = eyewear.parts["brows"]
    assert brows.material.metallic == 0.0 < eyewear.parts["rims"].material.metallic
    assert brows.material == eyewear.parts["temple_left"].material
    # The rim stands within the depth of the brow that holds it.
    near = np.abs(brows.vertices[:, :2] - middle[:2] - (0, choice["lens_height_mm"] / 2)) < (3, 5)
    held = np.abs(eyewear.parts["rims"].vertices[:, :2] - middle[:2]) < (3, 60)
    held &= eyewear.parts["rims"].vertices[:, 1:2] > middle[1]
    depths = [
        part[where.all(axis=1), 2]
        for part, where in (
            (brows.vertices, near), (eyewear.parts["rims"].vertices, held)
        )
    ]  # fmt: skip
    assert depths[0].min() < depths[1].min() < depths[1].max() < depths[0].max()


def test_temples_hang_on_their_hinges_and_pads_on_their_arms(built):
    design, _, eyewear = built
    pin = eyewear.hinge_left.origin
    assert any(b.contains([pin])[0] for b in mesh_of(eyewear.parts["rims"]).split())
    temple = eyewear.parts["temple_left"].vertices
    assert np.linalg.norm(temple - pin, axis=1).min() < 5.0
    if design.pads == "arms":
        arms = eyewear.parts["rims"].vertices
        rest = eyewear.anchors.nose_left
        assert np.linalg.norm(arms - rest, axis=1).min() < 3.0


def test_anchors_lie_on_the_parts_that_rest_there(built):
    _, choice, eyewear = built
    anchors = eyewear.anchors
    for side in ("left", "right"):
        temple = eyewear.parts[f"temple_{side}"].vertices
        assert np.linalg.norm(temple - getattr(anchors, f"temple_{side}"), axis=1).min() < 1e-9
        pads = eyewear.parts["pads"].vertices
        assert np.linalg.norm(pads - getattr(anchors, f"nose_{side}"), axis=1).min() < 1e-9
    ear, section = anchors.temple_left, eyewear.parts["temple_left"].vertices
    section = section[np.abs(section[:, 2] - ear[2]) < 1.0]
    middle = (section.max(axis=0) + section.min(axis=0)) / 2
    assert ear[0] < middle[0]
    assert ear[1] < middle[1]
    assert np.ptp(anchors.as_array()[2:, 0]) == pytest.approx(choice["pad_distance_mm"], abs=1e-9)
    assert anchors.nose_left[2] < eyewear.parts["lens_left"].vertices[:, 2].max() - 4


def test_left_is_plus_x_and_right_its_mirror_image(built):
    _, _, eyewear = built
    assert eyewear.anchors.temple_left[0] > 0 < eyewear.anchors.nose_left[0]
    assert np.array_equal(eyewear.anchors.temple_right, eyewear.anchors.temple_left * FLIP)
    assert np.array_equal(eyewear.hinge_right.origin, eyewear.hinge_left.origin * FLIP)
    for left in ("temple_left", "lens_left"):
        right = left.replace("left", "right")
        assert eyewear.parts[left].vertices[:, 0].min() > 0
        assert np.array_equal(eyewear.parts[left].vertices * FLIP, eyewear.parts[right].vertices)
    for part in set(eyewear.parts) - {*TEMPLE_PARTS, *LENS_PARTS}:
        vertices = np.round(eyewear.parts[part].vertices, 6) + 0.0
        mirrored = np.round(vertices * FLIP, 6) + 0.0
        assert np.array_equal(np.unique(vertices, axis=0), np.unique(mirrored, axis=0)), part


def test_lower_edge_is_nearer_to_the_face_and_temples_run_back(built):
    _, choice, eyewear = built
    lens = eyewear.parts["lens_left"].vertices
    # Towards the temple a lens falls back, so low and high are those beside its middle.
    lens = lens[np.abs(lens[:, 0] - (lens[:, 0].max() + lens[:, 0].min()) / 2) < 6]
    low, high = lens[np.argmin(lens[:, 1])], lens[np.argmax(lens[:, 1])]
    assert low[2] < high[2]
    assert eyewear.parts["temple_left"].vertices[:, 2].min() < -choice["length_to_bend_mm"] - 15


def test_metal_of_a_browline_must_be_known(tmp_path):
    text = (FOLDER / "browline.yaml").read_text()
    (tmp_path / "browline.yaml").write_text(text.replace("metal: gold", "metal: golt"))
    with pytest.raises(AssetError, match=r"\$\.metal: unknown finish 'golt'.*'gold'"):
        load_design(tmp_path / "browline.yaml")


@pytest.mark.parametrize("turn", [1, -1])
def test_corners_of_a_polygon_are_rounded_and_its_sides_straight(turn):
    square = [(1, 1), (-1, 1), (-1, -1), (1, -1)][::turn]
    curve = rounded_polygon(square, 0.25)
    x, y = curve.T
    assert np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0
    assert np.allclose([curve.min(axis=0), curve.max(axis=0)], [(-1, -1), (1, 1)])
    # A parabola between points a quarter of the side, 0.5, from the corner passes it in the middle
    # at a quarter of that from either side.
    assert np.abs(curve).min(axis=1).max() == pytest.approx(1 - 0.125, abs=0.01)
    near = np.abs(curve).min(axis=1) < 0.5 + 1e-9
    assert np.allclose(np.abs(curve[near]).max(axis=1), 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_reproducible_and_within_their_ranges(name):
    design = load_design(FOLDER / f"{name}.yaml")
    first = [design.draw(np.random.default_rng(s)) for s in range(20)]
    again = [design.draw(np.random.default_rng(s)) for s in range(20)]
    assert first == again
    assert len({tuple(c.items()) for c in first}) == 20
    for choice in [*first, design.typical()]:
        assert set(choice) == {*LIMITS, "frame", "lenses"}
        assert all(getattr(design, k)[0] <= choice[k] <= getattr(design, k)[1] for k in LIMITS)
        assert choice["frame"] in design.frame
        assert choice["lenses"] in design.lenses


def test_narrowing_one_range_moves_no_other_number(tmp_path):
    text = (FOLDER / "round.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text.replace("bridge_mm: [20, 23]", "bridge_mm: 21"))
    wide, narrow = load_design(FOLDER / "round.yaml"), load_design(tmp_path / "a.yaml")
    one, other = (d.draw(np.random.default_rng(3)) for d in (wide, narrow))
    assert {k for k in one if one[k] != other[k]} == {"bridge_mm"}
    assert other["bridge_mm"] == 21.0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("bridge_mm:", "brigde_mm:", r"\$\.brigde_mm.*'bridge_mm'"),
        ("bridge_mm: [20, 23]", "bridge_mm: wide", r"\$\.bridge_mm"),
        ("bridge_mm: [20, 23]", "bridge_mm: [23, 20]", r"\$\.bridge_mm"),
        ("bridge_mm: [20, 23]", "bridge_mm: .nan", r"\$\.bridge_mm"),
        ("bridge_mm: [20, 23]", "bridge_mm: true", r"\$\.bridge_mm"),
        ("bridge_mm: [20, 23]", "bridge_mm: 2000", r"\$\.bridge_mm"),
        ("bridge_mm: [20, 23]\n", "", r"\$\.bridge_mm"),
        ("bridge: arch", "bridge: keyhole", r"\$\.bridge"),
        ("superellipse: 2.0", "superelipse: 2.0", r"\$\.lens_shape.*superellipse"),
        ("[gold,", "[golt,", r"\$\.frame.*'gold'"),
        ("{superellipse", "{superellipse: [", r"not valid YAML"),
        ("{superellipse: 2.0}", "{}", r"lens_shape.*'corners'"),
        ("{superellipse: 2.0}", "{superellipse: 2.0, points: []}", r"\$\.lens_shape"),
        ("construction: metal", "construction: half_rim", r"\$\.rim: for a half_rim frame"),
        ("construction: metal", "construction: browline", r"\$\.metal: for a browline frame"),
        ("pads: arms", "pads: arms\nrim: above", r"\$\.rim: for a half_rim frame"),
        ("pads: arms", "pads: arms\nrim: left", r"\$\.rim"),
    ],
)
def test_a_faulty_design_is_refused_in_one_line(tmp_path, old, new, expected):
    text = (FOLDER / "round.yaml").read_text()
    assert old in text
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(AssetError, match=expected) as caught:
        load_design(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_design_names_the_nearest(tmp_path):
    (tmp_path / "round.yaml").write_text("")
    with pytest.raises(AssetError, match=r"rounds\.yaml.*'round\.yaml'"):
        load_design(tmp_path / "rounds.yaml")
    with pytest.raises(AssetError, match="mapping"):
        load_design(tmp_path / "round.yaml")


def test_a_choice_that_lacks_something_is_refused():
    design = load_design(FOLDER / "round.yaml")
    with pytest.raises(AssetError, match="bridge_mm"):
        build_eyewear(design, {k: v for k, v in design.typical().items() if k != "bridge_mm"})
    with pytest.raises(AssetError, match="lenses"):
        build_eyewear(design, {**design.typical(), "lenses": "milk"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lens_width_mm": 0}, "'lens_width_mm' must lie within 38 and 66, got 0"),
        ({"lens_width_mm": "52"}, "'lens_width_mm' must lie within 38 and 66, got '52'"),
        ({"bridge_mm": True}, "'bridge_mm' must lie within 12 and 28, got True"),
        ({"foo": 1.0}, "unknown key 'foo'"),
    ],
)
def test_a_choice_that_no_frame_can_be_is_refused(change, said):
    design = load_design(FOLDER / "round.yaml")
    with pytest.raises(AssetError, match=re.escape(f"eyewear 'round': choice: {said}")):
        build_eyewear(design, design.typical() | change)
