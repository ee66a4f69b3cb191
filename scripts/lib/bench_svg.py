"""A picture of the figures, for light and dark pages: for each row, how cgrun compares with its reference."""

from html import escape

from bench_table import CGRUN

WIDTH, LEFT, ONE = 940, 390, 190
TOP, STEP, BAR = 58, 40, 11
# A bar that would leave the picture ends here.
MOST = (WIDTH - LEFT - 150) / ONE

STYLE = """
svg { color: #1f2328; font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
text { fill: currentColor }
.small { font-size: 12px; opacity: .7 }
.cgrun { fill: #2f7d4f }
.other { fill: #a8b0b9 }
.one { stroke: currentColor; stroke-opacity: .35; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  svg { color: #e6edf3 }
  .cgrun { fill: #58b881 }
  .other { fill: #59626d }
}
"""


def picture(rows, host):
    rows = [(row, row.ratio(row.of(CGRUN))) for row in rows if row.of(CGRUN) and row.unit == "ms"]
    rows = [(row, ratio) for row, ratio in rows if ratio is not None]
    height = TOP + STEP * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        f"<title>{escape(summary(rows))}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="cgrun" x="{LEFT}" y="16" width="12" height="{BAR}" rx="2"/>',
        f'<text x="{LEFT + 18}" y="26">cgrun</text>',
        f'<rect class="other" x="{LEFT + 80}" y="16" width="12" height="{BAR}" rx="2"/>',
        f'<text x="{LEFT + 98}" y="26">what it is compared with</text>',
        f'<path class="one" d="M{LEFT + ONE} {TOP - 14}V{height - 28}"/>',
    ]
    for number, (row, ratio) in enumerate(rows):
        parts += bars(row, ratio, TOP + STEP * number)
    where = f"Medians of one run of scripts/bench: Linux {host['kernel'].split('-')[0]}, {host['cpus']} CPUs"
    parts += [f'<text class="small" x="0" y="{height - 8}">{escape(where)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def bars(row, ratio, y):
    cgrun, reference = row.of(CGRUN), row.reference
    plus = "+" if row.adds else ""
    yield f'<text x="{LEFT - 12}" y="{y + 12}" text-anchor="end">{escape(row.work.replace("`", ""))}</text>'
    for column, length, kind, top in ((cgrun, ratio, "cgrun", y), (reference, 1, "other", y + BAR + 2)):
        width = ONE * min(length, MOST)
        figure = f"{plus}{number(row.weight(column))} {row.unit}"
        figure += f" {column.name.split()[0]}" if kind == "other" else f", {ratio:.2f} times"
        yield f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        yield f'<text class="small" x="{LEFT + width + 6:.1f}" y="{top + 10}">{escape(figure)}</text>'


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def summary(rows):
    return "; ".join(f"{row.work}: {ratio:.2f} times {row.reference.name}" for row, ratio in rows)
