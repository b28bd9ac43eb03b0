-- Lists of values come as one JSON array each: the text of a statement stays constant, so it is
-- prepared once, and one step does the work of many (each step gives Python's lock away once).

-- name: revision
SELECT revision FROM directory_revision;

-- name: next_revision
UPDATE directory_revision SET revision = revision + 1;

-- name: entries
SELECT kind, value FROM directory_entry;

-- name: entries_of_kind
SELECT value FROM directory_entry WHERE kind = ?;

-- name: entry
SELECT value FROM directory_entry WHERE kind = ? AND key = ?;

-- name: put_entry
INSERT INTO directory_entry (kind, key, value) VALUES (?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value;

-- name: remove_entry
DELETE FROM directory_entry WHERE kind = ? AND key = ?;

-- name: note_key_use
INSERT INTO key_use (sha256, day) VALUES (?, ?)
ON CONFLICT (sha256) DO UPDATE SET day = excluded.day;

-- name: key_uses
SELECT sha256, day FROM key_use;

-- name: forget_key_use
DELETE FROM key_use WHERE sha256 = ?;

-- name: audit
INSERT INTO audit (at_us, actor, revision, what, before, after) VALUES (?, ?, ?, ?, ?, ?);

-- name: account_has_mail
SELECT EXISTS (SELECT 1 FROM waiting WHERE account = ?1)
    OR EXISTS (SELECT 1 FROM message WHERE state = 'in_flight' AND account = ?1)
    OR EXISTS (SELECT 1 FROM transmission WHERE account = ?1 AND ended_us IS NULL);

-- name: ip_has_mail
SELECT EXISTS (SELECT 1 FROM message WHERE state = 'in_flight' AND ip = :ip)
    OR EXISTS (SELECT 1 FROM message WHERE state <> 'in_flight' AND ip = :ip)
    OR EXISTS (SELECT 1 FROM transmission, json_each(transmission.verdict, '$.ips') AS sender
               WHERE transmission.ended_us IS NULL AND json_extract(sender.value, '$[0]') = :ip);

-- name: epochs
SELECT json_group_array(json_array(ip, epoch)) FROM lane WHERE ip IN (SELECT value FROM json_each(?));

-- name: make_lane
INSERT OR IGNORE INTO lane (ip) VALUES (?);

-- name: clock_us
SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000;

-- name: lanes
SELECT lane.ip, lane.worker, lane.epoch, lane.expires_us
FROM lane LEFT JOIN directory_entry AS sending ON sending.kind = 'sending_ip' AND sending.key = lane.ip
WHERE (sending.key IS NULL OR json_extract(sending.value, '$.node') IN ('', :node))
  AND (json_extract(sending.value, '$.is_retired') = 0
       OR EXISTS (SELECT 1 FROM message WHERE state = 'in_flight' AND ip = lane.ip)
       OR EXISTS (SELECT 1 FROM message WHERE state <> 'in_flight' AND ip = lane.ip))
ORDER BY lane.ip;

-- name: drop_lanes
UPDATE lane SET worker = '', expires_us = 0
WHERE worker = ? AND ip NOT IN (SELECT value FROM json_each(?));

-- name: hold_lane
UPDATE lane SET worker = ?, epoch = ?, expires_us = ? WHERE ip = ?;

-- name: release_lanes
UPDATE lane SET worker = '', expires_us = 0 WHERE worker = ? AND ip IN (SELECT value FROM json_each(?));

-- name: release_all_lanes
UPDATE lane SET worker = '', expires_us = 0 WHERE worker = ?;

-- name: holds_lane
SELECT EXISTS (SELECT 1 FROM lane WHERE ip = ? AND epoch = ?);

-- name: last_body_row
SELECT coalesce(max(row_id), 0) FROM body;

-- name: share_body
INSERT INTO shared_body (row_id, messages) VALUES (?, ?);

-- name: orphans
UPDATE message SET epoch = :epoch, orphaned = orphaned + 1
WHERE state = 'in_flight' AND ip = :ip AND epoch < :epoch
  AND EXISTS (SELECT 1 FROM lane WHERE ip = :ip AND epoch = :epoch)
RETURNING {message};

-- name: heads (a skip scan: one look into the index for each domain)
WITH RECURSIVE waiting (domain) AS (
    SELECT min(domain) FROM message WHERE state = 'queued' AND ip = :ip
    UNION ALL
    SELECT (SELECT min(message.domain) FROM message
            WHERE state = 'queued' AND ip = :ip AND message.domain > waiting.domain)
    FROM waiting WHERE waiting.domain IS NOT NULL
)
SELECT domain, due_us FROM (
    SELECT domain, (SELECT min(due_us) FROM message
                    WHERE state = 'queued' AND ip = :ip AND message.domain = waiting.domain) AS due_us
    FROM waiting WHERE domain IS NOT NULL
) WHERE due_us <= :until_us ORDER BY due_us, domain;

-- name: heads_of
SELECT domain, due_us FROM (
    SELECT value AS domain, (SELECT min(due_us) FROM message
                             WHERE state = 'queued' AND ip = :ip AND message.domain = json_each.value) AS due_us
    FROM json_each(:domains)
) WHERE due_us <= :until_us ORDER BY due_us, domain;

-- name: pull_forward
UPDATE message SET due_us = :now_us
WHERE id IN (
    SELECT id FROM message
    WHERE state = 'queued' AND ip = :ip AND due_us > :now_us + :least_us
      AND due_us > :now_us + json_extract(:gaps, '$[' || min(max(attempts - 1, 0), :last) || ']')
    LIMIT :limit)
  AND EXISTS (SELECT 1 FROM lane WHERE ip = :ip AND epoch = :epoch);

-- name: due
SELECT json_group_array(json_array(due_us, id, size_bytes)) FROM (
    SELECT due_us, id, size_bytes FROM message
    WHERE state = 'queued' AND ip = :ip AND domain = :domain AND due_us <= :now_us AND expires_us > :now_us
    ORDER BY due_us LIMIT :limit
);

-- name: claim
UPDATE OR FAIL message SET state = 'in_flight', epoch = ?, attempts = attempts + 1
WHERE id IN (SELECT value FROM json_each(?));

-- name: claimed
SELECT {message}, body_row FROM message WHERE id IN (SELECT value FROM json_each(?)) ORDER BY due_us, id;

-- name: bodies
SELECT row_id, content FROM body WHERE row_id IN (SELECT value FROM json_each(?));

-- name: claim_overdue
UPDATE message SET state = 'in_flight', epoch = :epoch
WHERE id IN (SELECT id FROM message WHERE state <> 'in_flight' AND ip = :ip AND expires_us <= :now_us
             ORDER BY expires_us LIMIT :limit)
  AND EXISTS (SELECT 1 FROM lane WHERE ip = :ip AND epoch = :epoch)
RETURNING {message};

-- name: standing
SELECT json_group_array(json_array(id, ip, state, epoch, body_row, shares_body, account, size_bytes,
                                   iif(shares_body, length(prefix), 0), length(particulars)))
FROM message WHERE id IN (SELECT value FROM json_each(?));

-- name: remove_messages
DELETE FROM message WHERE id IN (SELECT value FROM json_each(?));

-- name: remove_bodies
DELETE FROM body WHERE row_id IN (SELECT value FROM json_each(?));

-- name: leave_body
UPDATE shared_body SET messages = messages - 1 WHERE row_id = ? RETURNING messages;

-- name: unshare_body
DELETE FROM shared_body WHERE row_id = ?;

-- name: requeue (a wish to hold makes it held; a wish to cancel leaves it due since it was accepted)
UPDATE OR FAIL message SET
    state = iif(wish = 'hold', 'held', 'queued'),
    due_us = iif(wish = 'cancel', accepted_us, settled.due_us),
    expires_us = iif(wish = 'hold', other_expires_us, expires_us),
    other_expires_us = iif(wish = 'hold', expires_us, NULL),
    wish = iif(wish = 'hold', '', wish),
    last_reply = coalesce(settled.reply, last_reply),
    attempts = attempts - settled.uncount
FROM (
    SELECT value ->> '$[0]' AS message, value ->> '$[1]' AS lane, value ->> '$[2]' AS lane_epoch,
           value ->> '$[3]' AS due_us, value ->> '$[4]' AS reply, value ->> '$[5]' AS uncount
    FROM json_each(?)
) AS settled
WHERE id = settled.message AND state = 'in_flight' AND ip = settled.lane AND epoch = settled.lane_epoch
RETURNING id, ip, epoch;

-- name: body
SELECT content FROM body JOIN message ON body_row = row_id WHERE id = ?;

-- name: last_ungated
SELECT last_message FROM ungated;

-- name: composed
SELECT json_group_array(json_array(submission.id)) FROM json_each(?) AS wanted
JOIN submission ON submission.id = wanted.value
WHERE json_extract(submission.fields, '$.recv_method') IN ('rest', 'dsn');

-- name: hold
UPDATE message SET
    expires_us = iif(state = 'queued', :until_us, expires_us),
    other_expires_us = iif(state = 'queued', expires_us, :until_us),
    wish = iif(state = 'queued', '', 'hold'),
    state = iif(state = 'queued', 'held', state),
    held_at_us = :now_us
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: release
UPDATE message SET
    expires_us = iif(state = 'held', other_expires_us + :now_us - held_at_us, expires_us),
    due_us = iif(state = 'held', :now_us, due_us),
    state = iif(state = 'held', 'queued', state),
    wish = '', held_at_us = NULL, other_expires_us = NULL
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: retry
UPDATE message SET due_us = min(due_us, :now_us) WHERE id IN (SELECT value FROM json_each(:ids));

-- name: cancel
UPDATE message SET
    due_us = iif(state = 'in_flight', due_us, :now_us),
    state = iif(state = 'in_flight', state, 'queued'),
    wish = 'cancel', held_at_us = NULL, other_expires_us = NULL
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: repin
UPDATE message SET ip = :ip, hostname = :hostname, bind = :bind
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: story
SELECT {event} FROM event LEFT JOIN submission ON submission.id = event.transmission_id
WHERE event.message_id = ? ORDER BY event.id;

-- name: of_transmission
SELECT {event} FROM event LEFT JOIN submission ON submission.id = event.transmission_id
WHERE event.transmission_id = ? ORDER BY event.id;

-- name: recent
SELECT {event} FROM event LEFT JOIN submission ON submission.id = event.transmission_id
ORDER BY event.id DESC LIMIT ?;

-- name: first_events
SELECT json_group_array(json_array(id, at_us, transmission_id)) FROM (
    SELECT id, at_us, transmission_id FROM event WHERE id > ? ORDER BY id LIMIT ?
);

-- name: remove_events
DELETE FROM event WHERE id IN (SELECT value FROM json_each(?));

-- name: old_transmissions
SELECT DISTINCT transmission_id FROM message WHERE accepted_us < ?;

-- name: remove_submissions
DELETE FROM submission WHERE id IN (SELECT value FROM json_each(?))
  AND NOT EXISTS (SELECT 1 FROM event WHERE event.transmission_id = submission.id);
