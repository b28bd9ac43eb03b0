-- name: first_event
SELECT min(id) FROM event;

-- name: last_event
SELECT max(id) FROM event;

-- name: unnoted
WITH RECURSIVE full (number) AS (
    SELECT (SELECT max(id) + 1 FROM event) / :block - 1
    UNION ALL
    SELECT number - 1 FROM full WHERE number > (SELECT min(id) FROM event) / :block
)
SELECT number FROM full
WHERE number >= (SELECT min(id) FROM event) / :block
  AND NOT EXISTS (SELECT 1 FROM event_block WHERE event_block.block = number)
LIMIT :limit;

-- name: events (the time, a column for each field, and the submission; BLOB: it need not be UTF-8)
SELECT at_us, CAST(account AS BLOB), CAST(kind AS BLOB), CAST(ip AS BLOB),
       CAST(coalesce(fields ->> '$.subaccount', 0) AS BLOB), CAST(fields ->> '$.bounce_class' AS BLOB),
       CAST(fields ->> '$.rcpt_to' AS BLOB), CAST(fields ->> '$.domain' AS BLOB),
       CAST(fields ->> '$.ip_pool' AS BLOB), CAST(fields ->> '$.raw_reason' AS BLOB),
       CAST(fields ->> '$.particulars[0]' AS BLOB), CAST(fields ->> '$.particulars[4]' AS BLOB),
       CAST(fields ->> '$.particulars[5]' AS BLOB), transmission_id
FROM event WHERE id >= :first AND id < :end;

-- name: submissions
SELECT CAST(fields ->> '$.subject' AS BLOB), CAST(fields ->> '$.friendly_from' AS BLOB),
       CAST(fields ->> '$.sending_domain' AS BLOB), CAST(fields ->> '$.options.campaign_id' AS BLOB)
FROM submission WHERE id IN (SELECT value FROM json_each(?));

-- name: keep
INSERT OR IGNORE INTO event_block (block, since_us, until_us, terms) VALUES (?, ?, ?, ?);

-- name: lease (one that lasts longer than a lease was taken before the clock was set back)
UPDATE event_block_lease SET until_us = :until_us, holder = :holder
WHERE holder = :holder OR until_us <= :now_us OR until_us > 2 * :until_us - :now_us;

-- name: blocks
SELECT block, since_us, until_us, terms FROM event_block WHERE block <= ? ORDER BY block DESC;

-- name: forget
DELETE FROM event_block WHERE block < (SELECT min(id) FROM event) / :block;
