"""The steps of RQ's own requeue, cancel, delete and empty, each as one script: whole or not at all.

A script answers for each job with a word; nothing was changed unless that is ``done``. Jobs are
moved by what registry really held them, so that of two who ask at once one is told ``gone``.
"""

from __future__ import annotations

_HEAD = """
local function hash_of(id)
  local key = 'rq:job:' .. id
  local kind = redis.call('TYPE', key)
  if (kind.ok or kind) ~= 'hash' then return nil end
  return key
end
local function field(key, name)
  local value = redis.call('HGET', key, name)
  if value == false or value == '' then return nil end
  return value
end
local function in_order(key, kind)
  local found = redis.call('TYPE', key)
  found = found.ok or found
  return found == 'none' or found == kind
end
local function comes_again(id)
  local scheduler = 'rq:scheduler:scheduled_jobs'
  return in_order(scheduler, 'zset') and redis.call('ZSCORE', scheduler, id) ~= false
end
"""

RETRY = (
    _HEAD
    + """
local now = ARGV[1]
local answers = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local key = hash_of(id)
  local origin = key and field(key, 'origin')
  local status = key and field(key, 'status')
  local word = 'done'
  if not origin then word = 'none'
  elseif status ~= 'failed' and status ~= 'stopped' then word = status or 'none'
  elseif field(key, 'rate_limit_key') then word = 'rate_limit'
  elseif not in_order('rq:queue:' .. origin, 'list') or not in_order('rq:queues', 'set')
    or not in_order('rq:failed:' .. origin, 'zset') then word = 'wrong'
  elseif redis.call('ZREM', 'rq:failed:' .. origin, id) == 0 then word = 'gone'
  else
    redis.call('HSET', key, 'status', 'queued', 'enqueued_at', now)
    redis.call('HSET', key, 'started_at', '', 'ended_at', '', 'worker_name', '')
    redis.call('HDEL', key, 'exc_info')
    local ttl = tonumber(field(key, 'ttl') or '')
    if ttl and ttl > 0 then redis.call('EXPIRE', key, math.floor(ttl))
    else redis.call('PERSIST', key) end
    redis.call('SADD', 'rq:queues', 'rq:queue:' .. origin)
    redis.call('RPUSH', 'rq:queue:' .. origin, id)
  end
  answers[#answers + 1] = word
end
return answers
"""
)
"""ARGV: the time as RQ writes it, and ids of failed jobs. A word for each."""

CANCEL = (
    _HEAD
    + """
local id, now = ARGV[1], ARGV[2]
local key = hash_of(id)
local origin = key and field(key, 'origin')
if not origin then return 'none' end
local status = field(key, 'status') or 'none'
local waits = status == 'queued' or status == 'deferred' or status == 'scheduled'
if waits and field(key, 'rate_limit_key') then return 'rate_limit' end
if not in_order('rq:canceled:' .. origin, 'zset') then return 'wrong' end
local again = comes_again(id)
if status == 'queued' then
  if redis.call('LREM', 'rq:queue:' .. origin, 0, id) == 0 then return 'gone' end
elseif again and status ~= 'started' then
  redis.call('ZREM', 'rq:scheduler:scheduled_jobs', id)
  again = false
  if status ~= 'scheduled' then return 'done' end
elseif status == 'deferred' or status == 'scheduled' then
  if redis.call('ZREM', 'rq:' .. status .. ':' .. origin, id) == 0 then return 'gone' end
else
  return status
end
if again then
  redis.call('HSET', key, 'status', 'scheduled')
else
  redis.call('HSET', key, 'status', 'canceled')
  redis.call('ZADD', 'rq:canceled:' .. origin, now, id)
end
return 'done'
"""
)
"""ARGV: an id, and the time in seconds. ``gone`` is a job that a worker takes at this moment.

Of a job that rq-scheduler repeats, a run that waits is cancelled, or else the repetition.
"""

_FORGET = """
local function forget(id, key, origin)
  for _, kind in ipairs({'finished', 'failed', 'deferred', 'scheduled', 'canceled', 'ready'}) do
    local registry = 'rq:' .. kind .. ':' .. origin
    if in_order(registry, 'zset') then redis.call('ZREM', registry, id) end
  end
  if in_order('rq:scheduler:scheduled_jobs', 'zset') then
    redis.call('ZREM', 'rq:scheduler:scheduled_jobs', id)
  end
  local group = field(key, 'group_id')
  if group and in_order('rq:group:' .. group, 'set') then
    redis.call('SREM', 'rq:group:' .. group, id)
  end
  redis.call('DEL', key, key .. ':dependents', 'rq:job::' .. id .. ':dependencies',
             'rq:results:' .. id, 'rq:executions:' .. id)
end
"""

DELETE = (
    _HEAD
    + _FORGET
    + """
local id = ARGV[1]
local key = hash_of(id)
if not key then return 'none' end
local origin = field(key, 'origin') or ''
local status = field(key, 'status') or ''
if status == 'started' then return 'started' end
local ended = status == 'failed' or status == 'stopped' or status == 'finished'
  or status == 'canceled'
if field(key, 'rate_limit_key') and not ended then return 'rate_limit' end
local queue = 'rq:queue:' .. origin
local held = in_order(queue, 'list') and redis.call('LREM', queue, 0, id) or 0
if status == 'queued' and held == 0 then return 'gone' end
forget(id, key, origin)
return 'done'
"""
)
"""ARGV: an id."""

PURGE = (
    _HEAD
    + _FORGET
    + """
local origin, most, gone = ARGV[1], tonumber(ARGV[2]), 0
for i = 1, most do
  local id = redis.call('LPOP', 'rq:queue:' .. origin)
  if not id then break end
  local key = hash_of(id)
  if key and comes_again(id) then redis.call('HSET', key, 'status', 'scheduled')
  elseif key and field(key, 'status') ~= 'started' then forget(id, key, origin) end
  gone = gone + 1
end
return gone
"""
)
"""ARGV: a queue, and how many of its jobs at most. How many there were."""
