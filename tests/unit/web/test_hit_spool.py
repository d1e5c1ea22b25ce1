"""The spool: what is in it after it was written, torn, locked, landed half, or left by a process that is gone."""

from pathlib import Path

import pytest

from comms_pipeline.web import hit_spool
from comms_pipeline.web.hit_spool import HitSpool, SpooledHit

HITS = [
    SpooledHit(kind="open", body=b'{"message_id":"a"}'),
    SpooledHit(kind="click", body='{"url":"ü"}'.encode()),
]


def waiting(spool: HitSpool) -> list[list[SpooledHit]]:
    """What can be landed; afterwards it is gone."""
    return list(spool.waiting())


def test_what_was_spooled_comes_back_once(tmp_path: Path):
    spool = HitSpool(folder=tmp_path / "spool")
    assert spool.is_empty
    assert waiting(spool) == []
    spool.append(HITS[:1])
    spool.append(HITS[1:])
    assert not spool.is_empty
    spool.turn_over()
    assert waiting(spool) == [HITS]
    assert spool.is_empty


def test_nobody_lands_what_is_being_written(tmp_path: Path):
    writing, landing = HitSpool(folder=tmp_path), HitSpool(folder=tmp_path)
    writing.append(HITS)
    assert waiting(landing) == []
    assert waiting(writing) == []
    writing.turn_over()
    assert waiting(landing) == [HITS]


def test_only_one_lands_a_file_and_a_failure_keeps_it(tmp_path: Path):
    spool, other = HitSpool(folder=tmp_path), HitSpool(folder=tmp_path)
    spool.append(HITS)
    spool.turn_over()
    files = spool.waiting()
    assert next(files) == HITS
    assert waiting(other) == []
    files.close()  # The ledger did not take it.
    assert waiting(other) == [HITS]


def test_a_torn_line_was_never_acknowledged(tmp_path: Path):
    spool = HitSpool(folder=tmp_path)
    spool.append(HITS[:1])
    spool.turn_over()
    (file,) = tmp_path.iterdir()
    with file.open("ab") as out:
        out.write(b'["click","{\\"mess')
    assert waiting(spool) == [HITS[:1]]


def test_files_are_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hit_spool, "_MOST_BYTES_PER_FILE", 50)
    spool = HitSpool(folder=tmp_path)
    for _ in range(3):
        spool.append(HITS)
    assert len(list(tmp_path.iterdir())) == 3
    assert waiting(spool) == [HITS] * 3


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "spool").write_text("a file", encoding="ascii")
    with pytest.raises(OSError, match="File exists"):
        HitSpool(folder=tmp_path / "spool").append(HITS)
