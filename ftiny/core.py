"""The program and how it is traced: avals, variables, equations, `Jaxpr`, `Primitive`, tracers.

Input: a Python function over arrays. Output: a `Jaxpr`, a list of equations over typed variables, in which every
equation binds one primitive:

    >>> print(make_jaxpr(lambda x: ftiny.numpy.sin(x) * 2.0)(ftiny.numpy.ones(3)))
    { lambda a:f32[3] . let
        b:f32[3] = sin a
        c:f32[3] = mul b 2.0:f32
      in (c,) }

Dispatch is by context only: one thread-local *current trace* decides what binding a primitive does. `EvalTrace`
computes, `StageTrace` records an equation, and the traces of `transforms/` run a rule with their parent set as
the current trace. A rule therefore sees plain values of the parent and never has to ask what transformation is on.
A trace closes when its function returns; a tracer that is used after that raises at once.
"""
from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from ftiny import dtypes
from ftiny.errors import IRError, LeakedTracerError, RuleError, TracerError
from ftiny.source import Source, current_source, inherit, located, user_frame

# ---- avals: what is known of a value while tracing ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aval:
    """An abstract value: shape, dtype, the mesh axes along which it differs, and whether it is a Python scalar."""

    shape: tuple[int, ...]
    dtype: np.dtype
    vary: frozenset[str] = frozenset()
    scalar: bool = False

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    @property
    def nbytes(self) -> int:
        """The bytes of a dense array of this aval."""
        return self.size * self.dtype.itemsize

    def update(self, **changes) -> Aval:
        """A copy with some fields changed; `scalar` is dropped, since a derived value is an array."""
        fields = {"shape": self.shape, "dtype": self.dtype, "vary": self.vary, **changes}
        return Aval(**fields)

    def __str__(self) -> str:
        text = f"{dtypes.short_name(self.dtype)}[{','.join(map(str, self.shape))}]"
        if self.vary:
            text += "{" + ",".join(sorted(self.vary)) + "}"
        return text + ("*" if self.scalar else "")


def get_aval(x) -> Aval:
    """The aval of a tracer, an array, a numpy array or a Python scalar.

    Raises `TracerError` for anything that is no array: a list, a string, a function.
    """
    aval = getattr(x, "aval", None)
    if isinstance(aval, Aval):
        return aval
    if isinstance(x, (np.ndarray, np.generic)):
        return Aval(x.shape, dtypes.dtype(x.dtype))
    if isinstance(x, (bool, int, float, complex)):
        return Aval((), dtypes.default_dtype(dtypes.scalar_kind(x)), scalar=True)
    if isinstance(x, TypedKey):
        raise TracerError(located(f"a typed key is not an array of numbers: {x!r}; {x.WAY_OUT}"))
    raise TracerError(located(
        f"a {type(x).__name__} is not an array: {str(x)[:80]!r}; convert it with ftiny.numpy.asarray, or mark the "
        "argument as static (static_argnums)"))


class TypedKey:
    """What `key_arrays.KeyArray` is to the modules below it: no array, and the way to one."""

    __slots__ = ()
    WAY_OUT = "take random bits of the key with ftiny.random.bits(key), or its words with ftiny.random.key_data(key)"

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes; a single key has none."""
        raise NotImplementedError

    def copy(self):
        """The keys in memory of their own."""
        raise NotImplementedError


class ArrayLike:
    """What concrete arrays and tracers share: `shape`, `dtype`, ... The operators are added by `ftiny.numpy`."""

    aval: Aval
    __slots__ = ()
    __array_priority__ = 100

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        """The element type."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.aval.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.aval.size

    @property
    def nbytes(self) -> int:
        """The number of bytes of the elements."""
        return self.aval.nbytes

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return self.aval.dtype.itemsize


# ---- programs -------------------------------------------------------------------------------------------------


