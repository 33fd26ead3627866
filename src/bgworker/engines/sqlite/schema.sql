-- Version 1. Instants are milliseconds of UTC. Every name begins with bgworker_, so that the tables
-- can live in an application's own database.

CREATE TABLE bgworker_migration (
    version    INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL
) STRICT;

-- Jobs that are alive. Finished ones move to bgworker_history in the transaction that ends them, so
-- that what a claim costs depends neither on history nor on the number of delayed jobs.
-- AUTOINCREMENT: an id is never given twice, so (id, claim) names one run for ever.
CREATE TABLE bgworker_job (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    task        TEXT    NOT NULL,
    queue       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    state       TEXT    NOT NULL
                CHECK (state IN ('scheduled', 'queued', 'running', 'retrying', 'blocked')),
    -- Where the job stands in its queue: the highest id given out when it became available.
    -- Jobs of one place stand in the order of their ids.
    place       INTEGER NOT NULL,
    -- When it is, or became, available to workers.
    run_at      INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    claim       INTEGER NOT NULL DEFAULT 0,
    worker      INTEGER,
    -- Of a running job: the error it will end with, because somebody asked for its cancellation.
    cancel      TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    retries     INTEGER NOT NULL DEFAULT 0,
    crashes     INTEGER NOT NULL DEFAULT 0,
    args        TEXT    NOT NULL,
    error       TEXT,
    -- Jobs of limited tasks wait in a lane, so that no claim has to read what may not start now.
    lane        TEXT,
    expires_at  INTEGER,
    unique_key  TEXT,
    -- Whether other jobs come after this one; how many of those it comes after have not succeeded.
    linked      INTEGER NOT NULL DEFAULT 0,
    blockers    INTEGER NOT NULL DEFAULT 0,
    takes       TEXT
) STRICT;

CREATE INDEX bgworker_job_queued ON bgworker_job (queue, priority, place)
WHERE state = 'queued' AND lane IS NULL;
CREATE INDEX bgworker_job_lane ON bgworker_job (lane, queue, priority, place)
WHERE state = 'queued' AND lane IS NOT NULL;
CREATE INDEX bgworker_job_lane_age ON bgworker_job (queue, run_at)
WHERE state = 'queued' AND lane IS NOT NULL;
CREATE UNIQUE INDEX bgworker_job_unique ON bgworker_job (task, unique_key)
WHERE unique_key IS NOT NULL;
CREATE INDEX bgworker_job_due ON bgworker_job (run_at) WHERE state IN ('scheduled', 'retrying');
CREATE INDEX bgworker_job_running ON bgworker_job (worker) WHERE state = 'running';

CREATE TABLE bgworker_history (
    id          INTEGER PRIMARY KEY,
    task        TEXT    NOT NULL,
    queue       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('succeeded', 'failed', 'dead', 'cancelled')),
    run_at      INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER NOT NULL,
    worker      INTEGER,
    attempts    INTEGER NOT NULL,
    retries     INTEGER NOT NULL,
    crashes     INTEGER NOT NULL,
    claim       INTEGER NOT NULL,  -- a retry goes on from here
    args        TEXT    NOT NULL,
    result      TEXT,
    error       TEXT,
    -- For a retry too: what the job was, and what it came after if it was cancelled before that.
    lane        TEXT,
    unique_key  TEXT,
    after       TEXT,
    takes       TEXT
) STRICT;

CREATE INDEX bgworker_history_finished ON bgworker_history (finished_at);
-- Without the successes, which would have one more page to write.
CREATE INDEX bgworker_history_bad ON bgworker_history (state, finished_at)
WHERE state IN ('failed', 'dead');

-- What runs said of their progress, as [n, total, text, at]; only jobs that do have a row. It stays
-- with the job's history.
CREATE TABLE bgworker_progress (
    job  INTEGER PRIMARY KEY,
    said TEXT NOT NULL
) STRICT;

-- How many jobs are in each state, kept by the transaction that moves them: depth costs no scan.
CREATE TABLE bgworker_tally (
    queue    TEXT    NOT NULL,
    priority INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, state)
) STRICT, WITHOUT ROWID;

