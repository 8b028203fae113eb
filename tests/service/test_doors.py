"""Forwards and published ports that cannot be had, told before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.files import WorkloadFileError, read_workloads
from service.spec import ForwardSpec, PublishSpec, ServiceSpec, TaskCode, WorkloadSpec

_OUT = ("db.example.com", 80)


def workload(**doors: object) -> WorkloadSpec:
    service = ServiceSpec(name="x", code=TaskCode("a:b"), ports=(80,))
    return WorkloadSpec(name="w", services=(service,), **doors)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forwards", "message"),
    [
        ([ForwardSpec(80, _OUT)], r"forward\[0\]: 80 is a port of 'x' already"),
        ([ForwardSpec(80, _OUT, host="::1")], r"forward\[0\]: 80 is a port of 'x' already"),
        ([ForwardSpec(80, _OUT, host="0.0.0.0")], r"forward\[0\]: 80 is a port of 'x' already"),
        ([ForwardSpec(80, _OUT, host="x.svc.internal")], r"forward\[0\]: 80 is a port of 'x' already"),
        (
            [ForwardSpec(1, _OUT), ForwardSpec(1, _OUT, host="localhost")],
            r"forward\[1\]: 1 is the port of forward\[0\]",
        ),
        ([ForwardSpec(1, _OUT), ForwardSpec(1, _OUT, host="0.0.0.0")], r"forward\[1\]: 1 is the port of"),
    ],
)
def test_forwards_that_cannot_be_had(forwards: list[ForwardSpec], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        workload(forward=tuple(forwards))


def test_forwards_that_can_be_had() -> None:
    workload(
        forward=(
            ForwardSpec(80, _OUT, host="host.internal"),
            ForwardSpec(80, _OUT, protocol="udp"),
            ForwardSpec(80, _OUT, host="127.0.0.2"),
            ForwardSpec(81, _OUT),
            ForwardSpec(81, _OUT, host="::1"),
            ForwardSpec(81, _OUT, protocol="udp"),
        )
    )


def test_published_ports() -> None:
    workload(
        publish=(PublishSpec(80), PublishSpec(80), PublishSpec(1, real_port=9), PublishSpec(1, "::1", 9))
    )
    for other in (PublishSpec(2, real_port=9), PublishSpec(2, "0.0.0.0", 9)):
        with pytest.raises(
            ValueError, match=r"publish\[1\]: the real port 9 is that of publish\[0\] already"
        ):
            workload(publish=(PublishSpec(1, real_port=9), other))
    workload(publish=(PublishSpec(1, real_port=9), PublishSpec(1, real_port=9, protocol="udp")))


def test_a_file_tells_all_of_them_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(
        "name: one\n"
        "services:\n"
        "  x: {task: 'a:b', ports: [80], after: [y]}\n"
        "  y: {task: 'a:b', after: [x, nope]}\n"
        "forward:\n"
        "- 80=db.example.com:80\n"
        "- 1=db.example.com:80\n"
        "- nonsense\n"
        "- 1=db.example.com:81\n"
        "publish:\n"
        "- 9:80\n"
        "- auto\n"
        "- 127.0.0.1:9:81\n"
    )
    with pytest.raises(WorkloadFileError) as caught:
        read_workloads(path)
    assert [(each.line, each.where, each.text) for each in caught.value.problems] == [
        (3, "services.x.after", "services wait for each other: x after y after x"),
        (4, "services.y.after", "'nope' is no service of the workload (there: x, y)"),
        (6, "forward[0]", "80 is a port of 'x' already"),
        (8, "forward[2]", "'nonsense': expected [HOST:]VPORT=[tls:]HOST:PORT"),
        (9, "forward[3]", "1 is the port of forward[1] already"),
        (13, "publish[2]", "the real port 9 is that of publish[0] already"),
    ]


def test_two_workloads_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    one = "name: {}\nservices: {{x: {{task: 'a:b'}}}}\npublish: [{}]\n---\n"
    path.write_text(
        one.format("one", "9:80") + one.format("two", "8:80") + one.format("three", "0.0.0.0:9:80".join("''"))
    )
    with pytest.raises(WorkloadFileError) as caught:
        read_workloads(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.where, problem.text) == (
        9, "publish[0]", "the real port 9 is one of default/one already",
    )  # fmt: skip
