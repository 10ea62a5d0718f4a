"""YAML that would build objects is refused, and builds none."""

import pytest
from pydantic.dataclasses import dataclass

from deixis.core.config import STRICT, load_params, read_section
from deixis.core.errors import ConfigError
from deixis.core.yaml_names import refuse_misread_names
from deixis.training.fit import Recipe
from deixis.weights.cards import find_card
from deixis.weights.locate import PINS, read_pins

OBJECTS = (
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trap}]]",
    "!!python/object/new:os.system [touch {trap}]",
    "!!python/name:os.system",
    "!Anything {{a: 1}}",
)


@pytest.fixture(params=OBJECTS)
def hostile(tmp_path, request):
    """A file with an object under `card`, and what would appear if it were built."""
    trap = tmp_path / "trap"
    path = tmp_path / "hostile.yaml"
    path.write_text("card: " + request.param.format(trap=trap) + "\n")
    yield path
    assert not trap.exists()


def test_settings_hold_plain_values_only(hostile):
    with pytest.raises(ConfigError, match=r"hostile\.yaml: not valid YAML"):
        load_params(hostile)
    with pytest.raises(ConfigError, match=r"hostile\.yaml: not valid YAML"):
        read_section(hostile, "card", dict)


def test_cards_and_pins_hold_plain_values_only(hostile):
    with pytest.raises(ConfigError, match="not valid YAML"):
        find_card("hostile", hostile.parent)
    hostile.rename(hostile.with_name(PINS))
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_pins(hostile.parent)


def test_a_value_that_aliases_multiply_is_shown_by_its_beginning(tmp_path):
    """Twenty lines of ten aliases each stand for 10^20 values; a message that spells them out never ends."""
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]" for n in range(1, 20)]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join([*lines, "seed: *a19", "recipe: {epochs: *a19, unknown: *a19}"]) + "\n", encoding="utf-8")
    for section, kind in (("seed", int), ("recipe", Recipe)):
        with pytest.raises(ConfigError, match=rf"{section}(\.epochs)? is \[\[\[\.\.\.\], .* Fix") as refused:
            read_section(path, section, kind)
        assert len(str(refused.value)) < 2000 + len(str(path))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("2024", "a number"), ("1e3", "a number"), ("0x10", "a number"), ("1_000", "a number"), ("null", "nothing"),
     ("~", "nothing"), ("true", "true or false"), ("2024-05-01", "a date")],
)  # fmt: skip
def test_a_name_that_yaml_does_not_read_as_text_is_wanted_in_quotes(tmp_path, name, kind):
    path = tmp_path / "params.yaml"
    path.write_text(f"datasets:\n  {name}: {{adapter: pairs}}\n")
    message = rf'datasets has the name {name}, which YAML reads as {kind}\. .*Write "{name}": in place of {name}: there'
    with pytest.raises(ConfigError, match=message):
        read_section(path, f"datasets.{name}", dict)
    with pytest.raises(ConfigError, match=rf"YAML reads as {kind}"):
        refuse_misread_names(load_params(path)["datasets"], "datasets", path)
    with pytest.raises(ConfigError, match='datasets has no "other"'):
        read_section(path, "datasets.other", dict)
    path.write_text(f'datasets:\n  "{name}": {{adapter: pairs}}\n')
    assert read_section(path, f"datasets.{name}", dict) == {"adapter": "pairs"}


@dataclass(frozen=True, config=STRICT)
class Lists:
    datasets: tuple[str, ...]


@pytest.mark.parametrize("name", ["2024", "null", "true"])
def test_a_name_in_a_list_that_yaml_does_not_read_as_text_is_wanted_in_quotes(tmp_path, name):
    path = tmp_path / "params.yaml"
    path.write_text(f"run: {{datasets: [{name}]}}\n")
    with pytest.raises(
        ConfigError, match=rf'run\.datasets\.0 is .*YAML reads .* there; write it in quotes, as "{name}"'
    ):
        read_section(path, "run", Lists)
