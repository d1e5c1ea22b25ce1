"""Joins the templates of a message into one tree per part: includes and blocks are put in place at compile time.

The parent and the rendering child both run this on the same text, so that a number means the same node in both.
Import stays a statement: a module's macros never see the message's variables.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from jinja2 import nodes

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.names import assigned_names, read_names, trapped_name
from comms_pipeline.personalization.syntax import (
    File,
    TemplateSource,
    check_depth,
    parse,
    start_position,
    suggestion,
    template_error,
)

_MAX_NODES = 10_000
_DEFINITIONS = nodes.Assign | nodes.AssignBlock | nodes.Macro | nodes.Import | nodes.FromImport
# Statements whose own names a block inside them cannot see unless it is `scoped`.
_SCOPES = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.With, nodes.FilterBlock, nodes.AssignBlock)
_SETTERS = (nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.Import, nodes.FromImport)
_UNSEEN_IN_INCLUDES = frozenset({"loop", "caller", "varargs", "kwargs"})
_MAX_OPEN_TEMPLATES = 20
_CHARACTERS_PER_NODE = 32  # how much text costs as much of the budget as one node
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Program:
    """The joined trees of a message by part, their nodes numbered in reading order, and their files."""

    sources: Mapping[str, TemplateSource]
    includes: Mapping[str, str]
    language: str
    files: list[File]
    trees: Mapping[str, nodes.Template]
    listings: Mapping[str, list[nodes.Node]]
    numbers: Mapping[int, int]
    late_bound_parts: frozenset[str]
    _cache: dict[tuple[str, int], object] = field(default_factory=dict)

    def reads(self, node: nodes.Node) -> frozenset[str]:
        """`read_names` of one node of the trees, remembered."""
        return self._remember("reads", node, read_names)

    def source(self, node: nodes.Node) -> str:
        """Text equal for structurally equal nodes, remembered."""
        return self._remember("source", node, repr)

    def error(self, node: nodes.Node, problem: str, fix: str) -> TemplateError:
        """An error at a node."""
        return template_error(self.files, node.lineno, problem, fix)

    def _remember(self, question: str, node: nodes.Node, ask: Callable[[nodes.Node], _Answer]) -> _Answer:
        key = (question, id(node))
        if key not in self._cache:
            self._cache[key] = ask(node)
        return self._cache[key]  # type: ignore[return-value]  # one question, one type of answer


def load(sources: Mapping[str, TemplateSource], includes: Mapping[str, str], *, language: str) -> Program:
    """Parses and joins every part; filters write `language`.

    Raises TemplateError: bad syntax, a cycle, a template missing or too large.
    """
    files: list[File] = []
    trees: dict[str, nodes.Template] = {}
    for part, source in sources.items():
        start = start_position(len(files))
        body = _Joiner(files, includes).template(source.name, source.text, {}, ())
        trees[part] = nodes.Template(body, lineno=start)
        check_depth(files, trees[part])
        trap = trapped_name(body)
        if trap is not None:
            where, name = trap
            problem = f"{name} is read inside a block or loop before it is set here: Jinja2 finds it undefined there"
            raise template_error(files, where.lineno, problem, "Set it under another name.")
    numbered = {part: list(_walk(tree)) for part, tree in trees.items()}
    return Program(
        sources=sources,
        includes=includes,
        language=language,
        files=files,
        trees=trees,
        listings=numbered,
        numbers={id(node): number for listed in numbered.values() for number, node in enumerate(listed)},
        late_bound_parts=frozenset(part for part, listed in numbered.items() if _is_late_bound(listed)),
    )


class _Joiner:
    """Joins one part; `includes` are the templates it may name, `_budget` the nodes it may still add."""

    def __init__(self, files: list[File], includes: Mapping[str, str]) -> None:
        self._files = files
        self._includes = includes
        self._budget = _MAX_NODES

    def template(
        self, name: str, text: str, blocks: Mapping[str, list[nodes.Block]], open_names: tuple[str, ...]
    ) -> list[nodes.Node]:
        """The joined body of a template; `blocks` are those of the templates that extend it, nearest last."""
        tree = parse(self._files, name, text)
        self._budget -= len(text) // _CHARACTERS_PER_NODE
        self._spend(tree, [tree])
        self._refuse_what_cannot_be_joined(tree)
        own = self._own_blocks(tree)
        chains = {block: [own[block], *blocks.get(block, [])] if block in own else blocks[block]
                  for block in {**own, **blocks}}  # fmt: skip
        extends = list(tree.find_all(nodes.Extends))
        place = _Place(chains=chains, open_names=(*open_names, name))
        if not extends:
            return self._body(tree.body, place)
        if len(extends) > 1 or extends[0] not in tree.body:
            self._refuse(
                extends[-1], "extends must stand once, outside every block and condition", "Move it up."
            )
        before, after = self._around(tree, extends[0])
        base, text = self._named(extends[0], extends[0].template, place)
        return [*self._body([*before, *after], place), *self.template(base, text, chains, place.open_names)]

    def _around(
        self, tree: nodes.Template, extends: nodes.Extends
    ) -> tuple[list[nodes.Node], list[nodes.Node]]:
        """What a template that extends another still does itself: all before that, definitions after it."""
        cut = tree.body.index(extends)
        after: list[nodes.Node] = []
        for node in tree.body[cut + 1 :]:
            if isinstance(node, _DEFINITIONS):
                after.append(node)
            elif not isinstance(node, nodes.Block | nodes.Output):
                self._refuse(
                    node, "a template that extends another has this outside a block", "Move it into a block."
                )
        return tree.body[:cut], after

    def _own_blocks(self, tree: nodes.Template) -> dict[str, nodes.Block]:
        own: dict[str, nodes.Block] = {}
        for block in tree.find_all(nodes.Block):
            if block.name in own:
                self._refuse(block, f"block {block.name} is defined twice", "Rename one of them.")
            own[block.name] = block
        for scope in tree.find_all(_SCOPES):
            for block in scope.find_all(nodes.Block):
                if isinstance(scope, nodes.Macro) or not block.scoped:
                    fix = f"Write {{% block {block.name} scoped %}}, or move it out."
                    self._refuse(block, f"block {block.name} stands inside another statement", fix)
        return own

    def _refuse_what_cannot_be_joined(self, tree: nodes.Template) -> None:
        for name in tree.find_all(nodes.Name):
            if name.name == "self":
                self._refuse(name, "self is not available", "Write the content again or put it in a macro.")
        for scope in tree.find_all(nodes.ScopedEvalContextModifier):
            for inner in scope.find_all((nodes.Block, nodes.Include, nodes.Name)):
                if not isinstance(inner, nodes.Name) or inner.name == "super":
                    self._refuse(
                        inner, "blocks and includes do not inherit autoescape", "Move it out of the tag."
                    )

    def _body(self, body: Iterable[nodes.Node], place: "_Place") -> list[nodes.Node]:
        """Statements with includes and blocks replaced by scopes that hold what they stand for."""
        joined: list[nodes.Node] = []
        for node in body:
            if isinstance(node, nodes.Include):
                joined += self._include(node, place)
            elif isinstance(node, nodes.Block):
                joined += self._block(node, place)
            elif isinstance(node, nodes.Output):
                joined += self._output(node, place)
            else:
                self._statement(node, place)
                joined.append(node)
        return joined

    def _statement(self, node: nodes.Node, place: "_Place") -> None:
        if isinstance(node, nodes.Import | nodes.FromImport):
            if node.with_context:
                self._refuse(
                    node, "import with context is not available", "Pass what the macro needs as arguments."
                )
            name, text = self._named(node, node.template, place)
            parse(self._files, name, text)
        for field_name in ("body", "elif_", "else_"):
            if hasattr(node, field_name):
                setattr(node, field_name, self._body(getattr(node, field_name), place))

    def _include(self, node: nodes.Include, place: "_Place") -> list[nodes.Node]:
        if not node.with_context:
            self._refuse(node, "include without context is not available", "Leave `without context` out.")
        name = self._constant(node, node.template)
        if name not in self._includes and node.ignore_missing:
            return []
        name, text = self._named(node, node.template, place)
        scope = nodes.Scope(self.template(name, text, {}, place.open_names), lineno=node.lineno)
        check_depth(self._files, scope)
        for unseen in sorted(_UNSEEN_IN_INCLUDES & read_names(scope)):
            self._refuse(node, f"{name} reads {unseen}, which an include cannot see", "Pass it with set.")
        return [look_up(sorted(read_names(scope)), scope.lineno), scope]

    def _block(self, node: nodes.Block, place: "_Place") -> list[nodes.Node]:
        chain = place.chains[node.name]
        if chain[-1].required:
            self._refuse(
                node, f"block {node.name} is required and nobody fills it", "Define it in the template."
            )
        return self._link(node, chain, place, is_scoped=node.scoped)

    def _link(
        self, node: nodes.Node, chain: list[nodes.Block], place: "_Place", *, is_scoped: bool
    ) -> list[nodes.Node]:
        """The nearest block of a chain (base first), put at `node`; its `super()` is the rest of the chain."""
        block = chain[-1]
        self._spend(block, block.body)
        own_names = frozenset().union(*(assigned_names(setter) for setter in block.find_all(_SETTERS)))
        inner = _Place(
            chains=place.chains,
            open_names=place.open_names,
            above=chain[:-1],
            local_names=place.local_names | own_names,
        )
        scope = nodes.Scope(self._body([_clone(item) for item in block.body], inner), lineno=node.lineno)
        check_depth(self._files, scope)
        hidden = frozenset() if is_scoped else place.local_names & read_names(scope)
        if hidden:
            fix = "Write scoped after the block's name, or set it outside of blocks."
            self._refuse(
                node, f"block {block.name} cannot see {min(hidden)}, set in the block around it", fix
            )
        return [look_up(sorted(read_names(scope)), scope.lineno), scope]

    def _output(self, node: nodes.Output, place: "_Place") -> list[nodes.Node]:
        """An output, cut where it prints `super()`."""
        joined: list[nodes.Node] = []
        for child in node.nodes:
            if _is_super(child) and place.above:
                joined += self._link(child, place.above, place, is_scoped=False)
            else:
                joined.append(nodes.Output([child], lineno=child.lineno))
        for name in node.find_all(nodes.Name):
            if name.name == "super" and not (place.above and any(map(_is_super, node.nodes))):
                self._refuse(
                    name,
                    "super is available as {{ super() }} in a block that overrides another",
                    "Remove it.",
                )
        return joined

    def _named(self, node: nodes.Node, template: nodes.Expr, place: "_Place") -> tuple[str, str]:
        name = self._constant(node, template)
        if name not in self._includes:
            fix = f"{suggestion(name, self._includes)}Add it to the message's includes."
            self._refuse(node, f"there is no template {name}", fix)
        if name in place.open_names or len(place.open_names) >= _MAX_OPEN_TEMPLATES:
            self._refuse(node, f"{name} includes itself, or too many others", "Break the circle.")
        return name, self._includes[name]

    def _constant(self, node: nodes.Node, template: nodes.Expr) -> str:
        if isinstance(template, nodes.Const) and isinstance(template.value, str):
            return template.value
        self._refuse(node, "the template's name is not a constant", "Write the name in quotes.")

    def _spend(self, node: nodes.Node, body: Iterable[nodes.Node]) -> None:
        for item in body:
            self._budget -= sum(1 for _ in _walk(item))
        if self._budget < 0:
            self._refuse(node, f"the joined template has more than {_MAX_NODES:,} nodes", "Include less.")

    def _refuse(self, node: nodes.Node, problem: str, fix: str) -> NoReturn:
        raise template_error(self._files, node.lineno, problem, fix)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where joining stands: every block's chain (base first), the templates open now, what `super()` is here,
    and the names set inside the blocks around, which a block inside them does not see."""

    chains: Mapping[str, list[nodes.Block]]
    open_names: tuple[str, ...]
    above: list[nodes.Block] = field(default_factory=list)
    local_names: frozenset[str] = frozenset()


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(list(current.iter_child_nodes())))


