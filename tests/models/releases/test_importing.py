"""What an import refuses and reports."""

import pytest
import torch

from commands.weights import app
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_json
from models.releases.importing import import_release
from tests.models.releases import layouts
from tests.models.releases.files import import_state, write_annotations, write_checkpoint


def released(words: int = len(layouts.TOKENS)) -> dict[str, torch.Tensor]:
    """A RefCLIP on the small world's detector."""
    shapes = layouts.text(words=words, word_width=6, width=8, feedforward=8, layers=1)
    shapes |= layouts.linear("linear_vs", 16, 8) | layouts.linear("linear_ts", 8, 8)
    return layouts.draw(shapes | layouts.fusion("multi_scale_manner", (8, 16, 24), 16))


@pytest.fixture(scope="module")
def imported(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refclip")
    return import_state("refclip", released(), folder, weights=world / "data/weights/embedded")[0]


def test_it_names_every_tensor_that_does_not_fit(tmp_path):
    state = released()
    state["linear_vs.weight"] = state["linear_vs.weight"][:, :3]
    state["linear_xs.weight"] = state.pop("linear_ts.weight")
    with pytest.raises(DataError, match=r"linear_xs\.weight") as error:
        import_state("refclip", state, tmp_path)
    assert "1 missing: matcher.text_project.weight" in str(error.value)
    assert "matcher.anchor_project.weight [8, 3] for [8, 16]" in str(error.value)
    assert not (tmp_path / "imported").exists()


def test_another_models_file_is_refused_by_what_it_lacks(tmp_path):
    with pytest.raises(DataError, match=r"lacks matcher.anchor_project.weight.*has 2 other"):
        import_state("refclip", layouts.draw(layouts.linear("fc", 3, 4)), tmp_path)


def test_two_tensors_of_one_meaning_are_refused(tmp_path):
    state = released()
    state["matcher.text_project.weight"] = state["linear_ts.weight"]
    with pytest.raises(DataError, match="mean the same"):
        import_state("refclip", state, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share):
    file, tokens = write_checkpoint(released(), tmp_path / "cut.pth"), write_annotations(tmp_path / "anns.json")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(DataError, match=r"cut\.pth"):
        import_release("refclip", file, tmp_path / "out", tokens=tokens)


def test_a_file_that_runs_code_is_not_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    torch.save({"state_dict": released(), "trap": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(DataError, match="would execute"):
        import_release(
            "refclip", tmp_path / "trap.pth", tmp_path / "out", tokens=write_annotations(tmp_path / "anns.json")
        )
    assert not (tmp_path / "sprung").exists()


def test_the_token_list_must_be_as_long_as_the_word_table(tmp_path):
    with pytest.raises(DataError, match=r"vectors of 11 tokens, and the token list has 10"):
        import_state("refclip", released(words=11), tmp_path)


def test_an_unknown_release_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"Known: .*refclip"):
        import_release("reclip", tmp_path / "a", tmp_path / "b", tokens=tmp_path / "c")


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("text.length", "name=value"),
        ("joint_width.x=3", "name=value"),
        ("text.lenght=3", "lenght"),
        ("text.length=[", "YAML"),
        ("text.length=many", "valid integer"),
    ],
)
def test_settings_that_are_none_are_refused(tmp_path, setting, problem):
    with pytest.raises(ConfigError, match=problem):
        import_state("refclip", released(), tmp_path, settings=[setting])


def test_the_card_says_where_it_comes_from(imported):
    card = read_json(imported / "config.json", made_by="the import")
    assert card["teacher"] == "refclip" and card["vocabulary"] == layouts.TOKENS
    assert card["imported"]["release"] == "refclip" and len(card["imported"]["sha256"]) == 64
    assert "true boxes" in card["selection"]


def test_the_command_reports_what_it_did(world, tmp_path, capsys):
    file, tokens = write_checkpoint(released(), tmp_path / "det_best.pth"), write_annotations(tmp_path / "anns.json")
    words = ["import-model", "refclip", str(file), str(tmp_path / "out"), "--tokens", str(tokens)]
    app([*words, "--set", "text.length=9"], result_action="return_value", exit_on_error=False)
    said = capsys.readouterr().out
    assert f"{len(released())} tensors" in said and "still lacking: detector, segmenter" in said
    weights = world / "data/weights/embedded"
    app([*words, "--weights", str(weights)], result_action="return_value", exit_on_error=False)
    assert "linked from" in (said := capsys.readouterr().out) and "lacking" not in said
