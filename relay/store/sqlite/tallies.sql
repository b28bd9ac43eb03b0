-- name: count
INSERT INTO tally (account, at_us, kind, ip, pool, events) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET events = events + excluded.events;

-- name: by_ip (a skip scan over the accounts: one look into the key for each)
WITH RECURSIVE counted (account) AS (
    SELECT coalesce(:account, (SELECT min(account) FROM tally))
    UNION ALL
    SELECT (SELECT min(tally.account) FROM tally WHERE tally.account > counted.account)
    FROM counted WHERE counted.account IS NOT NULL AND :account IS NULL
)
SELECT at_us - at_us % :step_us AS step, tally.account, ip, pool, kind, sum(events)
FROM counted CROSS JOIN tally ON tally.account = counted.account AND at_us >= :since_us AND at_us < :until_us
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;

-- name: by_account
WITH RECURSIVE counted (account) AS (
    SELECT coalesce(:account, (SELECT min(account) FROM tally))
    UNION ALL
    SELECT (SELECT min(tally.account) FROM tally WHERE tally.account > counted.account)
    FROM counted WHERE counted.account IS NOT NULL AND :account IS NULL
)
SELECT at_us - at_us % :step_us AS step, tally.account, '', '', kind, sum(events)
FROM counted CROSS JOIN tally ON tally.account = counted.account AND at_us >= :since_us AND at_us < :until_us
GROUP BY 1, 2, 5 ORDER BY 1, 2, 5;

-- name: forget
WITH RECURSIVE counted (account) AS (
    SELECT min(account) FROM tally
    UNION ALL
    SELECT (SELECT min(tally.account) FROM tally WHERE tally.account > counted.account)
    FROM counted WHERE counted.account IS NOT NULL
)
DELETE FROM tally WHERE account IN (SELECT account FROM counted) AND at_us < :before_us;