class Var:
    """A typed variable of a program, equal only to itself."""

    __slots__ = ("aval",)

    def __init__(self, aval: Aval):
        self.aval = aval

    def __repr__(self) -> str:
        return f"Var({self.aval})"


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A scalar constant written into an equation: a 0-d numpy value."""

    value: np.generic
    aval: Aval

    def __str__(self) -> str:
        return f"{self.value}:{dtypes.short_name(self.aval.dtype)}"


Atom = Var | Literal
NO_EFFECTS: frozenset[str] = frozenset()


def literal(value, dtype: np.dtype | None = None) -> Literal:
    """A `Literal` of a Python or numpy scalar, in the given dtype (default: its own)."""
    d = dtype or get_aval(value).dtype
    return Literal(np.asarray(value, d).reshape(1)[0], Aval((), d))


@dataclass(frozen=True, slots=True, eq=False)
class Eqn:
    """`outputs = primitive[params] inputs`, with its effects and the user's line that bound it."""

    primitive: Primitive
    inputs: tuple[Atom, ...]
    params: dict[str, Any]
    outputs: tuple[Var, ...]
    effects: frozenset[str]
    source: Source

    def replace(self, **changes) -> Eqn:
        """A copy with some fields changed."""
        return Eqn(**{name: changes.get(name, getattr(self, name)) for name in self.__slots__})


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Jaxpr:
    """A program: `outputs` computed from `inputs` and `constvars` by `equations`, in order.

    `consts` are the values of `constvars` (arrays, or tracers of an enclosing trace). A program inside the params of
    a higher-order equation has none: what it closed over is among that equation's inputs.
    """

    inputs: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outputs: tuple[Atom, ...]
    constvars: tuple[Var, ...] = ()
    consts: tuple[Any, ...] = ()

    @property
    def in_avals(self) -> list[Aval]:
        """The avals of the inputs (without the constants)."""
        return [v.aval for v in self.inputs]

    @property
    def out_avals(self) -> list[Aval]:
        """The avals of the outputs."""
        return [v.aval for v in self.outputs]

    @property
    def effects(self) -> frozenset[str]:
        """All effects of the equations."""
        return NO_EFFECTS.union(*(e.effects for e in self.eqns))

    def replace(self, **changes) -> Jaxpr:
        """A copy with some fields changed."""
        fields = {"inputs": self.inputs, "eqns": self.eqns, "outputs": self.outputs, "constvars": self.constvars,
                  "consts": self.consts}
        return Jaxpr(**{**fields, **changes})

    def close_over(self) -> Jaxpr:
        """The same program with its constants turned into leading inputs, as higher-order equations want it."""
        return Jaxpr(self.constvars + self.inputs, self.eqns, self.outputs)

    def __str__(self) -> str:
        return format_jaxpr(self)


# ---- primitives -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Anchor:
    """The `lower` rule of a primitive that is no index-to-value function: which builder makes its loop nest."""

    kind: str


class NotNeeded:
    """A rule that a primitive does not have, with the reason; calling it raises `RuleError`."""

    def __init__(self, reason: str):
        self.reason = reason

    def __call__(self, *args, **params) -> NoReturn:
        raise RuleError(located(self.reason))


def not_needed(reason: str) -> NotNeeded:
    """Says why a primitive has no such rule; the reason is what a user reads who gets there."""
    return NotNeeded(reason)


