"""Has redis-py's connections to the ports of suites go elsewhere, in every process that a suite starts.

`SUITE_PORT` names the port of a Keystead; "in process" has them be sessions of engines in the process, by the address.
"""

import functools
import os

#: Where the suites expect a server.
PORTS = (6379, 6360)


def redirect(target):
    import redis.connection

    if target == "in process":
        from keystead.redis import Connection

        plain, make = redis.connection.Connection, redis.connection.ConnectionPool.__init__

        @functools.wraps(make)
        def make_pool(self, connection_class=plain, *args, **kwargs):
            make(self, Connection if connection_class is plain else connection_class, *args, **kwargs)

        redis.connection.ConnectionPool.__init__ = make_pool
        return
    connect = redis.connection.Connection.__init__

    @functools.wraps(connect)
    def make_connection(self, host="localhost", port=6379, **kwargs):
        connect(self, host, int(target) if int(port) in PORTS else port, **kwargs)

    redis.connection.Connection.__init__ = make_connection


if "SUITE_PORT" in os.environ:
    redirect(os.environ["SUITE_PORT"])
