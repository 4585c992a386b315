"""The strict reader: nothing is guessed, nothing is dropped, and every refusal says where and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from genba.config import read_toml, read_toml_text, to_toml
from genba.errors import ConfigError


@dataclass(frozen=True)
class Wheel:
    radius_m: float

    def __post_init__(self) -> None:
        if self.radius_m <= 0:
            raise ValueError(f"radius_m: got {self.radius_m}, expected more than 0")


@dataclass(frozen=True)
class Car:
    name: str
    seats: int = 5
    electric: bool = False
    drive: Literal["front", "rear"] = "front"
    wheel: tuple[Wheel, ...] = ()
    note: str | None = None


def _read(text: str) -> Car:
    return read_toml_text(text, Car, where="car.toml")


def test_facts_are_read_and_what_is_left_out_has_its_default():
    car = _read('name = "a"\nseats = 2\n[[wheel]]\nradius_m = 1\n')
    # An integer is a fine number; it becomes a float.
    assert car == Car(name="a", seats=2, wheel=(Wheel(1.0),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"car.toml: name: missing; expected a string"),
        ("name = 3", r"car.toml: name: got 3 \(int\), expected a string"),
        ('name = "a"\nseat = 2', r"car.toml: seat: unknown key; did you mean 'seats'\?"),
        ('name = "a"\nzzzz = 2', r"zzzz: unknown key; known: drive, electric, name, note, seats, wheel"),
        ('name = "a"\nseats = 2.0', r"seats: got 2.0 \(float\), expected an integer"),
        ('name = "a"\nseats = true', r"seats: got True \(bool\), expected an integer"),
        ('name = "a"\nelectric = 1', r"electric: got 1 \(int\), expected true or false"),
        ('name = "a"\ndrive = "both"', r"drive: got 'both' \(str\), expected one of 'front', 'rear'"),
        ('name = "a"\nwheel = 4', r"wheel: got 4 \(int\), expected a list of Wheel"),
        ('name = "a"\nwheel = [4]', r"wheel\[0\]: got 4 \(int\), expected a table of Wheel"),
        ('name = "a"\n[[wheel]]\nradius_m = -1.0', r"car.toml: wheel\[0\]: radius_m: got -1.0, expected more than 0"),
        ('name = "a"\n[[wheel]]\nradius_m = inf', r"wheel\[0\].radius_m: got inf \(float\), expected a finite number"),
        ("name = ", r"car.toml: not valid TOML"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message):
        _read(text)


def test_a_file_is_named_by_its_path(tmp_path):
    path = tmp_path / "car.toml"
    path.write_text("name = 3")
    with pytest.raises(ConfigError, match=r"car\.toml: name"):
        read_toml(path, Car)
    with pytest.raises(ConfigError, match="no such file"):
        read_toml(tmp_path / "none.toml", Car)


def test_what_is_written_reads_back_equal():
    odd = 'a "quoted" \\ name\n\twith \x7f and 現場'
    car = Car(name=odd, electric=True, drive="rear", wheel=(Wheel(0.3), Wheel(1e-9)))
    text = to_toml(car)
    assert _read(text) == car
    # What stands at its default is left out.
    assert "seats" not in text and "note" not in text


def test_what_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "car.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"car.toml: not UTF-8 text .*; expected a TOML file with Car facts"):
        read_toml(tmp_path / "car.toml", Car)
    with pytest.raises(ConfigError, match=r": Is a directory; expected a TOML file with Car facts"):
        read_toml(tmp_path, Car)
