"""Version 1 senders, as EventStreamCore's are: struct.pack, one sendall a frame, and never a reply.

    senders.py WAY ADDRESS NUMBER...
"""

import socket
import struct
import sys
import threading

from frames import Sent, connect, say, udp, v1, wait_for_word

TOPICS = ["md.trade", "sensor/temperature", "log", "ü"]


def frame(number):
    """A frame and its priority; sizes from nothing to more than a page."""
    priority = number % 5
    payload = b"%d" % number * (number % 7) + bytes(number % 4096 if number % 50 == 0 else 0)
    return priority, v1(priority, TOPICS[number % len(TOPICS)], payload)


def tcp(address, count):
    """One connection, one sendall a frame."""
    sent = Sent()
    with connect(address) as connection:
        for number in range(count):
            priority, data = frame(number)
            connection.sendall(data)
            sent.add(priority, len(data))
    return sent


def datagrams(address, count):
    """One frame a datagram."""
    sent, sender = Sent(), udp(address)
    for number in range(count):
        priority, data = frame(number)
        sender.send(data)
        sent.add(priority, len(data))
    return sent


def stress(address, threads, count):
    """Many threads, each with a connection of its own, as the ancestor's stress script."""
    results = []
    workers = [threading.Thread(target=lambda: results.append(tcp(address, count))) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == threads, "no thread failed"
    return total(results)


def total(results):
    sent = Sent()
    for result in results:
        for priority, count in result.by_priority.items():
            sent.add(priority, 0, count)
        sent.bytes += result.bytes
    return sent


def split(address, repeats):
    """A frame cut in two at every byte boundary, then frames byte by byte; a cut may also join with what is beside it."""
    sent = Sent()
    with connect(address) as connection:
        for data_of in (lambda cut: v1(cut % 5, "cut", b"p" * 13), lambda cut: v1(4, "t", b"")):
            for cut in range(1, len(data_of(0))):
                data = data_of(cut)
                connection.sendall(data[:cut])
                connection.sendall(data[cut:])
                sent.add(data[4], len(data))
        joined = b"".join(v1(2, "joined", b"x" * length) for length in range(20))
        for cut in range(1, len(joined)):
            connection.sendall(joined[:cut])
            connection.sendall(joined[cut:])
            sent.add(2, len(joined), 20)
        for number in range(repeats):
            priority, data = frame(number * 7 + 1)
            for byte in data:
                connection.sendall(struct.pack("B", byte))
            sent.add(priority, len(data))
    return sent


def many(address, connections, rounds):
    """All connections at once; each sends a part of its frames in each round, and the cut is never where a frame ends."""
    sent = Sent()
    together = [connect(address) for _ in range(connections)]
    for number, connection in enumerate(together):
        data = b"".join(frame(number + turn)[1] for turn in range(rounds))
        for turn in range(rounds):
            sent.add(frame(number + turn)[0], 0)
        sent.bytes += len(data)
        connection.sendall(data[:3])
        together[number] = connection, data[3:]
    for connection, rest in together:
        connection.sendall(rest[: len(rest) // 2])
    for connection, rest in together:
        connection.sendall(rest[len(rest) // 2 :])
    for connection, _ in together:
        connection.close()
    return sent


def burst(address, connections, count):
    """Connections that send all at once: half of them stay, half are gone before the server looks. One is idle."""
    sent, staying = Sent(), [connect(address)]
    for number in range(connections):
        connection = connect(address)
        data = [frame(number + turn) for turn in range(count)]
        connection.sendall(b"".join(part for _, part in data))
        for priority, part in data:
            sent.add(priority, len(part))
        if number % 2:
            connection.close()
        else:
            staying.append(connection)
    say(sent=sent.by_priority, bytes=sent.bytes)
    wait_for_word()


def flat_out(address):
    """Sends until it is closed."""
    data = v1(0, "flat", b"o" * 100) * 1000
    connection = connect(address)
    connection.sendall(data)
    say(sending=True)
    try:
        while True:
            connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        say(closed=True)


def multicast(address, group, count):
    """Datagrams to a group, over the loopback interface."""
    sender, sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), Sent()
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    for number in range(int(count)):
        priority, data = frame(number)
        sender.sendto(data, (group, int(address.rsplit(":", 1)[1].split(" ")[0])))
        sent.add(priority, len(data))
    return sent


if __name__ == "__main__":
    way, address, *numbers = sys.argv[1:]
    ways = {"tcp": tcp, "udp": datagrams, "stress": stress, "split": split, "many": many}
    if way == "multicast":
        result = multicast(address, *numbers)
    elif way in ways:
        result = ways[way](address, *map(int, numbers))
    else:
        result = {"burst": burst, "flat_out": flat_out}[way](address, *map(int, numbers))
    if result:
        say(sent=result.by_priority, bytes=result.bytes)
