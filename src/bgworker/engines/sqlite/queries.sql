-- Every statement of the engine, by name. States are literals: SQLite picks a partial index from the
-- text of the statement. The plan of each hot statement is asserted by a test.

-- name: last_place
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'bgworker_job'), 0)

-- name: insert_job
INSERT INTO bgworker_job (queue, priority, state, task, run_at, enqueued_at, lane, expires_at,
                          unique_key, args, place)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'bgworker_job'), 0))

-- name: insert_jobs
INSERT INTO bgworker_job (queue, priority, state, task, run_at, enqueued_at, lane, expires_at,
                          unique_key, place, args)
VALUES {rows}

-- name: unique_job
SELECT id FROM bgworker_job WHERE task = ? AND unique_key = ? AND unique_key IS NOT NULL

-- name: idempotent_job
SELECT job FROM bgworker_idempotency WHERE task = ? AND key = ?

-- name: put_idempotency
INSERT INTO bgworker_idempotency (task, key, job) VALUES (?, ?, ?)

-- name: state_of
SELECT state FROM bgworker_job WHERE id = ?

-- name: final_state_of
SELECT state FROM bgworker_history WHERE id = ?

-- name: link
INSERT INTO bgworker_edge (parent, child, place) VALUES (?, ?, ?)

-- name: mark_linked
UPDATE bgworker_job SET linked = 1 WHERE id = ?

-- name: block
UPDATE bgworker_job SET blockers = ?, takes = ? WHERE id = ?

-- name: children
SELECT DISTINCT child FROM bgworker_edge WHERE parent = ?

-- name: one_less
UPDATE bgworker_job SET blockers = blockers - 1 WHERE id = ? AND state = 'blocked'
RETURNING blockers, queue, priority, run_at, takes, args

-- name: results_for
SELECT h.result FROM bgworker_edge e JOIN bgworker_history h ON h.id = e.parent
WHERE e.child = ? ORDER BY e.place

-- name: unblock
UPDATE bgworker_job SET state = ?, run_at = ?, args = ?, place = ? WHERE id = ?

-- name: unlink
DELETE FROM bgworker_edge WHERE child = ?

-- name: waiting_job
SELECT queue, priority, state FROM bgworker_job
WHERE id = ? AND state IN ('scheduled', 'queued', 'retrying', 'blocked')

-- name: archive_waiting
INSERT INTO bgworker_history (id, task, queue, priority, state, run_at, enqueued_at, finished_at,
                              attempts, retries, crashes, claim, args, lane, unique_key, error,
                              after, takes)
SELECT id, task, queue, priority, 'cancelled', run_at, enqueued_at, ?, attempts, retries, crashes,
       claim, args, lane, unique_key, ?,
       (SELECT nullif(json_group_array(parent), '[]')
        FROM (SELECT parent FROM bgworker_edge WHERE child = j.id ORDER BY place)), takes
FROM bgworker_job j WHERE id = ?

-- name: came_after
SELECT after, takes FROM bgworker_history WHERE id = ?

-- name: queued_in
SELECT id, priority, place FROM bgworker_job WHERE state = 'queued' AND lane IS NULL AND queue = ?

-- name: busy_queues
SELECT priority, queue, EXISTS (SELECT 1 FROM bgworker_lane WHERE waiting > 0)
                        OR EXISTS (SELECT 1 FROM bgworker_limit WHERE scope = 'queue')
FROM bgworker_tally WHERE state = 'queued' AND n > 0

-- name: claim
UPDATE bgworker_job SET state = 'running', claim = claim + 1, worker = ?, attempts = attempts + 1
WHERE id IN (SELECT id FROM ({candidates} ORDER BY priority, place, id LIMIT ?))
RETURNING place, expires_at, id, claim, task, queue, priority, args, attempts, retries, crashes

-- name: claim_chosen
UPDATE bgworker_job SET state = 'running', claim = claim + 1, worker = ?, attempts = attempts + 1
WHERE id IN (SELECT value FROM json_each(?))
RETURNING place, expires_at, id, claim, task, queue, priority, args, attempts, retries, crashes

