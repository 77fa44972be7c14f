import importlib
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import mlflow
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import yaml

from search.artefact.onnx_form.rewriting.canonical import canonical
from search.cli import main
from search.config.overrides import flags_first, rewrite

PAREDOWN = [sys.executable, "-m", "search.cli"]
ROOT = Path(__file__).parents[2]
MINE = ["--config-dir", "my_conf", "task=mine"]
# Which trials are on the front does not depend on the clock.
EXACT = ["objectives=score_size", "~constraints.relative_drop"]
SHORT = ["executor.workers=2", "latency.rounds=4", *EXACT]


def _with_default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    # A shell that starts a test run in the background leaves Ctrl-C ignored, nohup SIGHUP.
    return subprocess.Popen(
        [*PAREDOWN, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_with_default_signals,
    )


def paredown(*arguments: str, folder: Path) -> tuple[int, str, str]:
    with start(list(arguments), folder) as process:
        out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def swept(user_folder: Path) -> Path:
    """A user's folder after one sweep of 10 trials over the user's own model."""
    code, out, err = paredown("search", *MINE, *SHORT, "trials=10", folder=user_folder)
    assert (code, err) == (0, ""), err
    assert "on the front" in out or "hypervolume" in out
    return user_folder


def runs_of(folder: Path, study: str) -> list[mlflow.entities.Run]:
    query = f"tags.`paredown.study` = '{study}' and tags.`paredown.trial` != ''"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, of SQLAlchemy
        client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("paredown")
        return list(client.search_runs([experiment.experiment_id], query, max_results=1000))


def test_a_sweep_leaves_trials_front_pictures_and_tracker(swept: Path) -> None:
    folder = swept / "runs" / "mine"
    frame = pd.read_parquet(folder / "trials.parquet")
    assert list(frame["number"]) == list(range(10))
    assert frame["recipe_hash"].is_unique
    assert frame["origin"][:4].tolist() == [
        "baseline",
        "rival:int8",
        "rival:4 bits",
        "path:quantize:0.5000",
    ]
    assert (folder / "report.html").stat().st_size > 1_000_000
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    runs = runs_of(swept, "mine")
    assert len(runs) == 10
    marked = {
        int(r.data.tags["paredown.trial"]) for r in runs if r.data.tags["paredown.front"] == "true"
    }
    assert marked == set(frame.loc[frame["front"], "number"])
    assert frame.loc[frame["front"], "test_score"].notna().all()


def test_the_baseline_is_trial_0_and_equals_itself(swept: Path) -> None:
    first = pd.read_parquet(swept / "runs" / "mine" / "trials.parquet").iloc[0]
    stored = json.loads((swept / "runs" / "mine" / "baseline" / "figures.json").read_text())
    assert first["score_drop"] == 0
    assert first["size_bytes"] == stored["figures"]["size_bytes"]
    assert 0.7 < first["latency_ratio"] < 1.4


@pytest.mark.slow  # a second sweep
def test_running_again_adds_only_what_is_missing(swept: Path) -> None:
    before = pd.read_parquet(swept / "runs" / "mine" / "trials.parquet")
    code, _, err = paredown("search", *MINE, *SHORT, "trials=11", folder=swept)
    assert (code, err) == (0, "")
    after = pd.read_parquet(swept / "runs" / "mine" / "trials.parquet")
    assert len(after) == 11
    columns = ["number", "recipe_hash", "seed", "size_bytes", "score"]
    pd.testing.assert_frame_equal(after[columns][:10], before[columns][:10])
    assert len(runs_of(swept, "mine")) == 11


@pytest.mark.fault("a study was begun with another space")
@pytest.mark.slow  # another start of a sweep
def test_a_study_begun_with_another_space_is_refused(swept: Path) -> None:
    narrower = "steps.prune.ratio.high=0.5"
    code, out, err = paredown("search", *MINE, *SHORT, narrower, folder=swept)
    assert (code, out) == (2, "study mine: 40 trials in runs/mine\n")
    assert err.count("\n") == 1
    assert "begun with another space" in err


def test_an_exported_model_runs_without_our_code_and_scores_what_its_card_says(
    swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = paredown("export", "study=mine", "select=knee", folder=swept)
    assert (code, err) == (0, "")
    exported = Path(swept, out.strip().rpartition("written to ")[2])
    evidence = json.loads((exported / "evidence.json").read_text())
    monkeypatch.syspath_prepend(swept)
    inputs, targets = importlib.import_module("user_model").data(200, 3)
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    outputs = session.run(None, {"input": inputs.numpy()})[0]
    score = float(np.mean(outputs.argmax(1) == targets.numpy()))
    assert score == pytest.approx(evidence["test"]["score"])
    assert f"{score:.6f}" in (exported / "README.md").read_text()
    again = subprocess.run(
        [sys.executable, "unpack.py", "model.packed", "again.onnx"],
        cwd=exported,
        capture_output=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    # What the trial measured, to the byte: the exported file has names and a description beside it.
    kept = swept / "runs" / "mine" / "trials" / f"{evidence['trial']:04d}" / "model.onnx"
    assert (exported / "again.onnx").read_bytes() == kept.read_bytes()


@pytest.mark.fault("the model file of an exported trial was changed")
def test_an_export_whose_file_was_changed_is_refused(swept: Path) -> None:
    frame = pd.read_parquet(swept / "runs" / "mine" / "trials.parquet")
    number = frame.loc[frame[frame["front"]]["size_bytes"].idxmin(), "number"]
    kept = swept / "runs" / "mine" / "trials" / f"{number:04d}" / "model.onnx"
    whole = kept.read_bytes()
    kept.write_bytes((swept / "runs" / "mine" / "baseline" / "model.onnx").read_bytes())
    try:
        select = f"select={number}"
        code, _, err = paredown("export", "study=mine", select, "output=changed", folder=swept)
    finally:
        kept.write_bytes(whole)
    assert code == 2
    assert "not exported" in err


def test_a_dominated_trial_is_made_again_and_gives_equal_figures(swept: Path) -> None:
    frame = pd.read_parquet(swept / "runs" / "mine" / "trials.parquet")
    row = frame[~frame["front"] & (frame["status"] == "ok") & (frame["number"] > 0)].iloc[0]
    assert not (swept / f"runs/mine/trials/{row['number']:04d}/model.onnx").exists()
    size, nll = row["size_bytes"], float(row["nll"])
    select = f"select=max score where size_bytes=={size:.0f} and nll=={nll!r}"
    code, _, err = paredown("export", "study=mine", select, "output=again", folder=swept)
    assert (code, err) == (0, "")
    assert (swept / "again" / "model.packed").stat().st_size == row["size_bytes"]
    plain = canonical(onnx.load(swept / "again" / "model.onnx"))  # without its description
    assert len(plain.SerializeToString()) == row["run_bytes"]


def test_a_recipe_applied_gives_the_figures_of_its_trial(swept: Path) -> None:
    frame = pd.read_parquet(swept / "runs" / "mine" / "trials.parquet")
    row = frame[(frame["status"] == "ok") & (frame["number"] > 6)].iloc[0]
    recipe = f"recipe=runs/mine/trials/{row['number']:04d}/recipe.yaml"
    code, _, err = paredown("apply", recipe, *MINE, "output=applied", folder=swept)
    assert (code, err) == (0, "")
    found = json.loads((swept / "applied" / "metrics.json").read_text())
    for name in ("score", "nll", "size_bytes", "run_bytes", "nonzeros"):
        assert found[name] == pytest.approx(row[name], rel=1e-6)


def test_the_front_is_shown_again(swept: Path) -> None:
    code, out, err = paredown("front", "study=mine", folder=swept)
    assert (code, err) == (0, "")
    assert "knee" in out
    code, out, err = paredown("front", "study=mine", "format=json", folder=swept)
    assert (code, err) == (0, "")
    assert [row for row in json.loads(out)["rows"] if "knee" in row["roles"]]


def test_two_trials_are_compared_and_a_page_is_written(swept: Path) -> None:
    code, out, err = paredown("compare", "0", "knee", "study=mine", folder=swept)
    assert (code, err) == (0, "")
    assert "score" in out
    code, out, err = paredown("report", "study=mine", folder=swept)
    assert (code, out, err) == (0, "runs/mine/report.html\n", "")


@pytest.mark.slow  # two sweeps
def test_a_killed_sweep_goes_on_without_losing_or_doubling_a_trial(user_folder: Path) -> None:
    arguments = ["search", *MINE, *SHORT, "trials=10", "study=killed"]
    first = start(arguments, user_folder)
    assert first.stdout is not None
    while not first.stdout.readline().lstrip().startswith("4 "):
        assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    code, _, err = paredown(*arguments, folder=user_folder)
    assert (code, err) == (0, "")
    frame = pd.read_parquet(user_folder / "runs" / "killed" / "trials.parquet")
    assert list(frame["number"]) == list(range(10))
    assert frame["recipe_hash"].is_unique
    numbers = [int(run.data.tags["paredown.trial"]) for run in runs_of(user_folder, "killed")]
    assert sorted(numbers) == list(range(10))


@pytest.mark.fault("Ctrl-C, SIGTERM or SIGHUP")
@pytest.mark.slow  # a sweep of its own for each signal
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_cleanly_and_keeps_what_was_measured(
    number: signal.Signals, user_folder: Path
) -> None:
    name = f"stopped-{number.name}"
    arguments = ["search", *MINE, *SHORT, "trials=10", f"study={name}", "tracking=none"]
    process = start(arguments, user_folder)
    assert process.stdout is not None
    shown: set[int] = set()
    while len(shown) < 3:
        assert process.poll() is None
        word = process.stdout.readline().split(maxsplit=1)[:1]
        shown |= {int(number) for number in word if number.isdecimal()}
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped; the same command goes on where this one stopped\n"
    frame = pd.read_parquet(user_folder / "runs" / name / "trials.parquet")
    assert shown <= set(frame["number"])
    assert len(frame) < 10


@pytest.mark.slow  # two sweeps
def test_a_sweep_over_seeds_runs_one_study_each(user_folder: Path) -> None:
    outer = ["-m", "seed=0,1", "runs_dir=outer", "tracking=none", "trials=2"]
    code, _, err = paredown("search", *MINE, *SHORT, *outer, folder=user_folder)
    assert (code, err) == (0, "")
    studies = sorted(path.parent.name for path in user_folder.glob("outer/*/trials.parquet"))
    assert studies == ["mine", "mine-seed1"]


@pytest.mark.slow  # two sweeps that go beyond the initial trials
def test_one_worker_and_the_same_seed_give_the_same_front_twice(user_folder: Path) -> None:
    frames = []
    for place in ("once", "twice"):
        one = ["executor.workers=1", f"runs_dir={place}", "tracking=none", "trials=50", "seed=3"]
        code, _, err = paredown("search", *MINE, *SHORT[1:], *one, folder=user_folder)
        assert (code, err) == (0, "")
        frames.append(pd.read_parquet(user_folder / place / "mine-seed3" / "trials.parquet"))
    columns = ["origin", "recipe_hash", "status", "score", "size_bytes", "latency_ratio", "front"]
    pd.testing.assert_frame_equal(frames[0][columns], frames[1][columns])
    kinds = set(frames[0]["origin"].str.partition(":")[0])
    assert {"path", "encoding", "variation", "sampled"} <= kinds


BAD = {
    "trails=5": "trails: Key 'trails' is not in struct; did you mean 'trials'?",
    "+trails=5": "'+trails' names no key of the configuration; did you mean 'trials'?",
    "+steps.prune.ratoi=0.2": "'+steps.prune.ratoi' names no key",
    "steps.prune.ratio.hihg=1": "did you mean 'high'?",
    "task=nope": "Could not find 'task/nope'",
    "trials=abc": "trials: Value 'abc' of type 'str' could not be converted to Integer",
    "trials=0": "trials must be in [1, 10000000], got 0",
    "seed=-1": "seed must be in [0, 2**32), got -1",
    "timeout=0": "timeout must be above 0 seconds or null, got 0",
    "steps.prune.ratio.low=0.9": "low 0.9 lies above high 0.75",
    "steps.prune.ratio=1.5": "steps.prune: ratio must be in [0, 1), got 1.5",
    "steps.prune.ratio.high=1.5": "steps.prune: ratio must be in [0, 1), got 1.5",
    "executor.wrokers=2": "did you mean 'workers'?",
    "executor.workers=0": "executor.workers must be a whole number in [1, 1024], got 0",
    "constraints.scor_drop<=0.1": "there is no metric 'scor_drop'; did you mean 'score_drop'?",
    "constraints.score_drop<=much": "must be '<=' or '>=' and a number",
    "objectives.score=up": "objectives.score must be 'maximize' or 'minimize', or 'auto' for that",
    "+task.sead=1": "unexpected keyword argument 'sead'",
    "++latency.foo=1": "Key 'foo' not in 'LatencySchema'",
    "study=..": "study names a folder and must not begin with a dot, got '..'",
    "latency.rounds=0": "latency.rounds must be a whole number in [1, 100000], got 0",
    "tracking.uri=http://127.0.0.1:9": "cannot be reached",
    "study=a/b": "study names a folder and must have none of",
    "nonsense": "missing EQUAL",
    "sampler=null": "sampler=null: Config group override must be a string or a list",
    "steps.quantize.bits.choices=5": "bits.choices must be a list, each item null, true or false",
    "steps.prune.layers=5": "steps.prune.layers must be a mapping of text to a number, got 5",
    "retries=-1": "retries must be at least 0, got -1",
    "tracking.uri=http://host:99999999": "Port out of range",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_input_gets_one_line_and_starts_nothing(
    override: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["paredown", "search", override])
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main() == 2
    out, err = capsys.readouterr()
    assert BAD[override] in err
    assert err.count("\n") == 1, err
    assert out in ("", "study digits: 40 trials in runs/digits\n")
    assert not list(tmp_path.rglob("trials"))


@pytest.mark.slow  # another start of a sweep
def test_a_task_that_calls_another_way_better_is_refused_before_any_trial(
    user_folder: Path,
) -> None:
    arguments = ["objectives.score=minimize", "study=wrong_way", "tracking=none"]
    code, _, err = paredown("search", *MINE, *SHORT, *arguments, folder=user_folder)
    assert code == 2
    assert err.count("\n") == 1
    assert "the task's score is better when higher; set objectives.score=maximize" in err
    assert not (user_folder / "runs" / "wrong_way" / "trials").exists()


def test_the_console_script_ends_with_the_exit_code(tmp_path: Path) -> None:
    code, out, err = paredown("search", "trails=5", folder=tmp_path)
    assert (code, out) == (2, "")
    assert err == "paredown: trails: Key 'trails' is not in struct; did you mean 'trials'?\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("front", "no study 'None' in runs; there are: -"),
        ("compare", "compare needs two sides: paredown compare 11 knee study=digits"),
        ("report", "no study 'None' in runs; there are: -"),
        ("export", "no study 'None' in runs; there are: -"),
        ("sync", "no study 'None' in runs; there are: -"),
        ("apply", "apply needs a recipe: recipe=PATH of a recipe.yaml"),
        ("ui", "mlflow.db does not exist: run `paredown search`"),
    ],
)
def test_a_command_without_any_argument_says_what_it_lacks(
    command: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["paredown", command])
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main() == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


UNKNOWN = {
    ("front", "++anything=1"): "anything: Key 'anything' not in 'FrontSchema'; there are: study, ",
    ("front", "++formt=csv"): "not in 'FrontSchema'; did you mean 'format'?",
    ("compare", "++c=1"): "Key 'c' not in 'CompareSchema'",
    ("report", "++out=1"): "Key 'out' not in 'StoredSchema'",
    (
        "export",
        "++selekt=knee",
    ): "not in 'ExportSchema'; did you mean 'select'?",
    ("apply", "++latency.round=1"): "not in 'LatencySchema'; did you mean 'rounds'?",
    ("apply", "++thread=1"): "not in 'ApplySchema'; did you mean 'threads'?",
    ("unpack", "++limit=1"): "limit: Key 'limit' not in 'UnpackSchema'",
    ("ui", "++prot=1"): "not in 'UiSchema'; did you mean 'port'?",
    ("ui", "port=web"): "port: Value 'web' of type 'str' could not be converted to Integer",
    (
        "search",
        "++anything=1",
    ): "Key 'anything' not in 'SearchSchema'; there are: study, ",
}


@pytest.mark.parametrize(("command", "override"), UNKNOWN)
def test_every_command_refuses_a_key_that_it_does_not_have_in_one_line(
    command: str,
    override: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["paredown", command, override])
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main() == 2
    err = capsys.readouterr().err
    assert UNKNOWN[command, override] in err
    assert err.count("\n") == 1, err


def test_help_and_config_errors_load_neither_torch_nor_mlflow() -> None:
    script = (
        "import sys; from search import cli; sys.argv = ['paredown', 'search', 'trails=5'];"
        "assert cli.main() == 2; assert not {'torch', 'mlflow', 'optuna'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argument", "rewritten"),
    [
        ("constraints.score_drop<=0.02", "++constraints.score_drop='<=0.02'"),
        ("constraints.score>=0.9", "++constraints.score='>=0.9'"),
        ("constraints.size_bytes <= 20 kB", "++constraints.size_bytes='<=20 kB'"),
        ("select=smallest where score_drop <= 1%", "select='smallest where score_drop <= 1%'"),
        ("select=max score where size_bytes<=9", "select='max score where size_bytes<=9'"),
        ("recipe=a b/recipe.yaml", "recipe_file='a b/recipe.yaml'"),
        ("recipe=default", "recipe=default"),
        ("+experiment=smoke", "experiment=smoke"),
        ("+task=digits", "task=digits"),
        ("+task.sead=1", "+task.sead=1"),
        ("+mine=here", "+mine=here"),
        ("trials=3", "trials=3"),
    ],
)
def test_arguments_are_rewritten_as_hydra_reads_them(argument: str, rewritten: str) -> None:
    assert rewrite(argument, "search") == rewritten


def test_flags_may_stand_anywhere() -> None:
    arguments = ["task=mine", "--config-dir", "my_conf", "-m", "seed=0,1"]
    assert flags_first(arguments) == ["--config-dir", "my_conf", "-m", "task=mine", "seed=0,1"]


def test_config_yaml_repeats_the_study(swept: Path) -> None:
    kept = yaml.safe_load((swept / "runs" / "mine" / "config.yaml").read_text())
    assert kept["trials"] in (10, 11)
    assert kept["steps"]["prune"]["ratio"]["_suggest_"] == "float"
    assert "version" in kept["code"] or "commit" in kept["code"]


@pytest.mark.fault("the output cannot be written")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device of this system is full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["search", "--help"]])
@pytest.mark.parametrize("output", ["full", "closed"])
def test_an_output_that_takes_nothing_is_said_in_one_line(
    output: str, arguments: list[str], tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full, open(writer, "wb") as closed:
        done = subprocess.run(
            [*PAREDOWN, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full if output == "full" else closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = {"full": "No space left on device", "closed": "Broken pipe"}[output]
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
