"""A run of the toys, made once by the real parts: rolled out, trained lines written, drawn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import toy

from genba.bench.rollout import roll_out
from genba.report.run import RunRecord, Stage, write_pictures
from genba.spec.task import Picture

#: The smallest PNG there is: one transparent pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "toy-run"
    for task, policies in (("toy:CART", ("expert", "zero")), ("toy:LINES", ("expert", "most_slack"))):
        for policy in policies:
            seeds = toy.CART.test_seeds[:6]
            result = roll_out(task, policy, seeds=seeds, workers=0, progress=False)
            result.write(run_dir / "results" / f"{result.task.replace('/', '-')}-{policy}.json")
            if policy == "expert" and task == "toy:CART":
                # What a page shows of a model is the same file with another kind; no network is needed for it.
                as_model = dataclasses.replace(result, policy="model", kind="model", weights_digest="ab" * 32)
                as_model.write(run_dir / "results" / "toy-model.json")
    lines: list[dict[str, float]] = [
        {"step": step, "time_s": step * 0.1, "loss": 2.0, "loss/toy/cart@1/flow": 2.0 / (1 + step)}
        for step in range(0, 100, 10)
    ]
    lines.append({"step": 99, "eval/toy/cart@1/world_error": 0.25, "eval/toy/cart@1/persistence_error": 0.5})
    (run_dir / "train").mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run_dir / "train" / "metrics.jsonl").write_text(text + '{"step": 100, "lo')
    picture = Picture(title="Cart <at> work", caption="pushed", media_type="image/png", data=PIXEL)
    write_pictures(run_dir, "toy/reach@1", [picture, picture])
    RunRecord(
        command="genba demo",
        commit="0123456789abcdef",
        preset="toy",
        num_parameters=1_234_567,
        stages=(Stage(name="Record", wall_s=30.0), Stage(name="Train", wall_s=90.0, detail="100 train steps")),
        budget_s=900.0,
        cut_short=("Trained half of its steps.",),
    ).write(run_dir)
    return run_dir
