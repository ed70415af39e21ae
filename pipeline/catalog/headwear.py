"""Hats, caps, headbands and headscarves, fitted to a person's skull."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates, maximum_filter
from scipy.sparse import csr_matrix

from pipeline.catalog.chart import Chart
from pipeline.catalog.cloth import Patch, made, sheet, tube
from pipeline.catalog.fields import atan2
from pipeline.catalog.sweep import ellipsoid
from pipeline.catalog.torso import wavy
from pipeline.geometry import FloatArray, Material, Surface

#: The chart's middle on the average head, mm, and its nodes: degrees about the vertical, 0 in
#: front and 90 to the left, and from straight up.
_MIDDLE = np.array([0.0, 15.0, -68.0])
_TURNS = np.arange(-180.0, 180.0, 5.0)
_TILTS = np.arange(0.0, 114.0, 3.0)
#: Lower edge before the forehead, above the ears and behind, mm on the average head, where brows
#: reach up to 23 and ears to 4. What glasses are pushed up would go through
#: them, see `pipeline.catalog.clothes.Clothes`; temples go under those that reach ears.
EDGES: Mapping[str, tuple[float, float, float]] = {
    "cap": (51.0, 22.0, -8.0),
    "beanie": (46.0, 17.0, -14.0),
    "hat": (50.0, 25.0, -2.0),
    "headband": (48.0, 19.0, -12.0),
}
#: Room for hair that a hat presses flat, and for its lining (mm).
_ROOM_MM = 6.0
_BAND_MM = 34.0


@dataclass(frozen=True, eq=False)
class Skull:
    """One chart for all people: map (turns * tilts, n) from skin, and where its nodes lie at rest.

    head: vertices of the head without neck and mouth, and where they lie at rest, (j, 3) mm.
    """

    to_nodes: csr_matrix
    rest: FloatArray
    head: NDArray[np.int64]
    head_rest: FloatArray

    def edge(self, turn: FloatArray, height: FloatArray) -> FloatArray:
        """Degrees from straight up at which the skull is at `height` mm, each (turns,)."""
        heights = -self.rest.reshape(len(_TURNS), len(_TILTS), 3)[..., 1]
        asked = np.interp(_TURNS, turn, height)
        found = [
            np.interp(-h, np.maximum.accumulate(column), _TILTS)
            for h, column in zip(asked, heights, strict=True)
        ]
        return np.asarray(found)


def find_skull(rest: FloatArray, attributes: Mapping[str, NDArray[np.float32]]) -> Skull:
    """The chart of skin with vertices at `rest` (n, 3) mm."""
    x, y, z = (rest - _MIDDLE).T
    face = (rest[:, 2] > -12.0) & (rest[:, 1] < 24.0)
    inner = (attributes["ears"] > 0.02) | (attributes["mouth_inside"] > 0.02)
    used = np.flatnonzero((rest[:, 1] > -60.0) & ~face & ~inner)
    turn, tilt = atan2(x, z)[used], np.degrees(atan2(np.hypot(x, z), y))[used]
    flat = np.stack([tilt * np.sin(turn), tilt * np.cos(turn)], axis=1)
    turns, tilts = np.meshgrid(np.radians(_TURNS), _TILTS, indexing="ij")
    places = np.stack([(tilts * np.sin(turns)).ravel(), (tilts * np.cos(turns)).ravel()], axis=1)
    to_nodes = Chart(flat, used, len(rest)).at(places)
    head = np.flatnonzero((rest[:, 1] > -112.0) & (attributes["mouth_inside"] < 0.02))
    return Skull(to_nodes, to_nodes @ rest, head, rest[head])


class Dome:
    """One person's skull, somewhat evened."""

    def __init__(self, skull: Skull, skin: FloatArray) -> None:
        self.skull = skull
        points = skull.to_nodes @ skin
        self.middle = _MIDDLE + (points - skull.rest).mean(axis=0)
        arms = (points - self.middle).reshape(len(_TURNS), len(_TILTS), 3)
        reach = np.linalg.norm(arms, axis=2)
        even = gaussian_filter1d(gaussian_filter1d(reach, 2.0, axis=0, mode="wrap"), 2.0, axis=1)
        # Cloth spans hollows and does not cut off bumps.
        even = np.maximum(even, reach)
        self._reach = gaussian_filter1d(even, 1.0, axis=1)
        self._ways = arms / reach[..., None]

    def at(self, tilt: FloatArray, lift: FloatArray | float) -> FloatArray:
        """(turns, k, 3) points `lift` mm over the skull at `tilt`, (turns, k) degrees."""
        rows = np.broadcast_to(np.arange(len(_TURNS))[:, None], tilt.shape)
        places = [rows, tilt / (_TILTS[1] - _TILTS[0])]
        ways = np.stack(
            [
                map_coordinates(self._ways[..., i], places, order=1, mode="nearest")
                for i in range(3)
            ],
            axis=-1,
        )
        reach = map_coordinates(self._reach, places, order=1, mode="nearest")
        return np.asarray(self.middle + ways * (reach + lift)[..., None])


