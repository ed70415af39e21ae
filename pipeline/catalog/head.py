"""The parametric head: a person and an expression in, meshes and anchors out.

Shapes come from `assets/heads/hm08.npz` (see PROVENANCE.md beside it). Everything is a linear
blend of targets on a coarse mesh, then one level of Catmull-Clark; only eyes and lids are fitted.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog import complexion, eyes, landmarks, teeth
from pipeline.catalog.clothes import Wardrobe, dress, find_wardrobe, hidden_hair
from pipeline.catalog.data import data_path
from pipeline.catalog.hair import Places, find_places, grow, undergrowth
from pipeline.catalog.mouth import Lips, find_lips
from pipeline.catalog.person import Person, person
from pipeline.catalog.subdivide import catmull_clark
from pipeline.errors import AssetError
from pipeline.geometry import Anchors, FloatArray, Head, Surface
from pipeline.spec import GAZE_PITCH_DEG, GAZE_YAW_DEG

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["EXPRESSIONS", "bare_head", "build_head", "person"]

_MM_PER_DM = 100.0
_SIDES = ("left", "right")
_LOOK_DEG = {"Out": 30.0, "In": 30.0, "Up": 22.0, "Down": 24.0}
_LOOPS_AROUND_LIDS = 6


def _both(**units: float) -> dict[str, float]:
    """The same weight for the left and the right face unit."""
    return {f"{name}{side}": w for name, w in units.items() for side in ("Left", "Right")}


#: Name to weights of the face units; names begin with their number, from 1 without a gap.
EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "1_neutral": {},
    "2_mouth_open": {"jawOpen": 0.7},
    "3_smile": _both(mouthSmile=0.75, cheekSquint=0.35, eyeSquint=0.2),
    "4_big_smile": {"jawOpen": 0.16}
    | _both(mouthSmile=0.9, mouthUpperUp=0.45, mouthLowerDown=0.3, cheekSquint=0.6, eyeSquint=0.35),
    "5_frown": _both(mouthFrown=0.85, browDown=0.45) | {"mouthShrugLower": 0.35},
    "6_surprise": {"jawOpen": 0.5, "browInnerUp": 0.9} | _both(browOuterUp=0.85, eyeWide=0.8),
    "7_eyes_closed": _both(eyeBlink=1.0),
    "8_pucker": {"mouthPucker": 0.9},
    "9_jaw_forward": {"jawForward": 1.3},
    "10_jaw_left": {"jawLeft": 1.2},
    "11_jaw_right": {"jawRight": 1.2},
    "12_cheek_puff": {"cheekPuff": 0.75, "mouthPucker": 0.15},
    "13_brow_raise": {"browInnerUp": 0.8} | _both(browOuterUp=0.8),
    "14_anger": _both(browDown=0.9, eyeSquint=0.5, mouthPress=0.6, noseSneer=0.3),
    "15_disgust": _both(noseSneer=0.9, browDown=0.5, mouthUpperUp=0.5, eyeSquint=0.4),
    "16_wink_left": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.6, "mouthSmileLeft": 0.35},
    "17_wink_right": {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.6, "mouthSmileRight": 0.35},
    "18_look_left": {"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8},
    "19_look_right": {"eyeLookInLeft": 0.8, "eyeLookOutRight": 0.8},
    "20_look_up": _both(eyeLookUp=0.8) | {"browInnerUp": 0.3},
    "21_look_down": _both(eyeLookDown=0.8, eyeBlink=0.14),
    "22_squint": _both(eyeSquint=0.9, cheekSquint=0.6, browDown=0.3),
    "23_sad": {"browInnerUp": 0.8} | _both(mouthFrown=0.6, eyeLookDown=0.25),
    "24_funnel": {"mouthFunnel": 0.8, "jawOpen": 0.15},
    "25_lips_rolled": {"mouthRollLower": 0.7, "mouthRollUpper": 0.6},
    "26_mouth_left": {"mouthLeft": 0.8},
    "27_mouth_right": {"mouthRight": 0.8},
    "28_tongue_out": {"jawOpen": 0.45, "tongueOut": 0.9},
    "29_stretch": _both(mouthStretch=0.8, mouthLowerDown=0.5) | {"jawOpen": 0.1},
    "30_smirk": {"mouthSmileLeft": 0.7, "mouthDimpleLeft": 0.5, "cheekSquintLeft": 0.3},
}


@dataclass(frozen=True, eq=False)
class _Model:
    """The data file, ready for use. Lengths in mm; n coarse vertices, skin's first."""

    base: FloatArray
    targets: csr_matrix
    rows: Mapping[str, int]
    skin_count: int
    to_fine: csr_matrix
    fine_faces: NDArray[np.int64]
    to_fine_lids: Mapping[str, tuple[NDArray[np.int64], FloatArray]]
    lids: Mapping[str, NDArray[np.int64]]
    tongue: tuple[NDArray[np.int64], csr_matrix, NDArray[np.int64]]
    lips: Lips
    regions: complexion.Regions
    wardrobe: Wardrobe
    places: Places
    helpers: Mapping[str, NDArray[np.int64]]
    attributes: Mapping[str, NDArray[np.float32]]
    anchor_vertices: NDArray[np.int64]
    anchor_weights: FloatArray
    average_span: tuple[float, float]

    def blend(self, weights: Mapping[str, float]) -> FloatArray:
        """(n, 3) sum of weighted targets in mm."""
        row = np.zeros(len(self.rows))
        for name, value in weights.items():
            row[self.rows[name]] += value
        used = np.flatnonzero(row)
        return (self.targets[used].T @ row[used]).reshape(-1, 3) * _MM_PER_DM

    def span(self, vertices: FloatArray) -> tuple[float, float]:
        """Between the eyes, and from between the eyes to the lower teeth."""
        left, right = (vertices[self.helpers[f"eye_{side}"]].mean(axis=0) for side in _SIDES)
        teeth = vertices[self.helpers["teeth_lower"]].mean(axis=0)
        down = np.linalg.norm((left + right) / 2.0 - teeth)
        return float(np.linalg.norm(left - right)), float(down)

    def anchors(self, skin: FloatArray) -> FloatArray:
        """(4, 3) temple left, right, nose left, right on subdivided skin."""
        return np.einsum("ij,ijk->ik", self.anchor_weights, skin[self.anchor_vertices])


