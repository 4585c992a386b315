"""Two gloo ranks add up, then two loader workers hand tensors over: ``python two_ranks.py PORT``. Knows of no sandbox."""

import os
import sys

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset


def rank(number: int, port: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    mine = torch.full((4,), float(number + 1))
    dist.all_reduce(mine)
    assert mine.tolist() == [3.0] * 4, mine
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    children = []
    for number in range(2):
        if (child := os.fork()) == 0:
            rank(number, sys.argv[1])
            os._exit(0)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    loader = DataLoader(TensorDataset(torch.arange(64)), batch_size=8, num_workers=2, multiprocessing_context="fork")
    total = sum(int(batch.sum()) for (batch,) in loader)
    # 0 + 1 + ... + 63
    print(statuses, total)


if __name__ == "__main__":
    main()
