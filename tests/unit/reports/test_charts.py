"""Charts: valid pictures of the numbers given, whatever the words beside them."""

from base64 import b64decode
from xml.etree import ElementTree

from comms_pipeline.reports.charts import funnel_svg, inline_image, time_course_svg

SVG = "{http://www.w3.org/2000/svg}"


def bars(svg: str) -> list[tuple[float, float]]:
    """Width and height of every bar."""
    tree = ElementTree.fromstring(svg)
    return [(float(bar.attrib["width"]), float(bar.attrib["height"])) for bar in tree.iter(f"{SVG}rect")]


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_funnel_shows_each_step_as_wide_as_its_share_and_leaves_out_zeros():
    svg = funnel_svg({"audience": 2000, "excluded": 500, "messages": 1500, "refused": 0})

    assert bars(svg) == [(160, 13), (40, 13), (120, 13)]
    assert words(svg) == ["audience", "2,000", "excluded", "500", "messages", "1,500"]


def test_a_funnel_of_nobody_shows_its_first_step():
    assert words(funnel_svg({"audience": 0, "messages": 0})) == ["audience", "0"]


def test_a_time_course_has_a_bar_for_each_moment_and_names_its_ends():
    svg = time_course_svg([("9:00", 4), ("9:01", 0), ("9:00", 2)], "Opens & clicks")

    assert [height for _, height in bars(svg)] == [100, 0, 50]
    assert words(svg) == ["9:00", "9:00"]
    assert ElementTree.fromstring(svg).attrib["aria-label"] == "Opens & clicks"


def test_a_time_course_without_moments_is_an_empty_axis():
    assert bars(time_course_svg([], "Nothing")) == []


def test_words_are_escaped():
    hostile = '"><script>alert(1)</script>'

    for svg in (funnel_svg({hostile: 1}), time_course_svg([(hostile, 1)], hostile)):
        assert "<script>" not in svg
        assert hostile in "".join(ElementTree.fromstring(svg).itertext())


def test_an_inline_image_is_markdown_that_holds_the_picture():
    image = inline_image("<svg>é</svg>", "The funnel")

    prefix, _, data = image.removesuffix(")").partition(",")
    assert prefix == "![The funnel](data:image/svg+xml;base64"
    assert b64decode(data).decode() == "<svg>é</svg>"
