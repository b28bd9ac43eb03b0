"""SparkPost's bounce classes, read off a reply.

Which command was answered counts first: only a reply to RCPT or to the final dot is about a mailbox.
Then, in this order: enhanced codes that leave no doubt, what the text says, any other enhanced code
(RFC 3463, RFC 5248, RFC 7505), the code alone. Texts go before codes because half of the world
answers 5.7.1 to everything. The rules are ours.
"""

import re

from relay.domain.reply import Phase, Reply

UNDETERMINED = 1
INVALID_RECIPIENT = 10
SOFT = 20
DNS = 21
MAILBOX_FULL = 22
TOO_LARGE = 23
TIMEOUT = 24
ADMIN_FAILURE = 25
NO_RCPT = 30
GENERIC = 40
MAIL_BLOCK = 50
SPAM_BLOCK = 51
SPAM_CONTENT = 52
PROHIBITED_ATTACHMENT = 53
RELAYING_DENIED = 54
AUTO_REPLY = 60
TRANSIENT = 70
SUBSCRIBE = 80
UNSUBSCRIBE = 90
CHALLENGE_RESPONSE = 100

CLASS_NAMES = {
    UNDETERMINED: "Undetermined",
    INVALID_RECIPIENT: "Invalid Recipient (Hard)",
    SOFT: "Soft Bounce (Soft)",
    DNS: "DNS Failure (Soft)",
    MAILBOX_FULL: "Mailbox Full (Soft)",
    TOO_LARGE: "Too Large (Soft)",
    TIMEOUT: "Timeout (Soft)",
    ADMIN_FAILURE: "Admin Failure (Admin)",
    NO_RCPT: "No RCPT (Hard)",
    GENERIC: "Generic Bounce (Soft)",
    MAIL_BLOCK: "Mail Block (Block)",
    SPAM_BLOCK: "Spam Block (Block)",
    SPAM_CONTENT: "Spam Content (Block)",
    PROHIBITED_ATTACHMENT: "Prohibited Attachment (Block)",
    RELAYING_DENIED: "Relaying Denied (Block)",
    AUTO_REPLY: "Auto-Reply (Soft)",
    TRANSIENT: "Transient Failure (Soft)",
    SUBSCRIBE: "Subscribe (Admin)",
    UNSUBSCRIBE: "Unsubscribe (Hard)",
    CHALLENGE_RESPONSE: "Challenge-Response (Soft)",
}
"""With the category of each."""

_CLEAR = {
    "1.1": INVALID_RECIPIENT,
    "1.10": INVALID_RECIPIENT,
    "2.2": MAILBOX_FULL,
    "2.3": TOO_LARGE,
    "3.4": TOO_LARGE,
}
"""By subject and detail of the enhanced code: nobody uses these for anything else."""

_TEXTS = tuple(
    (found, re.compile(pattern, re.IGNORECASE))
    for found, pattern in (
        (TIMEOUT, r"\[internal\] message timeout"),
        (DNS, r"\[internal\] \S+ is \S+: private \(route setting allow_private\)"),
        (ADMIN_FAILURE, r"\[internal\].*(discarded|cancelled)|suppressed due to customer policy"),
        (NO_RCPT, r"\bno (valid )?recipients|\b(need|no) rcpt|\brcpt (command )?first"),
        (AUTO_REPLY, r"\bauto-?(reply|response|matic reply)|out of (the )?office|on vacation"),
        (
            CHALLENGE_RESPONSE,
            r"challenge[/-]response|\bconfirm that you are (a )?human|reply to the challenge",
        ),
        (UNSUBSCRIBE, r"\bunsubscribe request|request to unsubscribe|has unsubscribed"),
        (SUBSCRIBE, r"\bsubscribe request|request to subscribe|subscription (request|confirmation)"),
        (
            RELAYING_DENIED,
            r"\brelay(ing)? (access )?(denied|not (allowed|permitted))|\b(to|not) relay\b|\brcpthosts\b",
        ),
        (
            PROHIBITED_ATTACHMENT,
            r"\battachment|\bvirus|\bmalware|executable|content presents a potential security",
        ),
        (TRANSIENT, r"\b(sending|daily|hourly) (\w+ )?(quota|limit)|\bgr[ae]y-?list"),
        (
            MAILBOX_FULL,
            r"\bover ?quota|\bover (the |its |their )?(\w+ )?quota|\bquota (is )?(exceeded|full)"
            r"|\bexceed(s|ed)? (the |its |their )?(\w+ )?quota|\b(mailbox|inbox|account)\b.{0,30}\bfull\b"
            r"|\bout of storage|\bfull mailbox",
        ),
        (TOO_LARGE, r"\btoo (large|big)\b|\bsize\b.{0,20}\bexceed|\bexceed(s|ed)?\b.{0,30}\bsize"),
        (
            SPAM_BLOCK,
            r"\b(block|black) ?list|\bblocked using|dnsbl|\brbl\b|spamhaus|spamcop|barracuda|\bsorbs\b"
            r"|\breputation\b|\bunsolicited mail originating|user complaints|\bspam(mer)? source",
        ),
        (SPAM_CONTENT, r"\bspam|\bunsolicited|\bjunk\b|\bsuspicious|\bcontent (filter|rejected|reject)"),
        (
            MAIL_BLOCK,
            r"\bsender\b.{0,20}\b(rejected|denied|verify|invalid)|\b(bad|invalid) sender|\breverse (dns|host)"
            r"|\bptr\b|\brdns\b|\bspf\b|\bdkim\b|\bdmarc\b|unauthenticated|\bpolicy\b|\bbanned\b",
        ),
        (
            TRANSIENT,
            r"\btoo (many|quickly|fast)|\brate[- ]?limit|\bthrottl|\bserver (is )?(too )?busy"
            r"|temporarily deferred|\bat a rate that|\bconcurren",
        ),
        (
            INVALID_RECIPIENT,
            r"\b(no such|unknown|invalid|non-?existent|undeliverable) (user|recipient|mailbox|address)"
            r"|\b(user|recipient|mailbox|address|account)\b.{0,40}\b(not exist|doesn.t exist|unknown"
            r"|not found|unavailable|disabled|inactive|invalid|deactivated|suspended|no longer)"
            r"|\bdoesn.t have an? \S+ account|\bunrouteable address|\bno mailbox|NotFound\b"
            r"|\brecipient address rejected: access denied|\ball recipient addresses rejected",
        ),
        (
            DNS,
            r"\bno mx\b|\bnxdomain\b|\b(host|domain)( name)?( or domain name)? (not found|does not exist)"
            r"|\bdns\b.{0,20}\b(error|failure|failed|timeout)|\bname service error|\bunknown host",
        ),
        (TIMEOUT, r"\btime(d)?[- ]?out|\bunable to make any connections"),
        (SOFT, r"\bconnection (was )?(closed|refused|reset|lost|dropped)"),
        (MAIL_BLOCK, r"\bblocked\b|\baccess denied|\bnot authori[sz]ed"),
    )
)

