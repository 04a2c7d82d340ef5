"""Explanations as SVG: no script, no style sheet needed, named and described for who does not see it.

Classes let a page's own sheet change the colours; the attributes are for the file alone and for paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from explanations.wording import label_of, number, signed

WIDTH, LABELS, MARGIN, RIGHT = 760, 250, 16, 70
LINE, BAR = 30, 18
SHOWN = 12
UP, DOWN, INK, QUIET, GRID = "#b8430a", "#0b6873", "#1f2a2e", "#5b686d", "#d5dcde"
LOW_VALUE, HIGH_VALUE = (46, 116, 181), (190, 48, 84)
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MOST_LETTERS = 34


def waterfall(answer: Mapping[str, Any], *, title: str, unit: str = "", name: str = "waterfall") -> str:
    """From the base, one bar after the other, to the prediction; what is beyond the largest twelve is one bar."""
    base, value = answer["metadata"]["base_value"], answer["metadata"]["prediction_value"]
    parts = _largest(answer["feature_importances"])
    reached = base + np.cumsum([0.0, *(part["contribution"] for part in parts)])
    x = _Scale(float(reached.min()), float(reached.max()), LABELS, WIDTH - RIGHT)
    height = 2 * MARGIN + LINE * (len(parts) + 2)
    body = [_line(x.at(base), MARGIN + LINE / 2, x.at(base), height - MARGIN - LINE / 2)]
    body += _row(0, "base", None, _text(x.at(base), _middle(0), number(base), "middle"))
    for index, part in enumerate(parts, start=1):
        start, end = float(reached[index - 1]), float(reached[index])
        body += _row(index, part["feature_name"], part["value"], _bar(x, start, end, index, part))
    last = len(parts) + 1
    end = answer["metadata"]["output"].removeprefix("the ")
    label = end if end in ("reading", "median") else "prediction"
    body += _row(last, label, None, _text(x.at(value), _middle(last), number(value), "middle", bold=True))
    return _svg(name, height, title, _in_words(answer, unit), body)


def force(answer: Mapping[str, Any], *, title: str, unit: str = "", name: str = "force") -> str:
    """What pushes up ends at the prediction from the left, what pushes down begins there."""
    base, value = answer["metadata"]["base_value"], answer["metadata"]["prediction_value"]
    parts = _largest(answer["feature_importances"])
    ups = [part for part in parts if part["contribution"] > 0]
    downs = [part for part in parts if part["contribution"] < 0]
    low = value - sum(part["contribution"] for part in ups)
    high = value - sum(part["contribution"] for part in downs)
    x = _Scale(min(low, base), max(high, base), MARGIN + 20, WIDTH - MARGIN - 20)
    top = 64
    body: list[str] = []
    for group, kind in ((ups, "up"), (downs, "down")):
        edge = value
        for part in group:
            start, end = (
                (edge - part["contribution"], edge) if kind == "up" else (edge, edge - part["contribution"])
            )
            edge = start if kind == "up" else end
            body += _segment(x, start, end, top, kind, part)
    body += [
        _line(x.at(base), top - 14, x.at(base), top + 44),
        _text(x.at(base), top - 20, f"base {number(base)}", "middle", quiet=True),
        _line(x.at(value), top - 14, x.at(value), top + 36, strong=True),
        _text(x.at(value), top - 36, f"{number(value)}{' ' + unit if unit else ''}", "middle", bold=True),
    ]
    return _svg(name, 150, title, _in_words(answer, unit), body)


def beeswarm(swarm: Mapping[str, Any], *, title: str, description: str, name: str = "beeswarm") -> str:
    """A line for each feature, a dot for each row: where it stands is what the feature added there, its colour
    the feature's value from low to high."""
    lines = swarm.get("lines", [])
    every = [amount for line in lines for amount in line["contributions"]] or [0.0]
    x = _Scale(min(0.0, *every), max(0.0, *every), LABELS, WIDTH - RIGHT)
    height = 2 * MARGIN + LINE * len(lines) + 44
    bottom = MARGIN + LINE * len(lines)
    body = [_line(x.at(0.0), MARGIN, x.at(0.0), bottom)]
    for index, line in enumerate(lines):
        middle = _middle(index)
        body.append(_label(line["name"], None, middle))
        body += _dots(x, line, middle)
    for at in x.ticks():
        body.append(_text(x.at(at), bottom + 16, signed(at) if at else "0", "middle", quiet=True))
    body.append(_text(LABELS, bottom + 36, "● low value", "start", fill=_shade(0.0)))
    body.append(_text(LABELS + 90, bottom + 36, "● high value", "start", fill=_shade(1.0)))
    return _svg(name, height, title, description, body)


class _Scale:
    """Values to places between two edges."""

    def __init__(self, low: float, high: float, left: float, right: float) -> None:
        size = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-300)
        self.low, self.high = low - 0.04 * size, high + 0.04 * size
        self.left, self.right = left, right

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)

    def ticks(self) -> list[float]:
        rough = (self.high - self.low) / 5
        step = 10.0 ** np.floor(np.log10(rough))
        step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
        first = np.ceil(self.low / step) * step
        return [float(tick) for tick in np.arange(first, self.high, step).round(12)]


