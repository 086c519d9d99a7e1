from collections.abc import Callable
from typing import Any

import pytest
from batch_sdxl.core.errors import InvalidRequest, InvalidWorkflow
from batch_sdxl.headless.graph.catalog import Catalog
from batch_sdxl.headless.graph.check import Plan, check
from batch_sdxl.headless.graph.inputs import fits
from batch_sdxl.headless.graph.workflow import parse
from batch_sdxl.headless.notes import notes_of

Json = dict[str, Any]
Api = Callable[..., Json]


@pytest.fixture
def plan(catalog: Catalog) -> Callable[[Json], Plan]:
    return lambda content: check(parse(content, catalog), catalog)


@pytest.fixture
def seeded(plan: Callable[[Json], Plan], api: Api) -> Callable[..., Json]:
    """The checked inputs of a Seeded node with some inputs changed; None takes one away."""

    def checked(**changes: Any) -> Json:
        inputs = {"seed": 1, "mode": "slow", "share": 0.5, "exact": True} | changes
        inputs = {name: value for name, value in inputs.items() if value is not None}
        graph = plan(api(a=("Seeded", inputs), b=("Show", {"value": ["a", 0]}))).graph
        return dict(graph.nodes["a"].inputs)

    return checked


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ({"seed": "18446744073709551615"}, {"seed": 2**64 - 1}),
        ({"seed": 20.0}, {"seed": 20}),
        ({"share": "0.25"}, {"share": 0.25}),
        ({"share": 1}, {"share": 1.0}),
        ({"exact": 0}, {"exact": False}),
        ({"note": 5}, {"note": "5"}),
        ({"exact": "False"}, {"exact": False}),
        ({"mode": None, "seed": None}, {"mode": "slow", "seed": 0}),
    ],
)
def test_constants_get_the_type_of_their_input(
    seeded: Callable[..., Json], given: Json, checked: Json
) -> None:
    inputs = seeded(**given)
    for name, value in checked.items():
        assert inputs[name] == value
        assert type(inputs[name]) is type(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "x"}, r'Expected a whole number for input seed of "Seeded" \(node a\), got "x"'),
        ({"seed": 2.5}, r"whole number for input seed .* got 2\.5"),
        ({"seed": -1}, "at least 0 for input seed .* got -1"),
        ({"seed": 2**64}, "at most 18446744073709551615 for input seed"),
        ({"share": "many"}, 'a number for input share .* got "many"'),
        ({"share": 1.01}, r"at most 1\.0 for input share"),
        ({"mode": "medium"}, 'one of slow, fast for input mode .* got "medium"'),
        ({"mode": "slwo"}, r'got "slwo"\. Did you mean "slow"\?'),
        ({"share": float("nan")}, "a number for input share .* got NaN"),
        ({"share": "0,5"}, r'got "0,5"\. Write a point, not a comma: 0\.5'),
        ({"share": [0.5]}, r"a number for input share .* got \[0\.5\]"),
        ({"exact": "maybe"}, 'true or false for input exact .* got "maybe"'),
        ({"exact": 2}, "true or false for input exact .* got 2"),
        ({"seed": True}, "a whole number for input seed .* got true"),
        ({"mode": ["slow"]}, r'one choice for input mode .* got \["slow"\]'),
        ({"note": ["a", "b"]}, r'a text for input note .* got \["a", "b"\]'),
        ({"note": {"a": 1}}, "a text for input note"),
        ({"sed": 3}, r'got one called sed\. Did you mean "seed"\?'),
    ],
)
def test_bad_constant_is_refused(seeded: Callable[..., Json], changes: Json, message: str) -> None:
    with pytest.raises(InvalidWorkflow, match=message):
        seeded(**changes)


@pytest.mark.parametrize(
    ("add", "message"),
    [
        ({"b": 1}, r'an INT for input a of "Add" \(node b\), got nothing connected'),
        ({"a": ["s", 0], "b": 1}, r'INT for input a of .* got STRING from "Seeded" \(node s\)'),
        ({"a": ["n", 1], "b": 1}, r'output of "A Number" \(node n\) .*: 0 to 0, got output 1'),
        ({"a": ["n", -1], "b": 1}, "got output -1"),
        ({"a": ["c", 0], "b": 1}, "it has none, got output 0"),
        ({"a": ["zz", 0], "b": 1}, "got node zz, which is not there"),
        ({"a": ["b", 0], "b": 1}, r'circle, got "Add" \(node b\) -> "Add" \(node b\)'),
        ({"a": ["n", 0], "b": 1, "d": ["n", 0]}, "got one called d"),
    ],
)
def test_bad_link_is_refused(
    plan: Callable[[Json], Plan], api: Api, add: Json, message: str
) -> None:
    seeded = {"seed": 1, "mode": "slow", "share": 0.5, "exact": True}
    content = api(
        n=("Number", {"value": 1}),
        s=("Seeded", seeded),
        b=("Add", add),
        c=("Show", {"value": ["n", 0]}),
        d=("Show", {"value": ["b", 0]}),
    )
    with pytest.raises(InvalidWorkflow, match=message):
        plan(content)


def test_node_whose_link_leads_nowhere_is_not_asked(plan: Callable[[Json], Plan], api: Api) -> None:
    with pytest.raises(InvalidWorkflow, match="node zz, which is not there"):
        plan(picky(api, ["zz", 0]))


