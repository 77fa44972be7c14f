"""The command `paredown`: its help and version, which need nothing else, and its commands."""

import os
import sys
import traceback

USAGE = """\
usage: paredown COMMAND [OVERRIDE ...]

  search   launch a study, or go on with it:   paredown search task=digits trials=100
  front    show a study's front again:         paredown front study=digits
  compare  set two trials or studies abreast:  paredown compare 11 knee study=digits
  report   write a study's page, offline:      paredown report study=digits
  export   write one trial for deployment:     paredown export study=digits select=knee
  verify   measure an export again, here:      paredown verify runs/digits/export/trial-0012
  unpack   turn model.packed into model.onnx:  paredown unpack model.packed
  apply    run one recipe without a search:    paredown apply recipe=recipe.yaml task=digits
  repair   rescue a study with a damaged file: paredown repair study=digits
  sync     make a study's mirror whole again:  paredown sync study=digits
  ui       open the MLflow UI on the studies:  paredown ui

Overrides are Hydra's: `key=value` or `group=option`; `paredown COMMAND --help` lists them,
`--config-dir DIR` adds your own configurations, `-m` runs one study for each combination.
"""
COMMANDS = (
    *("search", "front", "compare", "report", "export", "verify", "unpack", "apply", "repair"),
    *("sync", "ui"),
)
BAD_INPUT = 2
INTERRUPTED = 130
INTERNAL_ERROR = 1


def main() -> int:
    """Run a command; return 0, or 2 after one line on bad input, or 130 after Ctrl-C."""
    try:
        code = _main()
        sys.stdout.flush()
    except OSError as error:  # commands tell their own
        code = _refuse([f"the output cannot be written: {error.strerror}"])
        # Python would try again, and fail with a traceback, when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _main() -> int:
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if command == "--version":
        from importlib.metadata import version

        print(f"paredown {version('paredown')}")
        return 0
    if command not in COMMANDS:
        return _refuse([f"unknown command '{command}'; choose one of {', '.join(COMMANDS)}"])
    # Imported here, since Hydra takes longer to import than all else that help needs.
    from search.command_line import run_command
    from search.utils.secrets import without_secrets

    try:
        return _refuse(run_command(command, arguments))
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - an error of Paredown itself, which is shown without secrets
        print(without_secrets(traceback.format_exc()), file=sys.stderr, end="")
        return INTERNAL_ERROR


def _refuse(messages: list[str]) -> int:
    """Print a line for each refusal; return the exit code, 0 if nothing was refused."""
    for message in messages:
        print(f"paredown: {message}", file=sys.stderr)
    return BAD_INPUT if messages else 0


if __name__ == "__main__":
    sys.exit(main())
