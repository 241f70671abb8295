"""A LocalAI backend for GGUF models: `python server.py --addr host:port`."""

import argparse
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import grpc
from auth import TokenRequired
from holder import MOST_REQUESTS
from lifeline import watch_parent
from service import LlamaBackend
from stubs import backend_pb2_grpc

#: Calls under way may finish within this time once the backend is told to stop. Seconds.
GRACE = 0.5
_LOOK = 0.2
_MAX_MESSAGE = 64 << 20
_OPTIONS = [
    # Two backends on one port would share its connections between them; the second has to fail instead.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
]
#: One for each request that may be under way, the rest for Health, Status, LoadModel and Free.
_THREADS = MOST_REQUESTS + 8


def serve(address: str, token: str, stop: threading.Event) -> int:
    """Serve until `stop` is set; the exit code."""
    backend = LlamaBackend()
    interceptors = [TokenRequired(token)] if token else []
    # An engine is tied to the life of the thread that started it; those of the pool live as long as the server.
    server = grpc.server(ThreadPoolExecutor(_THREADS), interceptors=interceptors, options=_OPTIONS)
    backend_pb2_grpc.add_BackendServicer_to_server(backend, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        print(f"Cannot listen on {address}: it is in use, or no address of this machine.", file=sys.stderr)
        return 1
    server.start()
    print(f"Listening on {address}", file=sys.stderr)
    # Not one long wait: a signal that the system hands to another thread does not wake this one.
    while not stop.wait(_LOOK):
        pass
    stopped = server.stop(GRACE)
    stopped.wait(GRACE)
    backend.close()
    stopped.wait(GRACE)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--addr", default="127.0.0.1:50051", metavar="HOST:PORT", help="where to listen")
    # LocalAI may hand over more than this backend knows of.
    arguments, _ = parser.parse_known_args()
    stop = threading.Event()
    # Not set by the handler, which runs in the middle of `stop.wait` and would want the lock that is held there.
    asked: SimpleQueue[None] = SimpleQueue()
    threading.Thread(target=lambda: (asked.get(), stop.set()), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.put(None))
    watch_parent(os.environ, stop.set)
    code = serve(arguments.addr, os.environ.get("LOCALAI_GRPC_AUTH_TOKEN", ""), stop)
    sys.stderr.flush()
    # Threads of the pool that still wait for something must not hold the process.
    os._exit(code)


if __name__ == "__main__":
    main()
