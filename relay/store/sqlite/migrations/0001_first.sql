-- Times are integer microseconds since 1970, ids and addresses TEXT, JSON TEXT.

CREATE TABLE directory_revision (revision INTEGER NOT NULL) STRICT;
INSERT INTO directory_revision VALUES (0);

-- Accounts, pools, subaccounts, sending IPs, keys, domains and the list of routes.
CREATE TABLE directory_entry (
    kind  TEXT NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id       INTEGER PRIMARY KEY,
    at_us    INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    revision INTEGER NOT NULL,
    what     TEXT NOT NULL,
    before   TEXT,
    after    TEXT
) STRICT;

-- Never deleted from: the epoch of an address must not start again. worker is '' when nobody holds the lane.
CREATE TABLE lane (
    ip         TEXT PRIMARY KEY,
    worker     TEXT NOT NULL DEFAULT '',
    epoch      INTEGER NOT NULL DEFAULT 0,
    expires_us INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE submission (
    id       TEXT PRIMARY KEY,
    account  INTEGER NOT NULL,
    accepted_us INTEGER NOT NULL,
    fields   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE body (
    row_id  INTEGER PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;

-- How many messages a body still has; only for bodies that began with more than one.
CREATE TABLE shared_body (
    row_id   INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL
) STRICT;

CREATE TABLE message (
    id              TEXT PRIMARY KEY,
    transmission_id TEXT NOT NULL,
    account         INTEGER NOT NULL,
    subaccount      INTEGER,
    body_id         TEXT NOT NULL,
    prefix          BLOB NOT NULL,
    mail_from       TEXT NOT NULL,
    rcpt_to         TEXT NOT NULL,
    domain          TEXT NOT NULL,
    rcpt_type       TEXT NOT NULL,
    size_bytes      INTEGER NOT NULL,
    smtputf8        INTEGER NOT NULL,
    eight_bit       INTEGER NOT NULL,
    pool            TEXT NOT NULL,
    ip              TEXT NOT NULL,
    hostname        TEXT NOT NULL,
    bind            TEXT NOT NULL,
    accepted_us     INTEGER NOT NULL,
    expires_us      INTEGER NOT NULL,
    due_us          INTEGER NOT NULL,
    state           TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    last_reply      TEXT NOT NULL,
    epoch           INTEGER NOT NULL,
    wish            TEXT NOT NULL,
    orphaned        INTEGER NOT NULL,
    body_row        INTEGER NOT NULL,
    shares_body     INTEGER NOT NULL,
    -- Held, or in flight with the wish to hold: since when.
    held_at_us      INTEGER,
    -- Held: the expiry it had before. In flight with the wish to hold: the deadline of the hold.
    other_expires_us INTEGER
) STRICT, WITHOUT ROWID;

-- Each message stands in one or two of these, and one in flight only in the slim one.
CREATE INDEX message_queued ON message (ip, domain, due_us) WHERE state = 'queued';
CREATE INDEX message_in_flight ON message (ip) WHERE state = 'in_flight';
CREATE INDEX message_waiting ON message (ip, expires_us) WHERE state <> 'in_flight';

-- AUTOINCREMENT: an id is never used again, not even after the newest event was trimmed.
CREATE TABLE event (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us           INTEGER NOT NULL,
    kind            TEXT NOT NULL,
    message_id      TEXT,
    transmission_id TEXT,
    account         INTEGER NOT NULL,
    ip              TEXT,
    fields          TEXT NOT NULL
) STRICT;

CREATE INDEX event_message ON event (message_id);
CREATE INDEX event_transmission ON event (transmission_id);