def _clone(node: nodes.Node) -> nodes.Node:
    """A copy of the tree below a node: a block that is printed twice must not be one node in two places."""
    copied: nodes.Node = object.__new__(type(node))
    for name, value in node.iter_fields():
        if isinstance(value, list):
            value = [_clone(item) if isinstance(item, nodes.Node) else item for item in value]
        setattr(copied, name, _clone(value) if isinstance(value, nodes.Node) else value)
    copied.lineno, copied.environment = node.lineno, node.environment
    return copied


def look_up(names: Iterable[str], position: int = 1) -> nodes.Stmt:
    """A statement that reads names and does nothing: they are then looked up in the context, once for its scope.

    Without it a scope within finds a name undefined that the scope around it sets later, which is right for a scope of
    the template's own, but not for a template joined into another or a fragment taken out of one.
    """
    read: list[nodes.Expr] = [nodes.Name(name, "load", lineno=position) for name in names]
    return nodes.ExprStmt(nodes.Tuple(read, "load", lineno=position), lineno=position)


def _is_super(node: nodes.Node) -> bool:
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "super"
        and not (node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
    )


def _is_late_bound(listed: list[nodes.Node]) -> bool:
    """Whether a macro reads a name that is assigned after it: it sees the value of the time of the call."""
    read: set[str] = set()
    for node in listed:
        if not isinstance(node, nodes.If) and not read.isdisjoint(assigned_names(node)):
            return True
        if isinstance(node, nodes.Macro):
            read |= read_names(node)
    return False