-- name: queued_free
SELECT priority, place, id FROM bgworker_job WHERE state = 'queued' AND lane IS NULL AND queue = ?
ORDER BY priority, place, id LIMIT ?

-- name: queued_known
SELECT priority, place, id FROM bgworker_job
WHERE state = 'queued' AND lane IS NULL AND queue = ? AND priority = ? AND place >= ?
      AND task NOT IN (SELECT value FROM json_each(?))
ORDER BY place, id LIMIT ?

-- name: queued_priorities
SELECT priority FROM bgworker_tally WHERE queue = ? AND state = 'queued' AND n > 0 ORDER BY priority

-- name: returned
SELECT coalesce((SELECT n FROM bgworker_counter WHERE name = 'returned'), 0)

-- name: queued_lane
SELECT priority, place, id FROM bgworker_job
WHERE state = 'queued' AND lane IS NOT NULL AND lane = ? AND queue = ?
ORDER BY priority, place, id LIMIT ?

-- name: waiting_lanes
SELECT name, queue, task, (SELECT sum(running) FROM bgworker_lane l WHERE l.name = w.name)
FROM bgworker_lane w
WHERE waiting > 0 AND queue IN (SELECT value FROM json_each(?))
      AND task NOT IN (SELECT value FROM json_each(?))
      AND coalesce((SELECT sum(running) FROM bgworker_lane l WHERE l.name = w.name)
                   < (SELECT concurrency FROM bgworker_limit WHERE scope = 'task' AND name = task),
                   TRUE)
ORDER BY served LIMIT ?

-- name: serve_lane
UPDATE bgworker_lane SET served = ? WHERE name = ? AND queue = ?

-- name: limits
SELECT scope, name, concurrency, rate, next_at, paused FROM bgworker_limit

-- name: running_in
SELECT coalesce(sum(n), 0) FROM bgworker_tally WHERE queue = ? AND state = 'running'

-- name: note_rate
UPDATE bgworker_limit SET next_at = ? WHERE scope = ? AND name = ?

-- name: put_limit
INSERT INTO bgworker_limit (scope, name, concurrency, rate) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate
WHERE concurrency IS NOT excluded.concurrency OR rate IS NOT excluded.rate

-- name: drop_limit
DELETE FROM bgworker_limit WHERE scope = ? AND name = ? AND NOT paused

-- name: pause
INSERT INTO bgworker_limit (scope, name, paused) VALUES ('queue', ?, ?)
ON CONFLICT DO UPDATE SET paused = excluded.paused

-- name: tidy_limit
DELETE FROM bgworker_limit
WHERE scope = 'queue' AND name = ? AND NOT paused AND concurrency IS NULL AND rate IS NULL

-- name: archive
INSERT INTO bgworker_history (id, task, queue, priority, state, run_at, enqueued_at, started_at,
                              finished_at, worker, attempts, retries, crashes, claim, args, lane,
                              unique_key, result, error)
SELECT id, task, queue, priority, ?, run_at, enqueued_at, ?, ?, worker, attempts, retries, crashes + ?,
       claim, args, lane, unique_key, ?, ?
FROM bgworker_job WHERE id = ? AND claim = ? AND state = 'running' AND cancel IS NULL

-- name: archive_cancelled
INSERT INTO bgworker_history (id, task, queue, priority, state, run_at, enqueued_at, started_at,
                              finished_at, worker, attempts, retries, crashes, claim, args, lane,
                              unique_key, error)
SELECT id, task, queue, priority, 'cancelled', run_at, enqueued_at, ?, ?, worker, attempts - ?,
       retries, crashes, claim, args, lane, unique_key, cancel
FROM bgworker_job WHERE id = ? AND claim = ? AND state = 'running' AND cancel IS NOT NULL

-- name: held
-- The plus sign: each is looked up in the table, and not in the index of the worker first.
SELECT id, claim, linked FROM bgworker_job
WHERE id IN (SELECT value FROM json_each(?)) AND state = 'running' AND +worker = ? AND cancel IS NULL