_CODES = {
    "1": (INVALID_RECIPIENT, SOFT),
    "1.2": (DNS, DNS),
    "1.7": (MAIL_BLOCK, MAIL_BLOCK),
    "1.8": (MAIL_BLOCK, MAIL_BLOCK),
    "2": (SOFT, TRANSIENT),
    "2.1": (INVALID_RECIPIENT, TRANSIENT),
    "3": (GENERIC, TRANSIENT),
    "4": (SOFT, SOFT),
    "4.1": (TIMEOUT, TIMEOUT),
    "4.3": (DNS, DNS),
    "4.4": (DNS, DNS),
    "4.5": (TRANSIENT, TRANSIENT),
    "4.6": (GENERIC, GENERIC),
    "4.7": (TIMEOUT, TIMEOUT),
    "5": (GENERIC, TRANSIENT),
    "6": (GENERIC, GENERIC),
    "6.1": (PROHIBITED_ATTACHMENT, PROHIBITED_ATTACHMENT),
    "7": (MAIL_BLOCK, MAIL_BLOCK),
}
"""By subject and detail, or subject alone: the class of a permanent and of a temporary reply."""
_REPLY_CODES = {
    500: GENERIC,
    501: GENERIC,
    502: GENERIC,
    503: GENERIC,
    504: GENERIC,
    552: MAILBOX_FULL,
    553: GENERIC,
}

