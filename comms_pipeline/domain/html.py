"""Facts of HTML that more than one reader of pages needs. Parses nothing."""

VOID_ELEMENTS = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track"}
    | {"wbr"}
)
"""Tags without an end: https://html.spec.whatwg.org/#void-elements, and `param`, which was one."""
