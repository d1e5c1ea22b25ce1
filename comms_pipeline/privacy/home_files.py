"""Files of ours that are about one person: exports in the home, previews in the folder for temporary files."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from comms_pipeline.privacy.lines import Line
from comms_pipeline.privacy.proof import hits_in_files
from comms_pipeline.privacy.spellings import Spellings
from comms_pipeline.settings import Settings

_PREVIEWS = "comms-preview-*"
"""What `comms templates preview` calls the folders it makes."""
_TEXTS = {".html", ".txt", ".eml"}


def exports_folder(settings: Settings) -> Path:
    """Where exports go unless somebody says otherwise."""
    return settings.home / "exports"


def delete_exports(settings: Settings, contact_id: str) -> Line:
    """Delete the contact's own exports; copies elsewhere are whoever's made them."""
    found = sorted(exports_folder(settings).glob(f"{contact_id}*"))
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return Line(store="files: exports", rows=len(found), fate="deleted")


def delete_old_exports(settings: Settings, *, before: float) -> int:
    """Delete exports made before a time (epoch seconds); returns how many."""
    old = [path for path in exports_folder(settings).glob("*") if path.stat().st_mtime < before]
    for path in old:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return len(old)


def delete_previews(spellings: Sequence[Spellings]) -> Line:
    """Delete previews of templates that show the address."""
    folders = [
        folder
        for folder in Path(tempfile.gettempdir()).glob(_PREVIEWS)
        if folder.is_dir() and hits_in_files(_pages(folder), spellings)
    ]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return Line(store="files: template previews", rows=len(folders), fate="deleted")


def _pages(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in _TEXTS and path.is_file()]
