"""Every statement fits the schema, and the hot ones use the index they were written for."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import bgworker
from bgworker.engines.sqlite.migrate import migrate
from bgworker.engines.sqlite.queries import SQL, claim_sql, rows_sql, schema, several


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    found = sqlite3.connect(":memory:", isolation_level=None)
    migrate(found, ":memory:", 0)
    yield found
    found.close()


ROWS = {"insert_jobs": "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "archive_held": "(?, ?, ?, ?)"}


def statements() -> dict[str, str]:
    named = {name: sql for name, sql in SQL.items() if "{" not in sql}
    claims = {f"claim over {n}": claim_sql(n) for n in (1, 2, 3, 100)}
    pieces = {
        f"{name} of {n}": rows_sql(name, ROWS[name], n) for name in ROWS for n in (1, 4, 16, 64)
    }
    return {**named, **claims, **pieces}


def plan(db: sqlite3.Connection, sql: str) -> list[str]:
    """The steps SQLite would take. Without statistics: those of a file that was never analysed.

    From 3.50 on it reads some values from the index alone, and filters before it looks.
    """
    parameters = [1] * sql.count("?")
    steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    return [step.replace("COVERING ", "") for step in steps if step != "CREATE BLOOM FILTER"]


@pytest.mark.parametrize("name", statements())
def test_every_statement_fits_the_schema(db: sqlite3.Connection, name: str) -> None:
    sql = statements()[name]
    assert db.execute(f"EXPLAIN {sql}", [1] * sql.count("?")).fetchall() != []


UNIQUE = "SEARCH bgworker_job USING INDEX bgworker_job_unique (task=? AND unique_key=?)"
QUEUED = "SEARCH bgworker_job USING INDEX bgworker_job_queued"
BIG = ("bgworker_job", "bgworker_history")


@pytest.mark.parametrize("name", statements())
def test_no_statement_reads_a_big_table_from_end_to_end(db: sqlite3.Connection, name: str) -> None:
    """What a statement costs depends neither on history nor on what waits or is delayed."""
    for step in plan(db, statements()[name]):
        assert not re.match(rf"SCAN ({'|'.join(BIG)})\b", step), step


@pytest.mark.parametrize("name", statements())
def test_no_statement_sorts(db: sqlite3.Connection, name: str) -> None:
    assert not [step for step in plan(db, statements()[name]) if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("queued_in", ["SEARCH bgworker_job USING INDEX bgworker_job_queued (queue=?)"]),
        (
            "due",
            ["SEARCH bgworker_job USING INDEX bgworker_job_due (run_at<?)"],
        ),
        ("next_due", ["SEARCH bgworker_job USING INDEX bgworker_job_due"]),
        ("owned", ["SEARCH bgworker_job USING INDEX bgworker_job_running (worker=?)"]),
        ("archive", ["SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)"]),
        *(
            (
                name,
                [
                    "SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)",
                    "LIST SUBQUERY 1",
                    "SCAN json_each VIRTUAL TABLE INDEX 1:",
                ],
            )
            for name in ("held", "remove_held")
        ),
        ("remove", ["SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)"]),
        ("retry", ["SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)"]),
        ("release", ["SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)"]),
        ("promote", ["SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)"]),
        ("put_progress", ["SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)"]),
        ("get_on_failure", ["SEARCH bgworker_task USING PRIMARY KEY (name=?)"]),
        ("requeue_crashed", ["SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)"]),
        (
            "get_task",
            [
                "SEARCH t USING PRIMARY KEY (name=?)",
                "SEARCH l USING PRIMARY KEY (scope=? AND name=?) LEFT-JOIN",
            ],
        ),
        (
            "unique_job",
            [UNIQUE],
        ),
        ("queued_free", ["SEARCH bgworker_job USING INDEX bgworker_job_queued (queue=?)"]),
        (
            "queued_known",
            [
                f"{QUEUED} (queue=? AND priority=? AND place>?)",
                "LIST SUBQUERY 1",
                "SCAN json_each VIRTUAL TABLE INDEX 1:",
            ],
        ),
        (
            "queued_lane",
            ["SEARCH bgworker_job USING INDEX bgworker_job_lane (lane=? AND queue=?)"],
        ),
    ],
)
def test_hot_statements_use_their_index(
    db: sqlite3.Connection, name: str, steps: list[str]
) -> None:
    assert plan(db, SQL[name]) == steps


@pytest.mark.parametrize("queues", [1, 3, 100])
def test_a_claim_walks_its_index_in_order(db: sqlite3.Connection, queues: int) -> None:
    """One walk per queue, merged; nothing is read that is not handed out."""
    steps = plan(db, claim_sql(queues))
    walks = [step for step in steps if "bgworker_job_queued" in step]

    assert walks == ["SEARCH bgworker_job USING INDEX bgworker_job_queued (queue=?)"] * queues or (
        walks == ["SEARCH bgworker_job USING COVERING INDEX bgworker_job_queued (queue=?)"] * queues
    )
    assert sum("SEARCH bgworker_job USING INTEGER PRIMARY KEY" in step for step in steps) == 1


@pytest.mark.parametrize("rows", [1, 4, 16, 64])
def test_what_ended_is_found_by_its_number(db: sqlite3.Connection, rows: int) -> None:
    steps = plan(db, rows_sql("archive_held", ROWS["archive_held"], rows))

    assert "SEARCH bgworker_job USING INTEGER PRIMARY KEY (rowid=?)" in steps, steps


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 63, 64, 65, 200])
def test_pieces_hold_every_row_once_in_order(rows: int) -> None:
    pieces = list(several(range(rows)))

    assert [row for piece in pieces for row in piece] == list(range(rows))
    assert {len(piece) for piece in pieces} <= {64, 16, 4, 1}


def test_ages_come_from_the_head_of_the_index(db: sqlite3.Connection) -> None:
    steps = plan(db, SQL["available_since"])

    assert any(
        "SEARCH bgworker_job USING INDEX bgworker_job_queued (queue=? AND priority=?)" in step
        for step in steps
    ), steps


@pytest.mark.parametrize("name", ["live_record", "final_record", "names_of"])
def test_a_record_is_found_by_its_number(db: sqlite3.Connection, name: str) -> None:
    steps = plan(db, SQL[name])

    assert any("USING INTEGER PRIMARY KEY (rowid=?)" in step for step in steps), steps


def work(db: sqlite3.Connection, sql: str, parameters: tuple[object, ...]) -> int:
    """Thousands of instructions of SQLite's machine that a statement takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    db.set_progress_handler(count, 100)
    db.execute(sql, parameters).fetchall()
    db.set_progress_handler(None, 0)
    return steps


