"""Settings: where values come from, what is refused, and that no secret shows."""

import os
from datetime import date

import pytest

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose, TokenKeys
from comms_pipeline.settings import Settings, load_settings
from comms_pipeline.stores import Stores

SECRETS = {
    "COMMS_DATABASE_URL": "postgresql://comms:hush-database@db.internal:5433/comms",
    "COMMS_SECRET_KEY": "hush-key",
    "COMMS_LINK_KEYS": "2:hush-link-key-2-0123456789-0123456789",
    "COMMS_SENDGRID_API_KEY": "hush-sendgrid",
    "COMMS_TWILIO_AUTH_TOKEN": "hush-twilio",
    "COMMS_RESEND_WEBHOOK_SECRET": "hush-resend-webhooks",
    "COMMS_MAILGUN_WEBHOOK_KEY": "hush-mailgun-webhooks",
    "COMMS_NOTIFY": "json://hush-notify",
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """No variable of ours in the environment, no `.env` in the working folder."""
    for name in list(os.environ):
        if name.startswith("COMMS_"):
            monkeypatch.delenv(name)
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def test_nothing_need_be_set(home):
    settings = load_settings(home)

    assert settings.home == home
    assert settings.lake_path == home / "lake"
    assert settings.reports_path == home / "reports"
    assert settings.database_url is None
    assert settings.sandbox is True
    assert settings.sendgrid_url == settings.twilio_url == "http://127.0.0.1:8701"


def test_without_the_sandbox_the_real_providers_are_meant(home):
    settings = load_settings(home, sandbox=False)

    assert settings.sendgrid_url == "https://api.sendgrid.com"
    assert settings.twilio_url == "https://api.twilio.com"


def test_the_environment_beats_dot_env_and_that_the_generated_file(home, monkeypatch):
    generated = "COMMS_WEB_PORT=1001\nCOMMS_SANDBOX_PORT=1002\nCOMMS_DAGSTER_PORT=1003\n"
    (home / "settings.env").write_text(generated)
    with open(".env", "w") as file:
        file.write("COMMS_WEB_PORT=2001\nCOMMS_SANDBOX_PORT=2002\n")
    monkeypatch.setenv("COMMS_WEB_PORT", "3001")

    settings = load_settings(home)

    assert (settings.web_port, settings.sandbox_port, settings.dagster_port) == (3001, 2002, 1003)
    assert load_settings(home, web_port=4001).web_port == 4001


def test_home_comes_from_its_variable_unless_it_is_given(home, tmp_path, monkeypatch):
    monkeypatch.setenv("COMMS_HOME", "relative/home")
    assert load_settings().home == tmp_path / "work/relative/home"
    assert load_settings(home).home == home
    monkeypatch.setenv("COMMS_HOME", "")
    assert load_settings().home == tmp_path / "work/.comms"


def test_an_empty_database_address_starts_the_embedded_server(home, monkeypatch):
    (home / "settings.env").write_text("COMMS_DATABASE_URL=postgresql://u:p@db/comms\n")
    monkeypatch.setenv("COMMS_DATABASE_URL", "")

    assert load_settings(home).database_url is None


def test_unknown_variables_are_passed_over(home, monkeypatch):
    monkeypatch.setenv("COMMS_SOMETHING_ELSE", "1")

    assert load_settings(home).web_port == 8700


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("COMMS_WEB_PORT", "abc", "valid integer"),
        ("COMMS_WEB_PORT", "", "valid integer"),
        ("COMMS_SANDBOX_PORT", "0", "greater than or equal to 1"),
        ("COMMS_DAGSTER_PORT", "65536", "less than or equal to 65535"),
        ("COMMS_SANDBOX", "perhaps", "valid boolean"),
        ("COMMS_SANDBOX_SEED", "1.5", "valid integer"),
        ("COMMS_SANDBOX_DELAY_SECONDS", "-1", "greater than or equal to 0"),
        ("COMMS_SANDBOX_DELAY_SECONDS", "nan", "greater than or equal to 0"),
        ("COMMS_PUBLIC_URL", "mail.example.org", "http or https address"),
        ("COMMS_PUBLIC_URL", "ftp://mail.example.org", "http or https address"),
        ("COMMS_PUBLIC_URL", "https://[mail", "http or https address"),
        ("COMMS_PUBLIC_URL", "https://mail.example.org\r\nX: y", "http or https address"),
        ("COMMS_LINK_KEYS", "hush" * 9, "entry 1 must begin with an id from 2 to 255 and a colon"),
        ("COMMS_LINK_KEYS", f"1:{'hush' * 9}", "entry 1 must begin with an id from 2 to 255"),
        ("COMMS_LINK_KEYS", f"256:{'hush' * 9}", "entry 1 must begin with an id from 2 to 255"),
        ("COMMS_LINK_KEYS", f"-2:{'hush' * 9}", "entry 1 must begin with an id from 2 to 255"),
        ("COMMS_LINK_KEYS", f"٣:{'hush' * 9}", "entry 1 must begin with an id from 2 to 255"),
        ("COMMS_LINK_KEYS", f"2:{'hush' * 8},hush", "entry 2 must begin with an id from 2 to 255"),
        ("COMMS_LINK_KEYS", "2:", "the secret of key 2 has less than 32 characters"),
        ("COMMS_LINK_KEYS", f"2:{'hush' * 9},3:{'hush' * 7}", "the secret of key 3 has less than 32"),
        ("COMMS_LINK_KEYS", f"2:{'hush' * 8},2:{'hush' * 9}", "key 2 is there twice"),
        ("COMMS_LINK_KEYS", f"2:{'hush' * 8},3:{'hush' * 8}", "key 3 has the secret of another key"),
        ("COMMS_SENDGRID_BASE_URL", "https://", "http or https address"),
        ("COMMS_TWILIO_BASE_URL", "https://api.twilio.com:port", "http or https address"),
        ("COMMS_DATABASE_URL", "mysql://u:hush@db/comms", "postgresql://user:password@host"),
        ("COMMS_DATABASE_URL", "postgresql://u:hush@db", "postgresql://user:password@host"),
        ("COMMS_DATABASE_URL", "postgresql:///comms", "postgresql://user:password@host"),
        ("COMMS_DATABASE_URL", "postgresql://u:hush@[db/comms", "postgresql://user:password@host"),
        # urlsplit quotes what it cannot normalise.
        ("COMMS_DATABASE_URL", "postgresql://u:hush℀@db/comms", "postgresql://user:password@host"),
        ("COMMS_DATABASE_URL", "postgresql://u:hush/er@db/comms", "postgresql://user:password@host"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_variable_and_not_its_secret(
    home, monkeypatch, name, value, problem
):
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSettings) as caught:
        load_settings(home)

    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert message.endswith(f"Set {name} in the environment or in .env")
    assert problem in message
    assert "\n" not in message
    assert "hush" not in message


def test_a_file_that_is_not_text_is_named(home):
    (home / "settings.env").write_bytes(b"COMMS_WEB_PORT=\xff\xfe")

    with pytest.raises(InvalidSettings, match=r"settings\.env or \.env: not UTF-8 text\. Save it as UTF-8"):
        load_settings(home)


def test_a_trailing_slash_of_an_address_goes(home):
    assert (
        load_settings(home, public_url="https://mail.example.org/").public_url == "https://mail.example.org"
    )


def open_token(keys: TokenKeys) -> str:
    return keys.sign(Purpose.OPEN, organisation_id="o", channel=Channel.EMAIL, message_id="ab" * 16)


def test_the_whatsapp_sender_may_be_copied_as_twilio_shows_it(home, monkeypatch):
    monkeypatch.setenv("COMMS_TWILIO_WHATSAPP_FROM", "whatsapp:+14155238886")
    assert load_settings(home).twilio_whatsapp_from == "+14155238886"


def test_links_are_signed_with_the_newest_key_and_old_ones_stay_valid(home, monkeypatch):
    monkeypatch.setenv("COMMS_SECRET_KEY", "the first secret")
    first = load_settings(home).token_keys
    monkeypatch.setenv("COMMS_LINK_KEYS", f"7:{'seventh' * 5}, 2:{'second' * 6},")
    rotated = Stores(load_settings(home)).token_keys

    assert (first.current_id, rotated.current_id) == (1, 7)
    assert rotated.verify(open_token(first), Purpose.OPEN) is not None
    assert rotated.verify(open_token(rotated), Purpose.OPEN) is not None
    monkeypatch.setenv("COMMS_LINK_KEYS", f"2:{'second' * 6}")
    assert load_settings(home).token_keys.verify(open_token(rotated), Purpose.OPEN) is None


def test_an_empty_list_of_link_keys_leaves_the_first(home, monkeypatch):
    monkeypatch.setenv("COMMS_SECRET_KEY", "the first secret")
    monkeypatch.setenv("COMMS_LINK_KEYS", "")

    assert load_settings(home).token_keys.current_id == 1


def test_without_a_secret_key_nothing_is_signed(home, monkeypatch):
    monkeypatch.setenv("COMMS_LINK_KEYS", f"2:{'second' * 6}")

    with pytest.raises(InvalidSettings, match="COMMS_SECRET_KEY: is empty"):
        _ = load_settings(home).token_keys


def test_secrets_show_nowhere(home, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    settings = load_settings(home)

    assert settings.secret_key.get_secret_value() == "hush-key"
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hush" not in shown


def test_every_setting_that_is_a_secret_is_kept_as_one():
    kept = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}

    assert kept == {
        "database_url",
        "secret_key",
        "notify",
        "resend_webhook_secret",
        "mailgun_webhook_key",
        "link_keys",
        "events_key",
        "sendgrid_api_key",
        "resend_api_key",
        "mailgun_api_key",
        "smtp_password",
        "twilio_auth_token",
    }


def test_warm_ups_are_first_days_by_lane(home, monkeypatch):
    monkeypatch.setenv("COMMS_WARM_UP", "email:sendgrid=2026-12-01, email:smtp=2026-12-05,")
    assert load_settings(home).warm_up == {
        "email:sendgrid": date(2026, 12, 1),
        "email:smtp": date(2026, 12, 5),
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("email:sendgrid", "'email:sendgrid' is no lane and day; write e.g. email:sendgrid=2026-12-01"),
        ("sendgrid=2026-12-01", "'sendgrid=2026-12-01' is no lane and day"),
        ("email:sendgrid=2026-02-30", "there is no day 2026-02-30"),
        ("email:smtp=2026-12-01,email:smtp=2026-12-02", "lane email:smtp is there twice"),
    ],
)
def test_a_warm_up_that_is_none_is_refused(home, monkeypatch, value, problem):
    monkeypatch.setenv("COMMS_WARM_UP", value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings(home)
    assert problem in str(refused.value)
    assert "COMMS_WARM_UP" in str(refused.value)
