-- What people who watch the mail ask for, kept so that it is quick however much mail there is.

-- Events counted by ten minutes; ip and pool are '' for what never came to be a message.
CREATE TABLE tally (
    account INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    ip      TEXT NOT NULL,
    pool    TEXT NOT NULL,
    events  INTEGER NOT NULL,
    PRIMARY KEY (account, at_us, kind, ip, pool)
) STRICT, WITHOUT ROWID;

INSERT INTO tally (account, at_us, kind, ip, pool, events)
SELECT account, at_us - at_us % 600000000, kind, coalesce(ip, ''), coalesce(fields ->> '$.ip_pool', ''),
       count(*)
FROM event WHERE kind <> 'operated' GROUP BY 1, 2, 3, 4, 5;

-- How many messages are queued and held; a row with neither goes. Those in flight are few and have an index.
CREATE TABLE waiting (
    account INTEGER NOT NULL,
    ip      TEXT NOT NULL,
    domain  TEXT NOT NULL,
    pool    TEXT NOT NULL,
    -- Never NULL, and not declared so: see below.
    queued  INTEGER,
    held    INTEGER,
    PRIMARY KEY (account, ip, domain, pool)
) STRICT, WITHOUT ROWID;

INSERT INTO waiting (account, ip, domain, pool, queued, held)
SELECT account, ip, domain, pool, sum(state = 'queued'), sum(state = 'held')
FROM message WHERE state <> 'in_flight' GROUP BY 1, 2, 3, 4;

-- Triggers, because no verb can forget them. A message that comes in flight and leaves so costs two looks
-- at its state. OR FAIL, and no constraint that could abort a statement: SQLite copies each page that such a
-- statement writes, in order to undo it. We never undo less than the transaction.
CREATE TRIGGER message_comes AFTER INSERT ON message WHEN NEW.state <> 'in_flight' BEGIN
    INSERT OR FAIL INTO waiting (account, ip, domain, pool, queued, held)
    VALUES (NEW.account, NEW.ip, NEW.domain, NEW.pool, NEW.state = 'queued', NEW.state = 'held')
    ON CONFLICT DO UPDATE SET queued = queued + excluded.queued, held = held + excluded.held;
END;

CREATE TRIGGER message_goes AFTER DELETE ON message WHEN OLD.state <> 'in_flight' BEGIN
    UPDATE OR FAIL waiting SET queued = queued - (OLD.state = 'queued'), held = held - (OLD.state = 'held')
    WHERE account = OLD.account AND ip = OLD.ip AND domain = OLD.domain AND pool = OLD.pool;
END;

CREATE TRIGGER message_begins_to_wait AFTER UPDATE OF state, ip ON message
WHEN NEW.state <> 'in_flight' AND (NEW.state <> OLD.state OR NEW.ip <> OLD.ip) BEGIN
    INSERT OR FAIL INTO waiting (account, ip, domain, pool, queued, held)
    VALUES (NEW.account, NEW.ip, NEW.domain, NEW.pool, NEW.state = 'queued', NEW.state = 'held')
    ON CONFLICT DO UPDATE SET queued = queued + excluded.queued, held = held + excluded.held;
END;

CREATE TRIGGER message_waits_no_more AFTER UPDATE OF state, ip ON message
WHEN OLD.state <> 'in_flight' AND (NEW.state <> OLD.state OR NEW.ip <> OLD.ip) BEGIN
    UPDATE OR FAIL waiting SET queued = queued - (OLD.state = 'queued'), held = held - (OLD.state = 'held')
    WHERE account = OLD.account AND ip = OLD.ip AND domain = OLD.domain AND pool = OLD.pool;
END;

CREATE TRIGGER waiting_none AFTER UPDATE ON waiting WHEN NEW.queued = 0 AND NEW.held = 0 BEGIN
    DELETE FROM waiting
    WHERE account = NEW.account AND ip = NEW.ip AND domain = NEW.domain AND pool = NEW.pool;
END;

-- What lists are filtered by stands at the end of the entries, so that they alone tell what to leave out.
DROP INDEX message_queued;
DROP INDEX message_waiting;
CREATE INDEX message_queued ON message (ip, domain, due_us, id, account, pool, subaccount)
WHERE state = 'queued';
CREATE INDEX message_waiting ON message (ip, expires_us, id, account, pool, state, subaccount)
WHERE state <> 'in_flight';
-- The same of what is held; written by holds and releases alone.
CREATE INDEX message_held ON message (ip, domain, due_us, id, account, pool, subaccount)
WHERE state = 'held';
CREATE INDEX message_held_waiting ON message (ip, expires_us, id, account, pool, subaccount)
WHERE state = 'held';

-- Which terms the events of a block have (ids divided by 1024): four octets of CRC-32 each.
CREATE TABLE event_block (
    block    INTEGER PRIMARY KEY,
    since_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL,
    terms    BLOB NOT NULL
) STRICT;

-- Which process notes them for the time being.
CREATE TABLE event_block_lease (until_us INTEGER NOT NULL, holder TEXT NOT NULL) STRICT;
INSERT INTO event_block_lease VALUES (0, '');

-- The history of one object, and of all that an account has or had.
CREATE INDEX audit_about ON audit (substr(what, instr(what, ' ') + 1));
CREATE INDEX audit_account_before ON audit (iif(json_valid(before), before ->> '$.account', NULL));
CREATE INDEX audit_account_after ON audit (iif(json_valid(after), after ->> '$.account', NULL));
