import weakref
from collections.abc import Callable
from typing import Any

import pytest
from batch_sdxl.core.errors import InvalidRequest, InvalidWorkflow
from batch_sdxl.headless.graph.catalog import Catalog
from batch_sdxl.headless.graph.check import check
from batch_sdxl.headless.graph.run import Ui, run
from batch_sdxl.headless.graph.workflow import parse
from batch_sdxl.headless.notes import notes_of

Json = dict[str, Any]
Api = Callable[..., Json]
Values = Callable[[Json], list[Any]]


def test_node_is_called_for_each_element_and_shorter_lists_repeat_their_last(
    api: Api, values: Values
) -> None:
    content = api(
        long=("Numbers", {"text": "1 2 3"}),
        short=("Numbers", {"text": "10 20"}),
        add=("Add", {"a": ["long", 0], "b": ["short", 0]}),
        show=("Show", {"value": ["add", 0]}),
    )
    assert values(content) == [11, 22, 23]


def test_input_is_list_gets_everything_at_once(api: Api, values: Values) -> None:
    content = api(
        list=("Numbers", {"text": "1 2 3"}),
        total=("Total", {"numbers": ["list", 0], "start": 100}),
        show=("Show", {"value": ["total", 0]}),
    )
    assert values(content) == [106]


def test_list_outputs_of_repeated_calls_are_joined(api: Api, toys: dict[str, type[Any]]) -> None:
    class Repeat(toys["Numbers"]):  # type: ignore[misc, name-defined, valid-type]
        @classmethod
        def INPUT_TYPES(cls) -> Json:
            return {"required": {"n": ("INT", {"forceInput": True})}}

        def run(self, n: int) -> tuple[list[int], int]:
            return [n] * n, n

    toys = {**toys, "Repeat": Repeat}
    catalog = Catalog(toys)
    content = api(
        list=("Numbers", {"text": "1 2 3"}),
        repeat=("Repeat", {"n": ["list", 0]}),
        joined=("Show", {"value": ["repeat", 0]}),
        single=("Show", {"value": ["repeat", 1]}),
    )
    shown = run(check(parse(content, catalog), catalog), catalog)
    assert shown["joined"]["values"] == [1, 2, 2, 3, 3, 3]
    assert shown["single"]["values"] == [1, 2, 3]


def test_empty_list_is_refused_in_our_words(api: Api, values: Values) -> None:
    content = api(
        list=("Numbers", {"text": ""}),
        add=("Add", {"a": ["list", 0], "b": 1}),
        show=("Show", {"value": ["add", 0]}),
    )
    message = r'one value for input a of "Add" \(node add\), got an empty list from "Numbers"'
    with pytest.raises(InvalidWorkflow, match=message):
        values(content)


def test_empty_list_is_fine_for_a_node_that_takes_lists(api: Api, values: Values) -> None:
    content = api(
        list=("Numbers", {"text": ""}),
        total=("Total", {"numbers": ["list", 0], "start": 100}),
        show=("Show", {"value": ["total", 0]}),
    )
    assert values(content) == [100]


def test_hidden_inputs_tell_the_node_of_its_graph(
    api: Api, node: Any, drawing: Any, shown: Callable[[Json], dict[str, Ui]]
) -> None:
    exported = api(a=("Number", {"value": "5"}), b=("Show", {"value": ["a", 0]}))
    (prompt, info, me) = shown(exported)["b"]["hidden"][0]
    assert prompt["a"] == {
        "class_type": "Number",
        "inputs": {"value": 5},
        "_meta": {"title": "A Number"},
    }
    assert prompt["b"]["inputs"] == {"value": ["a", 0]}
    assert info is None
    assert me == "b"
    nodes = [node(1, "Number", [5], outputs="INT"), node(2, "Show", [], "value:*")]
    saved = drawing(nodes, [(1, 0, 2, "value")])
    assert shown(saved)["2"]["hidden"][0][1] == {"workflow": saved}


def test_each_run_runs_every_node_again(api: Api, toys: dict[str, type[Any]]) -> None:
    calls = []

    class Counted(toys["Number"]):  # type: ignore[misc, name-defined, valid-type]
        def run(self, value: int) -> tuple[int]:
            calls.append(value)
            return (value,)

    catalog = Catalog({**toys, "Counted": Counted})
    content = api(a=("Counted", {"value": 1}), b=("Show", {"value": ["a", 0]}))
    plan = check(parse(content, catalog), catalog)
    run(plan, catalog)
    run(plan, catalog)
    assert calls == [1, 1]


def test_result_is_freed_when_its_last_reader_is_done(api: Api, toys: dict[str, type[Any]]) -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    class Big:
        pass

    class Make(toys["Number"]):  # type: ignore[misc, name-defined, valid-type]
        def run(self, value: int) -> tuple[Any]:
            big = Big()
            made.append(weakref.ref(big))
            return (big,)

    class Read(toys["Add"]):  # type: ignore[misc, name-defined, valid-type]
        def run(self, a: Any, b: int, **rest: Any) -> tuple[int]:
            alive.append(made[0]() is not None)
            return (b,)

    catalog = Catalog({**toys, "Make": Make, "Read": Read})
    content = api(
        make=("Make", {"value": 1}),
        first=("Read", {"a": ["make", 0], "b": 1}),
        second=("Read", {"a": ["first", 0], "b": 1, "c": ["make", 0]}),
        third=("Read", {"a": ["second", 0], "b": 1}),
        show=("Show", {"value": ["third", 0]}),
    )
    run(check(parse(content, catalog), catalog), catalog)
    assert alive == [True, True, False]


def test_result_that_nobody_reads_is_not_kept(api: Api, toys: dict[str, type[Any]]) -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    class Big:
        pass

    class Keep(toys["Show"]):  # type: ignore[misc, name-defined, valid-type]
        RETURN_TYPES = ("INT",)

        def run(self, **inputs: Any) -> Json:
            alive.extend(big() is not None for big in made)
            big = Big()
            made.append(weakref.ref(big))
            return {"ui": {}, "result": (big,)}

    catalog = Catalog({**toys, "Keep": Keep})
    content = api(
        a=("Number", {"value": 1}), b=("Keep", {"value": ["a", 0]}), c=("Keep", {"value": ["a", 0]})
    )
    run(check(parse(content, catalog), catalog), catalog)
    assert alive == [False]


def test_our_errors_pass_with_the_node_named(api: Api, values: Values) -> None:
    content = api(a=("Failing", {"how": "ours"}), b=("Show", {"value": ["a", 0]}))
    with pytest.raises(InvalidRequest) as caught:
        values(content)
    assert notes_of(caught.value) == ['In "Failing" (node a)']


@pytest.mark.parametrize(("how", "kind"), [("bug", ZeroDivisionError), ("stop", KeyboardInterrupt)])
def test_other_errors_pass(api: Api, values: Values, how: str, kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        values(api(a=("Failing", {"how": how}), b=("Show", {"value": ["a", 0]})))
