"""Every row of the operation table: value, derivatives, vmap and jit against jax, and compiled against interpreted.

Derivatives are checked in float64 on the interpreter: jvp against central differences and against jax, vjp by the inner
product <ct, J v> = <J^T ct, v>, the Hessian-vector product against jax. What runs on OpenCL is compiled many rows at a
time, because that is far cheaper than one by one.
"""

from __future__ import annotations

import inspect

import ml_dtypes
import numpy as np
import oracle
import pytest
from argument_patterns import few
from op_table import Row, Sample, all_rows

ROWS = all_rows()
BY_NAME = {row.name: row for row in ROWS}
EPSILON = {
    "float64": 1e-12,
    "float32": 1e-5,
    "complex64": 1e-5,
    "complex128": 1e-12,
    "float16": 2e-3,
    "bfloat16": 1.6e-2,
}
BATCH = 16


def is_float(x) -> bool:
    """Whether an array, a tracer or a dtype is of a real floating type."""
    dtype = getattr(x, "dtype", x)
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def assert_close(found, wanted, tolerance: float, what: str, same_dtype: bool = True) -> None:
    """Two lists of arrays agree: shapes, dtypes, and values relative to the largest; NaN equals NaN."""
    found, wanted = [[np.asarray(x) for x in side] for side in (found, wanted)]
    assert len(found) == len(wanted), f"{what}: {len(found)} results, expected {len(wanted)}"
    for number, (a, b) in enumerate(zip(found, wanted)):
        label = f"{what}, result {number}"
        assert a.shape == b.shape, f"{label}: shape {a.shape}, expected {b.shape}"
        assert not same_dtype or a.dtype == b.dtype, f"{label}: dtype {a.dtype}, expected {b.dtype}"
        if b.dtype.kind in "iub":
            np.testing.assert_array_equal(a, b, label)
            continue
        relative = max(tolerance * EPSILON[str(b.dtype)] / 1e-5, EPSILON[str(b.dtype)])
        a, b = (x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) for x in (a, b))
        finite = np.abs(b[np.isfinite(b)])
        # An absolute error is measured by the ordinary values: one of 1e20 must not excuse the others.
        scale = float(finite[finite < 1e6].max(initial=0.01))
        np.testing.assert_allclose(a, b, relative, relative * scale, equal_nan=True, err_msg=label)


