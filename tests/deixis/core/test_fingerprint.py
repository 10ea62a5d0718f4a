"""What changes a fingerprint, what does not, and what is refused: on a checkout of a few small modules."""

from pathlib import Path

import pytest

from deixis.core.errors import ConfigError
from deixis.core.fingerprint import ROOT, Code, CodeList
from deixis.core.syntax import read_syntax

STAGE = '''"""Train."""

import json

from deixis.helper import double
from models.teachers import TEACHERS
from models.experts import EXPERTS


def train(rate: float = 0.1, *, seed: int = 0) -> None:
    """Train one."""
    print(f"{double(rate)!r:>{seed}}", TEACHERS, EXPERTS, json)
'''
METHOD = "from models import layers\n\n\nclass {name}:\n    width = 3\n\n    def loss(self): return layers.HALF\n"


TEACHERS = 'TEACHERS = {"one": "models.teachers.one:One", "two": "models.teachers.two:Two"}\n'


@pytest.fixture
def checkout(tmp_path) -> Path:
    files = {
        "deixis/__init__.py": "", "deixis/helper.py": "def double(x):\n    return 2 * x\n", "deixis/alone.py": "",
        "models/__init__.py": "", "models/layers.py": "HALF = 0.5\n", "models/blocks.py": "WIDE = 8\n",
        "models/teachers/__init__.py": TEACHERS,
        "models/teachers/one.py": METHOD.format(name="One"), "models/teachers/two.py": METHOD.format(name="Two"),
        "models/map_teachers/__init__.py": "MAP_TEACHERS = {}\n", "models/students/__init__.py": "STUDENTS = {}\n",
        "models/experts/__init__.py": 'EXPERTS = {"sam": "models.experts.sam:Sam"}\n',
        "models/experts/sam.py": "from models.blocks import WIDE\n\n\nclass Sam:\n    width = WIDE\n",
        "stages/__init__.py": "", "stages/train.py": STAGE, "stages/draw.py": "from deixis import helper\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def prints(checkout: Path) -> dict[str, str]:
    listed = CodeList.of(Code(checkout, known={}))
    return listed.stages | listed.methods


def changed_by(checkout: Path, name: str, old: str, new: str) -> set[str]:
    before, path = prints(checkout), checkout / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = prints(checkout)
    return {entry for entry in before.keys() | after.keys() if before.get(entry) != after.get(entry)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Train."""', "# a comment\n"),
        ('    """Train one."""', '    """Other\n\n    words."""'),
        ("rate: float = 0.1, *, seed", "rate: float=0.10,\n    *, seed"),
        ("    print(", "\n\n    print("),
        ("from deixis.helper import double", "from deixis.helper import (\n    double,  # twice\n)"),
    ],
    ids=["comment", "docstring", "layout of a number", "blank lines", "layout of an import"],
)
def test_what_means_nothing_changes_nothing(checkout, old, new):
    assert changed_by(checkout, "stages/train.py", old, new) == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [("= 0.1", "= 0.2"), ("rate: float", "rate: int"), ("!r:>", "!s:>"), ("seed: int = 0", "seed: int = False")],
    ids=["default", "annotation", "format", "zero and false"],
)
def test_what_means_something_changes_its_stage_alone(checkout, old, new):
    assert changed_by(checkout, "stages/train.py", old, new) == {"stages.train"}


def test_help_texts_do_not_count_and_other_texts_do(checkout):
    (checkout / "stages/train.py").write_text(STAGE + 'A = dict(help="old")\nB = dict(text="old")\n')
    assert changed_by(checkout, "stages/train.py", 'help="old"', 'help="new"') == set()
    assert changed_by(checkout, "stages/train.py", 'text="old"', 'text="new"') == {"stages.train"}


@pytest.mark.parametrize(
    ("name", "old", "new", "stale"),
    [
        ("models/teachers/one.py", "width = 3", "width = 4", {"models.teachers.one"}),
        ("models/layers.py", "0.5", "0.6", {"models.teachers.one", "models.teachers.two"}),
        ("deixis/helper.py", "2 * x", "x + x", {"stages.train", "stages.draw"}),
        ("models/blocks.py", "8", "9", {"stages.train"}),  # by the registry of experts, which a stage follows
        ("deixis/alone.py", "", "USED = 0\n", set()),
        ("models/teachers/__init__.py", '"one": "m', '"uno": "m', {"models.teachers.one", "models.teachers.uno"}),
        ("models/experts/__init__.py", '"sam": ', '"sam_b": ', {"stages.train"}),
        ("stages/__init__.py", "", "import gc\n", {"stages.train", "stages.draw"}),
    ],
    ids=["method", "layer", "library", "followed registry", "unused", "line", "followed line", "package"],
)  # fmt: skip
def test_an_edit_changes_what_stands_on_it(checkout, name, old, new, stale):
    assert changed_by(checkout, name, old, new) == stale


def test_relative_imports_and_imports_by_name_count(checkout):
    (checkout / "models/teachers/two.py").write_text(
        "from ..layers import HALF\nfrom . import one\n\n\nclass Two: ...\n"
    )
    (checkout / "stages/draw.py").write_text('import importlib\n\nimportlib.import_module("deixis.alone")\n')
    code = Code(checkout, known={})
    assert {"models.layers", "models.teachers.one"} <= code.closure("models.teachers.two")
    assert "deixis.alone" in code.closure("stages.draw")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("stages/draw.py", "x = 1\nfrom deixis.gone import y\n", r"stages/draw.py:2: imports deixis.gone, and there"),
        ("stages/draw.py", "from deixis.helper import gone\n", r"draw.py:1: imports gone from deixis.helper, which"),
        ("stages/draw.py", "import torhc\n", r"stages/draw.py:1: imports torhc, and torhc is not installed"),
        ("stages/draw.py", "def f(:\n    pass\n", r"stages/draw.py:1: not valid Python"),
        ("stages/draw.py", "a = '\0'\n", r"stages/draw.py:1: not valid Python"),
        ("models/experts/__init__.py", 'EXPERTS = {\n    "a": "models.experts.gone:A",\n}\n',
         r"models/experts/__init__.py:2: EXPERTS names \"models.experts.gone:A\" for a, and there is no module"),
        ("models/experts/__init__.py", 'EXPERTS = {"a": "models.experts.sam:Gone"}\n', r"sam has no Gone. Fix them"),
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_refused_by_file_and_line(checkout, name, text, message):
    (checkout / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        Code(checkout, known={}).check()
    assert refused.value.exit_code == 2 and "dvc repro" in str(refused.value)


def test_optional_packages_may_be_missing_where_they_are_imported_when_needed(checkout):
    lazy, tried = (
        "def read():\n    import torhc\n",
        "try:\n    import torhc as fast\nexcept ImportError:\n    fast = None\n",
    )
    (checkout / "stages/draw.py").write_text(lazy + tried)
    (checkout / "deixis/alone.py").write_text("from stages.draw import fast, read\n")
    Code(checkout, known={}).check()


def test_our_own_checkout_leads_nowhere_wrong():
    Code(ROOT).check()


def test_the_form_is_the_same_under_every_python():
    """Its digest under 3.11, 3.12 and 3.13; their syntax trees differ, and so do their dumps."""
    source = '''
type_of = lambda x, /, *y, z=1_000, **k: {**k, "a": [*y], 1e3: ..., b"\\xff": None, 2j: x is not z}


async def f(a: int = 0x10) -> "str": return f"{a!r:>{a}} {{literal}} {a=}" "joined" f'{"inner"}é'


class A(dict, metaclass=type):
    """Text."""

    with open("a") as b, (open("c")) as c: pass
    try: assert not b, c
    except* (OSError, ValueError) as e: raise TypeError from e
    match b:
        case {"x": [1, *rest], **others} if rest: del others
        case A(y=2) | None: pass
'''
    assert read_syntax(Path("stages/any.py"), source.encode()).digest == "89d77d953c77a30a"
