"""Checks of a primitive's rules against each other, without any transformation of the library.

`Reference` is a trace that runs the numpy rules and compares every result with the abstract rule. `tangent`, `pullback`
are forward and reverse differentiation made of nothing but the rules; `batched` runs the batch rules; `lowered`
evaluates the lowering of a pointwise or structural equation at every element.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftiny import core, dtypes
from ftiny import primitives as p
from ftiny.core import ZERO, Linear, Literal, Trace, Var
from ftiny.lowering import expr as e


class Reference(Trace):
    """Computes by the numpy rules, on numpy arrays; every result must have the aval that the abstract rule says."""

    def process(self, primitive, args, params):
        arrays = [np.asarray(a) for a in args]
        avals = primitive.infer([core.get_aval(a) for a in arrays], params)
        with np.errstate(all="raise"):
            outs = primitive.numpy(*arrays, **params)
        outs = outs if primitive.multiple_results else [outs]
        found = [(a.shape, a.dtype) for a in outs]
        assert all(isinstance(a, np.ndarray) for a in outs), (primitive, params)
        assert found == [(a.shape, a.dtype) for a in avals], (primitive, params, found, avals)
        return outs


def run(function: Callable, *arrays):
    """The results of a function of arrays, as a list."""
    with core.using(Reference()):
        out = function(*arrays)
    return list(out) if isinstance(out, (list, tuple)) else [out]


def program(function: Callable, *arrays) -> core.Jaxpr:
    """The function as a checked program of the arrays' avals, constants first among its inputs."""
    def listed(*xs):
        out = function(*xs)
        return out if isinstance(out, (list, tuple)) else [out]

    jaxpr = core.stage(listed, [core.get_aval(np.asarray(a)) for a in arrays])
    core.check_jaxpr(jaxpr)
    return jaxpr


class Forward(Trace):
    """Forward differentiation by the jvp rules: a value is a tracer with a tangent, or has none."""

    class Dual(core.Tracer):
        __slots__ = ("primal", "tangent")

        def __init__(self, trace, primal, tangent):
            super().__init__(trace, core.get_aval(primal))
            self.primal, self.tangent = primal, tangent

    def __init__(self, parent):
        self.parent = parent

    def process(self, primitive, args, params):
        primals = [a.primal if isinstance(a, self.Dual) else a for a in args]
        tangents = [a.tangent if isinstance(a, self.Dual) else ZERO for a in args]
        with core.using(self.parent):
            if all(t is ZERO for t in tangents):
                return self.parent.process(primitive, primals, params)
            outs, dots = primitive.jvp(primals, tangents, **params)
        if not primitive.multiple_results:
            outs, dots = [outs], [dots]
        for out, dot in zip(outs, dots):
            if dot is not ZERO:
                a, b = core.get_aval(out), core.get_aval(dot)
                assert (a.shape, a.dtype) == (b.shape, b.dtype), (primitive, params, a, b)
        return [self.Dual(self, out, dot) for out, dot in zip(outs, dots)]


def push(function: Callable, primals: Sequence, tangents: Sequence) -> list:
    """The output tangents, under the current trace."""
    parent = core.current_trace()
    trace = Forward(parent)
    with core.using(trace):
        outs = function(*(x if t is ZERO else Forward.Dual(trace, x, t) for x, t in zip(primals, tangents)))
    outs = outs if isinstance(outs, (list, tuple)) else [outs]
    with core.using(parent):
        return [p.zeros_like(x) if not isinstance(x, Forward.Dual) else
                p.zeros_like(x.primal) if x.tangent is ZERO else x.tangent for x in outs]


def tangent(function: Callable, primals: Sequence, tangents: Sequence) -> list:
    """The output tangents as arrays."""
    with core.using(Reference()):
        return push(function, primals, tangents)


def pullback(function: Callable, primals: Sequence, cts: Sequence, wanted: Sequence[int]) -> list:
    """The cotangents of the arguments `wanted`: the staged tangent program, walked backwards by the transpose rules."""
    def linear(*tangents):
        every = [ZERO] * len(primals)
        for k, t in zip(wanted, tangents):
            every[k] = t
        return push(function, primals, every)

    jaxpr = program(linear, *(primals[k] for k in wanted))
    env = dict(zip(jaxpr.constvars, jaxpr.consts))
    backward = []
    for eqn in jaxpr.eqns:  # what no tangent reaches is computed, the rest is linear
        if all(isinstance(a, Literal) or a in env for a in eqn.inputs):
            outs = Reference().process(eqn.primitive, [core.read(env, a) for a in eqn.inputs], eqn.params)
            env.update(zip(eqn.outputs, outs))
        else:
            backward.append(eqn)
    bars: dict[Var, np.ndarray] = {}

    def accumulate(atom, ct):
        if ct is not ZERO and isinstance(atom, Var) and atom not in env:
            assert core.get_aval(ct).shape == atom.aval.shape and ct.dtype == atom.aval.dtype
            bars[atom] = p.add(bars[atom], ct) if atom in bars else ct

    with core.using(Reference()):
        for atom, ct in zip(jaxpr.outputs, cts):
            accumulate(atom, ct)
        for eqn in reversed(backward):
            outs = [bars.pop(v, ZERO) for v in eqn.outputs]
            if all(o is ZERO for o in outs):
                continue
            ins = [core.read(env, a) if isinstance(a, Literal) or a in env else Linear(a.aval) for a in eqn.inputs]
            found = eqn.primitive.transpose(outs if eqn.primitive.multiple_results else outs[0], *ins, **eqn.params)
            for atom, ct in zip(eqn.inputs, found):
                accumulate(atom, ct)
        return [bars.get(v, np.zeros(v.aval.shape, v.aval.dtype)) for v in jaxpr.inputs]


