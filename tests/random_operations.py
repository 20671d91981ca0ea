"""The operations of the random programs: each adds one line to a program when the values at hand allow it.

An operation is a function of the `Generator` (tests/random_programs.py). It picks operands and parameters and emits a
line of Python text with the shape, dtype and bound of its result; it emits nothing when no operand fits:

    @operation(weight=2)
    def transpose(g):        # emits for example  d = np.transpose(c, (1, 0))
"""

from __future__ import annotations

import math

OPERATIONS: list = []


def operation(weight: float = 1.0):
    """Register an operation, drawn with this weight."""

    def register(function):
        function.weight = weight
        OPERATIONS.append(function)
        return function

    return register


# ---- elementwise ----------------------------------------------------------------------------------------------

# text, bound of the result as a function of the operand's
UNARY = (
    ("np.sin({})", lambda b: 1.0),
    ("np.cos({})", lambda b: 1.0),
    ("np.tanh({})", lambda b: 1.0),
    ("np.exp(np.tanh({}))", lambda b: 2.8),
    ("np.log1p(np.square({}))", lambda b: b),
    ("nn.sigmoid({})", lambda b: 1.0),
    ("np.sqrt(1 + np.square({}))", lambda b: 1 + b),
    ("-{}", lambda b: b),
    ("np.square({})", lambda b: b * b),
    ("lax.erf({})", lambda b: 1.0),
    ("np.arctan({})", lambda b: 1.6),
    ("np.arcsinh({})", lambda b: b),
    ("lax.rsqrt({} * {} + 0.5)", lambda b: 1.5),
    ("np.expm1(nn.sigmoid({}))", lambda b: 1.8),
    ("nn.gelu({})", lambda b: b),
    ("nn.softplus({})", lambda b: b + 1),
    ("nn.silu({})", lambda b: b),
    ("{} ** 3", lambda b: b**3),
    ("np.arctanh(0.5 * np.tanh({}))", lambda b: 0.6),
    ("2 ** {}", lambda b: 2 ** min(b, 9)),
)


@operation(6)
def unary(g):
    """A smooth function of one value."""
    x = g.a_float()
    if x:
        text, bound = g.choose(UNARY)
        g.emit(
            text.format(x.name, x.name), [x], x.shape, x.dtype, bound(x.bound), x.exact and text == "-{}", x.distinct
        )


@operation(2)
def with_jumps(g):
    """A function that jumps or has a corner, of a value that no rounding has touched."""
    x = g.a_float(lambda v: v.exact)
    if x:
        text = g.choose(
            (
                "np.abs({})",
                "np.floor({})",
                "np.sign({})",
                "nn.relu({})",
                "np.ceil({})",
                "np.round({})",
                "np.clip({}, -0.9, 1.3)",
                "nn.leaky_relu({})",
                "lax.stop_gradient({})",
            )
        )
        exact = "leaky" not in text
        g.emit(text.format(x.name), [x], x.shape, x.dtype, x.bound + 1, exact, "stop" in text and x.distinct)


@operation(2)
def with_scalar(g):
    """A value and a Python scalar."""
    x = g.a_float()
    if x:
        text, bound = g.choose(
            (
                ("{} + 1.5", 1.5),
                ("2 - {}", 2),
                ("{} * 0.7", 0),
                ("1 + 3 * {}", 2 * x.bound + 1),
                ("1.5 / (2 + np.square({}))", 0),
                ("np.maximum({}, 0.37)", 0),
                ("{} / 3", 0),
            )
        )
        g.emit(text.format(x.name), [x], x.shape, x.dtype, x.bound + bound)


def _broadcastable(a, b):
    return all(m == n or 1 in (m, n) for m, n in zip(a.shape[::-1], b.shape[::-1]))


def _broadcast(*values):
    ndim = max(v.ndim for v in values)
    columns = zip(*((1,) * (ndim - v.ndim) + v.shape for v in values))
    return tuple(next((extent for extent in column if extent != 1), 1) for column in columns)


