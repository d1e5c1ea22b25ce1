import pytest

from comms_pipeline.domain.yaml_marks import YamlSyntaxError, parse_yaml


def test_only_true_and_false_are_booleans():
    assert parse_yaml("[true, false, no, yes, on, Off]").value == [True, False, "no", "yes", "on", "Off"]


def test_postcodes_telephone_numbers_times_and_dates_stay_text():
    text = "[02139, +12025550123, 12:30, 2026-12-01, 1_000, 0x1f]"

    assert parse_yaml(text).value == ["02139", "+12025550123", "12:30", "2026-12-01", "1_000", "0x1f"]


def test_plain_numbers_and_nulls_are_values():
    assert parse_yaml("[0, -7, 2.50, 1e3, ~, null]").value == [0, -7, 2.5, 1000.0, None, None]


def test_quotes_make_text():
    assert parse_yaml("['1', \"true\", '']").value == ["1", "true", ""]


def test_digits_too_many_for_an_exact_number_stay_text():
    assert parse_yaml("1234567890123456789012").value == "1234567890123456789012"


def test_an_empty_document_is_null():
    assert parse_yaml("# nothing\n").value is None


def test_every_path_knows_its_line():
    document = parse_yaml("a: 1\nb:\n  c:\n    - x\n    - {d: 2,\n       e: 3}\n")

    assert document.line(["a"]) == 1
    assert document.line(["b"]) == 2
    assert document.line(["b", "c"]) == 3
    assert document.line(["b", "c", 0]) == 4
    assert document.line(["b", "c", 1, "e"]) == 6


def test_the_line_of_a_missing_key_is_that_of_what_lacks_it():
    document = parse_yaml("a: 1\nb:\n  c: 1\n")

    assert document.line(["b", "Tag", "missing"]) == 2
    assert document.line(["missing"]) == 1


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a'"),
        ("a: 1\nb: [1, 2\n", 3, "not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a:\n\t- 1\n", 2, "not valid YAML: found character '\\t' that cannot start any token"),
        ("a: &x 1\nb: *x\n", 2, "aliases (*name) are not used here"),
        (
            "a: !!python/name:os.system x\n",
            1,
            "tag 'tag:yaml.org,2002:python/name:os.system' is not used here",
        ),
        ("a: 1\nb: !!set {x}\n", 2, "tag 'tag:yaml.org,2002:set' is not used here"),
        ("a: 1\nb: \x07\n", 2, "a character that YAML does not allow"),
        ("[a]: 1\n", 1, "a key is not plain text"),
        ("a\n---\nb\n", 2, "not valid YAML: but found another document"),
        ("[" * 200 + "]" * 200, 1, "the file is nested too deeply"),
        ("[" * 20_000, 1, "the file is nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text, line, problem):
    with pytest.raises(YamlSyntaxError) as caught:
        parse_yaml(text)

    assert (caught.value.line, caught.value.problem) == (line, problem)
