-- An entry may be of one mailing list (RFC 2919 §6: whatever the case of its name); '' is the account's own.
CREATE TABLE suppression_of_lists (
    account     INTEGER NOT NULL,
    subaccount  INTEGER NOT NULL,
    recipient   TEXT NOT NULL,
    kind        TEXT NOT NULL,
    list_id     TEXT COLLATE NOCASE NOT NULL,
    source      TEXT NOT NULL,
    description TEXT NOT NULL,
    created_us  INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL,
    PRIMARY KEY (account, subaccount, recipient, kind, list_id)
) STRICT, WITHOUT ROWID;

INSERT INTO suppression_of_lists
SELECT account, subaccount, recipient, kind, '', source, description, created_us, updated_us FROM suppression;

DROP TABLE suppression;
ALTER TABLE suppression_of_lists RENAME TO suppression;
