-- Every query of quota.db. Each begins with its name and what it does. Times are Unix microseconds, amounts whole units.

-- name: create_mark
-- Version 1: one row. The last operation, the ledger's time, and until when the history was pruned.
CREATE TABLE mark (
  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
  seq INTEGER NOT NULL,
  time INTEGER NOT NULL,
  pruned INTEGER NOT NULL,
  pruning INTEGER NOT NULL CHECK (pruning IN (0, 1))
) STRICT;

-- name: create_first_mark
-- Version 1: nothing has happened yet.
INSERT INTO mark (id, seq, time, pruned, pruning) VALUES (1, 0, 0, 0, 0);

-- name: create_pool
-- Version 1: one row a pool, as quota/rows.py has it; definition is the pool as JSON.
CREATE TABLE pool (
  id TEXT PRIMARY KEY NOT NULL,
  definition TEXT NOT NULL,
  cap INTEGER NOT NULL CHECK (cap >= 0),
  source TEXT NOT NULL,
  said INTEGER,
  next_cap INTEGER NOT NULL,
  next_from INTEGER NOT NULL,
  grown INTEGER NOT NULL CHECK (grown >= 0),
  grown_until INTEGER NOT NULL,
  closed_until INTEGER NOT NULL,
  observed_at INTEGER,
  reserved INTEGER NOT NULL CHECK (reserved >= 0),
  arrival INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;

-- name: create_bucket
-- Version 1: what was used of a pool in one window or slot.
CREATE TABLE bucket (
  pool TEXT NOT NULL,
  begins INTEGER NOT NULL,
  ends INTEGER NOT NULL,
  until INTEGER NOT NULL,
  used INTEGER NOT NULL CHECK (used >= 0),
  seq INTEGER NOT NULL,
  PRIMARY KEY (pool, begins, ends),
  CHECK (begins < ends AND ends <= until)
) STRICT, WITHOUT ROWID;

-- name: create_bucket_by_until
-- Version 1: to read those that count, and to forget the others.
CREATE INDEX bucket_by_until ON bucket (until);

-- name: create_bucket_by_seq
-- Version 1: to read what others have changed.
CREATE INDEX bucket_by_seq ON bucket (seq);

-- name: create_share
-- Version 1: what one tag used of a pool in one window or slot.
CREATE TABLE share (
  pool TEXT NOT NULL,
  begins INTEGER NOT NULL,
  ends INTEGER NOT NULL,
  until INTEGER NOT NULL,
  tag TEXT NOT NULL,
  used INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (pool, begins, ends, tag)
) STRICT, WITHOUT ROWID;

-- name: create_share_by_until
-- Version 1: to read those that count, and to forget the others.
CREATE INDEX share_by_until ON share (until);

-- name: create_share_by_seq
-- Version 1: to read what others have changed.
CREATE INDEX share_by_seq ON share (seq);

-- name: create_reservation
-- Version 1: what one attempt took; amounts, charges and overdraft are JSON by pool.
CREATE TABLE reservation (
  request_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'released', 'lapsed')),
  amounts TEXT NOT NULL,
  reserved_at INTEGER NOT NULL,
  lease_end INTEGER NOT NULL,
  owner TEXT NOT NULL,
  tag TEXT NOT NULL,
  charges TEXT NOT NULL,
  overdraft TEXT NOT NULL,
  late INTEGER NOT NULL CHECK (late IN (0, 1)),
  seq INTEGER NOT NULL,
  PRIMARY KEY (request_id, number)
) STRICT;

-- name: create_open_reservation
-- Version 1: to find the open ones, by the end of their lease.
CREATE INDEX open_reservation ON reservation (lease_end) WHERE state = 'open';

-- name: create_cooldown
-- Version 1: what is not asked until then.
CREATE TABLE cooldown (
  scope TEXT PRIMARY KEY NOT NULL,
  until INTEGER NOT NULL,
  why TEXT NOT NULL,
  guessed INTEGER NOT NULL CHECK (guessed IN (0, 1))
) STRICT;

-- name: create_operation
-- Version 1: the history; changes is JSON by pool, and the sums of it are the balances.
CREATE TABLE operation (
  seq INTEGER PRIMARY KEY NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  request_id TEXT,
  number INTEGER,
  tag TEXT NOT NULL,
  why TEXT NOT NULL,
  changes TEXT NOT NULL
) STRICT;

-- name: create_operation_is_never_changed
-- Version 1: the history is append-only.
CREATE TRIGGER operation_is_never_changed BEFORE UPDATE ON operation
BEGIN
  SELECT RAISE(ABORT, 'an operation is never changed');
END;

-- name: create_operation_is_only_pruned
-- Version 1: the history is append-only, but for pruning, which says so in its own transaction.
CREATE TRIGGER operation_is_only_pruned BEFORE DELETE ON operation
WHEN (SELECT pruning FROM mark) = 0
BEGIN
  SELECT RAISE(ABORT, 'an operation is only ever pruned');
END;

-- name: get_mark
-- Where the file stands.
SELECT seq, time FROM mark;

-- name: get_pruned
-- Until when the history was pruned.
SELECT pruned FROM mark;

-- name: get_version
-- Whether another connection has written since this one last asked.
PRAGMA data_version;

-- name: get_schema
-- Which version of the schema the file has.
PRAGMA user_version;

-- name: get_pools
-- Pools that were touched after an operation.
SELECT definition, cap, source, said, next_cap, next_from, grown, grown_until, closed_until, observed_at, reserved,
  arrival, seq
FROM pool WHERE seq > ?;

