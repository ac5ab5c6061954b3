"""Read constants out of a Python program, which is parsed and never run."""

import ast
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

Value = str | int
Names = Mapping[str, Value]

# Lines that this Python may fail to parse: a program for a later Python may have a few.
_MAX_ERRORS = 20
_NOT_CONSTANT = (ValueError, RecursionError)
_CALLS: Mapping[str, Callable[[Value], Value]] = {"Path": str, "str": str, "int": int, "bool": bool}


def parse_python(text: str) -> ast.Module:
    """The statements of a program, without lines that this Python cannot parse.

    Empty for a text that is not Python.
    """
    lines = text.split("\n")
    with warnings.catch_warnings(action="ignore"):  # about escapes in strings
        for _ in range(_MAX_ERRORS):
            try:
                return ast.parse("\n".join(lines))
            except SyntaxError as error:
                if error.lineno is None or not 0 < error.lineno <= len(lines):
                    break
                lines[error.lineno - 1] = ""
            except (ValueError, RecursionError, MemoryError):
                break
    return ast.Module([], [])


def strings(module: ast.Module) -> list[str]:
    """All strings that a program spells out."""
    nodes = (node for node in ast.walk(module) if isinstance(node, ast.Constant))
    return [node.value for node in nodes if isinstance(node.value, str)]


def functions(module: ast.Module) -> dict[str, ast.FunctionDef]:
    """The functions at the top of a program, by their names."""
    return {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}


def assigned(statements: Iterable[ast.AST], names: Names) -> dict[str, Value]:
    """The names that statements assign a constant to, with those in `names`."""
    found = dict(names)
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                with suppress(*_NOT_CONSTANT):
                    found[name] = constant_value(value, found)
    return found


def written(statements: Iterable[ast.stmt], names: Names) -> Iterator[str]:
    """The constants that statements write to a file, one a call, in their order.

    What depends on anything else is left out.
    """
    for statement in statements:
        match statement:
            case ast.With(body=body):
                yield from written(body, names)
            case ast.If(test=test, body=body, orelse=orelse):
                with suppress(*_NOT_CONSTANT):
                    yield from written(body if constant_value(test, names) else orelse, names)
            case ast.Expr(ast.Call(func=ast.Attribute(attr="write"), args=[argument])):
                with suppress(*_NOT_CONSTANT):
                    yield str(constant_value(argument, names))


def constant_value(node: ast.AST, names: Names) -> Value:
    """The value of an expression of constants and `names`; raises ValueError for another.

    A path is the string that it stands for.
    """
    match node:
        case ast.Constant(value=str() | int() as constant):
            found: Value = constant
        case ast.Name(id=name) if name in names:
            found = names[name]
        case ast.JoinedStr(values=values):
            found = "".join(str(constant_value(value, names)) for value in values)
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            found = constant_value(value, names)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            found = not constant_value(operand, names)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as op], comparators=[right]):
            equal = constant_value(left, names) == constant_value(right, names)
            found = equal == isinstance(op, ast.Eq)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            found = f"{constant_value(left, names)}/{constant_value(right, names)}"
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _CALLS:
            found = _CALLS[name](constant_value(argument, names))
        case ast.Call(func=ast.Attribute(value=value, attr="strip"), args=[argument]):
            found = str(constant_value(value, names)).strip(str(constant_value(argument, names)))
        case _:
            raise ValueError("not a constant")
    return found