class Primitive:
    """One operation of the language, with all its rules in one place. A missing rule fails at import.

    abstract(*avals, **params) -> Aval | [Aval]      shape and dtype of the result; raises on bad operands
    numpy(*arrays, **params) -> ndarray | [ndarray]  the reference semantics, which the interpreter runs
    jvp(primals, tangents, **params) -> (out, out_tangent)      a tangent may be `ZERO`
    transpose(cotangent, *inputs, **params) -> [cotangent or ZERO]    linear inputs arrive as `Linear(aval)`
    batch(axis_size, args, dims, **params) -> (out, dim)        dims: the mapped axis of each argument, or None
    factors(*avals, **params) -> str                 the sharding rule, like "ij,jk->ik"
    lower(ins, index, in_avals, out_aval, **params) -> Expr     one element's value; or an `Anchor`
    effects(params) -> frozenset[str]                default: none

    Only some have these:

    linearize(trace, primals, tangents, **params)    how `vjp` splits a body in two (transforms/grad.py)
    batch_named(trace, args, dims, **params)         collectives: along the axis of a `vmap` that has a name. What holds
                                                     a program has a `batch` rule with `axis_name=` instead
    """

    RULES = ("abstract", "numpy", "jvp", "transpose", "batch", "factors", "lower")
    registry: dict[str, Primitive] = {}

    def __init__(self, name: str, *, multiple_results: bool = False, shows_as: str | None = None,
                 effects: Callable[[dict], frozenset[str]] | None = None, linearize: Callable | None = None,
                 batch_named: Callable | None = None, **rules):
        missing = [rule for rule in self.RULES if rules.get(rule) is None]
        unknown = set(rules) - set(self.RULES)
        if missing or unknown:
            raise IRError(f"primitive {name}: missing rules {missing}, unknown rules {sorted(unknown)}")
        if name in self.registry:
            raise IRError(f"primitive {name} is defined twice")
        self.name, self.multiple_results, self.shows_as = name, multiple_results, shows_as
        self.effects = effects or (lambda params: NO_EFFECTS)
        self.abstract: Callable = rules["abstract"]
        self.numpy: Callable = rules["numpy"]
        self.jvp: Callable = rules["jvp"]
        self.transpose: Callable = rules["transpose"]
        self.batch: Callable = rules["batch"]
        self.factors: Callable = rules["factors"]
        self.lower: Callable | Anchor = rules["lower"]
        self.linearize, self.batch_named = linearize, batch_named
        self.registry[name] = self

    def infer(self, avals: Sequence[Aval], params: dict) -> list[Aval]:
        """The avals of the results, always as a list; what varies over a mesh axis stays varying."""
        out = self.abstract(*avals, **params)
        outs = list(out) if self.multiple_results else [out]
        vary = NO_EFFECTS.union(*(a.vary for a in avals)) if avals else NO_EFFECTS
        return [o if vary <= o.vary else o.update(vary=o.vary | vary) for o in outs] if vary else outs

    def bind(self, *args, **params):
        """Apply the primitive to values under the current trace; a list when it has multiple results."""
        outs = _state.trace.process(self, args, params)
        return outs if self.multiple_results else outs[0]

    def show(self, params: dict) -> str:
        """How an equation prints: families print under the function's name."""
        return str(params[self.shows_as]) if self.shows_as else self.name

    def __repr__(self) -> str:
        return self.name


class _Zero:
    """The symbolic zero tangent or cotangent: nothing flows here, so nothing is computed."""

    def __repr__(self) -> str:
        return "ZERO"


ZERO = _Zero()


@dataclass(frozen=True)
class Linear:
    """Stands for an input that a transposed equation is linear in: only its aval is known."""

    aval: Aval


# ---- traces and tracers ---------------------------------------------------------------------------------------


class Trace:
    """What binding a primitive does at the moment. `closed` once the traced function has returned."""

    name = "trace"
    closed = False

    def process(self, primitive: Primitive, args: Sequence, params: dict) -> list:
        """Bind `primitive` to `args`; always returns a list of results."""
        raise NotImplementedError

    def close(self) -> None:
        """From now on every tracer of this trace is dead."""
        self.closed = True


