-- What invoices follow from. Rows are added, and holdings closed, in the transaction of the change itself.

-- The terms of an account from since_us on; opens: it was made then, and what is older was another's
-- of the same number. revision: of the directory.
CREATE TABLE billing_terms (
    id             INTEGER PRIMARY KEY,
    account        INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    opens          INTEGER NOT NULL,
    since_us       INTEGER NOT NULL,
    price_cents    INTEGER NOT NULL,
    bill_cycle_day INTEGER NOT NULL,
    ends_us        INTEGER
) STRICT;

CREATE INDEX billing_terms_account ON billing_terms (account);

-- A dedicated IP while one account has it; until_us is NULL while it does.
CREATE TABLE holding (
    id       INTEGER PRIMARY KEY,
    account  INTEGER NOT NULL,
    ip       TEXT NOT NULL,
    revision INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    until_us INTEGER
) STRICT;

CREATE INDEX holding_account ON holding (account);
CREATE INDEX holding_open ON holding (ip) WHERE until_us IS NULL;

-- What there is already counts from now on.
INSERT INTO billing_terms (account, revision, opens, since_us, price_cents, bill_cycle_day)
SELECT json_extract(value, '$.id'), 0, 1,
       CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000,
       json_extract(value, '$.ip_price_cents'), json_extract(value, '$.bill_cycle_day')
FROM directory_entry WHERE kind = 'account';

INSERT INTO holding (account, ip, revision, since_us)
SELECT json_extract(value, '$.account'), key, 0,
       CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000
FROM directory_entry
WHERE kind = 'sending_ip' AND json_extract(value, '$.account') IS NOT NULL
  AND json_extract(value, '$.is_retired') = 0;
