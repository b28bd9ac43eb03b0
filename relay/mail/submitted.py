"""A message as a client hands it in: read in one way, by whichever door it comes (RFC 5322, RFC 6409 §8)."""

NOT_PASSED_ON = frozenset(
    {
        *("bcc", "resent-bcc", "x-msys-api", "x-binding"),
        *("return-path", "envelope-to", "delivery-date", "content-length"),
    }
)
"""Lower-case names of fields that are in no copy (C §2.6).

The first list hidden recipients or steer this relay. The others are for the server of final delivery
alone to write: from an earlier delivery they would tell another's return path (RFC 5321 §4.4), recipients
of the envelope, and a length that is true no more. Delivered-To is such a field too, but stays: by it a
server notices that the message was there before.
"""
