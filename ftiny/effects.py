"""What leaves the array language: calls of Python functions on the host, and kernels that the user wrote.

Input: a Python function or the text of a kernel, and the shapes and dtypes of its results. Output: an operation that
may stand anywhere in a program, one equation each:

    host_call[function ordered vmap_method]     pure_callback, io_callback, debug.callback, debug.print
    kernel[source]                              kernel(...)

    >>> angle = lambda x: pure_callback(numpy.arctan, x, x)
    >>> jit(lambda x: 4 * angle(x))(numpy.float32(1))
    Array(3.1415927, dtype=float32)

In a compiled program a host call is a step of its own: the device finishes what comes before it, the function gets
numpy arrays, and its results are copied back. What is not pure has the effect `host`: it is never removed, merged or
moved past another such call, so all of them run in the order of the program. `ordered` asks for that order and forbids
what has none (`vmap`). A user's kernel is a launch among the others of its graph.
"""
from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, dtypes
from ftiny.core import Anchor, Aval, Primitive, not_needed
from ftiny.errors import ArgumentError, CallbackError, DeviceError, DtypeError, RuleError, ShapeError
from ftiny.lowering import profile
from ftiny.lowering.plan_types import KernelParam, KernelSource
from ftiny.source import Source, current_source, located
from ftiny.transforms.common import check_leaves, is_array, name_of
from ftiny.transforms.jit import jit
from ftiny.transforms.programs import choose, interleave
from ftiny.transforms.scan import scan
from ftiny.transforms.vmap import move_to

VMAP_METHODS = ("sequential", "expand_dims", "broadcast_all", "legacy_vectorized")

# ---- what both kinds share ------------------------------------------------------------------------------------------


def _result_avals(what: str, results) -> tuple[tuple[Aval, ...], tree.PyTreeDef]:
    """The avals of a pytree of things with a shape and a dtype, and its structure."""
    leaves, structure = tree.flatten(results)
    for path, leaf in tree.leaves_with_path(results):
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise ArgumentError(located(
                f"{what}: the results are described by objects with a shape and a dtype, but "
                f"result{tree.keystr(path)} is a {type(leaf).__name__}: {str(leaf)[:60]!r}; use "
                "ftiny.ShapeDtypeStruct(shape, dtype)"))
    return tuple(Aval(tuple(map(int, leaf.shape)), dtypes.dtype(leaf.dtype)) for leaf in leaves), structure


def _checked_results(what: str, result, structure: tree.PyTreeDef, avals: Sequence[Aval], place: str):
    """The leaves of what a Python function returned, as arrays of its declared avals that nobody else holds."""
    leaves, found = tree.flatten(result)
    if found != structure:
        raise ArgumentError(
            f"{what} returned a value of structure {found}, but its results were declared as {structure}; each result "
            f"is one numpy array or Python number\n{place}")
    arrays = []
    for (path, leaf), aval in zip(tree.leaves_with_path(result), avals):
        number = isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic)
        array = np.asarray(leaf, aval.dtype) if number else np.asarray(leaf)
        name = f"result{tree.keystr(path)}"
        if array.shape != aval.shape:
            raise ShapeError(
                f"{what} returned an array of shape {array.shape} as {name}, which was declared with shape "
                f"{aval.shape}\n{place}")
        if array.dtype != aval.dtype:
            raise DtypeError(
                f"{what} returned an array of dtype {array.dtype} as {name}, which was declared with dtype "
                f"{aval.dtype}; convert it with .astype, or declare {array.dtype}\n{place}")
        arrays.append(np.array(array, order="C"))
    return arrays


