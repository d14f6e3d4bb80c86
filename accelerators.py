"""Derive accelerators.csv, the GPU names and the clouds that have them, from SkyPilot's own table (`make accelerators`)."""

from __future__ import annotations

import ast
import csv
import sys
from pathlib import Path


def derive(catalog: Path, table: Path) -> int:
    """Write the table, and return how many GPUs it has."""
    with catalog.open(newline="", encoding="utf-8") as source:
        rows = [(row["AcceleratorName"], ast.literal_eval(row["Clouds"])) for row in csv.DictReader(source)]
    with table.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(("accelerator", "clouds"))
        writer.writerows((name, " ".join(sorted(map(str.lower, clouds)))) for name, clouds in rows)
    return len(rows)


if __name__ == "__main__":
    print(derive(Path(sys.argv[1]), Path(__file__).with_name("accelerators.csv")), "GPUs")
