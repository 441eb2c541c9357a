"""The pages of the Python package, from its docstrings. Run by `make docs`.

Usage: python docs/api.py OUT     (the folder of the pages, such as build/docs)

A fault ends it: a public name without a docstring, a reference to nothing, a broken link, a warning of pdoc.
"""

import ast
import importlib
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from pdoc import doc, render

SOURCE = Path(__file__).parent.parent / "src"
# What `bdflow` hands out and takes, and what the documentation names.
PUBLIC = (
    "bdflow",
    "bdflow.fitting",
    "bdflow.pictures.limits",
    "bdflow.pictures.metadata",
    "bdflow.pictures.picture",
    "bdflow.pictures.reader",
    "bdflow.pictures.resize",
    "bdflow.pictures.strips",
    "bdflow.quality.metrics",
    "bdflow.runtime.computing",
    "bdflow.runtime.enhancer",
    "bdflow.runtime.rescaler",
    "bdflow.smallfile.container",
    "bdflow.smallfile.downscaled",
    "bdflow.smallfile.thumbnail",
    "bdflow.system.offline",
    "bdflow.zoo",
)
_SECTION_ENTRY = re.compile(r"^\s*((?:\w+, )*\w+): ", re.M)  # as `width, height: Of the picture.`
_REFERENCE = re.compile(r"`((?:bdflow\.|[A-Z]\w*[a-z]\w*\.)[\w.]*\w)(?:\(\))?`")


def write(out: Path, modules: Sequence[ModuleType]) -> list[str]:
    """Write a page for each module, and an index to search them, into a folder.

    Returns:
        The faults, a line each: undocumented names and broken links.

    Raises:
        UserWarning: pdoc cannot read an annotation.
    """
    render.configure(docformat="google", show_source=False, search=True)
    documented = {module.__name__: doc.Module(module) for module in modules}
    pages = {f"{name.replace('.', '/')}.html": name for name in documented}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts = {path: render.html_module(documented[name], documented) for path, name in pages.items()}
    texts["index.html"] = render.html_index(documented)
    for path, text in texts.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    (out / "search.js").write_text(render.search_index(documented))
    undocumented = [name for module in documented.values() for name in _undocumented(module)]
    return [f"{name} has no docstring" for name in undocumented] + list(_broken_links(out, texts))


def _undocumented(space: doc.Module | doc.Class) -> Iterator[str]:
    """Public names without a docstring; attributes may stand in that of their class."""
    entries = {name for names in _SECTION_ENTRY.findall(space.docstring) for name in names.split(", ")}
    imported = set(_imported(ast.parse(space.source))) if isinstance(space, doc.Module) else set()
    if not space.docstring:
        yield space.fullname
    for member in space.own_members:
        if member.name.startswith("_") or member.name in imported:  # the latter has its own where it is made
            continue
        if isinstance(member, doc.Class):
            yield from _undocumented(member)
        elif not member.docstring and member.name not in entries:
            yield member.fullname


def _broken_links(out: Path, texts: Mapping[str, str]) -> Iterator[str]:
    anchors = {(out / path).resolve(): set(re.findall(r'\bid="([^"]+)"', t)) for path, t in texts.items()}
    for path, page_text in texts.items():
        text = re.sub(r"<script>.*?</script>", "", page_text, flags=re.S)  # which has a template
        for target in set(re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text)):
            file, _, anchor = target.partition("#")
            page = (out / path).parent / file if file else out / path
            known = {"", *anchors.get(page.resolve(), ())}
            if "://" not in file and not (page.is_file() and anchor in known):
                yield f"{path} links to {target}, which is nowhere"


def unknown_references(source: Path) -> list[str]:
    """Names in the docstrings below a folder, as `bdflow.load` or `Model.name`, that no module has."""
    trees = {_module(path, source): ast.parse(path.read_text()) for path in sorted(source.rglob("*.py"))}
    names = {module: {*_names(tree.body), *_imported(tree)} for module, tree in trees.items()}
    paths = {*names, *(f"{module}.{name}" for module, known in names.items() for name in known)}
    classes: dict[str, set[str]] = {}
    for owner, _, member in (name.partition(".") for known in names.values() for name in known):
        if member:
            classes.setdefault(owner, set()).add(member)
    faults = []
    for module, tree in trees.items():
        for text in _docstrings(tree):
            for reference in _REFERENCE.findall(text):
                owner, _, member = reference.partition(".")
                if owner == "bdflow":
                    found = reference in paths
                else:
                    found = owner not in classes or member in classes[owner]
                if not found:
                    faults.append(f"{module} refers to {reference}, which is nowhere")
    return faults


def _module(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module) -> Iterator[str]:
    """What a module takes from others, by the name that it has there."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return (alias.asname or alias.name for node in nodes for alias in node.names)


def _names(body: Sequence[ast.stmt], owner: str = "") -> Iterator[str]:
    """What a module or class defines, members as `Class.member`."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield owner + node.name
            yield from _names(node.body, f"{owner}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield owner + node.name
            if node.name == "__init__":  # the attributes that it sets
                yield from (
                    owner + target.attr
                    for target in ast.walk(node)
                    if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
                )
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (owner + n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def main() -> None:
    """Write the pages of the public modules; end with the faults, if there are any."""
    out = Path(sys.argv[1])
    faults = write(out, [importlib.import_module(name) for name in PUBLIC]) + unknown_references(SOURCE)
    sys.exit("\n".join(faults) or None)


if __name__ == "__main__":
    main()
