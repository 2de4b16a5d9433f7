"""The small faults that are put into a module, one at a time: which there are, where, and how they are named.

A fault is a replacement of a few characters, so that every line keeps its number and the rest of the text its form.
Left out: strings (the words of telemetry and errors are compared as whole lists elsewhere), annotations, decorators,
docstrings and what only type checkers read.
"""

import ast
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

_COMPARISONS = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_ARITHMETIC = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitOr: "&",
    ast.BitAnd: "|",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Mutant:
    """One fault: the bytes from *start* to *end* of the module at *path* are replaced by *text*."""

    path: str
    scope: str
    operator: str
    start: int
    end: int
    line: int
    code: str
    original: str
    text: str
    occurrence: int = 1

    @property
    def name(self) -> str:
        """What it is called in equivalent.txt: it stays as long as the line says the same, wherever it stands."""
        original, text = _short(self.original), _short(self.text)
        change = self.operator if text == "pass" else f"{original} -> {text}"
        number = f" #{self.occurrence}" if self.occurrence > 1 else ""
        return f"{self.path} :: {self.scope or 'module'} :: {_short(self.code)} :: {change}{number}"

    def applied(self, source: bytes) -> bytes:
        """Return *source* with the fault in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Return every fault that the operators know for the module at *path*, in the order of its lines."""
    finder = _Finder(path, source)
    finder.body(ast.parse(source), "")
    counts: Counter[str] = Counter()
    mutants = []
    for mutant in sorted(finder.mutants, key=lambda mutant: (mutant.start, mutant.end, mutant.operator)):
        try:
            ast.parse(mutant.applied(source))
        except SyntaxError:
            continue  # such as an operator that stands over two lines
        counts[mutant.name] += 1
        mutants.append(replace(mutant, occurrence=counts[mutant.name]))
    return mutants


class _Finder:
    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.mutants: list[Mutant] = []

    def body(self, node: ast.AST, scope: str) -> None:
        """Look at *node* and at everything below it."""
        for child in _executed(node):
            below = f"{scope}.{child.name}".lstrip(".") if isinstance(child, _FUNCTIONS) else scope
            for operator, start, end, text in self.faults(child):
                original = self.source[start:end].decode()
                if text != original:
                    line = self.source.count(b"\n", 0, start + len(original) - len(original.lstrip())) + 1
                    code = self.source[self.starts[line - 1] : self.starts[line]].decode().strip()
                    self.mutants.append(Mutant(self.path, below, operator, start, end, line, code, original, text))
            self.body(child, below)

    def faults(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        """Yield the faults of one node: operator, first byte, byte after the last, replacement."""
        yield from self.operators(node)
        yield from self.constants(node)
        yield from self.conditions(node)
        yield from self.statements(node)

    def operators(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        """Yield each comparison, boolean operator and arithmetic, turned round."""
        match node:
            case ast.Compare(left=left, ops=operators, comparators=comparators):
                for before, operator, after in zip([left, *comparators], operators, comparators, strict=False):
                    yield "comparison", *self.between(before, after), f" {_COMPARISONS[type(operator)]} "
            case ast.BoolOp(op=operator, values=values):
                word = " or " if isinstance(operator, ast.And) else " and "
                for before, after in itertools.pairwise(values):
                    yield "boolean", *self.between(before, after), word
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield "boolean", *self.span(node), f"({self.text(operand)})"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                yield "arithmetic", *self.span(node), self.text(operand)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
                if not (isinstance(operator, ast.Mod) and isinstance(left, ast.Constant | ast.JoinedStr)):
                    yield "arithmetic", *self.between(left, right), f" {_ARITHMETIC[type(operator)]} "

    def constants(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        """Yield each constant with another value, and each call with its arguments swapped."""
        match node:
            case ast.Constant(value=bool() as value):
                yield "constant", *self.span(node), str(not value)
            case ast.Constant(value=int() | float() as number):
                yield "constant", *self.span(node), str(number + 1)
            case ast.Name(id=name) if name in _NAMES:
                yield "function", *self.span(node), _NAMES[name]
            case ast.Call(func=ast.Name(id="min" | "max")):
                pass  # in any order
            case ast.Call(args=[first, second, *_]) if not any(isinstance(a, ast.Starred) for a in (first, second)):
                start, end = self.span(first)[0], self.span(second)[1]
                yield "arguments", start, end, f"{self.text(second)}, {self.text(first)}"

    def conditions(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        """Yield each condition turned round that no other operator turns round."""
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                tests = [test]
            case ast.comprehension(ifs=tests):
                pass
            case _:
                return
        for test in tests:
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                yield "condition", *self.span(test), f"not ({self.text(test)})"

    def statements(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        """Yield what can be done to a whole statement or clause."""
        match node:
            case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
                yield "return", *self.span(value), "None"
            case ast.Expr(value=ast.Call() | ast.Await()):
                yield "removed", *self.span(node), "pass"
            case ast.Raise() | ast.Continue() | ast.Break() | ast.Delete() | ast.AugAssign():
                yield "removed", *self.span(node), "pass"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
                yield "removed", *self.span(node), "pass"
            case ast.ExceptHandler(type=kind) if kind is not None:
                yield "except", *self.span(kind), "()"
        if isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
            yield "arithmetic", *self.between(node.target, node.value), f" {_ARITHMETIC[type(node.op)]}= "

    def between(self, before: ast.AST, after: ast.AST) -> tuple[int, int]:
        """Return the place of the operator, without the brackets around its operands."""
        start, end = self.span(before)[1], self.span(after)[0]
        gap = self.source[start:end]
        opening, closing = len(gap) - len(gap.lstrip(b") \n")), len(gap) - len(gap.rstrip(b"( \n"))
        start += gap[:opening].rfind(b")") + 1
        inner = gap[len(gap) - closing :].find(b"(")
        return start, end - (closing - inner if inner >= 0 else 0)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return the first byte of *node* and the one after its last."""
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        """Return what stands in the source for *node*."""
        start, end = self.span(node)
        return self.source[start:end].decode()


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the children of *node* that are executed and that a test could notice."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                continue
            if isinstance(child, ast.AST):
                yield child


def _short(text: str) -> str:
    """Return *text* on one line."""
    words = " ".join(text.split())
    return words if len(words) <= 100 else f"{words[:60]}…{words[-39:]}"
