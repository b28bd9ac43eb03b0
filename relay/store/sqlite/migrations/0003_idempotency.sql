-- Requests with an Idempotency-Key; status is NULL until there is an answer.
CREATE TABLE idempotency (
    scope       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    began_us    INTEGER NOT NULL,
    status      INTEGER,
    body        BLOB,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_began ON idempotency (began_us);
