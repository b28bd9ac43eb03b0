-- Octets that an account has here, so that its share is known however much there is.
CREATE TABLE queue_share (
    account      INTEGER PRIMARY KEY,
    -- Never NULL, and not declared so: see 0006.
    mail_bytes   INTEGER,
    -- Contents, recipients and fields of transmissions.
    stored_bytes INTEGER
) STRICT;

-- One look at each message: those that share a body make a group, the others of an account another.
INSERT INTO queue_share (account, mail_bytes, stored_bytes)
SELECT account, sum(octets), 0 FROM (
    SELECT account,
           sum(iif(shares_body, length(prefix), size_bytes) + length(particulars))
               + max(iif(shares_body, size_bytes - length(prefix), 0)) AS octets
    FROM message GROUP BY iif(shares_body, body_row, -account)
) GROUP BY account;

-- Recipients stand before their transmission does.
ALTER TABLE transmission_recipients ADD COLUMN account INTEGER NOT NULL DEFAULT 0;
UPDATE transmission_recipients
SET account = coalesce((SELECT account FROM transmission WHERE transmission.id = transmission_recipients.id), 0);

INSERT INTO queue_share (account, mail_bytes, stored_bytes)
SELECT account, 0, sum(octets) FROM (
    SELECT account, length(fields) AS octets FROM transmission
    UNION ALL
    SELECT account, length(content) FROM transmission_content JOIN transmission USING (id)
    UNION ALL
    SELECT account, length(recipients) FROM transmission_recipients
) WHERE TRUE GROUP BY account
ON CONFLICT DO UPDATE SET stored_bytes = excluded.stored_bytes;

-- What is stored is ASCII: its characters are its octets.
CREATE TRIGGER transmission_comes AFTER INSERT ON transmission BEGIN
    INSERT OR FAIL INTO queue_share (account, mail_bytes, stored_bytes)
    VALUES (NEW.account, 0, length(NEW.fields))
    ON CONFLICT DO UPDATE SET stored_bytes = stored_bytes + excluded.stored_bytes;
END;

CREATE TRIGGER transmission_goes AFTER DELETE ON transmission BEGIN
    UPDATE OR FAIL queue_share SET stored_bytes = stored_bytes - length(OLD.fields) WHERE account = OLD.account;
END;

-- The transmission comes before its content and goes after it.
CREATE TRIGGER transmission_content_comes AFTER INSERT ON transmission_content BEGIN
    UPDATE OR FAIL queue_share SET stored_bytes = stored_bytes + length(NEW.content)
    WHERE account = (SELECT account FROM transmission WHERE id = NEW.id);
END;

CREATE TRIGGER transmission_content_goes AFTER DELETE ON transmission_content BEGIN
    UPDATE OR FAIL queue_share SET stored_bytes = stored_bytes - length(OLD.content)
    WHERE account = (SELECT account FROM transmission WHERE id = OLD.id);
END;

CREATE TRIGGER transmission_recipients_come AFTER INSERT ON transmission_recipients BEGIN
    INSERT OR FAIL INTO queue_share (account, mail_bytes, stored_bytes)
    VALUES (NEW.account, 0, length(NEW.recipients))
    ON CONFLICT DO UPDATE SET stored_bytes = stored_bytes + excluded.stored_bytes;
END;

CREATE TRIGGER transmission_recipients_go AFTER DELETE ON transmission_recipients BEGIN
    UPDATE OR FAIL queue_share SET stored_bytes = stored_bytes - length(OLD.recipients)
    WHERE account = OLD.account;
END;
