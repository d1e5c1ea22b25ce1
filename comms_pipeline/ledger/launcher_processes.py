"""Finds and ends the processes of an embedded server by its data folder. Knows no database and no home.

A process id alone proves nothing: after a crash or in a restarted container it may be another program's.
A Postgres process is recognised by its name and by its working folder, which is the data folder.
"""

import os
import signal
import time
from pathlib import Path

import psutil

from comms_pipeline.domain.errors import DatabaseUnavailable

_PATIENCE_SECONDS = 3.0
_POLL_SECONDS = 0.02


def postmaster(data: Path) -> psutil.Process | None:
    """The living main process of the server with this data folder."""
    pid = _recorded_pid(data)
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return None
    return process if _is_server(process, data) else None


def end(processes: list[psutil.Process], sent: signal.Signals, within_seconds: float) -> bool:
    """Send a signal to each and wait; whether all ended in time."""
    for process in processes:
        try:
            process.send_signal(sent)
        except psutil.NoSuchProcess:
            continue
    return wait_until_gone(processes, within_seconds)


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether all of them ended within the time."""
    deadline = time.monotonic() + seconds
    while any(_is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def clear_remains(data: Path) -> None:
    """Make a data folder whose main process died fit for a new start, or for removal.

    Children of a killed server hold its shared memory for a while, and Postgres does not start beside them:
    they get some time, then are killed. A lock file whose process id now is another program's is removed.
    Call it only under the start lock. Raises `DatabaseUnavailable` if a process does not end.
    """
    orphans = [process for process in psutil.process_iter() if _is_server(process, data)]
    # Killing is safe here: without a main process the next start recovers from the log in any case.
    if not (wait_until_gone(orphans, _PATIENCE_SECONDS) or end(orphans, signal.SIGKILL, _PATIENCE_SECONDS)):
        pids = ", ".join(str(process.pid) for process in orphans if _is_alive(process))
        raise DatabaseUnavailable(str(data), f"is still held by process {pids}", "End it, then start again")
    pid = _recorded_pid(data)
    if pid is not None and psutil.pid_exists(pid):
        _lock_file(data).unlink(missing_ok=True)


def _recorded_pid(data: Path) -> int | None:
    try:
        pid = int(_lock_file(data).read_text(encoding="utf-8").splitlines()[0])
    except (FileNotFoundError, NotADirectoryError, ValueError, IndexError):
        return None
    return pid if pid > 0 else None


def _lock_file(data: Path) -> Path:
    return data / "postmaster.pid"


def _is_server(process: psutil.Process, data: Path) -> bool:
    try:
        return process.name() == "postgres" and process.cwd() == os.fspath(data) and _is_alive(process)
    except psutil.Error:
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        # A zombie holds nothing any more; it only waits for a parent that may never ask.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
