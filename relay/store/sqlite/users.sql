-- name: all
SELECT {user} FROM user ORDER BY name_key;

-- name: of_account
SELECT {user} FROM user WHERE account = ? ORDER BY name_key;

-- name: by_key
SELECT {user} FROM user WHERE name_key = ?;

-- name: add
INSERT INTO user (name, name_key, role, account, password_hash, is_disabled, created_us)
VALUES (?, ?, ?, ?, '', 0, ?) RETURNING {user};

-- name: remove
DELETE FROM user WHERE id = ?;

-- name: set_disabled
UPDATE user SET is_disabled = ? WHERE id = ? RETURNING {user};

-- name: set_password
UPDATE user SET password_hash = :new WHERE id = :id AND password_hash = :old AND NOT is_disabled RETURNING id;

-- name: is_as_verified
SELECT EXISTS (SELECT 1 FROM user WHERE id = ? AND password_hash = ? AND NOT is_disabled);

-- name: has_account
SELECT EXISTS (SELECT 1 FROM directory_entry WHERE kind = 'account' AND key = ?);

-- name: has_other_operator
SELECT EXISTS (SELECT 1 FROM user WHERE role = 'operator' AND NOT is_disabled AND id <> ?);

-- name: has_been_used
SELECT EXISTS (SELECT 1 FROM user WHERE password_hash <> '');

-- name: put_link
INSERT INTO user_link (user, token_sha256, expires_us) VALUES (?, ?, ?)
ON CONFLICT (user) DO UPDATE SET token_sha256 = excluded.token_sha256, expires_us = excluded.expires_us;

-- name: remove_link
DELETE FROM user_link WHERE user = ?;

-- name: linked
SELECT {user} FROM user_link JOIN user ON user.id = user_link.user
WHERE token_sha256 = ? AND expires_us > ? AND NOT is_disabled;

-- name: add_session
INSERT INTO user_session ({session}) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: end_more_sessions (than the most recently used; the first number keeps the new one)
DELETE FROM user_session WHERE user = :user AND token_sha256 <> :new AND token_sha256 NOT IN (
    SELECT token_sha256 FROM user_session WHERE user = :user AND token_sha256 <> :new
    ORDER BY last_seen_us DESC LIMIT :others
);

-- name: session
SELECT {session} FROM user_session WHERE token_sha256 = ?;

-- name: by_id
SELECT {user} FROM user WHERE id = ?;

-- name: sessions
SELECT {session} FROM user_session WHERE user = ? ORDER BY last_seen_us DESC, created_us DESC;

-- name: touch
UPDATE user_session SET last_seen_us = :now_us WHERE token_sha256 = :token_sha256 AND last_seen_us < :now_us;

-- name: act_for
UPDATE user_session SET acting_for = ? WHERE token_sha256 = ?;

-- name: act_for_nobody
UPDATE user_session SET acting_for = NULL WHERE acting_for = ?;

-- name: end_session
DELETE FROM user_session WHERE token_sha256 = ?;

-- name: revoke
DELETE FROM user_session WHERE user = ? AND id = ? RETURNING id;

-- name: end_sessions
DELETE FROM user_session WHERE user = ? AND token_sha256 <> ?;

-- name: oldest_counted (NULL: fewer failures than the limit; one to come is of a clock that was set back)
SELECT (SELECT at_us FROM sign_in_try WHERE key = ? AND at_us > ? AND at_us <= ? ORDER BY at_us DESC LIMIT 1 OFFSET ?);

-- name: count_try
INSERT INTO sign_in_try (key, at_us, try) VALUES (?, ?, ?);

-- name: forgive
DELETE FROM sign_in_try WHERE try = ? OR key = ?;

-- name: forget_sessions
DELETE FROM user_session WHERE last_seen_us <= :idle_us OR created_us <= :began_us;

-- name: forget_links
DELETE FROM user_link WHERE expires_us <= ?;

-- name: forget_tries
DELETE FROM sign_in_try WHERE at_us <= ?;
