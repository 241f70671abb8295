"""A console that has been used: a gallery, a loaded model, one with an update, jobs that went well and badly."""

import json
import time
from pathlib import Path

from tests.fakes import tiny_gguf
from tests.fakes.console import Console
from tests.fakes.real_gallery import index

TINY = """
name: tiny
backend: llama-cpp
description: A tiny model with random weights.
known_usecases: [chat]
context_size: 512
parameters:
  model: tiny.gguf
template:
  use_tokenizer_template: true
"""

SCRIPT = """
import json, pathlib, time
from django.contrib.auth.models import Group, User
from gallery.models import Gallery, Entry, Job
from gallery.services import installs, plans, refresh
from models import services
person = User.objects.create_superuser({name!r}, password={password!r})
person.groups.set(Group.objects.filter(name="administrator"))
gallery = Gallery.objects.create(name="seed", url="file://{index}", position=0)
error = "gallery.invalid cannot be found. Check the address, or the network of this machine."
Gallery.objects.create(name="lost", url="https://gallery.invalid/index.yaml", position=1, error=error)
refresh.refresh_now(gallery.pk)
refresh.request_refresh(gallery, person)
entry = next(entry for entry in Entry.objects.filter(gallery=gallery) if len(entry.name) > 60)
broken = Gallery.objects.create(name="own", url="file://{own}", position=2)
refresh.refresh_now(broken.pk)
failed = installs.request_install(Entry.objects.get(gallery=broken, name="lost-file"), "", person)
good = installs.request_install(Entry.objects.get(gallery=broken, name="small"), "", person)
services.request_load("tiny", person)
end = time.time() + 60
while time.time() < end:
    failed.refresh_from_db(); good.refresh_from_db()
    if not failed.is_active and not good.is_active and services.instance_for("tiny").is_ready: break
    time.sleep(0.2)
else:
    tiny = services.instance_for("tiny")
    raise SystemExit(f"{{failed.state}} {{good.state}} {{good.error}} {{tiny.state}} {{tiny.reason}}")
offered = pathlib.Path("{own}")
offered.write_text(offered.read_text().replace("{{model: small.gguf}}", "{{model: small.gguf}}, context_size: 512"))
refresh.refresh_now(broken.pk)
owned = [Entry.objects.get(gallery=broken, name=name) for name in ("small", "lost-file")]
wishes = [installs.wish_for(one, f"my-{{one.name}}") for one in owned]
found = [plans.request_plan(wish, person) for wish in wishes]
while any(plan.state == plan.WORKING for plan in found) and time.time() < end:
    time.sleep(0.2)
    for plan in found: plan.refresh_from_db()
jobs = {{"plan": found[0].get_absolute_url(), "refused_plan": found[1].get_absolute_url()}}
jobs |= {{"failed_job": failed.get_absolute_url(), "done_job": good.get_absolute_url()}}
print("SEED " + json.dumps({{"entry": entry.name, **jobs}}))
"""

OWN = """
- name: small
  description: Two files that are there.
  license: mit
  tags: [llm, chat]
  overrides: {{backend: llama-cpp, parameters: {{model: small.gguf}}}}
  files:
    - {{filename: small.gguf, uri: "file://{file}"}}
    - {{filename: small.tmpl, uri: "file://{file}"}}
- name: lost-file
  description: A file that is not there.
  license: mit
  overrides: {{backend: llama-cpp, parameters: {{model: lost.gguf}}}}
  files:
    - {{filename: lost.gguf, uri: "file://{folder}/nowhere.gguf"}}
"""


def seed(console: Console, folder: Path, name: str, password: str) -> dict[str, str]:
    """Needs LOCALAI_ADMIN_FILE_ROOTS to name the folder. Returns the names that pages are asked for with."""
    models = console.data / "models"
    file = tiny_gguf.write(models / "tiny.gguf")
    source = folder / "small.gguf"
    source.write_bytes(file.read_bytes())
    (models / "tiny.yaml").write_text(TINY)
    (folder / "own.yaml").write_text(OWN.format(file=source, folder=folder))
    script = SCRIPT.format(name=name, password=password, index=index(folder), own=folder / "own.yaml")
    output = console.manage("shell", "-v", "0", "-c", script)
    line = next(line for line in output.splitlines() if line.startswith("SEED "))
    time.sleep(3)
    return dict(json.loads(line.removeprefix("SEED ")))
