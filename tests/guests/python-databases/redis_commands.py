"""redis-py, unmodified. What it prints is the same with every server."""

import redis


def _exchange(client: redis.Redis) -> None:
    print("ping", client.ping())
    print("set", client.set("colour", "blue"), client.get("colour"))
    value = bytes(range(256)) * 4096
    client.set("large", value)
    print("large", client.get("large") == value)
    with client.pipeline(transaction=True) as pipeline:
        for number in range(1000):
            pipeline.rpush("numbers", number)
        pipeline.lrange("numbers", 0, -1)
        *pushed, numbers = pipeline.execute()
    print(
        "pipeline", pushed == list(range(1, 1001)), [int(number) for number in numbers] == list(range(1000))
    )
    print("wrong type", _error_of(client.incr, "numbers"))
    print("blocking pop", client.blpop("nothing-there", timeout=1))


def _error_of(call: object, *arguments: object) -> str:
    try:
        call(*arguments)
    except redis.ResponseError as error:
        return str(error).split()[0]
    return "none"


def _publish_and_subscribe(client: redis.Redis) -> None:
    # Two connections of one client: what is published on one arrives on the other.
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe("news")
        while not subscriber.subscribed:
            subscriber.get_message(timeout=1)
        subscriber.get_message(timeout=1)
        heard = []
        for number in range(5):
            print("published to", client.publish("news", f"item {number}"))
            while (message := subscriber.get_message(timeout=5)) is None:
                pass
            heard.append(message["data"].decode())
    print("heard", heard)


def exercise(host: str, port: str) -> None:
    """Values, a pipeline, an error, a blocking call, and publishing to oneself."""
    with redis.Redis(host=host, port=int(port), socket_timeout=20) as client:
        _exchange(client)
        _publish_and_subscribe(client)
