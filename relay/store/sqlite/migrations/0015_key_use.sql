-- The last day (1970-01-01 is 0, UTC) on which an API key was used. A day, so that it is written once a day.
CREATE TABLE key_use (
    sha256  TEXT PRIMARY KEY,
    day     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
