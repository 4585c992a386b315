"""``genba report``: the page of a run, and the tables of the README and of the pages in docs/ that are generated."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba.cli.default_command import DefaultCommand
from genba.errors import ConfigError
from genba.report.anomalies import anomalies_table
from genba.report.conditions import conditions_table
from genba.report.job_shops import job_shops_table
from genba.report.page import write_page
from genba.report.readers import readers_table
from genba.report.readme import results_table, with_table
from genba.report.stores import stores_table
from genba.report.vehicle_logs import vehicle_logs_tables


class _PageFirst(DefaultCommand):
    """``genba report RUN_DIR`` means ``genba report page RUN_DIR``."""

    default = "page"
    also_alone = True


TableFile = Annotated[Path, typer.Option(help="The file that holds the table.")]
Check = Annotated[bool, typer.Option("--check", help="Change nothing; fail where the table is not current.")]

app = typer.Typer(cls=_PageFirst, help="Make one HTML page of everything that was measured: genba report [RUN_DIR].")


@app.command()
def page(
    run_dir: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("demo-run"),
    out: Annotated[Path | None, typer.Option(help="Where to write; RUN_DIR/report.html by default.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Make the page of a run (what 'genba report RUN_DIR' does)."""
    path = write_page(run_dir, out)
    Console().print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
    if show:
        webbrowser.open(path.resolve().as_uri())


@app.command()
def readme(
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("docs/results"),
    file: TableFile = Path("README.md"),
    check: Check = False,
) -> None:
    """Generate the README's table of results from result files."""
    _generate(file, results_table(results), results, check=check, command="genba report readme")


@app.command()
def stores(
    result: Annotated[Path, typer.Option(help="What perf/stores/measure.py wrote.")] = Path(
        "docs/measurements/stores.json"
    ),
    file: TableFile = Path("docs/data.md"),
    check: Check = False,
) -> None:
    """Generate the table of stores from a measurement."""
    _generate(file, stores_table(result), result, check=check, command="genba report stores")


@app.command()
def readers(
    result: Annotated[Path, typer.Option(help="What scripts/fuzz_readers.py --out wrote.")] = Path(
        "docs/measurements/fuzz.json"
    ),
    file: TableFile = Path("docs/readers.md"),
    check: Check = False,
) -> None:
    """Generate the table of log formats from the registry and from what came of breaking their logs."""
    _generate(file, readers_table(result), result, check=check, command="genba report readers")


@app.command()
def conditions(
    machine: Annotated[str, typer.Option(help="arm or vehicle.")] = "arm",
    results: Annotated[
        Path | None, typer.Option(help="Folder of result files; docs/measurements/MACHINE by default.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The file that holds the table; docs/MACHINE.md by default.")
    ] = None,
    check: Check = False,
) -> None:
    """Generate the tables of a machine's conditions from result files."""
    results, file = results or Path("docs/measurements") / machine, file or Path("docs") / f"{machine}.md"
    command = f"genba report conditions --machine {machine}"
    _generate(file, conditions_table(results, machine), results, check=check, command=command)


@app.command("vehicle-logs")
def vehicle_logs(
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("docs/measurements"),
    file: TableFile = Path("docs/vehicle-logs.md"),
    check: Check = False,
) -> None:
    """Generate the tables of recorded drives and sweeps from measurements."""
    _generate(file, vehicle_logs_tables(results), results, check=check, command="genba report vehicle-logs")


@app.command(name="job-shops")
def job_shops(
    result: Annotated[Path, typer.Option(help="What genba factory job-shop --out wrote.")] = Path(
        "docs/measurements/fjsp.json"
    ),
    file: TableFile = Path("docs/factory.md"),
    check: Check = False,
) -> None:
    """Generate the table of flexible job shops from a measurement."""
    _generate(file, job_shops_table(result), result, check=check, command="genba report job-shops")


@app.command()
def anomalies(
    result: Annotated[Path, typer.Option(help="What genba factory anomalies --out wrote.")] = Path(
        "docs/measurements/skab.json"
    ),
    file: TableFile = Path("docs/sensor-networks.md"),
    check: Check = False,
) -> None:
    """Generate the table of anomaly detectors from a measurement."""
    _generate(file, anomalies_table(result), result, check=check, command="genba report anomalies")


def _generate(file: Path, table: str, source: Path, *, check: bool, command: str) -> None:
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; run this where the README stands, or name it with --file")
    before = file.read_text(encoding="utf-8")
    after = with_table(before, table, where=str(file))
    if before == after:
        Console().print(f"{file}: the table is what {source} gives", highlight=False)
    elif check:
        raise ConfigError(f"{file}: the table differs from what {source} gives; run '{command}'")
    else:
        file.write_text(after, encoding="utf-8")
        Console().print(f"{file}: table generated from {source}", highlight=False)
