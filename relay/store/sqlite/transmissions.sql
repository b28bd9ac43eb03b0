-- name: submit
INSERT INTO transmission (id, account, subaccount, campaign_id, is_scheduled, start_us, num_rcpts, fields,
                          verdict, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_content
INSERT INTO transmission_content (id, content) VALUES (?, ?);

-- name: add_recipients
INSERT INTO transmission_recipients (id, account, first, recipients) VALUES (?, ?, ?, ?);

-- name: other_holders
SELECT DISTINCT holder FROM transmission WHERE ended_us IS NULL AND holder NOT IN ('', ?);

-- name: hold_due (begun before the clock was set back, it goes on; another's that it worked on counts: it died or hangs; no more of an account with a full share)
UPDATE transmission SET
    tries = tries + (trying AND holder <> :holder),
    trying = trying AND holder = :holder,
    holder = :holder,
    held_until_us = :until_us
WHERE id IN (SELECT id FROM (
             SELECT id, start_us FROM transmission
             WHERE ended_us IS NULL AND set_aside_us IS NULL AND start_us <= :now_us
               AND (holder IN ('', :holder) OR held_until_us <= :clock_us
                    OR holder IN (SELECT value FROM json_each(:dead)))
               AND (holder = :holder OR NOT EXISTS (
                   SELECT 1 FROM queue_share WHERE queue_share.account = transmission.account
                   AND mail_bytes > 0 AND mail_bytes + stored_bytes >= :share_bytes))
             UNION ALL
             SELECT id, start_us FROM transmission
             WHERE ended_us IS NULL AND set_aside_us IS NULL AND verdict IS NOT NULL AND start_us > :now_us
               AND (holder IN ('', :holder) OR held_until_us <= :clock_us
                    OR holder IN (SELECT value FROM json_each(:dead)))
               AND (holder = :holder OR NOT EXISTS (
                   SELECT 1 FROM queue_share WHERE queue_share.account = transmission.account
                   AND mail_bytes > 0 AND mail_bytes + stored_bytes >= :share_bytes))
             ORDER BY start_us, id LIMIT :limit))
RETURNING {standing};

-- name: release
UPDATE transmission SET holder = '', held_until_us = 0, trying = 0 WHERE ended_us IS NULL AND holder = ?;

-- name: mark
UPDATE transmission SET trying = :is_begun WHERE id = :id AND holder = :holder AND ended_us IS NULL;

-- name: set_aside
UPDATE transmission SET set_aside_us = :now_us, holder = '', held_until_us = 0, trying = 0
WHERE id = :id AND holder = :holder AND ended_us IS NULL;

-- name: retry
UPDATE transmission SET set_aside_us = NULL, tries = 0
WHERE id = :id AND set_aside_us IS NOT NULL AND ended_us IS NULL;

-- name: next_start
SELECT min(start_us) FROM transmission WHERE ended_us IS NULL AND start_us > ?;

-- name: content
SELECT content FROM transmission_content WHERE id = ?;

-- name: recipients
SELECT first, recipients FROM transmission_recipients
WHERE id = :id AND first <= :position ORDER BY first DESC LIMIT 1;

-- name: address_at (a million recipients are not built for it)
SELECT json_extract(recipients, '$[' || (:position - first) || '][0]'),
       json_extract(recipients, '$[' || (:position - first) || '][1]')
FROM transmission_recipients WHERE id = :id AND first <= :position ORDER BY first DESC LIMIT 1;

-- name: decide
UPDATE transmission SET verdict = :verdict, state = 'Generating' WHERE id = :id AND state = 'submitted';

-- name: advance
UPDATE transmission SET
    position = :next,
    num_generated = num_generated + :num_generated,
    num_failed = num_failed + :num_failed,
    tries = 0,
    began_us = coalesce(began_us, :now_us),
    ended_us = iif(:next < num_rcpts, NULL, :now_us),
    state = iif(:next < num_rcpts, 'Generating', 'Success')
WHERE id = :id AND position = :position AND state = 'Generating' AND holder = :holder
RETURNING num_rcpts, is_scheduled, account;

-- name: remove_used
DELETE FROM transmission_recipients WHERE id = :id AND first < :before;

-- name: remove_content
DELETE FROM transmission_content WHERE id = ?;

-- name: remove
DELETE FROM transmission WHERE id = ?;

-- name: find
SELECT {standing} FROM transmission WHERE id = ?;

-- name: listed
SELECT {standing} FROM transmission
WHERE account = ? AND is_scheduled AND (ended_us IS NULL OR ended_us >= ?) ORDER BY id;

-- name: all
SELECT {standing} FROM transmission
WHERE (:account IS NULL OR account = :account) AND (:with_ended OR ended_us IS NULL)
ORDER BY set_aside_us IS NULL, id LIMIT :limit;

-- name: undecided
SELECT count(*) FROM transmission
WHERE account = :account AND is_scheduled AND state = 'submitted'
  AND (lower(json_extract(fields, '$.options.ip_pool')) = :pool
       OR (coalesce(json_extract(fields, '$.options.ip_pool'), '') = ''
           AND subaccount IN (SELECT value FROM json_each(:bound))));

-- name: cancel
UPDATE transmission SET state = 'Canceled', ended_us = :now_us WHERE id = :id AND state = 'submitted';

-- name: end
UPDATE transmission SET state = 'Canceled', ended_us = :now_us, set_aside_us = NULL
WHERE id = :id AND ended_us IS NULL;

-- name: cancel_campaign
UPDATE transmission SET state = 'Canceled', ended_us = :asked_us, set_aside_us = NULL
WHERE ended_us IS NULL AND account = :account AND subaccount IS :subaccount AND campaign_id = :campaign_id
RETURNING id, is_scheduled;

-- name: add_cancellation
INSERT INTO campaign_cancellation (account, subaccount, campaign_id, asked_us)
VALUES (:account, :subaccount, :campaign_id, :asked_us);

-- name: cancellations
SELECT id, account, subaccount, campaign_id, asked_us FROM campaign_cancellation ORDER BY id;

-- name: mail_of
SELECT {message} FROM message JOIN submission ON submission.id = message.transmission_id
WHERE message.id > :after AND message.account = :account AND message.subaccount IS :subaccount
  AND message.accepted_us <= :asked_us
  AND json_extract(submission.fields, '$.options.campaign_id') = :campaign_id
ORDER BY message.id LIMIT :limit;

-- name: close_cancellation
DELETE FROM campaign_cancellation WHERE id = ?;

-- name: old
SELECT id FROM transmission WHERE ended_us < ? LIMIT 1000;

-- name: unsubmitted
SELECT DISTINCT id FROM transmission_recipients
WHERE CAST(id AS INTEGER) < CAST(? AS INTEGER) AND id NOT IN (SELECT id FROM transmission);