def edge_height(kind: str, turn: FloatArray) -> FloatArray:
    """mm on the average head of the lower edge at `turn` degrees about the vertical."""
    front, side, back = EDGES[kind]
    ahead = np.cos(np.radians(turn))
    return np.asarray(
        side
        + (front - side) * np.clip(ahead, 0.0, 1.0) ** 1.4
        + (back - side) * np.clip(-ahead, 0.0, 1.0) ** 1.3
    )


def hidden_share(kind: str, rest: FloatArray) -> NDArray[np.float32]:
    """(n,) 0..1, see `clothes.hidden_hair`."""
    if kind == "headscarf":
        return np.ones(len(rest), np.float32)
    if kind not in EDGES:
        return np.zeros(len(rest), np.float32)
    x, _, z = (rest - _MIDDLE).T
    over = rest[:, 1] - edge_height(kind, np.degrees(atan2(x, z)))
    share = np.clip((over + 2.0) / 5.0, 0.0, 1.0)
    if kind == "headband":
        share = np.minimum(share, np.clip((_BAND_MM + 2.0 - over) / 5.0, 0.0, 1.0))
    return share.astype(np.float32)


def headwear(
    kind: str, skull: Skull, skin: FloatArray, material: Material, band: Material, seed: int
) -> dict[str, Surface]:
    """What is worn on the head with skin (n, 3) mm. band: of ribbons and of what is ribbed."""
    if kind == "headscarf":
        return {"headscarf": made([_headscarf(skull, skin, seed)], material)}
    dome = Dome(skull, skin)
    edge = skull.edge(_TURNS, edge_height(kind, _TURNS))
    if kind == "cap":
        return {"cap": made(_cap(dome, edge), material)}
    if kind == "beanie":
        crown, cuff = _beanie(dome, edge, seed)
        return {"beanie": made([crown], material), "cuff": made([cuff], band)}
    if kind == "hat":
        crown, ribbon, brim = _hat(dome, edge)
        return {"hat": made([crown, brim], material), "ribbon": made([ribbon], band)}
    high = skull.edge(_TURNS, edge_height(kind, _TURNS) + _BAND_MM)
    return {"headband": made([_headband(dome, edge, high)], material)}


def _rows(edge: FloatArray, share: FloatArray) -> FloatArray:
    """(turns, k) degrees: `share` 0 at the edge, 1 at the top."""
    return np.asarray(edge[:, None] * (1.0 - share))


def _place(tilt: FloatArray) -> FloatArray:
    along = np.broadcast_to(np.radians(_TURNS)[:, None] * 92.0, tilt.shape)
    return np.stack([along, -1.7 * tilt, np.zeros_like(tilt)], axis=-1).reshape(-1, 3)


def _shell(dome: Dome, edge: FloatArray, share: FloatArray, lift: FloatArray) -> Patch:
    """Cloth from the edge, where it turns in to the skull, to the top."""
    tilt = _rows(edge, np.concatenate([[0.02, 0.0, -0.005], share]))
    inward = np.broadcast_to([-1.0, 0.5, 2.5], (len(_TURNS), 3))
    lifts = np.concatenate([inward, np.broadcast_to(lift, (len(_TURNS), len(share)))], axis=1)
    vertices, faces = tube(dome.at(tilt, lifts))
    return vertices, faces[:, ::-1], _place(tilt)


