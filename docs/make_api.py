"""Writes docs/api.md: every public name, a line each, made from the code.

    python docs/make_api.py

A module is public when it has an ``__all__``; a name's line is the first of its docstring, or, for a value, of the
string below it. The code is read, not run, so the page does not depend on what is installed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHORT_NAMES = {"ganjax.algorithms.losses": "ganjax.losses", "ganjax.runs.train": "ganjax.train"}
HEAD = """# Public names

Made from the code by `python docs/make_api.py`. What is not here may change without notice.
"""


def read(module: str) -> ast.Module | None:
    """The code of a module; None if there is none of this name."""
    path = ROOT.joinpath(*module.split("."))
    files = [path / "__init__.py", path.with_suffix(".py")]
    return next((ast.parse(file.read_text(encoding="utf-8")) for file in files if file.is_file()), None)


def describe(module: str, name: str) -> str:
    """How a name is used, with what its docstring says first.

    Raises:
        ValueError: it has no docstring.
    """
    body = getattr(read(module), "body", [])
    for statement, below in zip(body, [*body[1:], None], strict=True):
        match statement:
            case ast.ImportFrom(module=str(source), names=names) if source != module:
                if name in [imported.name for imported in names]:
                    return describe(source, name)
            case ast.ClassDef(name=found) if found == name:
                return f"`{name}`: {summary(statement, module, name)}"
            case ast.FunctionDef(name=found, args=arguments) if found == name:
                for argument in ast.walk(arguments):
                    if isinstance(argument, ast.arg):
                        argument.annotation = None  # a line has no room for types
                return f"`{name}({ast.unparse(arguments)})`: {summary(statement, module, name)}"
            case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)) if found == name:
                return f"`{name}`: {summary(ast.Module([below] if below else []), module, name)}"
    return f"`{name}`: {summary(read(f'{module}.{name}') or ast.Module([]), module, name)}"


def summary(node: ast.Module | ast.ClassDef | ast.FunctionDef, module: str, name: str) -> str:
    """The first line of a docstring."""
    doc = ast.get_docstring(node)
    if not doc:
        raise ValueError(f"{module}.{name} is public and has no docstring; give it one, or a string below it")
    return doc.splitlines()[0].replace("``", "`")


def sections() -> Iterator[tuple[str, str]]:
    """The name by which each public module is imported, and what the page says of it."""
    for path in (ROOT / "ganjax").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets) == "__all__":
                names = "".join(f"- {describe(module, name)}\n" for name in ast.literal_eval(statement.value))
                yield SHORT_NAMES.get(module, module), f"{summary(tree, module, '__doc__')}\n\n{names}"


def page() -> str:
    """All of docs/api.md."""
    return HEAD + "".join(f"\n## {module}\n\n{text}" for module, text in sorted(sections()))


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(page(), encoding="utf-8")
