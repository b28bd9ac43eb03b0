-- Whom accounts must not write to. subaccount 0 is the account itself; recipients are lower-case.
CREATE TABLE suppression (
    account     INTEGER NOT NULL,
    subaccount  INTEGER NOT NULL,
    recipient   TEXT NOT NULL,
    kind        TEXT NOT NULL,
    source      TEXT NOT NULL,
    description TEXT NOT NULL,
    created_us  INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL,
    PRIMARY KEY (account, subaccount, recipient, kind)
) STRICT, WITHOUT ROWID;

-- A page of the newest is read off it, and it counts by kind and by IP without looking at the events.
-- It grows at one place for each account: one more page of 16 KiB in a commit for each that sends. An
-- index by IP or recipient would touch one for nearly every event: three times the CPU, five times the log.
CREATE INDEX event_account ON event (account, at_us, kind, ip);
