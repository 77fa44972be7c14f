"""Whatever is configured, a command begins its work or refuses it with one line and exit status 2.

`PAREDOWN_MUTATIONS=2000 pytest -n0 tests/search/config/test_mutated_configurations.py` tries as
many command lines. Each runs in this process, through the command itself, up to its first job.
"""

import os
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from search.cli import BAD_INPUT, COMMANDS, INTERRUPTED, main
from search.config.paths import conf_folder
from tests.search.study.test_driver import MadeUp, run

MUTATIONS = int(os.environ.get("PAREDOWN_MUTATIONS", "8"))
LONGEST = 5.0
"""Seconds of CPU time until a command begins its work or refuses it."""
LONGEST_LINE = 1500
"""Characters of a refusal."""
WORK = {
    "search": ("search.study.run.run_trials",),
    "apply": ("search.deploy.apply.load_task",),
    "export": ("search.deploy.task_now.load_task",),
    "front": ("search.commands.front.study_result",),
    "compare": ("search.commands.compare.study_result",),
    "report": ("search.commands.report.study_result",),
    "verify": ("search.deploy.verified.verify_export",),
    "sync": ("search.study.sync.open_mirror",),
    "ui": ("search.tracking.ui.running_server",),
}
"""By command, the functions that begin what takes long."""
WORDS = """
null 5 -3 0 1e-9 0.5 nan inf -inf 2000000000 1e400 99999 0x10 1_000 2020-01-01
true maybe word '' '\0' ü€😀 ??? ~ @a a=b 1,2 range(3) ../x / a/b . <= <=nan '<=nan' '>=inf' '>=2'
[] [1] [a,a] [[]] [{a:[1]}] {} {a:1} {a:{b:2}} {'':1} {_target_:5} {*:0.5} {no*:9}
${nothing} ${trials} ${task} ${oc.env:UNSET_VARIABLE} ${unknown:1} ${ $ '${oc.decode:"{"}'
{_suggest_:null} {_suggest_:[]} {_suggest_:float,low:0,high:1} {_suggest_:float}
{_suggest_:int,low:1,high:9} {_suggest_:int,low:1,high:9,step:0.5}
{_suggest_:int,low:1,high:9,log:true} {_suggest_:float,low:1,high:0}
{_suggest_:float,low:0,high:1,step:0.3} {_suggest_:float,low:0,high:1,when:5}
{_suggest_:float,low:nan,high:1} {_suggest_:float,low:0,high:inf}
{_suggest_:float,low:0,high:1,anchor:[1]} {_suggest_:categorical,choices:[8,4]}
{_suggest_:categorical,choices:[8,[4]]}
"""
VALUES = (*WORDS.split(), "' '", "'two\nlines'", "x" * 300, "9" * 330)
OPTIONS = {
    "task": ["digits", "mnist_lenet5", "nope", "mine", "leaves", "divides", "loops", "asks"],
    "recipe": ["default", "deep_compression"],
    "sampler": ["tpe", "nsga2", "gp", "random", "brute_force"],
    "objectives": ["score_size", "score_size_latency"],
    "executor": ["local", "ray"],
    "tracking": ["none", "mlflow"],
    "experiment": ["smoke", "keywords"],
}
NAMES = """
builtins.dict builtins.print builtins.int nope nope.nope search.cli . math.inf os.path
collections.abc.Mapping search.cli.main.x __main__.f leaves.f divides.f asks.f syntax.f decodes.f
optuna.samplers.RandomSampler optuna.samplers.BaseSampler optuna.samplers.GridSampler
optuna.samplers.CmaEsSampler optuna.samplers.PartialFixedSampler search.tasks.digits.digits
compressors.low_rank.LowRank search.executors.local.LocalExecutor search.tracking.NoTracker
"""
TARGETS = NAMES.split()
LINES = (
    """
study=../x|study=con|study=file.txt|runs_dir=file.txt|runs_dir=/proc/none|runs_dir=''|runs_dir=null
executor.ordered=maybe|latency.threads=99999|latency.batch_size=2000000000|rungs.count=2000000000
constraints.score>=2|constraints.score<=nan|constraints.size_bytes<=-1|constraints.<=1|~trials
rungs={count:3,factor:1.0000001}|rungs=5|rungs=null|~rungs|~task|~sampler|~steps|~objectives
sampler.seed=1|+sampler.seed=1|++sampler.seed=x|+sampler.constraints_func=5|sampler.multivariate=5
sampler.n_startup_trials=-1|sampler.n_startup_trials=x|sampler.n_ei_candidates=0
sampler.group=true sampler.multivariate=false|hydra=null|hydra.run.dir=null|hydra.run.dir=file.txt
choices.encode=[nope]|choices.encode=[share,share]|+choices.other=[tune,share]|choices.encode=[5]
choices=null|~choices.encode|+choices.prune=[prune]|steps=null|steps=5|~steps.tune|~steps.quantize
+steps.a.b={_target_:x}|+steps.5={_target_:x}|compressor@steps.prune=null|compressor@steps.prune=no
~compressor@steps.prune|+compressor@steps.late=channel_pruning|+compressor@steps.late=distillation
-m seed=0,1|-m trials=0,1|-m task=digits,nope|--config-name nope|--config-dir nope|-cd|--nope|--|-
--config-dir broken task=broken|--config-dir broken task=list|--help=1|--cfg job|--cfg nope|--info
--resolve|-p task|=|=1|a|'|"|{|[]|++|+|~|file.txt
study=study|trust=[a]|trust=a|output=file.txt|recipe=nope.yaml|recipe=empty.yaml|recipe=early.yaml
recipe=.|recipe=|recipe='|recipe_file=5|file=file.txt|file=nope|file=.|out=nope/x|limit_bytes=0
limit_bytes=-1|host=''|host=5|host=nowhere.invalid|port=0|port=99999|select=knee|select=|select='
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
"""Arguments that are wrong in ways of their own, most of them for one of the commands."""
SELECTIONS = (
    "select=max",
    "select=max nope",
    "select=max score where",
    "select=max score where size_bytes<=x",
    "select=min size_bytes where score>=2",
)
RECIPE = "seed: 0\nsteps:\n  q: {_target_: compressors.quantization.Quantization, bits: 8}\n"
USER_FILES = {
    "leaves.py": "import sys\nsys.exit(3)\n",
    "divides.py": "1 / 0\n",
    "loops.py": "def f(): return f()\nf()\n",
    "asks.py": "raise KeyError('two\\nlines')\n",
    "syntax.py": "def f(:\n",
    "decodes.py": b"\xff\xfe",
    "mine.py": "def f(size: int = 1): return {}\n",
    "file.txt": "no model\n",
    "empty.yaml": "",
    "recipe.yaml": RECIPE,
    "early.yaml": RECIPE
    + "  p: {_target_: compressors.channel_pruning.ChannelPruning, ratio: 0.5}\n",
    "my_conf/task/mine.yaml": "_target_: mine.f\nsize: 3\n",
    "my_conf/task/leaves.yaml": "_target_: leaves.f\n",
    "my_conf/task/divides.yaml": "_target_: divides.f\n",
    "my_conf/task/loops.yaml": "_target_: loops.f\n",
    "my_conf/task/asks.yaml": "_target_: asks.f\n",
    "broken/task/broken.yaml": "a: [\n",
    "broken/task/list.yaml": "- 1\n",
}


FIRST = {
    "search": ["--config-dir", "my_conf", "tracking=none"],
    "apply": ["recipe=recipe.yaml"],
    "export": ["study=study"],
    "front": ["study=study"],
    "compare": ["study=study", "1", "knee"],
    "report": ["study=study"],
    "verify": ["."],
    "sync": ["study=study"],
    "repair": ["study=study"],
    "unpack": ["file.txt"],
}
"""By command, arguments without which most others would not matter."""


def keys_of(node: Any, prefix: str = "") -> Iterator[str]:
    """Yield the place of every node of a composed configuration."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from keys_of(value, f"{prefix}{key}.")


def composed_keys(command: str) -> list[str]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return list(keys_of(OmegaConf.to_container(compose(command), resolve=False)))


def mutated_key(keys: list[str], draw: random.Random) -> str:
    """Return an override of one key, known or misspelt, with a value it may not have."""
    key = draw.choice(keys)
    kind = draw.random()
    if kind < 0.08:
        return f"~{key}"
    if kind < 0.12:
        place = draw.randrange(len(key))
        key = key[:place] + key[place + 1 :]
    if kind > 0.92:
        key = f"{key}.{draw.choice(['more', 'low', 'high', 'choices', '_target_', '0', ''])}"
    if key.endswith("_target_") and draw.random() < 0.7:
        return f"{draw.choice(['', '++'])}{key}={draw.choice(TARGETS)}"
    return f"{draw.choice(['', '', '', '+', '++'])}{key}={draw.choice(VALUES)}"


def mutated_group(draw: random.Random) -> str:
    group = draw.choice(list(OPTIONS))
    value = draw.choice([*OPTIONS[group], *OPTIONS[group], *VALUES])
    return f"{draw.choice(['', '', '', '+', '++', '~'])}{group}={value}"


def mutated_line(command: str, keys: list[str], draw: random.Random) -> list[str]:
    """Return the arguments of a command, at least one of which may be wrong."""
    line = list(FIRST.get(command, []))
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        kind = draw.random()
        if kind < 0.6:
            line.append(mutated_key(keys, draw))
        elif kind < 0.75 and command in ("search", "apply"):
            line.append(mutated_group(draw))
        elif kind < 0.8 and command == "export":
            line.append(draw.choice(SELECTIONS))
        else:
            line += draw.choice(LINES).split(" ")
    return line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with modules that fail, damaged configurations and a study."""
    folder = tmp_path_factory.mktemp("mutated")
    for name, content in USER_FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    run(folder / "runs", MadeUp(slots=1), "trials=3", "study=study")
    return folder


def begin(*_: object, **__: object) -> None:
    """Stand in for a command's work; the command then ends as on Ctrl-C."""
    raise KeyboardInterrupt


def fault(command: str, line: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """Run a command up to its work; return how it broke the law, None if it kept it."""
    sys.argv = ["paredown", command, *line]
    before = list(sys.path)
    began = time.process_time()
    try:
        code = main()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any is a fault
        return repr(error)
    finally:
        sys.path[:] = before
    seconds = time.process_time() - began
    _, err = capsys.readouterr()
    if seconds > LONGEST:
        return f"it took {seconds:.1f} s of CPU time"
    lines = err.splitlines()
    if code in (0, INTERRUPTED):
        begun = ["stopped; the same command goes on where this one stopped"]
        return None if lines == (begun if code else []) else f"exit status {code}, {err}"
    clear = len(lines) == 1 or "-m" in line  # one for each job
    clear = clear and all(re.fullmatch(f"paredown: .{{1,{LONGEST_LINE}}}", one) for one in lines)
    return None if code == BAD_INPUT and clear else f"exit status {code}, {err}"


@pytest.mark.fault("a value, a key, a class or a module of a configuration is unfit")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_begins_or_refuses_in_one_line(
    command: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [])
    for name in WORK.get(command, ()):
        monkeypatch.setattr(name, begin)
    keys = composed_keys(command)
    draw = random.Random(command)
    for _ in range(MUTATIONS if command == "search" else max(1, MUTATIONS // 4)):
        line = mutated_line(command, keys, draw)
        how = fault(command, line, capsys)
        assert how is None, f"paredown {command} {line}: {how}"
