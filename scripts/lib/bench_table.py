"""What was measured: rows of columns of samples, and the table that is printed."""

import statistics
from dataclasses import dataclass, field

# What a column is to its row.
FLOOR, PEER, CGRUN, BEFORE, OTHER = "floor", "peer", "cgrun", "before", "other"


@dataclass
class Column:
    name: str
    role: str
    samples: list[float] = field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.samples)

    @property
    def p90(self):
        return sorted(self.samples)[int(0.9 * (len(self.samples) - 1) + 0.5)]


@dataclass
class Row:
    """One kind of work. If `adds`, commands are compared by what they add to the floor, and otherwise by all
    that they take."""

    work: str
    columns: list[Column]
    unit: str = "ms"
    adds: bool = False
    # What the other columns are compared with, if it was measured.
    against: str = PEER
    # A peer that could not be measured, and why.
    missing: str = ""

    def of(self, role):
        return next((it for it in self.columns if it.role == role and it.samples), None)

    def weight(self, column):
        return column.median - self.of(FLOOR).median if self.adds else column.median

    @property
    def reference(self):
        return self.of(self.against)

    def ratio(self, column):
        """How many times the reference a column takes, or None if it has none."""
        reference = self.reference
        if reference is None or column is reference or column.role == FLOOR or self.weight(reference) <= 0:
            return None
        return self.weight(column) / self.weight(reference)

    def lines(self):
        floor = self.of(FLOOR)
        yield f"{self.work} ({self.rounds} rounds, {self.unit})"
        for column in self.columns:
            if not column.samples:
                continue
            line = f"  {column.name:36} {column.median:9.2f}   p90 {column.p90:9.2f}"
            if floor and column is not floor:
                line += f"   {column.median - floor.median:+8.2f}"
            ratio = self.ratio(column)
            if ratio is not None:
                line += f"   {ratio:5.2f} x {self.reference.name.split()[0]}"
            yield line
        if self.missing:
            yield f"  not measured: {self.missing}"

    @property
    def rounds(self):
        return max((len(it.samples) for it in self.columns), default=0)

    def as_json(self):
        columns = [
            {
                "name": it.name,
                "role": it.role,
                "rounds": len(it.samples),
                "median": round(it.median, 4),
                "p90": round(it.p90, 4),
                "ratio": self.ratio(it) and round(self.ratio(it), 4),
            }
            for it in self.columns
            if it.samples
        ]
        return {"work": self.work, "unit": self.unit, "adds": self.adds, "missing": self.missing, "columns": columns}


def show(row):
    """Prints a row as soon as it is measured."""
    print("\n".join(row.lines()), flush=True)
    return row
