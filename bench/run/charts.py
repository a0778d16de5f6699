"""Small charts as SVG, readable on a light and a dark page, made from the same figures as the tables."""

import math
from xml.sax.saxutils import escape

WIDTH = 720
COLORS = ("#2f81f7", "#8b949e", "#d29922", "#3fb950", "#a371f7")
STYLE = ("<style>text{font:12px system-ui,sans-serif;fill:#57606a}.grid{stroke:#8b949e;stroke-opacity:.3}"
         ".goal{stroke:#cf222e;stroke-dasharray:4 3}@media(prefers-color-scheme:dark){text{fill:#9198a1}}</style>")


def _page(height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
            + STYLE + "".join(parts) + "</svg>\n")


def _text(x, y, text, anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1, y1, x2, y2, kind="grid"):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _legend(names, y):
    parts, x = [], 10
    for color, name in zip(COLORS, names):
        parts += [f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{color}"/>', _text(x + 15, y, name)]
        x += 40 + 7 * len(name)
    return parts


def _decades(low, high):
    """Powers of ten that enclose low..high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0 ** power for power in range(first, max(last, first + 1) + 1)]


def _tick(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def bars(title, rows, names, goal=None):
    """rows: [(label, [value or None for each name])], on a logarithmic scale; `goal` draws a line."""
    values = [value for _, found in rows for value in found if value] + ([goal] if goal else [])
    ticks = _decades(min(values), max(values))
    left, right, top, bar = 250, 60, 50, 12
    span = math.log10(ticks[-1] / ticks[0])

    def x(value):
        return left + (WIDTH - left - right) * math.log10(value / ticks[0]) / span

    height = top + sum(len(found) * bar + 12 for _, found in rows) + 24
    parts = [_text(10, 18, title), *_legend(names, 36)]
    for tick in ticks:
        parts += [_line(x(tick), top, x(tick), height - 24), _text(x(tick), height - 8, _tick(tick), "middle")]
    y = top + 6
    for label, found in rows:
        parts.append(_text(left - 8, y + len(found) * bar / 2 + 4, label, "end"))
        for color, value in zip(COLORS, found):
            if value:
                parts += [f'<rect x="{left}" y="{y}" width="{max(x(value) - left, 1):.1f}" height="{bar - 2}" fill="{color}"/>',
                          _text(x(value) + 4, y + bar - 3, f"{value:.3g}")]
            y += bar
        y += 12
    if goal:
        parts.append(_line(x(goal), top, x(goal), height - 24, "goal"))
    return _page(height, parts)


def curve(title, series, unit_x, unit_y):
    """series: {name: [(x, y)]}, both axes logarithmic."""
    points = [point for found in series.values() for point in found]
    xs, ys = _decades(min(p[0] for p in points), max(p[0] for p in points)), _decades(
        min(p[1] for p in points), max(p[1] for p in points))
    left, right, top, bottom, height = 70, 20, 50, 44, 300

    def place(point):
        across = math.log10(point[0] / xs[0]) / math.log10(xs[-1] / xs[0])
        up = math.log10(point[1] / ys[0]) / math.log10(ys[-1] / ys[0])
        return left + (WIDTH - left - right) * across, height - bottom - (height - top - bottom) * up

    parts = [_text(10, 18, f"{title}: {unit_y}"), *_legend(series, 36)]
    for tick in xs:
        across, _ = place((tick, ys[0]))
        parts += [_line(across, top, across, height - bottom), _text(across, height - bottom + 16, _tick(tick), "middle")]
    for tick in ys:
        _, down = place((xs[0], tick))
        parts += [_line(left, down, WIDTH - right, down), _text(left - 6, down + 4, _tick(tick), "end")]
    parts.append(_text((left + WIDTH) / 2, height - 6, unit_x, "middle"))
    for color, found in zip(COLORS, series.values()):
        places = [place(point) for point in sorted(found)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for (x, y), (_, value) in zip(places, sorted(found)):
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>', _text(x, y - 8, f"{value:.3g}", "middle")]
    return _page(height, parts)