def _read_targets(file: Any, count: int) -> tuple[csr_matrix, dict[str, int]]:
    """(targets, 3 count) float32 decimetres, and the row of each name."""
    from scipy.sparse import csr_matrix

    start, index = file["target_start"].astype(np.int64), file["target_index"].astype(np.int64)
    scale = np.repeat(file["target_scale"], np.diff(start)).astype(np.float32)
    values = file["target_delta"].astype(np.float32) * scale[:, None]
    columns = (3 * index[:, None] + np.arange(3)).ravel()
    shape = (len(start) - 1, 3 * count)
    matrix = csr_matrix((values.ravel(), columns, 3 * start), shape=shape)
    return matrix, {str(name): i for i, name in enumerate(file["target_names"])}


def _read_tongue(file: Any) -> tuple[NDArray[np.int64], csr_matrix, NDArray[np.int64]]:
    """The tongue's coarse vertices, the subdivision of these, its faces."""
    used, local = np.unique(file["tongue_faces"].astype(np.int64), return_inverse=True)
    matrix, fine = catmull_clark(local.reshape(-1, 4), len(used))
    return used, matrix, fine


def _lid_rows(
    lids: NDArray[np.int64], faces: NDArray[np.int64], to_fine: csr_matrix
) -> tuple[NDArray[np.int64], FloatArray]:
    """Subdivided vertices on and around the lids that the eye must not pierce, and their least
    clearance in mm; the lining of the socket is left out."""
    count = to_fine.shape[1]
    share, clearance = np.zeros(count), np.full(count, eyes.CLEARANCE_MM[-1])
    share[lids[eyes.CONTACT :]] = 1.0
    for _ in range(_LOOPS_AROUND_LIDS):
        share[faces[share[faces].any(axis=1)]] = 1.0
        share[lids[: eyes.CONTACT]] = 0.0
    clearance[lids] = eyes.CLEARANCE_MM[:, None]
    fine_share = to_fine @ share
    rows = np.flatnonzero(fine_share > 0.6)
    return rows, (to_fine[rows] @ (share * clearance)) / fine_share[rows]


