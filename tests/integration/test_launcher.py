"""The embedded Postgres: started once for all, gone only when told, and nothing acknowledged is lost."""

import importlib
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest

from comms_pipeline.domain.errors import DatabaseUnavailable
from comms_pipeline.ledger import launcher, launcher_site
from comms_pipeline.ledger.launcher_processes import postmaster, wait_until_gone
from comms_pipeline.ledger.launcher_site import Account, Site, binaries
from comms_pipeline.ledger.server import Database, Server, connect, connect_to

START = "import sys, pathlib; from comms_pipeline.ledger.launcher import ensure_started;"
START += "print(ensure_started(pathlib.Path(sys.argv[1])).port, flush=True)"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "ho me ü"
    yield home
    launcher.remove(home)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="comms-test-"))
    folder.chmod(0o755)
    yield folder
    launcher.remove(folder)
    shutil.rmtree(folder)


def data_of(home: Path) -> Path:
    record = Site.of(home).read_record()
    assert record is not None
    return record.data


def main_process(home: Path) -> psutil.Process:
    process = postmaster(data_of(home))
    assert process is not None
    return process


def is_gone(process: psutil.Process) -> bool:
    # Not `is_running`, which counts a zombie whose parent is in no hurry.
    return wait_until_gone([process], 0)


def kill(home: Path) -> None:
    """The hardest end: the main process and all its children at once."""
    main = main_process(home)
    for process in (main, *main.children(recursive=True)):
        process.kill()


def query(server: Server, statement: str, which: Database = Database.LEDGER) -> list[tuple[object, ...]]:
    with closing(connect(server, which, autocommit=True)) as connection:
        return connection.execute(statement.encode()).fetchall()


def execute(server: Server, statement: str) -> None:
    with closing(connect(server, autocommit=True)) as connection:
        connection.execute(statement.encode())


def started(home: Path) -> Server:
    server = launcher.ensure_started(home)
    launcher.ensure_databases(server)
    return server


def run_as_nobody(work: Callable[[], object]) -> object:
    """The result of a function run as an ordinary user; forked: they may not reach our interpreter."""
    nobody = pwd.getpwnam("nobody")
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        try:
            sender.send(work())
        except DatabaseUnavailable as error:
            sender.send(str(error))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()
        process.close()
        receiver.close()


def test_it_starts_once_and_stays_the_same(home: Path) -> None:
    assert launcher.running(home) is None
    server = launcher.ensure_started(home)
    first = main_process(home).pid
    assert launcher.ensure_started(home) == server
    assert launcher.running(home) == server
    assert main_process(home).pid == first


def test_the_three_databases_are_utf8_and_made_once(home: Path) -> None:
    server = launcher.ensure_started(home)
    launcher.ensure_databases(server)
    launcher.ensure_databases(server)
    assert query(
        server,
        "select datname, pg_encoding_to_char(encoding), datcollate from pg_database"
        " where datname like 'comms%' order by datname",
    ) == [
        ("comms", "UTF8", "C.UTF-8"),
        ("comms_dagster", "UTF8", "C.UTF-8"),
        ("comms_lake", "UTF8", "C.UTF-8"),
    ]


def test_it_is_durable_and_listens_on_loopback_only(home: Path) -> None:
    server = started(home)
    names = ("listen_addresses", "unix_socket_directories", "fsync", "synchronous_commit", "data_checksums")
    settings = {name: query(server, f"show {name}")[0][0] for name in names}
    assert settings == {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
    }


def test_the_log_holds_no_data_of_failed_statements(home: Path) -> None:
    server = started(home)
    execute(server, "create table guest (email text primary key)")
    execute(server, "insert into guest values ('ann@example.org')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(server, "insert into guest values ('ann@example.org')")
    log = Site.of(home).log.read_text(encoding="utf-8")
    assert "duplicate key value" in log
    assert "ann@example.org" not in log


def test_password_and_data_are_for_the_owner_only(home: Path) -> None:
    launcher.ensure_started(home)
    site = Site.of(home)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (site.record_file, site.log, data_of(home))]
    assert modes == [0o600, 0o600, 0o700]
    assert sorted(path.name for path in site.folder.iterdir() if path.name != "data") == [
        "server.json",
        "server.log",
        "start.lock",
    ]


def test_stop_and_start_keep_port_and_data(home: Path) -> None:
    server = started(home)
    execute(server, "create table kept as select 42 as answer")
    process = main_process(home)
    launcher.stop(home)
    assert is_gone(process)
    assert launcher.running(home) is None
    launcher.stop(home)
    assert launcher.ensure_started(home) == server
    assert query(server, "select answer from kept") == [(42,)]


