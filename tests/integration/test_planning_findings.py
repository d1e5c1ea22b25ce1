"""What a plan finds wrong with its messages, over the whole audience, before anything is queued."""

import re

import pytest
from audiences import Club, people

from comms_pipeline.domain.errors import InvalidSegment
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.planning import stages
from comms_pipeline.planning.findings import Findings, Missing
from comms_pipeline.planning.rendering import Keys, Rendering
from comms_pipeline.planning.templates import MessageKey, TemplateProblems, compile_campaign
from comms_pipeline.providers.base import joined

LINK = '<a href="{{ unsubscribe_url }}">Stop</a>'
FOOT = f"{LINK} {{{{ postal_address }}}}"
EMAIL = {"email": {"subject": "News", "html": "news.html"}}
SMS = {"templates": {"sms": {"text": "news.txt"}}, "channels": ["sms"]}


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    return Club.founded(shared_stores, tmp_path)


def problems(club: Club) -> list[str]:
    """What planning refuses, without the campaign's id; nothing is written."""
    with pytest.raises(TemplateProblems) as caught:
        club.plan()
    assert club.rows("select * from campaign.messages where send_id = $id") == []
    assert str(caught.value) == str(caught.value.problems[0])
    return [str(problem).replace(f"campaign {club.id}, ", "") for problem in caught.value.problems]


def gathered(club: Club, key: MessageKey = (Channel.EMAIL, "", "en")) -> Findings:
    """The findings over all contacts, as a plan gathers them, were everybody to get this message; not raised."""
    context = club.send()
    findings = Findings(context)
    keys = Keys(
        secret=club.stores.secret,
        tokens=club.stores.token_keys,
        public_url=club.stores.settings.public_url,
    )
    with club.stores.lake.reader() as cursor:
        contacts = cursor.execute(
            "select contact_id, contact_id as message_id from core.contacts where organisation_id = $id order by 1",
            {"id": club.id},
        ).pl()
        compiled = compile_campaign(context.spec, context.templates)
        with Rendering(cursor, context, compiled, keys) as rendering:
            for part in contacts.iter_slices(2):
                findings.add(rendering.render(key, part))
    return findings


def said(club: Club, part: str) -> list[str]:
    return [text for content, payload in club.queued() for text in joined(content.parts[part], payload)]


def test_an_email_goes_out_with_styles_preheader_and_a_text_of_its_own(club):
    club.enrol([{"email": "a@people.example", "name": "O'Brien & Co"}])
    page = f"<style>p {{ margin: 0 }}</style><body><p>Dear {{{{ name }}}}</p>{FOOT}"
    email = {"subject": "Hi {{ name }}", "preheader": "For {{ name }}", "html": "news.html"}
    club.announce({"news.html": page}, templates={"email": email})

    assert (club.plan(), club.enqueue()) == (1, 1)
    [html], [text], [subject] = said(club, "html"), said(club, "text"), said(club, "subject")
    assert '<p style="margin: 0;">Dear O&#39;Brien &amp; Co</p>' in html
    assert 'mso-hide:all;">For O&#39;Brien &amp; Co&#847;' in html
    assert subject == "Hi O'Brien & Co"
    assert text.startswith("Dear O'Brien & Co\n\nStop (https://mail.lakeside.example/u/")
    assert text.endswith(") 1 Harbor Lane")
    assert {name for content, _ in club.queued() for name in content.parts} == {"subject", "html", "text"}


def test_a_message_knows_its_language_and_links_to_preferences(club):
    club.enrol(
        [{"email": "a@people.example", "language": "de-AT"}],
        columns={"email": "email", "language": "language"},
    )
    page = f'<html lang="{{{{ message_language }}}}"><a href="{{{{ preferences_url }}}}">Choose</a>{FOOT}'
    club.announce({"news.html": page}, translations={"de": {"email": {"subject": "Neues"}}})

    assert (club.plan(), club.enqueue()) == (1, 1)
    [html] = said(club, "html")
    assert html.startswith('<html lang="de">')
    token = re.search(r'"https://mail.lakeside.example/p/([^"]+)"', html)
    assert token
    assert club.stores.token_keys.verify(token[1], Purpose.PREFERENCES) is not None


@pytest.mark.parametrize(("tracking", "is_ours"), [("own", True), ("none", False), ("provider", False)])
def test_links_lead_by_way_of_us_only_when_we_track(club, tracking, is_ours):
    club.enrol(people(2))
    page = f'<body><a href="https://shop.example/sale">Sale</a>{FOOT}</body>'
    club.announce({"news.html": page}, tracking=tracking)

    assert (club.plan(), club.enqueue()) == (2, 2)
    for html in said(club, "html"):
        assert ('href="https://mail.lakeside.example/c/' in html) is is_ours
        assert ('href="https://shop.example/sale"' in html) is not is_ours
        assert ('<img src="https://mail.lakeside.example/o/' in html) is is_ours
        assert 'href="https://mail.lakeside.example/u/' in html