class Tracer(ArrayLike):
    """A value of a trace: it has an aval and remembers the user's line that made it."""

    __slots__ = ("trace", "aval", "source")

    def __init__(self, trace: Trace, aval: Aval, source: Source | None = None):
        self.trace = trace
        self.aval = aval
        self.source = source if source is not None else current_source()

    def __repr__(self) -> str:
        return f"<{self.trace.name} tracer {self.aval}>"

    __hash__ = None  # type: ignore[assignment]  # `==` is elementwise

    def _concrete(self, wanted: str, way_out: str):
        """Raise the error for a traced value that is used where a concrete one is needed."""
        _check_alive(self)
        made = "" if self.source is None else f"\nThe value was made here:\n{self.source.describe()}"
        message = f"{wanted} needs a concrete value, but this one is traced: {self.aval} (by {self.trace.name})"
        raise TracerError(located(f"{message}. {way_out}") + made)

    def __bool__(self) -> bool:
        return self._concrete("`if`, `while`, `and`, `or` or bool()",
                              "Use ftiny.numpy.where or ftiny.lax.cond, or make the argument static (static_argnums)")

    def _python_number(self, *unused):
        return self._concrete("a Python number", "Use array operations, or make the argument static (static_argnums)")

    __int__ = __float__ = __complex__ = __index__ = __round__ = _python_number

    def _numpy_array(self, *unused, **also_unused):
        return self._concrete("numpy", "Use ftiny.numpy instead of numpy inside a transformed function")

    __array__ = item = tolist = tobytes = __dlpack__ = __dlpack_device__ = _numpy_array

    def __format__(self, specification: str) -> str:
        return self._concrete("format()", "Use ftiny.debug.print") if specification else str(self)

    def __reduce_ex__(self, protocol):
        return self._concrete("pickle", "Return the value from the transformed function and pickle it outside")

    def __copy__(self):
        return self  # it never changes

    def __deepcopy__(self, memo):
        return self

    def block_until_ready(self):
        """Nothing to wait for: a tracer has no value yet. Returns the tracer."""
        return self


class _ThreadState(threading.local):
    def __init__(self):
        self.trace = EvalTrace()


class EvalTrace(Trace):
    """No transformation is on: primitives are computed at once, by the dispatcher that `array.py` installs."""

    name = "eval"
    dispatch: Callable[[Primitive, Sequence, dict], list] | None = None

    def process(self, primitive, args, params):
        """Compute the results of one equation on the device of its arguments."""
        for arg in args:
            if isinstance(arg, Tracer):
                _raise_leaked(arg)
        assert EvalTrace.dispatch is not None, "ftiny.array installs the eager dispatcher"
        return EvalTrace.dispatch(primitive, args, params)


_state = _ThreadState()


def current_trace() -> Trace:
    """The trace that binding a primitive now goes to (one per thread)."""
    return _state.trace


@contextmanager
def using(trace: Trace):
    """Make `trace` the current one inside the block."""
    before = _state.trace
    _state.trace = trace
    try:
        yield trace
    finally:
        _state.trace = before


def _check_alive(tracer: Tracer) -> None:
    if tracer.trace.closed:
        _raise_leaked(tracer)


def _raise_leaked(tracer: Tracer) -> NoReturn:
    """Name the variable that holds a dead tracer, the function and line that made it, and the line that used it."""
    frame = user_frame()
    scopes = [*frame.f_locals.items(), *frame.f_globals.items()]
    name = next((key for key, value in scopes if value is tracer), None)
    if name is None:  # one level down: an element of a list or dict, an attribute
        for key, value in scopes:
            inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
            if any(v is tracer for v in inside):
                name = f"an element of {key}"
                break
    made = tracer.source
    holder = "a value" if name is None else name if name.startswith("an ") else f"variable {name!r}"
    owner = "a function that has already returned" if tracer.trace.closed else "another trace"
    where = f"\nIt was made in {made.function!r}:\n{made.describe()}" if made else ""
    raise LeakedTracerError(located(
        f"{holder} holds a traced value {tracer.aval} of {owner}. Return the value from the traced function instead "
        f"of storing it in a variable outside.{where}\nIt was used here:"))


class StagedTracer(Tracer):
    """A value of a program that is being recorded."""

    __slots__ = ("var",)

    def __init__(self, trace: StageTrace, var: Var, source: Source | None = None):
        super().__init__(trace, var.aval, source)
        self.var = var


