"""`ftiny.numpy`: the array functions of numpy, on arrays that can be traced, differentiated and compiled.

Input: arrays, tracers, numpy arrays and Python scalars. Output: arrays. The rooms of the house:

    ufuncs          elementwise functions             reductions      sum, max, mean, cumsum, ...
    creation        array, zeros, arange, eye, ...    contractions    matmul, einsum, ...
    manipulation    reshape, stack, pad, ...          sorting         sort, unique, top_k, ...
    indexing        x[i], x.at[i], take, where, ...   searching       searchsorted, bincount, interp, ...
    updates         insert, delete, put, ...          sets            isin, union1d, intersect1d, ...
    grids           mgrid, r_, c_, index arrays       mapping         vectorize, piecewise, fromfunction, ...
    statistics      histograms, cov, gradient, ...    polynomials     polyadd, polymul, roots, ...
    windows         hanning, kaiser, i0, ...          bits            packbits, frexp, ldexp, ...
    kinds           float32, issubdtype, ...          exchange        save, load, frombuffer, ...
    namespace_info  devices and dtypes there are       keys            the functions that take typed keys
    methods         what arrays and tracers have      linalg, fft     modules of their own

    >>> import ftiny.numpy as np
    >>> np.linspace(0, 1, 5).sum()
    Array(2.5, dtype=float32)

A Python scalar beside an array adopts its dtype; see `ftiny.dtypes` for promotion.
"""

# ruff: noqa: F401
import numpy as _numpy