@operation(6)
def binary(g):
    """Two values of one dtype that broadcast."""
    x = g.a_float()
    y = x and g.a_float(lambda v: v.dtype == x.dtype and _broadcastable(v, x))
    if y:
        text, bound = g.choose(
            (
                ("{} + {}", x.bound + y.bound),
                ("{} - {}", x.bound + y.bound),
                ("{} * {}", x.bound * y.bound),
                ("{} / (1.5 + np.square({}))", x.bound),
                ("np.arctan2({}, 3 + np.square({}))", 1.6),
                ("np.logaddexp({}, {})", x.bound + y.bound),
            )
        )
        g.emit(text.format(x.name, y.name), [x, y], _broadcast(x, y), x.dtype, bound)


@operation(1.5)
def extremum(g):
    """Maximum or minimum of exact values."""
    x = g.a_float(lambda v: v.exact)
    y = x and g.a_float(lambda v: v.exact and v.dtype == x.dtype and _broadcastable(v, x))
    if y:
        name = g.choose(("np.maximum", "np.minimum"))
        g.emit(f"{name}({x.name}, {y.name})", [x, y], _broadcast(x, y), x.dtype, max(x.bound, y.bound), exact=True)


@operation(1.5)
def compare(g):
    """A comparison of exact values."""
    x = g.value(lambda v: v.exact and v.dtype != "bool")
    y = x and g.value(lambda v: v.exact and v.dtype == x.dtype and _broadcastable(v, x))
    if y:
        sign = g.choose(("<", "<=", ">", ">=", "==", "!="))
        g.emit(f"{x.name} {sign} {y.name}", [x, y], _broadcast(x, y), "bool", 1, exact=True)


@operation(2)
def where(g):
    """A choice by a bool value, or by a comparison of an exact one with a number."""
    x = g.a_float()
    y = x and g.a_float(lambda v: v.dtype == x.dtype and _broadcastable(v, x))
    condition = y and g.value(lambda v: v.exact and _broadcastable(v, x) and _broadcastable(v, y))
    if condition:
        test = condition.name if condition.dtype == "bool" else f"{condition.name} > 0"
        other, read = (y.name, [condition, x, y]) if g.chance(0.7) else ("0.25", [condition, x])
        g.emit(f"np.where({test}, {x.name}, {other})", read, _broadcast(*read), x.dtype, max(x.bound, y.bound))


@operation(1.5)
def integers(g):
    """Integer and bit arithmetic."""
    x = g.value(lambda v: v.is_int)
    y = x and g.value(lambda v: v.dtype == x.dtype and _broadcastable(v, x))
    if y:
        text = g.choose(
            (
                "{} + {}",
                "{} * {}",
                "{} - {}",
                "{} & {}",
                "{} | {}",
                "{} ^ {}",
                "{} // (3 + 0 * {})",
                "np.maximum({}, {})",
                "{} % (0 * {} + 5)",
                "lax.rem({}, {} * 0 + 3)",
            )
        )
        if text.startswith("lax") and x.shape != y.shape:
            return
        g.emit(text.format(x.name, y.name), [x, y], _broadcast(x, y), x.dtype, exact=True)


@operation(0.7)
def logical(g):
    """Logic of bools."""
    x = g.value(lambda v: v.dtype == "bool")
    y = x and g.value(lambda v: v.dtype == "bool" and _broadcastable(v, x))
    if y:
        text = g.choose(("{} & {}", "np.logical_or({}, {})", "np.logical_xor({}, ~{})"))
        g.emit(text.format(x.name, y.name), [x, y], _broadcast(x, y), "bool", exact=True)


@operation(1.5)
def convert(g):
    """A change of dtype."""
    x = g.value(lambda v: not v.is_float or v.dtype != "float64")
    if not x:
        return
    if x.is_float:
        target = g.choose([d for d in ("float32", "float16", "bfloat16") if d != x.dtype])
        if x.dtype == "float32" and g.chance(0.7):
            if not x.exact:
                return
            target = g.choose(("int32", "int8"))
        bound, exact = x.bound, x.exact and target in ("int32", "int8")
    else:
        # Integers may be large after products: they go to floats through a remainder.
        target, bound, exact = g.choose(("float32", "float32", "int32")), 4.0, True
        if target == "float32" and x.is_int:
            g.emit(f"({x.name} % 4).astype('float32')", [x], x.shape, "float32", bound, exact)
            return
        if target == x.dtype:
            return
    g.emit(f"{x.name}.astype('{target}')", [x], x.shape, target, bound, exact)


