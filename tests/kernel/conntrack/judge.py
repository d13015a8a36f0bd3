"""A kernel router between the TUN devices named on the command line: gives it packets, and tells what it made of each.

Lines in: the number of a device and a packet in hexadecimal. Lines out: the packets that came out, in the same form, separated by
commas. What the kernel says of its own accord is not among them: packets of the test have the mark, as IPv4's
identification or in IPv6's flow label.
"""
import fcntl, os, struct, sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MARK = struct.pack(">H", 0x0FF1)


def opened(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def is_marked(packet):
    return packet[4:6] == MARK if packet[0] >> 4 == 4 else packet[2:4] == MARK


def waiting(fd):
    while True:
        try:
            yield os.read(fd, 65536)
        except BlockingIOError:
            return


devices = [opened(name) for name in sys.argv[1:3]]
print("open", flush=True)
for line in sys.stdin:
    device, packet = line.split()
    os.write(devices[int(device)], bytes.fromhex(packet))
    # The kernel has passed it on when write() returns.
    came = [f"{number} {packet.hex()}" for number, fd in enumerate(devices) for packet in waiting(fd) if is_marked(packet)]
    print(",".join(came), flush=True)
