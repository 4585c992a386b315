"""Every registered name leads to what it promises, and no plug point is left out of its registry."""

from __future__ import annotations

import importlib
import re

import pytest
import typer

from genba import registry
from genba.cli.main import COMMANDS
from genba.spec.embodiment import load_embodiment
from genba.spec.normalise import packed_shapes
from genba.spec.protocols import Reader
from genba.spec.task import Task

_ID = re.compile(r"[a-z]+/[a-z0-9-]+@[0-9]+")


@pytest.mark.parametrize("embodiment_id", registry.EMBODIMENTS)
def test_every_embodiment_loads_under_its_own_id(embodiment_id):
    embodiment = load_embodiment(embodiment_id)
    assert embodiment.id == embodiment_id and _ID.fullmatch(embodiment_id)
    assert packed_shapes(embodiment)


@pytest.mark.parametrize("task_id", registry.TASKS)
def test_every_task_is_whole_and_for_a_registered_machine(task_id):
    task = registry.task(task_id)
    assert isinstance(task, Task)
    assert task.id == task_id and _ID.fullmatch(task_id)
    assert task.embodiment == load_embodiment(task.embodiment.id)
    assert len(task.test_seeds) >= 30
    assert len(task.train_seeds) == 0 if task_id in registry.HELD_OUT_TASKS else len(task.train_seeds) >= 1000
    assert all(metric.meaning for metric in task.metrics)


@pytest.mark.parametrize("name", registry.READERS)
def test_every_reader_is_one_and_bears_its_name(name):
    reader = registry.resolve(registry.READERS[name])()
    assert isinstance(reader, Reader) and reader.name == name


@pytest.mark.parametrize("noun", COMMANDS)
def test_every_command_of_the_command_line_exists(noun):
    assert isinstance(importlib.import_module(COMMANDS[noun][0]).app, typer.Typer)
