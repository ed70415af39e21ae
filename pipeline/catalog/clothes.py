"""What a person wears, drawn from shares as in the street, and put on.

Shares of all people (of tops, by what is visible below a portrait's chin):

| top | adults | children |   | other | share |
|---|---|---|---|---|---|
| crew-neck T-shirt | 21% | 40% | | scarf | 4% (not over hood or headscarf) |
| V-neck | 9% | 5% | | baseball cap | 3% |
| scoop (women 12%, men 2%) | 7% | 6% | | beanie | 2% |
| polo | 8% | 9% | | brimmed hat | 1.5% |
| shirt, buttoned | 10% | 5% | | headband | 2.7% (women 4.4%, men 1%) |
| shirt, open | 12% | 4% | | headscarf that frames the face | 1.7% (women 3.4%) |
| turtleneck | 5% | 3% | | earrings | women 52%, men 7% |
| crew sweater | 11% | 14% | | necklace | women 14%, men 5% |
| hoodie | 9% | 14% | | something held before the face | 3% |
| jacket | 8% | 0% | | | |

Scarves, hats and jewels of children are those of adults or fewer; a necklace is seen only with a
T-shirt, a V-neck, a scoop or an open shirt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog import garments
from pipeline.catalog.accessories import Places, earrings, find_places, held, necklace
from pipeline.catalog.cloth import Drape, Mantle, Patch, made
from pipeline.catalog.fabrics import Fabric, draw_color, draw_fabric
from pipeline.catalog.headwear import Skull, find_skull, headwear, hidden_share
from pipeline.catalog.torso import TURNS, Torso, find_torso
from pipeline.distributions import pick_name
from pipeline.geometry import WORN, FloatArray, Material, Pattern, Surface
from pipeline.spec import WearMode

#: Weights for men, women and children.
_TOPS = {
    "crew": (23, 18, 40), "v_neck": (9, 9, 5), "scoop": (2, 13, 6), "polo": (11, 5, 9),
    "shirt": (12, 8, 5), "open_shirt": (13, 11, 4), "turtleneck": (4, 6, 3),
    "sweater": (10, 12, 14), "hoodie": (9, 9, 14), "jacket": (7, 9, 0),
}  # fmt: skip
_JERSEY: dict[Pattern, float] = {"": 62, "heather": 14, "stripes": 14, "print": 10}
_KINDS: dict[str, dict[Pattern, float]] = {
    "crew": _JERSEY, "v_neck": _JERSEY,
    "scoop": {"": 60, "print": 28, "stripes": 12},
    "polo": {"": 80, "stripes": 20},
    "shirt": {"": 62, "pinstripes": 16, "checks": 16, "denim": 6},
    "open_shirt": {"": 50, "pinstripes": 12, "checks": 24, "denim": 14},
    "turtleneck": {"": 50, "ribs": 50},
    "sweater": {"": 25, "knit": 45, "heather": 20, "stripes": 10},
    "hoodie": {"": 60, "heather": 40},
    "jacket": {"": 65, "heather": 25, "checks": 10},
}  # fmt: skip
_HEADWEAR = {
    "": (91, 88.5, 92), "cap": (4.5, 1.5, 4.5), "beanie": (2, 2, 2), "hat": (1.5, 1.5, 0.5),
    "headband": (1, 4.5, 1), "headscarf": (0, 3.5, 0.5),
}  # fmt: skip
_HAT_KINDS: dict[str, dict[Pattern, float]] = {
    "cap": {"": 85, "denim": 8, "heather": 7}, "beanie": {"knit": 50, "ribs": 35, "heather": 15},
    "hat": {"": 70, "heather": 30}, "headband": {"": 55, "ribs": 20, "print": 15, "knit": 10},
    "headscarf": {"": 80, "print": 12, "stripes": 8},
}  # fmt: skip
_EARRINGS = {
    "": (93, 48, 85), "studs": (2, 26, 11), "hoops": (1, 14, 2), "drops": (0, 12, 2),
    "stud": (4, 0, 0),
}  # fmt: skip
_METALS = {
    "gold": 38,
    "silver": 36,
    "rose_gold": 6,
    "pearl": 10,
    "black": 4,
    "turquoise": 3,
    "red": 3,
}
_CHILD_YEARS = 14.0
#: So far under a jacket's edge there is something under it.
_UNDER_MM = 45.0
_BUTTONS = (
    Material((0.72, 0.71, 0.68), roughness=0.25), Material((0.02, 0.02, 0.022), roughness=0.25),
)  # fmt: skip


@dataclass(frozen=True)
class Clothes:
    """What a person wears.

    top: a key of `garments.CUTS`, or 'jacket' over `under`, one of these. depth: mm by which the
    neckline is deeper in front than usual. folds: weights of the torso's fold fields. seed: of
    crumples. scarf: None for none.
    headwear: '', a key of `headwear.EDGES`, or 'headscarf', which comes with a scarf. earrings: ''
    or a kind of `accessories.earrings`; jewel: how large, and of what. held: '' or a kind of
    `accessories.held`; side: on the left (0) or the right.
    """

    top: str
    under: str
    depth: float
    fabric: Fabric
    under_fabric: Fabric
    folds: tuple[float, ...]
    seed: int
    button: int
    scarf: Fabric | None
    headwear: str
    hat: Fabric
    earrings: str
    necklace: bool
    jewel: tuple[float, str]
    held: str
    thing: Fabric
    side: int

    @property
    def masked(self) -> bool:
        """Whether a mask covers mouth and chin."""
        return self.held == "mask"

    @property
    def unwearable(self) -> frozenset[WearMode]:
        """Ways of wearing glasses for which a hat or a mask leaves no room."""
        pushed: set[WearMode] = {"pushed_up"} if self.headwear else set()
        low: set[WearMode] = {"slipped", "oversized"} if self.masked else set()
        return frozenset(pushed | low)


def draw_clothes(rng: np.random.Generator, age: float, sex: float) -> Clothes:
    """What somebody of an age (years) and a sex (0 female .. 1 male) wears."""
    group = 2 if age < _CHILD_YEARS else (0 if sex > 0.5 else 1)
    top = pick_name(_of_group(_TOPS, group), rng.random())
    under = pick_name({"shirt": 45, "open_shirt": 15, "crew": 28, "turtleneck": 12}, rng.random())
    fabric, under_fabric = draw_fabric(rng, _KINDS[top]), draw_fabric(rng, _KINDS[under])
    folds = tuple(float(w) for w in rng.normal(0.0, 0.8, 10))
    headwear = pick_name(_of_group(_HEADWEAR, group), rng.random())
    hat = draw_fabric(rng, _HAT_KINDS.get(headwear, {"": 1.0}))
    scarf = draw_fabric(rng, {"": 40, "checks": 30, "knit": 20, "stripes": 10})
    scarfed = rng.random() < 0.04 and top != "hoodie"
    holding = {"": 97.0, "mask": 1.3, "phone": 0.6, "mug": 0.6, "microphone": 0.5}
    held = pick_name(holding, rng.random())
    return Clothes(
        top=top,
        under=under if top == "jacket" else "",
        depth=float(rng.normal(0.0, 3.0)),
        fabric=fabric,
        under_fabric=under_fabric,
        folds=folds,
        seed=int(rng.integers(1000)),
        button=int(sum(fabric.color) < 0.3),
        scarf=hat if headwear == "headscarf" else scarf if scarfed else None,
        headwear=headwear,
        hat=hat,
        earrings=pick_name(_of_group(_EARRINGS, group), rng.random()),
        necklace=bool(rng.random() < (0.05, 0.14, 0.03)[group]),
        jewel=(float(rng.random()), pick_name(_METALS, rng.random())),
        held=held,
        thing=_thing(rng, held),
        side=int(rng.integers(2)),
    )


def _thing(rng: np.random.Generator, held: str) -> Fabric:
    """The colour of what is held; surgical masks are mostly light blue."""
    usual = ((0.42, 0.60, 0.70), (0.70, 0.71, 0.71), (0.015, 0.015, 0.016))
    color = draw_color(rng)
    chosen = usual[int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
    return Fabric(chosen if held == "mask" else color, roughness=0.9, sheen=0.15)


def hidden_hair(clothes: Clothes, rest: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n,) 0..1: how much of the hair rooted at `rest`, (n, 3) mm at rest, is hidden."""
    return hidden_share(clothes.headwear, np.asarray(rest, np.float64))


