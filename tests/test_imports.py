"""Imports point one way: along the road that data takes, never back. The README's picture is this table."""

import ast
from pathlib import Path

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
MAY_IMPORT = {
    "": set(),  # errors, units, fields, files, machine
    "text": {""},
    "models": {"", "text"},
    "storage": {"", "text", "models"},
    "inference": {"", "text", "models", "storage"},
    "exports": {"", "text", "models", "storage", "inference"},
    "training": {"", "text", "models", "storage", "inference"},
    "explaining": {"", "text", "models", "storage", "inference", "training"},
    "reports": {"", "text", "models", "storage", "inference", "training", "explaining"},
    "pages": {"", "text", "models", "storage", "inference", "training", "explaining", "reports"},
    "cli": {"", "text", "models", "storage", "inference", "exports", "training", "explaining", "reports", "pages"},
}
# The package's own front door and the command's stand above all folders.
ENTRANCES = {PACKAGE / "__init__.py", PACKAGE / "__main__.py", PACKAGE / "api.py"}
MODULES = sorted(PACKAGE.rglob("*.py"))
WITHOUT_TORCH = ("text", "storage", "inference", "exports", "explaining", "cli", "reports", "pages")
# What options are made from: the command's help is there before numpy, let alone torch, would be loaded.
WITHOUT_NUMPY = [
    PACKAGE / "fields.py",
    *(PACKAGE / folder / "settings.py" for folder in ("models", "text", "inference", "training", "explaining")),
    PACKAGE / "training" / "machine.py",
    *sorted((PACKAGE / "cli").glob("*.py")),
]


def imported(path, *, at_load_only=False):
    """Names of the modules that a file imports; functions' own imports left out when asked."""
    tree = ast.parse(path.read_text())
    skipped = set()
    if at_load_only:
        for node in ast.walk(tree):
            typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or typing_only:
                skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path):
    """The module's name, such as "charrnn.text.vocab"."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def modules_of(path, *, at_load_only=False):
    """The modules of charrnn that a file imports; packages above them, which hold no code, left out."""
    return {name for name in imported(path, at_load_only=at_load_only) if name in NAMES} - {"charrnn"}


def circles(graph):
    """Groups of nodes each of which reaches every other (Tarjan 1972), of two nodes or more, or a node to itself."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[-len(group) :]
            if len(group) > 1 or node in graph[node]:
                found.append(sorted(group))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def folder_of(name):
    """The folder of a charrnn module, "" for the root, None for what is not charrnn's."""
    parts = name.split(".")
    if parts[0] != "charrnn":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else ""


@pytest.mark.parametrize("path", [m for m in MODULES if m not in ENTRANCES], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_what_comes_before_it(path):
    relative = path.relative_to(PACKAGE)
    folder = relative.parts[0] if len(relative.parts) > 1 else ""
    for name in imported(path):
        target = folder_of(name)
        if target is not None:
            assert target == folder or target in MAY_IMPORT[folder], f"{relative} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_torch_is_imported_at_load_by_models_and_training_alone(path):
    relative = path.relative_to(PACKAGE)
    if relative.parts[0] in WITHOUT_TORCH or len(relative.parts) == 1:
        assert not any(name.split(".")[0] == "torch" for name in imported(path, at_load_only=True))


@pytest.mark.parametrize("path", WITHOUT_NUMPY, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_options_are_made_from_loads_neither_numpy_nor_torch(path):
    """Neither itself nor by what it imports, as far as that goes."""
    seen, waiting = set(), [name_of(path)]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        libraries = {each.split(".")[0] for each in imported(NAMES[name], at_load_only=True)}
        assert not libraries & {"numpy", "torch"}, f"{name} imports {libraries & {'numpy', 'torch'}}"
        waiting += modules_of(NAMES[name], at_load_only=True) - seen
    assert seen  # and so at least this one was looked at


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: modules_of(path) for name, path in NAMES.items()}
    assert sum(map(len, graph.values())) > len(graph)  # the graph is that of a package, not empty
    assert circles(graph) == []


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"a"}, "b": {"a"}}) == [["a"]]
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_every_folder_stands_in_the_table():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT) - {""}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_unpickles_or_executes_text(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "marshal", "shelve", "dill", "joblib"} & {n.split(".")[0] for n in names}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {
                "eval",
                "exec",
                "compile",
                "__import__",
                "torch.load",
                "torch.save",
                "numpy.load",
                "np.load",
            }