def test_marketing_email_needs_a_way_out_and_an_address_in_both_parts(club):
    club.enrol(people(3))
    club.announce(
        {"news.html": "<p>Dear {{ name }}</p>", "news.txt": "Dear {{ name }}"},
        templates={"email": {"subject": "News", "html": "news.html", "text": "news.txt"}},
    )

    assert problems(club) == [
        "news.html: 3 messages without an unsubscribe link. "
        'Add <a href="{{ unsubscribe_url }}">Unsubscribe</a>',
        "news.html: 3 messages without the postal address. Add {{ postal_address }}",
        "news.txt: 3 messages without an unsubscribe link. Add {{ unsubscribe_url }}",
        "news.txt: 3 messages without the postal address. Add {{ postal_address }}",
    ]


def test_those_are_counted_whom_a_branch_leaves_without_a_way_out(club):
    club.enrol([{**row, "tier": tier} for row, tier in zip(people(3), ["gold", "tin", "tin"], strict=True)])
    club.announce({"news.html": f"{{% if tier == 'gold' %}}{LINK}{{% endif %}} {{{{ postal_address }}}}"})

    assert [problem.partition(". ")[0] for problem in problems(club)] == [
        "news.html: 2 messages without an unsubscribe link",
        "news.html (text derived): 2 messages without an unsubscribe link",
    ]


def test_a_postal_address_may_be_set_as_one_likes(club):
    club.enrol(people(2))
    club.announce({"news.html": f"{LINK} <p>{{{{ name }}}}</p><b>1</b> HARBOR<br>Lane"})

    assert club.plan() == 2


def test_transactional_email_needs_neither(club):
    club.enrol(people(1))
    club.announce({"news.html": "<p>Dear {{ name }}</p>"}, **{"class": "transactional"})

    assert club.plan() == 1


def test_links_that_lead_nowhere_are_counted(club):
    rows = [
        {**row, "url": url}
        for row, url in zip(people(4), ["https://x.example/a", "http://x.example/b", "", "/c"], strict=True)
    ]
    club.enrol(rows)
    page = (
        '<a href="{{ url }}">1</a><img src="logo.png" alt=""><a href="http://old.example/{{ name }}?q=1">2</a>'
        '<a href="mailto:a@b.example">3</a><a href="#top">4</a><a href="tel:+1">5</a><img src="cid:x" alt="">'
        f'<a href="HTTPS://y.example/{{{{ name }}}}">6</a>{FOOT}'
    )
    club.announce({"news.html": page}, fallbacks={"url": ""})

    fix = "that leads nowhere from an inbox. Write absolute https addresses, also in the contacts' data"
    assert problems(club) == [
        f'news.html: 4 messages with <img src="logo.png"> {fix}',
        f'news.html: 4 messages with <a href="http://old.example/…"> {fix}',
        f"news.html: 3 messages with a <a href> of a value {fix}",
    ]


@pytest.mark.parametrize(("scheme", "is_refused"), [("http", True), ("https", False), ("", True)])
def test_links_inside_loops_are_looked_at_too(club, scheme, is_refused):
    club.enrol(people(2, urls=f"https://a.example,{scheme}://b.example"))
    page = "{% for url in urls.split(',') %}<a class=x href='{{ url }}'>href=go</a>{% endfor %}" + FOOT
    club.announce({"news.html": page})

    if is_refused:
        [problem] = problems(club)
        assert problem.startswith("news.html: 2 messages with a link in a loop or macro that leads nowhere")
    else:
        assert club.plan() == 2


def test_subjects_are_one_line_of_a_length_that_inboxes_show(club):
    names = ["Ada", "", "A\u2028B", "x" * 160, "é" * 500]
    club.enrol([{**row, "title": name} for row, name in zip(people(5), names, strict=True)])
    club.announce(
        {"news.html": FOOT},
        templates={"email": {"subject": "{{ title }}", "html": "news.html"}},
        fallbacks={"title": ""},
    )

    assert [problem.partition(". ")[0] for problem in problems(club)] == [
        "subject: 1 message with an empty subject",
        "subject: 1 message with a line break in the subject",
        "subject: 1 message with a subject longer than 998 bytes",
    ]
    assert gathered(club).warnings == [
        f"campaign {club.id}, subject: 1 message with a subject longer than 150 characters"
    ]


def test_text_messages_have_words_and_no_more_than_fit(club):
    names = ["Ada", "x" * 1_600, "x" * 1_601, ""]
    rows = [{"phone": f"+1212555010{number}", "story": name} for number, name in enumerate(names)]
    club.enrol(rows)
    club.announce({"news.txt": "{{ story }}"}, fallbacks={"story": ""}, **SMS)

    assert problems(club) == [
        "news.txt: 1 message without any text. Write something that needs nothing of the contact, or fallbacks",
        "news.txt: 1 message longer than the 1,600 characters that sms takes. "
        "Shorten it, or what contacts bring along: {{ … | truncate(100) }}",
    ]


