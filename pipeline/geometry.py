"""The shapes that pass between catalogue, fit and renderer.

Conventions, everywhere outside `pipeline.blender`: millimetres, right-handed axes, x to the
subject's left, y up, z out of the face. "Left" is always the wearer's left, so +x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
RGB = tuple[float, float, float]

#: The parts of a pair of glasses, kept apart for masks. Not every pair has all of them.
EYEWEAR_PARTS = (
    "rims",
    "bridge",
    "pads",
    "temple_left",
    "temple_right",
    "lens_left",
    "lens_right",
    "brows",
)
LENS_PARTS = ("lens_left", "lens_right")
TEMPLE_PARTS = ("temple_left", "temple_right")


#: Names of surfaces that a head wears (clothes, hats, jewels) begin with it.
WORN = "worn_"

Pattern = Literal[
    "", "gradient", "two_tone", "tortoise",
    "stripes", "pinstripes", "checks", "print", "heather", "denim", "knit", "ribs",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Material:
    """Metallic-roughness description of a surface, as in glTF 2.0.

    Colours are linear Rec. 709. `transmission` 1 is clear glass of index `ior`, whose tint is
    `base_color`; less of it is a translucent plastic. `texture` is (h, w, 3) uint8 sRGB, first row
    on top, multiplied by `base_color` and placed by the surface's `uv`.

    pattern: how `base_color` passes into `second_color`: downward ('gradient', 'two_tone', by the
    attribute `height`, 1 at the top), in blotches ('tortoise', by `place`, in mm) or, on cloth, in
    one of its patterns, which repeat every `period_mm` of `place`. sheen: 0..1, of fibres that
    stand off cloth.
    reflectance: of one face of a lens at normal incidence, by colour, instead of the bare
    material's: a coating. smudges: 0..1, of a lens that was touched and not wiped.
    """

    base_color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    metallic: float = 0.0
    roughness: float = 0.5
    transmission: float = 0.0
    ior: float = 1.5
    texture: NDArray[np.uint8] | None = None
    pattern: Pattern = ""
    period_mm: float = 0.0
    sheen: float = 0.0
    second_color: RGB = (0.0, 0.0, 0.0)
    reflectance: RGB | None = None
    smudges: float = 0.0

    def is_glass(self) -> bool:
        """Whether a lens of it refracts; others are painted over."""
        return self.transmission >= 0.5

    def normal_reflectance(self) -> RGB:
        """Of one face, 0..1, at normal incidence: the coating's, or ((n - 1) / (n + 1))**2."""
        bare = ((self.ior - 1.0) / (self.ior + 1.0)) ** 2
        return self.reflectance or (bare, bare, bare)

    def mean_color(self) -> RGB:
        """`base_color`, or half way to `second_color` where there is a pattern."""
        if not self.pattern:
            return self.base_color
        first, second = self.base_color, self.second_color
        red, green, blue = ((a + b) / 2 for a, b in zip(first, second, strict=True))
        return red, green, blue