-- name: to_cancel
SELECT id, claim FROM bgworker_job WHERE state = 'running' AND worker = ? AND cancel IS NOT NULL

-- name: archive_held
WITH ended (job, started_at, finished_at, result) AS (VALUES {rows})
INSERT INTO bgworker_history (id, task, queue, priority, state, run_at, enqueued_at, started_at,
                              finished_at, worker, attempts, retries, crashes, claim, args, result)
SELECT id, task, queue, priority, 'succeeded', run_at, enqueued_at, started_at, finished_at, worker,
       attempts, retries, crashes, claim, args, result
FROM ended CROSS JOIN bgworker_job ON id = job

-- name: remove_held
DELETE FROM bgworker_job WHERE id IN (SELECT value FROM json_each(?))

-- name: remove
DELETE FROM bgworker_job WHERE id = ? RETURNING linked

-- name: put_progress
INSERT INTO bgworker_progress (job, said)
SELECT id, ? FROM bgworker_job WHERE id = ? AND claim = ? AND state = 'running'
ON CONFLICT DO UPDATE SET said = excluded.said

-- name: retry
UPDATE bgworker_job SET state = 'retrying', run_at = ?, error = ?, worker = NULL,
                        retries = retries + ?, crashes = crashes + ?
WHERE id = ? AND claim = ? AND state = 'running' AND cancel IS NULL

-- name: release
UPDATE bgworker_job SET state = 'queued', worker = NULL, attempts = attempts - 1
WHERE id = ? AND claim = ? AND state = 'running' AND cancel IS NULL

-- name: due
SELECT id, queue, priority, state FROM bgworker_job
WHERE state IN ('scheduled', 'retrying') AND run_at <= ? ORDER BY run_at LIMIT 1000

-- name: promote
UPDATE bgworker_job SET state = 'queued', place = ? WHERE id = ?

-- name: next_due
SELECT min(run_at) FROM bgworker_job WHERE state IN ('scheduled', 'retrying')

-- name: owned
SELECT id, claim, task, queue, priority, args, attempts, retries, crashes
FROM bgworker_job WHERE state = 'running' AND worker = ?

-- name: requeue_crashed
UPDATE bgworker_job SET state = 'queued', worker = NULL, crashes = crashes + 1, error = ?
WHERE id = ? AND claim = ? AND state = 'running' AND cancel IS NULL

-- name: live_states
SELECT id, queue, priority, state FROM bgworker_job WHERE id IN (SELECT value FROM json_each(?))

-- name: final_states
SELECT id, queue, priority, state FROM bgworker_history WHERE id IN (SELECT value FROM json_each(?))

-- name: ask_to_cancel
UPDATE bgworker_job SET cancel = coalesce(cancel, ?) WHERE id = ?

-- name: waiting_ids
SELECT id FROM bgworker_job
WHERE id > ? AND id <= ? AND state IN ('scheduled', 'queued', 'retrying', 'blocked')
      AND queue = coalesce(?, queue)
ORDER BY id LIMIT 500

-- name: revive
INSERT OR IGNORE INTO bgworker_job (id, task, queue, priority, state, place, run_at, enqueued_at, claim,
                          attempts, args, lane, unique_key, error)
SELECT id, task, queue, priority, ?, ?, ?, enqueued_at, claim, attempts, args, lane, unique_key,
       CASE state WHEN 'cancelled' THEN NULL ELSE error END
FROM bgworker_history WHERE id = ?

-- name: remove_from_history
DELETE FROM bgworker_history WHERE id = ?

-- name: hasten
UPDATE bgworker_job SET state = 'queued', place = ?, run_at = ? WHERE id = ?

-- name: bump_tally
INSERT INTO bgworker_tally (queue, priority, state, n) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET n = n + excluded.n

