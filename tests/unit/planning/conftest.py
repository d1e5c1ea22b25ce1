"""A small campaign, for what reads one."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.ledger.sends import Organisation, Send
from comms_pipeline.planning.context import SendContext

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)


@pytest.fixture
def spec() -> Callable[..., CampaignSpec]:
    def build(**changes: Any) -> CampaignSpec:
        return CampaignSpec.model_validate(
            {
                "id": "news",
                "organisation": "lakeside",
                "audience": {"everyone": True},
                "channels": ["email"],
                "sender": {"from_email": "news@lakeside.example", "from_name": "Lakeside"},
                "postal_address": "1 Harbor Lane",
                "templates": {"email": {"subject": "News", "html": "news.html"}, "sms": {"text": "news.txt"}},
            }
            | changes
        )

    return build


@pytest.fixture
def context(spec: Callable[..., CampaignSpec]) -> Callable[..., SendContext]:
    def build(templates: dict[str, str] | None = None, **changes: Any) -> SendContext:
        return SendContext(
            send=Send(
                send_id="news",
                campaign_id="news",
                version=1,
                due_at=NOW,
                status="scheduled",
                requested_run_at=None,
                created_at=NOW,
                completed_at=None,
            ),
            spec=spec(**changes),
            organisation=Organisation(
                organisation_id="lakeside", name="Lakeside Weddings", postal_address="2 Harbor Lane"
            ),
            templates=templates or {},
        )

    return build
