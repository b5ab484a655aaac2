"""A web application with a limit that is a process: asks itself so many times, and prints the answers' codes."""

import sys

import flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address


def main(port, limit, times):
    app = flask.Flask(__name__)
    limiter = Limiter(get_remote_address, app=app, storage_uri=f"redis://127.0.0.1:{port}")
    app.get("/")(limiter.limit(limit)(lambda: "fine"))
    client = app.test_client()
    print(*(client.get("/").status_code for _ in range(int(times))))


if __name__ == "__main__":
    main(*sys.argv[1:])
