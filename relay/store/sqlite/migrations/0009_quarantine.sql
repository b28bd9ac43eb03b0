-- How often a process ended while it worked on the transmission, since a recipient was stored; whether its
-- holder works on it now, and does not only hold it; since when nobody is to work on it.
ALTER TABLE transmission ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transmission ADD COLUMN trying INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transmission ADD COLUMN set_aside_us INTEGER;
