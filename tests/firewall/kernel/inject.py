"""Two TUN interfaces in the network namespace at hand, and packets into the first of them.

A line "p HEX" sends a packet, "s" answers "done" once all before have been taken. What comes out is thrown away.
"""

import fcntl
import os
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN = 1
IFF_NO_PI = 0x1000


def tun(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def drain(descriptor):
    try:
        while True:
            os.read(descriptor, 65536)
    except BlockingIOError:
        pass


near, far = tun("tun0"), tun("eth1")
for command in sys.argv[1:]:
    subprocess.run(command, shell=True, check=True)
print("ready", flush=True)
for line in sys.stdin:
    if line.startswith("p "):
        try:
            os.write(near, bytes.fromhex(line[2:].strip()))
        except OSError:
            pass  # not a packet that the kernel wants to see
    else:
        drain(near)
        drain(far)
        print("done", flush=True)
