"""The fifty tasks by name: what each wants in words, how hard it is held to be, and the sets that benchmarks make of them.

Words are this project's. The sets and their order are those of Meta-World 3.1.1 (a test compares them with the package), so that
this file, and all that only lists tasks, needs no simulator. Read next: ``simulator``.
"""

from __future__ import annotations

#: Task name -> what is wanted, at most 64 bytes; no two alike.
INSTRUCTIONS: dict[str, str] = {
    "assembly-v3": "lift the nut and put it over the peg",
    "basketball-v3": "drop the ball through the hoop",
    "bin-picking-v3": "carry the puck from one bin to the other bin",
    "box-close-v3": "take the lid and close the box with it",
    "button-press-topdown-v3": "press the button from above",
    "button-press-topdown-wall-v3": "press the button from above, over the wall",
    "button-press-v3": "press the button from the front",
    "button-press-wall-v3": "press the button from the front, past the wall",
    "coffee-button-v3": "press the button of the coffee machine",
    "coffee-pull-v3": "pull the mug away from the coffee machine",
    "coffee-push-v3": "push the mug under the coffee machine",
    "dial-turn-v3": "turn the dial",
    "disassemble-v3": "lift the nut off the peg",
    "door-close-v3": "close the door",
    "door-lock-v3": "turn the lock to lock the door",
    "door-open-v3": "open the door",
    "door-unlock-v3": "turn the lock to unlock the door",
    "hand-insert-v3": "put the hand into the hole",
    "drawer-close-v3": "push the drawer shut",
    "drawer-open-v3": "pull the drawer open",
    "faucet-open-v3": "turn the faucet open",
    "faucet-close-v3": "turn the faucet shut",
    "hammer-v3": "drive the nail into the wall with the hammer",
    "handle-press-side-v3": "press the handle down from the side",
    "handle-press-v3": "press the handle down from the front",
    "handle-pull-side-v3": "pull the handle up from the side",
    "handle-pull-v3": "pull the handle up from the front",
    "lever-pull-v3": "pull the lever up",
    "pick-place-wall-v3": "carry the puck over the wall to the goal",
    "pick-out-of-hole-v3": "take the puck out of the hole",
    "pick-place-v3": "carry the puck to the goal in the air",
    "plate-slide-v3": "slide the plate into the goal, ahead",
    "plate-slide-side-v3": "slide the plate into the goal, to the side",
    "plate-slide-back-v3": "slide the plate out of the goal, back",
    "plate-slide-back-side-v3": "slide the plate out of the goal, to the side",
    "peg-insert-side-v3": "put the peg into the hole in the side",
    "peg-unplug-side-v3": "pull the peg out to the side",
    "soccer-v3": "push the football into the net",
    "stick-push-v3": "push the thermos with the stick",
    "stick-pull-v3": "pull the thermos with the stick through its handle",
    "push-v3": "push the puck to the goal",
    "push-wall-v3": "push the puck around the wall to the goal",
    "push-back-v3": "pull the puck back to the goal",
    "reach-v3": "move the hand to the goal",
    "reach-wall-v3": "move the hand past the wall to the goal",
    "shelf-place-v3": "put the puck on the shelf",
    "sweep-into-v3": "sweep the puck into the hole",
    "sweep-v3": "sweep the puck off the table",
    "window-open-v3": "slide the window open",
    "window-close-v3": "slide the window shut",
}

MT10: tuple[str, ...] = (
    "reach-v3",
    "push-v3",
    "pick-place-v3",
    "door-open-v3",
    "drawer-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "peg-insert-side-v3",
    "window-open-v3",
    "window-close-v3",
)
MT50: tuple[str, ...] = tuple(INSTRUCTIONS)
#: The five that ML45 keeps from training, and the rest.
ML45_TEST: tuple[str, ...] = ("bin-picking-v3", "box-close-v3", "hand-insert-v3", "door-lock-v3", "door-unlock-v3")
ML45_TRAIN: tuple[str, ...] = tuple(name for name in MT50 if name not in ML45_TEST)

#: Group -> its tasks; all others are ``easy``. Source: the grouping that published scores are reported in (Seo et al. 2022,
#: "Masked world models for visual control", arXiv 2206.14244, appendix), for the same tasks in version 3.
HARDER: dict[str, frozenset[str]] = {
    "medium": frozenset(
        f"{name}-v3"
        for name in (
            *("basketball", "bin-picking", "box-close", "coffee-pull", "coffee-push", "hammer", "peg-insert-side"),
            *("push-wall", "soccer", "sweep", "sweep-into"),
        )
    ),
    "hard": frozenset(
        f"{name}-v3" for name in ("assembly", "hand-insert", "pick-out-of-hole", "pick-place", "push", "push-back")
    ),
    "very_hard": frozenset(
        f"{name}-v3" for name in ("shelf-place", "disassemble", "stick-pull", "stick-push", "pick-place-wall")
    ),
}
GROUPS: tuple[str, ...] = ("easy", *HARDER)


def group(name: str) -> str:
    """Return how hard a task is held to be: one of ``GROUPS``."""
    return next((level for level, names in HARDER.items() if name in names), "easy")