# ---- host_call ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class HostFunction:
    """A Python function as one of flat numpy arrays.

    what: the public function that made it. structure: of `(args, kwargs)`; `fixed` are leaves that are no arrays, by
    position. loops: for each `vmap` that calls the function once for each element, outermost first, which inputs are
    mapped (along axis 0) and how often it is called; `out_avals` are those of all the calls together.
    """

    what: str
    function: Callable
    structure: tree.PyTreeDef
    fixed: tuple[tuple[int, Any], ...]
    out_structure: tree.PyTreeDef
    out_avals: tuple[Aval, ...]
    source: Source
    loops: tuple[tuple[tuple[bool, ...], int], ...] = ()

    def __str__(self) -> str:
        return f"{self.what}({name_of(self.function)})"

    # Two are equal if they are calls of one function at one place: then programs that hold them are compiled once.

    def _key(self) -> tuple:
        values = (self.function, *(value for _, value in self.fixed))
        return (self.what, tuple(map(_identity, values)), tuple(position for position, _ in self.fixed), self.structure,
                self.out_structure, self.out_avals, self.source, self.loops)

    def __eq__(self, other) -> bool:
        return isinstance(other, HostFunction) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results, as new arrays. Raises `CallbackError` from what the function raised."""
        if not self.loops:
            return self._once(arrays)
        (mapped, size), *inner = self.loops
        avals = tuple(aval.update(shape=aval.shape[1:]) for aval in self.out_avals)
        one = replace(self, out_avals=avals, loops=tuple(inner))
        outs = [np.empty(aval.shape, aval.dtype) for aval in self.out_avals]
        for position in range(size):
            found = one.run([x[position, ...] if is_mapped else x for x, is_mapped in zip(arrays, mapped)])
            for out, value in zip(outs, found):
                out[position, ...] = value
        return outs

    def _once(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        fixed, given = dict(self.fixed), iter(arrays)
        count = len(fixed) + len(arrays)
        leaves = [fixed[i] if i in fixed else _read_only(next(given)) for i in range(count)]
        args, kwargs = tree.unflatten(self.structure, leaves)
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:
            raise CallbackError(f"{self} raised {type(error).__name__}: {error}\n{self.source.describe()}") from error
        if self.what.startswith("debug"):
            return []
        return _checked_results(str(self), result, self.out_structure, self.out_avals, self.source.describe())


def _identity(value) -> tuple:
    """A hashable stand-in for a value that may not be hashable."""
    try:
        hash(value)
    except TypeError:
        return type(value), id(value)
    return type(value), value


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that the function can not write to: the memory may be an argument's."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _host_call_numpy(*arrays, function: HostFunction, ordered, vmap_method):
    return function.run(arrays)


def _host_call_jvp(primals, tangents, *, function: HostFunction, ordered, vmap_method):
    if function.what.startswith("debug"):
        return host_call_p.bind(*primals, function=function, ordered=ordered, vmap_method=vmap_method), []
    raise RuleError(located(
        f"{function} has no derivative: ftiny can not look into a Python function. Call it inside a function with a "
        "rule of its own (ftiny.custom_jvp and defjvp, or ftiny.custom_vjp for reverse mode), or stop the derivative "
        "before it with ftiny.lax.stop_gradient"))


def _host_call_batch(axis_size, args, dims, *, function: HostFunction, ordered, vmap_method):
    values = [x if dim is None else move_to(x, dim, 0, axis_size) for x, dim in zip(args, dims)]
    avals = tuple(aval.update(shape=(axis_size, *aval.shape)) for aval in function.out_avals)
    changed = replace(function, out_avals=avals)
    if function.what == "pure_callback" and vmap_method is None:
        raise RuleError(located(
            f"{function} is mapped by vmap, which needs to know how to call it: pass vmap_method='sequential' (once "
            "for each element), 'expand_dims' or 'broadcast_all' (once, with one more axis in front)"))
    if function.what == "pure_callback" and vmap_method != "sequential":
        values = [_unmapped(x, vmap_method, axis_size) if dim is None else x for x, dim in zip(values, dims)]
    else:
        if ordered and function.what == "io_callback":
            raise RuleError(located(
                f"{function} is ordered, but vmap puts its elements in no order; use ordered=False, or lax.map or "
                "scan in the place of vmap"))
        flags = tuple(dim is not None for dim in dims)
        changed = replace(changed, loops=((flags, axis_size), *function.loops))
    outs = host_call_p.bind(*values, function=changed, ordered=ordered, vmap_method=vmap_method)
    return outs, [0] * len(outs)


def _unmapped(x, vmap_method: str | None, size: int):
    """An argument that is not mapped, as the function expects it beside others that are."""
    if vmap_method == "broadcast_all":
        return move_to(x, None, 0, size)
    return move_to(x, None, 0, 1) if vmap_method == "expand_dims" else x


def _host_call_effects(params: dict) -> frozenset[str]:
    if params["function"].what == "pure_callback":
        return core.NO_EFFECTS
    return frozenset({"host", "ordered"} if params["ordered"] else {"host"})


host_call_p: Primitive = Primitive(
    "host_call",
    multiple_results=True,
    abstract=lambda *avals, function, ordered, vmap_method: list(function.out_avals),
    numpy=_host_call_numpy,
    jvp=_host_call_jvp,
    transpose=not_needed("a call of a Python function is linear in nothing, so no cotangent flows through it"),
    batch=_host_call_batch,
    factors=not_needed("a call of a Python function is not partitioned: the function wants whole arrays"),
    lower=Anchor("host"),
    effects=_host_call_effects,
)


def _call_host(what: str, function: Callable, results, args: tuple, kwargs: dict, ordered: bool = False,
               vmap_method: str | None = None):
    """Bind one host call; only debugging functions may be given leaves that are no arrays."""
    if not callable(function):
        raise ArgumentError(located(f"{what} takes a function, not a {type(function).__name__}"))
    if not what.startswith("debug"):
        check_leaves(f"{what}({name_of(function)})", (*args, *kwargs.values()))
    avals, out_structure = _result_avals(f"{what}({name_of(function)})", results)
    leaves, structure = tree.flatten((args, kwargs))
    fixed = tuple((position, x) for position, x in enumerate(leaves) if not is_array(x))
    host = HostFunction(what, function, structure, fixed, out_structure, avals, current_source())
    arrays = [x for x in leaves if is_array(x)]
    outs = host_call_p.bind(*arrays, function=host, ordered=bool(ordered), vmap_method=vmap_method)
    return tree.unflatten(out_structure, outs)


def pure_callback(function: Callable, result_shape_dtypes, *args, vmap_method: str | None = None, **kwargs):
    """The results of a Python function of numpy arrays that has no side effects.

    Args:
        function: takes numpy arrays (read-only, in the pytrees of `args` and `kwargs`) and returns numpy arrays or
            Python numbers. It may be called more often than the program says, or never if nothing needs its results.
        result_shape_dtypes: a pytree of `ShapeDtypeStruct`, arrays, or whatever has a shape and a dtype.
        vmap_method: what `vmap` does. 'sequential' calls the function once for each element. The others call it once,
            with one more axis in front of the mapped arguments and of the results; arguments that are not mapped get an
            axis of size 1 ('expand_dims'), the full axis ('broadcast_all') or none ('legacy_vectorized'). None: an
            error.

    It has no derivative; give the function around it one with `custom_jvp` or `custom_vjp`. Raises `CallbackError` from
    what the function raised, and `ArgumentError`, `ShapeError` or `DtypeError` for results that were not declared so.
    """
    if vmap_method is not None and vmap_method not in VMAP_METHODS:
        raise ArgumentError(located(
            f"pure_callback: vmap_method must be None or one of {VMAP_METHODS}, not {vmap_method!r}"))
    return _call_host("pure_callback", function, result_shape_dtypes, args, kwargs, vmap_method=vmap_method)


def io_callback(function: Callable, result_shape_dtypes, *args, ordered: bool = False, **kwargs):
    """The results of a Python function of numpy arrays that may have side effects: never removed.

    result_shape_dtypes: as in `pure_callback`; None for a function that returns None. ordered: calls happen in the
    order of the program. Under `vmap` the function is called once for each element, which an ordered one forbids.

    It has no derivative. Raises as `pure_callback` does.
    """
    return _call_host("io_callback", function, result_shape_dtypes, args, kwargs, ordered=ordered)


# ---- debugging ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Print:
    """Prints its arguments, formatted by `text`."""

    text: str

    @property
    def __name__(self) -> str:
        return repr(self.text)

    def __call__(self, *args, **kwargs) -> None:
        print(self.text.format(*args, **kwargs), flush=True)


class _Anything:
    """Stands for a value while a format is checked: it has every attribute and element, and prints as nothing."""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __getitem__(self, key) -> _Anything:
        return self

    def __format__(self, specification: str) -> str:
        return ""


class _FormatCheck(string.Formatter):
    """Formatting that insists on every argument being used."""

    def check_unused_args(self, used_args, args, kwargs) -> None:
        unused = [f"argument {position}" for position in range(len(args)) if position not in used_args]
        unused += [f"{name}=" for name in kwargs if name not in used_args]
        if unused:
            raise ValueError(f"{', '.join(unused)} does not appear in it")


class Debug:
    """`ftiny.debug`: `debug(level)` sets the level of the log, `debug.print` and `debug.callback` look into programs.

        with ftiny.debug(2):            # a line for each kernel that runs
            step(params, batch)

        @ftiny.jit
        def f(x):
            ftiny.debug.print("x is {x}, its sum {total:.2f}", x=x, total=np.sum(x))
    """

    def __call__(self, level: int):
        """A context manager: the debug level of this thread, from 0 (silent) to 6; see `ftiny.lowering.profile`."""
        return profile.debug(level)

    @staticmethod
    def callback(function: Callable, *args, ordered: bool = False, **kwargs) -> None:
        """Call a Python function with the values of `args` and `kwargs` as numpy arrays whenever the program gets here.

        What it returns is ignored. Leaves that are no arrays are passed on as they are. Under `grad` it sees the primal
        values, under `vmap` it is called once for each element. Raises `CallbackError` from what the function raises.
        """
        _call_host("debug.callback", function, None, args, kwargs, ordered=ordered)

    @staticmethod
    def print(fmt: str, *args, ordered: bool = False, **kwargs) -> None:  # noqa: A003
        """Print `fmt.format(*args, **kwargs)` with the values whenever the program gets here; see `callback`.

        Raises `ArgumentError` if the format and the arguments do not fit together.
        """
        try:
            _FormatCheck().vformat(fmt, [_Anything()] * len(args), dict.fromkeys(kwargs, _Anything()))
        except (ValueError, IndexError, KeyError) as problem:
            raise ArgumentError(located(
                f"debug.print: the format {fmt!r} does not fit {len(args)} positional arguments and the keywords "
                f"{sorted(kwargs)} ({problem}). Values are passed as arguments, debug.print('x is {{}}', x), not in an "
                "f-string; a brace is written twice")) from None
        _call_host("debug.print", _Print(fmt), None, args, kwargs, ordered=ordered)


debug = Debug()


# ---- kernels of the user --------------------------------------------------------------------------------------------


_ENTRY = {
    "opencl": re.compile(r"\b(?:__kernel|kernel)\s+(?:__attribute__\s*\(\(.*?\)\)\s*)*void\s+"
                         r"(?:__attribute__\s*\(\(.*?\)\)\s*)*(\w+)\s*\("),
    "cuda": re.compile(r"\b__global__\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?void\s+"
                       r"(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\("),
}


@dataclass(frozen=True)
class KernelText:
    """The text of a kernel in one dialect, the name of its function and the number of its parameters."""

    dialect: str
    text: str
    entry: str
    count: int


@dataclass(frozen=True)
class UserKernel:
    """A kernel that the user wrote: its texts, its results, its launch, and what it computes in numpy."""

    name: str
    texts: tuple[KernelText, ...]
    out_structure: tree.PyTreeDef
    out_avals: tuple[Aval, ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    reference: Callable | None

    def __str__(self) -> str:
        return self.name

    def compiled(self, dialect: str, in_avals: Sequence[Aval], number: int) -> KernelSource | None:
        """The kernel for a device, of equation `number`; None where the reference has to do. Raises `DeviceError`."""
        text = next((text for text in self.texts if text.dialect == dialect), None)
        if text is None:
            if self.reference is None:
                raise DeviceError(self._missing(dialect))
            return None
        params = [KernelParam(f"in{k}", aval.dtype) for k, aval in enumerate(in_avals)]
        params += [KernelParam(f"out{k}", aval.dtype, written=True) for k, aval in enumerate(self.out_avals)]
        nbytes = sum(aval.nbytes for aval in (*in_avals, *self.out_avals))
        return KernelSource(self.name, text.text, text.entry, tuple(params), self.grid, self.block, bytes=nbytes,
                            equations=(number,), alone=True)

    def interpreted(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results by the reference. Raises `DeviceError` when there is none."""
        if self.reference is None:
            raise DeviceError(self._missing("numpy"))
        what = f"the reference {name_of(self.reference)} of kernel {self.name}"
        return _checked_results(what, self.reference(*map(_read_only, arrays)), self.out_structure, self.out_avals, "")

    def _missing(self, dialect: str) -> str:
        known = " and ".join(text.dialect for text in self.texts)
        where = "numpy (eager control flow is interpreted there too: use jit)" if dialect == "numpy" else dialect
        return (
            f"kernel {self.name} is written in {known}, but it is to run on {where}. Give it a source for that dialect "
            "(a dict such as {'cuda': ..., 'opencl': ...}) or a numpy function that computes the same (reference=...)")


