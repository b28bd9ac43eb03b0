-- name: suppress (the account's own wish: but what is there for compliance stays as it is)
INSERT INTO suppression (account, subaccount, recipient, kind, source, description, created_us, updated_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, subaccount, recipient, kind) DO UPDATE SET
    source = excluded.source, description = excluded.description, updated_us = excluded.updated_us
WHERE source <> 'Compliance';

-- name: suppress_new
INSERT OR IGNORE INTO suppression
    (account, subaccount, recipient, kind, source, description, created_us, updated_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: suppressing (which of these accounts have entries at all)
SELECT json_group_array(value) FROM json_each(?)
WHERE EXISTS (SELECT 1 FROM suppression WHERE account = value);

-- name: suppressed
SELECT json_group_array(json_array(recipient, source)) FROM suppression
WHERE account = :account AND subaccount = :subaccount AND kind = :kind
  AND recipient IN (SELECT value FROM json_each(:recipients));

-- name: suppression_sources
SELECT source FROM suppression
WHERE account = :account AND subaccount = :subaccount AND recipient = :recipient
  AND kind IN (SELECT value FROM json_each(:kinds));

-- name: unsuppress
DELETE FROM suppression
WHERE account = :account AND subaccount = :subaccount AND recipient = :recipient
  AND kind IN (SELECT value FROM json_each(:kinds));