# ---- movement -------------------------------------------------------------------------------------------------


def _same(g, x, text, shape, distinct=None):
    g.emit(text, [x], shape, x.dtype, x.bound, x.exact, x.distinct if distinct is None else distinct)


@operation(1.5)
def reshape(g):
    """Another shape with as many elements."""
    x = g.value()
    divisors = [d for d in range(1, 40) if x.size and x.size % d == 0]
    if x.size == 0:
        shape = (0,)
    else:
        first = g.choose(divisors)
        rest = x.size // first
        shape = g.choose(((x.size,), (first, rest), (rest, first), (first, 1, rest)))
    text = g.choose((str(shape), str((-1, *shape[1:])))) if x.size else str(shape)
    _same(g, x, f"np.reshape({x.name}, {text})", shape)


@operation(1.5)
def transpose(g):
    """A permutation of the axes."""
    x = g.value(lambda v: v.ndim >= 2)
    if x:
        order = tuple(int(a) for a in g.rng.permutation(x.ndim))
        _same(g, x, f"np.transpose({x.name}, {order})", tuple(x.shape[a] for a in order))


@operation(1)
def broadcast_to(g):
    """A larger shape: new leading axes, axes of size one repeated."""
    x = g.value(lambda v: v.size <= 300)
    if x:
        shape = tuple(g.choose((1, 2, 3, 5)) if extent == 1 else extent for extent in x.shape)
        shape = (g.choose((1, 2, 4)), *shape) if g.chance(0.6) else shape
        _same(g, x, f"np.broadcast_to({x.name}, {shape})", shape, distinct=False)


@operation(1)
def expand_or_squeeze(g):
    """An axis of size one added or taken."""
    x = g.value()
    ones = [a for a, extent in enumerate(x.shape) if extent == 1]
    if ones and g.chance(0.6):
        axis = g.choose(ones)
        _same(g, x, f"np.squeeze({x.name}, axis={axis})", x.shape[:axis] + x.shape[axis + 1 :])
    elif x.ndim < 4:
        axis = int(g.rng.integers(x.ndim + 1))
        _same(g, x, f"np.expand_dims({x.name}, {axis})", x.shape[:axis] + (1,) + x.shape[axis:])


@operation(1.5)
def static_slice(g):
    """A slice with steps, some backwards."""
    x = g.value(lambda v: v.ndim >= 1)
    if not x:
        return
    parts, shape = [], []
    for extent in x.shape:
        kind = int(g.rng.integers(5))
        if kind == 0 and extent > 1:
            start = int(g.rng.integers(extent))
            piece = slice(start, int(g.rng.integers(start + 1, extent + 1)), int(g.rng.integers(1, 4)))
        elif kind == 1:
            piece = slice(None, None, g.choose((-1, -2, 2)))
        elif kind == 2 and extent > 0:
            parts.append(str(int(g.rng.integers(-extent, extent))))
            continue
        else:
            piece = slice(None)
        parts.append(":".join("" if p is None else str(p) for p in (piece.start, piece.stop, piece.step)))
        shape.append(len(range(extent)[piece]))
    _same(g, x, f"{x.name}[{', '.join(parts)}]", tuple(shape))


@operation(1.2)
def pad(g):
    """Padding with a number; negative and interior padding too."""
    x = g.value(lambda v: v.ndim >= 1 and v.dtype in ("float32", "float64", "int32"))
    if not x:
        return
    number = g.choose((0, 1))
    if g.chance(0.5):
        widths = tuple((int(g.rng.integers(3)), int(g.rng.integers(3))) for _ in x.shape)
        shape = tuple(low + extent + high for (low, high), extent in zip(widths, x.shape))
        text = f"np.pad({x.name}, {widths}, constant_values={number})"
    else:
        config = tuple(
            (int(g.rng.integers(-1, 3)), int(g.rng.integers(-1, 3)), int(g.rng.integers(3))) for _ in x.shape
        )
        shape = tuple(
            low + extent + max(extent - 1, 0) * inside + high for (low, high, inside), extent in zip(config, x.shape)
        )
        if min(shape) < 0 or math.prod(shape) > 4000:
            return
        text = f"lax.pad({x.name}, np.asarray({number}, {x.name}.dtype), {config})"
    g.emit(text, [x], shape, x.dtype, max(x.bound, 1), x.exact)