def _kernel_jvp(primals, tangents, *, source: UserKernel):
    raise RuleError(located(
        f"kernel {source} has no derivative. Call it inside a function with a rule of its own: f = "
        "ftiny.custom_vjp(lambda x: kernel(x)); f.defvjp(fwd, bwd), where bwd may call another kernel; or "
        "ftiny.custom_jvp and defjvp for both modes"))


def _kernel_batch(axis_size, args, dims, *, source: UserKernel):
    """One launch for each element, in a loop: the text of the kernel is written for one shape."""
    mapped = [dim is not None for dim in dims]

    def one_by_one(*values):
        fixed = choose(values, mapped, False)

        def step(carry, xs):
            return carry, kernel_p.bind(*interleave(xs, mapped, fixed), source=source)

        return scan(step, None, choose(values, mapped))[1]

    values = [x if dim is None else move_to(x, dim, 0, axis_size) for x, dim in zip(args, dims)]
    # Jitted, since an eager scan would be interpreted.
    return jit(one_by_one, name=f"vmap({source})")(*values), [0] * len(source.out_avals)


kernel_p: Primitive = Primitive(
    "kernel",
    multiple_results=True,
    abstract=lambda *avals, source: list(source.out_avals),
    numpy=lambda *arrays, source: source.interpreted(arrays),
    jvp=_kernel_jvp,
    transpose=not_needed("a user's kernel is not known to be linear in anything, so no cotangent flows through it"),
    batch=_kernel_batch,
    factors=not_needed("a user's kernel is not partitioned: it is written for whole arrays"),
    lower=Anchor("kernel"),
)


