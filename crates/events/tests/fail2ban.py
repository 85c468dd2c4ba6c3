"""Reads lines of a log; prints for each the host that fail2ban 1.0.2's filter.d/dovecot.conf would count, or `-`.

The pattern is that of the filter (mode normal) with its interpolations written out, and HOST reduced to addresses;
the date at the beginning is cut off before, as fail2ban does.
"""

import re
import sys

DATE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?Z")
PREFIX = re.compile(
    r"^(?:\[\])?\s*(?:<[^.]+\.[^.]+>\s+)?(?:\S+\s+)?(?:kernel:\s?\[ *\d+\.\d+\]:?\s+)?(?:@vserver_\S+\s+)?"
    r"(?:(?:(?:\[\d+\])?:\s+[\[\(]?(?:dovecot(?:-auth)?|auth)(?:\(\S+\))?[\]\)]?:?"
    r"|[\[\(]?(?:dovecot(?:-auth)?|auth)(?:\(\S+\))?[\]\)]?:?(?:\[\d+\])?:?)\s+)?"
    r"(?:\[ID \d+ \S+\]\s+)?"
    r"(?:(?:dovecot: )?auth(?:-worker)?(?:\([^\)]+\))?: )?"
    r"(?:pam_unix(?:\(dovecot:auth\))?: |(?:pop3|imap|managesieve|submission)-login: )?(?:Info: )?"
    r"(?P<content>.+)$"
)
REJECT = r"(?:: (?:\w+\([^\):]*\) \w+|[^\(]+))*"
FAIL = re.compile(
    r"^(?:Aborted login|Disconnected|Remote closed connection|Client has quit the connection)" + REJECT +
    r" \((?:auth failed, \d+ attempts(?: in \d+ secs)?|tried to use (?:disabled|disallowed) \S+ auth"
    r"|proxy dest auth failed)\):(?: user=<(?P<user>[^>]*)>,)?(?: method=\S+,)? "
    r"rip=(?P<host>[0-9A-Fa-f:.]+)(?:[^>]*(?:, session=<\S+>)?)\s*$"
)

for line in sys.stdin:
    content = PREFIX.match(DATE.sub("", line.rstrip("\n")))
    failed = content and FAIL.match(content["content"])
    print(failed["host"] if failed else "-")