@operation(1.5)
def concatenate(g):
    """Two values joined along an axis."""
    x = g.value(lambda v: v.ndim >= 1)
    if not x:
        return
    axis = int(g.rng.integers(x.ndim))
    y = g.value(
        lambda v: (
            v.dtype == x.dtype
            and v.ndim == x.ndim
            and all(m == n for a, (m, n) in enumerate(zip(v.shape, x.shape)) if a != axis)
        )
    )
    shape = tuple(m + n if a == axis else m for a, (m, n) in enumerate(zip(x.shape, y.shape)))
    names = [x.name, y.name] if g.chance(0.8) else [y.name, x.name, y.name]
    extra = y.shape[axis] if len(names) == 3 else 0
    shape = tuple(extent + (extra if a == axis else 0) for a, extent in enumerate(shape))
    g.emit(
        f"np.concatenate([{', '.join(names)}], axis={axis})",
        [x, y],
        shape,
        x.dtype,
        max(x.bound, y.bound),
        x.exact and y.exact,
    )


@operation(0.8)
def stack(g):
    """Two values of one shape on a new axis."""
    x = g.value(lambda v: v.ndim <= 3)
    y = x and g.value(lambda v: v.dtype == x.dtype and v.shape == x.shape)
    if y:
        axis = int(g.rng.integers(x.ndim + 1))
        g.emit(
            f"np.stack([{x.name}, {y.name}], axis={axis})",
            [x, y],
            x.shape[:axis] + (2,) + x.shape[axis:],
            x.dtype,
            max(x.bound, y.bound),
            x.exact and y.exact,
        )


@operation(1)
def rearrange(g):
    """Flip, roll, tile, repeat, triangles."""
    x = g.value(lambda v: v.ndim >= 1 and v.size <= 600)
    if not x:
        return
    axis = g.an_axis(x)
    kind = int(g.rng.integers(5))
    at = axis % x.ndim
    longer = x.shape[:at] + (2 * x.shape[at],) + x.shape[at + 1 :]
    if kind == 0:
        _same(g, x, f"np.flip({x.name}, axis={axis})", x.shape)
    elif kind == 1:
        _same(g, x, f"np.roll({x.name}, {int(g.rng.integers(-3, 4))}, axis={axis})", x.shape)
    elif kind == 2:
        _same(g, x, f"np.repeat({x.name}, 2, axis={axis})", longer, distinct=False)
    elif kind == 3:
        repeats = tuple(2 if a == at else 1 for a in range(x.ndim))
        _same(g, x, f"np.tile({x.name}, {repeats})", longer, distinct=False)
    elif x.ndim >= 2 and x.dtype != "bool":
        name = g.choose(("triu", "tril"))
        _same(g, x, f"np.{name}({x.name}, k={int(g.rng.integers(-1, 2))})", x.shape, distinct=False)


# ---- folds ----------------------------------------------------------------------------------------------------


def _axes(g, x):
    count = int(g.rng.integers(1, x.ndim + 1))
    axes = tuple(sorted(int(a) for a in g.rng.permutation(x.ndim)[:count]))
    keep = g.chance(0.5)
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if keep or a not in axes)
    folded = math.prod(x.shape[a] for a in axes)
    return axes, keep, shape, folded


@operation(4)
def reduce_float(g):
    """Sum, mean, variance, product, log-sum-exp over some axes."""
    x = g.a_float(lambda v: v.ndim >= 1)
    if not x:
        return
    axes, keep, shape, folded = _axes(g, x)
    options = [
        ("np.sum({}, axis={}, keepdims={})", x.bound * folded),
        ("np.sum(np.square({}), axis={}, keepdims={})", 99),
    ]
    if folded:
        options += [
            ("np.mean({}, axis={}, keepdims={})", x.bound),
            ("np.var({}, axis={}, keepdims={})", x.bound**2),
            ("nn.logsumexp({}, axis={}, keepdims={})", x.bound + math.log(folded)),
        ]
    if folded <= 8:
        options.append(("np.prod(np.cos({}), axis={}, keepdims={})", 1))
    text, bound = g.choose(options)
    g.emit(text.format(x.name, axes, keep), [x], shape, x.dtype, bound)


