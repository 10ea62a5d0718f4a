"""What tasks of a cluster write, as whoever waits for them reads it; without Ray."""

import pytest

from pipelines.cluster.body import Job
from pipelines.cluster.tasks import Task

JOB = Job((), "", "", None, "", {}, has_gpu=False)


def test_one_task_alone_is_passed_on_as_it_writes(capfdbinary):
    task = Task(JOB)
    for kind, data in (("out", b"1\n2"), ("err", b"50 %\r"), ("out", b" and more")):
        task.write(kind, data)
    task.end(3)
    assert capfdbinary.readouterr() == (b"1\n2 and more", b"50 %\r") and task.code == 3


@pytest.mark.parametrize("pieces", [[b"one\ntwo\nend"], [b"o", b"ne\ntw", b"o", b"\nend"]])
def test_of_several_each_line_begins_with_whose_it_is_and_none_is_cut(capfdbinary, pieces):
    first, second = Task(JOB, "[1/2]"), Task(JOB, "[2/2]")
    for piece in pieces:
        first.write("out", piece)
        second.write("err", piece)
    first.end(0)
    second.end(0)
    out, err = capfdbinary.readouterr()
    assert out == b"[1/2] one\n[1/2] two\n[1/2] end\n" and err == out.replace(b"1/2", b"2/2")