def test_null_is_no_text(plan: Callable[[Json], Plan], api: Api) -> None:
    content = api(a=("Picky", {"even": 2, "word": None}), b=("Show", {"value": ["a", 0]}))
    with pytest.raises(InvalidWorkflow, match=r"a text for input word .* got null"):
        plan(content)


def test_socket_takes_no_written_value(plan: Callable[[Json], Plan], api: Api) -> None:
    content = api(a=("SaveImage", {"images": "photo.png"}))
    with pytest.raises(InvalidWorkflow, match="a link to an output of type IMAGE for input images"):
        plan(content)


def test_all_that_is_wrong_is_named_at_once(plan: Callable[[Json], Plan], api: Api) -> None:
    content = api(
        a=("Seeded", {"seed": "x", "mod": "slow", "share": 2}),
        b=("Add", {"b": ["zz", 0]}),
        c=("Show", {"value": ["a", 0]}),
        d=("Show", {"value": ["b", 0]}),
        e=("Picky", {"even": 7, "word": "yes"}),
        f=("Show", {"value": ["e", 0]}),
    )
    with pytest.raises(InvalidWorkflow) as caught:
        plan(content)
    assert caught.value.got.startswith("6 things that are wrong:")
    for said in (
        'a whole number for input seed of "Seeded" (node a); got "x".',
        'got one called mod. Did you mean "mode"?',
        'at most 1.0 for input share of "Seeded" (node a); got 2',
        'a link to a node of the workflow for input b of "Add" (node b)',
        'an INT for input a of "Add" (node b); got nothing connected.',
        'inputs that "Picky" (node e) accepts; got some that it refuses (7 is odd).',
    ):
        assert said in caught.value.got


def test_foreign_nodes_stop_a_run_only_where_they_are_needed(
    plan: Callable[[Json], Plan], api: Api
) -> None:
    content = api(
        a=("Number", {"value": 1}),
        b=("Show", {"value": ["a", 0]}),
        c=("Sharpen", {"x": ["a", 0]}),
        d=("Sharpen", {"x": ["c", 0]}),
        e=("Nmber", {"value": 1}),
    )
    done = plan(content)
    assert done.order == ("a", "b")
    assert done.left_out == {"c": "Sharpen", "d": "Sharpen", "e": "Nmber"}
    content["b"]["inputs"]["value"] = ["d", 0]
    message = r'2 x "Sharpen" \(nodes c, d\)\. This workflow needs ComfyUI'
    with pytest.raises(InvalidWorkflow, match=message):
        plan(content)
    content["b"]["inputs"]["value"] = ["e", 0]
    with pytest.raises(InvalidWorkflow, match=r'"Nmber" \(node e\)\. Did you mean "Number"\?'):
        plan(content)


@pytest.mark.parametrize(
    ("received", "wanted", "fit"),
    [
        ("INT", "INT", True),
        ("INT", "FLOAT", False),
        ("INT", "*", True),
        ("*", "INT", True),
        ("STRING,INT", "INT, FLOAT", True),
        ("STRING,INT", "FLOAT,MASK", False),
        (["a", "b"], "COMBO", True),
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], "STRING", False),
        ("COMBO", ["a", "b"], False),
    ],
)
def test_types_fit_as_in_comfyui(received: Any, wanted: Any, fit: bool) -> None:
    assert fits(received, wanted) is fit


def test_graph_without_output_is_refused(plan: Callable[[Json], Plan], api: Api) -> None:
    message = r'saves something.* none that runs: "A Number" \(node a\)'
    with pytest.raises(InvalidWorkflow, match=message):
        plan(api(a=("Number", {"value": 1})))


def test_nodes_that_no_output_needs_are_not_looked_at(
    plan: Callable[[Json], Plan], api: Api
) -> None:
    content = api(
        a=("Number", {"value": -5}), b=("Number", {"value": 1}), c=("Show", {"value": ["b", 0]})
    )
    assert plan(content).order == ("b", "c")


def test_one_output_is_done_before_the_next_begins(plan: Callable[[Json], Plan], api: Api) -> None:
    content = api(
        b2=("Number", {"value": 1}),
        a1=("Number", {"value": 1}),
        b3=("Show", {"value": ["b2", 0]}),
        a2=("Add", {"a": ["a1", 0], "b": 1}),
        a3=("Show", {"value": ["a2", 0]}),
    )
    assert plan(content).order == ("b2", "b3", "a1", "a2", "a3")


def picky(api: Api, even: Any, word: Any = "yes") -> Json:
    return api(
        n=("Number", {"value": 3}),
        p=("Picky", {"even": even, "word": word}),
        s=("Show", {"value": ["p", 0]}),
    )


def test_node_checks_its_own_constants(plan: Callable[[Json], Plan], api: Api) -> None:
    plan(picky(api, 12))  # named in VALIDATE_INPUTS, so `max` is the node's business
    plan(picky(api, ["n", 0]))  # None to it: what a link brings is not known yet
    with pytest.raises(InvalidWorkflow, match=r'"Picky" \(node p\) accepts.*\(7 is odd\)'):
        plan(picky(api, 7))
    with pytest.raises(InvalidWorkflow, match=r"some that it refuses\. Correct"):
        plan(picky(api, 2, "no"))
    with pytest.raises(InvalidRequest, match="Say another") as caught:
        plan(picky(api, 2, "ours"))
    assert notes_of(caught.value) == ['In "Picky" (node p)']