from ftiny.array import from_dlpack
from ftiny.core import ArrayLike as ndarray
from ftiny.dtypes import dtype as dtype
from ftiny.numpy import methods as _methods  # installs the operators
from ftiny.numpy.bits import bitwise_count, frexp, ldexp, packbits, spacing, unpackbits
from ftiny.numpy.common import broadcast_shapes, result_type
from ftiny.numpy.contractions import (
    convolve,
    correlate,
    cross,
    dot,
    einsum,
    einsum_path,
    inner,
    kron,
    matmul,
    matvec,
    outer,
    polyval,
    tensordot,
    vdot,
    vecdot,
    vecmat,
)
from ftiny.numpy.creation import (
    arange,
    array,
    asarray,
    copy,
    diag,
    diagflat,
    diagonal,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    geomspace,
    identity,
    indices,
    linspace,
    logspace,
    meshgrid,
    ones,
    ones_like,
    trace,
    tri,
    tril,
    tril_indices,
    triu,
    triu_indices,
    vander,
    zeros,
    zeros_like,
)
from ftiny.numpy.exchange import array_repr, array_str, frombuffer, fromiter, fromstring, load, save, savez
from ftiny.numpy.grids import (
    c_,
    diag_indices_from,
    index_exp,
    mask_indices,
    mgrid,
    ogrid,
    r_,
    s_,
    tril_indices_from,
    triu_indices_from,
)
from ftiny.numpy.indexing import (
    argwhere,
    choose,
    compress,
    diag_indices,
    extract,
    flatnonzero,
    ix_,
    nonzero,
    put_along_axis,
    ravel_multi_index,
    select,
    take,
    take_along_axis,
    unravel_index,
    where,
)
from ftiny.numpy.kinds import (
    bfloat16,
    bool_,
    can_cast,
    character,
    complex64,
    complex128,
    complexfloating,
    flexible,
    float16,
    float32,
    float64,
    floating,
    generic,
    inexact,
    int8,
    int16,
    int32,
    int64,
    integer,
    iscomplexobj,
    isdtype,
    isrealobj,
    issubdtype,
    iterable,
    number,
    promote_types,
    signedinteger,
    uint8,
    uint16,
    uint32,
    uint64,
    unsignedinteger,
)
from ftiny.numpy.manipulation import (
    append,
    array_split,
    astype,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block,
    broadcast_arrays,
    broadcast_to,
    column_stack,
    concat,
    concatenate,
    dsplit,
    dstack,
    expand_dims,
    flip,
    fliplr,
    flipud,
    hsplit,
    hstack,
    isscalar,
    matrix_transpose,
    moveaxis,
    ndim,
    pad,
    permute_dims,
    ravel,
    repeat,
    reshape,
    resize,
    roll,
    rollaxis,
    rot90,
    shape,
    size,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
    unstack,
    vsplit,
    vstack,
)
from ftiny.numpy.mapping import (
    apply_along_axis,
    apply_over_axes,
    fromfunction,
    frompyfunc,
    piecewise,
    ufunc,
    vectorize,
)
from ftiny.numpy.namespace_info import ARRAY_API_VERSION as __array_api_version__
from ftiny.numpy.namespace_info import array_namespace_info as __array_namespace_info__
from ftiny.numpy.polynomials import (
    poly,
    polyadd,
    polyder,
    polydiv,
    polyfit,
    polyint,
    polymul,
    polysub,
    roots,
)
from ftiny.numpy.reductions import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    average,
    count_nonzero,
    cumprod,
    cumsum,
    cumulative_prod,
    cumulative_sum,
    diff,
    ediff1d,
    logsumexp,
    max,
    mean,
    median,
    min,
    nanargmax,
    nanargmin,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmedian,
    nanmin,
    nanpercentile,
    nanprod,
    nanquantile,
    nanstd,
    nansum,
    nanvar,
    percentile,
    prod,
    ptp,
    quantile,
    std,
    sum,
    trapezoid,
    var,
)
from ftiny.numpy.searching import bincount, digitize, interp, searchsorted
from ftiny.numpy.sets import (
    intersect1d,
    isin,
    setdiff1d,
    setxor1d,
    union1d,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from ftiny.numpy.sorting import argpartition, argsort, lexsort, partition, sort, sort_complex, top_k, unique
from ftiny.numpy.statistics import (
    corrcoef,
    cov,
    gradient,
    histogram,
    histogram2d,
    histogram_bin_edges,
    histogramdd,
    unwrap,
)
from ftiny.numpy.ufuncs import (
    abs,
    absolute,
    acos,
    acosh,
    add,
    allclose,
    angle,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    around,
    array_equal,
    array_equiv,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    cbrt,
    ceil,
    clip,
    conj,
    conjugate,
    copysign,
    cos,
    cosh,
    deg2rad,
    degrees,
    divide,
    divmod,
    equal,
    exp,
    exp2,
    expm1,
    fabs,
    fix,
    float_power,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    gcd,
    greater,
    greater_equal,
    heaviside,
    hypot,
    imag,
    invert,
    isclose,
    iscomplex,
    isfinite,
    isinf,
    isnan,
    isneginf,
    isposinf,
    isreal,
    lcm,
    left_shift,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    modf,
    multiply,
    nan_to_num,
    negative,
    nextafter,
    not_equal,
    positive,
    pow,
    power,
    rad2deg,
    radians,
    real,
    reciprocal,
    remainder,
    right_shift,
    rint,
    round,
    sign,
    signbit,
    sin,
    sinc,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    trunc,
)
from ftiny.numpy.ufuncs import divide as true_divide
from ftiny.numpy.ufuncs import finfo as finfo
from ftiny.numpy.ufuncs import remainder as mod
from ftiny.numpy.updates import delete, fill_diagonal, insert, place, put, trim_zeros
from ftiny.numpy.windows import bartlett, blackman, hamming, hanning, i0, kaiser

pi, e, euler_gamma = _numpy.pi, _numpy.e, _numpy.euler_gamma
inf, nan, newaxis = _numpy.inf, _numpy.nan, None
iinfo = _numpy.iinfo
int_, float_, complex_, uint = int32, float32, complex64, uint32
bool, single, double, csingle, cdouble = bool_, float32, float64, complex64, complex128
get_printoptions, printoptions = _numpy.get_printoptions, _numpy.printoptions
set_printoptions = _numpy.set_printoptions

# isort: split
# The linear algebra is made of the functions above.
from ftiny.numpy import fft, linalg  # noqa: E402

# The functions that move elements take typed keys, too.
from ftiny.numpy import keys as _keys  # noqa: E402

globals().update(_keys.for_keys(globals(), _keys.TAKES_KEYS))
ndim, shape, size = map(_keys.shape_of_keys, (ndim, shape, size))

_ROOMS = {
    "bits",
    "common",
    "contractions",
    "creation",
    "exchange",
    "grids",
    "indexing",
    "keys",
    "kinds",
    "manipulation",
    "mapping",
    "methods",
    "namespace_info",
    "polynomials",
    "reductions",
    "searching",
    "sets",
    "sorting",
    "statistics",
    "ufuncs",
    "updates",
    "windows",
}
__all__ = sorted(name for name in dir() if not name.startswith("_") and name not in _ROOMS)