@cache
def _model() -> _Model:
    path = data_path("assets/heads/hm08.npz")
    if not path.is_file():
        raise AssetError(f"{path}: the parametric head's data file is missing")
    with np.load(path) as file:
        base = file["base"].astype(np.float64) * _MM_PER_DM
        targets, rows = _read_targets(file, len(base))
        skin_faces = file["skin_faces"].astype(np.int64)
        skin_count = int(skin_faces.max()) + 1
        to_fine, fine_faces = catmull_clark(skin_faces, skin_count)
        lids = {side: file[f"lids_{side}"].astype(np.int64) for side in _SIDES}
        attributes = {
            key.removeprefix("region_"): file[key].astype(np.float32) / 255.0
            for key in file.files
            if key.startswith("region_")
        }
        attributes["rest"] = file["rest"].astype(np.float32)
        helpers = {
            name: np.unique(file[f"{name}_faces"]).astype(np.int64)
            for name in ("eye_left", "eye_right", "teeth_upper", "teeth_lower")
        }
        jaw = targets[rows["unit/jawOpen"]].toarray().reshape(-1, 3)[:skin_count, 1]
        lips = find_lips(
            attributes["rest"].astype(np.float64),
            attributes["lips"],
            to_fine @ (jaw * _MM_PER_DM),
            skin_count,
        )
        model = _Model(
            base=base,
            targets=targets,
            rows=rows,
            skin_count=skin_count,
            to_fine=to_fine,
            fine_faces=fine_faces,
            to_fine_lids={s: _lid_rows(lids[s], skin_faces, to_fine) for s in _SIDES},
            lids=lids,
            tongue=_read_tongue(file),
            lips=lips,
            regions=complexion.find_regions(attributes),
            places=find_places(Surface(attributes["rest"], fine_faces, attributes=attributes)),
            wardrobe=find_wardrobe(fine_faces, attributes["rest"].astype(float), attributes),
            helpers=helpers,
            attributes=attributes,
            anchor_vertices=file["anchor_vertices"].astype(np.int64),
            anchor_weights=file["anchor_weights"],
            average_span=(1.0, 1.0),
        )
    # The face units were made for the data's base mesh, so that is what their size refers to.
    object.__setattr__(model, "average_span", model.span(base))
    return model


def _eye_axis(side: str, units: Mapping[str, float]) -> tuple[float, float]:
    """Yaw to the subject's left and pitch up, in radians, of one eye."""
    look = {
        way: np.radians(degrees) * units.get(f"eyeLook{way}{side.capitalize()}", 0.0)
        for way, degrees in _LOOK_DEG.items()
    }
    outwards = look["Out"] - look["In"]
    return (outwards if side == "left" else -outwards), look["Up"] - look["Down"]


