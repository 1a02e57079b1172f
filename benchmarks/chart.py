"""Steps per second of every alternative as bars, in SVG, on a logarithmic scale; readable on light and dark paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from .parts import Bar

WIDTH, LEFT, RIGHT, ROW, TOP = 860, 250, 110, 30, 46
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.small { font-size: 11px; fill: #57606a; }
.grid { stroke: #d0d7de; }
.bar { fill: #8c959f; }
.ours { fill: #0969da; }
.range { stroke: #24292f; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; } .grid { stroke: #3d444d; }
  .bar { fill: #656c76; } .ours { fill: #4493f8; } .range { stroke: #e6edf3; }
}
"""


def svg(bars: Sequence[Bar], title: str) -> str:
    """The chart, fastest first. ValueError where there is no bar."""
    ordered = sorted(bars, key=lambda bar: -bar.median)
    if not ordered:
        raise ValueError("A chart needs at least one bar.")
    low = math.floor(math.log10(max(min(bar.least for bar in ordered), 0.01)))
    high = max(math.ceil(math.log10(max(bar.most for bar in ordered))), low + 1)
    height = TOP + ROW * len(ordered) + 40

    def x(value: float) -> float:
        place = (math.log10(max(value, 10**low)) - low) / (high - low)
        return round(LEFT + place * (WIDTH - LEFT - RIGHT), 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text x="0" y="18" font-weight="600">{escape(title)}</text>',
    ]
    bottom = TOP + ROW * len(ordered)
    for power in range(low, high + 1):
        at = x(10**power)
        lines.append(f'<line class="grid" x1="{at}" y1="{TOP - 8}" x2="{at}" y2="{bottom}"/>')
        lines.append(f'<text class="small" x="{at}" y="{bottom + 16}" text-anchor="middle">{10**power:,g}</text>')
    for number, bar in enumerate(ordered):
        y = TOP + ROW * number
        middle = y + 10
        lines += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect class="{"ours" if bar.ours else "bar"}" x="{LEFT}" y="{y}" height="20" rx="2"'
            f' width="{max(x(bar.median) - LEFT, 1):.1f}"/>',
            f'<line class="range" x1="{x(bar.least)}" y1="{middle}" x2="{x(bar.most)}" y2="{middle}"/>',
            f'<text x="{x(max(bar.most, bar.median)) + 6}" y="{y + 15}">'
            f"{bar.median:,.{0 if bar.median >= 10 else 1}f}</text>",
        ]
    scale = "steps per second, logarithmic; the line is the range of the rounds"
    lines.append(f'<text class="small" x="{LEFT}" y="{bottom + 34}">{scale}</text>')
    return "\n".join([*lines, "</svg>", ""])