def _of_group(table: Mapping[str, tuple[float, ...]], group: int) -> dict[str, float]:
    """Weights of what a group of people wears."""
    return {name: weights[group] for name, weights in table.items()}


@dataclass(frozen=True, eq=False)
class Wardrobe:
    """What clothes need to know of the skin that all people share."""

    torso: Torso
    skull: Skull
    places: Places


def find_wardrobe(
    faces: NDArray[np.int64], rest: FloatArray, attributes: Mapping[str, NDArray[np.float32]]
) -> Wardrobe:
    """Of skin with quads (m, 4), and vertices at `rest` (n, 3) mm on the average head."""
    return Wardrobe(
        find_torso(faces, rest, attributes), find_skull(rest, attributes),
        find_places(rest, attributes),
    )  # fmt: skip


def dress(
    clothes: Clothes, wardrobe: Wardrobe, skin: FloatArray, size: float
) -> dict[str, Surface]:
    """What is worn on skin (n, 3) mm: surfaces, named `WORN` and what they are."""
    torso = wardrobe.torso
    drape = Drape(torso, skin[torso.rows], np.array(clothes.folds), size)
    found: dict[str, Surface] = {}
    if clothes.top == "jacket":
        low = -400.0 + 6.0 * clothes.depth
        over = garments.jacket_inside(torso, low)
        found |= _top(drape, clothes, clothes.under, clothes.under_fabric, "under_", over)
        found |= _jacket(drape, clothes, over, low)
    else:
        found |= _top(drape, clothes, clothes.top, clothes.fabric)
    if clothes.scarf is not None:
        found["scarf"] = _scarf(drape, clothes, clothes.scarf)
    if clothes.headwear:
        ribbed: Pattern = "ribs" if clothes.headwear == "beanie" else ""
        band = clothes.hat.material(ribbed, 5.0)
        if clothes.headwear == "hat":
            band = Material((0.02, 0.02, 0.022), roughness=0.6, sheen=0.2)
        found |= headwear(
            clothes.headwear, wardrobe.skull, skin, clothes.hat.material(), band, clothes.seed
        )
    if clothes.earrings and clothes.headwear != "headscarf":
        found |= earrings(clothes.earrings, *clothes.jewel, wardrobe.places, skin)
    if clothes.held:
        found |= held(clothes.held, clothes.thing, wardrobe.places, skin, clothes.side)
    return {WORN + name: surface for name, surface in found.items()}