@operation(1.5)
def reduce_exact(g):
    """Maxima, minima and their positions, of exact values."""
    x = g.value(lambda v: v.ndim >= 1 and v.exact and v.dtype != "bool")
    if not x:
        return
    axes, keep, shape, folded = _axes(g, x)
    if not folded:
        return
    if g.chance(0.35):
        axis = g.an_axis(x)
        if x.shape[axis] == 0:
            return
        at = axis % x.ndim
        g.emit(
            f"np.{g.choose(('argmax', 'argmin'))}({x.name}, axis={axis}).astype('int32')",
            [x],
            x.shape[:at] + x.shape[at + 1 :],
            "int32",
            exact=True,
        )
    else:
        g.emit(
            f"np.{g.choose(('max', 'min'))}({x.name}, axis={axes}, keepdims={keep})", [x], shape, x.dtype, x.bound, True
        )


@operation(0.8)
def reduce_other(g):
    """Sums of integers, any and all of bools."""
    x = g.value(lambda v: v.ndim >= 1 and v.dtype in ("bool", "int32"))
    if not x:
        return
    axes, keep, shape, _ = _axes(g, x)
    if x.dtype == "bool":
        g.emit(f"np.{g.choose(('any', 'all'))}({x.name}, axis={axes}, keepdims={keep})", [x], shape, "bool", exact=True)
    else:
        g.emit(f"np.sum({x.name}, axis={axes}, keepdims={keep}, dtype='int32')", [x], shape, "int32", exact=True)


@operation(1.5)
def row_function(g):
    """Softmax and its kind, normalisation, cumulative sums and products."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.size)
    if not x:
        return
    axis = g.an_axis(x)
    extent = x.shape[axis]
    options = [
        ("nn.softmax({x}, axis={a})", 1),
        ("nn.log_softmax({x}, axis={a})", 2 * x.bound + math.log(extent)),
        ("np.cumsum({x}, axis={a})", x.bound * extent),
        ("({x} - np.mean({x}, {a}, keepdims=True)) / np.sqrt(0.1 + np.var({x}, {a}, keepdims=True))", 3),
    ]
    if extent <= 8:
        options.append(("np.cumprod(np.cos({x}), axis={a})", 1))
    if x.distinct and x.exact:
        options.append(("lax.cummax({x}, axis={p})", x.bound))
    text, bound = g.choose(options)
    g.emit(text.format(x=x.name, a=axis, p=axis % x.ndim), [x], x.shape, x.dtype, bound)


@operation(1)
def sort(g):
    """Sorting of exact distinct values, and the order itself."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.exact and v.distinct)
    if x:
        axis = g.an_axis(x)
        if g.chance(0.7):
            _same(g, x, f"np.sort({x.name}, axis={axis})", x.shape)
        else:
            g.emit(f"np.argsort({x.name}, axis={axis}).astype('int32')", [x], x.shape, "int32", exact=True)


# ---- products -------------------------------------------------------------------------------------------------


@operation(3)
def matmul(g):
    """A matrix product with a value that fits, or with the own transpose."""
    x = g.a_float(lambda v: v.ndim >= 2)
    if not x:
        return
    inner = x.shape[-1]
    y = g.a_float(lambda v: v.dtype == x.dtype and v.ndim == 2 and v.shape[0] == inner)
    z = g.a_float(lambda v: v.dtype == x.dtype and v.ndim == 1 and v.shape[0] == inner)
    bound = x.bound * max(inner, 1)
    if y and g.chance(0.6):
        g.emit(f"{x.name} @ {y.name}", [x, y], (*x.shape[:-1], y.shape[1]), x.dtype, bound * y.bound)
    elif z and g.chance(0.7):
        g.emit(f"np.dot({x.name}, {z.name})", [x, z], x.shape[:-1], x.dtype, bound * z.bound)
    elif x.size * x.shape[-2] <= 40_000 * max(inner, 1):
        g.emit(
            f"np.matmul({x.name}, np.swapaxes({x.name}, -1, -2))",
            [x],
            (*x.shape[:-1], x.shape[-2]),
            x.dtype,
            bound * x.bound,
        )