-- Which jobs come after which, until the child may run or never will. place is the parent's among
-- the child's parents; a job of a unique key can be several of them.
CREATE TABLE bgworker_edge (
    parent INTEGER NOT NULL,
    child  INTEGER NOT NULL,
    place  INTEGER NOT NULL,
    PRIMARY KEY (parent, child, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX bgworker_edge_child ON bgworker_edge (child, place);

-- The first job of each idempotency key, for as long as it is stored.
CREATE TABLE bgworker_idempotency (
    task TEXT    NOT NULL,
    key  TEXT    NOT NULL,
    job  INTEGER NOT NULL,
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX bgworker_idempotency_job ON bgworker_idempotency (job);

-- What may start at once and per second: of a task, of a queue, of all workers with a rate.
-- next_at is the state of the rate, in microseconds of UTC.
CREATE TABLE bgworker_limit (
    scope       TEXT    NOT NULL CHECK (scope IN ('task', 'queue', 'workers')),
    name        TEXT    NOT NULL,
    concurrency INTEGER,
    rate        REAL,
    next_at     INTEGER,
    paused      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- How many jobs of each lane wait and run, kept by triggers: no move can forget them, and a dead
-- worker leaves no slot taken. Lanes are served in turn.
CREATE TABLE bgworker_lane (
    name    TEXT    NOT NULL,
    queue   TEXT    NOT NULL,
    task    TEXT    NOT NULL,
    waiting INTEGER NOT NULL,
    running INTEGER NOT NULL,
    served  INTEGER NOT NULL,
    PRIMARY KEY (name, queue)
) STRICT, WITHOUT ROWID;
CREATE INDEX bgworker_lane_waiting ON bgworker_lane (served) WHERE waiting > 0;

CREATE TRIGGER bgworker_lane_enter AFTER INSERT ON bgworker_job WHEN NEW.lane IS NOT NULL BEGIN
    INSERT INTO bgworker_lane (name, queue, task, waiting, running, served)
    VALUES (NEW.lane, NEW.queue, NEW.task, NEW.state = 'queued', NEW.state = 'running',
            NEW.enqueued_at)
    ON CONFLICT DO UPDATE SET waiting = waiting + excluded.waiting,
                              running = running + excluded.running;
END;

CREATE TRIGGER bgworker_lane_move AFTER UPDATE OF state ON bgworker_job WHEN NEW.lane IS NOT NULL
BEGIN
    INSERT INTO bgworker_lane (name, queue, task, waiting, running, served)
    VALUES (NEW.lane, NEW.queue, NEW.task, (NEW.state = 'queued') - (OLD.state = 'queued'),
            (NEW.state = 'running') - (OLD.state = 'running'), NEW.enqueued_at)
    ON CONFLICT DO UPDATE SET waiting = waiting + excluded.waiting,
                              running = running + excluded.running;
END;

CREATE TRIGGER bgworker_lane_leave AFTER DELETE ON bgworker_job WHEN OLD.lane IS NOT NULL BEGIN
    UPDATE bgworker_lane
    SET waiting = waiting - (OLD.state = 'queued'), running = running - (OLD.state = 'running')
    WHERE name = OLD.lane AND queue = OLD.queue;
    DELETE FROM bgworker_lane
    WHERE name = OLD.lane AND queue = OLD.queue AND waiting = 0 AND running = 0;
END;

-- What ever happened in a queue; these only grow.
CREATE TABLE bgworker_queue (
    name          TEXT PRIMARY KEY,
    succeeded     INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    dead          INTEGER NOT NULL DEFAULT 0,
    cancelled     INTEGER NOT NULL DEFAULT 0,
    retried       INTEGER NOT NULL DEFAULT 0,
    runs          INTEGER NOT NULL DEFAULT 0,
    run_ms        INTEGER NOT NULL DEFAULT 0,
    last_ended_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE bgworker_counter (
    name TEXT PRIMARY KEY,
    n    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What workers said about their tasks, so that a job can be enqueued without importing them.
CREATE TABLE bgworker_task (
    name       TEXT PRIMARY KEY,
    queue      TEXT    NOT NULL,
    priority   INTEGER NOT NULL,
    on_failure TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE bgworker_worker (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    host        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    concurrency INTEGER NOT NULL,
    queues      TEXT,
    version     TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    stopped_at  INTEGER,
    dead        INTEGER NOT NULL DEFAULT 0,
    processed   INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    -- A JSON list of the schedules it declares; null when it declares no task at all.
    schedules   TEXT,
    -- A JSON list of the tasks it knows.
    tasks       TEXT    NOT NULL
) STRICT;

-- What is to be enqueued by itself; see standing.py for cursor, awake_since and revision.
CREATE TABLE bgworker_schedule (
    task          TEXT PRIMARY KEY,
    cron          TEXT,
    tz            TEXT,
    every_ms      INTEGER,
    missed        TEXT    NOT NULL CHECK (missed IN ('skip', 'last', 'all')),
    queue         TEXT    NOT NULL,
    priority      INTEGER NOT NULL,
    lane          TEXT,
    enabled       INTEGER NOT NULL,
    cursor        INTEGER NOT NULL,
    awake_since   INTEGER NOT NULL,
    next_at       INTEGER,
    last_fired_at INTEGER,
    revision      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last ticks that became jobs, each stored in the transaction that stored its job: no tick
-- becomes two, whatever clocks and workers do.
CREATE TABLE bgworker_tick (
    schedule TEXT    NOT NULL,
    fire_at  INTEGER NOT NULL,
    PRIMARY KEY (schedule, fire_at)
) STRICT, WITHOUT ROWID;