def _cap(dome: Dome, edge: FloatArray) -> list[Patch]:
    share = np.linspace(0.0, 1.0, 26)
    ahead = np.clip(np.cos(np.radians(_TURNS)), 0.0, 1.0)[:, None]
    lift = _ROOM_MM - 2.0 + 9.0 * np.sin(np.pi * 0.5 * share) + 7.0 * ahead * np.sin(np.pi * share)
    lift = lift - 1.1 * (np.abs((_TURNS + 30.0) % 60.0 - 30.0) < 3.0)[:, None]
    crown = _shell(dome, edge, share, lift)
    top = dome.at(np.zeros((len(_TURNS), 1)), float(lift[:, -1].mean()))[:, 0].mean(axis=0)
    button = ellipsoid(top + np.array([0.0, 1.0, 0.0]), np.diag([7.0, 7.0, 3.5]), rows=8)
    front = np.flatnonzero(np.abs(_TURNS) <= 65.0)
    out = np.linspace(0.0, 1.0, 12)
    base = dome.at(edge[:, None], _ROOM_MM - 3.0)[front]
    aside = np.abs(_TURNS[front, None]) / 67.0
    length = 70.0 * (1.0 - aside**2) ** 0.55 * out
    brim = base + length[..., None] * np.array([0.0, -0.06, 1.0])
    brim[..., 1] -= 7.0 * aside**2 * out + 1.5
    body = sheet(brim, 3.0)
    place = np.concatenate([brim.reshape(-1, 3)] * 2)
    return [
        crown,
        (button.vertices, button.faces, button.vertices),
        (body.vertices, body.faces, place),
    ]


def _beanie(dome: Dome, edge: FloatArray, seed: int) -> tuple[Patch, Patch]:
    share = np.linspace(0.0, 1.0, 30)
    slack = np.interp(share, [0.0, 0.5, 0.85, 1.0], [0.0, 3.0, 14.0, 20.0])
    tilt = _rows(edge, share)
    turn = np.radians(_TURNS)[:, None]
    ways = np.stack([np.sin(turn) * tilt, np.cos(turn) * tilt, np.zeros_like(tilt)], axis=-1)
    noise = wavy(ways.reshape(-1, 3), (28.0, 28.0, 28.0), seed).reshape(tilt.shape)
    lift = _ROOM_MM + slack + noise * np.interp(share, [0.2, 0.7, 1.0], [0.0, 2.2, 0.0])
    crown = _shell(dome, edge, share, lift)
    rows = np.array([0.03, 0.0, -0.01, 0.0, 0.08, 0.2, 0.34, 0.42, 0.44, 0.43, 0.40])
    over = np.array([-1.0, 0.0, 4.0, 8.0, 10.0, 10.5, 11.0, 11.0, 9.5, 8.0, 5.0])
    tilt = _rows(edge, rows)
    vertices, faces = tube(dome.at(tilt, np.broadcast_to(over, tilt.shape)))
    return crown, (vertices, faces[:, ::-1], _place(tilt))


def _hat(dome: Dome, edge: FloatArray) -> tuple[Patch, Patch, Patch]:
    share = np.linspace(0.0, 1.0, 30)
    # The crown rises steeply and is pinched along its middle.
    rise = 52.0 * np.clip(share / 0.62, 0.0, 1.0) ** 1.2
    pinch = 16.0 * np.exp(-(((1.0 - share) / 0.28) ** 2))
    aside = np.abs(np.sin(np.radians(_TURNS)))[:, None]
    lift = _ROOM_MM - 2.0 + rise - pinch - 5.0 * aside * np.sin(np.pi * share)
    crown = _shell(dome, edge, share, lift)
    rows = np.linspace(0.0, 0.26, 8)
    tilt = _rows(edge, rows)
    on = np.stack([np.interp(rows, share, each) for each in lift]) + 1.2
    on[:, 0] -= 2.0
    on[:, -1] -= 2.0
    vertices, faces = tube(dome.at(tilt, on))
    out = np.linspace(0.0, 1.0, 10)
    base = dome.at(edge[:, None], _ROOM_MM - 3.0)
    flat = base[:, 0] - dome.middle
    flat[:, 1] = 0.0
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    brim = base + 58.0 * out[None, :, None] * flat[:, None]
    brim[..., 1] += (14.0 * aside - 6.0 * (1.0 - aside)) * out**2
    body = sheet(brim, 2.5, closed=True)
    place = np.concatenate([brim.reshape(-1, 3)] * 2)
    return crown, (vertices, faces[:, ::-1], _place(tilt)), (body.vertices, body.faces, place)


