"""Makes DuckDB find its extensions in installed wheels, so that nothing is downloaded at run time."""

import importlib.util
import secrets
from pathlib import Path

import duckdb

from comms_pipeline.domain.errors import DatabaseUnavailable

# The wheel calls it postgres; DuckDB looks it up under its historical name.
_WHEELS = {
    "ducklake": ("duckdb_extension_ducklake", "ducklake.duckdb_extension"),
    "postgres_scanner": ("duckdb_extension_postgres", "postgres.duckdb_extension"),
}


def link_extensions(folder: Path) -> Path:
    """Lay out `folder` as a DuckDB extension directory of links into the wheels; returns it. Can run again.

    Raises `DatabaseUnavailable` when a wheel is missing or made for another DuckDB version.
    """
    version = f"v{duckdb.__version__}"
    # Not duckdb.sql: its connection is shared by all threads.
    with duckdb.connect() as connection:
        platform = connection.execute("pragma platform").fetchone()
    target = folder / version / (platform[0] if platform else "")
    target.mkdir(parents=True, exist_ok=True)
    for name, (package, file) in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        source = Path(spec.origin).parent / "extensions" / version / file if spec and spec.origin else None
        if source is None or not source.is_file():
            raise DatabaseUnavailable(
                f"DuckDB extension {name}",
                f"no wheel for DuckDB {version} is installed",
                f"Install {package.replace('_', '-')}=={duckdb.__version__}",
            )
        link = target / f"{name}.duckdb_extension"
        if not link.is_symlink() or link.readlink() != source:
            # Two processes may do this at once; replacing a temporary link is atomic.
            temporary = target / f".{name}.{secrets.token_hex(8)}"
            temporary.symlink_to(source)
            temporary.replace(link)
    return folder
