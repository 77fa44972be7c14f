from pathlib import Path

from search.study.progress.phase_lines import PhaseLines
from search.trial.messages import PHASE


def test_each_phase_is_shown_once_as_soon_as_its_line_is_whole(tmp_path: Path) -> None:
    log, shown = tmp_path / "log.txt", list[str]()
    phases = PhaseLines(log, shown.append)
    phases.show()
    log.write_text(f"{PHASE}the task\na warning\n{PHASE}the ba")
    phases.show()
    assert shown == [f"{PHASE}the task"]
    with log.open("a") as file:
        file.write("seline\n")
    phases.show()
    phases.show()
    assert shown == [f"{PHASE}the task", f"{PHASE}the baseline"]


def test_phases_of_an_earlier_preparation_are_not_shown(tmp_path: Path) -> None:
    log, shown = tmp_path / "log.txt", list[str]()
    log.write_text(f"{PHASE}of yesterday\n")
    phases = PhaseLines(log, shown.append)
    with log.open("a") as file:
        file.write(f"{PHASE}the task\n")
    phases.show()
    assert shown == [f"{PHASE}the task"]
