"""The environment of a backend: a few names of the console's own, and no secret."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
#: Which devices a backend may see, and how it uses them.
_DEVICES = ("CUDA_", "HIP_", "NVIDIA_", "ROCR_", "HSA_")
#: Libraries put what they fetch here; the models folder when nothing else is set.
_CACHES = ("HF_HOME", "TRANSFORMERS_CACHE", "HUGGINGFACE_HUB_CACHE")
#: Never handed on, even when they are asked for by name: these are the console's, and some of them are secret.
_CONSOLE = ("LOCALAI_ADMIN_", "DATABASE_URL", "REDIS_URL", "DJANGO_")


def backend_environment(
    inherited: Mapping[str, str], *, models_path: Path, names: Iterable[str] = ()
) -> dict[str, str]:
    """What a backend gets of `inherited`, with `names` beside the few it always gets, and what the console adds."""
    asked = {name for name in names if not name.startswith(_CONSOLE)}
    result = {
        name: value
        for name, value in inherited.items()
        if name in _INHERITED or name in asked or name.startswith(_DEVICES)
    }
    for cache in _CACHES:
        result[cache] = inherited.get(cache) or str(models_path)
    return result | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH") or os.defpath]),
        "PYTHONUNBUFFERED": "1",
        "LOCALAI_BACKEND_PYTHON": sys.executable,
        # A backend outlives the agent, which finds it again.
        "LOCALAI_BACKEND_PARENT_WATCH": "false",
        # With the default of one, a Python backend cannot answer Health while it works.
        "PYTHON_GRPC_MAX_WORKERS": "4",
    }
