"""Embodiments: facts that do not fit together are refused with the file, the place and the nearest right word."""

from __future__ import annotations

import pytest
import toy

from genba.config import read_toml_text, to_toml
from genba.errors import ConfigError
from genba.registry import EMBODIMENTS
from genba.spec.embodiment import Dimension, Embodiment, load_embodiment


def _read(text: str) -> Embodiment:
    return read_toml_text(text, Embodiment, where="toy.toml")


@pytest.mark.parametrize(
    ("facts", "got", "wrong", "message"),
    [
        (
            "CART",
            'unit = "N"',
            'unit = "Newton"',
            r"toy.toml: action.continuous\[0\]: unit: got 'Newton', expected a known",
        ),
        (
            "CART",
            "low = -10.0",
            "low = 10.0",
            r"toy.toml: action.continuous\[0\]: low: got 10.0, expected less than high",
        ),
        ("CART", "rate_limit = 100.0", "rate_limit = -1.0", r"rate_limit: got -1.0, expected at least 0"),
        ("CART", "rate_limit = 100.0", "rate_limits = 1.0", r"rate_limits: unknown key; did you mean 'rate_limit'\?"),
        ("CART", "rate_limit = 100.0", "rate_limit = 1.0\nsafe = 11.0", r"safe: got 11.0, expected between low"),
        ("CART", "rate_limit = 100.0", 'rate_limit = 1.0\nrelative_to = "cart.positon"', r"did you mean 'position'\?"),
        ("CART", "rate_limit = 100.0", 'rate_limit = 1.0\nrelative_to = "cat.position"', r"no telemetry channel 'cat'"),
        ("CART", "rate_limit = 100.0", 'rate_limit = 1.0\non_fault = "explode"', r"expected one of 'hold', 'safe'"),
        ("CART", "rate_hz = 100.0", "rate_hz = 0.0", r"telemetry\[0\]: rate_hz, history_s: got 0.0"),
        (
            "CART",
            "rate_hz = 100.0",
            'rate_hz = "fast"',
            r"telemetry\[0\].rate_hz: got 'fast' \(str\), expected a number",
        ),
        (
            "CART",
            "rate_hz = 100.0",
            "rate_hz = nan",
            r"telemetry\[0\].rate_hz: got nan \(float\), expected a finite number",
        ),
        (
            "CART",
            'frame = "rail"',
            'frame = "rial"',
            r"cart.frame: got 'rial', expected one of frames; did you mean 'rail'\?",
        ),
        ("CART", 'name = "goal"', 'name = "cart"', r"'cart' stands twice"),
        ("CART", 'name = "goal"', 'name = "the goal"', r"got 'the goal', expected lower-case letters"),
        ("CART", "execute_length = 4", "execute_length = 9", r"got 9, expected between 1 and chunk_length \(8\)"),
        ("CART", "horizon = 4", "horizon = 0", r"control: horizon: got 0, expected at least 1"),
        ("CART", "period_s = 0.05", "", r"control.period_s: missing; expected a number"),
        ("CART", '"toy/cart@1"', '"cart"', r"id: got 'cart', expected 'kind/name@version'"),
        ("LINES", 'over = "lines"', 'over = "line"', r"choice line_for_order: no entity channel 'line'; did you mean"),
        ("LINES", 'source = "orders"', 'source = "order"', r"relation capability: no entity channel 'order'"),
        ("LINES", 'kind = "rank"', 'kind = "assign"', r"got kind 'assign', expected both with 'assign'"),
        (
            "LINES",
            'allowed_by = "capability"',
            'allowed_by = "able"',
            r"allowed_by: got 'able', expected a relation from",
        ),
    ],
)
def test_a_wrong_fact_is_refused_in_words(facts, got, wrong, message):
    text = getattr(toy, f"{facts}_TOML")
    assert got in text, "the test must change something"
    with pytest.raises(ConfigError, match=message) as caught:
        _read(text.replace(got, wrong, 1))
    assert str(caught.value).startswith("toy.toml")


def test_classes_need_the_unit_id_and_exactly_their_numbers():
    with pytest.raises(ValueError, match="categories: got 0 with unit 'id'"):
        Dimension(name="kind", unit="id", low=0, high=2)
    with pytest.raises(ValueError, match="low, high: got 0, 3, expected 0 and 2"):
        Dimension(name="kind", unit="id", low=0, high=3, categories=3)
    assert Dimension(name="kind", unit="id", low=0, high=2, categories=3).width == 3


def test_a_repeated_dimension_is_written_out_by_number():
    text = toy.CART_TOML.replace(
        '{ name = "velocity"', '{ name = "ray", unit = "m", low = 0.0, high = 9.0, repeat = 3 },\n  { name = "velocity"'
    )
    names = [dimension.name for dimension in _read(text).channel("cart").dimensions]
    assert names == ["position", "ray_0", "ray_1", "ray_2", "velocity"]


def test_a_reference_to_a_dimension_leads_to_its_column():
    assert toy.CART_FACTS.locate("cart.velocity") == ("cart", 1)


def test_a_window_holds_history_times_rate_samples():
    # 0.1 s at 100 Hz; and 0.05 s at 20 Hz is one.
    assert [channel.num_samples for channel in toy.CART_FACTS.telemetry] == [10, 1]


def test_an_unknown_channel_is_named_with_its_nearest():
    with pytest.raises(KeyError, match="did you mean 'orders'"):
        toy.LINES_FACTS.channel("order")


def test_an_embodiment_can_be_read_from_a_file_of_ones_own(tmp_path):
    path = tmp_path / "cart.toml"
    path.write_text(toy.CART_TOML)
    assert load_embodiment(path) == toy.CART_FACTS


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent.toml: no such file; expected a TOML file with Embodiment facts"):
        load_embodiment(tmp_path / "absent.toml")


@pytest.mark.parametrize("embodiment_id", sorted(EMBODIMENTS))
def test_every_registered_machine_survives_being_written(embodiment_id):
    embodiment = load_embodiment(embodiment_id)
    assert read_toml_text(to_toml(embodiment), Embodiment, where="written") == embodiment