def _largest(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What people call the same is one bar, the largest first; a value is told of what stands alone."""
    by_label: dict[str, dict[str, Any]] = {}
    for part in parts:
        name = part["feature_name"]
        known = by_label.setdefault(
            label_of(name), {"feature_name": name, "value": part["value"], "contribution": 0.0}
        )
        known["contribution"] += part["contribution"]
        if known["feature_name"] != name:
            known["value"] = None
    moving = [part for part in by_label.values() if part["contribution"] != 0]
    moving.sort(key=lambda part: -abs(part["contribution"]))
    if len(moving) <= SHOWN:
        return moving
    rest = moving[SHOWN - 1 :]
    amount = sum(part["contribution"] for part in rest)
    return [
        *moving[: SHOWN - 1],
        {"feature_name": f"{len(rest)} others", "value": None, "contribution": amount},
    ]


def _middle(index: int) -> float:
    return MARGIN + LINE * index + LINE / 2


def _row(index: int, label: str, value: float | None, drawn: str) -> list[str]:
    return [_label(label, value, _middle(index)), drawn]


def _label(name: str, value: float | None, middle: float) -> str:
    words = label_of(name)
    said = words if len(words) <= MOST_LETTERS else f"{words[: MOST_LETTERS - 1]}…"
    full = name if value is None else f"{name} = {number(value)}"
    text = _text(LABELS - 12, middle, said, "end")
    return text.replace("</text>", f"<title>{_clean(full)}</title></text>")


def _bar(x: _Scale, start: float, end: float, index: int, part: Mapping[str, Any]) -> str:
    kind = "up" if end >= start else "down"
    left, right = sorted((x.at(start), x.at(end)))
    middle, half = _middle(index), BAR / 2
    tip = min(6.0, (right - left) / 2)
    if kind == "up":
        points = [(left, -half), (right - tip, -half), (right, 0), (right - tip, half), (left, half)]
    else:
        points = [(right, -half), (left + tip, -half), (left, 0), (left + tip, half), (right, half)]
    corners = " ".join(f"{at:.1f},{middle + off:.1f}" for at, off in points)
    shape = f'<polygon class="{kind}" fill="{UP if kind == "up" else DOWN}" points="{corners}"/>'
    amount = signed(part["contribution"])
    place, anchor = (right + 6, "start") if right + 60 < WIDTH else (left - 6, "end")
    return shape + _text(place, middle, amount, anchor)


def _segment(
    x: _Scale, start: float, end: float, top: float, kind: str, part: Mapping[str, Any]
) -> list[str]:
    left, right = x.at(start), x.at(end)
    wide = right - left
    fill = UP if kind == "up" else DOWN
    said = f"{label_of(part['feature_name'])} {signed(part['contribution'])}"
    drawn = [
        f'<rect class="{kind}" fill="{fill}" x="{left:.1f}" y="{top}" width="{max(wide - 1, 0.5):.1f}" height="24">'
        f"<title>{_clean(said)}</title></rect>"
    ]
    letters = int(wide / 6.6)
    if wide >= 58:
        words = label_of(part["feature_name"])
        short = words if len(words) <= letters else f"{words[: letters - 1]}…"
        drawn.append(_text((left + right) / 2, top + 38, short, "middle", quiet=True))
        drawn.append(_text((left + right) / 2, top + 54, signed(part["contribution"]), "middle", quiet=True))
    return drawn


def _dots(x: _Scale, line: Mapping[str, Any], middle: float) -> list[str]:
    """Dots that would lie on one another are piled up, at most the height of a line."""
    places = [x.at(amount) for amount in line["contributions"]]
    cells = [round(place / 4) for place in places]
    most = max((cells.count(cell) for cell in set(cells)), default=1)
    apart = min(2.5, (LINE - 6) / max(most, 1))
    used: dict[int, int] = {}
    drawn = []
    for place, cell, share in zip(places, cells, line["shares"], strict=True):
        pile = used[cell] = used.get(cell, 0) + 1
        off = (pile // 2) * apart * (1 if pile % 2 else -1)
        drawn.append(
            f'<circle cx="{place:.1f}" cy="{middle + off:.1f}" r="2.2" fill="{_shade(share)}" fill-opacity=".8"/>'
        )
    return drawn


def _shade(share: float | None) -> str:
    if share is None:
        return "#8b979b"
    mixed = [round(low + share * (high - low)) for low, high in zip(LOW_VALUE, HIGH_VALUE, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _line(x1: float, y1: float, x2: float, y2: float, *, strong: bool = False) -> str:
    colour, kind = (INK, "strong") if strong else (GRID, "grid")
    return f'<line class="{kind}" stroke="{colour}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(
    x: float, y: float, said: str, anchor: str, *, bold: bool = False, quiet: bool = False, fill: str = ""
) -> str:
    colour = fill or (QUIET if quiet else INK)
    kind = "" if fill else f' class="{"quiet" if quiet else "ink"}"'
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text{kind} fill="{colour}" x="{x:.1f}" y="{y:.1f}" dominant-baseline="middle" '
        f'text-anchor="{anchor}"{weight}>{_clean(said)}</text>'
    )


def _svg(name: str, height: float, title: str, description: str, body: Sequence[str]) -> str:
    ids = quoteattr(f"{name}-title {name}-desc")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="explanation {name}" role="img" aria-labelledby={ids} '
        f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13">'
        f'<title id="{name}-title">{_clean(title)}</title><desc id="{name}-desc">{_clean(description)}</desc>'
        f"{''.join(body)}</svg>"
    )


def _in_words(answer: Mapping[str, Any], unit: str) -> str:
    """The numbers of the picture, one after the other."""
    tail = f" {unit}" if unit else ""
    said = [
        f"{label_of(part['feature_name'])} {signed(part['contribution'])}"
        for part in _largest(answer["feature_importances"])
    ]
    about = answer["metadata"]
    return (
        f"{answer['summary']['explanation']} From the base {number(about['base_value'])}{tail}: {', '.join(said)}; "
        f"together {number(about['prediction_value'])}{tail}."
    )


def _clean(text: str) -> str:
    return escape(NO_XML.sub("�", text))