def as_triangles(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(t, 3) of triangles or quads; a quad (a, b, c, d) becomes (a, b, c) and (a, c, d)."""
    if faces.shape[1] == 3:
        return faces
    return np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])


@dataclass(frozen=True, eq=False)
class Surface:
    """One mesh of one kind: polygons with the same number of corners.

    vertices: (n, 3) float64, mm. faces: (m, 3) or (m, 4) int64, counter-clockwise from outside.
    uv: (n, 2) float32 with v up, or None. attributes: name to (n,) or (n, 3) float32 per vertex.
    `material` is None where the renderer knows the kind by the surface's name (skin, eyes, ...).
    """

    vertices: FloatArray
    faces: NDArray[np.int64]
    uv: NDArray[np.float32] | None = None
    attributes: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    material: Material | None = None

    def triangles(self) -> NDArray[np.int64]:
        """(t, 3) int64 vertex indices; a quad (a, b, c, d) becomes (a, b, c) and (a, c, d)."""
        return as_triangles(self.faces)


@dataclass(frozen=True, eq=False)
class Anchors:
    """The four anchor nodes, each a (3,) float64 point in mm.

    On a head: where the temples rest on the roots of the ears, and where the nose pads rest on
    the flanks of the nose. On glasses: the points of the temples and pads that rest there.
    """

    temple_left: FloatArray
    temple_right: FloatArray
    nose_left: FloatArray
    nose_right: FloatArray

    def as_array(self) -> FloatArray:
        """(4, 3) float64 in the order temple_left, temple_right, nose_left, nose_right."""
        return np.stack([self.temple_left, self.temple_right, self.nose_left, self.nose_right])


@dataclass(frozen=True)
class Appearance:
    """Colours of a person, linear Rec. 709 albedos in 0..1, and how much of what there is.

    age: years. melanin: the skin's tone, 0 the lightest, 1 the darkest. redness: -1..1 about the
    usual blood. `skin` and `lips` are the mean colours of these; `flushed`, `sallow` and `tired`
    those of skin with more blood (cheeks), less of it (forehead) and with stale blood and more
    melanin (under the eyes). iris_kind is one of brown, hazel, green, blue, grey.
    `hair` and `grey_hair` are colours of hairs; grey: 0..1, the share of grey ones.

    beard_shadow: 0..1, of a man who has shaved. freckles: 0..1, also spots of age. moles: 0..1, how
    many. oil: 0..1 dry to oily skin. lines: 0..1, depth of wrinkles. pupil_mm: its diameter.
    sclera, teeth: colours. seed: of what is strewn over the skin.
    """

    age: float
    melanin: float
    redness: float
    skin: RGB
    flushed: RGB
    sallow: RGB
    tired: RGB
    lips: RGB
    iris: RGB
    iris_kind: str
    hair: RGB
    grey_hair: RGB
    grey: float
    beard_shadow: float
    freckles: float
    moles: float
    oil: float
    lines: float
    pupil_mm: float
    sclera: RGB
    teeth: RGB
    seed: int


@dataclass(frozen=True, eq=False)
class Strands:
    """Hairs of one kind, each a curve of the same number of points.

    points: (n, k, 3) float mm, from root to tip. radius: (n, k) float32 mm. shade: (n,) float32,
    0..1, evenly spread, what tells one hair's colour from the next. color: linear Rec. 709 albedo;
    second_color: that of the `second_share` (0..1) of hairs with the largest shade, such as grey.
    """

    points: NDArray[np.floating]
    radius: NDArray[np.float32]
    shade: NDArray[np.float32]
    color: RGB
    second_color: RGB = (0.0, 0.0, 0.0)
    second_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Head:
    """A head ready to be fitted and rendered.

    surfaces: name to Surface. 'skin' is always there and is what glasses rest on; a parametric
    head also has 'eye_left', 'eye_right', 'lashes', 'teeth', 'tongue', clothes and what else it
    wears, and its `appearance`. hair: name to Strands ('scalp', 'brows', 'beard', ...). Neither
    hair nor clothes push glasses.
    anchors: at nose position 0. `eye_left`, `eye_right`: centres of the eyes, (3,) mm, or None
    where the mesh does not say. landmarks: (68, 3) mm, see `pipeline.catalog.landmarks`, or None.
    `unit` is the unit the file was read in ('mm', 'scaled', ...).
    """

    name: str
    surfaces: Mapping[str, Surface]
    anchors: Anchors
    eye_left: FloatArray | None = None
    eye_right: FloatArray | None = None
    landmarks: FloatArray | None = None
    unit: str = "mm"
    appearance: Appearance | None = None
    hair: Mapping[str, Strands] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Hinge:
    """Axis about which a temple opens: `origin` (3,) mm and unit `axis` (3,).

    The axis points up. Turning by a positive angle about it, right-handed, opens the right
    temple (moves its tip to -x); the left temple opens by a negative angle.
    """

    origin: FloatArray
    axis: FloatArray


@dataclass(frozen=True, eq=False)
class Eyewear:
    """A pair of glasses with open temples, ready to be fitted and rendered.

    parts: keys out of `EYEWEAR_PARTS`. `holes` is the number of openings that the
    frame closes all round, seen from the front with temples hidden: 2 for full rims, 3 with a
    double bridge, 0 for rimless and half rims. `part_confidence`: how sure it is, 0..1, that a part
    is what its key says; empty where parts are known.
    """

    name: str
    parts: Mapping[str, Surface]
    anchors: Anchors
    hinge_left: Hinge
    hinge_right: Hinge
    holes: int
    unit: str = "mm"
    part_confidence: Mapping[str, float] = field(default_factory=dict)


def resized(eyewear: Eyewear, scale: float) -> Eyewear:
    """The same glasses, `scale` times as large in every direction."""
    if scale == 1.0:
        return eyewear
    return replace(
        eyewear,
        parts={n: replace(p, vertices=p.vertices * scale) for n, p in eyewear.parts.items()},
        anchors=Anchors(*eyewear.anchors.as_array() * scale),
        hinge_left=replace(eyewear.hinge_left, origin=eyewear.hinge_left.origin * scale),
        hinge_right=replace(eyewear.hinge_right, origin=eyewear.hinge_right.origin * scale),
    )