def _top(
    drape: Drape,
    clothes: Clothes,
    kind: str,
    fabric: Fabric,
    name: str = "",
    over: FloatArray | None = None,
) -> dict[str, Surface]:
    """A shirt or jumper; under a jacket, which reaches `over` (t,) mm, flat and only its front."""
    shape = garments.CUTS[kind]
    inside = drape.torso.down - garments.neckline(shape, clothes.depth, drape.torso.turn)
    ease, seen = shape.ease, inside
    if over is not None:
        ease, seen = 1.5, np.minimum(inside, _UNDER_MM - over)
        drape = Drape(drape.torso, drape.skin, 0.25 * drape.folds, drape.size)
    cloth, piece = garments.body(drape, inside, ease, shape.thickness, seen)
    mantle, skin = Mantle(drape, cloth), Mantle(drape, drape.fine_skin)
    # As a body is cut, so a person's own shape takes the edge with it.
    line = mantle.worn(garments.neckline(shape, clothes.depth, TURNS))
    pieces = [piece]
    found = {}
    if shape.rib:
        ribbed: Pattern = "ribs" if kind != "scoop" else ""
        band = garments.rib(mantle, line, shape.rib, shape.thickness)
        found["rib"] = made([band], fabric.material(ribbed, 3.2))
    if kind in ("shirt", "open_shirt", "polo"):
        gap = {"shirt": 2.0, "open_shirt": 24.0, "polo": 12.0}[kind]
        stand, fall, point = (22.0, 28.0, 18.0) if kind == "polo" else (32.0, 34.0, 30.0)
        edge = garments.rib(mantle, line, 7.0, shape.thickness)
        # An open collar stays up where the neckline falls to the chest.
        up = mantle.worn(np.full(len(TURNS), 42.0))
        seam = line if kind == "shirt" else np.minimum(line, up)
        pieces += [edge, *garments.collar(skin, mantle, seam, gap, stand, fall, point)]
        x, y, z = drape.torso.rest.T
        top = float(y[(inside > 0.0) & (np.abs(x) < 4.0) & (z > -70.0)].max()) - 2.0
        buttons = [top - 12.0 - 72.0 * i for i in range(4)]
        placket, *knobs = garments.fastening(drape, cloth, top, buttons)
        pieces.append(placket)
        found["buttons"] = made(knobs, _BUTTONS[clothes.button])
    if kind == "turtleneck":
        pieces.append(garments.roll_neck(skin, mantle, 34.0))
    if kind == "hoodie":
        pieces.append(_hood(mantle, line, clothes.seed))
    if clothes.necklace and kind in ("crew", "v_neck", "scoop", "open_shirt"):
        found["necklace"] = necklace(mantle, *clothes.jewel)
    found["top"] = made(pieces, fabric.material())
    return {name + key: surface for key, surface in found.items()}