_READ_CHARACTERS = 2000
_ADDRESS = re.compile(r"<[^<>\s]*>|(?<![^\s<>])[^\s<>]+@[^\s<>]+")
"""Taken out first: `<no-spam@example.com>` says nothing about spam."""
HARD = frozenset({INVALID_RECIPIENT, NO_RCPT, UNSUBSCRIBE})
"""What is said of one mailbox, for good: it is not written to again."""
_ABOUT_MAILBOXES = frozenset({Phase.RCPT, Phase.BODY})
_NO_MAILBOX = {Phase.DATA: GENERIC, Phase.INTERNAL: GENERIC}
"""By the command that was answered; what comes before RCPT speaks of the sender, or of us."""
_LINK = re.compile(r"\bhttps?://\S+|\bwww\.\S+", re.IGNORECASE)
_NOT_THE_MAILBOX = tuple(
    (found, re.compile(pattern, re.IGNORECASE))
    for found, pattern in (
        (
            MAIL_BLOCK,
            r"\byour (?!recipient|contact)([\w-]+ ){0,2}(account|mailbox|login|user(name)?|credentials)\b"
            r"|(?<![\w.-])(outgoing|outbound|submission|rcpthosts|helo|ehlo|callout|customer account"
            r"|auth|sasl|log-?in)\b(?![.-]\w)|\bpassword|\bcredentials?\b|\bmust log in|\bnot logged in"
            r"|authenticat|\byou are (not|no|an? (unknown|invalid))\b|\bsen(d|t|ding) (e?-?mail )?(from|as)\b"
            r"|\bsmtp (access|account|user)|\b(allowed|permitted|authori[sz]ed) to send\b"
            r"|\bfor (sending|abus)|\bsending (abuse|e?-?mails?|messages|account|access|privileges?|rights)\b"
            r"|\baccount\b.{0,40}\b(disabled|inactive|deactivated|suspended|locked)\b.{0,20}\bcontact\b.{0,30}"
            r"\b(support|administrator|provider|help ?desk|billing|us)\b",
        ),
        (
            MAIL_BLOCK,
            r"(?<!to )(?<!to the )(?<!inform )(?<!inform the )(?<!notify the )(?<!contact the )\bsenders?\b"
            r"(?! (should|may|might|must|can))|\bsender(address|domain)|\bsending (domain|ip|host|server)"
            r"|\b(return|reverse)[- ]?(path|address)|\bverification failed for\b"
            r"|\b(mail|envelope)[ -]?from\b|\bin (the |your )?from\b"
            r"|\bfrom[ :](address|domain|header)|\boriginator"
            r"|\bbadmailfrom|\byour (e-?mail )?address (is|was|has|does)\b"
            r"|\byour (ip|domain|host|server|network|isp|provider|organi[sz]ation|mail ?server)\b"
            r"|\bclient (host|address|ip)\b",
        ),
        (
            SPAM_BLOCK,
            r"\b(block|black|deny)[- ]?list|\bdnsbl|\brbl\b|\breputation\b|spamhaus|spamcop|barracuda",
        ),
        (SPAM_CONTENT, r"\bspam|\bunsolicited|\bjunk\b|\bsuspicious"),
        (
            TRANSIENT,
            r"\btoo (many|quickly|fast|often|frequent)|\brate\b|\bthrottl|\blimit(s|ed)?\b|\bquota\b"
            r"|\bper (second|minute|hour|day)\b|\bfrequen|\bgr[ae]y-?list|\btemporar"
            r"|\b(try|retry)( again)? later|\bat this time\b|\bmax(imum)? (connections|number)",
        ),
        (
            MAIL_BLOCK,
            r"\bpolic(y|ies)\b|\bbanned\b|\bprohibited\b|\badministrative|\bspf\b|\bdkim\b|\bdmarc\b"
            r"|\bnot (authori[sz]ed|permitted)\b|unauthenticated|\bptr\b|\brdns\b|\breverse (dns|host)"
            r"|(?<!recipient address rejected: )(?<!recipient addresses rejected : )\baccess denied"
            r"|\b(allow|white|access)[- ]?list"
            r"|(?<!\bis )(?<!user )(?<!mailbox )(?<!account )\bblocked\b",
        ),
    )
)
"""Words by which a refusal speaks of us, the sender, its address, a rate or a policy, whatever its codes."""
_CODE_OF_THE_SENDER = re.compile(r"(?:^|#)[45]\.(?:1\.[78]|7\.\d+)(?!\d)")
"""Of the sender's address, and of what he may do (RFC 3463 §3.2, §3.8); qmail writes it as `(#5.7.1)`."""


def bounce_class(reply: Reply, *, is_shared: bool = False) -> int:
    """The class of a failure; 1 when nothing in it tells. A temporary reply is never a hard bounce.

    is_shared: it was said of several recipients at once, and so of none of them.
    """
    found = _class_of(reply)
    if found not in HARD:
        return found
    if reply.is_permanent and reply.phase not in _ABOUT_MAILBOXES:
        is_null_mx = reply.phase is Phase.INTERNAL and reply.enhanced == "5.1.10"
        return DNS if is_null_mx else _NO_MAILBOX.get(reply.phase, MAIL_BLOCK)
    text = _LINK.sub(" ", _words(reply))
    for other, pattern in _NOT_THE_MAILBOX:
        if pattern.search(text):
            return other
    if 530 <= reply.code <= 539 or _CODE_OF_THE_SENDER.search(reply.text[:_READ_CHARACTERS]):
        return MAIL_BLOCK
    if not reply.is_permanent:
        return SOFT
    is_about_none = reply.code == 503 or (is_shared and reply.phase is Phase.BODY)
    return GENERIC if is_about_none else found


def _words(reply: Reply) -> str:
    return _ADDRESS.sub(" ", reply.text[:_READ_CHARACTERS])


def _class_of(reply: Reply) -> int:
    code = reply.enhanced.partition(".")[2]
    if code in _CLEAR:
        return _CLEAR[code]
    text = _words(reply)
    for found, pattern in _TEXTS:
        if pattern.search(text):
            return found
    by_code = _CODES.get(code) or _CODES.get(code.partition(".")[0])
    if by_code is not None:
        return by_code[0 if reply.is_permanent else 1]
    if reply.is_permanent:
        return _REPLY_CODES.get(reply.code, UNDETERMINED)
    return TRANSIENT if 400 <= reply.code < 500 else UNDETERMINED