def test_remove_also_ends_what_a_killed_server_left(home: Path) -> None:
    server = started(home)
    with closing(connect(server)) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        backend.suspend()
        main_process(home).kill()
        launcher.remove(home)
    assert is_gone(backend)


def test_stopping_what_never_ran_makes_nothing(home: Path) -> None:
    launcher.stop(home)
    launcher.remove(home)
    assert not home.exists()


def test_remove_leaves_nothing(home: Path) -> None:
    launcher.ensure_started(home)
    process, data = main_process(home), data_of(home)
    launcher.remove(home)
    assert is_gone(process)
    assert (data.exists(), list(home.iterdir())) == (False, [])


def test_a_port_taken_meanwhile_is_replaced_for_good(home: Path) -> None:
    server = launcher.ensure_started(home)
    launcher.stop(home)
    with socket.create_server(("127.0.0.1", server.port)):
        moved = launcher.ensure_started(home)
        launcher.stop(home)
    assert moved.port != server.port
    assert launcher.ensure_started(home).port == moved.port


def test_several_processes_starting_at_once_share_one_server(home: Path) -> None:
    command = [sys.executable, "-c", START, str(home)]
    callers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    ports = {caller.communicate(timeout=120)[0] for caller in callers}
    server = launcher.running(home)
    assert server is not None
    assert ports == {f"{server.port}\n"}
    # One start in the log, and so one server.
    assert Site.of(home).log.read_text(encoding="utf-8").count("ready to accept connections") == 1