@operation(1.2)
def einsum(g):
    """A product of a value with itself or another one of its shape in einsum notation."""
    x = g.a_float(lambda v: v.ndim in (1, 2, 3) and v.size <= 40_000)
    y = x and g.a_float(lambda v: v.dtype == x.dtype and v.shape == x.shape)
    if not y:
        return
    rule = g.choose(
        {
            1: ("a,b->ab", "a,a->", "a,a->a"),
            2: ("ab,cb->ac", "ab,ab->b", "ab,ac->bc", "ab,ab->ba"),
            3: ("abc,abd->acd", "abc,abc->ca", "abc,adc->abd", "abc,dbc->ad"),
        }[x.ndim]
    )
    left, right = rule.split("->")[0].split(",")
    extents = dict(zip(left, x.shape)) | {letter: n for letter, n in zip(right, y.shape) if letter not in left}
    shape = tuple(extents[letter] for letter in rule.split("->")[1])
    folded = math.prod(extents.values()) / max(math.prod(shape), 1) if x.size else 1
    if math.prod(shape) <= 4000:
        g.emit(f"np.einsum('{rule}', {x.name}, {y.name})", [x, y], shape, x.dtype, max(folded, 1) * x.bound * y.bound)


@operation(1)
def convolution(g):
    """A one- or two-dimensional convolution of a value with a slice of itself."""
    x = g.a_float(lambda v: v.ndim in (3, 4) and 0 < v.size <= 800)
    if not x:
        return
    batch, channels, *spatial = x.shape
    taps = tuple(min(extent, int(g.rng.integers(1, 4))) for extent in spatial)
    kernel = f"{x.name}[:2, :, {', '.join(f':{t}' for t in taps)}]"
    strides = tuple(int(g.rng.integers(1, 3)) for _ in spatial)
    pads = tuple((int(g.rng.integers(2)), int(g.rng.integers(2))) for _ in spatial)
    dilation = tuple(1 if g.chance(0.7) else 2 for _ in spatial)
    sizes = tuple(
        (n + low + high - ((t - 1) * d + 1)) // s + 1
        for n, (low, high), t, d, s in zip(spatial, pads, taps, dilation, strides)
    )
    if min(sizes) < 1:
        return
    g.emit(
        f"lax.conv_general_dilated({x.name}, {kernel}, {strides}, {pads}, rhs_dilation={dilation})",
        [x],
        (batch, min(batch, 2), *sizes),
        x.dtype,
        x.bound**2 * channels * math.prod(taps),
    )


@operation(0.8)
def pool(g):
    """A windowed sum, or a windowed maximum of exact distinct values."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.size)
    if not x:
        return
    window = tuple(min(extent, int(g.rng.integers(1, 4))) for extent in x.shape)
    strides = tuple(int(g.rng.integers(1, 3)) for _ in x.shape)
    shape = tuple((n - w) // s + 1 for n, w, s in zip(x.shape, window, strides))
    if x.exact and x.distinct and g.chance(0.6):
        text, bound, exact = (
            f"lax.reduce_window({x.name}, -np.inf, lax.max, {window}, {strides}, 'VALID')",
            x.bound,
            True,
        )
    else:
        text, bound, exact = (
            f"lax.reduce_window({x.name}, 0., lax.add, {window}, {strides}, 'VALID')",
            9 * x.bound,
            False,
        )
    if x.dtype in ("float32", "float64"):
        g.emit(text, [x], shape, x.dtype, bound, exact)


# ---- indexing and control -------------------------------------------------------------------------------------


@operation(1.5)
def gather(g):
    """Rows picked by an integer value or by constants."""
    x = g.value(lambda v: v.ndim >= 1 and v.shape[0] > 0 and v.size <= 1500)
    if not x:
        return
    index = g.value(lambda v: v.dtype == "int32" and v.ndim <= 2 and v.size <= 20)
    if index and g.chance(0.6):
        picked, shape, reads = f"{index.name} % {x.shape[0]}", index.shape, [x, index]
    else:
        listed = [int(i) for i in g.rng.integers(0, x.shape[0], int(g.rng.integers(1, 5)))]
        picked, shape, reads = f"np.array({listed})", (len(listed),), [x]
    if math.prod(shape) * x.size // x.shape[0] > 4000:
        return
    text = g.choose(("np.take({}, {}, axis=0)", "{}[{}]")).format(x.name, picked)
    g.emit(text, reads, (*shape, *x.shape[1:]), x.dtype, x.bound, x.exact)


@operation(0.6)
def take_along_axis(g):
    """Elements picked along the last axis."""
    x = g.value(lambda v: v.ndim >= 1 and v.shape[-1] > 0)
    index = x and g.value(lambda v: v.dtype == "int32" and v.ndim == x.ndim and v.shape[:-1] == x.shape[:-1])
    if index:
        g.emit(
            f"np.take_along_axis({x.name}, {index.name} % {x.shape[-1]}, axis=-1)",
            [x, index],
            index.shape,
            x.dtype,
            x.bound,
            x.exact,
        )


@operation(1)
def scatter(g):
    """Rows set or added to, at constant places."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.shape[0] > 0)
    if not x:
        return
    method = g.choose(("set", "add", "multiply"))
    count = int(g.rng.integers(1, 4))
    rows = [int(i) for i in g.rng.permutation(x.shape[0])[:count]]
    if method == "add" and g.chance(0.5):
        rows += rows[:1]
    unique = ", unique_indices=True" if method == "multiply" else ""
    g.emit(
        f"{x.name}.at[np.array({rows})].{method}(0.5 * np.sin({x.name}[:1]){unique})",
        [x],
        x.shape,
        x.dtype,
        x.bound * 2,
    )


