"""Memory: lets training on a CPU keep the memory that each step frees for the next one."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names and numbers of glibc's malloc.h; see mallopt(3)
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep freed memory, for good; whether it does.

    Every step frees tensors of tens of megabytes and soon asks for as many. glibc hands such ones back to the system,
    which then gives each of their pages anew, and empty: a tenth of a step's time. What is kept is what the largest
    step has needed; it is held by that step anyway. Where the C library is another one, nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; not a Unix
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
