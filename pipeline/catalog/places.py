"""Rooms, streets and parks as a camera sees them out of focus: painted, then blurred.

Simple shapes in linear light, with lights bright enough to become discs once they are spread.
Places are in shares of the canvas: x to the right, y down; the frame is its middle two thirds.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pipeline.geometry import RGB
from pipeline.pixels import Float32
from pipeline.spec import BackgroundKind

_WARM, _WHITE, _RED, _GREEN = (1.0, 0.66, 0.34), (1.0, 0.95, 0.88), (1.0, 0.08, 0.05), (0.1, 1, 0.4)


class Canvas:
    """A square picture `side` px wide, (h, w, 3) float32, and the generator that paints it."""

    def __init__(self, side: int, rng: np.random.Generator) -> None:
        self.side, self.rng = side, rng
        self.image: Float32 = np.zeros((side, side, 3), np.float32)

    def box(self, x: float, y: float, width: float, height: float, color: RGB) -> None:
        first = self._px(x), self._px(y)
        last = self._px(x + width) - 1, self._px(y + height) - 1
        cv2.rectangle(self.image, first, last, color, cv2.FILLED)

    def blob(self, x: float, y: float, wide: float, high: float, color: RGB) -> None:
        axes = max(1, self._px(wide)), max(1, self._px(high))
        cv2.ellipse(self.image, (self._px(x), self._px(y)), axes, 0, 0, 360, color, cv2.FILLED)

    def shaded(self, top: float, bottom: float) -> None:
        """Multiplies by `top` at the top edge to `bottom` at the bottom."""
        self.image *= np.linspace(top, bottom, self.side, dtype=np.float32)[:, None, None]

    def tint(self, value: float, spread: float = 0.15, warm: float = 0.0) -> RGB:
        """A colour about so bright, by chance a little off grey; `warm` takes it to yellow."""
        off = self.rng.uniform(-spread, spread, 3)
        red, green, blue = value * (1 + off + np.array([warm, 0.2 * warm, -warm]))
        return max(float(red), 0.0), max(float(green), 0.0), max(float(blue), 0.0)

    def some(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _px(self, share: float) -> int:
        return round(share * self.side)


def times(color: RGB, factor: float) -> RGB:
    """A colour so many times as bright."""
    return color[0] * factor, color[1] * factor, color[2] * factor


def room(canvas: Canvas, night: bool) -> None:
    """A wall with a window, shelves, pictures, a door, a lamp, a plant, a sofa, or some."""
    light = 0.35 if night else 1.0
    wall = canvas.tint(light * canvas.some(0.14, 0.55), 0.08, 0.25 if night else 0.08)
    canvas.box(0, 0, 1, 1, wall)
    floor = canvas.some(0.72, 0.85)
    canvas.box(0, floor, 1, 1, canvas.tint(light * canvas.some(0.05, 0.25), 0.1, 0.25))
    sides = canvas.rng.permutation([0.06, 0.36, 0.66])
    furniture = [_window, _shelf, _pictures, _door, _shelf, _window]
    chosen = canvas.rng.permutation(len(furniture))[:3]
    for x, which in zip(sides, chosen, strict=True):
        furniture[which](canvas, float(x) + canvas.some(-0.05, 0.05), floor, light, night)
    if canvas.rng.random() < 0.6:
        _sofa(canvas, light)
    if canvas.rng.random() < 0.6:
        _plant(canvas, floor, light)
    if night or canvas.rng.random() < 0.3:
        _floor_lamp(canvas, floor)
    canvas.shaded(canvas.some(0.8, 1.1), canvas.some(0.7, 1.0))


def street(canvas: Canvas, night: bool) -> None:
    """Houses along a road, with windows, trees, cars and, at night, lights of all colours."""
    sky = (0.010, 0.013, 0.022) if night else canvas.tint(canvas.some(0.55, 1.0), 0.04, -0.08)
    canvas.box(0, 0, 1, 1, sky)
    road = canvas.some(0.64, 0.78)
    light = 0.06 if night else 1.0
    x = -0.1
    while x < 1.0:
        width, top = canvas.some(0.12, 0.3), canvas.some(0.02, 0.42)
        _house(canvas, x, top, width, road, light, night)
        x += width * canvas.some(0.85, 1.15)
    canvas.box(0, road, 1, 1, canvas.tint(light * canvas.some(0.08, 0.2), 0.05))
    for _ in range(int(canvas.rng.integers(0, 4))):
        _tree(canvas, canvas.some(0, 1), road, light)
    for _ in range(int(canvas.rng.integers(1, 5))):
        _car(canvas, canvas.some(0, 1), road, light, night)
    for _ in range(int(canvas.rng.integers(8, 22)) if night else int(canvas.rng.integers(0, 4))):
        color = (_WARM, _WHITE, _WARM, _RED, _GREEN)[int(canvas.rng.integers(5))]
        size = canvas.some(0.003, 0.007)
        x, y = canvas.some(0, 1), canvas.some(0.25, road + 0.03)
        canvas.blob(x, y, size, size, times(color, canvas.some(10, 40)))


def park(canvas: Canvas, night: bool) -> None:
    """Leaves before a bright sky, trunks and grass; darker at dusk."""
    canvas.box(0, 0, 1, 1, canvas.tint(canvas.some(0.5, 1.2), 0.05, -0.05))
    grass = canvas.some(0.6, 0.8)
    for layer in range(3):
        shade = (0.03, 0.07, 0.15)[layer]
        for _ in range(int(canvas.rng.integers(90, 150))):
            color = times(_leaf(canvas), shade * canvas.some(0.5, 1.6) * 6)
            x, y = canvas.some(0, 1), canvas.some(-0.05, grass + 0.05)
            canvas.blob(x, y, canvas.some(0.01, 0.06), canvas.some(0.01, 0.05), color)
    for _ in range(int(canvas.rng.integers(1, 5))):
        x, wide = canvas.some(0, 1), canvas.some(0.012, 0.05)
        canvas.box(x, canvas.some(0, 0.3), wide, 1, canvas.tint(0.05, 0.1, 0.3))
    canvas.box(0, grass, 1, 1, times(_leaf(canvas), canvas.some(0.5, 1.1)))
    for _ in range(int(canvas.rng.integers(15, 60))):
        size = canvas.some(0.002, 0.006)
        x, y = canvas.some(0, 1), canvas.some(0, grass)
        canvas.blob(x, y, size, size, canvas.tint(canvas.some(2, 9), 0.08, 0.1))
    if night:
        canvas.image *= np.array([0.10, 0.12, 0.17], np.float32)


def _leaf(canvas: Canvas) -> RGB:
    """Green from yellowish to bluish, of a luminance of about 0.2."""
    yellow = canvas.some(0.2, 0.8)
    return 0.10 + 0.14 * yellow, 0.24, 0.03 + 0.06 * (1 - yellow)


def _window(canvas: Canvas, x: float, floor: float, light: float, night: bool) -> None:
    y, width, height = canvas.some(0.1, 0.25), canvas.some(0.16, 0.3), canvas.some(0.3, 0.45)
    frame = canvas.tint(0.5 * light, 0.05)
    canvas.box(x - 0.012, y - 0.012, width + 0.024, height + 0.024, frame)
    outside = (0.01, 0.014, 0.03) if night else canvas.tint(canvas.some(1.2, 3.5), 0.04, -0.06)
    canvas.box(x, y, width, height, outside)
    if night:
        for _ in range(int(canvas.rng.integers(2, 9))):
            at = x + canvas.some(0.1, 0.9) * width, y + canvas.some(0.4, 0.95) * height
            canvas.blob(*at, 0.004, 0.004, times(_WARM, canvas.some(4, 20)))
    elif canvas.rng.random() < 0.7:
        for _ in range(30):
            at = x + canvas.some(0.1, 0.9) * width, y + canvas.some(0.6, 0.95) * height
            canvas.blob(*at, 0.02, 0.02, times(_leaf(canvas), canvas.some(0.8, 3.0)))
    canvas.box(x + width / 2 - 0.005, y, 0.01, height, frame)
    canvas.box(x, y + 0.35 * height, width, 0.01, frame)
    if canvas.rng.random() < 0.5:
        cloth = canvas.tint(canvas.some(0.2, 0.6) * light, 0.2, 0.1)
        canvas.box(x - 0.05, y - 0.03, 0.07, floor - y, cloth)
        canvas.box(x + width - 0.02, y - 0.03, 0.07, floor - y, cloth)


def _shelf(canvas: Canvas, x: float, floor: float, light: float, night: bool) -> None:
    wood = canvas.tint(canvas.some(0.06, 0.3) * light, 0.1, 0.35)
    top, width = canvas.some(0.08, 0.25), canvas.some(0.18, 0.3)
    canvas.box(x, top, width, floor - top, times(wood, 0.5))
    y, step = top, canvas.some(0.09, 0.13)
    while y + step < floor:
        at = x + 0.005
        while at < x + width - 0.01:
            wide, high = canvas.some(0.006, 0.02), step * canvas.some(0.5, 0.9)
            color = canvas.tint(canvas.some(0.03, 0.5) * light, 0.6)
            if canvas.rng.random() < 0.85:
                canvas.box(at, y + step - high, wide, high, color)
            at += wide
        canvas.box(x, y + step - 0.006, width, 0.012, wood)
        y += step


def _pictures(canvas: Canvas, x: float, floor: float, light: float, night: bool) -> None:
    for row in range(int(canvas.rng.integers(1, 3))):
        at = x
        for _ in range(int(canvas.rng.integers(1, 4))):
            width, height = canvas.some(0.06, 0.13), canvas.some(0.07, 0.15)
            y = 0.2 + 0.2 * row + canvas.some(-0.02, 0.02)
            canvas.box(at, y, width, height, canvas.tint(canvas.some(0.02, 0.5) * light, 0.1))
            inner = canvas.tint(canvas.some(0.1, 0.7) * light, 0.5)
            canvas.box(at + 0.012, y + 0.012, width - 0.024, height - 0.024, inner)
            at += width + 0.03


def _door(canvas: Canvas, x: float, floor: float, light: float, night: bool) -> None:
    wood = canvas.tint(canvas.some(0.1, 0.6) * light, 0.08, 0.2)
    canvas.box(x, 0.12, 0.22, floor - 0.12, times(wood, 0.7))
    canvas.box(x + 0.012, 0.132, 0.196, floor - 0.132, wood)
    canvas.blob(x + 0.19, 0.5, 0.006, 0.006, times(_WHITE, 1.5 * light))


def _sofa(canvas: Canvas, light: float) -> None:
    color = canvas.tint(canvas.some(0.04, 0.35) * light, 0.4)
    x, width = canvas.some(-0.1, 0.5), canvas.some(0.4, 0.7)
    canvas.box(x, 0.68, width, 0.3, color)
    canvas.blob(x + width * canvas.some(0.2, 0.8), 0.74, 0.07, 0.06, canvas.tint(0.4 * light, 0.6))


def _plant(canvas: Canvas, floor: float, light: float) -> None:
    x = canvas.some(0.1, 0.9)
    canvas.box(x - 0.03, floor - 0.05, 0.06, 0.08, canvas.tint(0.3 * light, 0.3, 0.2))
    for _ in range(40):
        at = x + canvas.rng.normal(0, 0.05), floor - 0.2 + canvas.rng.normal(0, 0.08)
        canvas.blob(*at, 0.02, 0.012, times(_leaf(canvas), light * canvas.some(0.3, 1.4)))


def _floor_lamp(canvas: Canvas, floor: float) -> None:
    x, y = canvas.some(0.08, 0.92), canvas.some(0.2, 0.42)
    side = canvas.side
    rows, columns = np.mgrid[:side, :side].astype(np.float32) / np.float32(side)
    glow = 0.35 * np.exp(-np.hypot(columns - x, rows - y) / 0.12)
    canvas.image += glow[..., None] * np.array(_WARM, np.float32)
    canvas.box(x - 0.004, y, 0.008, floor - y, (0.05, 0.05, 0.05))
    canvas.box(x - 0.05, y - 0.04, 0.1, 0.09, times(_WARM, canvas.some(2.0, 5.0)))


def _house(
    canvas: Canvas, x: float, top: float, width: float, road: float, light: float, night: bool
) -> None:
    wall = canvas.tint(canvas.some(0.12, 0.5) * light, 0.12, 0.12)
    canvas.box(x, top, width, road - top, wall)
    wide, high = canvas.some(0.018, 0.035), canvas.some(0.025, 0.05)
    across, down = np.arange(x + 0.02, x + width - wide, wide * 1.9), np.arange(
        top + 0.03, road - high, high * 1.8
    )
    lit = canvas.some(0.1, 0.45)
    for at in across:
        for y in down:
            glass = canvas.tint(canvas.some(0.03, 0.25) * light, 0.1, -0.15)
            if night and canvas.rng.random() < lit:
                glass = times(_WARM, canvas.some(0.4, 2.5))
            canvas.box(float(at), float(y), wide, high, glass)
    if canvas.rng.random() < 0.6:
        front = canvas.tint(canvas.some(0.05, 0.4) * light, 0.6)
        if night:
            front = times(canvas.tint(1.0, 0.5, 0.2), canvas.some(0.3, 2.0))
        canvas.box(x + 0.01, road - 0.11, width - 0.02, 0.08, front)


def _tree(canvas: Canvas, x: float, road: float, light: float) -> None:
    canvas.box(x - 0.008, road - 0.25, 0.016, 0.27, canvas.tint(0.05 * light, 0.1, 0.3))
    for _ in range(70):
        at = x + canvas.rng.normal(0, 0.05), road - 0.33 + canvas.rng.normal(0, 0.07)
        canvas.blob(*at, 0.025, 0.02, times(_leaf(canvas), light * canvas.some(0.25, 1.3)))


def _car(canvas: Canvas, x: float, road: float, light: float, night: bool) -> None:
    color = canvas.tint(canvas.some(0.03, 0.5) * light, 0.5)
    y, width = road + canvas.some(0.0, 0.06), canvas.some(0.12, 0.2)
    canvas.box(x, y - 0.045, width, 0.06, color)
    canvas.box(x + 0.2 * width, y - 0.085, 0.6 * width, 0.045, canvas.tint(0.06 * light, 0.1))
    lamp, strength = (_WHITE, _RED)[int(canvas.rng.integers(2))], canvas.some(8, 30)
    for at in (x + 0.08 * width, x + 0.92 * width):
        canvas.blob(at, y - 0.02, 0.006, 0.006, times(lamp, strength if night else 0.1 * strength))


#: How each place is painted.
PLACES: dict[BackgroundKind, Callable[[Canvas, bool], None]] = {
    "room": room,
    "street": street,
    "park": park,
}