def _headband(dome: Dome, low: FloatArray, high: FloatArray) -> Patch:
    rows = np.array([0.0, 0.0, 0.04, 0.12, 0.35, 0.65, 0.88, 0.96, 1.0, 1.0])
    lift = np.array([-1.0, 1.5, 3.6, 4.6, 5.0, 5.0, 4.6, 3.6, 1.5, -1.0])
    tilt = low[:, None] + (high - low)[:, None] * rows
    vertices, faces = tube(dome.at(tilt, np.broadcast_to(lift, tilt.shape)))
    return vertices, faces[:, ::-1], _place(tilt)


#: The headscarf's chart: its middle on the head, nodes about the axis to the front and from it.
_SCARF_MIDDLE = np.array([0.0, -14.0, -60.0])
_AROUND = np.arange(-180.0, 180.0, 5.0)
_BACKWARD = np.arange(2.5, 180.0, 5.0)


def _headscarf(skull: Skull, skin: FloatArray, seed: int) -> Patch:
    """Cloth round the face and over the ears, down to below the chin."""
    head = skin[skull.head]
    middle = _SCARF_MIDDLE + (head - skull.head_rest).mean(axis=0)
    arms = head - middle
    reach = np.linalg.norm(arms, axis=1)
    back = np.degrees(np.arccos(np.clip(arms[:, 2] / reach, -1.0, 1.0)))
    around = np.degrees(atan2(arms[:, 0], arms[:, 1]))
    grid = np.zeros((len(_AROUND), len(_BACKWARD)))
    bins = ((around + 180.0) / 5.0).astype(int) % len(_AROUND), (back / 5.0).astype(int)
    # Below, the neck goes on: cloth falls over it as wide as the jaw.
    np.maximum.at(grid, bins, np.minimum(reach, 125.0))
    grid = maximum_filter(grid, 3, mode=("wrap", "nearest"))
    grid = gaussian_filter1d(gaussian_filter1d(grid, 2.0, axis=0, mode="wrap"), 1.6, axis=1)
    turn = np.radians(_AROUND)[:, None]
    # The oval about the face: wide at the cheeks, high on the forehead, under the chin.
    oval = np.interp(np.abs(_AROUND), [0, 35, 70, 100, 130, 155, 180], [40, 50, 57, 60, 60, 57, 54])
    oval = gaussian_filter1d(oval, 1.5, mode="wrap")[:, None]
    share = np.concatenate([[0.03, 0.0], np.linspace(0.0, 1.0, 34)])
    tilt = oval + (179.0 - oval) * share
    places = [np.broadcast_to(np.arange(len(_AROUND))[:, None], tilt.shape), (tilt - 2.5) / 5.0]
    over = map_coordinates(grid, places, order=1, mode="nearest")
    flat = np.stack([np.sin(turn) * tilt, np.cos(turn) * tilt, np.zeros_like(tilt)], axis=-1)
    noise = wavy(flat.reshape(-1, 3), (40.0, 13.0, 20.0), seed).reshape(tilt.shape)
    lift = np.interp(share, [0.0, 0.06, 0.3, 1.0], [2.0, 4.5, 6.0, 8.0]) + 2.0 * noise * np.clip(
        4.0 * share, 0.0, 1.0
    )
    # Ears and the ends of temples have room under it.
    aside = np.exp(-(((np.abs(_AROUND)[:, None] - 92.0) / 30.0) ** 2))
    lift += 9.0 * aside * np.exp(-(((tilt - 112.0) / 26.0) ** 2))
    # It falls from the jaw, and so meets what covers the neck.
    under = np.clip(-np.cos(turn), 0.0, 1.0)
    lift += 16.0 * under * np.exp(-(((tilt - 100.0) / 24.0) ** 2))
    lift[:, 0] = -2.0
    out = np.radians(tilt)
    ways = np.stack([np.sin(turn) * np.sin(out), np.cos(turn) * np.sin(out), np.cos(out)], axis=-1)
    vertices, faces = tube(middle + ways * (over + lift)[..., None])
    return vertices, faces, flat.reshape(-1, 3)
