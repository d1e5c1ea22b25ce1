"""What can be told of a contact file before its rows are read: that it can be, its kind, its encoding."""

import codecs
from enum import Enum
from pathlib import Path

from comms_pipeline.domain.errors import InvalidContactFile


class FileFormat(Enum):
    """The kinds of file that can be imported."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


_SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".txt": FileFormat.CSV,
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
    ".json": FileFormat.JSON,
    ".jsonl": FileFormat.JSON,
    ".ndjson": FileFormat.JSON,
}
_ARCHIVES = {
    b"PK\x03\x04": ("it is a spreadsheet or an archive", "Save it as CSV (UTF-8)"),
    b"\x1f\x8b": ("it is compressed", "Unpack it first"),
    b"\x28\xb5\x2f\xfd": ("it is compressed", "Unpack it first"),
}
# Longest first: UTF-32's mark begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BLOCK = 1 << 20


def format_of(path: Path) -> FileFormat:
    """The kind of a file that is there, is legible and holds something. Raises `InvalidContactFile`."""
    try:
        if path.is_dir():
            raise InvalidContactFile(str(path), "it is a folder", "Name one file in it")
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError:
        raise InvalidContactFile(str(path), "there is no such file", "Check the path") from None
    except OSError as error:
        problem = f"it cannot be read ({(error.strerror or 'unknown fault').lower()})"
        raise InvalidContactFile(str(path), problem, "Check its permissions") from None
    if not start:
        raise InvalidContactFile(str(path), "it is empty", "Name a file with column names and rows")
    for mark, (problem, fix) in _ARCHIVES.items():
        if start.startswith(mark):
            raise InvalidContactFile(str(path), problem, fix)
    if path.suffix.lower() not in _SUFFIXES:
        fix = f"Name it so that it ends in one of: {', '.join(_SUFFIXES)}"
        raise InvalidContactFile(str(path), "its name does not tell what kind of file it is", fix)
    return _SUFFIXES[path.suffix.lower()]


def encoding_of(path: Path) -> str:
    """The encoding of a text file, by its byte order mark; UTF-8 without one.

    Reads the whole file. Raises `InvalidContactFile`, naming the first line that is not valid in it.
    """
    with path.open("rb") as file:
        start = file.read(4)
        encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
        file.seek(0)
        decoder = codecs.getincrementaldecoder(encoding)()
        line, is_last = 1, False
        while not is_last:
            block = file.read(_BLOCK)
            is_last = not block
            try:
                text = decoder.decode(block, final=is_last)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise _not_decodable(path, line, encoding) from None
            if "\0" in text:
                raise InvalidContactFile(str(path), "it is not a text file", "Export it as CSV in UTF-8")
            line += text.count("\n")
    return encoding


def _not_decodable(path: Path, line: int, encoding: str) -> InvalidContactFile:
    if not encoding.startswith("utf-8"):
        return InvalidContactFile(f"{path}:{line}", f"not valid {encoding.upper()} text", "Save it as UTF-8")
    problem = "not UTF-8 text; it looks like Windows-1252 (Latin-1)"
    fix = "Save it as UTF-8, or convert it: iconv -f WINDOWS-1252 -t UTF-8"
    return InvalidContactFile(f"{path}:{line}", problem, fix)
