"""What redis-py does all day, while servers are killed: python3 clients.py PORT SECONDS

Ends with status 0 and one line when every answer was right and no connection was lost.
"""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

PORT, SECONDS = int(sys.argv[1]), float(sys.argv[2])
ONCE = {"port": PORT, "decode_responses": True, "socket_timeout": 5}


class Timer:
    """How many answers there were, and how long the slowest took."""

    operations, longest = 0, 0.0

    def __call__(self, ask):
        begun = time.monotonic()
        answer = ask()
        self.add(begun)
        return answer

    def add(self, begun):
        self.operations += 1
        self.longest = max(self.longest, time.monotonic() - begun)


def blocking(timer, protocol):
    name = f"py{protocol}"
    client = redis.Redis(protocol=protocol, retry=Retry(NoBackoff(), 0), **ONCE)
    count, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        pipe = client.pipeline(transaction=False).incr(f"{name}:n").set(f"{name}:k", count).get(f"{name}:k")
        count += 1
        assert timer(pipe.execute) == [count, True, str(count - 1)]
        pipe = client.pipeline().hset(f"{name}:h", "f", count).hgetall(f"{name}:h")
        assert timer(pipe.execute)[1] == {"f": str(count)}
    assert client.get(f"{name}:n") == str(count)
    kinds(client, name)
    client.close()


def kinds(client, name):
    """Every kind of value once."""
    client.delete(f"{name}:list", f"{name}:set", f"{name}:zset")
    assert client.rpush(f"{name}:list", "a", "b", "c") == 3
    assert client.lrange(f"{name}:list", 0, -1) == ["a", "b", "c"]
    assert client.sadd(f"{name}:set", "x", "y") == 2
    assert client.smembers(f"{name}:set") == {"x", "y"}
    assert client.zadd(f"{name}:zset", {"ann": 3.5, "bob": 1}) == 2
    assert client.zrange(f"{name}:zset", 0, -1, withscores=True) in (
        [("bob", 1.0), ("ann", 3.5)],
        [["bob", 1.0], ["ann", 3.5]],
    )
    assert client.zscore(f"{name}:zset", "ann") == 3.5
    assert client.set(f"{name}:k", "v", ex=100) and 90 < client.ttl(f"{name}:k") <= 100
    with client.pipeline() as pipe:
        pipe.watch(f"{name}:k")
        client.set(f"{name}:k", "other")
        pipe.multi()
        pipe.set(f"{name}:k", "mine")
        try:
            pipe.execute()
            raise AssertionError("a watched key has changed")
        except redis.WatchError:
            pass
    threading.Timer(0.05, lambda: client.rpush(f"{name}:queue", "job")).start()
    assert client.blpop(f"{name}:queue", timeout=3) in ((f"{name}:queue", "job"), [f"{name}:queue", "job"])
    assert list(client.scan_iter(match=f"{name}:zs*")) == [f"{name}:zset"]
    assert client.info()["role"] == "master"
    try:
        client.incr(f"{name}:list")
        raise AssertionError("a list is no number")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error)


async def waiting(timer):
    client = redis.asyncio.Redis(protocol=3, retry=redis.asyncio.retry.Retry(NoBackoff(), 0), **ONCE)
    listener = client.pubsub()
    await listener.subscribe("aio:news")
    count, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        begun = time.monotonic()
        answers = await asyncio.gather(*(client.incr("aio:n") for _ in range(5)))
        timer.add(begun)
        assert sorted(answers) == list(range(count + 1, count + 6)), answers
        count += 5
        await client.publish("aio:news", count)
    heard = []
    while len(heard) < count // 5:
        message = await listener.get_message(ignore_subscribe_messages=True, timeout=2)
        if message:
            heard.append(int(message["data"]))
    assert heard == list(range(5, count + 1, 5))
    await listener.aclose()
    await client.aclose()


timer = Timer()
threads = [threading.Thread(target=blocking, args=(timer, protocol)) for protocol in (2, 3)]
failures = []
threading.excepthook = lambda failure: failures.append(failure.exc_value)
for thread in threads:
    thread.start()
asyncio.run(waiting(timer))
for thread in threads:
    thread.join()
if failures:
    raise failures[0]
print(f"redis-py {redis.__version__}: {timer.operations} operations, the longest {timer.longest * 1000:.0f} ms")
