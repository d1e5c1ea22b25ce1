"""Who a row is: deterministic contact ids, and the rows of one import that are the same contact."""

from hashlib import blake2b

import polars as pl

from comms_pipeline.contacts.mapping import Target
from comms_pipeline.domain.addresses import email_keys
from comms_pipeline.domain.errors import InvalidSettings

IDENTITY = "identity"
"""The column that tells which target identifies a row's contact."""

_ID_BYTES = 16


def with_identity(rows: pl.DataFrame, organisation: str, secret: bytes) -> pl.DataFrame:
    """Add `contact_id` (32 hex digits) and `IDENTITY` (external_id, else email, else phone).

    The id is a keyed BLAKE2b of organisation and identity: the same person gets the same id in every import,
    and nobody without the secret can tell whose it is. Each row has at least one of the three.
    Raises `InvalidSettings` for an empty secret.
    """
    kinds = (Target.EXTERNAL_ID, Target.EMAIL, Target.PHONE)
    keyed = rows.select(Target.EXTERNAL_ID, Target.PHONE, email_keys(rows[Target.EMAIL]))
    identities = keyed.select(pl.coalesce(pl.concat_str(pl.lit(f"{kind}\x1f"), kind) for kind in kinds))
    kind = pl.coalesce(pl.when(pl.col(kind).is_not_null()).then(pl.lit(kind.value)) for kind in kinds)
    ids = _contact_ids(identities.to_series(), organisation, secret)
    return rows.with_columns(ids.alias("contact_id"), kind.alias(IDENTITY))


def _contact_ids(identities: pl.Series, organisation: str, secret: bytes) -> pl.Series:
    if not secret:
        raise InvalidSettings("COMMS_SECRET_KEY", "it is empty", "Run `comms init`, or set it")
    # BLAKE2b takes keys of up to 64 bytes.
    key = blake2b(secret, digest_size=32, person=b"comms contact id").digest()
    prepared = blake2b(f"{organisation}\x1f".encode(), digest_size=_ID_BYTES, key=key)
    digests = []
    for identity in identities.to_list():
        digest = prepared.copy()
        digest.update(identity.encode())
        digests.append(digest.hexdigest())
    return pl.Series("contact_id", digests, pl.String)


class SeenContacts:
    """The contacts an import has met so far, and the row each was first met in: 24 bytes each."""

    def __init__(self) -> None:
        self._seen = pl.DataFrame(schema={"high": pl.UInt64, "low": pl.UInt64, "first_row": pl.Int64})

    def first_rows(self, rows: pl.DataFrame) -> pl.Series:
        """For each row (contact_id, source_row; in file order) the first row of its contact, maybe itself.

        Remembers the rows' contacts.
        """
        digest = pl.col("contact_id").str.decode("hex")
        halves = rows.select(
            high=digest.bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64),
            low=digest.bin.slice(8, 8).bin.reinterpret(dtype=pl.UInt64),
            source_row="source_row",
        )
        # A join costs memory for its right side and for keys of two columns: narrowed by one half first,
        # all that was ever seen is neither.
        again = self._seen.join(halves, on="high", how="semi")
        known = halves.join(again, on=["high", "low"], how="left", maintain_order="left")
        first = pl.coalesce("first_row", pl.col("source_row").first().over("high", "low"))
        known = known.with_columns(first_row=first)
        fresh = known.filter(pl.col("first_row") == pl.col("source_row"))
        self._seen = pl.concat([self._seen, fresh.select("high", "low", "first_row")])
        return known["first_row"]