-- name: bump_queue
INSERT INTO bgworker_queue (name, succeeded, failed, dead, cancelled, retried, runs, run_ms, last_ended_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,
    dead = dead + excluded.dead, cancelled = cancelled + excluded.cancelled,
    retried = retried + excluded.retried, runs = runs + excluded.runs,
    run_ms = run_ms + excluded.run_ms,
    last_ended_at = nullif(max(coalesce(last_ended_at, 0), coalesce(excluded.last_ended_at, 0)), 0)

-- name: bump_counter
INSERT INTO bgworker_counter (name, n) VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n

-- name: join
INSERT INTO bgworker_worker (name, host, pid, concurrency, queues, version, started_at, schedules,
                             tasks)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_task
INSERT INTO bgworker_task (name, queue, priority, on_failure) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET queue = excluded.queue, priority = excluded.priority,
                          on_failure = excluded.on_failure
WHERE queue <> excluded.queue OR priority <> excluded.priority OR on_failure IS NOT excluded.on_failure

-- name: get_task
SELECT t.queue, t.priority, l.concurrency, l.rate
FROM bgworker_task t LEFT JOIN bgworker_limit l ON l.scope = 'task' AND l.name = t.name
WHERE t.name = ?

-- name: get_on_failure
SELECT on_failure FROM bgworker_task WHERE name = ? AND on_failure IS NOT NULL

-- name: left
UPDATE bgworker_worker SET stopped_at = ?, dead = ?, processed = ?, failed = ?
WHERE id = ? AND stopped_at IS NULL

-- name: unfinished_workers
SELECT name FROM bgworker_worker WHERE stopped_at IS NULL AND id <> ?

-- name: peers
SELECT pid FROM bgworker_worker WHERE stopped_at IS NULL AND id <> ?

-- name: unfinished_worker
SELECT id FROM bgworker_worker WHERE name = ? AND stopped_at IS NULL

-- name: live_record
SELECT id, task, queue, state, priority, args, enqueued_at, run_at, NULL, NULL, attempts, retries,
       crashes, (SELECT name FROM bgworker_worker w WHERE w.id = worker), NULL, error,
       (SELECT said FROM bgworker_progress WHERE job = j.id)
FROM bgworker_job j WHERE id = ?

-- name: final_record
SELECT id, task, queue, state, priority, args, enqueued_at, run_at, started_at, finished_at, attempts,
       retries, crashes, (SELECT name FROM bgworker_worker w WHERE w.id = worker), result, error,
       (SELECT said FROM bgworker_progress WHERE job = h.id)
FROM bgworker_history h WHERE id = ?

-- name: bad_records
SELECT id, task, queue, state, priority, args, enqueued_at, run_at, started_at, finished_at, attempts,
       retries, crashes, (SELECT name FROM bgworker_worker w WHERE w.id = worker), result, error,
       (SELECT said FROM bgworker_progress WHERE job = h.id)
FROM bgworker_history h
WHERE state IN ('failed', 'dead') AND state = ? AND queue = coalesce(?, queue)
      AND task = coalesce(?, task)
ORDER BY finished_at DESC, id DESC LIMIT ?

-- name: bad_ids
SELECT id FROM bgworker_history
WHERE state IN ('failed', 'dead') AND state = ? AND queue = coalesce(?, queue)
      AND task = coalesce(?, task)
ORDER BY finished_at DESC, id DESC

-- name: data_version
PRAGMA data_version

-- name: tallies
SELECT queue, priority, state, n,
       EXISTS (SELECT 1 FROM bgworker_limit WHERE scope = 'queue' AND name = queue AND paused)
FROM bgworker_tally
UNION ALL  -- a queue may be paused before its first job
SELECT name, 0, 'queued', 0, 1 FROM bgworker_limit WHERE scope = 'queue' AND paused

-- name: queue_totals
SELECT name, succeeded, failed, dead, cancelled, retried, runs, run_ms, last_ended_at
FROM bgworker_queue

-- name: available_since
SELECT queue, (SELECT run_at FROM bgworker_job
               WHERE state = 'queued' AND lane IS NULL AND queue = t.queue
                     AND priority = t.priority
               ORDER BY place, id LIMIT 1),
       (SELECT run_at FROM bgworker_job
        WHERE state = 'queued' AND lane IS NOT NULL AND queue = t.queue ORDER BY run_at LIMIT 1)
FROM bgworker_tally t WHERE state = 'queued' AND n > 0

-- name: counters
SELECT name, n FROM bgworker_counter

-- name: workers
SELECT name, host, pid, concurrency, queues, version, started_at, stopped_at, processed, failed, dead
FROM bgworker_worker WHERE stopped_at IS NULL OR (dead AND stopped_at >= ?) ORDER BY name

-- name: names_of
SELECT id, task, queue FROM bgworker_job WHERE id IN (SELECT value FROM json_each(?))

-- name: schedules
SELECT task, cron, tz, every_ms, missed, queue, priority, lane, enabled, cursor, awake_since, next_at,
       last_fired_at, revision
FROM bgworker_schedule ORDER BY task

-- name: some_schedules
SELECT task, cron, tz, every_ms, missed, queue, priority, lane, enabled, cursor, awake_since, next_at,
       last_fired_at, revision
FROM bgworker_schedule WHERE task IN (SELECT value FROM json_each(?))

-- name: coming_ticks
SELECT task, next_at, cursor FROM bgworker_schedule WHERE enabled

-- name: put_schedule
INSERT OR REPLACE INTO bgworker_schedule (task, cron, tz, every_ms, missed, queue, priority, lane,
                                          enabled, cursor, awake_since, next_at, last_fired_at,
                                          revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: move_schedule
UPDATE bgworker_schedule SET cursor = ?, awake_since = ?, next_at = ?, last_fired_at = ?, revision = ?
WHERE task = ? AND revision = ?

-- name: new_tick
INSERT INTO bgworker_tick (schedule, fire_at) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: forget_ticks
DELETE FROM bgworker_tick WHERE schedule = ? AND fire_at <= (
    SELECT fire_at FROM bgworker_tick WHERE schedule = ? ORDER BY fire_at DESC LIMIT 1 OFFSET ?)

-- name: oldest_tick
SELECT min(fire_at) FROM bgworker_tick WHERE schedule = ?

-- name: declarers
SELECT name, schedules FROM bgworker_worker
WHERE stopped_at IS NULL AND id <> ? AND schedules IS NOT NULL

-- name: expired
SELECT 1 FROM bgworker_history h
WHERE finished_at < ? AND NOT EXISTS (SELECT 1 FROM bgworker_edge WHERE parent = h.id) LIMIT 1

-- name: expire
DELETE FROM bgworker_history
WHERE id IN (SELECT id FROM bgworker_history h
             WHERE finished_at < ? AND NOT EXISTS (SELECT 1 FROM bgworker_edge WHERE parent = h.id)
             ORDER BY finished_at LIMIT ?)
RETURNING id, queue, priority, state

-- name: forget_key
DELETE FROM bgworker_idempotency WHERE job = ?

-- name: forget_progress
DELETE FROM bgworker_progress WHERE job = ?

-- name: quick_check
PRAGMA quick_check(10)

-- name: held_by_the_dead
SELECT j.id FROM bgworker_worker w CROSS JOIN bgworker_job j ON j.state = 'running' AND j.worker = w.id
WHERE w.name NOT IN (SELECT value FROM json_each(?)) LIMIT ?

-- name: tasks_of_workers
SELECT name, tasks FROM bgworker_worker WHERE stopped_at IS NULL

-- name: declared_tasks
SELECT name FROM bgworker_task

-- name: head_of_queue
SELECT task FROM bgworker_job WHERE state = 'queued' AND lane IS NULL AND queue = ?
ORDER BY priority, place, id LIMIT ?

-- name: tasks_in_lanes
SELECT task, waiting FROM bgworker_lane WHERE waiting > 0 LIMIT ?

-- What a look at single jobs reads. Each goes through an index, and through no more of it than its
-- first number says, however few of the jobs there are of the queue or worker asked for.

-- name: lanes_with_jobs
SELECT name, queue FROM bgworker_lane WHERE waiting > 0 AND queue = coalesce(?, queue) LIMIT ?

-- name: worker_number
SELECT id FROM bgworker_worker WHERE name = ?

-- name: claimed_ids
SELECT id FROM bgworker_job
WHERE state = 'running' AND worker >= 0 AND queue = coalesce(?, queue)
      AND worker = coalesce(?, worker)
LIMIT ?

-- name: delayed_ids
SELECT id FROM (SELECT id, queue FROM bgworker_job
                WHERE state IN ('scheduled', 'retrying') AND run_at >= 0 ORDER BY run_at, id LIMIT ?)
WHERE queue = coalesce(?, queue) LIMIT ?

-- name: blocked_ids
SELECT id FROM (SELECT DISTINCT child FROM bgworker_edge ORDER BY child LIMIT ?)
CROSS JOIN bgworker_job ON id = child
WHERE state = 'blocked' AND queue = coalesce(?, queue) LIMIT ?

-- name: newest_bad_ids
SELECT id FROM (SELECT id, queue, worker FROM bgworker_history
                WHERE state IN ('failed', 'dead') AND state = ?
                ORDER BY finished_at DESC, id DESC LIMIT ?)
WHERE queue = coalesce(?, queue) AND worker IS coalesce(?, worker) LIMIT ?

-- name: newest_ended_ids
SELECT id FROM (SELECT id, state, queue, worker FROM bgworker_history
                WHERE finished_at >= 0 ORDER BY finished_at DESC, id DESC LIMIT ?)
WHERE state = ? AND queue = coalesce(?, queue) AND worker IS coalesce(?, worker) LIMIT ?

-- name: live_lines
SELECT id, task, queue, state, priority, substr(args, 1, ?), enqueued_at, run_at, NULL, NULL, attempts,
       (SELECT name FROM bgworker_worker w WHERE w.id = worker),
       CASE WHEN json_valid(error) THEN json_extract(error, '$.type') END,
       CASE WHEN json_valid(error) THEN substr(json_extract(error, '$.message'), 1, 500) END
FROM bgworker_job WHERE id IN (SELECT value FROM json_each(?))

-- name: final_lines
SELECT id, task, queue, state, priority, substr(args, 1, ?), enqueued_at, run_at, started_at,
       finished_at, attempts, (SELECT name FROM bgworker_worker w WHERE w.id = worker),
       CASE WHEN json_valid(error) THEN json_extract(error, '$.type') END,
       CASE WHEN json_valid(error) THEN substr(json_extract(error, '$.message'), 1, 500) END
FROM bgworker_history WHERE id IN (SELECT value FROM json_each(?))

-- name: parents
SELECT parent FROM bgworker_edge WHERE child = ? ORDER BY place LIMIT ?

-- name: some_children
SELECT DISTINCT child FROM bgworker_edge WHERE parent = ? LIMIT ?

-- name: newest_runs
SELECT task, state, started_at, finished_at,
       CASE WHEN state IN ('failed', 'dead') AND json_valid(error) THEN json_extract(error, '$.type') END
FROM bgworker_history WHERE finished_at >= 0 ORDER BY finished_at DESC, id DESC LIMIT ?

-- name: claimed_tasks
SELECT task FROM bgworker_job WHERE state = 'running' AND worker >= 0 LIMIT ?

-- name: entered_alive
SELECT id, task, queue FROM bgworker_job WHERE id > ? AND id <= ?

-- name: entered_ended
SELECT id, task, queue FROM bgworker_history WHERE id > ? AND id <= ?

-- name: ended_since
SELECT id, task, queue, state, run_at, started_at, finished_at, attempts, retries, crashes,
       CASE WHEN state IN ('failed', 'dead') AND json_valid(error) THEN json_extract(error, '$.type') END
FROM bgworker_history WHERE (finished_at, id) > (?, ?) ORDER BY finished_at, id LIMIT ?

-- name: ended_total
SELECT coalesce(sum(succeeded + failed + dead + cancelled), 0) FROM bgworker_queue
