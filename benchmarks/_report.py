"""What benchmarks share: measuring and the line of a figure. Measures nothing by itself."""

import resource
import sys
import time
from collections.abc import Callable


def processor_seconds(work: Callable[[], object], repetitions: int = 3) -> float:
    """Processor time of the best of some runs, all threads counted: what one core would need."""
    times = []
    for _ in range(repetitions):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def peak_megabytes() -> float:
    """The most memory this process ever held (resident set)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    return peak / 1024 if sys.platform == "linux" else peak / 1024**2


def report(name: str, value: float, unit: str, baseline: float, *, is_more_better: bool = True) -> None:
    """One figure on one line: name, value, unit, baseline, ratio (how many times better)."""
    ratio = value / baseline if is_more_better else baseline / value
    print(f"{name} {_short(value)} {unit} {_short(baseline)} {ratio:.2f}", flush=True)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
