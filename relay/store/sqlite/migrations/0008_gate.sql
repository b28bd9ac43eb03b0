-- The newest message that a version without a gate stored; '' when there was none. Ids are made of the time,
-- so what stands up to it is read before it is sent.
CREATE TABLE ungated (last_message TEXT NOT NULL) STRICT;

INSERT INTO ungated SELECT coalesce(max(id), '') FROM message;
