-- The rows of a crowded store, in this order. numbered: what each is about; the rest follows from its number.

-- name: bodies (each has a thousand messages)
INSERT INTO body (row_id, content)
SELECT n + 1, CAST('Subject: Offer' || char(13, 10, 13, 10) || 'Hello.' || char(13, 10) AS BLOB)
FROM numbered WHERE n * 1000 < :messages;

-- name: shares
INSERT INTO shared_body (row_id, messages)
SELECT row_id, min(1000, :messages - 1000 * (row_id - 1)) FROM body;

-- name: messages
INSERT INTO message (id, transmission_id, account, subaccount, body_id, prefix, mail_from, rcpt_to,
                     domain, rcpt_type, size_bytes, smtputf8, eight_bit, pool, ip, hostname, bind,
                     accepted_us, expires_us, due_us,
                     state, attempts, last_reply, epoch, wish, orphaned,
                     body_row, shares_body, held_at_us, other_expires_us)
SELECT printf('%020x', n), printf('%018d', n), account, iif(n % 5 = 0, 7, NULL), printf('%018d', n), x'',
       'news@a' || account || '.example', 'r' || n || '@' || domain,
       domain, '', 40, 0, 0, pool, ip, 'mta.' || ip, ip,
       :now_us - 7200000000 + n * 1000, :now_us + 252000000000 + n * 1000, :now_us + n % 7200 * 1000000,
       CASE WHEN n % 500 = 1 THEN 'in_flight' WHEN n % 50 = 2 THEN 'held' ELSE 'queued' END, 1,
       '451 4.7.1 [' || domain || '] try again later, ref ' || n, n % 500 = 1, '', 0,
       n / 1000 + 1, 1, iif(n % 50 = 2, :now_us, NULL), iif(n % 50 = 2, :now_us + 252000000000, NULL)
FROM numbered WHERE n < :messages;

-- name: lanes
INSERT OR IGNORE INTO lane (ip) SELECT DISTINCT ip FROM message;

-- name: submissions (each has two events)
INSERT INTO submission (id, account, accepted_us, fields)
SELECT printf('%018d', n), account, :now_us, json_object(
    'subaccount', iif(n % 5 = 0, 7, NULL), 'recv_method', 'esmtp', 'remote_addr', '127.0.0.1',
    'mail_from', 'news@a' || account || '.example', 'subject', 'Offer ' || (n % 50) || ' for you',
    'friendly_from', 'News <news@a' || account || '.example>',
    'sending_domain', 'a' || account || '.example',
    'options', json_object('campaign_id', 'camp-' || (n % 20)), 'pool', pool,
    'steps', json('[["R18","ip_pool asked for"]]'))
FROM numbered WHERE n < (:events + 1) / 2;

-- name: events (of a hundred messages four bounce and twelve are delayed)
INSERT INTO event (at_us, kind, message_id, transmission_id, account, ip, fields)
SELECT :now_us - 172800000000 + told.n * (172800000000 / :events), told.kind,
       printf('%020x', numbered.n), printf('%018d', numbered.n), account, ip,
       json_patch(
           json_object('subaccount', iif(numbered.n % 5 = 0, 7, NULL),
                       'rcpt_to', 'r' || numbered.n || '@' || domain, 'domain', domain, 'rcpt_type', '',
                       'size_bytes', 4000, 'ip_pool', pool),
           CASE told.kind
           WHEN 'injection' THEN '{}'
           WHEN 'delivery' THEN json_object(
               'num_retries', 0, 'queue_time_ms', 900, 'peer', json('["192.0.2.7",1]'),
               'reply', '250 2.0.0 Ok: queued as ' || numbered.n)
           ELSE json_object(
               'num_retries', 0, 'queue_time_ms', 900, 'peer', json('["192.0.2.7",1]'),
               'bounce_class', iif(told.kind = 'bounce', 10, 21),
               'error_code', iif(told.kind = 'bounce', 550, 451),
               'raw_reason', iif(told.kind = 'bounce', '550 5.1.1 no such user ', '451 4.7.1 try later ')
                             || numbered.n)
           END)
FROM (SELECT n, n / 2 AS message, CASE WHEN n % 2 = 0 THEN 'injection' WHEN n / 2 % 25 = 4 THEN 'bounce'
                                       WHEN n / 2 % 25 < 3 THEN 'delay' ELSE 'delivery' END AS kind
      FROM numbered WHERE n < :events) AS told
JOIN numbered ON numbered.n = told.message
ORDER BY told.n;

-- name: needle_submission
UPDATE submission SET account = 1, fields = json_set(
    fields, '$.subject', 'The {needle} offer', '$.friendly_from', 'Someone <{needle}@{needle}.test>',
    '$.sending_domain', '{needle}.test', '$.options.campaign_id', '{needle}-campaign')
WHERE id = printf('%018d', 0);

-- name: needle
UPDATE event SET account = 1, ip = '{needle_ip}', fields = json_set(
    fields, '$.rcpt_to', '{needle}@{needle}.example', '$.domain', '{needle}.example',
    '$.ip_pool', '{needle}_pool')
WHERE id <= 2;

-- name: needle_rejection
UPDATE event SET kind = 'generation_rejection', fields = json_set(
    json_remove(fields, '$.num_retries', '$.queue_time_ms', '$.peer', '$.reply'),
    '$.bounce_class', 25, '$.error_code', 550, '$.raw_reason', '550 5.7.1 {needle}')
WHERE id = 2;