def test_what_contacts_lack_is_counted_over_all_slices(club):
    rows = [
        {"email": f"p{n}@people.example", "name": name, "company": company}
        for n, (name, company) in enumerate([("Ada", ""), ("", "Acme"), ("", ""), ("Bo", "Acme"), ("Cy", "")])
    ]
    club.enrol(rows)
    page = "{{ name }} {% if company %}of {{ company }}{% endif %} {{ zodiac }}" + FOOT
    club.announce({"news.html": page}, fallbacks={"name": "there", "zodiac": "star"})

    assert gathered(club).missing == {
        "company": Missing(contacts=3, filled=0),
        "name": Missing(contacts=2, filled=2),
        "zodiac": Missing(contacts=5, filled=5),
    }


def test_a_page_at_fault_is_a_warning_and_goes_out_as_it_is(club):
    club.enrol(people(3))
    page = f"<style>p {{ margin: 0 }}</style><td>x</td><p style='oops'>{{{{ name }}}}</p>{FOOT}"
    club.announce({"news.html": page})

    assert gathered(club).warnings == [
        f"campaign {club.id}, news.html: the style of a <p> is not CSS",
        f"campaign {club.id}, news.html: a <td> stands where mail programs ignore it",
    ]
    assert club.plan() == 3


def test_a_page_that_gmail_clips_is_a_warning(club):
    club.enrol([{**row, "story": story} for row, story in zip(people(2), ["x", "x" * 90_000], strict=True)])
    club.announce({"news.html": "{{ story }}" + "<p>words</p>" * 1_500 + FOOT})

    assert gathered(club).warnings == [
        f"campaign {club.id}, news.html: 1 message larger than 102 KB, which Gmail clips"
    ]


def test_findings_name_variant_and_language(club):
    club.enrol(people(2))
    changed = {"email": {"html": "long.html"}}
    club.announce(
        {"news.html": FOOT, "long.html": "<p>words</p>" * 9_000},
        variants=[{"name": "a"}, {"name": "b", "templates": changed, "translations": {"de": changed}}],
        translations={"de": {"email": {"subject": "Neues"}}},
    )

    assert gathered(club, (Channel.EMAIL, "b", "de")).warnings == [
        f"campaign {club.id}, long.html b de: 2 messages larger than 102 KB, which Gmail clips"
    ]


def test_a_misspelt_field_is_named_with_the_nearest(club):
    club.enrol(people(2, tier="gold"))
    club.announce(audience={"field": "teir", "op": "eq", "value": "gold"})

    with pytest.raises(InvalidSegment, match=r"no contact has a field 'teir'\. Did you mean 'tier'\?"):
        stages.write_audience(club.stores, club.send())


@pytest.mark.parametrize(
    ("field", "op", "count"), [("opted_out_at", "is_not_set", 2), ("opted_out_at", "is_set", 0)]
)
def test_an_audience_may_ask_for_what_nobody_has_yet(club, field, op, count):
    club.enrol(people(2, tier="gold"))
    club.announce(audience={"field": field, "op": op})

    assert stages.write_audience(club.stores, club.send()) == count


def test_an_organisation_without_contacts_may_ask_for_anything(club):
    club.announce(audience={"field": "tier", "op": "eq", "value": "gold"})

    assert stages.write_audience(club.stores, club.send()) == 0


def test_applying_a_folder_prints_the_problems_of_every_file(comms, tmp_path):
    campaign = (
        "{id: %s, organisation: lakeside-weddings, audience: {everyone: true}, channels: [email],"
        " sender: {from_email: a@lakeside.example, from_name: A}, postal_address: 1 Main Street,"
        " templates: {email: {subject: News, html: %s.html}}}"
    )
    for name, page in {"a": "{{ x | nope }}", "b": "{% if %}", "c": "<p>fine</p>"}.items():
        (tmp_path / f"{name}.yaml").write_text(campaign % (name, name), encoding="utf-8")
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
    (tmp_path / "d.yaml").write_text("id: D", encoding="utf-8")

    printed = comms("campaigns", "apply", str(tmp_path))
    assert printed.code == 1
    lines = printed.err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["error"] * len(lines)
    assert f"{tmp_path}/b.html:1: " in printed.err
    assert f"{tmp_path}/d.yaml:1: 'D' is not an id" in printed.err

    (tmp_path / "d.yaml").unlink()
    (tmp_path / "b.html").write_text("{{ y | nada }}", encoding="utf-8")
    printed = comms("campaigns", "apply", str(tmp_path))
    assert printed.code == 1
    assert [line.split(":")[1].strip() for line in printed.err.splitlines()] == ["a.html", "b.html"]