def has_64_bits(sample: Sample) -> bool:
    """Whether a sample has a 64-bit type, for which jax wants its flag."""
    return any(argument.dtype.itemsize // (2 if argument.dtype.kind == "c" else 1) == 8 for argument in sample)


def jax_results(row: Row, samples: tuple[Sample, ...]) -> list[list[np.ndarray]]:
    """jax's results at the samples, compiled together."""
    import jax

    library = oracle.jax_library()

    def together(all_arguments):
        return [row.run(library, *arguments) for arguments in all_arguments]

    with jax.enable_x64(any(map(has_64_bits, samples))):
        found = jax.jit(together)([row.arguments(sample) for sample in samples])
    return [[np.asarray(x) for x in results] for results in found]


@pytest.fixture(autouse=True)
def on_the_interpreter():
    """Tests run on the numpy device unless they choose another."""
    import ftiny

    with ftiny.device("numpy"):
        yield


# ---- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_value(name):
    """Eager and jitted results on the interpreter are jax's, for every sample."""
    import ftiny

    row, library = BY_NAME[name], oracle.ftiny_library()
    groups = [[s for s in row.samples if has_64_bits(s) == wide] for wide in (False, True)]
    for samples in filter(None, groups):
        for sample, wanted in zip(samples, jax_results(row, tuple(samples))):
            arguments, what = row.arguments(sample), f"{name} of {[str(a.dtype) + str(list(a.shape)) for a in sample]}"
            eager = row.run(library, *arguments)
            assert_close(eager, wanted, row.tolerance, what)
            jitted = ftiny.jit(lambda *xs: row.run(library, *xs))(*arguments)
            assert_close(jitted, eager, row.tolerance, f"jitted {what}")


# ---- derivatives ----------------------------------------------------------------------------------------------


def derivative_sample(row: Row) -> Sample | None:
    """The first sample with a float32 argument, elements and ordinary values; None if the row has no derivative."""
    fits = (
        s
        for s in row.samples
        if any(a.dtype == np.float32 for a in s)
        and all(a.shape.count(0) == 0 and not a.special and a.dtype.kind != "c" for a in s)
    )
    return next(fits, None) if row.grad else None


def in_double(row: Row, sample: Sample) -> list[np.ndarray]:
    """The sample's arguments, its floats as float64."""
    return [x.astype(np.float64) if is_float(x) else x for x in row.arguments(sample)]


def float_function(row: Row, library, arguments):
    """The row as a function of its float arguments only, with float results only; and those arguments."""
    positions = [i for i, x in enumerate(arguments) if is_float(x)]

    def function(*floats):
        filled = list(arguments)
        for position, value in zip(positions, floats):
            filled[position] = value
        return [out for out in row.run(library, *filled) if is_float(out)]

    return function, [arguments[i] for i in positions]


def directions(arrays, seed: int) -> list[np.ndarray]:
    """A random array for each array."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=x.shape)) for x in arrays]


def products(library, function, primals, tangents, cotangents, smooth: bool):
    """(outputs, J v, J^T ct, and for smooth rows the Hessian of <ct, f> times v) in one library."""

    def jvp(f):
        return library.jvp(f, tuple(primals), tuple(tangents))

    outputs, forward = jvp(lambda *xs: function(*xs))
    _, pull = library.vjp(lambda *xs: function(*xs), *primals)
    backward = pull([c.astype(str(o.dtype)) for c, o in zip(cotangents, outputs)])

    def weighted(*xs):
        return sum((library.numpy.sum(c * o) for c, o in zip(cotangents, function(*xs))), 0.0)

    second = jvp(library.grad(weighted, argnums=tuple(range(len(primals)))))[1] if smooth else []
    return list(outputs), list(forward), list(backward), list(second)


DIFFERENTIABLE = [row.name for row in ROWS if derivative_sample(row)]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name):
    """jvp, vjp and second order, in float64."""
    import jax

    row = BY_NAME[name]
    arguments = in_double(row, derivative_sample(row))
    function, primals = float_function(row, oracle.ftiny_library(), arguments)
    outputs = function(*primals)
    if not outputs:
        pytest.skip("no float results")
    tangents, cotangents = directions(primals, 1), directions(outputs, 2)
    _, forward, backward, second = products(oracle.ftiny_library(), function, primals, tangents, cotangents, row.smooth)

    step = 1e-6
    shifted = [[x + sign * step * t for x, t in zip(primals, tangents)] for sign in (1, -1)]
    above, below = ([np.asarray(o, np.float64) for o in function(*xs)] for xs in shifted)
    for number, (up, down, tangent) in enumerate(zip(above, below, forward)):
        difference, tangent = (up - down) / (2 * step), np.asarray(tangent, np.float64)
        loose = 1e-6 if outputs[number].dtype == np.float64 else 5.0
        np.testing.assert_allclose(
            tangent,
            difference,
            loose,
            loose * max(1, np.abs(difference).max(initial=0)),
            err_msg=f"jvp of result {number} against central differences",
        )
    left = sum(np.vdot(c, np.asarray(t, np.float64)) for c, t in zip(cotangents, forward))
    right = sum(np.vdot(np.asarray(b), t) for b, t in zip(backward, tangents))
    loose = row.derivative_tolerance
    np.testing.assert_allclose(left, right, loose, loose, err_msg="<ct, J v> against <J^T ct, v>")

    def reference(*xs):
        same, _ = float_function(row, oracle.jax_library(), arguments)
        return products(oracle.jax_library(), same, xs, tangents, cotangents, row.smooth)

    with jax.enable_x64(True):
        wanted = jax.jit(reference)(*primals)
    for what, found, right in zip(("jvp", "vjp", "second order"), (forward, backward, second), wanted[1:]):
        assert_close(found, right, 1e7 * loose, f"{what} of {name}", same_dtype=False)


AT_ZERO = [name for name in DIFFERENTIABLE if name.startswith("nn.") and len(BY_NAME[name].samples[0]) == 1]
AT_ZERO += ["numpy.abs", "numpy.sinc", "numpy.square", "numpy.expm1", "numpy.tanh", "numpy.arcsinh"]


def test_derivatives_at_zero():
    """Zeros are everywhere in practice (biases, padding), and that is where functions have their corners."""
    x = np.zeros((2, 4), np.float32)

    def gradients(library):
        def loss(row):
            return lambda x: sum(library.numpy.sum(out) for out in row.run(library, x) if is_float(out))

        return [library.grad(loss(BY_NAME[name]))(x) for name in AT_ZERO]

    for name, found, wanted in zip(AT_ZERO, gradients(oracle.ftiny_library()), gradients(oracle.jax_library())):
        assert_close([found], [wanted], 1e-5, f"derivative of {name} at zero")


# ---- vmap -----------------------------------------------------------------------------------------------------


MAPPED = [row.name for row in ROWS if row.vmap and any(row.samples[0])]


@pytest.mark.parametrize("name", MAPPED)
def test_vmap(name):
    """vmap over the first axis of all arguments, and over the last of the first one only, is a loop."""
    import ftiny

    row, library = BY_NAME[name], oracle.ftiny_library()
    for sample in row.samples[:2]:
        draws = [row.arguments(sample, seed) for seed in range(3)]
        function = lambda *xs: tuple(row.run(library, *xs))  # noqa: B023
        looped = [np.stack([np.asarray(r) for r in results]) for results in zip(*(function(*xs) for xs in draws))]
        stacked = [np.stack(xs) for xs in zip(*draws)]
        assert_close(ftiny.vmap(function)(*stacked), looped, row.tolerance, f"vmap of {name}")
        if len(sample) > 1:
            first = [
                np.stack([np.asarray(r) for r in results])
                for results in zip(*(function(xs[0], *draws[0][1:]) for xs in draws))
            ]
            axes = (len(sample[0].shape),) + (None,) * (len(sample) - 1)
            moved = np.stack([xs[0] for xs in draws], axis=-1)
            assert_close(
                ftiny.vmap(function, in_axes=axes)(moved, *draws[0][1:]),
                first,
                row.tolerance,
                f"vmap of {name} over its first argument",
            )


# ---- compiled -------------------------------------------------------------------------------------------------


def compiled_cases(row: Row) -> list:
    """(function, arguments) pairs of a row: its values at two samples, and gradients in float32."""
    library = oracle.ftiny_library()
    cases = [(lambda *xs: row.run(library, *xs), row.arguments(sample)) for sample in row.samples[:2]]
    sample = derivative_sample(row)
    if sample:
        arguments = row.arguments(sample)
        function, primals = float_function(row, library, arguments)
        if function(*primals):

            def gradient(*xs):
                loss = lambda *ys: sum((library.numpy.sum(library.numpy.sin(o)) for o in function(*ys)), 0.0)
                return list(library.grad(loss, argnums=tuple(range(len(xs))))(*xs))

            cases.append((gradient, primals))
    return cases


def run_together(cases, device: str) -> list:
    """The results of all cases from one jitted program on `device`, as numpy arrays."""
    import ftiny

    with ftiny.device(device):
        program = ftiny.jit(lambda all_arguments: [f(*xs) for (f, _), xs in zip(cases, all_arguments)])
        results = program([arguments for _, arguments in cases])
        return [[np.asarray(x) for x in result] for result in results]


COMPILED = [row.name for row in ROWS if row.compiled]


@pytest.mark.parametrize("start", range(0, len(COMPILED), BATCH))
def test_compiled(start, compiled):
    """Compiled programs agree with the interpreter, values and gradients, sixteen rows in each program."""
    names = COMPILED[start : start + BATCH]
    cases = [(name, case) for name in names for case in compiled_cases(BY_NAME[name])]
    try:
        found = run_together([case for _, case in cases], compiled)
    except Exception:  # say which rows it is
        found = [_alone(case, compiled) for _, case in cases]
    problems = []
    for (name, (function, arguments)), results in zip(cases, found):
        try:
            if isinstance(results, Exception):
                raise results
            wanted = [np.asarray(x) for x in function(*arguments)]
            assert_close(results, wanted, 2 * BY_NAME[name].tolerance, name)
        except Exception as error:
            problems.append(
                f"{name} at {[f'{x.dtype}{list(x.shape)}' for x in arguments]}: {type(error).__name__}: {error}"
            )
    assert not problems, f"{len(problems)} of {len(cases)} cases:\n" + "\n".join(problems)


def _alone(case, device: str):
    try:
        return run_together([case], device)[0]
    except Exception as error:
        return error


# ---- the table itself -----------------------------------------------------------------------------------------

# Public names that are no operations on one device's arrays: questions about shapes and dtypes, keys as data, and the
# collectives, which tests/test_collectives.py has.
NOT_ROWS = {
    "numpy": "array_repr array_str broadcast_shapes can_cast dtype einsum_path finfo from_dlpack fromiter iscomplexobj "
    "isdtype isrealobj isscalar issubdtype iterable load ndim promote_types result_type save savez shape size",
    "lax": "all_gather all_to_all axis_index axis_size pmax pmean pmin ppermute pshuffle psum psum_scatter pvary "
    "bitcast_view broadcast_shapes conv_dimension_numbers conv_general_shape_tuple conv_transpose_shape_tuple "
    "dtype padtype_to_pads reduce_window_shape_tuple",
    "nn": "",
    "random": "key_data key_impl shuffle wrap_key_data",
    "linalg": "",
    "fft": "",
    "lax_linalg": "",
    "scipy_linalg": "cho_factor",  # in the row of cho_solve: what is beside its triangle is anything
    "special": "",
}
# Where the modules are that have no name of their own in a library.
PLACES = {
    "linalg": lambda library: library.numpy.linalg,
    "fft": lambda library: library.numpy.fft,
    "lax_linalg": lambda library: library.lax.linalg,
    "scipy_linalg": lambda library: library.scipy.linalg,
    "special": lambda library: library.scipy.special,
}


def test_functions_are_compared_on_two_patterns():
    """Counted, not declared: what the rows call each public function with."""
    short, total = few()
    assert not short, f"of {total} functions these are called in one way only: {short}"


@pytest.mark.parametrize("module", NOT_ROWS)
def test_every_public_function_has_a_row(module):
    """A new public function needs a row."""
    found = PLACES.get(module, lambda library: getattr(library, module))
    library = found(oracle.ftiny_library())
    public = {name: getattr(library, name) for name in library.__all__}
    functions = {name for name, f in public.items() if inspect.isfunction(f) and f.__module__.startswith("ftiny")}
    names = [row.function.partition(".") for row in ROWS]
    covered = {name for place, _, name in names if place == module}
    covered |= {name for name in functions if any(public[name] is public.get(other) for other in covered)}
    assert functions - covered - set(NOT_ROWS[module].split()) == set()
