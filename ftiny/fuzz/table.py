"""The table of operations: one row per line that a random program may have.

Input: nothing. Output: `ROWS`, each a text with holes and what its operands must be:

    Row("np.cumsum({0}, axis={axis})", ("float rank1",))

Operands are described by words, all of which must hold: `float`, `wide` (float32 or float64), `int`, `bool`, `any`,
`exact` (untouched by rounding), `distinct`, `filled` (no empty axis), `rank0` to `rank3` (exactly), `axes` (at least
one axis), `planes` (at least two), `small` (at most 300 elements), `short` (at most 60), `narrow` (axes of at most 8).
Later operands may be `like` (the shape and dtype of the first) or `fits` (its dtype, and the shapes broadcast).

Holes: {0}, {1}, ... the operands; {axis} an axis of the first, {place} the same counted from the front; {axes} some of
its axes; {keep} a bool; {count} 1 to 3; {seed} a number. Functions with a domain are given an argument that lies in it
whatever the operand is: `POSITIVE.format("{0}")` and its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftiny.fuzz.programs import UNKNOWN

POSITIVE = "(0.3 + np.square({}))"
UNIT = "(0.9 * np.tanh({}))"
PROBABILITY = "(0.5 + 0.4 * np.tanh({}))"
ABOVE_ONE = "(1.2 + np.square({}))"
MODERATE = "(1.3 * np.tanh({}))"


@dataclass(frozen=True)
class Row:
    """One line: its text, its operands, and what is known of the result.

    bound     of the magnitude, a number or a function of the operands' bounds; None: the largest of these
    exact     the result is exact if all operands are; distinct: the same
    reverse   whether jax has a reverse-mode derivative
    """

    text: str
    operands: tuple[str, ...]
    weight: float = 1.0
    bound: float | Callable[..., float] | None = UNKNOWN
    exact: bool = False
    distinct: bool = False
    reverse: bool = True


ROWS: list[Row] = []


def rows(operands, *texts: str, weight: float = 1.0, **facts) -> None:
    """Rows that share operands and facts; `weight` is that of all of them together."""
    operands = (operands,) if isinstance(operands, str) else operands
    ROWS.extend(Row(text, operands, weight / len(texts), **facts) for text in texts)


def functions(module: str, names: str, operand: str, domain: str = "{}", **facts) -> None:
    """Rows of functions of one argument, taken into a domain."""
    rows(operand, *(f"{module}.{name}({domain.format('{0}')})" for name in names.split()), **facts)


# ---- elementwise, smooth --------------------------------------------------------------------------------------

functions("np", "sin cos tanh arctan sinc", "float", bound=2.0, weight=3.0)
functions("np", "sinh cosh exp exp2 expm1 arcsinh square degrees", "float", MODERATE, bound=4.0, weight=2.0)
functions("np", "log log2 log10 sqrt cbrt reciprocal log1p i0", "float", POSITIVE, bound=3.5, weight=2.0)
functions("np", "arcsin arccos arctanh", "float", UNIT, bound=3.2)
functions("np", "arccosh", "float", ABOVE_ONE, bound=5.0, weight=0.4)
functions("np", "tan", "float", MODERATE, bound=4.0, weight=0.4)
functions("np", "negative positive", "float", bound=None, exact=True, distinct=True, weight=0.5)
functions("np", "nan_to_num radians real", "float", bound=None, weight=0.3)
functions("lax", "erf erfc logistic bessel_i0e bessel_i1e", "float", bound=2.0, weight=1.5)
functions("lax", "lgamma digamma rsqrt", "float", POSITIVE, bound=8.0)
functions("lax", "erf_inv", "float", UNIT, bound=2.0, weight=0.4)
functions(
    "nn",
    "sigmoid gelu softplus silu mish log_sigmoid squareplus soft_sign swish tanh",
    "float",
    bound=8.0,
    weight=3.0,
)
functions("special", "expit erf erfc i0e i1e ndtr", "wide", bound=2.0, weight=1.3)
functions("special", "log_ndtr", "wide", weight=0.2)
functions("special", "gammaln digamma entr expi exp1 spence gamma erfcx", "wide", POSITIVE, weight=1.5)
functions("special", "logit ndtri erfinv", "wide", PROBABILITY, bound=4.0, weight=0.7)
functions("special", "i0 i1", "wide", POSITIVE, bound=3.5, weight=0.5)  # at 0 jax 0.10.2 gives i0 the slope 1
rows(
    "float",
    "np.tanh({0}) ** 3",
    "2 ** np.tanh({0})",
    "np.power(0.3 + np.square({0}), 1.7)",
    "lax.integer_pow({0}, 2)",
    "np.power(0.3 + np.square({0}), np.cos({0}))",
)
rows("wide", "special.polygamma(1, 0.5 + np.square({0}))", "special.zeta(2.5 + np.square({0}), 1.5)", weight=0.3)
rows(
    "float",
    "{0} + 1.5",
    "2 - {0}",
    "{0} * 0.7",
    "{0} / 3",
    "1.5 / (2 + np.square({0}))",
    bound=lambda a: a + 2,
    weight=1.6,
)
rows("float", "1 + 3 * {0}", bound=lambda a: 3 * a + 1, weight=0.4)
rows("float", "lax.stop_gradient({0})", bound=None, exact=True, distinct=True, weight=0.3)

# ---- elementwise, with jumps or corners -----------------------------------------------------------------------

functions("np", "abs fabs floor ceil sign rint trunc round", "float exact", bound=3.0, exact=True, weight=1.5)
functions("nn", "relu relu6 hard_tanh", "float exact", bound=3.0, exact=True)
functions("nn", "leaky_relu elu celu selu hard_sigmoid hard_silu sparse_plus sparse_sigmoid", "float exact", bound=5.0)
functions("np", "isnan isfinite isinf signbit", "float exact", exact=True, weight=0.5)
rows("float exact", "np.clip({0}, -0.9, 1.3)", "np.maximum({0}, 0.37)", "np.modf({0})[1]", bound=3.0, exact=True)
rows("float exact", "np.heaviside({0}, 0.5)", "np.frexp({0})[0]", bound=3.0, weight=0.3)

# ---- elementwise, two or three operands -----------------------------------------------------------------------

rows(
    ("float", "fits"),
    "{0} + {1}",
    "{0} - {1}",
    "np.add({0}, {1})",
    "np.logaddexp({0}, {1})",
    "np.logaddexp2({0}, {1})",
    bound=lambda a, b: a + b + 1,
    weight=2.5,
)
rows(("float", "fits"), "{0} * {1}", "np.multiply({0}, {1})", bound=lambda a, b: a * b, weight=1.5)
rows(
    ("float", "fits"),
    "{0} / (1.5 + np.square({1}))",
    "np.true_divide({0}, 1.5 + np.square({1}))",
    "np.arctan2({0}, 3 + np.square({1}))",
    bound=None,
    weight=1.5,
)
rows(
    ("float", "fits"),
    "np.hypot(0.5 + np.square({0}), {1})",
    "np.power(0.5 + np.square({0}), np.tanh({1}))",
    "np.float_power(0.5 + np.square({0}), np.tanh({1}))",
    weight=1.0,
)
rows(
    ("wide", "fits"),
    "special.xlogy({0}, 0.3 + np.square({1}))",
    "special.xlog1py({0}, np.square({1}))",
    "special.rel_entr(0.3 + np.square({0}), 0.3 + np.square({1}))",
    "special.kl_div(0.3 + np.square({0}), 0.3 + np.square({1}))",
    "special.betaln(0.5 + np.square({0}), 0.5 + np.square({1}))",
    weight=0.8,
)
rows(
    ("float exact", "fits exact"),
    *(f"np.{name}({{0}}, {{1}})" for name in ("maximum", "minimum", "fmax", "fmin", "copysign")),
    bound=None,
    exact=True,
    weight=1.5,
)
rows(
    ("any exact", "fits exact"),
    *(f"{{0}} {sign} {{1}}" for sign in ("<", "<=", ">", ">=", "==", "!=")),
    "np.logical_and({0}, {1})",
    "np.isclose({0}, {1})",
    "np.array_equiv({0}, {1})",
    exact=True,
    weight=1.5,
)
rows(
    ("float", "fits", "bool"),
    "np.where({2}.ravel()[:1].sum() > 0, {0}, {1})",
    "np.where(np.any({2}), {0}, 0.25)",
    weight=0.7,
)
rows(
    ("float exact", "like"),
    "lax.select({0} < 1, {0}, {1})",
    "np.where({0} < 1, np.sin({1}), {0})",
    bound=None,
    weight=0.5,
)
rows(
    ("any", "like"),
    "np.stack([{0}, {1}])",
    "np.append({0}, {1})",
    "np.hstack([np.ravel({0}), np.ravel({1})])",
    bound=2.5,
    exact=True,
    weight=0.8,
)

# ---- integers and bools ---------------------------------------------------------------------------------------

rows(
    ("int", "fits"),
    *(f"{{0}} {sign} {{1}}" for sign in ("+", "-", "*", "&", "|", "^")),
    "np.maximum({0}, {1})",
    "np.minimum({0}, {1})",
    "{0} // (3 + 0 * {1})",
    "{0} % (0 * {1} + 5)",
    "np.fmod({0}, {1} * 0 + 3)",
    "np.gcd({0}, {1})",
    "np.left_shift({0}, {1} & 3)",
    "np.right_shift({0}, {1} & 3)",
    exact=True,
    weight=1.5,
)
rows(
    "int",
    "~{0}",
    "np.abs({0})",
    "np.sign({0})",
    "lax.population_count({0})",
    "lax.clz({0})",
    "-{0}",
    "{0} ** 2",
    exact=True,
    weight=0.6,
)
rows(("bool", "fits"), "{0} & {1}", "np.logical_or({0}, {1})", "np.logical_xor({0}, ~{1})", exact=True, weight=0.7)
rows(
    "bool axes",
    "np.any({0}, axis={axes}, keepdims={keep})",
    "np.all({0}, axis={axis})",
    "np.cumsum({0}, axis={axis}, dtype='int32')",
    "np.count_nonzero({0}, axis={axis}).astype('int32')",
    exact=True,
    weight=0.6,
)
rows(
    "int axes",
    "np.sum({0}, axis={axes}, keepdims={keep}, dtype='int32')",
    "np.cumsum({0}, axis={axis}, dtype='int32')",
    "np.prod({0}, axis={axis}, dtype='int32')",
    "np.sort({0}, axis={axis})",
    "np.bincount(np.ravel({0}) & 7, length=8).astype('int32')",
    exact=True,
    weight=0.8,
)
rows(
    "int",
    "({0} % 4).astype('float32')",
    "nn.one_hot({0} % 5, 5, dtype='float32')",
    "({0} % 2).astype('bool')",
    bound=4.0,
    exact=True,
)
rows("bool", "{0}.astype('float32')", "{0}.astype('int32')", bound=1.0, exact=True, weight=0.6)
rows("float exact", "{0}.astype('int32')", "{0}.astype('int8')", exact=True, weight=0.6)
rows("float", "{0}.astype('bfloat16')", "{0}.astype('float16')", bound=None, weight=0.25)

# ---- reductions and rows --------------------------------------------------------------------------------------

rows(
    "float axes",
    "np.sum({0}, axis={axes}, keepdims={keep})",
    "np.sum(np.square({0}), axis={axes}, keepdims={keep})",
    "np.nansum({0}, axis={axis})",
    "lax.reduce_sum({0}, axes=({place},))",
    weight=1.5,
)
rows(
    "float axes filled",
    "np.mean({0}, axis={axes}, keepdims={keep})",
    "np.var({0}, axis={axes}, keepdims={keep})",
    "np.std({0} + np.cos(np.arange({0}.size, dtype=np.float32).reshape({0}.shape)).astype({0}.dtype), axis={axes})",
    "nn.logsumexp({0}, axis={axes}, keepdims={keep})",
    "special.logsumexp({0}, axis={axis})",
    "np.average({0}, axis={axis})",
    "np.nanmean({0}, axis={axis}, keepdims={keep})",
    "np.prod(np.cos({0}), axis={axis})",
    "np.linalg.norm(0.5 + np.square({0}), axis={axis}, keepdims={keep})",
    "nn.softmax({0}, axis={axis})",
    "nn.log_softmax({0}, axis={axis})",
    "nn.standardize({0}, axis={axis}, epsilon=0.1)",
    "nn.logmeanexp({0}, axis={axis})",
    weight=4.5,
)
rows(
    "any exact filled axes",
    "np.argmax({0}, axis={axis}).astype('int32')",
    "np.argmin({0}, axis={axis}).astype('int32')",
    exact=True,
    weight=0.7,
)
rows(
    "float exact filled axes",
    "np.max({0}, axis={axes}, keepdims={keep})",
    "np.min({0}, axis={axes}, keepdims={keep})",
    "np.nanmax({0}, axis={axis})",
    "lax.cummax({0}, axis={place})",
    "lax.cummin({0}, axis={place})",
    bound=None,
    exact=True,
    weight=1.2,
)
rows(
    "wide exact distinct filled axes",
    "np.ptp({0}, axis={axis})",
    "np.median({0}, axis={axis})",
    "np.quantile({0}, 0.3, axis={axis})",
    "np.percentile({0}, 70, axis={axis}, keepdims={keep})",
    bound=4.0,
    weight=0.8,
)
rows(
    "float axes",
    "np.cumsum({0}, axis={axis})",
    "np.cumprod(np.cos({0}), axis={axis})",
    "np.diff({0}, axis={axis})",
    "lax.cumsum({0}, axis={place}, reverse={keep})",
    "np.nancumsum({0}, axis={axis})",
    weight=1.5,
)
rows(
    "wide axes filled",
    "lax.cumlogsumexp({0}, axis={place}, reverse={keep})",
    "lax.associative_scan(np.multiply, np.cos({0}), axis={place})",
    "np.trapezoid({0}, axis={axis})",
    weight=0.7,
)

# ---- sorting and searching ------------------------------------------------------------------------------------

rows(
    "wide exact distinct axes",
    "np.sort({0}, axis={axis})",
    "lax.sort({0}, dimension={place})",
    "lax.rev(np.sort({0}, axis={axis}), ({place},))",
    bound=None,
    exact=True,
    distinct=True,
    weight=0.8,
)
rows("wide exact distinct axes", "np.argsort({0}, axis={axis}).astype('int32')", exact=True, weight=0.3)
rows(
    "wide exact distinct axes filled",
    "lax.top_k({0}, 1)[0]",
    "lax.top_k({0}, {0}.shape[-1])[0]",
    bound=None,
    exact=True,
    weight=0.3,
)
rows(
    "wide exact distinct rank1 filled",
    "np.searchsorted(np.sort({0}), {0}).astype('int32')",
    "np.digitize({0}, np.array([-1.0, 0.0, 1.0])).astype('int32')",
    exact=True,
    weight=0.3,
)
rows("wide exact distinct rank1 filled", "np.interp(0.9 * {0}, np.sort({0}), np.cos({0}))", weight=0.2)
rows(
    "any exact rank1 small",
    "np.nonzero({0}, size=3, fill_value=0)[0].astype('int32')",
    "np.flatnonzero({0}, size=2, fill_value=0).astype('int32')",
    exact=True,
    weight=0.3,
)

# ---- shape ----------------------------------------------------------------------------------------------------

rows(
    "any axes",
    "np.flip({0}, axis={axis})",
    "np.roll({0}, {count}, axis={axis})",
    "np.ravel({0})",
    "np.moveaxis({0}, {axis}, 0)",
    "np.swapaxes({0}, {axis}, -1)",
    "np.expand_dims({0}, {axis})",
    "{0}.T",
    "np.atleast_2d({0})",
    "np.rollaxis({0}, {place})",
    "lax.rev({0}, ({place},))",
    "np.array_split({0}, 2, axis={axis})[0]",
    "np.roll({0}, -{count})",
    "np.flip({0})",
    bound=None,
    exact=True,
    distinct=True,
    weight=3.0,
)
rows(
    "any axes small",
    "np.repeat({0}, {count}, axis={axis})",
    "np.tile({0}, {count})",
    "np.concatenate([{0}, {0}], axis={axis})",
    "np.stack([{0}, {0}], axis={axis})",
    "np.resize({0}, (2, 3))",
    "np.broadcast_to({0}, ({count}, *{0}.shape))",
    "np.dstack([{0}, {0}])",
    "np.vstack([{0}, {0}])",
    bound=None,
    exact=True,
    weight=1.5,
)
rows(
    "any planes",
    "np.tril({0}, k={count})",
    "np.triu({0})",
    "np.diagonal({0})",
    "np.rot90({0})",
    "np.fliplr({0})",
    "np.swapaxes({0}, 0, 1)",
    bound=None,
    exact=True,
    weight=0.8,
)
rows("float planes", "np.trace({0})", "np.diag({0}[..., 0].ravel()[:5])", weight=0.4)
rows(
    "float axes filled small",
    *(f"np.pad({{0}}, {{count}}, mode='{mode}')" for mode in ("edge", "wrap", "constant")),
    "np.pad({0}, 1, mode='symmetric')",
    bound=None,
    exact=True,
    weight=0.6,
)

# ---- indexing -------------------------------------------------------------------------------------------------

rows(
    "any axes filled small",
    "{0}[-1]",
    "{0}[..., ::-1]",
    "{0}[None, ..., 0]",
    "{0}[np.array([0, -1])]",
    "np.take({0}, np.array([0, 0]), axis={axis})",
    "np.take({0}, 3, mode='wrap')",
    "lax.index_in_dim({0}, 0, axis={place})",
    "lax.slice_in_dim({0}, 0, 1, axis={place})",
    bound=None,
    exact=True,
    weight=1.2,
)
rows(
    "float axes filled small",
    *(f"{{0}}.at[0].{method}(0.5)" for method in ("set", "add", "multiply", "divide")),
    "{0}.at[..., -1].set(np.sin({0}[..., 0]))",
    "{0}.at[np.array([0, 0])].add(np.cos({0}[:1]))",
    "{0}.at[9].get(mode='fill', fill_value=0.5)",
    "{0}.at[9].set(1.0, mode='drop')",
    weight=1.2,
)
rows(
    "float axes filled small exact distinct",
    "{0}.at[0].max(0.25)",
    "{0}.at[0].min(0.25)",
    "{0}.at[-1].power(2)",
    weight=0.3,
)
rows(
    ("float rank1 filled", "int rank1"),
    "np.take({0}, np.abs({1}) % {0}.shape[0])",
    "lax.dynamic_slice_in_dim({0}, {1}.ravel()[:1].sum().astype('int32') % 2, 1)",
    "np.zeros_like({0}).at[np.abs({1}.astype('int32')) % {0}.shape[0]].add(0.5)",
    weight=0.5,
)
rows(("int rank1 filled", "int rank1"), "np.zeros(5, 'int32').at[{0} % 5].add(1)", exact=True, weight=0.2)

# ---- products and linear algebra ------------------------------------------------------------------------------

rows(
    ("float rank1", "like"),
    "np.dot({0}, {1})",
    "np.outer({0}[:9], {1}[:9])",
    "np.vdot({0}, {1})",
    "np.inner({0}, {1})",
    "np.einsum('a,b->ab', {0}[:9], {1}[:7])",
    weight=0.8,
)
rows(("wide rank1 filled", "like"), "np.convolve({0}, {1}[:3])", "np.correlate({0}, {1}[:2])", weight=0.3)
rows(
    ("float rank2", "like"),
    "np.matmul({0}, {1}.T)",
    "np.einsum('ab,cb->ac', {0}, {1})",
    "np.tensordot({0}, {1}, 2)",
    "np.vecdot({0}, {1})",
    "np.inner({0}, {1})",
    "np.einsum('ab,ab->ba', {0}, {1})",
    weight=1.0,
)
rows(("float rank2 short", "float rank2 short"), "np.kron({0}, {1}.astype({0}.dtype))", weight=0.2)
_SQUARE = "({0} @ {0}.T + 4 * np.eye({0}.shape[0], dtype={0}.dtype))"
rows(
    "wide rank2 short filled narrow",
    f"np.linalg.inv({_SQUARE})",
    f"np.linalg.solve({_SQUARE}, {{0}})",
    f"np.linalg.cholesky({_SQUARE})",
    f"np.linalg.slogdet({_SQUARE})[1]",
    f"np.linalg.det({_SQUARE} / 8)",
    f"np.linalg.matrix_power({_SQUARE} / 8, 3)",
    f"np.linalg.eigvalsh({_SQUARE})[-1]",
    f"lax.linalg.triangular_solve(np.linalg.cholesky({_SQUARE}), {{0}}, left_side=True, lower=True)",
    f"np.linalg.pinv({_SQUARE})",
    weight=1.0,
)

# ---- Fourier transforms ---------------------------------------------------------------------------------------

rows(
    "wide axes filled small",
    "np.real(np.fft.fft({0}, axis={axis}))",
    "np.imag(np.fft.fft({0}, axis={axis}))",
    "np.fft.irfft(np.fft.rfft({0}, axis={axis}), n={0}.shape[{axis}], axis={axis})",
    "np.square(np.abs(1.5 + np.fft.ifft({0}, axis={axis})))",
    "np.fft.fftshift({0}, axes={axis})",
    weight=0.8,
)

# ---- control --------------------------------------------------------------------------------------------------

rows(
    "wide",
    "lax.fori_loop(0, 3, lambda i, t: np.sin(t) + 0.1 * (i + 0 * t), {0})",
    "lax.scan(lambda c, _: (np.cos(c), np.sum(c)), {0}, None, length=3)[1]",
    "lax.switch({count}, [np.sin, np.cos, np.tanh, np.arctan], {0})",
    "lax.cond(np.sum({0} * 0) < 1, np.sin, np.cos, {0})",
    weight=1.0,
)
rows(
    "wide",
    "lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np.sin(s[1])), (0, {0}))[1]",
    "lax.fori_loop(0, np.sum({0} * 0).astype('int32') + 2, lambda i, t: np.sin(t), {0})",
    reverse=False,
    weight=0.25,
)
rows(
    "wide axes filled small",
    "lax.map(lambda r: np.sum(np.sin(r)), {0})",
    "vmap(lambda r: np.tanh(r) * np.sum(r))({0})",
    "vmap(np.sum, in_axes={place})({0})",
    "vmap(lambda r: nn.softmax(np.ravel(r)), in_axes={axis}, out_axes=-1)({0})",
    "lax.scan(lambda c, r: (0.5 * c + np.sin(r), c * r), np.zeros_like({0}[0]), {0}, reverse={keep})[1]",
    "lax.scan(lambda c, r: (c * np.cos(r), c), np.ones_like({0}[0]), {0})[0]",
    weight=1.2,
)

# ---- random bits ----------------------------------------------------------------------------------------------

# 'single' is float32 under a name that the evaluation in float64 leaves alone, so that it draws the same numbers.
rows(
    "float",
    "{0} + random.uniform(random.PRNGKey({seed}), {0}.shape, 'single').astype({0}.dtype)",
    "{0} * random.normal(random.PRNGKey({seed}), {0}.shape, 'single').astype({0}.dtype)",
    "np.where(random.uniform(random.PRNGKey({seed}), {0}.shape, 'single') < 0.3, {0}, 0)",
    weight=0.8,
)
rows("any axes", "random.permutation(random.PRNGKey({seed}), {0})", bound=None, exact=True, distinct=True, weight=0.3)
rows(
    "int",
    "random.randint(random.fold_in(random.PRNGKey({seed}), 3), {0}.shape, 0, 9, 'int32')",
    "(random.bits(random.PRNGKey({seed}), {0}.shape, 'uint32') >> 3)",
    exact=True,
    weight=0.3,
)

# ---- less common functions ------------------------------------------------------------------------------------

rows(
    "float axes filled small",
    "np.ediff1d({0})",
    "np.polyval(np.ravel({0})[:3], {0})",
    "np.vander(np.ravel({0})[:4], 3)",
    "np.apply_along_axis(np.cumsum, {place}, {0})",
    "np.vectorize(lambda s: np.sin(s) * s)({0})",
    "np.select([{0} * 0 > 1, {0} * 0 < 1], [{0}, np.sin({0})])",
    "np.block([[np.ravel({0})], [np.ravel({0})]])",
    "np.insert({0}, 0, 0.5, axis={axis})",
    "np.delete({0}, 0, axis={axis})",
    "np.meshgrid(np.ravel({0})[:5], np.ravel({0})[:4])[1]",
    "np.diagflat(np.ravel({0})[:4])",
    "np.ix_(np.arange(1))[0] + {0}",
    "np.cov(np.stack([np.ravel({0}), np.sin(np.ravel({0}))]), ddof=0)",
    "lax.expand_dims({0}, ({place},))",
    "lax.broadcast_in_dim({0}, (2, *{0}.shape), tuple(range(1, {0}.ndim + 1)))",
    "lax.concatenate([{0}, {0}], {place})",
    "lax.dynamic_update_index_in_dim({0}, np.sin(np.take({0}, 0, axis={place})), 0, {place})",
    "lax.reduce_max({0}, axes=({place},)) * 0 + lax.reduce_sum({0}, axes=({place},))",
    "lax.squeeze({0}[None], (0,))",
    weight=1.5,
)
rows(
    ("float", "like"),
    "lax.add({0}, {1})",
    "lax.mul({0}, {1})",
    "lax.sub({0}, {1})",
    "lax.select_n({0} * 0 < 1, {0}, {1})",
    "lax.atan2({0}, 3 + {1} * {1})",
    "lax.div({0}, 2 + {1} * {1})",
    weight=0.6,
)
rows(
    ("float rank2", "like"),
    "lax.dot_general({0}, {1}, (((1,), (1,)), ((), ())))",
    "lax.dot_general({0}, {1}, (((1,), (1,)), ((0,), (0,))))",
    "np.einsum('ij,ij', {0}, {1})",
    "np.linalg.multi_dot([{0}, {1}.T, {0}])",
    weight=0.5,
)
rows(
    ("wide rank3 filled short", "like"),
    "lax.batch_matmul({0}, np.swapaxes({1}, 1, 2))",
    "nn.dot_product_attention({0}[None], {1}[None], np.sin({0})[None])",
    "np.cross({0}[..., :1] + np.ones(3, {0}.dtype), np.cos({1}[..., :1] + np.arange(3, dtype={0}.dtype)))",
    weight=0.4,
)
rows("wide rank3 filled short", "np.einsum('abc,cba->b', {0}, np.transpose({0}))", weight=0.2)
