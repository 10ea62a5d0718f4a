"""Two commits of a small repository compared: numbers, words, files, and a message for each thing that cannot be."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo

from commands.compare import compare
from commands.comparing.as_markdown import LIMIT, MARKER
from commands.comparing.revisions import Revision
from commands.comparing.seeds import read_seeds
from deixis.core.errors import ConfigError, DataError
from pipelines._comparison import comparison
from tests.commands.results import SETTINGS, commit, git, start, write, write_results
from tests.trainings import answers, hits, images_of_phrases

pytestmark = pytest.mark.slow

HOSTILE = "the `ball` | <script>alert(1)</script>\n![x](http://x) @everyone"


def toy_answers(*, seed: int = 1, skill: float = 0.6) -> pd.DataFrame:
    about = images_of_phrases(np.random.default_rng(0), 60)
    return answers(about, hits(np.random.default_rng(seed), about, skill=skill))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A repository and its commits by name; the working tree is the last."""
    folder = tmp_path_factory.mktemp("repository")
    start(folder)
    (folder / "params.yaml").write_text(SETTINGS)
    commits = {"empty": commit(folder, "Begin")}
    write_results(folder, toy_answers())
    commits["first"] = commit(folder, "Train a teacher")
    write_results(folder, toy_answers(seed=2, skill=1.4), checkpoint="1", code="b")
    (folder / "params.yaml").write_text(SETTINGS.replace("0.07", "0.1"))
    commits["second"] = commit(folder, "Train it longer")
    return folder, commits


@pytest.fixture
def repository(made, tmp_path, monkeypatch) -> Path:
    """A copy that the test may change."""
    folder = tmp_path / "repository"
    shutil.copytree(made[0], folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def commits(made) -> dict[str, str]:
    return made[1]


def written(folder: Path) -> tuple[str, str]:
    return tuple((folder / "comparison" / f"comparison.{kind}").read_text() for kind in ("md", "html"))


def row_of(markdown: str, number: str) -> dict[str, str]:
    """A row of the table of headlines."""
    lines = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")]
    [values] = [line for line in lines if line[1].strip() == number]
    return {name.strip(): value.strip() for name, value in zip(lines[0], values, strict=True)}


def test_two_commits_are_compared_without_a_checkout(repository, commits):
    shutil.rmtree(repository / "reports/samples")  # what remains is in the cache
    shutil.rmtree(repository / "data")
    compare(commits["first"], commits["second"])
    markdown, page = written(repository)
    assert not (repository / "data").exists() and not git(repository, "diff", "--name-only")
    old, new = toy_answers(), toy_answers(seed=2, skill=1.4)
    val = [table.query("split == 'val'")["iou"].mean() for table in (old, new)]
    row = row_of(markdown, "acc50")
    assert [row["base"], row["head"]] == [f"{100 * value:.1f}" for value in val]
    assert row["difference"].startswith(f"{100 * (val[1] - val[0]):+.1f} [") and row["verdict"] == "better"
    assert markdown.startswith(f"{MARKER}\n## 3 better")
    assert (
        "Train it longer" in markdown and "teachers.dvin.temperature" in markdown and "stages.train_teacher" in markdown
    )
    assert "Modules: stages.train_teacher." in markdown
    assert "these two trainings" in markdown and "whether it was the same machine" in markdown
    assert page.count("data:image/jpeg;base64,") > 5
    assert 'src="http' not in page and "href=" not in page


def test_the_working_tree_is_the_other_side_by_default(repository, commits):
    compare("HEAD~1")
    markdown, _ = written(repository)
    assert row_of(markdown, "acc50")["verdict"] == "better" and "head `the working tree`" in markdown
    toy_answers(seed=3).to_parquet(repository / "reports/samples/toy/dvin.parquet")
    compare("HEAD")
    assert row_of(written(repository)[0], "acc50")["verdict"] == "worse"
    assert "its headline file says acc50" in written(repository)[0]  # and its table something else


def test_what_only_the_remote_has_is_read_from_there(repository, commits, tmp_path):
    (repository / ".dvc/cache").rename(tmp_path / "away")  # a remote is laid out as the cache is
    with pytest.raises(DataError, match=r"neither the cache nor the remote has it\. .*dvc push"):
        compare(commits["first"], commits["second"])
    (tmp_path / "away").rename(tmp_path / "remote")
    compare(commits["first"], commits["second"])
    assert row_of(written(repository)[0], "acc50")["verdict"] == "better"


def test_equal_results_are_the_same(repository, commits):
    compare(commits["second"], "HEAD")
    markdown, _ = written(repository)
    assert "3 the same" in markdown and "Every answer is the same: toy/dvin" in markdown
    assert "these two trainings" not in markdown


def test_one_checkpoint_on_both_sides_is_no_training(repository, commits):
    write_results(repository, toy_answers(seed=2, skill=1.6), checkpoint="1")
    compare("HEAD")
    assert row_of(written(repository)[0], "acc50")["compares"] == "the same weights"


def test_a_gate_ends_with_1_where_a_number_is_worse(repository, commits, capsys):
    compare(commits["first"], commits["second"], fail_if_worse=("acc50", "miou"))
    with pytest.raises(SystemExit) as ended:
        compare(commits["second"], commits["first"], fail_if_worse=("acc50",))
    assert ended.value.code == 1
    assert "worse: acc50 of toy/dvin, -" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"is oiou. Allowed: acc50, miou, acc50_testA"):
        compare(commits["second"], commits["first"], fail_if_worse=("oiou",))


