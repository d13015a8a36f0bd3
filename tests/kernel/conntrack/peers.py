"""Two ends of flows through a router, for nat.test.ts: `server PORT`, or what a client says and hears."""
import socket, sys, threading


def serve(connection, peer):
    connection.sendall(f"{peer[0]}:{peer[1]}\n".encode())
    while data := connection.recv(100):
        connection.sendall(data)
    connection.close()


def client(kind, address, port, own):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.settimeout(10)
    made.bind(("", int(own)))
    made.connect((address, int(port)))
    return made


if sys.argv[1] == "server":
    listener = socket.create_server(("", int(sys.argv[2])))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", int(sys.argv[2])))

    def answer():
        while True:
            _, peer = datagrams.recvfrom(100)
            datagrams.sendto(f"{peer[0]}:{peer[1]}".encode(), peer)

    threading.Thread(target=answer, daemon=True).start()
    print("open", flush=True)
    while True:
        threading.Thread(target=serve, args=listener.accept(), daemon=True).start()
elif sys.argv[1] == "stay":
    connection = client("tcp", *sys.argv[2:])
    print(connection.recv(100).decode().strip(), flush=True)
    for line in sys.stdin:
        connection.sendall(line.encode())
        print(connection.recv(100).decode().strip(), flush=True)
else:
    connection = client(*sys.argv[1:])
    try:
        if sys.argv[1] == "udp":
            connection.send(b"x")
        print(connection.recv(100).decode().strip())
    except ConnectionRefusedError:
        print("refused")
