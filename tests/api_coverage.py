"""Which public names of jax ftiny has: writes docs/api-coverage.md, which a test compares with the code.

    python tests/api_coverage.py              the page on standard output
    python tests/api_coverage.py --update     writes it

A name counts if jax's module lists it (`__all__`, or its names without an underscore). Names that say how jax works
inside rather than what its user computes are left out, each group with its reason (`LEFT_OUT`).
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "api-coverage.md"
MODULES = [
    ("jax.numpy", "ftiny.numpy"),
    ("jax.numpy.linalg", "ftiny.numpy.linalg"),
    ("jax.numpy.fft", "ftiny.numpy.fft"),
    ("jax.lax", "ftiny.lax"),
    ("jax.lax.linalg", "ftiny.lax.linalg"),
    ("jax.random", "ftiny.random"),
    ("jax.nn", "ftiny.nn"),
    ("jax.nn.initializers", "ftiny.nn.initializers"),
    ("jax.tree", "ftiny.tree"),
    ("jax.tree_util", "ftiny.tree_util"),
    ("jax.scipy.special", "ftiny.scipy.special"),
    ("jax.scipy.linalg", "ftiny.scipy.linalg"),
    ("jax.scipy.signal", "ftiny.scipy.signal"),
    ("jax.scipy.stats", "ftiny.scipy.stats"),
    ("jax.example_libraries.stax", "ftiny.stax"),
    ("jax.example_libraries.optimizers", "ftiny.optimizers"),
]
LEFT_OUT = {
    r"jax\.lax\..*_p": "primitives, of which ftiny has its own",
    r"jax\.lax\.(.*token.*|after_all|dce_sink|stage|pcast|pbroadcast|pswapaxes|precv|psend|sharding|with_sharding_.*"
    r"|composite|shape_as_value|conv_shape_tuple|conv_general_permutations)": "tokens, stages and sharding inside jax",
    r"jax\.lax\.(AccuracyMode|DotAlgorithm.*|Tolerance|PrecisionLike|FftType|RaggedDotDimensionNumbers"
    r"|ConvGeneralDilatedDimensionNumbers|linalg\.\w+(Implementation|Algorithm))": "types of arguments that choose "
    "less precise arithmetic or an algorithm",
    r"jax\.(random\.random_gamma_p|tree_util\.(KeyEntry|default_registry))": "jax's own objects",
    r"jax\.example_libraries\.stax\.(elu|gelu|leaky_relu|log_softmax|relu|selu|sigmoid|softmax|softplus|standardize)":
    "functions of jax.nn that the module imports",
    r"jax\.(nn\.(get_)?scaled_\w+|lax\.scaled_dot)": "products of 8-bit floats, which no kernel here has",
    r"jax\.numpy\.((float8|float6|float4)_.*|int[124]|uint[124])": "dtypes that no kernel here has",
    r"jax\.numpy\.(object_|character|flexible|fromfile|ufunc|ComplexWarning)": "numpy's own, for what is no number",
    r"jax\.example_libraries\.\w+\.(Array|InitFn|Params|ParamsFn|State|Step|UpdateFn|Updates|map|zip|namedtuple|partial"
    r"|safe_\w+|unzip2|InitFun|ApplyFun|Key|Layer|Initializer)": "types and helpers of the module itself",
}


def public_names(module) -> list[str]:
    """The names that a module offers: functions, classes and values, no modules."""
    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    return sorted(n for n in names if not inspect.ismodule(getattr(module, n, None)) and n != "annotations")


def left_out(path: str) -> str:
    """Why a name of jax does not count; empty if it counts."""
    return next((reason for pattern, reason in LEFT_OUT.items() if re.fullmatch(pattern, path)), "")


def page() -> str:
    """The page."""
    rows, missing = [], []
    for theirs, ours in MODULES:
        try:
            module = importlib.import_module(ours)
        except ImportError:
            module = None
        names = [n for n in public_names(importlib.import_module(theirs)) if not left_out(f"{theirs}.{n}")]
        lacking = [n for n in names if not hasattr(module, n)]
        present = len(names) - len(lacking)
        rows.append(f"| `{theirs}` | `{ours}` | {present} of {len(names)} | {100 * present // max(len(names), 1)} % |")
        if lacking:
            listed = ", ".join(f"`{n}`" for n in lacking)
            missing.append(f"**`{theirs}`**: {listed}")
    reasons = "\n".join(f"- {reason}: `{pattern}`" for pattern, reason in LEFT_OUT.items())
    head = """# Which names of JAX there are

Made by `python tests/api_coverage.py --update` from jax 0.10.2 and the code; CI checks that it is true. Functions on
arrays that are there are compared with jax by a test: each has a row in `tests/op_rows_*.py`.

| jax | ftiny | names | |
|---|---|---|---|
"""
    return "\n".join([
        head + "\n".join(rows), "", "## Missing", "", "\n\n".join(missing) or "Nothing.", "",
        "## Left out of the count", "", reasons, "",
    ])


if __name__ == "__main__":
    if "--update" in sys.argv:
        PAGE.write_text(page())
    else:
        print(page())
