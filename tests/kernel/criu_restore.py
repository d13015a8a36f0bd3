"""Gives a connection out of CRIU's images to a socket of the kernel's, in the order in which criu does (soccr.c),
and echoes on it in capitals. Arguments: crit's JSON of files.img and of tcp-stream-1.img."""
import base64
import json
import socket
import struct
import sys

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS = 19, 20, 21, 22
TCP_TIMESTAMP, TCP_REPAIR_WINDOW = 24, 29
RECV_QUEUE, SEND_QUEUE = 1, 2
OPT_TIMESTAMPS, OPT_SACK, OPT_WSCALE = 1, 2, 4

isk = json.load(open(sys.argv[1]))["entries"][0]["isk"]
entry = json.load(open(sys.argv[2]))["entries"][0]
inq, outq = (base64.b64decode(entry["extra"][name]) for name in ("inq", "outq"))
address = lambda words: socket.inet_ntoa(struct.pack("<I", words[0]))

sk = socket.socket()
sk.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sk.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT: the address is not the kernel's yet
tcp = lambda option, value: sk.setsockopt(socket.IPPROTO_TCP, option, value)
unsigned = lambda option, value: tcp(option, struct.pack("<I", value % 2**32))
tcp(TCP_REPAIR, 1)
for queue, sequence in (
    (RECV_QUEUE, entry["inq_seq"] - len(inq)),
    (SEND_QUEUE, entry["outq_seq"] - len(outq)),
):
    tcp(TCP_REPAIR_QUEUE, queue)
    unsigned(TCP_QUEUE_SEQ, sequence)
sk.bind((address(isk["src_addr"]), isk["src_port"]))
sk.connect((address(isk["dst_addr"]), isk["dst_port"]))
mask = int(str(entry["opt_mask"]), 0)
options = []
if mask & OPT_SACK:
    options.append((4, 0))
if mask & OPT_WSCALE:
    options.append((3, entry["snd_wscale"] + (entry["rcv_wscale"] << 16)))
if mask & OPT_TIMESTAMPS:
    options.append((8, 0))
options.append((2, entry["mss_clamp"]))
tcp(TCP_REPAIR_OPTIONS, b"".join(struct.pack("<II", *option) for option in options))
if mask & OPT_TIMESTAMPS:
    unsigned(TCP_TIMESTAMP, entry["timestamp"])
for queue, data in ((RECV_QUEUE, inq), (SEND_QUEUE, outq)):
    if data:
        tcp(TCP_REPAIR_QUEUE, queue)
        sk.sendall(data)
window = ("snd_wl1", "snd_wnd", "max_window", "rcv_wnd", "rcv_wup")
tcp(TCP_REPAIR_WINDOW, struct.pack("<5I", *(entry[name] for name in window)))
tcp(TCP_REPAIR, 0)
sk.sendall(b"restored;")
print("restored", flush=True)
while data := sk.recv(65536):
    sk.sendall(data.upper())
