-- name: take (nothing comes back when an earlier request stands)
INSERT INTO idempotency (scope, key, fingerprint, began_us)
VALUES (:scope, :key, :fingerprint, :began_us)
ON CONFLICT (scope, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, began_us = excluded.began_us, status = NULL, body = NULL
WHERE began_us < :expired_us OR (status IS NULL AND began_us < :given_up_us)
RETURNING key;

-- name: standing
SELECT fingerprint, status, body FROM idempotency WHERE scope = ? AND key = ?;

-- name: answer
UPDATE idempotency SET status = ?, body = ? WHERE scope = ? AND key = ? AND began_us = ? RETURNING key;

-- name: give_up
DELETE FROM idempotency WHERE scope = ? AND key = ? AND began_us = ? AND status IS NULL;

-- name: forget
DELETE FROM idempotency WHERE began_us < ? RETURNING key;