def test_what_a_claim_costs_does_not_depend_on_what_else_is_stored(
    db: sqlite3.Connection,
) -> None:
    """Counted in instructions: 20,000 delayed, 20,000 waiting and 20,000 finished jobs."""
    columns = "task, queue, priority, state, place, run_at, enqueued_at, args"
    insert = f"INSERT INTO bgworker_job ({columns}) VALUES ('t', ?, ?, ?, 0, ?, 0, '[[],{{}}]')"
    db.executemany(insert, [(f"q{n % 3}", 5, "queued", 0) for n in range(30)])
    queues = ("q0", "q1", "q2")
    db.execute("BEGIN")
    before = {
        "claim": work(db, claim_sql(3), (1, *queues, 5)),
        "due": work(db, SQL["due"], (1,)),
        "next_due": work(db, SQL["next_due"], ()),
        "owned": work(db, SQL["owned"], (2,)),
    }
    db.execute("ROLLBACK")
    db.execute("BEGIN")
    db.executemany(insert, [(f"q{n % 3}", 7, "queued", 0) for n in range(20_000)])
    db.executemany(insert, [(f"q{n % 3}", 5, "scheduled", 99) for n in range(20_000)])
    db.execute(
        "INSERT INTO bgworker_history (task, queue, priority, state, run_at, enqueued_at,"
        " finished_at, attempts, retries, crashes, claim, args)"
        " SELECT task, queue, 1, 'dead', 0, 0, 0, 1, 0, 0, 1, '' FROM bgworker_job"
    )
    after = {
        "claim": work(db, claim_sql(3), (1, *queues, 5)),
        "due": work(db, SQL["due"], (1,)),
        "next_due": work(db, SQL["next_due"], ()),
        "owned": work(db, SQL["owned"], (2,)),
    }
    db.execute("ROLLBACK")

    assert {name: after[name] - before[name] <= 3 for name in after} == dict.fromkeys(after, True)


def test_every_statement_is_used() -> None:
    """One that nobody runs only looks as if it were tested."""
    folder = Path(bgworker.__file__).parent
    code = "".join(path.read_text() for path in folder.rglob("*.py"))

    assert [name for name in SQL if f'"{name}"' not in code] == []


def test_every_table_carries_our_name() -> None:
    """The queue may live in an application's own database."""
    names = re.findall(r"CREATE (?:TABLE|INDEX|UNIQUE INDEX) (\w+)", schema())

    assert len(names) > 8
    assert all(name.startswith("bgworker_") for name in names)
