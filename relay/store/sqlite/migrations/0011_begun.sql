-- What has begun goes on though the clock was set back before its time.
CREATE INDEX transmission_begun ON transmission (start_us) WHERE ended_us IS NULL AND verdict IS NOT NULL;
