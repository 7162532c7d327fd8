"""Imports point one way: along the road that data takes, never back. The README's picture is this table."""

import ast
from pathlib import Path

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
MAY_IMPORT = {
    "": set(),
    "text": {""},
    "models": {"", "text"},
    "storage": {"", "text", "models"},
    "training": {"", "text", "models", "storage"},
    "inference": {"", "text", "models", "storage"},
    "reports": {"", "text", "models", "storage", "training", "inference"},
    "cli": {"", "text", "models", "storage", "training", "inference", "reports"},
}
# The package's own front door and the command's stand above all folders.
ENTRANCES = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}
MODULES = sorted(PACKAGE.rglob("*.py"))
WITHOUT_TORCH = ("text", "storage", "inference", "cli", "reports")


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
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "charrnn")


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
