"""Pictures of what perf/run.py has measured: bars of ratios, and curves over size."""

import math
from xml.sax.saxutils import escape

COLORS = {"ringo": "#d62246", "Go": "#00a0c6", "Tokio": "#e08a1e", "Asio": "#7a5bb8",
          "libuv": "#3f9b5b", "C epoll": "#8a8f98", "C io_uring": "#2f343d"}
OTHER_COLORS = ["#00a0c6", "#e08a1e"]
STYLE = """text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 10px; fill: #6e7781 }
.grid { stroke: #e4e7eb } .one { stroke: #d62246; stroke-width: 1.5 }"""


def color(system, systems):
    return COLORS.get(system) or OTHER_COLORS[systems.index(system) % len(OTHER_COLORS)]


def text(x, y, content, anchor="start", css=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(content)}</text>'


def line(x1, y1, x2, y2, css="grid"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def picture(width, height, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}">', f"<style>{STYLE}</style>",
        '<rect width="100%" height="100%" rx="8" fill="#fff"/>', *parts, "</svg>\n"])


def legend(x, y, shown, systems):
    for system in shown:
        yield f'<rect x="{x}" y="{y - 9}" width="10" height="10" rx="2" fill="{color(system, systems)}"/>'
        yield text(x + 15, y, system)
        x += 34 + 7 * len(system)


def decades(low, high):
    return range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)


def short(value):
    """1000 as 1k, 0.1 as it is."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"


class LogScale:
    """Where a value lies between two pixels."""

    def __init__(self, low, high, start, end):
        self.start = start
        self.low = math.log10(low)
        self.per_decade = (end - start) / (math.log10(high) - self.low or 1)

    def __call__(self, value):
        return self.start + (math.log10(value) - self.low) * self.per_decade


def bars(title, rows, systems):
    """A bar to the right: the first system costs less, by that factor."""
    reference, *peers = systems
    rows = [row for row in rows if any(row.ratio.values())]
    shown = [peer for peer in peers if any(peer in row.ratio for row in rows)]
    ratios = [ratio for row in rows for ratio in row.ratio.values() if ratio > 0]
    if not ratios:
        return None
    low, high = max(0.1, min(0.9, *ratios) / 1.3), max(2, *ratios) * 1.3
    label_width, width, bar, gap, top = 280, 900, 11, 12, 76
    scale = LogScale(low, high, label_width, width - 60)
    bottom = top + sum(bar * len(row.ratio) + gap for row in rows)
    parts = [text(20, 28, title.capitalize(), css="title"), *legend(20, 50, shown, systems),
             text(width - 20, 28, f"cost, times {reference}'s; right of the line {reference} is ahead",
                  "end", "small")]
    for decade in decades(low, high):
        if low <= 10**decade <= high:
            x = scale(10**decade)
            parts += [line(x, top - 6, x, bottom), text(x, top - 10, short(10**decade), "middle", "small")]
    y = top
    for before, row in zip([None, *rows], rows):
        middle = y + bar * len(row.ratio) / 2 + 4
        if not before or before.group != row.group:
            parts.append(text(12, middle, row.group, css="small"))
        several = any(other is not row and other[:2] == row[:2] for other in rows)
        size = f", {short(row.size)}" if several else ""
        parts.append(text(label_width - 12, middle, row.workload + size, "end"))
        for system, ratio in row.ratio.items():
            end = scale(min(max(ratio, low), high))
            left, right = sorted((end, scale(1)))
            parts.append(f'<rect x="{left:.1f}" y="{y}" width="{max(right - left, 1):.1f}" '
                         f'height="{bar - 2}" rx="2" fill="{color(system, systems)}"/>')
            parts.append(text(right + 5, y + bar - 3, f"{ratio:.3g}", css="small"))
            y += bar
        y += gap
    parts.append(line(scale(1), top - 6, scale(1), bottom, "one"))
    return picture(width, bottom + 16, parts)


def panel(x, y, width, height, rows, systems):
    """One workload over its sizes, both axes logarithmic."""
    sizes = sorted({row.size for row in rows})
    values = [cost.median for row in rows for cost in row.cost.values() if cost.median > 0]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values) * 1.01))
    across = LogScale(sizes[0], sizes[-1], x + 44, x + width - 16)
    up = LogScale(low, high, y + height - 22, y + 26)
    yield text(x + 8, y + 14, f"{rows[0].workload}, {rows[0].unit}")
    for decade in decades(low, high):
        yield line(x + 44, up(10**decade), x + width - 16, up(10**decade))
        yield text(x + 40, up(10**decade) + 3, short(10**decade), "end", "small")
    for size in sizes:
        yield text(across(size), y + height - 6, short(size), "middle", "small")
    for system in reversed(systems):  # the first lies on top
        points = [(across(row.size), up(row.cost[system].median)) for row in rows
                  if system in row.cost and row.cost[system].median > 0]
        if not points:
            continue
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        fill = color(system, systems)
        yield f'<polyline points="{path}" fill="none" stroke="{fill}" stroke-width="2"/>'
        yield from (f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.5" fill="{fill}"/>' for px, py in points)


def curves(title, rows, systems):
    """How each workload of a group grows."""
    workloads = {}
    for row in rows:
        workloads.setdefault(row.workload, []).append(row)
    panels = [of for of in workloads.values() if len({row.size for row in of}) > 1]
    if not panels:
        return None
    width, height, columns = 300, 200, min(3, len(panels))
    shown = [system for system in systems if any(system in row.cost for row in rows)]
    parts = [text(20, 28, title, css="title"), *legend(20, 50, shown, systems)]
    for i, of_workload in enumerate(panels):
        x, y = 8 + i % columns * width, 64 + i // columns * height
        parts += panel(x, y, width, height, of_workload, systems)
    return picture(16 + columns * width, 72 + math.ceil(len(panels) / columns) * height, parts)
