"""Starts and stops the embedded Postgres of a `COMMS_HOME`. Knows no tables, and never reads the environment.

The server belongs to nobody who starts it: it lives in a session of its own and stays up until `stop`.
Any number of processes may call `ensure_started` at once. Nothing acknowledged is lost when it is killed.
"""

import errno
import os
import random
import re
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
from filelock import FileLock, Timeout
from psycopg import sql

from comms_pipeline.domain.errors import DatabaseUnavailable
from comms_pipeline.ledger import launcher_processes as processes
from comms_pipeline.ledger.launcher_site import USER, Account, Record, Site, binaries
from comms_pipeline.ledger.server import Database, DatabaseMissing, Server, connect, connect_to

_MAINTENANCE_DATABASE = "postgres"
_PATIENCE_SECONDS = 60
_POLL_SECONDS = 0.05
_ATTEMPTS = 3
_LOG_LIMIT_BYTES = 10_000_000
# Below the ports that systems hand out for outgoing connections, so that none of those sits on ours.
_PORTS = range(20_000, 30_000)

# Written once into postgresql.conf, where an operator may change them.
_SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "200",
    # What is acknowledged is on disk.
    "fsync": "on",
    "synchronous_commit": "on",
    # Iterations make guessing weak passwords slow; ours is random, and Dagster connects hundreds of times a run.
    "scram_iterations": "1",
    # Short queries of a queue gain nothing from compilation.
    "jit": "off",
    # Segments in /dev/shm vanish when a desktop user logs out (systemd's RemoveIPC); containers have 64 MB.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements and details of errors hold personal data.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

# What Postgres logs when something is wrong, without time and process id.
_COMPLAINT = re.compile(r"\b(?:PANIC|FATAL|ERROR|error): +(.+)")
_FIXES = {
    errno.ENOSPC: "Free some space, then start again",
    errno.EDQUOT: "Free some space, then start again",
}


def ensure_started(home: Path) -> Server:
    """The running server of this home; made and started when need be, a few milliseconds when it runs.

    The databases are `ensure_databases`' work. Raises `DatabaseUnavailable`, with Postgres' own last word.
    """
    if (server := running(home)) is not None:
        return server
    site = Site.of(home)
    with _reported(), _locked(site):
        if (server := running(home)) is not None:
            return server
        account = Account.choose()
        programs = binaries(account)
        record = site.read_record() or _new_record(site, account)
        if not (record.data / "PG_VERSION").exists():
            _create_data(site, record, account, programs)
        return _start(site, record, account, programs)


def running(home: Path) -> Server | None:
    """The server of this home if it runs and lets us in; None otherwise. Starts nothing."""
    with _reported():
        record = Site.of(home).read_record()
        if record is None or not (record.data / "postmaster.pid").exists():
            return None
        return record.server if _answers(record.server) else None


def stop(home: Path) -> None:
    """Stop the server, if it runs, and wait for its end; open transactions are rolled back.

    Raises `DatabaseUnavailable` if it does not end.
    """
    site = Site.of(home)
    with _reported():
        record = site.read_record()
        if record is not None:
            with _locked(site):
                _stop(site, record.data)


def remove(home: Path) -> None:
    """Stop the server and delete its data, wherever it is. There is no way back."""
    site = Site.of(home)
    with _reported():
        # Last the folder that knows about the others, so that a removal broken off can be repeated.
        folders = [*site.outside_folders(), site.folder]
        if any(folder.is_dir() for folder in folders):
            with _locked(site):
                for folder in folders:
                    _stop(site, folder / "data")
                    processes.clear_remains(folder / "data")
                    shutil.rmtree(folder)


def ensure_databases(server: Server) -> None:
    """Create those of the three databases that are missing, on the embedded server or one of yours.

    Raises `DatabaseUnavailable` when the server cannot be reached or our user may not create databases.
    """
    names = [server.database_name(which) for which in Database]
    with closing(_administration(server)) as connection:
        rows = connection.execute("select datname from pg_database where datname = any(%s)", [names])
        present = {name for (name,) in rows}
        for name in names:
            if name not in present:
                _create_database(connection, server, name)


def _administration(server: Server) -> psycopg.Connection[tuple[object, ...]]:
    """A connection that need not find the ledger's database there."""
    try:
        return connect(server, autocommit=True)
    except DatabaseMissing:
        return connect_to(server, _MAINTENANCE_DATABASE, autocommit=True)


def _create_database(connection: psycopg.Connection[tuple[object, ...]], server: Server, name: str) -> None:
    # From template0: unlike template1 it may be copied by several at once and takes any encoding.
    statement = sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name))
    try:
        connection.execute(statement)
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # Another process was faster.
    except psycopg.Error as error:
        raise DatabaseUnavailable(
            f"Postgres at {server.address}",
            f"database {name!r} is missing and cannot be created: {str(error).splitlines()[0]}",
            f"Create it, or let user {server.user!r} create databases",
        ) from None


def _new_record(site: Site, account: Account) -> Record:
    data = site.choose_data(account)
    if (data / "PG_VERSION").exists():
        raise DatabaseUnavailable(
            str(site.record_file),
            f"is missing, and with it the password of {data}",
            "Restore it, or start afresh with `make clean`",
        )
    record = Record(port=_free_port(), password=secrets.token_urlsafe(24), data=data)
    # Before the data: whatever interrupts us, no data exists whose password is unknown.
    site.write_record(record)
    return record


