"""The one list of sending providers: a provider is a module and a line here."""

from collections.abc import Callable

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import Provider
from comms_pipeline.providers.http import REQUEST_TIMEOUT_SECONDS
from comms_pipeline.providers.sendgrid_send import SendGrid
from comms_pipeline.providers.twilio_send import TwilioSms
from comms_pipeline.settings import SANDBOX_KEY_PREFIX, SANDBOX_SENDER, Settings


def _required(settings: Settings, value: str, variable: str) -> str:
    fix = f"Set {variable}, or COMMS_SANDBOX=true to send to the sandbox"
    if not value:
        raise ProviderMisconfigured(variable, "it is not set", fix)
    # `comms init` fills the settings with the sandbox's credentials; no provider knows them.
    if not settings.sandbox and (value.startswith(SANDBOX_KEY_PREFIX) or value == SANDBOX_SENDER):
        raise ProviderMisconfigured(variable, "it still holds the sandbox's", fix)
    return value


def _sendgrid(settings: Settings, timeout_seconds: float) -> Provider:
    return SendGrid(
        api_key=_required(settings, settings.sendgrid_api_key.get_secret_value(), "COMMS_SENDGRID_API_KEY"),
        base_url=settings.sendgrid_url,
        timeout_seconds=timeout_seconds,
    )


def _twilio(settings: Settings, timeout_seconds: float) -> Provider:
    return TwilioSms(
        account_sid=_required(settings, settings.twilio_account_sid, "COMMS_TWILIO_ACCOUNT_SID"),
        auth_token=_required(
            settings, settings.twilio_auth_token.get_secret_value(), "COMMS_TWILIO_AUTH_TOKEN"
        ),
        base_url=settings.twilio_url,
        sender=_required(settings, settings.twilio_from, "COMMS_TWILIO_FROM"),
        callback_url=f"{settings.public_url}/webhooks/twilio/status",
        timeout_seconds=timeout_seconds,
    )


_BUILDERS: dict[str, Callable[[Settings, float], Provider]] = {
    "email:sendgrid": _sendgrid,
    "sms:twilio": _twilio,
}
"""Lanes (channel and account) and what builds their provider; the first of a channel is its default."""


class Providers:
    """The providers by lane, built on first use: one without credentials fails only when its lane is used."""

    def __init__(self, settings: Settings, *, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> None:
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._built: dict[str, Provider] = {}

    def for_lane(self, lane: str) -> Provider:
        """The provider of a lane. Raises `ProviderMisconfigured` when it lacks a setting or nobody serves it."""
        if lane not in _BUILDERS:
            raise ProviderMisconfigured(
                f"lane {lane}", "no provider serves it", f"Known lanes: {', '.join(_BUILDERS)}"
            )
        if lane not in self._built:
            self._built[lane] = _BUILDERS[lane](self._settings, self._timeout_seconds)
        return self._built[lane]

    def lane_for(self, channel: Channel) -> str:
        """The default lane of a channel. Raises `ProviderMisconfigured` as `for_lane` does."""
        lane = next((lane for lane in _BUILDERS if lane.startswith(f"{channel}:")), f"{channel}:")
        self.for_lane(lane)
        return lane

    @property
    def lanes(self) -> list[str]:
        """Every lane there is."""
        return list(_BUILDERS)
