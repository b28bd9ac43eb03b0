-- name: suppress (the account's own wish: but what is there for compliance stays as it is)
INSERT INTO suppression
    (account, subaccount, recipient, kind, list_id, source, description, created_us, updated_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, subaccount, recipient, kind, list_id) DO UPDATE SET
    list_id = excluded.list_id, source = excluded.source, description = excluded.description,
    updated_us = excluded.updated_us
WHERE source <> 'Compliance';

-- name: suppress_new
INSERT OR IGNORE INTO suppression
    (account, subaccount, recipient, kind, list_id, source, description, created_us, updated_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: suppressing (which of these accounts have entries at all)
SELECT json_group_array(value) FROM json_each(?)
WHERE EXISTS (SELECT 1 FROM suppression WHERE account = value);

-- name: suppressed (of one recipient as many as it has lists)
SELECT json_group_array(json_array(recipient, source)) FROM suppression
WHERE account = :account AND subaccount = :subaccount AND kind = :kind
  AND recipient IN (SELECT value FROM json_each(:recipients));

-- name: suppression_sources
SELECT source FROM suppression
WHERE account = :account AND subaccount = :subaccount AND recipient = :recipient
  AND kind IN (SELECT value FROM json_each(:kinds)) AND list_id = coalesce(:list_id, list_id);

-- name: unsuppress
DELETE FROM suppression
WHERE account = :account AND subaccount = :subaccount AND recipient = :recipient
  AND kind IN (SELECT value FROM json_each(:kinds)) AND list_id = coalesce(:list_id, list_id);
