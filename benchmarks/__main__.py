"""Run scenarios in interleaved rounds and print medians and ratios.

python -m benchmarks [--scenario NAME] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.adapters import RQ, Adapter, Aiorq
from benchmarks.floor import bare_zygote
from benchmarks.scenarios import SCENARIOS

FLOORS: dict[str, list[str]] = {"bare zygote, 2 at a time": [], "bare zygote, 2 at a time, preloaded": [jobs.__name__]}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="aiorq beside rq, in one run.")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append", help="only these")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds, of which the median counts")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    adapters: list[Adapter] = [Aiorq(2), Aiorq(2, preload=True), Aiorq(1), RQ()]
    figures: dict[str, dict[str, list[float]]] = {}
    for name in options.scenario or sorted(SCENARIOS):
        unit, number, measure = SCENARIOS[name]
        rows = figures[f"{name}, {unit}"] = {adapter.name: [] for adapter in adapters}
        for _ in range(options.rounds):
            for adapter in adapters:
                rows[adapter.name].append(measure(adapter, number))
            if name == "drain":
                for floor, preload in FLOORS.items():
                    rows.setdefault(floor, []).append(bare_zygote(number, 2, preload))
    report(figures)
    if options.json:
        machine = {"processors": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        versions = {name: version(name) for name in ("aiorq", "rq", "redis")}
        options.json.write_text(json.dumps({"machine": machine, "versions": versions, "figures": figures}, indent=2))


def report(figures: dict[str, dict[str, list[float]]]) -> None:
    """Print a table for each scenario: medians, and how many times the last library's figure each is."""
    console = Console()
    for title, rows in figures.items():
        table = Table("", title=title, title_justify="left")
        for column in ("median", "lowest", "highest", f"times {RQ.name}"):
            table.add_column(column, justify="right")
        base = statistics.median(rows[RQ.name])
        for name, values in rows.items():
            median = statistics.median(values)
            table.add_row(
                name, *(f"{value:.1f}" for value in (median, min(values), max(values))), f"{median / base:.2f}"
            )
        console.print(table)


main()
