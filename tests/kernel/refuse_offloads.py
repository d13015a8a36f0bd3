"""Runs a program for which the kernel refuses offloads of a TUN device, as older kernels do:

    refuse_offloads.py MASK PROGRAM [ARGUMENT...]

TUNSETOFFLOAD with any of the bits of MASK fails with EINVAL, by a seccomp filter that the program inherits.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

IOCTL = {"x86_64": 16, "aarch64": 29}[platform.machine()]
TUNSETOFFLOAD = 0x400454D0
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # of struct seccomp_data: nr at 0, args from 16 on

mask = int(sys.argv[1], 0)
code = [
    (LOAD, 0, 0, 0),
    (EQUAL, 0, 5, IOCTL),
    (LOAD, 0, 0, 24),
    (EQUAL, 0, 3, TUNSETOFFLOAD),
    (LOAD, 0, 0, 32),
    (ANY_BIT, 0, 1, mask),
    (RETURN, 0, 0, ERRNO | errno.EINVAL),
    (RETURN, 0, 0, ALLOW),
]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
libc = ctypes.CDLL(None, use_errno=True)
for call in (
    (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(program), 0, 0),
):
    if libc.prctl(*call) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
os.execvp(sys.argv[2], sys.argv[2:])