def _units(expression: str) -> Mapping[str, float]:
    if expression not in EXPRESSIONS:
        near = difflib.get_close_matches(expression, EXPRESSIONS, n=3, cutoff=0.3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise AssetError(f"unknown expression '{expression}'{hint}")
    return EXPRESSIONS[expression]


def _with_gaze(units: Mapping[str, float], gaze: tuple[float, float]) -> Mapping[str, float]:
    """Face units that also turn eyes by (yaw to the subject's left, pitch up) in degrees; an eye
    that they turn or close already is left alone."""
    yaw, pitch = (
        float(np.clip(g, -most, most))
        for g, most in zip(gaze, (GAZE_YAW_DEG, GAZE_PITCH_DEG), strict=True)
    )
    turned = dict(units)
    for side, outwards in (("Left", yaw), ("Right", -yaw)):
        own = ("eyeLook", "eyeBlink")
        if any(unit.startswith(own) and unit.endswith(side) for unit in units):
            continue
        for way, back, angle in (("Out", "In", outwards), ("Up", "Down", pitch)):
            name = way if angle > 0.0 else back
            if angle:
                turned[f"eyeLook{name}{side}"] = abs(angle) / _LOOK_DEG[name]
    return turned


def _neutral(model: _Model, who: Person) -> tuple[FloatArray, dict[str, eyes.Eyeball]]:
    """(n, 3) coarse vertices, lips closed, lids on the eyes; and the eyes, looking ahead."""
    vertices = (model.base + model.blend(who.targets())) * who.size
    balls = {}
    for side in _SIDES:
        lids = model.lids[side]
        ball = eyes.fit_eyeball(vertices[lids], vertices[model.helpers[f"eye_{side}"]])
        vertices[lids] += eyes.rest_lids_on(ball, vertices[lids])
        vertices[lids] += eyes.droop_lids(ball, vertices[lids], _iris_covered_mm(who.age))
        balls[side] = ball
    lips = model.lips
    for _ in range(3):  # what follows only in part needs more than one step
        vertices[lips.follow, 1] += lips.closing(model.to_fine @ vertices[: model.skin_count])
    return vertices, balls


def _iris_covered_mm(age: float) -> float:
    """How much of the iris the upper lid hides at least; lids droop in old age."""
    return 1.5 + 0.7 * float(np.clip((age - 50.0) / 30.0, 0.0, 1.0))


def _expressed(model: _Model, neutral: FloatArray, units: Mapping[str, float]) -> FloatArray:
    """(n, 3) coarse vertices; the face units' size follows the face's."""
    if not units:
        return neutral
    across, down = (now / then for now, then in zip(model.span(neutral), model.average_span,
                                                    strict=True))  # fmt: skip
    deltas = model.blend({f"unit/{name}": weight for name, weight in units.items()})
    vertices = neutral + deltas * (0.5 * (across + down))
    for side in _SIDES:
        blink = units.get(f"eyeBlink{side.capitalize()}", 0.0)
        if blink > 0.0:
            lids = model.lids[side]
            vertices[lids] += eyes.close_lids(vertices[lids], blink)
    return vertices


def _lashes(model: _Model, skin: FloatArray, balls: Mapping[str, eyes.Eyeball]) -> Surface:
    ribbons = [eyes.lash_ribbons(balls[side], skin[model.lids[side]]) for side in _SIDES]
    (left, left_faces), (right, right_faces) = ribbons
    faces = np.concatenate([left_faces, right_faces[:, ::-1] + len(left)])
    return Surface(np.concatenate([left, right]), faces)


def _teeth(model: _Model, neutral: FloatArray, coarse: FloatArray) -> Surface:
    upper, lower = (
        (neutral[model.helpers[name]], coarse[model.helpers[name]])
        for name in ("teeth_upper", "teeth_lower")
    )
    vertices, faces, attributes = teeth.both_rows(upper, lower)
    return Surface(vertices, faces, attributes=attributes)


def _rims(model: _Model, skin: FloatArray, balls: Mapping[str, eyes.Eyeball]) -> Surface:
    left, right = (eyes.rims(balls[side], skin[model.lids[side]]) for side in _SIDES)
    albedo = np.concatenate([s.attributes["albedo"] for s in (left, right)])
    return Surface(
        np.concatenate([left.vertices, right.vertices]),
        np.concatenate([left.faces, right.faces + len(left.vertices)]),
        attributes={"albedo": albedo},
    )


def bare_head(who: Person, expression: str, gaze: tuple[float, float] = (0.0, 0.0)) -> Head:
    """The person's head with one of `EXPRESSIONS`, shaven and undressed: all that a fit looks at.

    gaze: degrees, to the subject's left and up, in the head's frame, at most 25 to either side,
    20 up and down; lids follow. An eye that the expression turns or closes keeps that.

    Millimetres, x to the subject's left, y up, z out of the face, not turned; the origin lies
    midway between the temple nodes of that person's neutral face. Surfaces:

    - 'skin': about 22,000 vertices and quads, open at the chest and arms only; attributes `rest`
      (n, 3) mm, the vertex's place on the average head with the origin between the eyes, and
      `lips`, `brows`, `lids`, `scalp`, `ears`, `mouth_inside` (n,) 0..1, and what
      `pipeline.catalog.complexion.paint` adds
    - 'eye_left', 'eye_right', 'eye_rims' (edges of the lower lids and caruncles): triangles,
      attributes as in `pipeline.catalog.eyes`
    - 'lashes': ribbons, quads; 'teeth': quads, attributes as in `pipeline.catalog.teeth`;
      'tongue': quads

    Vertices are float64, faces int64, attributes float32. `Head.name` is the person's name.
    Raises AssetError for an unknown expression or a missing data file.
    """
    units = _with_gaze(_units(expression), gaze)
    model = _model()
    neutral, balls = _neutral(model, who)
    still = model.to_fine @ neutral[: model.skin_count]
    origin = model.anchors(still)[:2].mean(axis=0)
    coarse = _expressed(model, neutral, units) - origin
    balls = {
        side: eyes.Eyeball(ball.centre - origin, ball.radius, ball.axis).looking(
            *_eye_axis(side, units)
        )
        for side, ball in balls.items()
    }
    skin = model.to_fine @ coarse[: model.skin_count]
    for side, ball in balls.items():
        rows, clearance = model.to_fine_lids[side]
        skin[rows] = eyes.keep_outside(ball, skin[rows], clearance)
    painted = complexion.paint(model.regions, who.appearance)
    painted["undergrowth"] = undergrowth(who.hair, model.attributes)
    surfaces = {"skin": Surface(skin, model.fine_faces, attributes={**model.attributes, **painted})}
    for side, ball in balls.items():
        surfaces[f"eye_{side}"] = eyes.eye_surface(ball, skin[model.lids[side]])
    surfaces["eye_rims"] = _rims(model, skin, balls)
    surfaces["lashes"] = _lashes(model, skin, balls)
    surfaces["teeth"] = _teeth(model, neutral - origin, coarse)
    used, matrix, faces = model.tongue
    surfaces["tongue"] = Surface(matrix @ coarse[used], faces)
    nodes = model.anchors(skin)
    return Head(
        name=who.name,
        surfaces=surfaces,
        anchors=Anchors(*nodes),
        eye_left=balls["left"].centre,
        eye_right=balls["right"].centre,
        landmarks=skin[list(landmarks.VERTICES)],
        appearance=who.appearance,
    )


def build_head(who: Person, expression: str, gaze: tuple[float, float] = (0.0, 0.0)) -> Head:
    """`bare_head` with hair, and with what the person wears, each with its material.

    See `pipeline.catalog.hair` and `pipeline.catalog.clothes`; the same errors.
    """
    head, model = bare_head(who, expression, gaze), _model()
    skin = head.surfaces["skin"]
    worn = dress(who.clothes, model.wardrobe, skin.vertices, who.size)
    hidden = hidden_hair(who.clothes, model.attributes["rest"]) if who.clothes.headwear else None
    assert head.eye_left is not None
    assert head.eye_right is not None
    middle = (head.eye_left + head.eye_right) / 2
    # A mask lies on the beard and hides it.
    hair = replace(who.hair, beard=None) if who.clothes.masked else who.hair
    strands = grow(hair, model.places, skin, middle, who.appearance, hidden)
    return replace(head, surfaces={**head.surfaces, **worn}, hair=strands)