def _create_data(site: Site, record: Record, account: Account, programs: Path) -> None:
    """Run `initdb` beside the data folder, then move the result into place: all of it or nothing."""
    parent = record.data.parent
    for left in parent.glob("init-*"):
        shutil.rmtree(left, ignore_errors=True)
    workshop = Path(tempfile.mkdtemp(prefix="init-", dir=parent))
    try:
        password_file = workshop / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(record.password, encoding="utf-8")
        for path in (workshop, password_file):
            account.own(path)
        command: list[str | Path] = [
            programs / "initdb",
            f"--pgdata={workshop / 'data'}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            *("--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--data-checksums"),
            *(f"--set={name}={value}" for name, value in _SETTINGS.items()),
        ]
        if complaint := _run_logged(site, account, command):
            raise _failed(site, complaint)
        (workshop / "data").rename(record.data)
        _flush(parent)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _start(site: Site, record: Record, account: Account, programs: Path) -> Server:
    complaint = ""
    for _ in range(_ATTEMPTS):
        process = processes.postmaster(record.data)
        if process is not None and _await_answer(site, record, process):
            return record.server
        processes.clear_remains(record.data)
        if not _is_free(record.port):
            record = replace(record, port=_free_port())
            site.write_record(record)
        _limit_log(site.log)
        # No Unix socket: its path would have to be short, and loopback with a password serves all users.
        options = f"-p {record.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        flags = ("start", "--wait", f"--timeout={_PATIENCE_SECONDS}", "--silent", f"--options={options}")
        # The data folder not as an argument, which pg_ctl would put into a shell command as it is.
        environment = {"PGDATA": str(record.data)}
        complaint = _run_logged(site, account, [programs / "pg_ctl", *flags], environment)
        if not complaint:
            return record.server
        # Worth another try only when the port was taken meanwhile, or a start broken off before lives on.
        if _is_free(record.port) and processes.postmaster(record.data) is None:
            break
    raise _failed(site, complaint)


def _await_answer(site: Site, record: Record, process: psutil.Process) -> bool:
    """Wait for a server that is starting, recovering or busy; False if it ends instead."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _answers(record.server):
        if processes.wait_until_gone([process], _POLL_SECONDS):
            return False
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"Postgres at {record.server.address}",
                "runs but does not let us in",
                f"It may still be recovering: see {site.log}, try again, or stop it",
            )
    return True


def _answers(server: Server) -> bool:
    # That it takes our password, which only it knows, proves that it is ours.
    try:
        connect_to(replace(server, options=(("connect_timeout", "2"),)), _MAINTENANCE_DATABASE).close()
    except DatabaseUnavailable:
        return False
    return True


def _stop(site: Site, data: Path) -> None:
    process = processes.postmaster(data)
    # SIGINT is Postgres' fast shutdown: it ends sessions, writes a checkpoint and goes.
    if process is not None and not processes.end([process], signal.SIGINT, _PATIENCE_SECONDS):
        raise DatabaseUnavailable(
            f"Postgres process {process.pid}", "does not stop", f"See {site.log}, then try again"
        )


def _run_logged(
    site: Site, account: Account, command: list[str | Path], environment: dict[str, str] | None = None
) -> str:
    """Run a Postgres program with its output in the log; what it complained of, empty if all went well."""
    site.log.touch(mode=0o600)
    with site.log.open("ab") as log:
        log_end = log.tell()
        if account.run(command, output=log, environment=environment) == 0:
            return ""
    with site.log.open("rb") as log:
        log.seek(log_end)
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    complaints = [match[1] for line in lines if (match := _COMPLAINT.search(line))]
    return (complaints or lines or ["Postgres gave no reason"])[-1].strip()


def _failed(site: Site, complaint: str) -> DatabaseUnavailable:
    is_full = os.strerror(errno.ENOSPC) in complaint
    fix = _FIXES[errno.ENOSPC] if is_full else f"Mend it; {site.log} tells more"
    return DatabaseUnavailable("embedded Postgres", complaint.rstrip("."), fix)


def _limit_log(log: Path) -> None:
    """Keep one old log; a server at work appends to the file it has open."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def _free_port() -> int:
    for port in random.sample(_PORTS, k=len(_PORTS)):
        if _is_free(port):
            return port
    raise DatabaseUnavailable(
        f"ports {_PORTS.start} to {_PORTS.stop - 1}", "all are taken", "Free one, or set COMMS_DATABASE_URL"
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Postgres does it: connections of an earlier server that are dying away do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _flush(folder: Path) -> None:
    """Make a renaming in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(site: Site) -> Iterator[None]:
    site.prepare()
    try:
        with FileLock(site.lock, timeout=3 * _PATIENCE_SECONDS):
            yield
    except Timeout:
        raise DatabaseUnavailable(
            str(site.lock), "is held by another process that starts or stops the server", "Wait, or end it"
        ) from None


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an error of the file system into one line."""
    try:
        yield
    except OSError as error:
        problem = (error.strerror or type(error).__name__).lower()
        fix = _FIXES.get(error.errno or 0, "Check its owner and permissions, or choose another COMMS_HOME")
        raise DatabaseUnavailable(str(error.filename or "embedded Postgres"), problem, fix) from None
