-- Who may sign in to the web console. name_key is what names have in common that differ in case alone;
-- password_hash is '' until the first link is followed. AUTOINCREMENT: no number serves twice.
CREATE TABLE user (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL,
    account       INTEGER,
    password_hash TEXT NOT NULL,
    is_disabled   INTEGER NOT NULL,
    created_us    INTEGER NOT NULL,
    CHECK ((role = 'operator') = (account IS NULL))
) STRICT;

-- Browsers that are signed in. Tokens are kept as SHA-256 alone, here and in user_link.
CREATE TABLE user_session (
    token_sha256 TEXT PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    user         INTEGER NOT NULL,
    created_us   INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    user_agent   TEXT NOT NULL,
    client       TEXT NOT NULL,
    acting_for   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX user_session_user ON user_session (user, last_seen_us);

-- Links by which a user sets a password, once; a user has one at most.
CREATE TABLE user_link (
    user         INTEGER PRIMARY KEY,
    token_sha256 TEXT NOT NULL UNIQUE,
    expires_us   INTEGER NOT NULL
) STRICT;

-- Tries to sign in that failed, or are not decided yet: a row for the name, and one for the client.
CREATE TABLE sign_in_try (
    key   TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    try   TEXT NOT NULL,
    PRIMARY KEY (key, at_us, try)
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_in_try_try ON sign_in_try (try);
CREATE INDEX sign_in_try_at ON sign_in_try (at_us);
