"""Names and ids of machines known from their logs never change: what is stored under them must be found again."""

from genba.data.readers.message_batches import snake
from genba.data.readers.plain_names import log_id, numbered, plain_name, snake_case


def test_the_three_spellings_stay_what_they_are():
    names = ["EngineSpeed", "aBCd", "Gripper.pos", "__x__", "関節", ""]
    assert [plain_name(n) for n in names] == ["enginespeed", "abcd", "gripper_pos", "x", "unnamed", "unnamed"]
    assert [snake_case(n) for n in names] == ["engine_speed", "a_bcd", "gripper_pos", "x", "unnamed", "unnamed"]
    assert [snake(n) for n in names] == ["engine_speed", "a_b_cd", "gripper_pos", "x", "value", "value"]


def test_later_ones_are_numbered_past_what_is_taken():
    assert numbered(["a", "a", "a_2", "a"]) == ["a", "a_2", "a_2_2", "a_3"]
    assert numbered(["a", "b"], reserved=["b", "b_2"]) == ["a", "b_3"]


def test_ids_are_a_kind_and_twelve_digits():
    digest = "sha256:0123456789abcdef"
    assert log_id("can", digest) == "log/can-0123456789ab@1"
    assert log_id("", digest) == "log/0123456789ab@1"
