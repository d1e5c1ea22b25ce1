"""Which names a piece of template reads from outside and which it assigns: the scoping rules of Jinja2.

Works on the tree alone. Jinja2's own `meta.find_undeclared_variables` generates code, which folds constants, which
runs hostile ones; this does not.
"""

from collections.abc import Callable, Iterable

from jinja2 import nodes


def read_names(*body: nodes.Node) -> frozenset[str]:
    """Names that may be looked up outside `body`: read before they are certainly assigned."""
    reader = _Reader()
    reader.visit_all(body, set())
    return frozenset(reader.reads)


def assigned_names(*body: nodes.Node) -> frozenset[str]:
    """Names that `body` may leave assigned in the scope it stands in."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, nodes.Assign | nodes.AssignBlock):
            names |= _stores(node.target)
        elif isinstance(node, nodes.Macro):
            names.add(node.name)
        elif isinstance(node, nodes.Import):
            names.add(node.target)
        elif isinstance(node, nodes.FromImport):
            names |= {name if isinstance(name, str) else name[1] for name in node.names}
        elif isinstance(node, nodes.If):
            names |= assigned_names(*node.body, *node.elif_, *node.else_)
    return frozenset(names)


class _Reader:
    """Walks in evaluation order; `bound` holds the names certainly assigned so far in the scope."""

    def __init__(self, *, skips_joined: bool = False) -> None:
        self.reads: set[str] = set()
        self._skips_joined = skips_joined
        self._visitors: dict[type, Callable[..., None]] = {
            nodes.Name: self._name,
            nodes.Assign: self._assign,
            nodes.AssignBlock: self._assign_block,
            nodes.If: self._if,
            nodes.For: self._for,
            nodes.Macro: self._macro,
            nodes.CallBlock: self._call_block,
            nodes.With: self._with,
            nodes.Import: self._import,
            nodes.FromImport: self._import,
            nodes.Scope: self._joined,
            nodes.ExprStmt: self._joined,
            nodes.ScopedEvalContextModifier: self._scope,
            nodes.FilterBlock: self._scope,
            nodes.Block: self._scope,
            nodes.NSRef: self._namespace,
        }

    def visit_all(self, body: Iterable[nodes.Node], bound: set[str]) -> set[str]:
        for node in body:
            self._visitors.get(type(node), self._children)(node, bound)
        return bound

    def _children(self, node: nodes.Node, bound: set[str]) -> None:
        self.visit_all(node.iter_child_nodes(), bound)

    def _scope(self, node: nodes.Node, bound: set[str]) -> None:
        self.visit_all(node.iter_child_nodes(), set(bound))

    def _joined(self, node: nodes.Scope | nodes.ExprStmt, bound: set[str]) -> None:
        if _is_autoescape(node) or not self._skips_joined:
            self._scope(node, bound)

    def _name(self, node: nodes.Name, bound: set[str]) -> None:
        if node.ctx != "load":
            bound.add(node.name)
        elif node.name not in bound:
            self.reads.add(node.name)

    def _namespace(self, node: nodes.NSRef, bound: set[str]) -> None:
        if node.name not in bound:
            self.reads.add(node.name)

    def _assign(self, node: nodes.Assign, bound: set[str]) -> None:
        self.visit_all([node.node, node.target], bound)

    def _assign_block(self, node: nodes.AssignBlock, bound: set[str]) -> None:
        inner = self.visit_all(node.body, set(bound))
        if node.filter is not None:
            self.visit_all([node.filter], inner)
        self.visit_all([node.target], bound)

    def _if(self, node: nodes.If, bound: set[str]) -> None:
        ends: list[set[str]] = []
        for branch in [node, *node.elif_]:
            self.visit_all([branch.test], bound)
            ends.append(self.visit_all(branch.body, set(bound)))
        ends.append(self.visit_all(node.else_, set(bound)))
        bound |= set.intersection(*ends)

    def _for(self, node: nodes.For, bound: set[str]) -> None:
        self.visit_all([node.iter], bound)
        inner = self.visit_all([node.target], {*bound, "loop"})
        self.visit_all([] if node.test is None else [node.test], inner)
        self.visit_all(node.body, inner)
        self.visit_all(node.else_, set(bound))

    def _macro(self, node: nodes.Macro, bound: set[str]) -> None:
        inner = {*bound, node.name, "varargs", "kwargs", "caller", *(argument.name for argument in node.args)}
        self.visit_all([*node.defaults, *node.body], inner)
        bound.add(node.name)

    def _call_block(self, node: nodes.CallBlock, bound: set[str]) -> None:
        self.visit_all([node.call], bound)
        inner = {*bound, "varargs", "kwargs", "caller", *(argument.name for argument in node.args)}
        self.visit_all([*node.defaults, *node.body], inner)

    def _with(self, node: nodes.With, bound: set[str]) -> None:
        self.visit_all(node.values, bound)
        self.visit_all([*node.targets, *node.body], set(bound))

    def _import(self, node: nodes.Import | nodes.FromImport, bound: set[str]) -> None:
        self.visit_all([node.template], bound)
        bound |= assigned_names(node)


def trapped_name(body: Iterable[nodes.Node]) -> tuple[nodes.Node, str] | None:
    """A name that a scope inside `body` reads before `body` sets it, with the place where it is set.

    Jinja2 decides once per scope whether a name is the scope's own. If its first use there is an unconditional set,
    scopes inside that read it earlier find it undefined, even though the context has it.
    """
    frame = _Frame(body)
    frame.visit(body, frozenset())
    return frame.traps[0] if frame.traps else None


class _Frame:
    """The names of one scope in the order in which Jinja2's symbol analysis meets them.

    `known` are names with a meaning before the scope begins: its parameters, and all names of the scopes around.
    """

    def __init__(self, body: Iterable[nodes.Node], known: Iterable[str] = ()) -> None:
        self.traps: list[tuple[nodes.Node, str]] = []
        self._loaded = set(known)
        self._names = self._loaded | _names_of_scope(body)
        self._read_inside: set[str] = set()

    def visit(self, body: Iterable[nodes.Node], stored: frozenset[str]) -> frozenset[str]:
        """Names certainly stored after `body`."""
        for node in body:
            self._loaded |= _loads(_header(node)) - stored
            if isinstance(node, nodes.If):
                stored = self._if(node, stored)
                continue
            self._visit_inside(node)
            # Joined templates look names up by themselves, macros when they are called.
            if _is_autoescape(node) or not isinstance(node, nodes.Scope | nodes.Macro):
                reader = _Reader(skips_joined=True)
                reader.visit_all([node], set())
                self._read_inside |= reader.reads - self._loaded - stored
            names = assigned_names(node)
            self.traps += [
                (node, name) for name in sorted((names & self._read_inside) - self._loaded - stored)
            ]
            stored |= names
        return stored

    def _if(self, node: nodes.If, stored: frozenset[str]) -> frozenset[str]:
        traps, self.traps = self.traps, []
        bodies = [*(branch.body for branch in [node, *node.elif_]), node.else_]
        ends = [self.visit(body, stored) for body in bodies]
        always = frozenset.intersection(*ends)
        # What only some branches store is looked up outside first, so it is no trap.
        self.traps = [*traps, *((where, name) for where, name in self.traps if name in always)]
        self._loaded |= frozenset.union(*ends) - always
        return always

    def _visit_inside(self, node: nodes.Node) -> None:
        """The scopes that a statement opens."""
        if isinstance(node, nodes.Scope):
            content = [item for item in node.body if isinstance(item, nodes.ScopedEvalContextModifier)]
            known = self._names if content else set()
            bodies = [content[0].body if content else node.body]
        elif isinstance(node, nodes.For):
            known = self._names | {"loop", *_stores(node.target)}
            bodies = [node.body, node.else_]
        elif isinstance(node, nodes.With):
            known = self._names.union(*map(_stores, node.targets))
            bodies = [node.body]
        elif isinstance(node, nodes.Macro | nodes.CallBlock):
            known = self._names | {"caller", "varargs", "kwargs", *(argument.name for argument in node.args)}
            bodies = [node.body]
        else:
            known = self._names
            bodies = [node.body] if isinstance(node, nodes.AssignBlock | nodes.FilterBlock) else []
        for body in bodies:
            inner = _Frame(body, known)
            inner.visit(body, frozenset())
            self.traps += inner.traps


def _names_of_scope(body: Iterable[nodes.Node]) -> set[str]:
    """Every name that statements use in the very scope they stand in."""
    names: set[str] = set()
    for node in body:
        names |= _loads(_header(node)) | assigned_names(node)
        if isinstance(node, nodes.If):
            names |= _names_of_scope([*node.body, *node.elif_, *node.else_])
    return names


def _header(node: nodes.Node) -> list[nodes.Node]:
    """The expressions of a statement that belong to the scope it stands in."""
    if isinstance(node, nodes.Output):
        return list(node.nodes)
    if isinstance(node, nodes.If):
        return [branch.test for branch in [node, *node.elif_]]
    if isinstance(node, nodes.With):
        return list(node.values)
    fields: dict[type[nodes.Node], str] = {
        nodes.Assign: "node",
        nodes.For: "iter",
        nodes.CallBlock: "call",
        nodes.FilterBlock: "filter",
    }
    name = fields.get(type(node))
    return [getattr(node, name)] if name else []


def _loads(expressions: Iterable[nodes.Node]) -> set[str]:
    names = [name for node in expressions for name in [node, *node.find_all(nodes.Name)]]
    return {name.name for name in names if isinstance(name, nodes.Name) and name.ctx == "load"}


def _stores(target: nodes.Node) -> set[str]:
    names = [target, *target.find_all(nodes.Name)]
    return {name.name for name in names if isinstance(name, nodes.Name)}


def _is_autoescape(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Scope) and any(
        isinstance(item, nodes.ScopedEvalContextModifier) for item in node.body
    )
