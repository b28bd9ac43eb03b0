-- name: held
SELECT account, mail_bytes, stored_bytes FROM queue_share WHERE account IN (SELECT value FROM json_each(?));

-- name: all
SELECT account, mail_bytes + stored_bytes FROM queue_share;

-- name: change
INSERT OR FAIL INTO queue_share (account, mail_bytes, stored_bytes) VALUES (?, ?, 0)
ON CONFLICT DO UPDATE SET mail_bytes = mail_bytes + excluded.mail_bytes;