class kernel:  # noqa: N801
    """A kernel written by the user, in CUDA C++ or OpenCL C, as a function of arrays.

    Args:
        source: the text, or a dict from dialect ('cuda', 'opencl') to text. It holds one kernel, and may hold functions
            and macros for it. The parameters of the kernel are pointers: to the arguments in order, then to the results
            in order. Arrays are dense and row-major; bool elements are bytes. In CUDA the kernel is `extern "C"`.
        out: the results, a `ShapeDtypeStruct` or a list or tuple of them. The kernel has to write every element.
        grid, block: numbers of blocks and of threads in a block (work-groups and work-items), each one int or up to
            three.
        reference: a numpy function of the same arguments and results, for devices whose dialect has no text.

    The function takes the arrays and gives arrays like `out`. In a jitted function it is one more launch; `vmap` maps
    it with a loop; it has no derivative but those given by `custom_vjp` or `custom_jvp`.

        source = '''
        __kernel void squares(__global const float* x, __global float* y) {
            int i = get_global_id(0);
            y[i] = x[i] * x[i];
        }'''
        squares = ftiny.kernel(source, out=ftiny.ShapeDtypeStruct((1024,), "float32"), grid=16, block=64,
                               reference=numpy.square)
        ftiny.jit(lambda x: np.sum(squares(2 * x)))(np.ones(1024))       # 4096.0

    Raises `ArgumentError` for a text without a kernel or with parameters that do not fit the arrays, `DeviceError`
    where there is neither text nor reference.
    """

    def __init__(self, source: str | dict[str, str], out, *, grid, block=1, reference: Callable | None = None):
        texts = _kernel_texts(source)
        name = texts[0].entry
        if reference is not None and not callable(reference):
            raise ArgumentError(located(
                f"kernel {name}: the reference is a numpy function, not a {type(reference).__name__}"))
        # No dict: its keys are sorted, so its results would not be in the order in which they are written.
        described = list(out) if isinstance(out, (list, tuple)) else [out]
        if not described or not all(hasattr(x, "shape") and hasattr(x, "dtype") for x in described):
            raise ArgumentError(located(
                f"kernel {name}: out is a ShapeDtypeStruct, or a list or tuple of at least one, not {str(out)[:60]}"))
        avals, structure = _result_avals(f"kernel {name}", out)
        launch = _extents(name, "grid", grid), _extents(name, "block", block)
        self._source = UserKernel(name, texts, structure, avals, *launch, reference)

    def __call__(self, *arrays):
        """The results of the kernel for these arrays."""
        source = self._source
        check_leaves(f"kernel {source}", arrays)
        leaves = tree.leaves(arrays)
        for text in source.texts:
            if text.count != len(leaves) + len(source.out_avals):
                raise ArgumentError(located(
                    f"kernel {source} has {text.count} parameters in its {text.dialect} text, but it is called with "
                    f"{len(leaves)} arrays and has {len(source.out_avals)} results: one pointer for each is wanted"))
        return tree.unflatten(source.out_structure, kernel_p.bind(*leaves, source=source))

    def __repr__(self) -> str:
        return f"<kernel {self._source}>"


