"""Workers as processes of their own, with the console's settings and a database in a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.http_server import Server


def child(data: Path, script: str, *words: str) -> str:
    process = started(data, script, *words)
    said, wrong = process.communicate(timeout=60)
    assert process.returncode == 0, wrong
    return said


def started(data: Path, script: str, *words: str) -> "subprocess.Popen[str]":
    """A process of its own with the console's settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LOCALAI_", "HF_"))}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "localai_admin.settings",
        "LOCALAI_ADMIN_DATA": str(data),
        "LOCALAI_ADMIN_TRUSTED_HOSTS": "127.0.0.1",
        "LOCALAI_ADMIN_ALLOW_HTTP": "true",
        "LOCALAI_ADMIN_DISK_RESERVE": "0",
        "LOCALAI_GALLERIES": "[]",
    }
    command = [sys.executable, "-c", f"import sys, django; django.setup()\n{script}", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


#: What is described, and a name.
ASK = """
import json
from gallery.services import installs
print(installs.request_apply(json.loads(sys.argv[1]), sys.argv[2], None).pk)
"""

#: The job, the limit on the size of files, and a file to wait for; the last two may be empty.
RUN = """
import os, resource, time
from uuid import UUID
from gallery.models import Job
from gallery.services import installs, running
print("ready", flush=True)
if sys.argv[2]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
while sys.argv[3] and not os.path.exists(sys.argv[3]):
    time.sleep(0.001)
running.run(UUID(sys.argv[1]), installs.run_install)
job = Job.objects.get(pk=sys.argv[1])
print(job.state, job.cause, job.error, [event.to_state for event in job.events.all()].count("resolving"), sep="|")
"""


def described(server: Server, body: bytes, name: str) -> str:
    uri = server.gives(f"/{name}", body, pause=0.01)
    return json.dumps(
        {
            "config_file": {"backend": "llama-cpp", "parameters": {"model": f"{name}.gguf"}},
            "files": [{"filename": f"{name}.gguf", "uri": uri}],
        }
    )