class Batched(Trace):
    """Vectorisation by the batch rules."""

    class Mapped(core.Tracer):
        __slots__ = ("value", "dim")

        def __init__(self, trace, value, dim):
            aval = core.get_aval(value)
            super().__init__(trace, core.Aval(aval.shape[:dim] + aval.shape[dim + 1:], aval.dtype))
            self.value, self.dim = value, dim

    def __init__(self, parent, size):
        self.parent, self.size = parent, size

    def process(self, primitive, args, params):
        values = [a.value if isinstance(a, self.Mapped) else a for a in args]
        dims = [a.dim if isinstance(a, self.Mapped) else None for a in args]
        with core.using(self.parent):
            if all(d is None for d in dims):
                return self.parent.process(primitive, values, params)
            outs, out_dims = primitive.batch(self.size, values, dims, **params)
        if not primitive.multiple_results:
            outs, out_dims = [outs], [out_dims]
        return [o if d is None else self.Mapped(self, o, d) for o, d in zip(outs, out_dims)]


def batched(function: Callable, arrays: Sequence, dims: Sequence[int | None], size: int) -> list:
    """The results with the mapped axis first, by the batch rules."""
    parent = Reference()
    trace = Batched(parent, size)
    with core.using(trace):
        outs = function(*(a if d is None else Batched.Mapped(trace, a, d) for a, d in zip(arrays, dims)))
    outs = outs if isinstance(outs, (list, tuple)) else [outs]
    return [np.moveaxis(o.value, o.dim, 0) if isinstance(o, Batched.Mapped) else np.broadcast_to(o, (size, *o.shape))
            for o in outs]


def lowered(eqn: core.Eqn, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The results of one equation by its `lower` rule, evaluated at every element; loads must stay inside."""
    in_avals = [a.aval for a in eqn.inputs]

    def loader(k):
        def load(index):
            assert len(index) == in_avals[k].ndim, (eqn.primitive, index, in_avals[k])
            return e.load(f"x{k}", index, in_avals[k].dtype)
        return load

    def read(name, index):
        array = arrays[int(name[1:])]
        for i, size in zip(index, array.shape):
            inside = not out_avals[0].size or np.all((0 <= i) & (i < size))
            assert inside, (eqn.primitive, eqn.params, "a load leaves its array")
        return array[index] if array.size else np.zeros(np.broadcast_shapes(*map(np.shape, index)), array.dtype)

    multiple = eqn.primitive.multiple_results
    out_avals = [v.aval for v in eqn.outputs]
    axes = [e.Axis(f"i{k}", size) for k, size in enumerate(out_avals[0].shape)]
    index = tuple(map(e.axis, axes))
    out = eqn.primitive.lower([loader(k) for k in range(len(arrays))], index, in_avals,
                              out_avals if multiple else out_avals[0], **eqn.params)
    outs = out if multiple else [out]
    grid = np.indices([a.extent for a in axes])
    values = e.evaluate(outs, dict(zip(axes, grid)), read)
    for o, aval in zip(outs, out_avals):
        assert o.dtype == aval.dtype, (eqn.primitive, eqn.params, o.dtype, aval)
    return [np.broadcast_to(v, a.shape) for v, a in zip(values, out_avals)]


def check_factors(eqn: core.Eqn) -> None:
    """The sharding rule has one character for each axis of each operand and result, and letters agree in extent."""
    avals = [a.aval for a in eqn.inputs]
    left, right = eqn.primitive.factors(*avals, **eqn.params).split("->")
    terms = left.split(",") if avals else []
    everything = [*zip(terms, avals), *zip(right.split(","), (v.aval for v in eqn.outputs))]
    assert len(terms) == len(avals) and len(right.split(",")) == len(eqn.outputs), (eqn.primitive, left, right)
    extents: dict[str, int] = {}
    for term, aval in everything:
        assert len(term) == aval.ndim, (eqn.primitive, eqn.params, term, aval)
        for letter, size in zip(term, aval.shape):
            if letter not in "?1":
                assert extents.setdefault(letter, size) == size, (eqn.primitive, left, right, letter)
            assert letter != "1" or size == 1, (eqn.primitive, left, right)


def inexact(array) -> bool:
    """Whether an argument can be differentiated."""
    return dtypes.is_inexact(np.asarray(array).dtype)