class StageTrace(Trace):
    """Records equations. Arrays and tracers from outside become constvars, numpy scalars become literals."""

    def __init__(self, name: str = "jit"):
        self.name = name
        self.inputs: list[Var] = []
        self.eqns: list[Eqn] = []
        self._constants: dict[int, tuple[StagedTracer, Any]] = {}

    def argument(self, aval: Aval, source: Source | None = None) -> StagedTracer:
        """A new input of the program."""
        var = Var(aval)
        self.inputs.append(var)
        return StagedTracer(self, var, source)

    def lift(self, x) -> Atom:
        """The atom of this program that stands for `x`."""
        if isinstance(x, Tracer):
            if x.trace is self:
                return x.var  # type: ignore[attr-defined]
            _check_alive(x)
        elif isinstance(x, (np.generic, bool, int, float, complex)):
            return literal(x)
        elif isinstance(x, np.ndarray) and x.ndim == 0:
            return literal(x[()])
        known = self._constants.get(id(x))
        if known is None:
            aval = get_aval(x)
            known = self._constants[id(x)] = StagedTracer(self, Var(aval.update())), x
        return known[0].var

    def process(self, primitive, args, params):
        """Append the equation and return tracers of its results."""
        if self.closed:
            raise LeakedTracerError(located(f"{primitive} was bound under a trace whose function has already returned"))
        inputs = tuple(map(self.lift, args))
        avals = primitive.infer([atom.aval for atom in inputs], params)
        source = current_source()
        outputs = tuple(map(Var, avals))
        self.eqns.append(Eqn(primitive, inputs, params, outputs, primitive.effects(params), source))
        return [StagedTracer(self, var, source) for var in outputs]

    def finish(self, results: Iterable) -> Jaxpr:
        """Close the trace; the program that computes `results` from the arguments."""
        outputs = tuple(map(self.lift, results))
        self.close()
        constants = list(self._constants.values())
        return Jaxpr(tuple(self.inputs), tuple(self.eqns), outputs,
                     tuple(t.var for t, _ in constants), tuple(value for _, value in constants))


def stage(function: Callable[..., Iterable], avals: Sequence[Aval], name: str = "jit") -> Jaxpr:
    """Trace a function of flat arguments and flat results into a program; its closure becomes `consts`."""
    trace = StageTrace(name)
    arguments = [trace.argument(aval) for aval in avals]
    try:
        with using(trace):
            results = list(function(*arguments))
        return trace.finish(results)
    finally:
        trace.close()


def eval_jaxpr(jaxpr: Jaxpr, *args, consts: Sequence | None = None) -> list:
    """Run a program under the current trace, equation by equation; each keeps its own source."""
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, jaxpr.consts if consts is None else consts))
    if len(args) != len(jaxpr.inputs):
        raise IRError(f"a program of {len(jaxpr.inputs)} inputs was given {len(args)} arguments")
    env.update(zip(jaxpr.inputs, args))
    trace = _state.trace
    last_use = last_uses(jaxpr)
    for number, eqn in enumerate(jaxpr.eqns):
        with inherit(eqn.source):
            outs = trace.process(eqn.primitive, [read(env, atom) for atom in eqn.inputs], eqn.params)
        env.update(zip(eqn.outputs, outs))
        for var in last_use.get(number, ()):
            del env[var]
    return [read(env, atom) for atom in jaxpr.outputs]


def read(env: dict[Var, Any], atom: Atom):
    """The value of an atom in an environment; a literal is its own value."""
    return atom.value if isinstance(atom, Literal) else env[atom]


def last_uses(jaxpr: Jaxpr) -> dict[int, list[Var]]:
    """Equation number -> the variables that are not needed after it (dead results included)."""
    last: dict[Var, int] = {}
    for number, eqn in enumerate(jaxpr.eqns):
        for atom in (*eqn.inputs, *eqn.outputs):
            if isinstance(atom, Var):
                last[atom] = number
    for atom in jaxpr.outputs:
        last.pop(atom, None)  # type: ignore[arg-type]
    dying: dict[int, list[Var]] = {}
    for var, number in last.items():
        dying.setdefault(number, []).append(var)
    return dying


# Primitives whose program, the first of `subprograms`, is computed in their place.
INLINED = ("call", "custom_jvp", "custom_vjp")


def subprograms(eqn: Eqn) -> list[Jaxpr]:
    """The programs among an equation's params: bodies of calls, loops and branches."""
    found = []
    for value in eqn.params.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Jaxpr):
                found.append(item)
    return found


# ---- checking and printing ------------------------------------------------------------------------------------