def _kernel_texts(source) -> tuple[KernelText, ...]:
    """The texts by dialect, which is recognised by how a kernel begins where it is not given."""
    if isinstance(source, str):
        source = {"cuda" if "__global__" in source else "opencl": source}
    if not isinstance(source, dict) or not source or set(source) - set(_ENTRY):
        raise ArgumentError(located(
            "kernel takes a text, or a dict with the keys 'cuda' or 'opencl' and texts as values"))
    return tuple(_kernel_text(dialect, text) for dialect, text in sorted(source.items()))


def _kernel_text(dialect: str, text: str) -> KernelText:
    code = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    found = list(_ENTRY[dialect].finditer(code))
    start = "__kernel void" if dialect == "opencl" else 'extern "C" __global__ void'
    if len(found) != 1:
        raise ArgumentError(located(
            f"the {dialect} text of a kernel must hold one function that begins with {start}, but it holds "
            f"{len(found)}"))
    entry = found[0][1]
    if dialect == "cuda" and not re.search(r'extern\s+"C"', code):
        raise ArgumentError(located(
            f"kernel {entry}: its name can not be found in the compiled code; write {start} {entry}"))
    params = _parameters(code[found[0].end():])
    for param in params:
        if "*" not in param and "[" not in param:
            raise ArgumentError(located(
                f"kernel {entry}: its parameter {param.strip()!r} is no pointer; write sizes and numbers into the "
                "text, or pass them as arrays of shape ()"))
    return KernelText(dialect, text, entry, len(params))


def _parameters(code: str) -> list[str]:
    """The parameters of a function, given what follows its opening parenthesis."""
    depth, params = 0, [""]
    for letter in code:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == "," and not depth:
            params.append("")
        else:
            params[-1] += letter
    return [] if params in ([""], ["void"]) else params


def _extents(name: str, which: str, value) -> tuple[int, int, int]:
    """One to three positive integers, filled up with ones."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given)
    if not 1 <= len(given) <= 3 or not whole or min(given) < 1:
        raise ArgumentError(located(
            f"kernel {name}: {which} is a positive integer or a tuple of up to three, not {value!r}"))
    x, y, z = (*map(int, given), 1, 1)[:3]
    return x, y, z
