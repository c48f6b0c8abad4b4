"""Producers on Unix sockets: Linux-cpp-event-server's 20-byte messages, and datagrams of every shape.

    local.py engine20 ADDRESS COUNT | local.py datagrams ADDRESS
"""

import struct
import sys

from frames import EVENT, HELLO, connect, event, hello, say, udp, v1, v2


def engine20(address, count):
    """Messages in the host's byte order, cut anywhere: size of the rest, type, value, time."""
    data = b"".join(struct.pack("=Iifq", 16, number % 7, number / 2, 1_700_000_000_000_000_000 + number) for number in range(int(count)))
    with connect(address) as connection:
        while data:
            cut = 1 + len(data) % 37
            connection.sendall(data[:cut])
            data = data[cut:]
    say(sent=int(count))


def datagrams(address):
    """What kills the ancestor, and its kind; then what is right, alone and several together."""
    sender = udp(address)
    wrong = [
        bytes.fromhex("ffffffff02000161"),
        b"",
        b"\x00\x00\x00",
        v1(3, "t", b"p") + b"behind",
        v1(3, "t", b"p")[:-1],
        v1(5, "t", b"p"),
        v1(3, "", b"p"),
        event(1, 1)[:-1],
        v2(HELLO, 1),
        bytes(event(1, 1)[:-20]) + bytes(20),
        b"\x00" * 1400,
    ]
    for datagram in wrong:
        sender.send(datagram)
    # What is right before and behind something wrong is taken.
    sender.send(event(1, 1, priority=2) + b"behind")
    sender.send(v2(HELLO, 1) + event(1, 1, priority=2))
    sender.send(v1(4, "t", b"p"))
    sender.send(event(1, 7, priority=4))
    sender.send(b"".join(event(1, number, priority=4) for number in (3, 3, 9, 1)))
    sender.send(v2(EVENT, 0, 0, b"\x00" * 60000, priority=4, topic=b"big"))
    say(wrong=len(wrong), sent=7, datagrams=len(wrong) + 6)


if __name__ == "__main__":
    {"engine20": engine20, "datagrams": datagrams}[sys.argv[1]](*sys.argv[2:])