def _hood(mantle: Mantle, line: FloatArray, seed: int) -> Patch:
    """A hood that lies behind the neck: high beside and behind it, its edges meeting in front."""
    back = np.clip(0.5 - 0.5 * np.cos(np.radians(TURNS)), 0.0, 1.0)
    wide = 6.0 + 22.0 * back**0.8
    high = 4.0 + 20.0 * np.sin(np.pi * np.clip(0.62 * back**0.7, 0.0, 1.0))
    return garments.roll(mantle, line - 4.0 + 0.7 * wide, wide, high, seed, 0.3)


def _scarf(drape: Drape, clothes: Clothes, fabric: Fabric) -> Surface:
    """Two turns of a scarf; of a headscarf, which also covers the neck, they lie closer."""
    turns = np.full(len(TURNS), 1.0)
    ahead = np.clip(np.cos(np.radians(TURNS)), 0.0, 1.0)
    pieces = []
    if clothes.headwear == "headscarf":
        inside = drape.torso.down + 30.0
        cloth, neck = garments.body(drape, inside, 4.0, 2.0, 90.0 - drape.torso.down)
        mantle, close = Mantle(drape, cloth), 0.7
        pieces.append(neck)
    else:
        mantle, close = Mantle(drape, drape.cloth(drape.torso.down - 30.0, 8.0, 3.0)), 1.0
    for at, wide, high, seed in (
        (58.0 + 14.0 * ahead, 26.0 + 6.0 * ahead, 20.0 * turns, 0),
        (36.0 + 6.0 * ahead, 22.0 * turns, 18.0 * turns, 2),
    ):
        pieces.append(garments.roll(mantle, at, wide, close * high, clothes.seed + seed, 0.28))
    return made(pieces, fabric.material())


def _jacket(drape: Drape, clothes: Clothes, inside: FloatArray, low: float) -> dict[str, Surface]:
    stiff = Drape(drape.torso, drape.skin, 0.4 * drape.folds, drape.size, stiff=70)
    cloth, piece = garments.body(stiff, inside, 10.0, 4.0, inside)
    skin, mantle = Mantle(drape, drape.fine_skin), Mantle(drape, cloth)
    line = mantle.worn(np.full(len(TURNS), 40.0))
    collar = garments.collar(skin, mantle, line, 50.0, 24.0, 46.0, 8.0, 2.5, 0.5)
    pieces = [piece, *collar, *garments.lapels(drape, cloth, low, 66.0)]
    return {"jacket": made(pieces, clothes.fabric.material())}
