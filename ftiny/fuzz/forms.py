"""The transformations that a random program is put under.

Input: a program as a function, the positions of its float arguments, and arguments. Output: a flat list of arrays:

    >>> gradient(ftiny_library(), lambda x: (x * x,), (0,), [np.array([1., 2.])])
    [Array([1., 4.], dtype=float32), Array([2., 2.1612], dtype=float32)]

A form is ordinary Python over the namespace `m` (see `libraries`); its text goes into the reproducer of a failure as it
stands here. `WRAPPERS` are what the program itself is wrapped in before a form sees it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy

# ---- what the forms have in common ----------------------------------------------------------------------------


def is_float(x):
    """Whether an array or a tracer is of a real float type."""
    return x.dtype.kind == "f" or str(x.dtype) == "bfloat16"


def waves(x, frequency):
    """An array of cosines in the shape and dtype of x: a direction, or the weights of a sum."""
    size = numpy.prod(x.shape, dtype=int)
    return numpy.cos(frequency * numpy.arange(size)).reshape(x.shape).astype(x.dtype)


def float_part(program, floats, arguments):
    """The program as a function of its float arguments, with its float results only; and those arguments."""

    def function(*values):
        filled = list(arguments)
        for position, value in zip(floats, values):
            filled[position] = value
        return [out for out in program(*filled) if is_float(out)]

    return function, [arguments[position] for position in floats]


def weighted_sum(m, outputs):
    """The float results as one number, in the widest float type among them, at least float32."""
    wide = "float64" if any(str(out.dtype) == "float64" for out in outputs) else "float32"
    total = m.numpy.zeros((), wide)
    for out in outputs:
        if is_float(out):
            wider = out.astype(wide)
            total = total + m.numpy.sum(wider * waves(wider, 1.0))
    return total


def stacked(m, x):
    """Two arrays of the shape of x, the second backwards, on a new first axis."""
    return m.numpy.stack([x, m.numpy.reshape(m.numpy.flip(m.numpy.ravel(x)), x.shape)])


# ---- forms ----------------------------------------------------------------------------------------------------


def values(m, program, floats, arguments):
    """The results themselves."""
    return list(program(*arguments))


def gradient(m, program, floats, arguments):
    """The results, and the gradient of their weighted sum."""

    def loss(*xs):
        outputs = program(*xs)
        return weighted_sum(m, outputs), outputs

    (_, outputs), gradients = m.value_and_grad(loss, argnums=floats, has_aux=True)(*arguments)
    return [*outputs, *gradients]


def tangents(m, program, floats, arguments):
    """The float results and their tangents."""
    function, primals = float_part(program, floats, arguments)
    outputs, out_tangents = m.jvp(function, tuple(primals), tuple(waves(x, 2.0) for x in primals))
    return [*outputs, *out_tangents]


def products(m, program, floats, arguments):
    """J v and J^T w, then the two sides of <w, J v> = <J^T w, v> and the sum of the magnitudes of their terms."""
    function, primals = float_part(program, floats, arguments)
    directions = [waves(x, 2.0) for x in primals]
    outputs, forward = m.jvp(function, tuple(primals), tuple(directions))
    weights = [waves(out, 1.0) for out in outputs]
    backward = m.vjp(function, *primals)[1](weights)
    wide = "float64" if any(str(x.dtype) == "float64" for x in (*primals, *outputs)) else "float32"
    left = [w.astype(wide) * t.astype(wide) for w, t in zip(weights, forward)]
    right = [b.astype(wide) * v.astype(wide) for b, v in zip(backward, directions)]
    total = lambda terms: sum((m.numpy.sum(term) for term in terms), m.numpy.zeros((), wide))
    size = total([m.numpy.abs(term) for term in left + right])
    return [*forward, *backward, total(left), total(right), size]


def mapped(m, program, floats, arguments):
    """The program over two rows of every argument."""
    return list(m.vmap(program)(*(stacked(m, x) for x in arguments)))


def mapped_first(m, program, floats, arguments):
    """The program over two rows of its first argument; the others are shared, and the rows are the last axis of it."""
    first = m.numpy.moveaxis(stacked(m, arguments[0]), 0, -1)
    in_axes = (-1,) + (None,) * (len(arguments) - 1)
    return list(m.vmap(program, in_axes=in_axes)(first, *arguments[1:]))


def mapped_gradient(m, program, floats, arguments):
    """The gradient of every row: vmap of grad."""
    slope = m.grad(lambda *xs: weighted_sum(m, program(*xs)), argnums=floats)
    return list(m.vmap(slope)(*(stacked(m, x) for x in arguments)))


def gradient_mapped(m, program, floats, arguments):
    """The gradient through the mapped program: grad of vmap."""

    def loss(*xs):
        return weighted_sum(m, m.vmap(program)(*(stacked(m, x) for x in xs)))

    return list(m.grad(loss, argnums=floats)(*arguments))


def second_order(m, program, floats, arguments):
    """The Hessian of the weighted sum times a direction: jvp of grad."""
    function, primals = float_part(program, floats, arguments)
    slope = m.grad(lambda *xs: weighted_sum(m, function(*xs)), argnums=tuple(range(len(primals))))
    gradients, products = m.jvp(slope, tuple(primals), tuple(waves(x, 2.0) for x in primals))
    return [*gradients, *products]


def scanned(m, program, floats, arguments):
    """A scan whose body is the program, and the gradient through it."""

    def loss(*xs):
        rows = [stacked(m, x) for x in xs]

        def body(total, row):
            value = weighted_sum(m, program(*row)).astype(total.dtype)
            return 0.5 * total + value, value

        total, every = m.lax.scan(body, m.numpy.zeros((), start), rows)
        return total, every

    start = "float64" if any(str(x.dtype) == "float64" for x in arguments) else "float32"
    (total, every), gradients = m.value_and_grad(loss, argnums=floats, has_aux=True)(*arguments)
    return [total, every, *gradients]


FORMS = {
    form.__name__: form
    for form in (
        values,
        gradient,
        tangents,
        products,
        mapped,
        mapped_first,
        mapped_gradient,
        gradient_mapped,
        second_order,
        scanned,
    )
}
WITHOUT_DERIVATIVE = ("values", "mapped", "mapped_first")
WITHOUT_REVERSE = (*WITHOUT_DERIVATIVE, "tangents")
WRAPPERS = ("jit", "checkpoint")
_CHANCES = {"values": 0.12, "gradient": 0.3, "tangents": 0.08, "products": 0.1, "second_order": 0.1}


def choose_form(program, rng):
    """The program with a form and wrappers drawn for it; a third of them run operation by operation."""
    allowed = [name for name in FORMS if _allows(name, program)]
    chances = numpy.array([_CHANCES.get(name, 0.06) for name in allowed])
    form = str(rng.choice(allowed, p=chances / chances.sum()))
    count = int(rng.choice([0, 1, 2], p=[0.6, 0.28, 0.12]))
    wrappers = tuple(str(rng.choice(WRAPPERS)) for _ in range(count))
    return replace(program, form=form, wrappers=wrappers, jitted=bool(rng.random() < 0.67))


def _allows(form: str, program) -> bool:
    if form in WITHOUT_DERIVATIVE:
        return True
    if not program.float_positions:
        return False
    return form in WITHOUT_REVERSE or all(step.reverse for step in program.steps)
