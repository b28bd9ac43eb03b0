-- Submissions by REST whose messages are made after they were accepted.
CREATE TABLE transmission (
    id            TEXT PRIMARY KEY,
    account       INTEGER NOT NULL,
    subaccount    INTEGER,
    campaign_id   TEXT NOT NULL,
    is_scheduled  INTEGER NOT NULL,
    start_us      INTEGER NOT NULL,
    state         TEXT NOT NULL,
    num_rcpts     INTEGER NOT NULL,
    -- The next recipient; it moves in the transaction that stores the messages of those before it.
    position      INTEGER NOT NULL DEFAULT 0,
    num_generated INTEGER NOT NULL DEFAULT 0,
    num_failed    INTEGER NOT NULL DEFAULT 0,
    began_us      INTEGER,
    ended_us      INTEGER,
    -- Pool and IPs by value; NULL until they are decided.
    verdict       TEXT,
    holder        TEXT NOT NULL DEFAULT '',
    held_until_us INTEGER NOT NULL DEFAULT 0,
    fields        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX transmission_unfinished ON transmission (start_us) WHERE ended_us IS NULL;
CREATE INDEX transmission_account ON transmission (account);

CREATE TABLE transmission_content (
    id      TEXT PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;

-- Up to 500 recipients a row; a row goes with the last message that is made from it.
CREATE TABLE transmission_recipients (
    id         TEXT NOT NULL,
    first      INTEGER NOT NULL,
    recipients TEXT NOT NULL,
    PRIMARY KEY (id, first)
) STRICT;

CREATE TABLE campaign_cancellation (
    id          INTEGER PRIMARY KEY,
    account     INTEGER NOT NULL,
    subaccount  INTEGER,
    campaign_id TEXT NOT NULL,
    asked_us    INTEGER NOT NULL
) STRICT;

-- JSON: subject, metadata and tags of this copy, where they differ from the submission's.
ALTER TABLE message ADD COLUMN particulars TEXT NOT NULL DEFAULT '';
