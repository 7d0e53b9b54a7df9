#!/usr/bin/env python3
"""A worker that misbehaves in the way it is named after: the test starts it through a link of that name.

It is given `--log-dir DIR`, reads requests at descriptor 3 and sends events at 4; state at 5 and 6.
"""

import json
import os
import signal
import struct
import sys
import time

NAME = os.path.basename(sys.argv[0])
LOGS = sys.argv[2]


def note(name, text):
    """Appends a line to a file that the test reads."""
    with open(os.path.join(LOGS, name), "a") as file:
        file.write(text + "\n")


def send(id, **event):
    body = json.dumps({"id": id, "event": event}).encode()
    os.write(4, struct.pack("<I", len(body)) + body)


# As `PROTOCOL_VERSION` of the engine.
def hello(protocol=4):
    send(None, **{"is": "hello"}, protocol=protocol, pid=os.getpid(), build="python", modules=[], devices=[])


def read_exactly(count):
    bytes = b""
    while len(bytes) < count:
        part = os.read(3, count - len(bytes))
        if not part:
            sys.exit(0)
        bytes += part
    return bytes


def receive():
    """The next request's id and what it asks for; ends this process where the app is gone."""
    (length,) = struct.unpack("<I", read_exactly(4))
    frame = json.loads(read_exactly(length))
    request = frame["request"]
    what = request if isinstance(request, str) else request["do"]
    return frame["id"], what, request


def serve(**answers):
    """Introduces itself and answers pings until it is shut down; `answers` are told of other requests."""
    hello()
    while True:
        id, what, request = receive()
        if what in answers:
            answers[what](id, request)
        elif what == "ping":
            send(id, **{"is": "pong"})
        elif what == "shutdown":
            sys.exit(0)


def live_on():
    while True:
        signal.pause()


def freeze(*_):
    os.kill(os.getpid(), signal.SIGSTOP)


def exits_at_once():
    sys.exit(7)


def aborts():
    os.abort()


def writes_garbage():
    os.write(4, b"\x05\0\0\0hello")
    live_on()


def writes_a_huge_length():
    os.write(4, b"\xff\xff\xff\xffhello")
    live_on()


def dies_within_a_frame():
    os.write(4, b"\x50\0\0\0{")
    sys.exit(8)


def stops_within_a_frame():
    os.write(4, b"\x50\0\0\0{")
    live_on()


def says_nothing():
    live_on()


def closes_its_voice():
    os.close(4)
    live_on()


def does_not_introduce_itself():
    send(1, **{"is": "pong"})
    live_on()


def speaks_of_the_future():
    body = b'{"id":null,"event":{"is":"hello","protocol":9,"devices":[],"more":{"of":"it"}}}'
    os.write(4, struct.pack("<I", len(body)) + body)
    live_on()


def freezes_at_work():
    serve(load=freeze)


def is_deaf():
    hello()
    live_on()


def is_killed_at_work():
    serve(load=lambda *_: os.kill(os.getpid(), signal.SIGKILL))


def sends_too_much_state():
    def overdo(*_):
        os.write(6, b"\xff\xff\xff\xff")

    serve(send_state=overdo)


def moves_state():
    def send_state(id, request):
        left = request["bytes"]
        while left > 0:
            size = min(left, 1 << 20)
            with open(6, "wb", buffering=0, closefd=False) as out:
                view = memoryview(struct.pack("<I", size) + bytes(size))
                while view:
                    view = view[out.write(view) :]
            left -= size
        send(id, **{"is": "state_sent"})

    def receive_state(id, request):
        left = request["bytes"]
        with open(5, "rb", closefd=False) as state:
            while left > 0:
                (size,) = struct.unpack("<I", state.read(4))
                left -= len(state.read(size))
        send(id, **{"is": "state_received"})

    serve(send_state=send_state, receive_state=receive_state)


def does_not_end():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hello()
    while True:
        receive()


def behaves():
    serve()


def babbles_into_the_log():
    line = b"x" * 999 + b"\n"
    for _ in range(5000):
        os.write(1, line)
    os.write(2, b"the last words\n")
    serve()


def looks_around():
    files = {}
    listing = "/proc/self/fd"  # Linux has it; elsewhere nobody asks for the files
    for number in os.listdir(listing) if os.path.isdir(listing) else []:
        try:
            files[number] = os.readlink(listing + "/" + number)
        except FileNotFoundError:
            pass  # the listing itself
    found = {
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "input": sys.stdin.read(),
        "files": files,
        "group": os.getpgid(0) == os.getpid(),
    }
    note("found.json", json.dumps(found))
    serve()


note("pids", str(os.getpid()))
globals()[NAME]()
