"""Two TUN interfaces in the network namespace at hand, and packets into the first of them.

A line "p HEX" sends a packet, "o HEX" has the namespace itself send one, "f" forgets all connections that the kernel follows, "s" answers "done" once all before has
been done, and behind it what has left by the second interface.
"""

import fcntl
import os
import socket
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
    packets = []
    try:
        while True:
            packets.append(os.read(descriptor, 65536).hex())
    except BlockingIOError:
        return packets


def send(packet):
    """As if a program here had sent it: it meets the rules of output."""
    if packet[0] >> 4 == 4:
        raw4.sendto(packet, (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0))
    else:
        raw6.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))


def forget():
    """Deletes all entries of connection tracking: IPCTNL_MSG_CT_DELETE that names none."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:
        netlink.send(struct.pack("=IHHIIBBH", 20, (1 << 8) | 2, 5, 1, 0, 0, 0, 0))
        answer = netlink.recv(4096)
        if struct.unpack_from("=i", answer, 16)[0] != 0:
            raise OSError("connection tracking does not forget")


near, far = tun("tun0"), tun("eth1")
raw4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
for command in sys.argv[1:]:
    subprocess.run(command, shell=True, check=True)
print("ready", flush=True)
for line in sys.stdin:
    if line.startswith("p "):
        try:
            os.write(near, bytes.fromhex(line[2:].strip()))
        except OSError:
            pass  # not a packet that the kernel wants to see
    elif line.startswith("o "):
        try:
            send(bytes.fromhex(line[2:].strip()))
        except OSError:
            pass
    elif line.startswith("f"):
        forget()
        drain(near), drain(far)  # what the kernel has sent late is about packets of before
    else:
        drain(near)
        print(" ".join(["done"] + drain(far)), flush=True)
