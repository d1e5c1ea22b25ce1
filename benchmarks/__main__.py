"""Runs the benchmarks: `python -m benchmarks all`, or one by its file's name. Each prints a line per figure.

A line is: name, value, unit, baseline measured (or promised) in the same run, ratio (how many times better).
Each benchmark runs in a process of its own, so that none inherits another's memory.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(wanted: str) -> int:
    """Run one benchmark, or all; returns the exit code."""
    names = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    if wanted != "all" and wanted not in names:
        print(f"error: no benchmark '{wanted}'. There are: {', '.join(names)}", file=sys.stderr)
        return 1
    print(f"{'figure':44} {'value':>12} {'unit':14} {'baseline':>12} {'ratio':>7}")
    for name in names if wanted == "all" else [wanted]:
        run = subprocess.run([sys.executable, FOLDER / f"{name}.py"], stdout=subprocess.PIPE, text=True)
        if run.returncode:
            return run.returncode
        for line in run.stdout.splitlines():
            figure, value, unit, baseline, ratio = line.split()
            print(f"{figure:44} {value:>12} {unit:14} {baseline:>12} {ratio:>7}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "all"))
