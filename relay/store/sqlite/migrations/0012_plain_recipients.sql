-- Quotes that a local part does not need are not kept any more: "bob"@b.example is bob@b.example, on a list too.
CREATE TEMP TABLE quoted AS
SELECT account, subaccount, recipient, kind,
       substr(recipient, 2, instr(recipient, '"@') - 2) AS local,
       substr(recipient, instr(recipient, '"@') + 1) AS at_domain
FROM suppression WHERE recipient GLOB '"*"@*';

DELETE FROM quoted
WHERE local = '' OR local GLOB '*[] "\(),:;<>@[]*' OR local GLOB '.*' OR local GLOB '*.' OR local GLOB '*..*';

UPDATE OR IGNORE suppression SET recipient = quoted.local || quoted.at_domain
FROM quoted
WHERE suppression.account = quoted.account AND suppression.subaccount = quoted.subaccount
  AND suppression.recipient = quoted.recipient AND suppression.kind = quoted.kind;

-- Those whose plain form was on the list too.
DELETE FROM suppression
WHERE (account, subaccount, recipient, kind) IN (SELECT account, subaccount, recipient, kind FROM quoted);

DROP TABLE quoted;