def test_it_outlives_its_caller_and_keeps_none_of_its_pipes(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START + "; import time; time.sleep(600)", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as caller:
        assert caller.stdout is not None
        port = int(caller.stdout.readline())
        for sent in (signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
            os.killpg(caller.pid, sent)
        # Would wait for ever if the server held the other end.
        assert caller.stdout.read() == b""
    server = launcher.running(home)
    assert server is not None
    assert server.port == port


@pytest.mark.parametrize("everything", [True, False], ids=["all processes", "main process only"])
def test_a_killed_server_loses_nothing_acknowledged(home: Path, everything: bool) -> None:
    server = started(home)
    execute(server, "create table acknowledged (number integer primary key)")
    numbers: list[int] = []

    def write(enough: threading.Event) -> None:
        try:
            with closing(connect(server)) as connection:
                while True:
                    number = len(numbers)
                    connection.execute("insert into acknowledged values (%s)", (number,))
                    connection.commit()
                    numbers.append(number)
                    if len(numbers) % 50 == 0:
                        enough.set()
        except psycopg.OperationalError:
            # The one in doubt may be there; the next writer must not take its number again.
            numbers.append(len(numbers))

    for _ in range(3):
        enough = threading.Event()
        writer = threading.Thread(target=write, args=(enough,))
        writer.start()
        assert enough.wait(60)
        if everything:
            kill(home)
        else:
            main_process(home).kill()
        writer.join(60)
        in_doubt = numbers.pop()
        server = launcher.ensure_started(home)
        there = {number for (number,) in query(server, "select number from acknowledged")}
        assert there - {in_doubt} == set(numbers)
        execute(server, f"delete from acknowledged where number = {in_doubt}")


def test_children_that_survive_the_main_process_do_not_stand_in_the_way(home: Path) -> None:
    server = started(home)
    with closing(connect(server)) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        backend.suspend()
        main_process(home).kill()
        assert launcher.ensure_started(home) == server
        assert is_gone(backend)
    assert query(server, "select 1") == [(1,)]


def test_a_lock_file_with_a_reused_process_id_does_not_stand_in_the_way(home: Path) -> None:
    server = started(home)
    kill(home)
    account = Account.choose()
    with subprocess.Popen(["sleep", "600"], user=account.uid, group=account.gid, cwd="/") as stranger:
        lock_file = data_of(home) / "postmaster.pid"
        lines = lock_file.read_text(encoding="utf-8").splitlines()
        lock_file.write_text("\n".join([str(stranger.pid), *lines[1:]]), encoding="utf-8")
        assert launcher.running(home) is None
        assert launcher.ensure_started(home) == server
        assert stranger.poll() is None
        stranger.kill()


def test_an_interrupted_first_start_is_begun_anew(home: Path) -> None:
    launcher.ensure_started(home)
    launcher.stop(home)
    data = data_of(home)
    # As if killed before the finished folder was moved into place.
    data.rename(data.parent / "init-broken")
    server = launcher.ensure_started(home)
    assert [path.name for path in data.parent.iterdir() if path.name.startswith("init")] == []
    assert connect_to(server, "postgres").close() is None


def test_a_start_killed_at_any_moment_can_be_repeated(home: Path) -> None:
    for seconds in ("0.2", "0.4", "0.6", "0.8"):
        watchdog = f"import os, threading; threading.Timer({seconds}, os.kill, (os.getpid(), 9)).start();"
        subprocess.run(
            [sys.executable, "-c", watchdog + START, str(home)], check=False, stdout=subprocess.DEVNULL
        )
    server = started(home)
    assert query(server, "select 1") == [(1,)]


def test_a_start_that_fails_says_postgres_own_last_word(home: Path) -> None:
    launcher.ensure_started(home)
    launcher.stop(home)
    with (data_of(home) / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write("shared_buffers = 'plenty'\n")
    with pytest.raises(DatabaseUnavailable) as caught:
        launcher.ensure_started(home)
    assert caught.value.culprit == "embedded Postgres"
    assert "contains errors" in caught.value.problem
    assert str(Site.of(home).log) in caught.value.fix
    assert "\n" not in str(caught.value)


def test_lost_or_damaged_records_are_named(home: Path) -> None:
    launcher.ensure_started(home)
    launcher.stop(home)
    record = Site.of(home).record_file
    whole = record.read_bytes()
    record.write_bytes(whole[:20])
    with pytest.raises(DatabaseUnavailable, match=r"server\.json: is damaged"):
        launcher.ensure_started(home)
    record.unlink()
    with pytest.raises(DatabaseUnavailable, match=r"server\.json: is missing, and with it the password"):
        launcher.ensure_started(home)
    record.write_bytes(whole)
    assert launcher.ensure_started(home).user == "comms"


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match=r"/file/home: not a directory\. Check its owner"):
        launcher.ensure_started(tmp_path / "file" / "home")


@needs_root
def test_as_root_it_runs_as_nobody_in_a_home_that_nobody_can_enter(open_folder: Path) -> None:
    launcher.ensure_started(open_folder)
    assert main_process(open_folder).username() == "nobody"
    assert data_of(open_folder) == open_folder / "postgres" / "data"


@needs_root
def test_as_root_a_closed_home_stays_closed_and_its_data_goes_elsewhere(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    server = started(closed / "home")
    data = data_of(closed / "home")
    try:
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert main_process(closed / "home").username() == "nobody"
        assert not data.is_relative_to(open_folder)
        assert query(server, "select 1") == [(1,)]
    finally:
        launcher.remove(closed / "home")
    assert not data.parent.exists()


@needs_root
def test_as_root_data_elsewhere_is_found_and_removed_without_its_record(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    launcher.ensure_started(closed)
    process, data = main_process(closed), data_of(closed)
    shutil.rmtree(closed / "postgres")
    launcher.remove(closed)
    assert (is_gone(process), data.parent.exists()) == (True, False)


@needs_root
def test_as_root_programs_out_of_reach_are_copied_once(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_place = binaries(Account(uid=None, gid=None))
    package = in_place.parents[1]
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(package / "pginstall18", closed / package.name / "pginstall18", symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    (closed / package.name / "__init__.py").touch()
    monkeypatch.syspath_prepend(closed)
    importlib.invalidate_caches()
    monkeypatch.setattr(launcher_site, "_SYSTEM_FOLDERS", (open_folder / "system",))
    launcher.ensure_started(open_folder)
    copied = Path(main_process(open_folder).exe())
    assert copied.is_relative_to(open_folder / "system")
    assert binaries(Account.choose()) == copied.parent
    assert copied.stat().st_mtime_ns == (in_place / "postgres").stat().st_mtime_ns
    assert len(list((open_folder / "system").iterdir())) == 1


@needs_root
def test_an_ordinary_user_runs_it_as_themselves(open_folder: Path) -> None:
    if not binaries(Account.choose()).is_relative_to(Path(sys.prefix)):
        pytest.skip("an ordinary user cannot read this checkout")
    nobody = pwd.getpwnam("nobody")
    home = open_folder / "home of mine"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)

    def work() -> object:
        server = started(home)
        owner = main_process(home).username()
        kill(home)
        again = launcher.ensure_started(home)
        answer = query(again, "select 1", Database.CATALOG)
        data = data_of(home)
        launcher.remove(home)
        return owner, again == server, answer, data == home / "postgres" / "data", list(home.iterdir())

    assert run_as_nobody(work) == ("nobody", True, [(1,)], True, [])


@needs_root
def test_a_home_of_another_user_is_refused(open_folder: Path) -> None:
    launcher.ensure_started(open_folder)
    site = Site.of(open_folder)
    refusal = run_as_nobody(lambda: launcher.ensure_started(open_folder))
    assert str(refusal).startswith(f"{site.record_file}: permission denied. Check its owner and permissions")
    launcher.remove(open_folder)
    site.folder.mkdir()
    os.chown(site.folder, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(DatabaseUnavailable, match=r"postgres: belongs to user \d+\. Run as that user"):
        launcher.ensure_started(open_folder)
    site.folder.rmdir()
