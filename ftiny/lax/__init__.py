"""`ftiny.lax`: the operations below `ftiny.numpy`, close to the primitives and strict about shapes and dtypes.

Input: arrays of one dtype and, elementwise, of one shape. Output: arrays. The rooms:

    elementwise     add, exp, select, clamp, bitcast_convert_type, ...
    structure       slice, pad, dynamic_slice, gather, scatter, sort, ...
    convolution     dot_general, conv_general_dilated, conv_transpose, ...
    windows         reduce, reduce_window, cumsum, associative_scan, ...
    control flow    scan, while_loop, fori_loop, cond, switch, map      (from ftiny.transforms)
    special         igamma, betainc, zeta, bessel_i0e, ...
    fourier         fft
    implicit        custom_root, custom_linear_solve                    (derivatives of solvers)
    programs        optimization_barrier, platform_dependent, ...
    collectives     psum, all_gather, ppermute, ...   in parallel       (inside vmap(axis_name=) or shard)

    >>> ftiny.lax.fori_loop(0, 3, lambda i, x: x * 2, 1)
    Array(8, dtype=int32)
"""

# ruff: noqa: F401
from ftiny.lax.convolution import (
    ConvDimensionNumbers,
    DotDimensionNumbers,
    Precision,
    batch_matmul,
    conv,
    conv_dimension_numbers,
    conv_general_dilated,
    conv_general_dilated_local,
    conv_general_dilated_patches,
    conv_general_shape_tuple,
    conv_transpose,
    conv_transpose_shape_tuple,
    conv_with_general_padding,
    dot,
    dot_general,
    padtype_to_pads,
    ragged_dot,
)
from ftiny.lax.elementwise import (
    RoundingMethod,
    abs,
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitcast_convert_type,
    bitcast_view,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    cbrt,
    ceil,
    clamp,
    clz,
    complex,
    conj,
    convert_element_type,
    cos,
    cosh,
    digamma,
    div,
    dtype,
    eq,
    erf,
    erf_inv,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    ge,
    gt,
    imag,
    integer_pow,
    is_finite,
    le,
    lgamma,
    log,
    log1p,
    logistic,
    lt,
    max,
    min,
    mul,
    mulhi,
    ne,
    neg,
    nextafter,
    population_count,
    pow,
    real,
    reciprocal,
    reduce_precision,
    rem,
    round,
    rsqrt,
    select,
    select_n,
    shift_left,
    shift_right_arithmetic,
    shift_right_logical,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    sub,
    tan,
    tanh,
)
from ftiny.lax.fourier import FftType, fft
from ftiny.lax.implicit import custom_linear_solve, custom_root
from ftiny.lax.parallel import (
    all_gather,
    all_to_all,
    axis_index,
    axis_size,
    pmax,
    pmean,
    pmin,
    ppermute,
    pshuffle,
    psum,
    psum_scatter,
    pvary,
)
from ftiny.lax.programs import RandomAlgorithm, optimization_barrier, platform_dependent, rng_bit_generator, rng_uniform
from ftiny.lax.special import (
    bessel_i0e,
    bessel_i1e,
    betainc,
    igamma,
    igamma_grad_a,
    igammac,
    polygamma,
    random_gamma_grad,
    zeta,
)
from ftiny.lax.structure import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
    approx_max_k,
    approx_min_k,
    broadcast,
    broadcast_in_dim,
    broadcast_like,
    broadcast_shapes,
    broadcast_to_rank,
    broadcasted_iota,
    collapse,
    concatenate,
    dynamic_index_in_dim,
    dynamic_slice,
    dynamic_slice_in_dim,
    dynamic_update_index_in_dim,
    dynamic_update_slice,
    dynamic_update_slice_in_dim,
    empty,
    expand_dims,
    full,
    full_like,
    gather,
    index_in_dim,
    index_take,
    iota,
    pad,
    reshape,
    rev,
    scatter,
    scatter_add,
    scatter_apply,
    scatter_max,
    scatter_min,
    scatter_mul,
    scatter_sub,
    slice,
    slice_in_dim,
    sort,
    sort_key_val,
    split,
    squeeze,
    stack,
    tile,
    top_k,
    transpose,
    unstack,
)
from ftiny.lax.windows import (
    argmax,
    argmin,
    associative_scan,
    cumlogsumexp,
    cummax,
    cummin,
    cumprod,
    cumsum,
    reduce,
    reduce_and,
    reduce_max,
    reduce_min,
    reduce_or,
    reduce_prod,
    reduce_sum,
    reduce_window,
    reduce_window_shape_tuple,
    reduce_xor,
)
from ftiny.numpy.keys import for_keys as _for_keys
from ftiny.transforms.control import cond, fori_loop, map, switch, while_loop
from ftiny.transforms.custom import stop_gradient
from ftiny.transforms.scan import scan

# These take typed keys, too: the names of the parameters with the elements.
_TAKES_KEYS = {
    **dict.fromkeys(
        "broadcast broadcast_in_dim dynamic_index_in_dim dynamic_slice dynamic_slice_in_dim expand_dims index_in_dim "
        "reshape rev slice slice_in_dim squeeze transpose".split(),
        ("x",),
    ),
    **dict.fromkeys(
        "dynamic_update_index_in_dim dynamic_update_slice dynamic_update_slice_in_dim".split(), ("x", "update")
    ),
    "collapse": ("operand",),
    "concatenate": ("operands",),
    "eq": ("x", "y"),
    "ne": ("x", "y"),
    "select": ("on_true", "on_false"),
    "select_n": ("cases",),
}
globals().update(_for_keys(globals(), _TAKES_KEYS))

_ROOMS = {"convolution", "elementwise", "fourier", "implicit", "parallel", "programs", "special", "structure"}
_ROOMS |= {"windows"}
__all__ = sorted(name for name in dir() if not name.startswith("_") and name not in _ROOMS)
from ftiny.lax import linalg  # noqa: E402
