"""The API reference: it builds, every public name has an entry in it, and every public function says what it does."""

from __future__ import annotations

import importlib
import inspect
import re
import types

import pytest

MODULES = (
    "ftiny", "ftiny.data", "ftiny.dtypes", "ftiny.errors", "ftiny.io", "ftiny.lax", "ftiny.nn", "ftiny.numpy",
    "ftiny.numpy.fft", "ftiny.numpy.linalg", "ftiny.optimizers", "ftiny.random", "ftiny.scipy", "ftiny.stax",
    "ftiny.tree", "ftiny.tree_util",
)  # fmt: skip


def public(module: types.ModuleType) -> dict[str, object]:
    """What a module offers: the names of `__all__`, or those that it defines."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    own = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {name: value for name, value in own.items() if getattr(value, "__module__", "") == module.__name__}


def modules() -> dict[str, types.ModuleType]:
    """The public modules by name, those of ftiny.scipy found by looking."""
    scipy = importlib.import_module("ftiny.scipy")
    names = {*MODULES, *(f"ftiny.scipy.{name}" for name in scipy.__all__)}
    return {name: importlib.import_module(name) for name in sorted(names)}


def test_every_public_function_has_a_docstring():
    missing = []
    for module_name, module in modules().items():
        assert module.__doc__, module_name
        for name, value in public(module).items():
            if (inspect.isroutine(value) or inspect.isclass(value)) and not (value.__doc__ or "").strip():
                missing.append(f"{module_name}.{name}")
    assert not missing, f"these public names have no docstring: {', '.join(missing)}"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_reference_has_every_public_name(tmp_path):
    pdoc = pytest.importorskip("pdoc")
    pdoc.pdoc("ftiny", output_directory=tmp_path)
    missing = []
    for module_name, module in modules().items():
        page = (tmp_path / f"{module_name.replace('.', '/')}.html").read_text()
        entries = set(re.findall(r'id="([\w.]+)"', page))
        for name, value in public(module).items():
            if isinstance(value, types.ModuleType):
                # A module of an inner folder, whose functions ftiny.lax and ftiny have.
                inner = value.__name__.startswith("ftiny.transforms.")
                found = inner or (tmp_path / f"{value.__name__.replace('.', '/')}.html").exists()
            else:
                found = name in entries
            if not found:
                missing.append(f"{module_name}.{name}")
    assert not missing, f"these public names are not in the reference: {', '.join(missing)}"