@operation(0.8)
def dynamic_slice(g):
    """A slice or an update at a position that is a value."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.size)
    index = x and g.value(lambda v: v.dtype == "int32" and v.size and v.ndim >= 1)
    if not index:
        return
    start = f"{index.name}.ravel()[0]"
    sizes = tuple(int(g.rng.integers(1, extent + 1)) for extent in x.shape)
    starts = ", ".join([start] + [f"0 * {start}"] * (x.ndim - 1))
    if g.chance(0.5):
        g.emit(f"lax.dynamic_slice({x.name}, ({starts},), {sizes})", [x, index], sizes, x.dtype, x.bound, x.exact)
    else:
        piece = ", ".join(f":{s}" for s in sizes)
        g.emit(
            f"lax.dynamic_update_slice({x.name}, np.cos({x.name}[{piece}]), ({starts},))",
            [x, index],
            x.shape,
            x.dtype,
            x.bound,
        )


@operation(0.6)
def scan(g):
    """A scan over the rows that carries a running combination."""
    x = g.a_float(lambda v: v.ndim >= 1 and 0 < v.shape[0] <= 8 and v.size and v.dtype in ("float32", "float64"))
    if x:
        body = "lambda c, r: (0.5 * c + np.sin(r), c * r)"
        g.emit(
            f"lax.scan({body}, np.zeros({x.shape[1:]}, '{x.dtype}'), {x.name})[1]", [x], x.shape, x.dtype, 2 * x.bound
        )


@operation(0.6)
def cond(g):
    """Two branches, chosen by an element of an exact value."""
    x = g.a_float(lambda v: v.dtype in ("float32", "float64"))
    chooser = x and g.value(lambda v: v.exact and v.size and v.dtype != "bool")
    if chooser:
        g.emit(
            f"lax.cond({chooser.name}.ravel()[0] > 0, lambda t: np.sin(t), lambda t: t * t, {x.name})",
            [chooser, x],
            x.shape,
            x.dtype,
            max(1, x.bound**2),
        )


@operation(0.8)
def mapped(g):
    """A function of the rows under vmap."""
    x = g.a_float(lambda v: v.ndim >= 2 and v.size and v.dtype in ("float32", "float64"))
    if x:
        axis = int(g.rng.integers(x.ndim))
        rest = x.shape[:axis] + x.shape[axis + 1 :]
        body, shape, bound = g.choose(
            (
                ("lambda r: np.sum(r * r, axis=0)", rest[1:], rest[0] * x.bound**2),
                ("lambda r: np.cumsum(np.sin(r), axis=0)", rest, rest[0]),
                ("lambda r: nn.softmax(r, axis=0)", rest, 1),
            )
        )
        g.emit(f"vmap({body}, in_axes={axis})({x.name})", [x], (x.shape[axis], *shape), x.dtype, bound)
