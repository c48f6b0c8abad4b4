"""Peers that break off, drip, lie and flood, beside a good one that must lose nothing.

    hostile.py WAY ADDRESS...
"""

import random
import select
import socket
import struct
import sys
import time

from frames import HEARTBEAT, HELLO, MAGIC, Sent, Words, connect, hello, say, v1, v2

GOOD = v1(4, "good", b"g" * 40)
BAD = v1(0, "bad", b"b" * 40)


def reset(connection):
    """Closes with a reset instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def is_closed(connection):
    """Whether the server has closed it, read without waiting."""
    connection.setblocking(False)
    try:
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def wait_until_closed(connection):
    connection.setblocking(True)
    try:
        while connection.recv(4096):
            pass
    except OSError:
        pass


class Good:
    """The connection beside them."""

    def __init__(self, address):
        self.connection, self.count = connect(address), 0

    def send(self, count=10):
        self.connection.sendall(GOOD * count)
        self.count += count


def broken_off(address):
    """Resets and ends in the middle of frames, at every place of a frame; and ends between two."""
    good, bad, lost = Good(address), 0, 0
    for cut in range(1, len(BAD)):
        connection = connect(address)
        connection.sendall(BAD * 3 + BAD[:cut])
        good.send()
        if cut % 2:
            reset(connection)
        else:
            # The other direction stays open: half closed.
            connection.shutdown(socket.SHUT_WR)
            wait_until_closed(connection)
            bad, lost = bad + 3, lost + cut
    for _ in range(10):
        connection = connect(address)
        connection.sendall(BAD)
        connection.shutdown(socket.SHUT_WR)
        wait_until_closed(connection)
        bad += 1
    good.send()
    good.connection.close()
    resets = len(range(1, len(BAD), 2))
    say(good=good.count, bad=bad, lost=lost, resets=resets, in_frame=len(BAD) - 1 - resets, closed=10)


def slow(address):
    """Half a frame and then silence; a byte now and then; half of a frame that is too large for the listener."""
    good = Good(address)
    silent, dripping, skipping = connect(address), connect(address), connect(address)
    silent.sendall(BAD + BAD[:20])
    dripping.sendall(BAD)
    skipping.sendall(BAD + struct.pack(">I", 1 << 20) + bytes(1000))
    drip = iter(v1(0, "drip", bytes(60000)))
    while not all(is_closed(connection) for connection in (silent, dripping, skipping)):
        try:
            dripping.send(bytes([next(drip)]))
        except OSError:
            pass
        good.send(1)
        time.sleep(0.02)
    good.connection.close()
    say(good=good.count, bad=3)


def quiet(address):
    """Nothing at all; and nothing more after a frame."""
    nothing, once = connect(address), connect(address)
    once.sendall(BAD)
    wait_until_closed(nothing)
    wait_until_closed(once)
    say(bad=1)


BOMBS = [
    struct.pack(">I", (10 << 20) + 1),
    b"\xff\xff\xff\xff",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x80\x00\x00\x00" + bytes(100),
    MAGIC + bytes([0, 0, 3, 4]) + b"\xff\xff\xff\xff" + bytes(36),
    MAGIC + bytes([HELLO, 0, 0, 0]) + struct.pack("<I", (10 << 20) - 47) + bytes(36),
]


def bombs(address):
    """Lengths beyond all limits, at the start of a connection and behind a good frame; and one that is just allowed."""
    good, bad = Good(address), 0
    for bomb in BOMBS:
        for before in (b"", BAD):
            connection = connect(address)
            connection.sendall(before + bomb)
            bad += bool(before)
            good.send()
            wait_until_closed(connection)
    connection = connect(address)
    # Longer than the listener takes, not longer than the protocol allows: skipped, and the stream goes on behind it.
    for length in (1 << 20, 10 << 20):
        connection.sendall(struct.pack(">I", length) + bytes(length) + BAD)
        good.send()
    connection.close()
    good.connection.close()
    say(good=good.count, bad=bad + 2, closed=2 * len(BOMBS), skipped=2)


def garbage(address, seed):
    """Random bytes; and good lengths with nonsense in them."""
    good, source = Good(address), random.Random(int(seed))
    for _ in range(40):
        connection = connect(address)
        try:
            connection.sendall(source.randbytes(source.randrange(1, 20000)))
        except OSError:
            pass
        good.send()
        connection.close()
    connection, nonsense = connect(address), 0
    for body in (b"\x05\x00\x01t", b"\x00\x00\x00", b"\x00\xff\xfft", b"\x01", b"", b"\xff" * 300):
        connection.sendall(struct.pack(">I", len(body)) + body + BAD)
        nonsense += 1
    connection.close()
    good.connection.close()
    say(good=good.count, bad=nonsense, nonsense=nonsense)


def flood(address):
    """More connections than there may be, in all and from one address; and from an address that may not connect."""
    first = [connect(address, "127.0.0.1") for _ in range(30)]
    refused = {}

    def note(connections):
        for connection in connections:
            for word in Words(connection).to_the_end():
                refused[word["name"]] = refused.get(word["name"], 0) + 1

    note(first[8:])
    second = [connect(address, "127.0.0.2") for _ in range(30)]
    note(second[4:])
    note(connect(address, "127.1.0.1") for _ in range(5))
    sent = Sent()
    for connection in first[:8] + second[:4]:
        connection.sendall(GOOD)
        sent.add(4, len(GOOD))
    for connection in first[:8] + second[:4]:
        connection.close()
    # Their places are free again, as soon as the server has seen that they are gone.
    while True:
        connection = connect(address, "127.0.0.1")
        connection.settimeout(20)
        try:
            connection.sendall(hello(1))
            words = Words(connection).until(lambda word: word["word"] in ("welcome", "error"))
        except OSError:
            words = []
        connection.close()
        if any(word["word"] == "welcome" for word in words):
            break
    say(good=sent.by_priority["4"], refused=refused)


def deaf(address):
    """A session that asks for answers, reads none of them, says that nothing follows, and stays."""
    connection = connect(address)
    connection.sendall(hello(7))
    for _ in range(3000):
        connection.sendall(v2(HEARTBEAT, 7))
        time.sleep(0.0002)
    connection.shutdown(socket.SHUT_WR)
    end = select.poll()
    end.register(connection, 0)
    say(closed=any(events & select.POLLHUP for _, events in end.poll(20000)))


if __name__ == "__main__":
    way, *words = sys.argv[1:]
    ways = [broken_off, slow, quiet, bombs, garbage, flood, deaf]
    {function.__name__: function for function in ways}[way](*words)