-- name: get_buckets
-- Windows and slots that still count.
SELECT pool, begins, ends, until, used, seq FROM bucket WHERE until > (SELECT time FROM mark);

-- name: get_buckets_since
-- Windows and slots that were touched after an operation.
SELECT pool, begins, ends, until, used, seq FROM bucket WHERE seq > ?;

-- name: has_bucket
-- Whether a window or slot is there.
SELECT 1 FROM bucket WHERE pool = ? AND begins = ? AND ends = ?;

-- name: get_all_buckets
-- Every window and slot.
SELECT pool, begins, ends, until, used, seq FROM bucket;

-- name: get_shares
-- Shares that still count.
SELECT pool, begins, ends, until, tag, used, seq FROM share WHERE until > (SELECT time FROM mark);

-- name: get_shares_since
-- Shares that were touched after an operation.
SELECT pool, begins, ends, until, tag, used, seq FROM share WHERE seq > ?;

-- name: get_cooldowns
-- Every cooldown.
SELECT scope, until, why, guessed FROM cooldown;

-- name: get_first
-- The oldest operation that was not pruned.
SELECT coalesce(min(seq), 0) FROM operation;

-- name: get_ended_since
-- Attempts that ended after an operation.
SELECT request_id, number FROM operation WHERE seq > ? AND kind IN ('settle', 'release', 'lapse');

-- name: get_reservations
-- Those of some attempts.
WITH asked (request_id, number) AS (VALUES (?, ?))
SELECT request_id, number, state, amounts, reserved_at, lease_end, owner, tag, charges, overdraft, late, seq
FROM asked CROSS JOIN reservation USING (request_id, number);

-- name: get_open
-- Every open one, the lease that ends first before others.
SELECT request_id, number, state, amounts, reserved_at, lease_end, owner, tag, charges, overdraft, late, seq
FROM reservation WHERE state = 'open' ORDER BY lease_end;

-- name: get_operations
-- The whole history, oldest first.
SELECT seq, at, kind, request_id, number, tag, why, changes FROM operation ORDER BY seq;

-- name: get_oldest_operations
-- The begin of the history.
SELECT seq, at, kind, request_id, number, tag, why, changes FROM operation ORDER BY seq LIMIT ?;

-- name: get_newest_operations
-- The end of the history since a time, newest first.
SELECT seq, at, kind, request_id, number, tag, why, changes FROM operation WHERE at >= ? ORDER BY seq DESC LIMIT ?;

-- name: get_newest_operations_of_pool
-- The same of one pool.
SELECT seq, at, kind, request_id, number, tag, why, changes FROM operation
WHERE at >= ? AND EXISTS (SELECT 1 FROM json_each(changes) WHERE json_each.key = ?) ORDER BY seq DESC LIMIT ?;

-- name: put_mark
-- What was written last.
UPDATE mark SET seq = ?, time = ?;

-- name: put_pool
-- Write a pool as it stands.
INSERT INTO pool (id, definition, cap, source, said, next_cap, next_from, grown, grown_until, closed_until,
  observed_at, reserved, arrival, seq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET definition = excluded.definition, cap = excluded.cap, source = excluded.source,
  said = excluded.said, next_cap = excluded.next_cap, next_from = excluded.next_from, grown = excluded.grown,
  grown_until = excluded.grown_until, closed_until = excluded.closed_until, observed_at = excluded.observed_at,
  reserved = excluded.reserved, arrival = excluded.arrival, seq = excluded.seq;

-- name: put_bucket
-- Write a window or slot as it stands.
INSERT INTO bucket (pool, begins, ends, until, used, seq) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET until = excluded.until, used = excluded.used, seq = excluded.seq;

-- name: put_share
-- Write a share as it stands.
INSERT INTO share (pool, begins, ends, until, tag, used, seq) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET until = excluded.until, used = excluded.used, seq = excluded.seq;

-- name: put_reservation
-- Write a reservation as it stands.
INSERT INTO reservation (request_id, number, state, amounts, reserved_at, lease_end, owner, tag, charges, overdraft,
  late, seq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET state = excluded.state, lease_end = excluded.lease_end, charges = excluded.charges,
  overdraft = excluded.overdraft, late = excluded.late, seq = excluded.seq;

-- name: put_cooldown
-- Write a cooldown.
INSERT INTO cooldown (scope, until, why, guessed) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET until = excluded.until, why = excluded.why, guessed = excluded.guessed;

-- name: put_operation
-- Append to the history.
INSERT INTO operation (seq, at, kind, request_id, number, tag, why, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_cooldown
-- Forget a cooldown.
DELETE FROM cooldown WHERE scope = ?;

-- name: begin_pruning
-- Let operations be deleted in this transaction, older than that.
UPDATE mark SET pruning = 1, pruned = max(pruned, ?);

-- name: end_pruning
-- The history is append-only again.
UPDATE mark SET pruning = 0;

-- name: delete_operations
-- Forget the begin of the history, up to that one.
DELETE FROM operation WHERE seq <= ?;

-- name: delete_ended_reservation
-- Forget an attempt's, unless it is open.
DELETE FROM reservation WHERE request_id = ? AND number = ? AND state <> 'open';

-- name: delete_buckets
-- Forget windows and slots that counted no more before that time.
DELETE FROM bucket WHERE until <= ?;

-- name: delete_shares
-- Forget shares that counted no more before that time.
DELETE FROM share WHERE until <= ?;

-- name: delete_cooldowns
-- Forget cooldowns that ended before that time.
DELETE FROM cooldown WHERE until <= ?;