def test_the_spread_of_seeds_can_be_counted_in(repository, commits, tmp_path):
    compare(commits["first"], commits["second"])
    alone = row_of(written(repository)[0], "acc50")
    seeds = {"toy": {"dvin": {"acc50": [0.50, 0.62, 0.71, 0.55]}}}
    write(tmp_path / "seeds.json", seeds)
    compare(commits["first"], commits["second"], seed_sd=tmp_path / "seeds.json")
    counted = row_of(written(repository)[0], "acc50")
    assert (alone["verdict"], counted["verdict"]) == ("better", "no difference seen")
    assert counted["compares"] == "seeds counted in"
    assert float(counted["not seen below"]) > 2 * float(alone["not seen below"])
    shutil.copy(tmp_path / "seeds.json", repository / "reports/seeds.json")
    assert read_seeds(None, Revision()) == read_seeds(tmp_path / "seeds.json", Revision())


@pytest.mark.parametrize("content", [{"toy": {"dvin": {"acc50": [0.5]}}}, {"toy": {"dvin": {"acc50": [50, 51]}}}, [1]])
def test_scores_of_seeds_are_fractions_of_several_trainings(repository, commits, tmp_path, content):
    write(tmp_path / "seeds.json", content)
    with pytest.raises(ConfigError, match=r"seeds.json: .* Allowed: .*See docs/reviewing.md"):
        read_seeds(tmp_path / "seeds.json", Revision())


def test_unknown_commits_and_commits_without_results_are_refused(repository, commits, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no-such: no commit that can be read here: .*git fetch --unshallow"):
        compare("no-such")
    with pytest.raises(DataError, match=r"holds no results.*dvc repro, listed in dvc.lock"):
        compare(commits["empty"])
    assert not (repository / "comparison").exists()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="inside the checkout"):
        compare(commits["first"])


def test_results_without_headline_files_are_compared_and_called_so(repository, commits):
    graph = (repository / "dvc.yaml").read_text()
    (repository / "dvc.yaml").write_text(re.sub(r" +metrics: .*headlines.*\n", "", graph))
    (repository / "reports/headlines/toy/dvin.json").unlink()
    older = commit(repository, "As it was before")
    compare(older, commits["first"])
    assert "were made before there were headline files" in written(repository)[0]


def test_phrases_of_one_side_alone_are_counted_and_left_out(repository, commits):
    table = toy_answers(seed=2, skill=1.4)
    table.loc[:6, "expression"] = "another"
    table.loc[7, "true_box"] = [1.0, 2.0, 3.0, 4.0]
    write_results(repository, table.iloc[:-2], checkpoint="1")
    compare(commits["second"])
    markdown, page = written(repository)
    said = f"{len(table) - 10} phrases are in both; 10 of base and 8 of head have no counterpart"
    assert said in markdown and said in page


def test_no_phrase_in_common_is_refused(repository, commits):
    table = toy_answers()
    write_results(repository, table.assign(expression=[f"other {text}" for text in table["expression"]]))
    with pytest.raises(DataError, match=r"no phrase is in both.*training_seed does not"):
        compare(commits["second"])


def test_what_a_phrase_says_has_no_effect(repository, commits):
    old, new = toy_answers(), toy_answers(seed=2, skill=1.4)
    names = [f"{HOSTILE} {row}" for row in range(len(old))]
    write_results(repository, old.assign(expression=names))
    base = commit(repository, "Odd <b>words</b> | in a title")
    write_results(repository, new.assign(expression=names))
    compare(base)
    markdown, page = written(repository)
    assert "<script" not in page and "<b>words" not in page
    flipped = [line for line in markdown.splitlines() if "everyone" in line]
    assert flipped and all(re.match(r"\| `[^`]*` \| toy/dvin \|", line) for line in flipped)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 9 for line in flipped)


def test_markdown_fits_a_comment_however_long_the_settings_are(repository, commits):
    settings = {f"setting {number}": "x" * 90 for number in range(2000)}
    (repository / "params.yaml").write_text(SETTINGS + f"more: {json.dumps(settings)}\n")
    (repository / "reports/leakage.json").write_text(
        json.dumps({f"set {n}": {"val": {"m": {"level": "none", "overlap": 0}}} for n in range(3000)})
    )
    write(repository / "data/code.json", {"modules": {f"deixis.module_{number}": "c" for number in range(3000)}})
    compare(commits["first"])
    markdown, page = written(repository)
    assert len(markdown.encode()) <= LIMIT
    assert "the rest is on the page" in markdown and "deixis.module_2999" in page
    assert "and 1940 more, on the page" in markdown and "setting 1999" in page
    assert "set 2999" in page and "### Speed" in markdown


def test_speed_of_other_machines_is_not_compared_in_silence(repository, commits):
    speed = json.loads((repository / "reports/speed/toy/dvin.json").read_text()) | {"device": "NVIDIA H200"}
    write(repository / "reports/speed/toy/dvin.json", speed)
    compare(commits["first"])
    assert "WARNING: the two sides were timed on different machines" in written(repository)[0]


def test_plots_of_two_commits_are_drawn_over_each_other(repository, commits):
    with Repo() as repo:
        data = repo.plots.diff(revs=[commits["first"], commits["second"]])
    [matched] = match_defs_renderers(data)
    assert {point["rev"] for point in matched.renderer.datapoints} == {commits["first"], commits["second"]}


def test_the_flow_attaches_the_same(repository, commits):
    toy_answers(seed=3).to_parquet(repository / "reports/samples/toy/dvin.parquet")
    compare("HEAD")
    assert comparison() == written(repository)[0]
    git(repository, "checkout", "-q", "--detach", commits["empty"])
    assert comparison().endswith("shared by dvc push")
