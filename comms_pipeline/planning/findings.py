"""What is wrong with the messages of a plan, found while it is made: nothing is queued until this is silent."""

from collections.abc import Sequence

import polars as pl

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.message import CompiledMessage, RenderedGroup
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.rendering import Rendered


class Findings:
    """Gathers over all slices of a plan; `finish` raises when messages must not go out as they are."""

    def __init__(self, context: SendContext) -> None:
        self._spec = context.spec

    def add(self, rendered: Rendered) -> None:
        """Look at one slice. Raises `TemplateError` for what no later slice can mend."""
        check_blanks(self._spec, rendered.message, rendered.frame, rendered.groups)

    def finish(self) -> None:
        """Raises `TemplateError` naming the worst finding over the whole audience."""


def check_blanks(
    spec: CampaignSpec, message: CompiledMessage, frame: pl.DataFrame, groups: Sequence[RenderedGroup]
) -> None:
    """Check that no message says "None" for what its contact lacks: nobody wants to be "Dear None".

    `groups` are what `message` made of `frame`. Raises `TemplateError` naming what is lacking.
    """
    values = frame.select(name for name in frame.columns if name in message.variables)
    is_null = values.select(pl.all().is_null())
    # It may also be somebody's own word.
    own_words = values.select(
        pl.any_horizontal(False, _is_none(pl.col(pl.String))).fill_null(False)
    ).to_series()
    for group in groups:
        if group.slots.width:
            says_none = group.slots.select(pl.any_horizontal(_is_none(pl.all()))).to_series()
            rows = group.rows.filter(says_none)
            blank = is_null[rows].filter(~own_words[rows]).filter(pl.any_horizontal(False, pl.all()))
            if blank.height:
                names = " or ".join(f"'{name}'" for name in blank.columns if blank[name].any())
                raise TemplateError(
                    f"campaign {spec.id}",
                    f"{blank.height} messages would say 'None' to contacts without {names}",
                    "Say what to write instead under 'fallbacks:'",
                )


def _is_none(texts: pl.Expr) -> pl.Expr:
    return texts.str.to_lowercase() == "none"
