"""A producer of acknowledged sessions, and one for each rule of theirs.

    session.py produce FOLDER PRODUCER      for ever, across all that happens to it or to the server
    session.py RULE ADDRESS                 what is heard when a rule is kept or broken
"""

import os
import sys
import threading
import time

from frames import EVENT, GOODBYE, HEARTBEAT, Words, connect, event, hello, say, v1, v2

WINDOW = 3000
AT_ONCE = 100


class Diary:
    """What the producer did and heard, a line each, as it must stand when the producer is killed in the next moment."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what, number):
        os.write(self.file, b"%s %d\n" % (what.encode(), number))


class Connection:
    """One connection of the producer: a thread listens, the other one sends."""

    def __init__(self, address, producer, diary):
        self.producer, self.diary = producer, diary
        self.connection = connect(address)
        self.words = Words(self.connection)
        self.changed = threading.Condition()
        self.received, self.dead = 0, False

    def begin(self):
        """Says hello. Returns the number that is welcome next."""
        self.connection.sendall(hello(self.producer))
        heard = self.words.until(lambda word: word["word"] == "welcome")
        if not heard or heard[0]["word"] != "welcome":
            raise ConnectionError(f"no welcome: {heard}")
        self.received = heard[0]["received"]
        self.diary.note("welcome", self.received)
        threading.Thread(target=self.listen, daemon=True).start()
        return self.received + 1

    def listen(self):
        try:
            while (words := self.words.read()) is not None:
                for word in words:
                    if word["word"] == "ack":
                        assert word["received"] >= self.received, "acknowledgements never go back"
                        self.diary.note("ack", word["received"])
                        with self.changed:
                            self.received = word["received"]
                            self.changed.notify()
        except OSError:
            pass
        except AssertionError as broken:
            # The whole producer fails, and its test with it.
            print(broken, file=sys.stderr)
            os._exit(1)
        with self.changed:
            self.dead = True
            self.changed.notify()

    def wait_for(self, condition):
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.dead)
            if self.dead and not condition():
                raise ConnectionError("the server is gone")

    def produce(self, following, stop):
        """Sends events until it is to stop; then all are acknowledged, and the server has said good bye."""
        while not os.path.exists(stop):
            batch = range(following, following + AT_ONCE)
            self.diary.note("send", batch[-1])
            self.connection.sendall(b"".join(event(self.producer, number) for number in batch))
            following = batch[-1] + 1
            self.wait_for(lambda: following - self.received <= WINDOW)
        self.wait_for(lambda: self.received == following - 1)
        self.connection.sendall(v2(GOODBYE, self.producer))
        self.wait_for(lambda: self.dead)
        return following - 1


def produce(folder, producer):
    diary = Diary(os.path.join(folder, f"diary-{producer}"))
    while True:
        try:
            with open(os.path.join(folder, f"address-{producer}"), encoding="ascii") as file:
                connection = Connection(file.read(), int(producer), diary)
            say(sent=connection.produce(connection.begin(), os.path.join(folder, "stop")))
            return
        except OSError:
            time.sleep(0.01)


def begin(address, producer, **wishes):
    """A connection that has said hello, and what it heard up to the welcome or the end."""
    connection = connect(address)
    words = Words(connection)
    connection.sendall(hello(producer, **wishes))
    return connection, words, words.until(lambda word: word["word"] in ("welcome", "error"))


def acknowledged(words, number):
    return words.until(lambda word: word["word"] == "ack" and word["received"] >= number)


def durable(address):
    _, words, heard = begin(address, 11, durable=True)
    say(heard=heard + words.to_the_end())


def supersede(address):
    first, first_words, _ = begin(address, 12)
    first.sendall(event(12, 1))
    acknowledged(first_words, 1)
    second, words, welcomed = begin(address, 12)
    first_heard = first_words.to_the_end()
    second.sendall(event(12, 2))
    acknowledged(words, 2)
    second.close()
    say(first=first_heard, second=welcomed)


def gap(address):
    connection, words, _ = begin(address, 13)
    connection.sendall(event(13, 1) + event(13, 3))
    say(heard=words.to_the_end())


def damaged(address):
    """A damaged event, then the next one: the producer comes back and sends both."""
    connection, words, _ = begin(address, 14)
    bad = bytearray(event(14, 2))
    bad[-20] ^= 1
    connection.sendall(event(14, 1) + bad + event(14, 3))
    heard = words.to_the_end()
    connection, words, welcomed = begin(address, 14)
    following = welcomed[-1]["received"] + 1
    connection.sendall(b"".join(event(14, number) for number in range(following, 4)))
    acknowledged(words, 3)
    connection.close()
    say(heard=heard, following=following)


def full(address):
    """More producers than there may be."""
    for producer in (21, 22, 23):
        begin(address, producer)[0].close()
    connection, words, heard = begin(address, 24)
    say(heard=heard + words.to_the_end())


def again(address):
    """Events sent twice, on one connection and on the next."""
    connection, words, _ = begin(address, 15)
    connection.sendall(event(15, 1) + event(15, 2) + event(15, 1) + event(15, 2) + event(15, 3))
    acknowledged(words, 3)
    connection.sendall(event(15, 3))
    heard = words.until(lambda word: word["word"] == "ack")
    connection.close()
    connection, words, welcomed = begin(address, 15, acknowledged=1)
    connection.sendall(event(15, 2))
    heard += words.until(lambda word: word["word"] == "ack")
    connection.sendall(v2(HEARTBEAT, 15))
    heard += words.until(lambda word: word["word"] == "ack")
    connection.close()
    say(heard=heard, welcomed=welcomed)


def goodbye(address):
    """The server acknowledges the rest, and closes; the producer leaves its side open."""
    connection, words, _ = begin(address, 16)
    connection.sendall(b"".join(event(16, number) for number in range(1, 501)) + v2(GOODBYE, 16))
    heard = words.to_the_end()
    late, late_words, _ = begin(address, 16)
    late.sendall(v2(GOODBYE, 16) + event(16, 501))
    say(heard=heard, late=late_words.to_the_end())


def forbidden(address):
    """Frames that the state of a session forbids, each on a connection of its own."""
    openings = {
        "twice": hello(17) + hello(17),
        "late": event(17, 1) + hello(17),
        "stranger": hello(17) + event(18, 1),
        "version 1": hello(17) + v1(3, "t", b""),
        "unnumbered": hello(17) + v2(EVENT, 17, 0, b"", priority=3, topic=b"t"),
        "welcome": hello(17) + v2(2, 17, 0, bytes(8)),
    }
    heard = {}
    for name, opening in openings.items():
        connection = connect(address)
        connection.sendall(opening)
        heard[name] = [word["name"] for word in Words(connection).to_the_end() if word["word"] == "error"]
    say(heard=heard)


def unacknowledged(address):
    """Version 2 without a session, beside version 1 on the same connection: taken as they come."""
    with connect(address) as connection:
        for number in (5, 3, 3):
            connection.sendall(event(19, number, priority=4) + v1(2, "t", b"p") + v2(HEARTBEAT))
    say(sent=6)


if __name__ == "__main__":
    way, *words = sys.argv[1:]
    ways = [produce, durable, supersede, gap, damaged, full, again, goodbye, forbidden, unacknowledged]
    {function.__name__: function for function in ways}[way](*words)
