-- name: add_terms
INSERT INTO billing_terms (account, revision, opens, since_us, price_cents, bill_cycle_day, ends_us)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_holding
INSERT INTO holding (account, ip, revision, since_us) VALUES (?, ?, ?, ?);

-- name: close_holding
UPDATE holding SET until_us = ? WHERE ip = ? AND until_us IS NULL;

-- name: opening
SELECT coalesce(max(id), 0), coalesce(max(revision), 0) FROM billing_terms WHERE account = ? AND opens = 1;

-- name: terms
SELECT since_us, price_cents, bill_cycle_day, ends_us FROM billing_terms
WHERE account = ? AND id >= ? ORDER BY id;

-- name: holdings
SELECT ip, revision, since_us, until_us FROM holding WHERE account = ? AND revision >= ? ORDER BY id;
