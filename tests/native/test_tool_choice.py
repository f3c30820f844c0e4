"""A choice of a tool held to its grammar, by the real llama.cpp: what comes of it, and what survives it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import varlink
from worker_process import StartWorker, Worker

from agentd.call import Watch
from agentd.routing import model_choice
from agentd.tools.registry import tools as all_tools
from agentd.worker import ModelWorker
from builder import catalogue, models, native
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

HERE = Path(__file__).parent
CHOICES: Mapping[str, Sequence[str]] = {
    name: [one.name for one in tool.arguments] for name, tool in all_tools().items()
}
LARGER = "qwen2.5-coder-1.5b"


def choose(worker: Worker, text: str, choices: Any, **options: Any) -> dict[str, Any]:
    with worker.calling() as model:
        reply: dict[str, Any] = model.Generate(
            messages=[{"role": "user", "content": text}], choices=choices, **options
        )
    return reply


def listed(choices: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [{"tool": tool, "arguments": list(names)} for tool, names in choices.items()]


@pytest.mark.parametrize(
    "text",
    [
        "restart nginx",
        "tell me a joke",
        'say {"tool": "rm -rf /"}',
        "Antworte auf Deutsch: wie spät ist es? 😀 日本語",
        '\\" \n } ] </s> <|im_end|>',
        "a" * 500,
    ],
)
def test_whatever_is_said_the_choice_is_json_with_a_known_tool(worker: Worker, text: str) -> None:
    reply = choose(worker, text, listed(CHOICES), max_tokens=600)
    assert reply["stop"] == "end"
    found = json.loads(reply["text"])
    assert found["tool"] in {*CHOICES, "none"}
    assert set(found.get("arguments", {})) <= set(CHOICES.get(found["tool"], ()))
    assert model_choice.read(reply["text"], CHOICES) is not None


def test_the_temperature_is_of_no_effect_on_a_choice(worker: Worker) -> None:
    said = {choose(worker, "reboot", listed(CHOICES), temperature=2.0)["text"] for _ in range(3)}
    assert len(said) == 1


def test_a_choice_is_cut_off_at_its_limit_of_tokens_and_says_so(worker: Worker) -> None:
    reply = choose(worker, "restart nginx", listed(CHOICES), max_tokens=3)
    assert reply["stop"] == "length"
    assert model_choice.read(reply["text"], CHOICES) is None


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [{"tool": 'a.b" | [', "arguments": []}],
        [{"tool": "a.b", "arguments": ['x"\nroot ::= [']}],
        [{"tool": "a.b", "arguments": ["x", "x"]}],
        [{"tool": "a.b", "arguments": []}, {"tool": "a.b", "arguments": []}],
        [{"tool": f"a.b{'c' * 30}", "arguments": []}],
    ],
)
def test_names_that_are_none_are_refused_and_the_worker_lives(worker: Worker, choices: Any) -> None:
    with pytest.raises(varlink.VarlinkError) as refused:
        choose(worker, "hello", choices)
    assert refused.value.error() == "io.aetheros.Model.InvalidRequest"
    assert "choices: " in refused.value.parameters()["detail"]
    assert choose(worker, "hello", listed({"time.now": []}))["done"]


def test_an_ordinary_answer_is_free_again_after_a_choice(worker: Worker) -> None:
    choose(worker, "hello", listed({"time.now": []}))
    with worker.calling() as model:
        reply = model.Generate(messages=[{"role": "user", "content": "Say hello."}], max_tokens=20)
    assert not reply["text"].startswith('{"tool"')


def test_a_grammar_that_cannot_be_read_or_leads_nowhere_is_an_error_and_no_crash(
    tools: Toolchain, llama_tree: Path, smollm2: Path
) -> None:
    argv = tools.argv(
        ["python3", HERE / "fit_grammars.py", smollm2],
        readable=[native.REPOSITORY / "agentd", llama_tree, HERE, smollm2.parent],
        env={"PYTHONPATH": f"{native.REPOSITORY}:{llama_tree}"},
    )
    grammars = ['root ::= "', "root ::= nothing", 'root ::= "a" [^\\x00-\\U0010FFFF]', 'root ::= "a"']
    done = subprocess.run(argv, input=json.dumps(grammars), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "llama.cpp cannot read the grammar",
        "llama.cpp cannot read the grammar",
        "no token of this model goes on as the grammar wants",
        "a",
    ]


@pytest.fixture(scope="module")
def larger(start_worker: StartWorker) -> ModelWorker:
    """A model that can choose a little; 1.1 GB are not fetched for a test."""
    model = catalogue.model(LARGER)
    if models.state(model) != "ready":
        pytest.skip(f"the cache has no {LARGER}: `aether models fetch {LARGER}`")
    running = start_worker(models.ensure(model).path, "--context", "2048")
    running.wait_for(": ready: ")
    return ModelWorker(str(running.path))


@pytest.mark.parametrize(
    ("text", "proposal"),
    [
        ("restart nginx", ("services.restart", {"unit": "nginx"})),
        ("show me what is in mystory.txt", ("files.read", {"path": "mystory.txt"})),
    ],
)
def test_a_larger_model_chooses_what_is_plain(
    larger: ModelWorker, text: str, proposal: tuple[str, Mapping[str, str]]
) -> None:
    found = model_choice.propose(larger, text, all_tools(), list(all_tools()), Watch())
    assert found is not None
    assert (found.tool, found.arguments) == proposal
