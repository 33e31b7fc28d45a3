-- Every query of streamlane.db. Each begins with its name and what it does.

-- name: create_responses
-- Version 1: one row a response; body is its object and its input as JSON, times are in Unix seconds.
CREATE TABLE responses (
  id TEXT PRIMARY KEY NOT NULL,
  principal TEXT NOT NULL,
  previous_id TEXT,
  expires REAL NOT NULL,
  body BLOB NOT NULL
);

-- name: create_responses_of_principal
-- Version 1: to delete all of one principal.
CREATE INDEX responses_of_principal ON responses (principal);

-- name: create_responses_by_expiry
-- Version 1: to delete what is past its time.
CREATE INDEX responses_by_expiry ON responses (expires);

-- name: get_response
-- One response of a principal, unless it is past its time.
SELECT id, principal, previous_id, expires, body FROM responses WHERE id = ? AND principal = ? AND expires > ?;

-- name: put_response
-- Write one response.
INSERT OR REPLACE INTO responses (id, principal, previous_id, expires, body) VALUES (?, ?, ?, ?, ?);

-- name: delete_response
-- Forget one response of a principal.
DELETE FROM responses WHERE id = ? AND principal = ?;

-- name: delete_responses_of_principal
-- Forget all of a principal.
DELETE FROM responses WHERE principal = ?;

-- name: delete_expired
-- Forget what is past its time.
DELETE FROM responses WHERE expires <= ?;

-- name: create_history
-- Version 2: one row a call whose model was chosen here, and what became of it. Times are in Unix seconds, durations in
-- seconds, cost in micro-dollars. again is BACKEND/MODEL that was asked the same next, again_of the response before.
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL,
  request_id TEXT NOT NULL,
  response_id TEXT NOT NULL,
  principal TEXT NOT NULL,
  asked TEXT NOT NULL,
  rule TEXT,
  profile TEXT,
  score REAL,
  threshold REAL,
  guarded INTEGER NOT NULL,
  sets TEXT NOT NULL,
  backend TEXT,
  model TEXT,
  status TEXT NOT NULL,
  error TEXT,
  failed TEXT NOT NULL,
  first_event REAL,
  duration REAL NOT NULL,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cost INTEGER,
  features BLOB,
  question TEXT,
  again_of TEXT,
  again TEXT,
  rating INTEGER,
  preferred TEXT,
  rated REAL
) STRICT;

-- name: create_history_by_response
-- Version 2: to rate and to delete one.
CREATE INDEX history_by_response ON history (response_id, principal);

-- name: create_history_of_principal
-- Version 2: to count what one principal has rated, and to delete all of it.
CREATE INDEX history_of_principal ON history (principal, rated);

-- name: create_history_by_time
-- Version 2: to read the newest, and to forget the oldest.
CREATE INDEX history_by_time ON history (at);

-- name: put_history
-- Write calls.
INSERT INTO history (
  at, request_id, response_id, principal, asked, rule, profile, score, threshold, guarded, sets, backend, model, status,
  error, failed, first_event, duration, input_tokens, output_tokens, cost, features, question, again_of
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_again
-- The same question was asked again: what answered it then.
UPDATE history SET again = ? WHERE response_id = ? AND principal = ?;

-- name: copy_features
-- A question that was asked again is what it was.
UPDATE history SET features = (
  SELECT first.features FROM history AS first
  WHERE first.response_id = history.again_of AND first.principal = history.principal
) WHERE response_id = ? AND principal = ?;

-- name: count_rated
-- How many answers a principal has rated since a time, one of them left out.
SELECT count(*) FROM history WHERE principal = ? AND rated > ? AND response_id <> ?;

-- name: rate
-- What a principal thinks of one answer. The newest word counts.
UPDATE history SET rating = ?, preferred = ?, rated = ? WHERE response_id = ? AND principal = ?;

-- name: find_rated
-- Whether an answer of a principal is known, and was rated.
SELECT rating FROM history WHERE response_id = ? AND principal = ?;

-- name: delete_history
-- Forget one response of a principal.
DELETE FROM history WHERE response_id = ? AND principal = ?;

-- name: delete_history_of_principal
-- Forget all of a principal.
DELETE FROM history WHERE principal = ?;

-- name: delete_old_history
-- Forget what is too old.
DELETE FROM history WHERE at <= ?;

-- name: delete_more_history
-- Forget the oldest beyond so many.
DELETE FROM history WHERE id <= (SELECT id FROM history ORDER BY id DESC LIMIT 1 OFFSET ?);

-- name: get_history
-- The newest calls; -1 is all of them.
SELECT
  at, principal, response_id, asked, rule, profile, score, threshold, guarded, sets, backend, model, status, error,
  failed, first_event, cost, features, question, again, rating, preferred
FROM history ORDER BY id DESC LIMIT ?;

-- name: get_rated_history
-- The calls of which something was said, or done next, newest first.
SELECT
  at, principal, response_id, asked, rule, profile, score, threshold, guarded, sets, backend, model, status, error,
  failed, first_event, cost, features, question, again, rating, preferred
FROM history WHERE rating IS NOT NULL OR again IS NOT NULL ORDER BY id DESC;
