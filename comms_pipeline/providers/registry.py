"""The one list of sending providers: a provider is a module and a line here."""

from collections.abc import Callable

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.rate import Rate
from comms_pipeline.providers.base import Provider
from comms_pipeline.providers.http import REQUEST_TIMEOUT_SECONDS
from comms_pipeline.providers.mailgun_send import Mailgun
from comms_pipeline.providers.resend_send import Resend
from comms_pipeline.providers.sendgrid_send import SendGrid
from comms_pipeline.providers.smtp_opening import Account
from comms_pipeline.providers.smtp_send import Smtp
from comms_pipeline.providers.twilio_send import Twilio
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


def _resend(settings: Settings, timeout_seconds: float) -> Provider:
    return Resend(
        api_key=_required(settings, settings.resend_api_key.get_secret_value(), "COMMS_RESEND_API_KEY"),
        base_url=settings.resend_url,
        timeout_seconds=timeout_seconds,
    )


def _mailgun(settings: Settings, timeout_seconds: float) -> Provider:
    return Mailgun(
        api_key=_required(settings, settings.mailgun_api_key.get_secret_value(), "COMMS_MAILGUN_API_KEY"),
        domain=_required(settings, settings.mailgun_domain, "COMMS_MAILGUN_DOMAIN"),
        base_url=settings.mailgun_url,
        timeout_seconds=timeout_seconds,
    )


def _twilio(
    settings: Settings, timeout_seconds: float, channel: Channel, sender: str, variable: str
) -> Provider:
    return Twilio(
        channel=channel,
        account_sid=_required(settings, settings.twilio_account_sid, "COMMS_TWILIO_ACCOUNT_SID"),
        auth_token=_required(
            settings, settings.twilio_auth_token.get_secret_value(), "COMMS_TWILIO_AUTH_TOKEN"
        ),
        base_url=settings.twilio_url,
        sender=_required(settings, sender, variable),
        callback_url=f"{settings.public_url}/webhooks/twilio/status",
        timeout_seconds=timeout_seconds,
    )


def _twilio_sms(settings: Settings, timeout_seconds: float) -> Provider:
    return _twilio(settings, timeout_seconds, Channel.SMS, settings.twilio_from, "COMMS_TWILIO_FROM")


def _twilio_whatsapp(settings: Settings, timeout_seconds: float) -> Provider:
    sender = settings.twilio_whatsapp_from
    return _twilio(settings, timeout_seconds, Channel.WHATSAPP, sender, "COMMS_TWILIO_WHATSAPP_FROM")


def _smtp(settings: Settings, timeout_seconds: float) -> Provider:
    if settings.sandbox:
        raise ProviderMisconfigured(
            "lane email:smtp", "the sandbox has no SMTP server", "Set COMMS_SANDBOX=false to send by SMTP"
        )
    account = Account(
        host=_required(settings, settings.smtp_host, "COMMS_SMTP_HOST"),
        port=settings.smtp_port,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
        security=settings.smtp_security,
    )
    return Smtp(account, connections=settings.smtp_connections, timeout_seconds=timeout_seconds)


_BUILDERS: dict[str, Callable[[Settings, float], Provider]] = {
    "email:sendgrid": _sendgrid,
    "email:resend": _resend,
    "email:mailgun": _mailgun,
    "email:smtp": _smtp,
    "sms:twilio": _twilio_sms,
    "whatsapp:twilio": _twilio_whatsapp,
}
"""Lanes (channel and account) and what builds their provider. The first configured one of a channel serves it, the
next stands in when that one is down."""

_RATES: dict[str, Rate] = {
    "email:sendgrid": Rate(per_second=10, burst=100),
    "email:resend": Rate(per_second=10, burst=10),
    "sms:twilio": Rate(per_second=5, burst=50),
    "whatsapp:twilio": Rate(per_second=4, burst=40),
}
"""Requests that an account takes without asking anybody; `COMMS_RATES` says otherwise."""


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
        """The lane of a channel: the first that is configured. Raises `ProviderMisconfigured` as `for_lane` does."""
        lanes = [lane for lane in _BUILDERS if lane.startswith(f"{channel}:")]
        configured = next(filter(self.is_configured, lanes), None)
        if configured is None:
            self.for_lane(next(iter(lanes), f"{channel}:"))
        return str(configured)

    def stand_in(self, lane: str) -> str | None:
        """The lane that takes over when this one's provider is down: the next configured one of its channel."""
        lanes = [each for each in _BUILDERS if each.startswith(lane.partition(":")[0] + ":")]
        later = lanes[lanes.index(lane) + 1 :] if lane in lanes else []
        return next(filter(self.is_configured, later), None)

    def rate(self, lane: str) -> Rate | None:
        """How fast the lane may send; None is as fast as the provider takes it."""
        configured = self._settings.rates.get(lane)
        if configured is not None:
            return configured
        # The sandbox is ours: nobody has to be spared.
        return None if self._settings.sandbox else _RATES.get(lane)

    def is_configured(self, lane: str) -> bool:
        """Whether the settings have what the lane needs."""
        try:
            self.for_lane(lane)
        except ProviderMisconfigured:
            return False
        return True

    @property
    def needed_lanes(self) -> list[str]:
        """The lanes to set up first: of e-mail and SMS as long as no lane of the channel is configured."""
        needed = []
        for channel in (Channel.EMAIL, Channel.SMS):
            lanes = [lane for lane in _BUILDERS if lane.startswith(f"{channel}:")]
            needed += [] if any(map(self.is_configured, lanes)) else lanes[:1]
        return needed

    @property
    def lanes(self) -> list[str]:
        """Every lane there is."""
        return list(_BUILDERS)
