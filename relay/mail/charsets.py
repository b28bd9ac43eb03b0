"""The charsets that mail is written in (RFC 2045 §2.2)."""

import re

_KNOWN = re.compile(
    r"utf-?(8|16|16-?[bl]e)|(us-)?ascii|iso-8859-\d+|latin-?1|windows-125\d|cp(125\d|437|85[02]|866)"
    r"|koi8-[ru]|gb2312|gbk|gb18030|big5(-?hkscs)?|shift[_-]jis|euc-(jp|kr)|iso-2022-(jp|kr)"
    r"|ks_c_5601-1987|tis-620|macintosh",
    re.IGNORECASE | re.ASCII,
)
"""Python's other codecs have no business with a stranger's octets: some cost the square of what they
read, and some raise what no decoder should."""


_HIDING = re.compile(
    r"utf[-_ ]?(7|16|32)|ucs[-_ ]?[24]|10646|csunicode|unicode-[12]|2022|^hz|ebcdic|scsu|bocu"
    r"|(cp|ibm)[-_ ]?0*(37|2[789]\d|42\d|500|87[015]|880|905|918|924|1026|1047|11[45]\d)$",
    re.IGNORECASE | re.ASCII,
)


def is_known(charset: str) -> bool:
    return _KNOWN.fullmatch(charset) is not None


def may_hide_ascii(charset: str) -> bool:
    """Whether a character of ASCII may be written in other octets than its own, as UTF-7 and EBCDIC do."""
    return _HIDING.search(charset) is not None
