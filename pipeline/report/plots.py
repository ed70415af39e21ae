"""Plots as inline SVG: arrays in, text out. Colours come from the page's style.

All sizes are px of the picture's own coordinates, which the page scales to its column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 380, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 10, 26
_BINS = 32
_CELLS = (30, 24)
_ROW, _LABEL, _FIGURES = 20, 132, 84
#: Steps of an axis, times a power of ten.
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high, at most `most` + 1; low < high."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * s for s in _STEPS if power * s >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float, span: float) -> str:
    """A number as people write it, to about a thousandth of a span; with a real minus."""
    digits = min(max(2 - math.floor(math.log10(span)), 0), 4) if span > 0 else 3
    text = f"{round(value, digits) + 0.0:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def measured(value: float, span: float, unit: str) -> str:
    """A number with its unit."""
    return f"{number(value, span)}{'' if unit in ('°', '%', '') else ' '}{unit}"


def histogram(values: NDArray[np.float64], label: str, unit: str) -> str:
    """How often values occur, as shares of all, with the median; values must differ."""
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, _BINS, (low, high))
    share = 100 * counts / len(values)
    top = max(float(share.max()), 1e-9) * 1.05
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def shown(value: float) -> str:
        return measured(value, high - low, unit)

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * wide

    def y(percent: float) -> float:
        return _TOP + (1 - percent / top) * tall

    parts = [_percent_axis(top, y)]
    for part, start, end, count in zip(share, edges[:-1], edges[1:], counts, strict=True):
        if count:
            hint = f"{shown(start)} to {shown(end)}: {count} ({part:.1f}%)"
            parts.append(
                f'<rect class="bar" x="{x(start) + 0.5:.1f}" y="{y(part):.1f}" '
                f'width="{wide / _BINS - 1:.1f}" height="{_TOP + tall - y(part):.1f}">'
                f"<title>{escape(hint)}</title></rect>"
            )
    middle = x(float(np.median(values)))
    parts.append(
        f'<line class="median" x1="{middle:.1f}" x2="{middle:.1f}" y1="{_TOP}" y2="{_TOP + tall}"/>'
    )
    parts += [
        _text(x(tick), HEIGHT - 8, "middle", number(tick, high - low)) for tick in ticks(low, high)
    ]
    said = f"{label}: {spread(values, unit)}"
    return _svg(WIDTH, HEIGHT, said, parts)


def bars(rows: Sequence[tuple[str, int]], label: str, swatches: Sequence[str] = ()) -> str:
    """A bar for each named count, in the order given. swatches: CSS colours of the bars."""
    total, most = sum(n for _, n in rows), max(n for _, n in rows)
    wide = WIDTH - _LABEL - _FIGURES
    parts = []
    for place, (name, count) in enumerate(rows):
        top = place * _ROW
        colour = f' style="fill:{swatches[place]}"' if swatches else ""
        share = f"{count / total:.1%}"
        parts.append(
            f"<g><title>{escape(name)}: {count} ({share})</title>"
            f'<text x="{_LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect class="bar" x="{_LABEL}" y="{top + 3}" '
            f'width="{wide * count / most:.1f}" height="{_ROW - 6}" rx="2"{colour}/>'
            f'<text class="figure" x="{WIDTH - 4}" y="{top + 14}" text-anchor="end">'
            f'{count}<tspan class="quiet"> · {share}</tspan></text></g>'
        )
    said = f"{label}: " + ", ".join(f"{name} {count / total:.1%}" for name, count in rows)
    return _svg(WIDTH, len(rows) * _ROW, said, parts)


def heat_map(
    across: NDArray[np.float64], up: NDArray[np.float64], labels: tuple[str, str], unit: str
) -> str:
    """How often two values occur together; the fuller a cell, the more samples."""
    height = WIDTH - 80
    spans = [(float(v.min()), float(v.max())) for v in (across, up)]
    counts, xs, ys = np.histogram2d(across, up, _CELLS, spans)
    wide, tall = WIDTH - _LEFT - _RIGHT, height - _TOP - 40
    step_x, step_y = wide / _CELLS[0], tall / _CELLS[1]

    def shown(value: float, axis: int) -> str:
        return measured(value, spans[axis][1] - spans[axis][0], unit)

    def along(value: float, axis: int) -> float:
        return (value - spans[axis][0]) / (spans[axis][1] - spans[axis][0])

    parts = [f'<rect class="ground" x="{_LEFT}" y="{_TOP}" width="{wide}" height="{tall}"/>']
    for i, j in np.argwhere(counts > 0):
        hint = (
            f"{labels[0]} {shown(xs[i], 0)} to {shown(xs[i + 1], 0)}, "
            f"{labels[1]} {shown(ys[j], 1)} to {shown(ys[j + 1], 1)}: {int(counts[i, j])}"
        )
        # A lone sample must be seen beside a thousand.
        full = 0.15 + 0.85 * math.sqrt(counts[i, j] / counts.max())
        parts.append(
            f'<rect class="bar" fill-opacity="{full:.2f}" x="{_LEFT + i * step_x:.1f}" '
            f'y="{_TOP + tall - (j + 1) * step_y:.1f}" width="{step_x - 0.6:.1f}" '
            f'height="{step_y - 0.6:.1f}"><title>{escape(hint)}</title></rect>'
        )
    for tick in ticks(*spans[0]):
        x = _LEFT + along(tick, 0) * wide
        parts.append(_text(x, _TOP + tall + 15, "middle", shown(tick, 0)))
    for tick in ticks(*spans[1], 5):
        y = _TOP + (1 - along(tick, 1)) * tall
        parts.append(_text(_LEFT - 6, y + 4, "end", shown(tick, 1)))
    parts.append(_text(_LEFT + wide / 2, height - 6, "middle", labels[0]))
    turned = f"translate(11 {_TOP + tall / 2}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(labels[1])}</text>')
    said = f"{labels[0]} against {labels[1]} of {len(across)} samples"
    return _svg(WIDTH, height, said, parts)


def spread(values: NDArray[np.float64], unit: str) -> str:
    """Median and the range of nine in ten values, in words."""
    span = float(np.ptp(values))
    low, middle, high = (measured(v, span, unit) for v in np.percentile(values, (5, 50, 95)))
    return f"median {middle}; nine in ten from {low} to {high}"


def _percent_axis(top: float, y: Callable[[float], float]) -> str:
    marks = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        + _text(_LEFT - 6, y(t) + 4, "end", measured(t, top, "%"))
        for t in ticks(0, top, 4)
    ]
    return "".join(marks)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, said: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(said)}">'
        f"{''.join(parts)}</svg>"
    )


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
