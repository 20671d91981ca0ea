"""What a peer module provides.  cases_<peer>.py defines a subclass named Peer and registers builders with @case."""

import gc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class Missing(Exception):
    """This peer has no such case."""


@dataclass
class Run:
    call: Callable  # call(i) -> out: start the i-th call
    sync: Callable  # sync(out): wait for it and all before it
    steps: int = 1  # train steps that one call runs


@dataclass
class Train:
    """What a train builder(peer, s, inputs) returns.  An op's builder(peer, s) returns f(*inputs) -> output(s)."""

    step: Callable  # step(i) -> out: the i-th call; it keeps the state itself
    loss: Callable  # out -> float
    params: Callable  # () -> numpy arrays in the order and layout of the spec's params
    steps: int = 1


class PeerBase:
    Missing = Missing
    keep_all = False  # see timing.measure
    builders: dict  # (fn, variant) -> builder; variant '' is the main one

    def __init__(self, eager=False, fast=False, gpu=False):
        self.eager, self.fast, self.gpu = eager, fast, gpu

    # -- a peer defines these
    def about(self):
        raise NotImplementedError  # one line: versions, device

    def setup_case(self, case, s):
        pass  # precision switches and the like

    def load(self, case, arrays):
        raise NotImplementedError  # op inputs on the device, in this peer's layout

    def compile_op(self, f, case, s):
        raise NotImplementedError

    def sync(self, out):
        raise NotImplementedError

    def host(self, case, out):
        raise NotImplementedError  # an op's outputs as numpy, in the spec's layout

    def after_case(self):
        gc.collect()

    def memory_start(self):
        return None

    def memory_peak_mb(self, start):
        return None

    # -- the rest is common
    def builder(self, case, variant):
        b = self.builders.get((case.fn, variant))
        if b is None:
            raise Missing(f"no {case.fn}{'@' + variant if variant else ''}")
        return b

    def variants(self, case):
        """Other versions of this case worth running besides the main one."""
        return [
            v for (fn, v), b in self.builders.items() if fn == case.fn and v and (b.when is None or b.when(self, case))
        ]

    def prepare(self, case, s, variant):
        b = self.builder(case, variant)
        self.setup_case(case, s)
        if case.kind == "train":
            t = b(self, s, case.make_inputs(s.suite))
            return Run(t.step, self.sync, t.steps)
        f = self.compile_op(b(self, s), case, s)
        sets = [self.load(case, case.make_inputs(s.suite, r)) for r in range(case.rotate)]
        return Run(lambda i: f(*sets[i % len(sets)]), self.sync)

    def check(self, case, s, variant, steps=5):
        """What peers are compared by. op: its outputs. train: [5 losses, all parameters' change, concatenated]."""
        b = self.builder(case, variant)
        self.setup_case(case, s)
        if case.kind != "train":
            f, x = self.compile_op(b(self, s), case, s), self.load(case, case.make_inputs(s.suite))
            for _ in range(3):
                out = f(*x)  # past any capture
            return self.host(case, out)
        inputs = case.make_inputs(s.suite)
        t = b(self, s, inputs)
        if t.steps != 1:
            raise Missing("several steps a call: not compared")
        before = inputs["params"] if isinstance(inputs["params"], list) else list(inputs["params"].values())
        before = [np.array(x) for x in before]
        losses = [t.loss(t.step(i)) for i in range(steps)]
        delta = np.concatenate([(np.asarray(a, np.float64) - x).ravel() for a, x in zip(t.params(), before)])
        return [np.array(losses), delta]


def registry():
    builders = {}

    def case(fn, variant="", when=None):
        """Register a builder for the spec's `fn`; `when(peer, case)` says where a variant applies."""

        def deco(f):
            f.when = when
            builders[fn, variant] = f
            return f

        return deco

    return builders, case
