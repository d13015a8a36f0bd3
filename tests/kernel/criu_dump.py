"""Echoes on the first connection to ADDRESS:7 until a line comes in; then takes it out of the kernel as criu does
(soccr.c), prints what crit makes files.img and tcp-stream-1.img of, and holds the socket silent until the end."""
import base64
import fcntl
import json
import socket
import struct
import sys

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
TCP_TIMESTAMP, TCP_REPAIR_WINDOW = 24, 29
RECV_QUEUE, SEND_QUEUE = 1, 2
SIOCINQ, SIOCOUTQ, SIOCOUTQNSD = 0x541B, 0x5411, 0x894B
OPT_TIMESTAMPS, OPT_WSCALE = 1, 4

listener = socket.create_server((sys.argv[1], 7))
print("listening", flush=True)
sk, _ = listener.accept()
sk.sendall(sk.recv(65536))
sys.stdin.readline()

tcp = lambda option, size=4: sk.getsockopt(socket.IPPROTO_TCP, option, size)
number = lambda option: struct.unpack("<I", tcp(option))[0]
count = lambda request: struct.unpack("<i", fcntl.ioctl(sk, request, b"\0\0\0\0"))[0]
sk.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
info = tcp(socket.TCP_INFO, 8)
entry = {"inq_len": count(SIOCINQ), "outq_len": count(SIOCOUTQ), "unsq_len": count(SIOCOUTQNSD)}
extra = {}
for queue, name in ((RECV_QUEUE, "inq"), (SEND_QUEUE, "outq")):
    sk.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
    entry[f"{name}_seq"] = number(TCP_QUEUE_SEQ)
    length = entry[f"{name}_len"]
    data = sk.recv(length + 1, socket.MSG_PEEK | socket.MSG_DONTWAIT) if length else b""
    assert len(data) == length, name
    extra[name] = base64.b64encode(data).decode()
mask = info[5]
entry |= {"opt_mask": hex(mask), "snd_wscale": 0, "mss_clamp": number(2)}
if mask & OPT_WSCALE:
    entry |= {"snd_wscale": info[6] & 15, "rcv_wscale": info[6] >> 4}
if mask & OPT_TIMESTAMPS:
    entry["timestamp"] = number(TCP_TIMESTAMP)
window = ("snd_wl1", "snd_wnd", "max_window", "rcv_wnd", "rcv_wup")
entry |= dict(zip(window, struct.unpack("<5I", tcp(TCP_REPAIR_WINDOW, 20))))
(local, port), (remote, remote_port) = sk.getsockname(), sk.getpeername()
word = lambda address: struct.unpack("<I", socket.inet_aton(address))[0]
owner = {"uid": 0, "euid": 0, "signum": 0, "pid_type": 0, "pid": 0}
opts = {"so_sndbuf": 87040, "so_rcvbuf": 131072} | {
    f"so_{way}_tmo_{unit}": 0 for way in ("snd", "rcv") for unit in ("sec", "usec")
}
isk = {"id": 1, "ino": 1, "family": 2, "type": 1, "proto": 6, "state": 1, "src_port": port, "dst_port": remote_port}
isk |= {"flags": "0x2", "backlog": 0, "src_addr": [word(local)], "dst_addr": [word(remote)], "fown": owner, "opts": opts}
print(json.dumps({
    "files.img": {"magic": "FILES", "entries": [{"type": "INETSK", "id": 1, "isk": isk}]},
    "tcp-stream-1.img": {"magic": "TCP_STREAM", "entries": [entry | {"extra": extra}]},
}), flush=True)
sys.stdin.read()
