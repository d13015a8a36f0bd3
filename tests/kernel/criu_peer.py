"""A client that says each line of its input from SOURCE to ADDRESS:7 and prints what comes, as it comes."""
import socket
import sys
import threading

sk = socket.create_connection((sys.argv[2], 7), source_address=(sys.argv[1], 0))
print("at", sk.getsockname()[1], flush=True)


def listen():
    try:
        while data := sk.recv(65536):
            print("heard", data.hex(), flush=True)
        print("closed", flush=True)
    except OSError as error:
        print("broken", error, flush=True)


threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    sk.sendall(line.strip().encode())
