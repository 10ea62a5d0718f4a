"""A run's results as a commit on a branch, with the real Git; the checkout stays as it is."""

import subprocess

import pytest

from deixis.core.errors import ConfigError
from pipelines._review import commit_results, refuse_review


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    git("config", "user.name", "ann")
    git("config", "user.email", "ann@example.com")
    for name, text in (("dvc.lock", "one"), ("reports/a.json", "1"), ("params.yaml", "seed: 0"), ("code.py", "x = 1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".gitignore").write_text("/reports/metrics/\n")
    git("add", "-A")
    git("commit", "-qm", "Begin")
    return tmp_path


def run_of_stages(checkout):
    (checkout / "dvc.lock").write_text("two")
    (checkout / "reports/a.json").unlink()
    (checkout / "reports/metrics").mkdir(exist_ok=True)
    (checkout / "reports/metrics/full.json").write_text("{}")
    (checkout / "reports/b.json").write_text("2")


def test_results_are_committed_and_the_checkout_stays(checkout):
    run_of_stages(checkout)
    git("add", "reports/b.json")  # something of the user's own in the index
    before = git("status", "--porcelain")
    said = commit_results("results")
    assert git("show", "--name-status", "--format=%s", "results").split("\n") == [
        "Results of a run", "", "M\tdvc.lock", "D\treports/a.json", "A\treports/b.json"
    ]  # fmt: skip
    assert git("rev-parse", "results^") == git("rev-parse", "HEAD")
    assert git("status", "--porcelain") == before and git("branch", "--show-current") == "main"
    assert (
        said == f"{git('rev-parse', 'results')[:10]} on results: deixis compare {git('rev-parse', 'HEAD')[:10]} results"
    )


def test_the_next_run_takes_the_branch_again(checkout):
    run_of_stages(checkout)
    commit_results("results")
    (checkout / "dvc.lock").write_text("three")
    refuse_review("results", ())
    commit_results("results")
    assert git("show", "results:dvc.lock") == "three"
    assert git("rev-parse", "results^") == git("rev-parse", "HEAD")


def test_without_a_change_nothing_is_committed(checkout):
    assert commit_results("results").startswith("nothing to review")
    assert git("branch", "--list", "results") == ""


@pytest.mark.parametrize(
    ("prepare", "branch", "settings", "message"),
    [
        (lambda folder: None, "results", ("seed=1",), r"settings \(seed=1\): .*run without commit"),
        (lambda folder: None, "a..b", (), "a..b.*Allowed: a name for a branch"),
        (lambda folder: None, "main", (), "the branch that is checked out"),
        (
            lambda folder: (folder / "code.py").write_text("x = 2"),
            "results",
            (),
            r"edits that no commit has: M code\.py",
        ),
    ],
)
def test_what_no_commit_would_explain_is_refused(checkout, prepare, branch, settings, message):
    prepare(checkout)
    with pytest.raises(ConfigError, match=message):
        refuse_review(branch, settings)


def test_a_branch_with_work_on_it_is_left_alone(checkout):
    git("checkout", "-qb", "results")
    (checkout / "code.py").write_text("x = 3")
    git("commit", "-qam", "Work")
    git("checkout", "-q", "main")
    with pytest.raises(ConfigError, match="commits beside results of runs"):
        refuse_review("results", ())


def test_results_of_before_are_no_edit(checkout):
    run_of_stages(checkout)
    refuse_review("results", ())


def test_nobody_to_commit_as_is_told(checkout, monkeypatch):
    run_of_stages(checkout)
    git("config", "--unset", "user.name")
    git("config", "--unset", "user.email")
    git("config", "user.useConfigOnly", "true")
    monkeypatch.setenv("HOME", str(checkout))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(checkout))
    with pytest.raises(ConfigError, match=r"Say who commits: git config user\.name NAME"):
        commit_results("results")
