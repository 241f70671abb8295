"""What a person can wish of a model, and the instance that stands for it on this node."""

import time
from threading import Event
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import IntegrityError

from models.configs import ModelConfig
from models.inventory import config_folder
from models.models import Instance
from models.runtime.backends import backend_for
from models.states import ALIVE

_LOOK = 0.2


class ModelUnknown(Exception):
    """No model of that name is here. A retry does not help."""

    retry: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no model named {name} here; install it from the gallery, or check the name.")
        self.name = name


class ModelNotLoaded(ModelUnknown):
    """The model has never been loaded on this node, so there is nothing to stop or to ask. A retry does not help."""

    def __init__(self, name: str) -> None:
        Exception.__init__(self, f"The model {name} is not loaded on this node; load it first.")
        self.name = name


def find_config(name: str) -> ModelConfig | None:
    """The configuration of a model; of one that only stands for another, the other's."""
    config = config_folder().get(name)
    return config_folder().get(config.alias) if config and config.alias else config


def instance_for(name: str) -> Instance | None:
    """The instance of a model on this node; None when it was never loaded. An alias means the model it stands for."""
    mine = Instance.objects.on_this_node()
    if found := mine.filter(name=name).first():
        return found
    config = config_folder().get(name)
    return mine.filter(name=config.alias).first() if config and config.alias else None


def request_load(name: str, by: AbstractBaseUser | AnonymousUser | None) -> Instance:
    """Record the wish that a model runs; the agent does the rest. Raises ModelUnknown."""
    config = find_config(name)
    if config is None:
        raise ModelUnknown(name)
    instance = _instance(config.name)
    if not instance.backend:
        instance.backend = backend_for(config.backend, config.model_file)
        Instance.objects.filter(pk=instance.pk).update(backend=instance.backend)
    instance.request_load(_person(by))
    return instance


def request_stop(name: str, by: AbstractBaseUser | AnonymousUser | None) -> Instance:
    """Record the wish that a model is shut down. Raises ModelNotLoaded, or ModelUnknown without such a model."""
    instance = instance_for(name)
    if instance is None:
        raise ModelNotLoaded(name) if config_folder().get(name) else ModelUnknown(name)
    instance.request_stop(_person(by))
    return instance


def wait_stopped(instance: Instance, seconds: float, interrupted: Event | None = None) -> bool:
    """Wait until nothing of the instance runs; False when it still does after `seconds`, or when interrupted.

    For those who need its files: ask with `request_stop` first.
    """
    interrupted = interrupted or Event()
    deadline = time.monotonic() + seconds
    while Instance.objects.filter(pk=instance.pk, state__in=ALIVE).exists():
        if time.monotonic() >= deadline or interrupted.wait(_LOOK):
            return False
    instance.refresh_from_db()
    return True


def _instance(name: str) -> Instance:
    """Two people may ask for the first load at once: the second one gets the row the first one made."""
    try:
        return Instance.objects.get_or_create(name=name, node=settings.NODE)[0]
    except IntegrityError:
        return Instance.objects.get(name=name, node=settings.NODE)


def _person(by: AbstractBaseUser | AnonymousUser | None) -> AbstractBaseUser | None:
    return by if isinstance(by, AbstractBaseUser) else None
