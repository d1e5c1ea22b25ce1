"""Charts: valid pictures of the numbers given, the same every time, whatever the words beside them."""

from base64 import b64decode
from xml.etree import ElementTree

import pytest

from comms_pipeline.reports.charts.bars import Bar, Bars
from comms_pipeline.reports.charts.course import Course, Series
from comms_pipeline.reports.charts.dots import Dot, Dots
from comms_pipeline.reports.charts.heat_map import Cell, HeatMap
from comms_pipeline.reports.charts.small import inline_image, small_bars, sparkline
from comms_pipeline.reports.charts.svg import PRINT, SCREEN, Tone, compact, fit, nice_step, ticks

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '"><script>alert(1)</script>&\x00\x1b]'


def marks(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{name}"))


def words(svg: str) -> list[str]:
    return [text.text or "" for text in marks(svg, "text")]


def bars(**amounts: int) -> Bars:
    made = tuple(Bar(name=name, amount=amount, text=f"{amount:,}") for name, amount in amounts.items())
    return Bars(title="Funnel", description="How many", bars=made)


def test_bars_are_as_long_as_their_share_of_the_longest():
    svg = bars(audience=2000, excluded=500, refused=0).svg(PRINT, 480)

    # Of 480 pixels, 45.5 are for the longest name and 32 for the longest amount.
    assert [float(bar.attrib["width"]) for bar in marks(svg, "rect")] == [402.5, 100.6, 0]
    assert words(svg) == ["audience", "2,000", "excluded", "500", "refused", "0"]
    assert [bar.attrib["fill"] for bar in marks(svg, "rect")] == ["#1f5fae"] * 3


def test_on_narrow_pictures_names_stand_above_bars():
    wide, narrow = bars(audience=10).svg(SCREEN, 760), bars(audience=10).svg(SCREEN, 330)

    assert [float(bar.attrib["x"]) for bar in marks(wide, "rect")] == [66.9]
    assert [(float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in marks(narrow, "rect")] == [
        (0, 330)
    ]


@pytest.mark.parametrize(
    "chart",
    [
        bars(),
        bars(audience=0),
        Course(title="C", description="", moments=(), series=(), ticks=()),
        Course(
            title="C",
            description="",
            moments=("9:00",),
            series=(Series(name="a", counts=(0,)),),
            ticks=(0,),
            is_cumulated=True,
        ),
        HeatMap(title="H", description="", cells=()),
        Dots(title="D", description="", dots=(), reference=0.0),
        Dots(title="D", description="", dots=(Dot(name="a", value=0, low=0, high=0, text="0"),)),
    ],
)
def test_nothing_to_show_is_still_a_picture(chart):
    for theme, width in ((SCREEN, 760), (SCREEN, 330), (PRINT, 480)):
        tree = ElementTree.fromstring(chart.svg(theme, width))
        assert tree.attrib["role"] == "img"
        assert tree.find(f"{SVG}title").text == chart.title
        assert "nan" not in chart.svg(theme, width)


def course(**changes: object) -> Course:
    values = {
        "title": "Opens",
        "description": "When",
        "moments": ("9:00", "10:00", "11:00"),
        "series": (Series(name="opened", counts=(4, 0, 2)), Series(name="clicked", counts=(1, 0, 0))),
        "ticks": (0, 1, 2),
    } | changes
    return Course(**values)


def test_a_course_has_a_column_for_each_count_that_is_not_0():
    svg = course().svg(SCREEN, 760)

    columns = [bar for bar in marks(svg, "rect") if bar.find(f"{SVG}title") is not None]
    assert [bar.find(f"{SVG}title").text for bar in columns] == [
        "9:00: 4 opened",
        "11:00: 2 opened",
        "9:00: 1 clicked",
    ]
    assert [float(bar.attrib["height"]) for bar in columns] == [110, 55, 27.5]
    assert words(svg) == ["opened", "clicked", "0", "2", "4", "9:00", "10:00", "11:00"]


def test_a_cumulated_course_adds_up_and_tells_its_lines_apart_without_colour():
    svg = course(is_cumulated=True).svg(PRINT, 480)

    opened, clicked = marks(svg, "path")
    # From nothing to 4, 4 and 6 of 6.
    assert [point.split()[1] for point in opened.attrib["d"][1:].split("L")] == [
        "195.7",
        "151.4",
        "151.4",
        "129.2",
    ]
    assert "stroke-dasharray" not in opened.attrib
    assert clicked.attrib["stroke-dasharray"] == "5 3"


def test_of_too_many_moments_every_so_many_is_named():
    moments = tuple(f"{day} November" for day in range(1, 61))
    many = course(moments=moments, series=(Series(name="opened", counts=(1,) * 60),), ticks=tuple(range(60)))

    assert words(many.svg(SCREEN, 330))[-3:] == ["1 November", "20 November", "39 November"]


def test_a_heat_map_is_darker_where_there_is_more():
    cells = tuple(
        Cell(weekday=1, hour=hour, amount=amount, text=str(amount))
        for hour, amount in enumerate((0, 1, 20, 21, 100))
    )
    svg = HeatMap(title="Hours", description="", cells=cells).svg(PRINT, 480)

    fills = [cell.attrib["fill"] for cell in marks(svg, "rect")]
    assert [PRINT.scale.index(fill) for fill in fills[:6]] == [0, 1, 1, 2, 5, 0]
    assert len(fills) == 7 * 24 + 6
    assert words(svg)[:8] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "00"]


def test_a_heat_map_of_rates_tells_near_ones_apart():
    cells = tuple(
        Cell(weekday=7, hour=hour, amount=rate, text="") for hour, rate in enumerate((0.40, 0.45, 0.50))
    )
    svg = HeatMap(title="Rates", description="", cells=cells, is_from_least=True).svg(PRINT, 480)

    fills = [cell.attrib["fill"] for cell in marks(svg, "rect")]
    assert [PRINT.scale.index(fill) for fill in fills[6 * 24 : 6 * 24 + 4]] == [1, 3, 5, 0]


def test_dots_stand_on_their_intervals_and_the_scale_holds_all_of_them():
    dots = (
        Dot(name="warm", value=0.05, low=0.01, high=0.09, text="+5.0 points", tone=Tone.GOOD),
        Dot(name="cold", value=-0.02, low=-0.06, high=0.02, text="−2.0 points"),
    )
    svg = Dots(title="Difference", description="", dots=dots, reference=0.0).svg(PRINT, 480)

    first, second = (float(dot.attrib["cx"]) for dot in marks(svg, "circle"))
    # 0 is at 269.6, +5 points at 344.3.
    whiskers = [line for line in marks(svg, "line") if line.attrib["stroke-width"] == "2"]
    assert (first, second) == (344.3, 239.6)
    assert [(float(line.attrib["x1"]), float(line.attrib["x2"])) for line in whiskers[::3]] == [
        (284.5, 404.1),
        (179.8, 299.5),
    ]
    assert [word for word in words(svg) if word[-1:].isdigit()] == ["−10", "−5", "0", "+5", "+10"]


def test_words_are_escaped_and_what_xml_cannot_say_is_replaced():
    charts = (
        Bars(title=HOSTILE, description=HOSTILE, bars=(Bar(name=HOSTILE, amount=1, text=HOSTILE),)),
        course(title=HOSTILE, moments=(HOSTILE, "b", "c"), series=(Series(name=HOSTILE, counts=(1, 2, 3)),)),
        HeatMap(title=HOSTILE, description="", cells=(Cell(weekday=1, hour=0, amount=1, text=HOSTILE),)),
        Dots(title=HOSTILE, description="", dots=(Dot(name=HOSTILE, value=0, low=-1, high=1, text=HOSTILE),)),
    )
    for svg in (
        chart.svg(theme, width) for chart in charts for theme in (SCREEN, PRINT) for width in (330, 760)
    ):
        assert "<script" not in svg
        assert '"><script>alert(1)</script>&\ufffd\ufffd]' in "".join(ElementTree.fromstring(svg).itertext())


def test_the_same_numbers_make_the_same_picture():
    assert course().svg(SCREEN, 760) == course().svg(SCREEN, 760)


@pytest.mark.parametrize("amounts", [{}, {"audience": 0}, {"audience": 5, "excluded": 0, "messages": 5}])
def test_small_bars_leave_out_zeros_but_the_first(amounts):
    assert words(small_bars(amounts)) == [f"{k} {v}" for k, v in amounts.items() if v or k == "audience"]


def test_small_bars_always_fit_into_markdown_that_dagster_shows_in_place():
    long = {f"{number} {'<&' * 40}": 10**9 for number in range(40)}
    whole = small_bars({"audience": 3895, "excluded": 455, "messages": 3440, "accepted": 3428, "refused": 12})

    for svg in (small_bars(long), small_bars({"one " + "&" * 2000: 1})):
        ElementTree.fromstring(svg)
        assert len(inline_image(svg, "The send's funnel")) < 1000
    assert len(words(whole)) == 5
    assert len(whole) < 700


def test_a_sparkline_ends_in_a_dot_and_stays_small():
    short = sparkline([0.1, 0.3, 0.2], width=96, height=22)

    assert marks(short, "path")[0].attrib["d"] == "M4 18L48 4L92 11"
    assert (marks(short, "circle")[0].attrib["cx"], marks(short, "circle")[0].attrib["cy"]) == ("92", "11")
    assert marks(sparkline([5, 5]), "path")[0].attrib["d"] == "M4 11L92 11"
    assert len(sparkline(range(10_000))) < 700
    assert marks(sparkline([]), "path") == []


def test_an_inline_image_is_markdown_that_holds_the_picture():
    image = inline_image("<svg>é</svg>", "The [funnel](x)")

    prefix, _, data = image.removesuffix(")").partition(",")
    assert prefix == "![The  funnel  x ](data:image/svg+xml;base64"
    assert b64decode(data).decode() == "<svg>é</svg>"


def test_names_are_cut_to_what_fits():
    assert fit("unsubscribed", 200, PRINT) == "unsubscribed"
    assert fit("unsubscribed", 27, PRINT) == "unsub…"
    assert fit("中文中文", 27, PRINT) == "中文…"
    assert fit("a", 0, PRINT) == "…"


@pytest.mark.parametrize(
    ("top", "marked"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (2, [0, 1, 2]),
        (177, [0, 100, 200]),
        (1414, [0, 500, 1000, 1500]),
    ],
)
def test_scales_have_round_marks(top, marked):
    assert ticks(top) == marked


def test_counts_are_written_short_on_scales():
    assert [compact(value) for value in (0, 950, 1200, 3_000_000)] == ["0", "950", "1.2k", "3M"]
    assert nice_step(0.19, 5) == pytest.approx(0.05)
