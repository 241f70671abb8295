import os
import sys
from pathlib import Path

from models.runtime.environment import backend_environment

MODELS = Path("/data/models")
CONSOLE = {
    "HOME": "/home/me",
    "PATH": "/usr/bin",
    "CUDA_VISIBLE_DEVICES": "1",
    "LD_LIBRARY_PATH": "/opt/cuda/lib",
    "HF_TOKEN": "hf_secret",
    "LOCALAI_ADMIN_SECRET_KEY": "secret",
    "DATABASE_URL": "postgres://me:secret@db/console",
    "REDIS_URL": "redis://:secret@queue",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "VLLM_LOGGING_LEVEL": "debug",
}


def test_a_backend_inherits_no_secret_of_the_console() -> None:
    environment = backend_environment(CONSOLE, models_path=MODELS)
    assert "secret" not in " ".join(environment.values())


def test_what_is_asked_for_by_name_is_handed_on_but_never_what_is_the_consoles_own() -> None:
    names = ["VLLM_LOGGING_LEVEL", "HF_TOKEN", "LOCALAI_ADMIN_SECRET_KEY", "DATABASE_URL", "REDIS_URL"]
    environment = backend_environment(CONSOLE, models_path=MODELS, names=names)
    assert environment["VLLM_LOGGING_LEVEL"] == "debug"
    assert environment["HF_TOKEN"] == "hf_secret"
    assert environment.keys().isdisjoint({"LOCALAI_ADMIN_SECRET_KEY", "DATABASE_URL", "REDIS_URL"})


def test_a_backend_sees_its_devices_and_finds_the_consoles_python_first() -> None:
    environment = backend_environment(CONSOLE, models_path=MODELS)
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["LD_LIBRARY_PATH"] == "/opt/cuda/lib"
    assert environment["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/usr/bin"
    assert environment["LOCALAI_BACKEND_PYTHON"] == sys.executable


def test_libraries_keep_what_they_fetch_in_the_models_folder_unless_told_otherwise() -> None:
    environment = backend_environment({"HF_HOME": "/cache"}, models_path=MODELS)
    assert environment["HF_HOME"] == "/cache"
    assert environment["TRANSFORMERS_CACHE"] == environment["HUGGINGFACE_HUB_CACHE"] == str(MODELS)


def test_a_backend_outlives_the_agent_and_answers_while_it_works() -> None:
    environment = backend_environment({}, models_path=MODELS)
    assert environment["LOCALAI_BACKEND_PARENT_WATCH"] == "false"
    assert environment["PYTHON_GRPC_MAX_WORKERS"] == "4"
