"""A module whose import forbids its process to fork, as if there were too many processes already."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
_PROGRAM = (
    (0x20, 0, 0, 0),  # load the number of the system call
    (0x15, 0, 1, _CLONE),  # skip one unless it is clone
    (0x06, 0, 0, 0x00050000 | errno.EAGAIN),  # fail
    (0x06, 0, 0, 0x7FFF0000),  # allow
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_libc = ctypes.CDLL(None, use_errno=True)
_code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _PROGRAM)
_program = _Program(len(_PROGRAM), _code)
if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or _libc.prctl(_SECCOMP, _FILTER, ctypes.byref(_program)):
    raise OSError(ctypes.get_errno(), "prctl")
