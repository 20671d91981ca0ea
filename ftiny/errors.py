"""The exceptions that ftiny raises, all subclasses of `FtinyError`.

Each message names the argument, the axis, the shapes and the user's own line, and ends with a way out. The second
base class of each exception is what numpy users expect (`ShapeError` is a `ValueError`), so existing `except`
clauses keep working.

    >>> import ftiny
    >>> issubclass(ftiny.errors.ShapeError, ValueError)
    True
"""


class FtinyError(Exception):
    """Base class of every exception that ftiny raises on purpose."""


class ShapeError(FtinyError, ValueError):
    """Shapes, axes or sizes do not fit together."""


class DtypeError(FtinyError, TypeError):
    """A dtype is not allowed here, for example an integer argument to `grad`."""


class ArgumentError(FtinyError, ValueError):
    """An argument has a value or a structure that the function cannot take."""


class IndexOutOfBoundsError(FtinyError, IndexError):
    """An index lies outside its axis: of an eager operation, or inside `ftiny.checks(bounds=True)` of any."""


class NanError(FtinyError, FloatingPointError):
    """Inside `ftiny.checks(nan=True)` an operation gave NaN from operands without any."""


class TracerError(FtinyError, TypeError):
    """A traced value was used where a concrete one is needed (`if`, `int()`, `numpy.asarray`), or what is no array
    or no index stands in the place of one (a list, a string)."""


class LeakedTracerError(FtinyError, RuntimeError):
    """A traced value was used after the function that made it had returned."""


class KeyReuseError(FtinyError, TypeError):
    """A random key was used twice inside `ftiny.debug_key_reuse()`."""


class RuleError(FtinyError, NotImplementedError):
    """A primitive has no rule for the transformation asked of it, with the reason."""


class IRError(FtinyError, AssertionError):
    """A program breaks an invariant of its stage: a bug in ftiny, not in the user's code."""


class DeviceError(FtinyError, RuntimeError):
    """A device is missing, or a driver call failed."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A device has no room; from a compiled program, the message says which lines hold how much."""


class CallbackError(FtinyError, RuntimeError):
    """A Python function that a program calls on the host raised an exception, which is its `__cause__`."""


class DataError(FtinyError, FileNotFoundError):
    """A data set was not found; the message lists where it was looked for."""
