"""A small real backend that behaves as its script says: `backend_server.py SCRIPT --addr HOST:PORT`.

The scripts are the folders in `backends/`; each says what goes wrong, `good` that nothing does.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

# The proto package alone, so that a start costs no more than gRPC itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

SLOW_LOAD_SECONDS = 60.0
DIES_AFTER_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("script")
    parser.add_argument("--addr", required=True)
    options = parser.parse_args()
    print(f"{options.script} starts on {options.addr}")
    if options.script == "exits-at-once":
        print("cannot find libmagic.so")
        sys.exit(3)
    if options.script == "never-healthy":
        signal.pause()
    if options.script == "forks-children":
        fork_children()
    serve(options.script, options.addr)


def fork_children() -> None:
    """One child in the group, one grandchild, and one that leaves both session and parent."""
    sleeper = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    subprocess.Popen([sys.executable, "-c", f"{sleeper}; time.sleep(600)"])
    runaway = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(600)"
    subprocess.run([sys.executable, "-c", runaway], check=True)


def serve(script: str, address: str) -> None:
    # Here, not at the top: the scripts that end early need not wait for it.
    import grpc

    from models.backend.proto import backend_pb2, backend_pb2_grpc

    class Backend(backend_pb2_grpc.BackendServicer):
        def Health(self, request, context):
            if script == "hangs-after-load" and self.loaded:
                time.sleep(600)
            return backend_pb2.Reply(message=b"OK")

        loaded = False

        def LoadModel(self, request, context):
            print(f"loading {request.Model}")
            if script == "refuses-load":
                return backend_pb2.Result(success=False, message="unknown model architecture")
            if script == "slow-load":
                time.sleep(SLOW_LOAD_SECONDS)
            if script == "stops-listening":
                threading.Timer(DIES_AFTER_SECONDS, server.stop, [0]).start()
            if script == "dies-when-ready":
                threading.Timer(DIES_AFTER_SECONDS, die).start()
            self.loaded = True
            return backend_pb2.Result(success=True, message="loaded")

        def Status(self, request, context):
            return backend_pb2.StatusResponse(state=backend_pb2.StatusResponse.READY)

        def Free(self, request, context):
            print("free")
            self.loaded = False
            return backend_pb2.Result(success=True)

    if script == "ignores-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if script == "fills-log":
        threading.Thread(target=fill_log, daemon=True).start()
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 1)])
    backend_pb2_grpc.add_BackendServicer_to_server(Backend(), server)
    if server.add_insecure_port(address) == 0:
        sys.exit(f"Failed to bind to address {address}")
    server.start()
    server.wait_for_termination()
    if script == "stops-listening":
        signal.pause()


def die() -> None:
    print("GGML_ASSERT: something does not add up", flush=True)
    os.abort()


def fill_log() -> None:
    while True:
        print("x" * 1000)
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
