"""Connections that press on each other.

    pressure.py blocked ADDRESS BATCH REALTIME | pressure.py fair ADDRESS ROUNDS FAST
"""

import sys
import threading

from frames import Words, connect, event, hello, say, v1

BYTES_MAX = 1 << 30


def blocked(address, batch, realtime):
    """One connection floods the batch queue, another one sends realtime frames one by one."""
    batch, realtime = int(batch), int(realtime)

    def flood():
        data = v1(0, "b", b"x") * 1000
        with connect(address) as connection:
            for _ in range(batch // 1000):
                connection.sendall(data)

    thread = threading.Thread(target=flood)
    thread.start()
    with connect(address) as connection:
        for _ in range(realtime):
            connection.sendall(v1(4, "r", b"x"))
    thread.join()
    say(batch=batch, realtime=realtime)


def fair(address, rounds, fast):
    """Fast connections send all that they can, until a slow one has had each of its events acknowledged in turn."""
    rounds, done, sent, started = int(rounds), threading.Event(), [0] * int(fast), threading.Barrier(int(fast) + 1)
    data = v1(0, "fast", b"f" * 500) * 500

    def flood(place):
        with connect(address) as connection:
            connection.sendall(data)
            started.wait()
            while not done.is_set() and sent[place] < BYTES_MAX:
                connection.sendall(data)
                sent[place] += len(data)

    threads = [threading.Thread(target=flood, args=(place,)) for place in range(int(fast))]
    for thread in threads:
        thread.start()
    started.wait()
    before = list(sent)
    with connect(address) as connection:
        words = Words(connection)
        connection.sendall(hello(1))
        words.until(lambda word: word["word"] == "welcome")
        for number in range(1, rounds + 1):
            connection.sendall(event(1, number))
            words.until(lambda word: word["word"] == "ack" and word["received"] == number)
        still_sending = all(bytes_sent < BYTES_MAX for bytes_sent in sent)
        meanwhile = [after - first for after, first in zip(sent, before)]
        done.set()
    for thread in threads:
        thread.join()
    frames = sum(bytes_sent // len(data) * 500 + 500 for bytes_sent in sent)
    say(slow=rounds, fast=frames, still_sending=still_sending, meanwhile=meanwhile)


if __name__ == "__main__":
    {"blocked": blocked, "fair": fair}[sys.argv[1]](*sys.argv[2:])