def check_jaxpr(jaxpr: Jaxpr) -> None:
    """Raise `IRError` unless every variable is bound once before use and every equation has the avals of its rule."""
    if len(jaxpr.constvars) != len(jaxpr.consts):
        raise IRError(f"{len(jaxpr.constvars)} constvars but {len(jaxpr.consts)} consts")
    bound: set[Var] = set()

    def bind_var(var: Var, where: str) -> None:
        if var in bound:
            raise IRError(f"{where}: variable {var} is bound twice\n{jaxpr}")
        bound.add(var)

    def check_use(atom: Atom, where: str) -> None:
        if isinstance(atom, Var) and atom not in bound:
            raise IRError(f"{where}: variable {atom} is used before it is bound\n{jaxpr}")

    for var in (*jaxpr.constvars, *jaxpr.inputs):
        bind_var(var, "inputs")
    for number, eqn in enumerate(jaxpr.eqns):
        where = f"equation {number} ({eqn.primitive.show(eqn.params)}, {eqn.source})"
        for atom in eqn.inputs:
            check_use(atom, where)
        avals = eqn.primitive.infer([atom.aval for atom in eqn.inputs], eqn.params)
        got = [v.aval for v in eqn.outputs]
        if [(a.shape, a.dtype) for a in avals] != [(a.shape, a.dtype) for a in got]:
            raise IRError(f"{where}: its rule gives {[*map(str, avals)]}, the equation has {[*map(str, got)]}")
        for var in eqn.outputs:
            bind_var(var, where)
        for inner in subprograms(eqn):
            check_jaxpr(inner)
    for atom in jaxpr.outputs:
        check_use(atom, "outputs")


@dataclass
class _Namer:
    """Gives variables the names a, b, ..., z, aa, ... in order of appearance."""

    names: dict[Var, str] = field(default_factory=dict)

    def __call__(self, atom: Atom) -> str:
        if isinstance(atom, Literal):
            return str(atom)
        if atom not in self.names:
            self.names[atom] = _letters(len(self.names))
        return self.names[atom]

    def typed(self, atom: Atom) -> str:
        """The name with its aval, as binders print."""
        return str(atom) if isinstance(atom, Literal) else f"{self(atom)}:{atom.aval}"


def _letters(number: int) -> str:
    text = ""
    for _ in itertools.count():
        text = chr(ord("a") + number % 26) + text
        number = number // 26 - 1
        if number < 0:
            return text
    raise AssertionError


def format_jaxpr(jaxpr: Jaxpr, indent: str = "") -> str:
    """The program as text, one equation a line, inner programs indented."""
    name = _Namer()
    constants = " ".join(map(name.typed, jaxpr.constvars))
    head = f"{{ lambda {constants + ' ; ' if constants else ''}{' '.join(map(name.typed, jaxpr.inputs))} . let"
    lines = [head]
    for eqn in jaxpr.eqns:
        outs = " ".join(map(name.typed, eqn.outputs))
        operation = _format_operation(eqn, indent + "    ")
        line = f"    {outs} = {operation}" if outs else f"    {operation}"
        lines.append(f"{line} {' '.join(map(name, eqn.inputs))}".rstrip())
    results = ", ".join(map(name, jaxpr.outputs))
    lines.append(f"  in ({results}{',' if len(jaxpr.outputs) == 1 else ''}) }}")
    return ("\n" + indent).join(lines)


def _format_operation(eqn: Eqn, indent: str) -> str:
    shown = []
    for key, value in eqn.params.items():
        if key == eqn.primitive.shows_as or value is None:
            continue
        if isinstance(value, Jaxpr):
            value = "\n" + indent + "  " + format_jaxpr(value, indent + "  ")
        elif isinstance(value, tuple) and value and all(isinstance(v, Jaxpr) for v in value):
            value = "".join("\n" + indent + "  " + format_jaxpr(v, indent + "  ") for v in value)
        elif isinstance(value, np.dtype):
            value = dtypes.short_name(value)
        elif callable(value):
            value = getattr(value, "__name__", type(value).__name__)
        shown.append(f"{key}={value}")
    return eqn.primitive.show(eqn.params) + (f"[{' '.join(shown)}]" if shown else "")
