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
