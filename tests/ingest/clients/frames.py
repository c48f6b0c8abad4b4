"""Frames of Sluice's native protocol, written from docs/native-protocol.md alone, and what its clients share.

Nothing here knows Sluice's own code: the tests are worth what this file is independent of it.
"""

import json
import socket
import struct
import sys

MAGIC = b"SLC2"
HEADER = struct.Struct("<4sBBBBIIQQQHHI")
EVENT, HELLO, WELCOME, ACK, ERROR, HEARTBEAT, GOODBYE = range(7)


def v1(priority, topic, payload):
    """A version 1 frame, packed as EventStreamCore's senders pack it."""
    topic = topic.encode()
    body = struct.pack(">BH", priority, len(topic)) + topic + payload
    return struct.pack(">I", len(body)) + body


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def v2(kind_of_frame, producer=0, sequence=0, payload=b"", *, flags=0, priority=0, topic=b"", time_ns=0, kind=0):
    """A version 2 frame."""

    def header(crc):
        return HEADER.pack(
            MAGIC, kind_of_frame, flags, priority, len(topic), len(payload), crc, producer, sequence, time_ns, kind, 0, 0
        )

    bare = header(0)
    frame = header(crc32c(bare[:12] + bare[16:] + topic + payload)) + topic + payload
    return frame + bytes(-len(frame) % 8)


def event(producer, sequence, priority=3):
    """The event that this producer sends under this number: it says nothing but who and which."""
    return v2(EVENT, producer, sequence, b"%d/%d" % (producer, sequence), priority=priority, topic=b"session")


def hello(producer, acknowledged=0, durable=False):
    return v2(HELLO, producer, acknowledged, flags=int(durable))


class Words:
    """What the server says on a connection, frame by frame, as dicts."""

    NAMES = {WELCOME: "welcome", ACK: "ack", ERROR: "error", HEARTBEAT: "heartbeat"}

    def __init__(self, connection):
        self.connection = connection
        self.held = b""

    def read(self):
        """The frames of one receive; `None` at the end."""
        try:
            received = self.connection.recv(65536)
        except ConnectionResetError:
            return None
        if not received:
            assert not self.held, "the server ends between two frames"
            return None
        self.held += received
        words = []
        while len(self.held) >= HEADER.size:
            fields = HEADER.unpack_from(self.held)
            length = HEADER.size + fields[4] + fields[5]
            whole = length + -length % 8
            if len(self.held) < whole:
                break
            frame, self.held = self.held[:length], self.held[whole:]
            assert fields[0] == MAGIC and fields[6] == crc32c(frame[:12] + frame[16:]), "a whole frame of version 2"
            words.append(self._word(fields, frame[HEADER.size :]))
        return words

    def _word(self, fields, payload):
        word = {"word": self.NAMES[fields[1]], "producer": fields[7]}
        if fields[1] in (WELCOME, ACK):
            word.update(received=fields[8], durable=struct.unpack("<Q", payload)[0])
        elif fields[1] == ERROR:
            word.update(code=fields[10], name=payload.decode())
        return word

    def until(self, wanted):
        """All words up to the first that `wanted` is true of, or up to the end."""
        heard = []
        while not any(wanted(word) for word in heard):
            words = self.read()
            if words is None:
                break
            heard += words
        return heard

    def to_the_end(self):
        return self.until(lambda _: False)


def connect(address, source=None):
    """A connection to `tcp:HOST:PORT` or `unix:PATH`."""
    scheme, place = address.split(":", 1)
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place)
        return connection
    host, port = place.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), source_address=source and (source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def udp(address):
    """A socket whose datagrams go to `udp:HOST:PORT`."""
    host, port = address.split(":", 1)[1].rsplit(":", 1)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((host, int(port)))
    return sender


class Sent:
    """How many whole frames were sent, by priority, and how many bytes in all."""

    def __init__(self):
        self.by_priority = {}
        self.bytes = 0

    def add(self, priority, length, count=1):
        self.by_priority[str(priority)] = self.by_priority.get(str(priority), 0) + count
        self.bytes += length


def say(**what):
    """One line of JSON for the test."""
    print(json.dumps(what), flush=True)


def wait_for_word():
    """Waits until the test says to go on."""
    return sys.stdin.readline().strip()
